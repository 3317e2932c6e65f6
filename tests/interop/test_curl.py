"""curl: the smallest IMAP and SMTP client there is."""

from __future__ import annotations

import subprocess
from pathlib import Path

from interop.lab import ALICE, BOB, HOST, PASSWORD, Demo, digest, eventually, mail, run


def curl(
    demo: Demo, home: Path, *arguments: object, status: int | None = 0
) -> subprocess.CompletedProcess[bytes]:
    common = ["curl", "-sS", "--max-time", "50", "--cacert", demo.ca_file, "-u", f"{ALICE}:{PASSWORD}"]
    return run([*common, *map(str, arguments)], home, status=status)


def imap(demo: Demo, path: str = "") -> str:
    return f"imap://{HOST}:{demo.ports['imap']}/{path}"


def imaps(demo: Demo, path: str = "") -> str:
    return f"imaps://{HOST}:{demo.ports['imaps']}/{path}"


def test_list(demo: Demo, tmp_path: Path):
    said = curl(demo, tmp_path, imap(demo)).stdout
    assert b"INBOX" in said and rb"\HasNoChildren" in said


def test_fetch_by_uid_is_the_message(demo: Demo, tmp_path: Path):
    demo.deliver(mail("Fetched by curl", "One line.\nTwo lines."))

    def found() -> list[bytes]:
        said = curl(demo, tmp_path, imaps(demo, "INBOX"), "-X", 'UID SEARCH SUBJECT "Fetched by curl"').stdout
        [line] = [each for each in said.splitlines() if each.startswith(b"* SEARCH")]
        return line.split()[2:]

    [uid] = eventually(found)
    got = curl(demo, tmp_path, imaps(demo, f"INBOX/;UID={uid.decode()}")).stdout
    [row] = demo.find("Fetched by curl")
    assert (digest(got), len(got)) == (row["sha256"], row["size"])
    text = curl(demo, tmp_path, imaps(demo, f"INBOX/;UID={uid.decode()}/;SECTION=TEXT")).stdout
    assert text == b"One line.\r\nTwo lines.\r\n"


def test_starttls_is_required_and_verified(demo: Demo, tmp_path: Path):
    said = curl(demo, tmp_path, "--ssl-reqd", imap(demo, "INBOX?ALL")).stdout
    assert said.startswith(b"* SEARCH ") and len(said.split()) >= 500
    argv = ["curl", "-sS", "--ssl-reqd", "-u", f"{ALICE}:{PASSWORD}", imap(demo, "INBOX?ALL")]
    assert run(argv, tmp_path, status=None).returncode == 60, "a certificate nobody vouches for"


def test_append(demo: Demo, tmp_path: Path):
    letter = tmp_path / "letter.eml"
    letter.write_bytes(mail("Appended by curl"))
    curl(demo, tmp_path, imap(demo), "-X", "CREATE curl")
    curl(demo, tmp_path, imap(demo, "curl"), "-T", letter)
    [row] = demo.find("Appended by curl", "curl")
    assert not row["isDraft"]
    assert curl(demo, tmp_path, imap(demo, "curl/;MAILINDEX=1")).stdout == letter.read_bytes()


def test_status_and_an_unknown_command(demo: Demo, tmp_path: Path):
    said = curl(demo, tmp_path, imap(demo), "-X", "STATUS curl-nowhere (MESSAGES)", status=None)
    assert said.returncode == 21, "refused, not hung"
    assert b"MESSAGES" in curl(demo, tmp_path, imap(demo), "-X", "STATUS INBOX (MESSAGES)").stdout
    assert curl(demo, tmp_path, imap(demo), "-X", "XYZZY", status=None).returncode == 21


def test_a_wrong_password(demo: Demo, tmp_path: Path):
    argv = ["curl", "-sS", "--max-time", "30", "-u", f"{ALICE}:guess", imap(demo)]
    assert run(argv, tmp_path, status=None).returncode == 67


def test_send_with_starttls_and_with_tls(demo: Demo, tmp_path: Path):
    for scheme, port, extra in (("smtp", "smtp", ["--ssl-reqd"]), ("smtps", "smtps", [])):
        subject = f"Sent by curl over {scheme}"
        letter = tmp_path / "letter.eml"
        letter.write_bytes(mail(subject, sender=ALICE, to=BOB))
        url = f"{scheme}://{HOST}:{demo.ports[port]}"
        curl(demo, tmp_path, url, *extra, "--mail-from", ALICE, "--mail-rcpt", BOB, "-T", letter)
        eventually(lambda subject=subject: demo.find(subject, user=BOB))


def test_a_refused_envelope(demo: Demo, tmp_path: Path):
    letter = tmp_path / "letter.eml"
    letter.write_bytes(mail("Never sent by curl", sender=ALICE, to=f"{BOB}, carol@example.com"))
    url = f"smtps://{HOST}:{demo.ports['smtps']}"
    done = curl(
        demo, tmp_path, url, "-v", "--mail-from", ALICE, "--mail-rcpt", BOB, "-T", letter, status=None
    )
    assert done.returncode != 0 and b"< 550 5.6.0" in done.stderr
    assert not demo.find("Never sent by curl", user=BOB)
