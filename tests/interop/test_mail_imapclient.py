"""Mail::IMAPClient, the library under imapsync, in a migration that goes the same way (`migrate.pl`)."""

from __future__ import annotations

import imaplib
from pathlib import Path

import pytest

from interop.lab import ALICE, BOB, HOST, PASSWORD, Demo, digest, mail, run

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(demo: Demo) -> str:
    """Real mail with Received fields, and one message with flags and a date of its own."""
    name = "Migration é"
    demo.make_folder("Migration &AOk-")
    made = demo.folder(name)
    for row in [row for row in demo.listing()[:200] if row["sha256"]][::20]:
        demo.deliver(demo.value(row["id"]), made)
    with imaplib.IMAP4(HOST, demo.ports["imap"], timeout=60) as box:
        box.login(ALICE, PASSWORD)
        flags = r"(\Seen \Flagged \Answered Work $Forwarded)"
        done = box.append(
            '"Migration &AOk-"', flags, '"17-Jul-1996 02:44:25 -0700"', mail("migrates with its flags")
        )
        assert done[0] == "OK", done
    return name


def migrate(demo: Demo, home: Path) -> dict[str, int]:
    ports = [demo.ports["imaps"], demo.ca_file, ALICE, BOB, PASSWORD, "Migration &AOk-"]
    done = run(["perl", HERE / "migrate.pl", *map(str, ports)], home, timeout=110)
    return {key: int(value) for key, value in (line.split() for line in done.stdout.decode().splitlines())}


def seen(demo: Demo, user: str) -> dict[str, tuple[str, frozenset[str], str]]:
    """By SHA-256 of the octets: flags and date, as any client sees them."""
    found = {}
    with imaplib.IMAP4(HOST, demo.ports["imap"], timeout=60) as box:
        box.login(user, PASSWORD)
        box.select('"Migration &AOk-"', readonly=True)
        for part in box.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1]:
            if isinstance(part, tuple):
                flags = frozenset(flag.decode() for flag in imaplib.ParseFlags(part[0])) - {"\\Recent"}
                found[digest(part[1])] = (digest(part[1]), flags, str(imaplib.Internaldate2tuple(part[0])))
    return found


def test_a_folder_migrates_with_octets_flags_and_dates(demo: Demo, folder: str, tmp_path: Path):
    counts = migrate(demo, tmp_path)
    there = demo.listing(folder, BOB)
    assert counts["sent"] == counts["total"] == counts["identities"] == len(there) >= 8
    assert seen(demo, BOB) == seen(demo, ALICE)
    [flagged] = demo.find("migrates with its flags", folder, BOB)
    assert flagged["isRead"] and not flagged["isDraft"]


def test_a_second_run_sends_nothing_and_reads_no_body(demo: Demo, folder: str, tmp_path: Path):
    migrate(demo, tmp_path)
    before = len(demo.listing(folder, BOB))
    demo.forget()
    counts = migrate(demo, tmp_path)
    assert counts["sent"] == 0 and counts["skipped"] == counts["total"] == before
    assert demo.bodies_read() == 0
    assert len(demo.listing(folder, BOB)) == before


def test_the_limit_is_told_before_anything_is_sent(demo: Demo, folder: str, tmp_path: Path):
    assert migrate(demo, tmp_path)["limit"] >= 30_000_000
