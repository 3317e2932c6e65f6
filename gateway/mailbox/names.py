"""Mailbox names: Graph's tree of display names as IMAP's hierarchy of paths, one to one.

A folder is found by id, never by its display name: special folders are localised and may be renamed (contract
section 5.1), siblings may bear one name (5.3). What IMAP cannot carry is escaped: `/` and control characters
become `=XX` (two upper-case hex digits of the UTF-8 octets), and `=` itself where it would read as an escape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.core.errors import CannotDo, NoSuchMailbox
from gateway.core.types import FolderId, SpecialUse
from gateway.store.api import FolderRow
from gateway.wire import mailboxname
from gateway.wire.mailboxname import DELIMITER, INBOX

MAX_DISPLAY_NAME = 255  # characters, contract section 5.3

# Folders of Exchange's own housekeeping: never listed (trap 45 for the conversation history).
NOT_LISTED = frozenset(
    {
        "conversationhistory", "syncissues", "conflicts", "localfailures", "serverfailures", "searchfolders",
        "scheduled", "recoverableitemsdeletions", "recoverableitemsroot", "recoverableitemspurges", "msgfolderroot",
    }
)  # fmt: skip

_USES = {use.value: use for use in SpecialUse}
# what RFC 6855 section 3 forbids in names: controls, DEL, line and paragraph separators
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNSAFE = re.compile(f"/|{_FORBIDDEN.pattern}|=(?=[0-9A-F]{{2}})")
_NOT_ASCII = re.compile("[^\x00-\x7f]")
_ESCAPED = re.compile(r"(?:=[0-9A-F]{2})+")


def escape(display_name: str) -> str:
    """A display name as one level of a path, in Normalization Form C: `unescape(escape(x)) == normal(x)`."""
    level = _UNSAFE.sub(_hex, mailboxname.normal(display_name))
    if mailboxname.normal(level) != level:  # a combining mark would join an escape before it
        return _NOT_ASCII.sub(_hex, level)
    return level


def _hex(found: re.Match[str]) -> str:
    return "".join(f"={octet:02X}" for octet in found[0].encode("utf-8", "surrogatepass"))


def unescape(level: str) -> str:
    """The display name; escapes that are not UTF-8 stand for themselves."""
    return _ESCAPED.sub(_text, level)


def _text(found: re.Match[str]) -> str:
    try:
        return bytes.fromhex(found[0].replace("=", "")).decode()
    except UnicodeDecodeError:
        return found[0]


@dataclass(frozen=True, slots=True)
class Entry:
    """A listed mailbox: its path, its folder, whether it has listed children."""

    name: str
    row: FolderRow
    use: SpecialUse | None
    has_children: bool


class Tree:
    """The listed mailboxes of an account. Immutable; made anew when the hierarchy changes."""

    def __init__(self, rows: Iterable[FolderRow]) -> None:
        listed = _listed(list(rows))
        names = _paths(listed)
        parents = {row.parent for row in listed}
        self._entries = {
            names[row.id]: Entry(names[row.id], row, _USES.get(row.well_known), row.id in parents)
            for row in listed
        }
        self._names = names

    def entries(self) -> list[Entry]:
        """Sorted by name, INBOX and what is below it first."""
        return sorted(self._entries.values(), key=lambda entry: _order(entry.name))

    def find(self, name: str) -> Entry:
        entry = self._entries.get(canonical(name))
        if entry is None:
            raise NoSuchMailbox("No such mailbox")
        return entry

    def get(self, name: str) -> Entry | None:
        return self._entries.get(canonical(name))

    def name_of(self, folder: FolderId) -> str | None:
        return self._names.get(folder)


def canonical(name: str) -> str:
    """INBOX in upper case, alone and as first level, the rest in Normalization Form C (RFC 9051 section 5.1)."""
    return mailboxname.canonical(mailboxname.normal(name))


def split_new(name: str) -> tuple[str, str]:
    """Parent path ('' for the top) and display name of a mailbox to be made. CannotDo for what Exchange refuses."""
    if _FORBIDDEN.search(name):
        raise CannotDo("A mailbox name has no control characters and no line separators")
    parent, delimiter, level = name.rpartition(DELIMITER)
    display = unescape(level)
    above = parent.split(DELIMITER) if delimiter else []
    if not display.strip() or not all(above):
        raise CannotDo("A mailbox name has no empty level")
    if display != display.strip():
        raise CannotDo("A mailbox name neither begins nor ends with a blank")
    if len(display) > MAX_DISPLAY_NAME:
        raise CannotDo(f"A level of a mailbox name has at most {MAX_DISPLAY_NAME} characters")
    return canonical(parent), display


def _listed(rows: Sequence[FolderRow]) -> list[FolderRow]:
    """Without hidden and housekeeping folders and all below them."""
    by_id = {row.id: row for row in rows}
    verdicts: dict[FolderId, bool] = {}

    def shown(row: FolderRow) -> bool:
        known = verdicts.get(row.id)
        if known is None:
            verdicts[row.id] = True  # a cycle in bad data ends here
            parent = by_id.get(row.parent)
            root = parent is None or parent.well_known == "msgfolderroot"
            known = not row.hidden and row.well_known not in NOT_LISTED
            known = known and (root or (parent is not None and shown(parent)))
            verdicts[row.id] = known
        return known

    return [row for row in rows if shown(row)]


def _paths(rows: Sequence[FolderRow]) -> dict[FolderId, str]:
    levels = _levels(rows)
    by_id = {row.id: row for row in rows}
    paths: dict[FolderId, str] = {}
    for row in rows:
        chain: list[str] = []
        at: FolderRow | None = row
        while at is not None and len(chain) <= len(rows):
            chain.append(levels[at.id])
            at = by_id.get(at.parent)
        paths[row.id] = DELIMITER.join(reversed(chain))
    return paths


def _levels(rows: Sequence[FolderRow]) -> dict[FolderId, str]:
    """The name of each folder among its siblings: case twins and duplicates get a number, the oldest none."""
    levels: dict[FolderId, str] = {}
    ids = {row.id for row in rows}
    taken: set[tuple[FolderId, str]] = set()
    for row in sorted(rows, key=lambda row: (row.well_known != "inbox", row.key)):
        level = INBOX if row.well_known == "inbox" else escape(row.name)
        parent = row.parent if row.parent in ids else FolderId("")
        candidate, number = level, 2
        while (parent, candidate.lower()) in taken:
            candidate, number = f"{level} ({number})", number + 1
        taken.add((parent, candidate.lower()))
        levels[row.id] = candidate
    return levels


def _order(name: str) -> tuple[bool, str]:
    return (name.partition(DELIMITER)[0] != INBOX, name.lower())
