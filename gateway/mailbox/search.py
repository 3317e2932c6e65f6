"""SEARCH on rows, exactly (RFC 9051 section 6.4.4, RFC 7162 section 3.1.5).

A key is compiled once into a tree of functions from a row to True, False or None: None means that the row
does not hold enough yet. So a folder evaluates in rounds, cheapest facts first, and fetches the dear ones
for the rows that are still undecided only:

    query = Query(key, count=view.count, last_uid=view.uids[-1])
    for need in query.rounds:                    # e.g. INDEX, META, META|MIME
        ... rows of the undecided, with `need` ...
        verdict = query.evaluate(row, need)

Semantics where the RFC leaves room:
- INTERNALDATE's day is its day in UTC, which is how INTERNALDATE is shown; SENT* compare the day that the
  Date field names in its own zone. A message without a readable Date matches no SENT* key.
- FROM, TO, CC, BCC and SUBJECT look at the decoded values of all such fields, names and addresses alike,
  anywhere in them; strings compare as `casefold_text` has it. An empty string asks whether the field is there.
- BODY looks at what `mime.text` calls the body; TEXT at the header, too.
- Once MIME was asked for and there is no body, the message is gone: the verdict stays None, and whoever asked
  counts that as no match, under NOT as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

from gateway.core.types import SYSTEM_FLAGS_BY_NAME
from gateway.mailbox.api import Need, Row
from gateway.mime.header import Fields, decoded
from gateway.mime.section import read
from gateway.mime.text import body_finds, casefold_text, header_text
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
)

Verdict = bool | None
Test = Callable[[Row, Need], Verdict]

_DAY = 86_400
_EPOCH = date(1970, 1, 1).toordinal()


# -- what a key needs --


def _field_need(key: Contains) -> Need:
    return {Field.BODY: Need.MIME, Field.TEXT: Need.META | Need.MIME}.get(key.field, Need.META)


_NEEDS: dict[type, Callable[[Any], Need]] = {
    And: lambda key: _union(key.keys),
    Or: lambda key: _union((key.left, key.right)),
    Not: lambda key: need_of(key.key),
    Contains: _field_need,
    HeaderContains: lambda key: Need.META,
    DateIs: lambda key: Need.META if key.sent else Need.INDEX,
    Larger: lambda key: Need.SIZE,
    Smaller: lambda key: Need.SIZE,
}


def _union(keys: tuple[SearchKey, ...]) -> Need:
    need = Need.INDEX
    for key in keys:
        need |= need_of(key)
    return need


def need_of(key: SearchKey) -> Need:
    """All that rows must hold for `key` to be decided in any case."""
    rule = _NEEDS.get(type(key))
    return rule(key) if rule else Need.INDEX


def cheap_first(key: SearchKey) -> SearchKey:
    """The same key with the operands of AND and OR in the order of what they need."""
    match key:
        case And(keys):
            return And(tuple(sorted(map(cheap_first, keys), key=need_of)))
        case Or(left, right):
            first, second = sorted((cheap_first(left), cheap_first(right)), key=need_of)
            return Or(first, second)
        case Not(inner):
            return Not(cheap_first(inner))
    return key


# -- the compiled form --


class Query:
    """A key made ready for one mailbox view of `count` messages whose last UID is `last_uid` (0 if empty)."""

    def __init__(self, key: SearchKey, *, count: int, last_uid: int) -> None:
        self.key = cheap_first(key)
        self.need = need_of(key)
        self._count = count
        self._last_uid = last_uid
        self._body_needles = frozenset(_body_needles(self.key))
        self._searched: Row | None = None  # the row that `_found` is of
        self._found: set[str] = set()
        self._test = self._compile(self.key)

    @property
    def rounds(self) -> tuple[Need, ...]:
        """What to ask rows for, round by round, each holding the ones before; the last decides everything."""
        steps = [Need.INDEX]
        for fact in (Need.META, Need.SIZE, Need.MIME):
            if fact in self.need:
                steps.append(steps[-1] | fact)
        return tuple(steps)

    def evaluate(self, row: Row, have: Need) -> Verdict:
        """Whether `row` matches, as far as it can be said when the row was read with `have`."""
        return self._test(row, have)

    def _compile(self, key: SearchKey) -> Test:
        return _COMPILERS[type(key)](self, key)

    def _body_has(self, row: Row, needle: str) -> Verdict:
        """All needles of the query are looked for at once, so that a body is decoded once."""
        body = row.body
        if body is None:
            return None
        if self._searched is not row:
            self._found = body_finds(body, body.part, self._body_needles)
            self._searched = row
        return needle in self._found


def _body_needles(key: SearchKey) -> Iterator[str]:
    match key:
        case And(keys):
            for inner in keys:
                yield from _body_needles(inner)
        case Or(left, right):
            yield from _body_needles(left)
            yield from _body_needles(right)
        case Not(inner):
            yield from _body_needles(inner)
        case Contains(Field.BODY | Field.TEXT, text):
            yield casefold_text(text)


# -- one compiler per kind of key --


def _all(query: Query, key: All) -> Test:
    return lambda row, have: True


def _and(query: Query, key: And) -> Test:
    tests = [query._compile(inner) for inner in key.keys]

    def test(row: Row, have: Need) -> Verdict:
        verdict: Verdict = True
        for inner in tests:
            found = inner(row, have)
            if found is False:
                return False
            verdict = verdict if found else None
        return verdict

    return test


def _or(query: Query, key: Or) -> Test:
    left, right = query._compile(key.left), query._compile(key.right)

    def test(row: Row, have: Need) -> Verdict:
        first = left(row, have)
        if first:
            return True
        second = right(row, have)
        return second if first is False or second else None

    return test


def _not(query: Query, key: Not) -> Test:
    inner = query._compile(key.key)

    def test(row: Row, have: Need) -> Verdict:
        verdict = inner(row, have)
        return None if verdict is None else not verdict

    return test


def _flag(query: Query, key: HasFlag) -> Test:
    system = SYSTEM_FLAGS_BY_NAME.get(key.name.lower())
    if system is not None:
        return lambda row, have: bool(row.flags.system & system)
    return lambda row, have: row.flags.has_keyword(key.name)


def _recent(query: Query, key: Recent) -> Test:
    return lambda row, have: row.recent


def _modseq(query: Query, key: ModSeqIs) -> Test:
    return lambda row, have: row.modseq >= key.modseq


def _seq(query: Query, key: SeqSet) -> Test:
    return lambda row, have: key.ids.contains(row.seq, query._count)


def _uid(query: Query, key: UidSet) -> Test:
    return lambda row, have: key.ids.contains(row.uid, query._last_uid)


def _larger(query: Query, key: Larger) -> Test:
    return lambda row, have: row.size > key.octets if Need.SIZE in have else None


def _smaller(query: Query, key: Smaller) -> Test:
    return lambda row, have: row.size < key.octets if Need.SIZE in have else None


_ORDER: dict[When, Callable[[Any, Any], bool]] = {
    When.BEFORE: lambda day, wanted: day < wanted,
    When.ON: lambda day, wanted: day == wanted,
    When.SINCE: lambda day, wanted: day >= wanted,
}


def _date(query: Query, key: DateIs) -> Test:
    holds = _ORDER[key.when]
    if key.sent:
        return lambda row, have: _sent(row, lambda day: holds(day, key.date))
    wanted = date(*key.date).toordinal() - _EPOCH
    return lambda row, have: holds(row.internal_date // _DAY, wanted)


def _sent(row: Row, holds: Callable[[tuple[int, int, int]], bool]) -> Verdict:
    header = _header(row)
    if header is None:
        return None
    day = sent_day(Fields(header).first(b"date") or b"")
    return day is not None and holds(day)


def _header(row: Row) -> bytes | None:
    """The pinned header block, else the body's own (decision 11: they agree where MIME came first)."""
    if row.meta is not None:
        return row.meta.header
    return None if row.body is None else read(row.body, 0, row.body.part.body)


def _contains(query: Query, key: Contains) -> Test:
    if key.field is Field.BODY:
        needle = casefold_text(key.text)
        return lambda row, have: query._body_has(row, needle)
    if key.field is Field.TEXT:
        return _text(query, key)
    return _in_field(key.field.value.lower().encode(), key.text)


def _header_contains(query: Query, key: HeaderContains) -> Test:
    return _in_field(key.name.lower(), key.text)


def _in_field(name: bytes, text: str) -> Test:
    needle = casefold_text(text)

    def test(row: Row, have: Need) -> Verdict:
        header = _header(row)
        if header is None:
            return None
        return any(needle in casefold_text(decoded(value)) for value in Fields(header).all(name))

    return test


def _text(query: Query, key: Contains) -> Test:
    needle = casefold_text(key.text)

    def test(row: Row, have: Need) -> Verdict:
        header = _header(row)
        if header is not None and needle in casefold_text(header_text(header)):
            return True
        return query._body_has(row, needle)

    return test


_COMPILERS: dict[type, Callable[[Query, Any], Test]] = {
    All: _all,
    And: _and,
    Or: _or,
    Not: _not,
    HasFlag: _flag,
    Recent: _recent,
    ModSeqIs: _modseq,
    SeqSet: _seq,
    UidSet: _uid,
    Larger: _larger,
    Smaller: _smaller,
    DateIs: _date,
    Contains: _contains,
    HeaderContains: _header_contains,
}
