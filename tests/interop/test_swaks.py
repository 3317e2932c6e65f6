"""swaks: SMTP transactions said out loud."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from interop.lab import ALICE, BOB, CAROL, HOST, PASSWORD, Demo, eventually, run


def swaks(
    demo: Demo,
    home: Path,
    *arguments: object,
    tls: bool = False,
    status: int | None = 0,
    password: str = PASSWORD,
) -> subprocess.CompletedProcess[bytes]:
    port = demo.ports["smtps" if tls else "smtp"]
    argv = [
        "swaks", "--server", HOST, "--port", port, "--from", ALICE, "--to", BOB, "--auth-user", ALICE,
        "--auth-password", password, "--timeout", 30, "--h-From", ALICE, *arguments,
    ]  # fmt: skip
    if tls:
        argv += ["--tls-on-connect"]
    return run([str(each) for each in argv], home, status=status)


@pytest.mark.parametrize("auth", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("over", ["plain", "starttls", "tls"])
def test_send(demo: Demo, tmp_path: Path, auth: str, over: str):
    subject = f"swaks {auth} over {over}"
    extra = ["--tls"] if over == "starttls" else []
    verified = ["--tls-verify", "--tls-ca-path", demo.ca_file] if over != "plain" else []
    said = swaks(
        demo,
        tmp_path,
        "--auth",
        auth,
        "--header",
        f"Subject: {subject}",
        *extra,
        *verified,
        tls=over == "tls",
    ).stdout
    assert b"235" in said and b" 250 2.0.0" in said
    assert (b"~>" in said) == (over != "plain")
    assert len(eventually(lambda: demo.find(subject, user=BOB))) == 1


def test_auth_is_announced_without_cram_md5(demo: Demo, tmp_path: Path):
    said = swaks(demo, tmp_path, "--quit-after", "EHLO", "--tls").stdout
    assert b"250-AUTH PLAIN LOGIN" in said or b"250 AUTH PLAIN LOGIN" in said
    assert b"CRAM-MD5" not in said


def test_attachments(demo: Demo, tmp_path: Path):
    paper = tmp_path / "scan.pdf"
    paper.write_bytes(b"%PDF-1.4\n" + bytes(range(256)) * 400)
    swaks(demo, tmp_path, "--tls", "--attach", f"@{paper}", "--header", "Subject: swaks with a scan")
    [row] = eventually(lambda: demo.find("swaks with a scan", user=BOB))
    assert row["size"] > 130_000


def test_refusals(demo: Demo, tmp_path: Path):
    subject = ["--header", "Subject: swaks, never sent"]
    wrong = swaks(demo, tmp_path, "--tls", "--auth", "PLAIN", *subject, password="guess", status=None)
    assert wrong.returncode == 28 and b"535 5.7.8" in wrong.stdout
    mismatch = swaks(demo, tmp_path, "--tls", "--h-To", f"{BOB}, {CAROL}", *subject, status=None)
    assert mismatch.returncode == 26 and b"550 5.6.0" in mismatch.stdout
    garbage = swaks(demo, tmp_path, "--tls", "--to", "not-an-address@", *subject, status=None)
    assert garbage.returncode == 24, "no recipient is left"
    anonymous = run(
        ["swaks", "--server", HOST, "--port", str(demo.ports["smtp"]), "--from", ALICE, "--to", BOB], tmp_path,
        status=None,
    )  # fmt: skip
    assert anonymous.returncode == 23 and b"530 5.7.0" in anonymous.stdout
    for user in (BOB, CAROL):
        assert not demo.find("swaks, never sent", user=user)


def test_the_exact_recipients(demo: Demo, tmp_path: Path):
    subject = "swaks, three recipients"
    to = f"{BOB},{CAROL},zoe@example.net"
    swaks(demo, tmp_path, "--tls", "--to", to, "--h-To", BOB, "--header", f"Subject: {subject}")
    for user in (BOB, CAROL):
        assert len(eventually(lambda user=user: demo.find(subject, user=user))) == 1
    assert len(eventually(lambda: demo.sent_to("zoe@example.net", subject))) == 1
