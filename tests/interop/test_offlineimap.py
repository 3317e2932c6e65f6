"""offlineimap3: a Maildir and a mailbox, both ways."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from interop.lab import ALICE, PASSWORD, Demo, arrived, digest, mail, run

CONFIG = """\
[general]
accounts = lab
metadata = {home}/state
ui = basic
socktimeout = 60

[Account lab]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {home}/mail

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {port}
remoteuser = {user}
remotepass = {password}
ssl = yes
sslcacertfile = {ca}
auth_mechanisms = PLAIN
maxconnections = 2
usecompression = {compression}
folderfilter = lambda name: name in {folders}
"""


class Offlineimap:
    """`compression` (off in offlineimap, unless asked for) is for small folders only: imaplib2 waits for the socket
    while what it has read already is not yet inflated, and so hangs in a long answer, whoever the server is."""

    def __init__(self, demo: Demo, home: Path, *folders: str, compression: bool = False) -> None:
        self.demo, self.home, self.folders, self.compression = demo, home, folders, compression

    def sync(self, *options: str) -> str:
        rc = self.home / "offlineimaprc"
        rc.write_text(
            CONFIG.format(
                home=self.home, port=self.demo.ports["imaps"], user=ALICE, password=PASSWORD,
                ca=self.demo.ca_file, folders=repr(self.folders), compression="yes" if self.compression else "no",
            )
        )  # fmt: skip
        done = run(["offlineimap", "-o", *options, "-c", rc], self.home, timeout=110)
        said = (done.stdout + done.stderr).decode(errors="replace")
        assert "ERROR" not in said, said[-3000:]
        return said

    def files(self, folder: str = "INBOX") -> list[Path]:
        base = self.home / "mail" / folder
        return sorted(path for part in ("new", "cur") for path in (base / part).iterdir())

    def of(self, subject: str, folder: str = "INBOX") -> list[Path]:
        wanted = f"\nSubject: {subject}\n".encode()
        return [path for path in self.files(folder) if wanted in b"\n" + path.read_bytes()]


@pytest.fixture(scope="module")
def pulled(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Offlineimap:
    made = Offlineimap(demo, tmp_path_factory.mktemp("offlineimap"), "INBOX")
    made.sync()
    return made


def test_a_full_pull_has_every_message_with_its_flags(demo: Demo, pulled: Offlineimap):
    rows = demo.listing()
    files = pulled.files()
    assert len(files) == len(rows) >= 500
    seen = sum("S" in path.name.rpartition(",")[2] for path in files)
    assert seen == sum(bool(row["isRead"]) for row in rows)


def test_a_second_run_transfers_nothing(demo: Demo, pulled: Offlineimap):
    before = [(path, path.stat().st_mtime_ns) for path in pulled.files()]
    demo.forget()
    pulled.sync()
    assert demo.bodies_read() == 0
    assert not [line for line in demo.log() if line.startswith(("PATCH", "DELETE", "POST /v1.0/users"))]
    assert [(path, path.stat().st_mtime_ns) for path in pulled.files()] == before


def test_local_flags_and_deletes_go_up(demo: Demo, pulled: Offlineimap):
    for each in ("flagged", "deleted"):
        demo.deliver(mail(f"offlineimap, to be {each}"))
    arrived(demo, "offlineimap, to be deleted")
    pulled.sync()
    [flagged], [deleted] = pulled.of("offlineimap, to be flagged"), pulled.of("offlineimap, to be deleted")
    assert digest(flagged.read_bytes().replace(b"\n", b"\r\n")) == digest(mail("offlineimap, to be flagged"))
    base = flagged.name.partition(":2,")[0]
    flagged.rename(pulled.home / "mail" / "INBOX" / "cur" / f"{base}:2,FRS")
    deleted.unlink()
    pulled.sync()
    [row] = demo.find("offlineimap, to be flagged")
    assert (row["isRead"], row["flag"], row["verb"]) == (True, "flagged", 102)
    assert not demo.find("offlineimap, to be deleted")
    assert len(demo.find("offlineimap, to be deleted", "deleteditems")) == 1


def test_flags_and_deletes_made_elsewhere_come_down(demo: Demo, pulled: Offlineimap):
    ids = [demo.deliver(mail(f"offlineimap, elsewhere {n}")) for n in (1, 2)]
    arrived(demo, "offlineimap, elsewhere 2")
    pulled.sync()
    assert len(pulled.of("offlineimap, elsewhere 1")) == 1
    demo.control.patch(f"users/{ALICE}/messages/{ids[0]}", json={"isRead": True}).raise_for_status()
    demo.control.delete(f"users/{ALICE}/messages/{ids[1]}").raise_for_status()
    for _ in range(20):
        pulled.sync()
        if not pulled.of("offlineimap, elsewhere 2"):
            break
    [path] = pulled.of("offlineimap, elsewhere 1")
    assert "S" in path.name.rpartition(",")[2] and not pulled.of("offlineimap, elsewhere 2")


def test_a_local_message_is_appended_once(demo: Demo, pulled: Offlineimap):
    made = pulled.home / "mail" / "INBOX" / "cur" / "1700000000_1.1.lab:2,S"
    made.write_bytes(mail("offlineimap, made here").replace(b"\r\n", b"\n"))
    os.utime(made, (1_400_000_000, 1_400_000_000))
    pulled.sync()
    pulled.sync()
    [row] = demo.find("offlineimap, made here")
    assert row["isRead"] and not row["isDraft"] and row["receivedDateTime"] == "2014-05-13T16:53:20Z"
    assert len(pulled.of("offlineimap, made here")) == 1, "it did not come back as another"


@pytest.mark.parametrize("compression", [True, False], ids=["compressed", "plain"])
def test_a_folder_migrates_and_comes_back_byte_for_byte(demo: Demo, tmp_path: Path, compression: bool):
    name = f"offlineimap-migrated-{compression}"
    here, there = tmp_path / "here", tmp_path / "there"
    for part in ("cur", "new", "tmp"):
        (here / "mail" / name / part).mkdir(parents=True)
    there.mkdir()
    letters = [mail(f"offlineimap, migrated {n}", "Ünïcode " * n) for n in range(5)]
    for n, letter in enumerate(letters):
        target = here / "mail" / name / "cur" / f"170000000{n}_1.1.lab:2,S"
        target.write_bytes(letter.replace(b"\r\n", b"\n"))
    said = Offlineimap(demo, here, name, compression=compression).sync("-d", "imap")
    assert ("COMPRESS DEFLATE" in said) == compression
    rows = demo.listing(name)
    assert len(rows) == 5 and all(row["isRead"] and not row["isDraft"] for row in rows)
    back = Offlineimap(demo, there, name, compression=compression)
    back.sync()
    came = Counter(digest(p.read_bytes().replace(b"\n", b"\r\n")) for p in back.files(name))
    assert came == Counter(map(digest, letters))
