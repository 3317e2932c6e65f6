"""mbsync: a whole mailbox to a Maildir and back, twice."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from interop.lab import ALICE, PASSWORD, Demo, digest, eventually, mail, run

CONFIG = """\
IMAPAccount lab
Host localhost
Port {port}
User {user}
Pass {password}
SSLType IMAPS
SystemCertificates no
CertificateFile {ca}
{account}

IMAPStore far
Account lab

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel lab
Far :far:
Near :near:
Patterns {patterns}
Create Both
Expunge Both
Remove Both
Sync All
CopyArrivalDate yes
SyncState {home}/state/
"""
TUID = re.compile(rb"^X-TUID: [^\n]*\n", re.M | re.I)  # mbsync's own mark in the copy it keeps
PLACEHOLDER = b"X-Gateway-Placeholder:"


@dataclass
class Maildir:
    """What mbsync keeps of one mailbox."""

    demo: Demo
    home: Path
    folder: str
    said: str = ""

    def sync_until(self, check: Callable[[], Any]) -> None:
        def synced() -> Any:
            self.sync()
            return check()

        eventually(synced)

    def sync(self, *, patterns: str = "INBOX", account: str = "", debug: bool = False) -> str:
        """Run it; what it said. `account`: more lines about the server; `debug`: with all it sends and hears."""
        text = CONFIG.format(
            port=self.demo.ports["imaps"], user=ALICE, password=PASSWORD, ca=self.demo.ca_file, home=self.home,
            patterns=patterns, account=account,
        )  # fmt: skip
        for each in ("mail", "state"):
            (self.home / each).mkdir(exist_ok=True)
        rc = self.home / "mbsyncrc"
        rc.write_text(text)
        done = run(["mbsync", *(["-Dn"] if debug else []), "-c", rc, "lab"], self.home, timeout=110)
        return (done.stdout + done.stderr).decode()

    @property
    def files(self) -> list[Path]:
        base = self.home / "mail" / self.folder
        return sorted(path for part in ("new", "cur") for path in (base / part).iterdir())

    def of(self, subject: str) -> list[Path]:
        wanted = f"\nSubject: {subject}\n".encode()
        return [path for path in self.files if wanted in b"\n" + path.read_bytes()]

    def state(self) -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in self.files}


def octets(path: Path) -> bytes:
    """The message as it came over the wire: mbsync stores LF for CRLF and adds its X-TUID."""
    return TUID.sub(b"", path.read_bytes(), count=1).replace(b"\n", b"\r\n")


def put(home: Path, folder: str, letters: Sequence[bytes]) -> None:
    """A Maildir with these messages."""
    for part in ("cur", "new", "tmp"):
        (home / "mail" / folder / part).mkdir(parents=True)
    for n, letter in enumerate(letters):
        target = home / "mail" / folder / "cur" / f"170000000{n}.1_1.lab:2,"
        target.write_bytes(letter.replace(b"\r\n", b"\n"))


@pytest.fixture(scope="module")
def pulled(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Maildir:
    """INBOX pulled once; each test leaves both sides in step."""
    made = Maildir(demo, tmp_path_factory.mktemp("mbsync"), "INBOX")
    made.said = made.sync()
    return made


def expected(demo: Demo) -> tuple[Counter[str], int, int]:
    """Digests of what mbsync must have; how many the mailbox cannot render; how many mbsync does not take:
    a message without the empty line after its header."""
    digests: Counter[str] = Counter()
    unreadable = skipped = 0
    for row in demo.listing():
        if row["sha256"] is None:
            unreadable += 1
        elif row["size"] < 1000 or row["subject"].startswith("X headers"):
            raw = demo.value(row["id"])
            assert digest(raw) == row["sha256"]
            whole = b"\r\n\r\n" in raw or raw.startswith(b"\r\n")
            skipped += not whole
            # A message that has an X-TUID of its own gets mbsync's in its place.
            digests[digest(TUID.sub(b"", raw, count=1))] += whole
        else:
            digests[row["sha256"]] += 1
    return +digests, unreadable, skipped


def test_a_full_pull_is_the_mailbox_byte_for_byte(demo: Demo, pulled: Maildir):
    digests, unreadable, skipped = expected(demo)
    assert pulled.said.count("incomplete header; skipping") == skipped
    placeholders = [path for path in pulled.files if PLACEHOLDER in path.read_bytes()]
    assert len(placeholders) == unreadable
    assert sum(digests.values()) + unreadable + skipped >= 500
    assert Counter(digest(octets(p)) for p in pulled.files if p not in placeholders) == digests


def test_flags_and_dates_came_with_them(demo: Demo, pulled: Maildir):
    def instant(row: dict[str, str]) -> float:
        return datetime.fromisoformat(row["receivedDateTime"]).timestamp()

    seen = {(round(p.stat().st_mtime), "S" in p.name.rpartition(",")[2]) for p in pulled.files}
    rows = [r for r in demo.listing() if r["sha256"] is not None and r["size"] > 100]
    assert {(round(instant(r)), bool(r["isRead"])) for r in rows} - seen == set()


def test_a_second_run_transfers_nothing(demo: Demo, pulled: Maildir):
    before = pulled.state()
    demo.forget()
    pulled.sync()
    assert demo.bodies_read() == 0
    assert not [line for line in demo.log() if line.startswith(("PATCH", "DELETE"))]
    assert pulled.state() == before


def test_a_local_flag_and_a_local_delete_go_up(demo: Demo, pulled: Maildir):
    for subject in ("mbsync, to be flagged", "mbsync, to be deleted"):
        demo.deliver(mail(subject))
    pulled.sync_until(lambda: pulled.of("mbsync, to be flagged") and pulled.of("mbsync, to be deleted"))
    [flagged], [deleted] = pulled.of("mbsync, to be flagged"), pulled.of("mbsync, to be deleted")
    base = flagged.name.partition(":2,")[0]
    flagged.rename(pulled.home / "mail" / "INBOX" / "cur" / f"{base}:2,FRS")
    deleted.unlink()
    pulled.sync()
    [row] = demo.find("mbsync, to be flagged")
    assert (row["isRead"], row["flag"], row["verb"]) == (True, "flagged", 102)
    assert not demo.find("mbsync, to be deleted")
    assert len(demo.find("mbsync, to be deleted", "deleteditems")) == 1, "expunged is not destroyed"


def test_new_mail_comes_down_and_what_is_gone_goes(demo: Demo, pulled: Maildir):
    identity = demo.deliver(mail("mbsync, new mail", "A new one.\nWith two lines."))
    pulled.sync_until(lambda: pulled.of("mbsync, new mail"))
    [path] = pulled.of("mbsync, new mail")
    assert digest(octets(path)) == demo.find("mbsync, new mail")[0]["sha256"]
    demo.control.delete(f"users/{ALICE}/messages/{identity}").raise_for_status()
    pulled.sync_until(lambda: not pulled.of("mbsync, new mail"))


def test_a_local_message_is_appended_once(demo: Demo, pulled: Maildir):
    made = pulled.home / "mail" / "INBOX" / "cur" / "1700000000.1_1.lab:2,S"
    text = mail("mbsync, made here").replace(b"\r\n", b"\n")
    made.write_bytes(text)
    os.utime(made, (1_400_000_000, 1_400_000_000))
    pulled.sync()
    pulled.sync()
    [row] = demo.find("mbsync, made here")
    assert row["isRead"] and not row["isDraft"] and row["receivedDateTime"] == "2014-05-13T16:53:20Z"
    assert len(pulled.of("mbsync, made here")) == 1, "it did not come back as another"


def test_a_folder_made_here_is_made_there_and_its_bytes_come_back(demo: Demo, tmp_path: Path):
    near = Maildir(demo, tmp_path, "Migrated")
    letters = [mail(f"mbsync, migrated {n}", "Ünïcode " * n) for n in range(5)]
    put(tmp_path, "Migrated", letters)
    near.sync(patterns="Migrated")
    assert sorted(r["subject"] for r in demo.listing("Migrated")) == [
        f"mbsync, migrated {n}" for n in range(5)
    ]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    back = Maildir(demo, elsewhere, "Migrated")
    back.sync(patterns="Migrated")
    assert sorted(octets(p) for p in back.files) == sorted(letters)


@pytest.mark.parametrize("depth", ["", "PipelineDepth 1"], ids=["pipelined", "one-by-one"])
def test_both_ways_over_a_compressed_connection(demo: Demo, tmp_path: Path, depth: str):
    name = f"Compressed {len(depth)}"
    letters = [
        mail(f"mbsync, compressed {n}", "".join(f"Zeile {i}\n" for i in range(n * 400))) for n in range(12)
    ]
    here, there = Maildir(demo, tmp_path / "here", name), Maildir(demo, tmp_path / "there", name)
    there.home.mkdir()
    put(here.home, name, letters)
    said = here.sync(patterns=f'"{name}"', account=depth, debug=True)
    said += there.sync(patterns=f'"{name}"', account=depth, debug=True)
    assert said.count(">>> 2 COMPRESS DEFLATE") == said.count("2 OK DEFLATE active") == 2
    assert "AUTHENTICATE SCRAM-SHA-256" in said
    assert len(demo.listing(name)) == 12
    assert sorted(octets(p) for p in there.files) == sorted(letters)


def test_without_compression_it_is_the_same(demo: Demo, tmp_path: Path):
    letters = [mail(f"mbsync, plain {n}") for n in range(3)]
    put(tmp_path, "Uncompressed", letters)
    near = Maildir(demo, tmp_path, "Uncompressed")
    said = near.sync(patterns="Uncompressed", account="DisableExtension COMPRESS=DEFLATE", debug=True)
    assert ">>> 2 COMPRESS" not in said and len(demo.listing("Uncompressed")) == 3


def test_an_emptied_folder_is_removed_on_both_sides(demo: Demo, tmp_path: Path):
    for name in ("Here removed", "There removed"):
        put(tmp_path, name, [mail(f"mbsync, {name}")])
    both = '"Here removed" "There removed"'
    near = Maildir(demo, tmp_path, "Here removed")
    near.sync(patterns=both)
    for name in ("Here removed", "There removed"):
        [path] = Maildir(demo, tmp_path, name).files
        path.unlink()
    near.sync(patterns=both)
    assert not demo.listing("Here removed") and not demo.listing("There removed")
    shutil.rmtree(tmp_path / "mail" / "Here removed")
    demo.drop_folder("There removed")
    near.sync(patterns=both)
    near.sync(patterns=both)
    assert not list((tmp_path / "mail").iterdir())
    assert "removed" not in demo.listed() and "INBOX" in demo.listed()
