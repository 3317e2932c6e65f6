"""getmail6: mail fetched once, whatever is asked again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from interop.lab import ALICE, PASSWORD, Delivered, Demo, digest, mail, run

CONFIG = """\
[retriever]
type = SimpleIMAPSSLRetriever
server = localhost
port = {port}
username = {user}
password = {password}
mailboxes = ("{folder}",)
ca_certs = {ca}
timeout = 110

[destination]
type = MDA_external
path = {mda}
allow_root_commands = true

[options]
verbose = 1
read_all = {read_all}
delete = {delete}
max_messages_per_session = {at_most}
delivered_to = false
received = false
message_log = {home}/log
"""


class Getmail:
    """One getmail home: its rc file, what it delivered and what it remembers of the server."""

    def __init__(self, demo: Demo, home: Path, folder: str) -> None:
        self.demo, self.home, self.folder = demo, home, folder
        self.delivered = Delivered(home, linger=0.2)
        (home / ".getmail").mkdir(mode=0o700, parents=True)

    def fetch(self, *, read_all: bool = False, delete: bool = False, at_most: int = 0) -> str:
        rc = self.home / ".getmail" / "getmailrc"
        rc.write_text(
            CONFIG.format(
                port=self.demo.ports["imaps"], user=ALICE, password=PASSWORD, folder=self.folder,
                ca=self.demo.ca_file, home=self.home, mda=self.delivered.program, read_all=str(read_all).lower(),
                delete=str(delete).lower(), at_most=at_most,
            )
        )  # fmt: skip
        done = run(["getmail", "--getmaildir", self.home / ".getmail"], self.home, timeout=110)
        return (done.stdout + done.stderr).decode(errors="replace")

    @property
    def messages(self) -> list[bytes]:
        return self.delivered.messages


OWN = re.compile(rb"^(Return-Path|X-getmail-retrieved-from-mailbox): [^\n]*\n", re.M)


def octets(messages: Iterable[bytes]) -> Counter[str]:
    """As they were on the wire: getmail6 adds two header fields and ends lines with LF."""
    return Counter(digest(OWN.sub(b"", m, count=2).replace(b"\n", b"\r\n")) for m in messages)


@pytest.fixture
def getmail(demo: Demo, tmp_path: Path) -> Callable[[str], Getmail]:
    return lambda folder: Getmail(demo, tmp_path, folder)


def test_sizes_of_a_whole_inbox_cost_no_bodies(demo: Demo, getmail: Callable[[str], Getmail]):
    """getmail asks `FETCH 1:N (UID RFC822.SIZE)` before anything else."""
    inbox = getmail("INBOX")
    demo.forget()
    inbox.fetch(at_most=3)
    assert len(inbox.messages) == 3
    assert demo.bodies_read() <= 10 < 500 <= len(demo.listing())


def test_mail_is_fetched_once(demo: Demo, getmail: Callable[[str], Getmail]):
    folder = demo.make_folder("getmail-fetched")
    letters = [demo.value(row["id"]) for row in demo.listing()[:160:10] if row["sha256"]]
    for letter in letters:
        demo.deliver(letter, folder)
    box = getmail("getmail-fetched")
    box.fetch()
    assert len(box.messages) == len(letters) >= 12
    demo.forget()
    assert "0 messages" in box.fetch()
    assert demo.bodies_read() == 0 and len(box.messages) == len(letters)
    demo.deliver(mail("getmail, new mail"), folder)
    for _ in range(20):
        box.fetch()
        if len(box.messages) > len(letters):
            break
    assert len(box.messages) == len(letters) + 1, "the new one, and no other again"
    assert [m for m in box.messages if b"Subject: getmail, new mail\n" in m]


def test_fetched_and_deleted_goes_to_deleted_items(demo: Demo, getmail: Callable[[str], Getmail]):
    letters = [mail(f"getmail, drained {n}", "Zeile mit Ünïcode\n" * n) for n in range(3)]
    folder = demo.make_folder("getmail-drained")
    for letter in letters:
        demo.deliver(letter, folder)
    drain = getmail("getmail-drained")
    drain.fetch(read_all=True, delete=True)
    assert octets(drain.messages) == Counter(map(digest, letters))
    assert demo.listing(folder) == []
    gone = [r["subject"] for r in demo.listing("deleteditems") if r["subject"].startswith("getmail, drained")]
    assert len(gone) == 3
    assert "0 messages" in drain.fetch(read_all=True, delete=True), "an empty folder is no error"
