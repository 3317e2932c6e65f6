"""s-nail: the mail command of Unix, which many scripts call mailx."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.lab import ALICE, BOB, CAROL, PASSWORD, Demo, eventually, run


def snail(demo: Demo, home: Path, *arguments: object, tls: str = "smtps", status: int | None = 0) -> bytes:
    """Send what standard input says, with the account's password in the URL, as its manual shows."""
    port = demo.ports["smtps" if tls == "smtps" else "smtp"]
    user = ALICE.replace("@", "%40")
    settings = [
        "v15-compat", f"mta={tls}://{user}:{PASSWORD}@localhost:{port}", f"tls-ca-file={demo.ca_file}",
        "tls-ca-no-defaults", "tls-verify=strict", f"from={ALICE}", "smtp-auth=plain", "sendwait", "nosave",
    ]  # fmt: skip
    if tls == "smtp":
        settings.append("smtp-use-starttls")
    argv: list[object] = ["s-nail", "-:/"]
    for setting in settings:
        argv += ["-S", setting]
    done = run([str(each) for each in [*argv, *arguments]], home, stdin="Grüße.\n".encode(), status=status)
    return done.stderr


@pytest.mark.parametrize("tls", ["smtp", "smtps"])
def test_send(demo: Demo, tmp_path: Path, tls: str):
    subject = f"s-nail over {tls}"
    snail(demo, tmp_path, "-s", subject, BOB, tls=tls)
    [row] = eventually(lambda: demo.find(subject, user=BOB))
    assert "Grüße." in demo.text(row["id"], BOB)
    assert len(eventually(lambda: demo.find(subject, "sentitems"))) == 1


def test_attachment_cc_and_bcc(demo: Demo, tmp_path: Path):
    """It takes Bcc into the envelope and leaves it out of the header."""
    report = tmp_path / "report.bin"
    report.write_bytes(bytes(range(256)) * 64)
    subject = "s-nail with a report"
    snail(demo, tmp_path, "-s", subject, "-c", CAROL, "-b", "zoe@example.net", "-a", report, BOB)
    for user in (BOB, CAROL):
        assert len(eventually(lambda user=user: demo.find(subject, user=user))) == 1
    [outside] = eventually(lambda: demo.sent_to("zoe@example.net", subject))
    assert "zoe@example.net" not in outside.partition("\r\n\r\n")[0]
    [row] = demo.find(subject, user=BOB)
    assert demo.attachment(row["id"], BOB) == report.read_bytes()


def test_a_wrong_certificate_is_not_trusted(demo: Demo, tmp_path: Path):
    said = snail(
        demo, tmp_path, "-S", "tls-ca-file=/etc/ssl/certs/ca-certificates.crt", "-s", "s-nail, never", BOB,
        status=None,
    )  # fmt: skip
    assert said and not demo.find("s-nail, never", user=BOB)
