"""What a client was told, and what must therefore hold: UIDs, flags, and where each message is.

A message is known by the token in its Subject. Nothing here moves a message back to where it was, and nothing
copies it twice to one folder, so a token stands at most once in a folder and keeps its UID there for ever.
"""

from __future__ import annotations

import imaplib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

INBOX, FILED, COPIES, TRASH = "INBOX", "Filed", "Copies", "Deleted Items"
_FETCHED = re.compile(rb"UID (\d+) FLAGS \(([^)]*)\)")
_SUBJECT = re.compile(rb"Subject: (\S+)", re.I)
Flags = frozenset[str]


@dataclass(frozen=True)
class Snapshot:
    """One mailbox as a fresh session sees it."""

    uidvalidity: int
    uidnext: int
    tokens: Mapping[int, str]
    flags: Mapping[str, Flags]


def examine(box: imaplib.IMAP4, folder: str) -> Snapshot:
    """SELECT read-only, and every UID with its flags and token."""
    status, [count] = box.select(f'"{folder}"', readonly=True)
    assert status == "OK", (folder, count)
    [validity], [following] = box.response("UIDVALIDITY")[1], box.response("UIDNEXT")[1]
    tokens, flags = {}, {}
    if int(count):
        _, data = box.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        for item in data:
            if not isinstance(item, tuple):
                continue
            found, subject = _FETCHED.search(item[0]), _SUBJECT.search(item[1])
            assert found and subject, item
            token = subject[1].decode()
            assert token not in flags, f"{token} is in {folder} twice"
            tokens[int(found[1])] = token
            flags[token] = Flags(found[2].decode().split()) - {r"\Recent"}
        assert len(tokens) == int(count), (folder, len(tokens), count)
    return Snapshot(int(validity), int(following), tokens, flags)


def flags_of(row: Mapping[str, Any]) -> Flags:
    """What IMAP must say of a message the emulator lists so. In Deleted Items the mark of \\Deleted is what an EXPUNGE
    left behind: nothing sets it there in these tests."""
    known = {
        r"\Seen": row["isRead"],
        r"\Flagged": row["flag"] == "flagged",
        r"\Deleted": row["deleted"] == "1" and row["wellKnownName"] != "deleteditems",
        r"\Answered": row["verb"] in (102, 103),
        r"\Draft": row["isDraft"],
    }
    return Flags([name for name, on in known.items() if on] + row["categories"])


def by_folder(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The emulator's rows by IMAP name; what is beyond recovery or hidden by design is under its own name."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        name = INBOX if row["wellKnownName"] == "inbox" else str(row["folderName"])
        if not str(row["wellKnownName"] or "").startswith("recoverable"):
            found.setdefault(name, []).append(row)
    return found


@dataclass
class Ledger:
    """All that was ever answered."""

    validity: dict[str, int] = field(default_factory=dict)
    uidnext: dict[str, int] = field(default_factory=dict)
    owner: dict[tuple[str, int], str] = field(default_factory=dict)
    uid: dict[tuple[str, str], int] = field(default_factory=dict)
    flags: dict[str, Flags] = field(default_factory=dict)  # of INBOX, as acknowledged
    bodies: dict[str, bytes] = field(default_factory=dict)  # of acknowledged APPENDs
    where: dict[str, tuple[str, ...]] = field(default_factory=dict)  # acknowledged: token -> its folders
    unsure: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)  # the allowed ones
    unsure_flags: set[str] = field(default_factory=set)
    together: list[tuple[frozenset[str], str]] = field(
        default_factory=list
    )  # all of them in the folder, or none
    instead: list[tuple[str, str]] = field(
        default_factory=list
    )  # one of the two in INBOX, the old or the new
    promises: int = 0

    # -- what a command may do, and what its OK says --

    def may(self, token: str, *places: tuple[str, ...]) -> None:
        """Until acknowledged: the token is in the folders of one of these tuples."""
        self.unsure[token] = places

    def did(self, token: str, *folders: str) -> None:
        """Acknowledged: the token is in exactly these folders."""
        self.unsure.pop(token, None)
        self.where[token] = folders

    def told(self, folder: str, uid: int, token: str) -> None:
        """A UID the client heard: of this message in this folder, and never of another."""
        self.promises += 1
        assert self.owner.setdefault((folder, uid), token) == token, (
            f"{folder}: UID {uid} was {self.owner[folder, uid]}, is {token}"
        )
        assert self.uid.setdefault((folder, token), uid) == uid, (
            f"{folder}: {token} was UID {self.uid[folder, token]}, is {uid}"
        )

    def promised(self, box: imaplib.IMAP4, folder: str, by_uid: Mapping[int, str]) -> None:
        """The COPYUID of a COPY or MOVE."""
        said = box.response("COPYUID")[1][-1]
        assert said, "no COPYUID"
        _, source, target = said.decode().split()
        for old, new in zip(numbers(source), numbers(target), strict=True):
            self.told(folder, new, by_uid[old])

    # -- what must hold now --

    def learn(self, folder: str, seen: Snapshot) -> None:
        """UIDVALIDITY is what it was, new UIDs are above all that were announced as next, old ones are theirs."""
        assert self.validity.setdefault(folder, seen.uidvalidity) == seen.uidvalidity, (
            f"{folder}: UIDVALIDITY"
        )
        before = self.uidnext.get(folder, 0)
        assert seen.uidnext >= before, f"{folder}: UIDNEXT went from {before} to {seen.uidnext}"
        for uid, token in seen.tokens.items():
            assert uid < seen.uidnext, f"{folder}: UID {uid} is not below UIDNEXT {seen.uidnext}"
            known = (folder, uid) in self.owner
            assert known or uid >= before, f"{folder}: {token} got UID {uid} below UIDNEXT {before}"
            self.told(folder, uid, token)
        self.uidnext[folder] = seen.uidnext

    def agree(self, rows: list[dict[str, Any]]) -> None:
        """Nothing acknowledged is lost or double, nothing unacknowledged is half done or twice there."""
        folders = by_folder(rows)
        places: dict[str, Counter[str]] = {}
        for folder, members in folders.items():
            for row in members:
                places.setdefault(row["subject"], Counter())[folder] += 1
        for token, at in places.items():
            assert max(at.values()) == 1, f"{token} is there twice: {dict(at)}"
        for token, expected in self.where.items():
            allowed = self.unsure.get(token, (expected,))
            found = tuple(sorted(places.get(token, ())))
            assert found in [tuple(sorted(each)) for each in allowed], (
                f"{token} is in {found}, not in {allowed}"
            )
        for token in self.unsure.keys() - self.where.keys():
            found = tuple(sorted(places.get(token, ())))
            assert found in [tuple(sorted(each)) for each in self.unsure[token]], f"{token} is in {found}"
        for tokens, folder in self.together:
            held = {token for token in tokens if places.get(token, Counter())[folder]}
            assert held in (set(), tokens), f"{folder}: only {len(held)} of {len(tokens)} of one command"
        for old, new in self.instead:
            there = [token for token in (old, new) if places.get(token, Counter())[INBOX]]
            assert len(there) == 1, f"REPLACE of {old} by {new}: {there} in INBOX"
        self._flags(folders)
        self._settle(places)

    def _flags(self, folders: Mapping[str, list[Mapping[str, Any]]]) -> None:
        now = {row["subject"]: flags_of(row) for row in folders.get(INBOX, ())}
        for token, expected in self.flags.items():
            if token in now and token not in self.unsure_flags:
                assert now[token] == expected, (
                    f"{token}: {sorted(now[token])}, acknowledged {sorted(expected)}"
                )
        self.flags = now
        self.unsure_flags.clear()

    def _settle(self, places: Mapping[str, Counter[str]]) -> None:
        """What was in doubt is now what it is."""
        for token in list(self.unsure):
            if found := tuple(places.get(token, ())):
                self.where[token] = found
        self.unsure.clear()
        self.together.clear()
        self.instead.clear()


def moved(where: tuple[str, ...], to: str) -> tuple[str, ...]:
    """Out of INBOX."""
    return (*(name for name in where if name != INBOX), to)


def either(where: tuple[str, ...], to: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return where, moved(where, to)


def numbers(text: str) -> list[int]:
    """The UIDs of a uid-set, in its order."""
    found: list[int] = []
    for piece in text.split(","):
        first, _, last = piece.partition(":")
        found += range(int(first), int(last or first) + 1)
    return found
