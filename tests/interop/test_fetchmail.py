"""fetchmail: header and text asked in two commands, by sequence number, into a local delivery program."""

from __future__ import annotations

import imaplib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from interop.lab import ALICE, HOST, PASSWORD, Delivered, Demo, environment, eventually, mail, run

CONFIG = """\
set no bouncemail
set idfile "{home}/ids"
set pidfile "{home}/pid"
poll localhost protocol IMAP port {port} no dns
  user "{user}" password "{password}" is "nobody" here
  ssl sslproto "TLS1.2+" sslcertck sslcertfile "{ca}"
  folder "{folder}" mda "{mda}" no rewrite {options}
"""
NOTHING = 1  # fetchmail's status where there was no mail


class Fetchmail:
    def __init__(self, demo: Demo, home: Path) -> None:
        self.demo, self.home = demo, home
        self.delivered = Delivered(home)

    def command(self, folder: str, options: str) -> list[str | Path]:
        rc = self.home / "fetchmailrc"
        rc.write_text(
            CONFIG.format(
                home=self.home, port=self.demo.ports["imaps"], user=ALICE, password=PASSWORD, folder=folder,
                ca=self.demo.ca_file, mda=self.delivered.program, options=options,
            )
        )  # fmt: skip
        rc.chmod(0o700)
        return ["fetchmail", "-v", "--invisible", "--nosyslog", "-f", rc]

    def fetch(self, folder: str, options: str, status: int = 0) -> str:
        done = run(self.command(folder, options), self.home, status=status, timeout=110)
        return (done.stdout + done.stderr).decode(errors="replace")

    @property
    def messages(self) -> list[bytes]:
        return self.delivered.messages


def known(demo: Demo, unread: int) -> None:
    """Wait until a client that opens INBOX now is told of so many unread messages."""
    with imaplib.IMAP4(HOST, demo.ports["imap"], timeout=60) as box:
        box.login(ALICE, PASSWORD)
        box.select("INBOX", readonly=True)
        eventually(lambda: box.noop() and len(box.search(None, "UNSEEN")[1][0].split()) == unread)


@pytest.fixture
def fetchmail(demo: Demo, tmp_path: Path) -> Fetchmail:
    return Fetchmail(demo, tmp_path)


@pytest.fixture
def filled(demo: Demo) -> Callable[[str], list[bytes]]:
    """Make a folder of three letters, which are returned as a local delivery program gets them: with LF."""

    def fill(name: str) -> list[bytes]:
        folder = demo.make_folder(name)
        letters = [mail(f"{name} {n}", "Zeile mit Ünïcode\n.\n.. Punkte\n" * (n + 1)) for n in range(3)]
        for letter in letters:
            demo.deliver(letter, folder)
        return sorted(letter.replace(b"\r\n", b"\n") for letter in letters)

    return fill


def test_unread_mail_is_delivered_byte_for_byte_and_marked_read(
    demo: Demo, fetchmail: Fetchmail, filled: Callable[[str], list[bytes]]
):
    letters = filled("fetchmail-kept")
    read = demo.deliver(mail("fetchmail, read before"), demo.folder("fetchmail-kept"))
    demo.control.patch(f"users/{ALICE}/messages/{read}", json={"isRead": True}).raise_for_status()
    said = fetchmail.fetch("fetchmail-kept", "keep")
    assert fetchmail.messages == letters
    assert "4 messages (1 seen)" in said and "mismatch" not in said
    assert all(row["isRead"] for row in demo.listing("fetchmail-kept"))
    fetchmail.fetch("fetchmail-kept", "keep", status=NOTHING)
    assert fetchmail.messages == letters, "nothing came twice"


def test_fetched_mail_leaves_the_server(
    demo: Demo, fetchmail: Fetchmail, filled: Callable[[str], list[bytes]]
):
    letters = filled("fetchmail-flushed")
    said = fetchmail.fetch("fetchmail-flushed", "fetchall no keep")
    assert fetchmail.messages == letters
    assert len(re.findall(r"^ flushed$", said, re.M)) == 3
    assert demo.listing("fetchmail-flushed") == []
    gone = [row for row in demo.listing("deleteditems") if row["subject"].startswith("fetchmail-flushed")]
    assert len(gone) == 3


def test_every_kind_of_unread_mail_in_the_inbox_passes(demo: Demo, fetchmail: Fetchmail):
    for row in demo.listing()[:120]:
        demo.control.patch(f"users/{ALICE}/messages/{row['id']}", json={"isRead": False}).raise_for_status()
    unread = sum(not row["isRead"] for row in demo.listing())
    known(demo, unread)
    said = fetchmail.fetch("INBOX", "keep")
    assert len(fetchmail.messages) == unread >= 120
    assert all(row["isRead"] for row in demo.listing())
    assert "mismatch" not in said and "truncated" not in said and "skipping" not in said


def test_idle_delivers_within_seconds(demo: Demo, fetchmail: Fetchmail, filled: Callable[[str], list[bytes]]):
    filled("fetchmail-idle")
    log = (fetchmail.home / "log").open("wb")
    process = subprocess.Popen(
        [str(each) for each in fetchmail.command("fetchmail-idle", "keep idle")], env=environment(fetchmail.home),
        cwd=fetchmail.home, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        eventually(lambda: len(fetchmail.messages) == 3)
        demo.deliver(mail("fetchmail hears of this"), demo.folder("fetchmail-idle"))
        eventually(lambda: [m for m in fetchmail.messages if b"fetchmail hears of this" in m])
    finally:
        process.terminate()
        process.wait(20)
        log.close()
