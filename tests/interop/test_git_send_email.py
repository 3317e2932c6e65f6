"""git send-email: patches whose every octet counts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from interop.lab import ALICE, BOB, CAROL, HOST, PASSWORD, Demo, environment, eventually, run

CODE = "int main(void)\n{\n\treturn 0;  \n}\n.\n..\nFrom here on\n" + "x" * 300 + "\n"


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    """A repository of two commits, and the patches of both."""
    work = tmp_path / "work"
    work.mkdir()

    def git(*arguments: str) -> None:
        who = ["-c", f"user.email={ALICE}", "-c", "user.name=Älice"]
        subprocess.run(["git", *who, *arguments], cwd=work, env=environment(tmp_path), check=True)

    git("init", "-q")
    for number, text in enumerate((CODE, CODE + "/* Größe */\n")):
        (work / "main.c").write_text(text)
        git("add", "main.c")
        git("commit", "-q", "-m", f"Step {number} of git-send-email")
    git("format-patch", "-q", "--root", "-o", str(tmp_path / "patches"))
    return tmp_path / "patches"


def send(demo: Demo, home: Path, patches: Path, *arguments: str, encryption: str = "ssl") -> bytes:
    port = demo.ports["smtps" if encryption == "ssl" else "smtp"]
    argv = [
        "git", "-c", f"user.email={ALICE}", "-c", "user.name=Alice", "send-email", "--8bit-encoding=UTF-8",
        f"--smtp-server={HOST}", f"--smtp-server-port={port}",
        f"--smtp-encryption={encryption}", f"--smtp-ssl-cert-path={demo.ca_file}", f"--smtp-user={ALICE}",
        f"--smtp-pass={PASSWORD}", f"--from=Alice <{ALICE}>", "--confirm=never", "--suppress-cc=all",
        "--no-chain-reply-to", *arguments, *map(str, sorted(patches.iterdir())),
    ]  # fmt: skip
    return run(argv, home).stdout


@pytest.mark.parametrize("encryption", ["ssl", "tls"])
def test_a_series_arrives_as_it_was_written(demo: Demo, tmp_path: Path, patches: Path, encryption: str):
    """The mails of a series go over one connection, each with its place in the thread, and apply again."""
    prefix = f"lab {encryption}"
    for patch in patches.iterdir():
        patch.write_text(patch.read_text().replace("[PATCH", f"[{prefix}"))
    send(demo, tmp_path, patches, f"--to={BOB}", f"--cc={CAROL}", encryption=encryption)
    first = f"[{prefix} 1/2] Step 0 of git-send-email"
    second = f"[{prefix} 2/2] Step 1 of git-send-email"
    for user in (BOB, CAROL):
        for subject in (first, second):
            assert len(eventually(lambda s=subject, u=user: demo.find(s, user=u))) == 1
    [one], [two] = (demo.find(subject, user=BOB) for subject in (first, second))
    assert f"In-Reply-To: {one['internetMessageId']}" in demo.value(two["id"], BOB).decode()
    text = demo.text(one["id"], BOB)
    assert all(f"+{line}" in text for line in CODE.splitlines())


def test_bcc_is_not_told(demo: Demo, tmp_path: Path, patches: Path):
    for patch in patches.iterdir():
        patch.write_text(patch.read_text().replace("[PATCH", "[lab bcc"))
    send(demo, tmp_path, patches, f"--to={BOB}", "--bcc=zoe@example.net")
    [outside] = eventually(lambda: demo.sent_to("zoe@example.net", "[lab bcc 1/2] Step 0 of git-send-email"))
    assert "zoe@example.net" not in outside.partition("\r\n\r\n")[0]
