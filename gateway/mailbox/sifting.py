"""SEARCH by columns: flags, dates, sizes, numbers and the fields of headers of all messages at once.

A key whose leaves are all of that kind is decided here, set by set: what AND's first operand leaves is all its second
looks at, so that facts are read for as few messages as row by row (`mailbox/search.py` says what the keys mean). Of an
AND with other operands the columns are decided first. Anything else, and a message whose facts are not to be had, is
left to the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import lru_cache
from itertools import compress
from typing import Any

from gateway.core.types import SYSTEM_FLAGS_BY_NAME, Flags
from gateway.mailbox.columns import ColumnReader
from gateway.mailbox.search import Query
from gateway.mailbox.values import Columns, Derived, Meta
from gateway.mime.header import Fields, decoded
from gateway.mime.text import casefold_text
from gateway.wire.dates import sent_day
from gateway.wire.searchkey import (
    All,
    And,
    Contains,
    DateIs,
    Field,
    HasFlag,
    HeaderContains,
    Larger,
    ModSeqIs,
    Not,
    Or,
    Recent,
    SearchKey,
    SeqSet,
    Smaller,
    UidSet,
    When,
    Within,
)

_DAY = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
_WORDS = {Field.FROM, Field.TO, Field.CC, Field.BCC, Field.SUBJECT}

Mask = Iterable[bool]


class UnknownFacts(Exception):
    """A message's facts are not to be had: row by row it can be told what that means."""


# -- which keys --


def by_columns(key: SearchKey, *, exact_sizes: bool) -> bool:
    """Whether columns decide it. `exact_sizes`: those of the index will not do."""
    match key:
        case And(keys):
            return all(by_columns(each, exact_sizes=exact_sizes) for each in keys)
        case Or(left, right):
            return by_columns(left, exact_sizes=exact_sizes) and by_columns(right, exact_sizes=exact_sizes)
        case Not(inner):
            return by_columns(inner, exact_sizes=exact_sizes)
        case Contains(field, text):
            return field in _WORDS and "\n" not in text
        case HeaderContains(_, text):
            return "\n" not in text
        case Larger() | Smaller():
            return not exact_sizes
    return isinstance(key, All) or type(key) in _MASKS


def split(key: SearchKey, *, exact_sizes: bool) -> tuple[SearchKey | None, bool]:
    """The part of a key that columns decide, None if there is none, and whether that is all of it."""
    if by_columns(key, exact_sizes=exact_sizes):
        return key, True
    if isinstance(key, And):
        part = tuple(each for each in key.keys if by_columns(each, exact_sizes=exact_sizes))
        return (And(part) if part else None), False
    return None, False


# -- leaves of the index --


def _flag(query: Query, key: HasFlag, columns: Columns) -> Mask:
    system = SYSTEM_FLAGS_BY_NAME.get(key.name.lower())

    def holds(flags: Flags) -> bool:
        return bool(flags.system & system) if system is not None else flags.has_keyword(key.name)

    found = {number: holds(flags) for number, flags in columns.flag_sets.items()}
    return map(found.__getitem__, columns.flags)


def _recent(query: Query, key: Recent, columns: Columns) -> Mask:
    return [False] * (len(columns) - columns.recent) + [True] * columns.recent


_ORDER: dict[When, Callable[[Any, Any], bool]] = {
    When.BEFORE: lambda day, wanted: day < wanted,
    When.ON: lambda day, wanted: day == wanted,
    When.SINCE: lambda day, wanted: day >= wanted,
}


def _date(query: Query, key: DateIs, columns: Columns) -> Mask:
    wanted = date(*key.date).toordinal() - _EPOCH
    if key.when is When.ON:
        return [when // _DAY == wanted for when in columns.dates]
    bound = wanted * _DAY
    if key.when is When.BEFORE:
        return [when < bound for when in columns.dates]
    return [when >= bound for when in columns.dates]


def _within(query: Query, key: Within, columns: Columns) -> Mask:
    then = int(query.now) - key.seconds
    if key.older:
        return [when <= then for when in columns.dates]
    return [when >= then for when in columns.dates]


_MASKS: dict[type, Callable[[Query, Any, Columns], Mask]] = {
    DateIs: _date,
    HasFlag: _flag,
    Recent: _recent,
    Within: _within,
    ModSeqIs: lambda query, key, columns: [modseq >= key.modseq for modseq in columns.modseqs],
    Larger: lambda query, key, columns: [size > key.octets for size in columns.sizes],
    Smaller: lambda query, key, columns: [size < key.octets for size in columns.sizes],
    SeqSet: lambda query, key, columns: [key.ids.contains(seq, query.count) for seq in columns.seqs],
    UidSet: lambda query, key, columns: [key.ids.contains(uid, query.last_uid) for uid in columns.uids],
}


# -- leaves of header facts --


@lru_cache(maxsize=256)
def _words(name: bytes) -> Derived:
    """All such fields' values as they are compared, each behind a line end, which none of them holds; "" where there is
    no such field."""

    def make(meta: Meta) -> str:
        values = Fields(meta.header).all(name)
        return "".join(["\n" + casefold_text(decoded(value)) for value in values])

    return Derived(("words", name), make)


def _make_day(meta: Meta) -> str:
    day = sent_day(Fields(meta.header).first(b"date") or b"")
    return "" if day is None else _day(day)


def _day(day: tuple[int, int, int]) -> str:
    year, month, number = day
    return f"{year:04}{month:02}{number:02}"


_SENT = Derived("sent", _make_day)


def _contains(text: str) -> Callable[[str], bool]:
    needle = casefold_text(text)
    return (lambda words: needle in words) if needle else bool


def _sent(key: DateIs) -> Callable[[str], bool]:
    wanted, holds = _day(key.date), _ORDER[key.when]
    return lambda day: bool(day) and holds(day, wanted)


def _derived(key: SearchKey) -> tuple[Derived, Callable[[str], bool]] | None:
    match key:
        case Contains(field, text):
            return _words(field.value.lower().encode()), _contains(text)
        case HeaderContains(name, text):
            return _words(name.lower()), _contains(text)
        case DateIs(sent=True):
            return _SENT, _sent(key)
    return None


# -- the whole --


class Sifting:
    """One search of the messages of one view."""

    def __init__(self, reader: ColumnReader, query: Query) -> None:
        self._reader = reader
        self._query = query

    async def select(self, key: SearchKey, at: Sequence[int]) -> Sequence[int]:
        """Of these positions (ascending) those that match. UnknownFacts; errors: those of Graph, as refusals."""
        match key:
            case All():
                return at
            case And(keys):
                for each in keys:
                    at = await self.select(each, at) if at else at
                return at
            case Or(left, right):
                found = await self.select(left, at)
                return sorted([*found, *await self.select(right, without(at, found))])
            case Not(inner):
                return without(at, await self.select(inner, at))
        facts = _derived(key)
        return self._by_index(key, at) if facts is None else await self._by_facts(*facts, at)

    def _by_index(self, key: SearchKey, at: Sequence[int]) -> Sequence[int]:
        columns = self._reader.at(at)
        mask = _MASKS[type(key)](self._query, key, columns)
        if len(columns) == len(at):
            return list(compress(at, mask))
        return [seq - 1 for seq in compress(columns.seqs, mask)]

    async def _by_facts(
        self, wanted: Derived, holds: Callable[[str], bool], at: Sequence[int]
    ) -> Sequence[int]:
        found: list[int] = []
        async for group, (texts,) in self._reader.derived(runs(at), (wanted,)):
            if None in texts:
                raise UnknownFacts
            found += compress(group, map(holds, texts))
            await asyncio.sleep(0)  # others have their turn
        return found


def without(at: Sequence[int], taken: Sequence[int]) -> Sequence[int]:
    """Those that are not among the others; both ascending."""
    if not taken:
        return at
    others = set(taken)
    return [place for place in at if place not in others]


def runs(positions: Sequence[int]) -> list[range]:
    """Ascending positions as ranges."""
    if isinstance(positions, range):
        return [positions]
    found: list[range] = []
    for at in positions:
        if found and found[-1].stop == at:
            found[-1] = range(found[-1].start, at + 1)
        else:
            found.append(range(at, at + 1))
    return found
