"""FETCH responses of many messages at once: a template for the line, filled from columns (`mailbox/columns.py`).

A plan whose items are all columns has a `Form`; any other is told row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from gateway.imap.announce import flags_text
from gateway.mailbox.values import Columns, Derived, Meta
from gateway.mime.header import fields_matching
from gateway.mime.section import SectionText
from gateway.wire.dates import format_date_times
from gateway.wire.fetchatt import Att, BodySection, FetchItem

Column = Callable[[Columns], Iterable[Any]]


def _flags(columns: Columns) -> Iterable[bytes]:
    """Rendered once for each combination. \\Recent are the last ones."""
    told = {number: flags_text(flags, False) for number, flags in columns.flag_sets.items()}
    if not columns.recent:
        return map(told.__getitem__, columns.flags)
    recent = {number: flags_text(flags, True) for number, flags in columns.flag_sets.items()}
    old = len(columns) - columns.recent
    return [
        *map(told.__getitem__, columns.flags[:old]),
        *map(recent.__getitem__, columns.flags[old:]),
    ]


FROM_INDEX: dict[Att, tuple[bytes, Column]] = {
    Att.UID: (b"UID %d", lambda columns: columns.uids),
    Att.FLAGS: (b"FLAGS %b", _flags),
    Att.MODSEQ: (b"MODSEQ (%d)", lambda columns: columns.modseqs),
    Att.INTERNALDATE: (b"INTERNALDATE %b", lambda columns: format_date_times(columns.dates)),
    Att.RFC822_SIZE: (b"RFC822.SIZE %d", lambda columns: columns.sizes),
}
ENVELOPE = Derived("ENVELOPE", lambda meta: b"ENVELOPE " + meta.envelope)
FIELD_LISTS = {SectionText.HEADER_FIELDS: False, SectionText.HEADER_FIELDS_NOT: True}  # -> inverted


@dataclass(frozen=True, slots=True)
class Form:
    """How each of many messages is told: `line` takes a value of every column. `derived`: what the columns must have
    besides the index."""

    line: bytes
    columns: tuple[Column, ...]
    derived: tuple[Derived, ...]

    def lines(self, columns: Columns) -> tuple[list[bytes], Sequence[int]]:
        """The responses, and the UIDs they are of: without those of messages that have gone."""
        told = zip(*[column(columns) for column in self.columns], strict=True)
        if not any(None in made for made in columns.derived):
            return list(map(self.line.__mod__, told)), columns.uids
        kept = [None not in made for made in zip(*columns.derived, strict=True)]
        lines = [self.line % values for values, here in zip(told, kept, strict=True) if here]
        return lines, list(compress(columns.uids, kept))


def form_of(
    items: Sequence[FetchItem], label: Callable[[BodySection], bytes], *, uid_only: bool
) -> Form | None:
    """For the items of a plan in the order they are told in; None where one of them is no column. `label`: what
    stands before an item's literal."""
    words: list[bytes] = []
    columns: list[Column] = [_uids if uid_only else _seqs]
    derived: list[Derived] = []
    for item in items:
        if isinstance(item, Att) and item in FROM_INDEX:
            word, column = FROM_INDEX[item]
        elif (made := _derived(item, label)) is not None:
            word, column = b"%b", _nth(len(derived))
            derived.append(made)
        else:
            return None
        words.append(word)
        columns.append(column)
    start = b"* %d UIDFETCH (" if uid_only else b"* %d FETCH ("
    return Form(start + b" ".join(words) + b")\r\n", tuple(columns), tuple(derived))


def _uids(columns: Columns) -> Sequence[int]:
    return columns.uids


def _seqs(columns: Columns) -> Sequence[int]:
    return columns.seqs


def _nth(number: int) -> Column:
    return lambda columns: columns.derived[number]


def _derived(item: FetchItem, label: Callable[[BodySection], bytes]) -> Derived | None:
    if item is Att.ENVELOPE:
        return ENVELOPE
    if not isinstance(item, BodySection) or item.partial is not None or not item.peek:
        return None  # what marks messages as read goes by rows
    section = item.section
    if section.part or section.text not in FIELD_LISTS:
        return None
    invert, word = FIELD_LISTS[section.text], label(item)

    def make(meta: Meta) -> bytes:
        """No literal may hold NUL (RFC 9051 section 4.3.1)."""
        octets = fields_matching(meta.header, section.fields, invert=invert).replace(b"\0", b"\x80")
        return b"%b {%d}\r\n%b" % (word, len(octets), octets)

    return Derived(word, make)
