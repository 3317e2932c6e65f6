"""msmtp: the sendmail of scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.lab import ALICE, BOB, CAROL, HOST, PASSWORD, Demo, eventually, mail, run


def settings(demo: Demo, home: Path, *, tls: str, auth: str = "on", password: str = PASSWORD) -> Path:
    implicit = tls == "implicit"
    target = home / "msmtprc"
    home.mkdir(exist_ok=True)
    target.write_text(
        f"account lab\nhost {HOST}\nport {demo.ports['smtps' if implicit else 'smtp']}\ntls on\n"
        f"tls_starttls {'off' if implicit else 'on'}\ntls_trust_file {demo.ca_file}\nauth {auth}\n"
        f"user {ALICE}\npassword {password}\nfrom {ALICE}\naccount default : lab\n"
    )
    target.chmod(0o600)
    return target


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("auth", ["plain", "login"])
def test_send(demo: Demo, tmp_path: Path, tls: str, auth: str):
    rc = settings(demo, tmp_path, tls=tls, auth=auth)
    subject = f"msmtp {tls} {auth}"
    run(["msmtp", "-C", rc, BOB], tmp_path, stdin=mail(subject, sender=ALICE, to=BOB))
    [row] = eventually(lambda: demo.find(subject, user=BOB))
    assert not row["isDraft"]
    eventually(lambda: demo.find(subject, "sentitems"))


def test_recipients_from_the_headers_with_bcc(demo: Demo, tmp_path: Path):
    """-t takes To, Cc and Bcc as the envelope and removes Bcc."""
    rc = settings(demo, tmp_path, tls="starttls")
    subject = "msmtp reads the headers"
    letter = mail(subject, sender=ALICE, to=BOB).replace(
        b"MIME-Version", f"Bcc: {CAROL}\r\nMIME-Version".encode()
    )
    run(["msmtp", "-C", rc, "-t"], tmp_path, stdin=letter.replace(b"\r\n", b"\n"))
    for user in (BOB, CAROL):
        assert len(eventually(lambda user=user: demo.find(subject, user=user))) == 1


def test_a_wrong_password_and_a_refusal_are_exit_statuses(demo: Demo, tmp_path: Path):
    rc = settings(demo, tmp_path / "wrong", tls="implicit", password="guess")
    assert (
        run(["msmtp", "-C", rc, BOB], tmp_path, stdin=mail("no"), status=None).returncode == 77
    )  # EX_NOPERM
    rc = settings(demo, tmp_path, tls="implicit")
    letter = mail("msmtp, never sent", sender=ALICE, to=CAROL)
    done = run(["msmtp", "-C", rc, BOB], tmp_path, stdin=letter, status=None)
    assert done.returncode == 69 and b"5.6.0" in done.stderr  # EX_UNAVAILABLE: for good, unlike EX_TEMPFAIL
    assert not demo.find("msmtp, never sent", user=BOB) and not demo.find("msmtp, never sent", user=CAROL)


def test_serverinfo(demo: Demo, tmp_path: Path):
    rc = settings(demo, tmp_path, tls="starttls")
    said = run(["msmtp", "-C", rc, "--serverinfo"], tmp_path).stdout
    assert b"PLAIN SCRAM-SHA-256 LOGIN" in said and b"CRAM-MD5" not in said and b"SIZE" in said
