"""SEARCH on rows (RFC 9051 section 6.4.4, RFC 7162 section 3.1.5, RFC 5032, RFC 6203).

A key is compiled once into a tree of functions from a row to True, False or None: None means that the row
does not hold enough yet. So a folder evaluates in rounds, cheapest facts first, and fetches the dear ones
for the rows that are still undecided only:

    query = Query(key, count=view.count, last_uid=view.uids[-1], now=clock.time())
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

from collections.abc import Callable
from datetime import date
from typing import Any

from gateway.core.types import SYSTEM_FLAGS_BY_NAME
from gateway.mailbox import needles
from gateway.mailbox.fuzzy import BY_INDEX
from gateway.mailbox.needles import Finder, Mode, Seen, Test, Verdict, header_of
from gateway.mailbox.relevancy import fit_of
from gateway.mailbox.values import Need, Row
from gateway.mime.header import Fields
from gateway.wire.dates import sent_day
from gateway.wire.searchkey import (
    All,
    And,
    Contains,
    DateIs,
    Field,
    Fuzzy,
    HasFlag,
    HeaderContains,
    Larger,
    ModSeqIs,
    Not,
    ObjectIs,
    Or,
    Recent,
    SavedDate,
    SearchKey,
    SeqSet,
    Smaller,
    UidSet,
    When,
    Within,
)

_DAY = 86_400
_EPOCH = date(1970, 1, 1).toordinal()


# -- what a key needs --


def _field_need(key: Contains) -> Need:
    return {Field.BODY: Need.MIME, Field.TEXT: Need.META | Need.MIME}.get(key.field, Need.META)


_NEEDS: dict[type, Callable[[Any], Need]] = {
    And: lambda key: _union(key.keys),
    Or: lambda key: _union((key.left, key.right)),
    Not: lambda key: need_of(key.key),
    Fuzzy: lambda key: need_of(key.key),
    Contains: _field_need,
    HeaderContains: lambda key: Need.META,
    DateIs: lambda key: Need.META if key.sent else Need.INDEX,
    SavedDate: lambda key: Need.STORED,
    ObjectIs: lambda key: Need.STORED,
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


ROUNDS = (Need.STORED, Need.META, Need.SIZE, Need.MIME)  # cheapest first


def _dearness(key: SearchKey) -> int:
    """The place in ROUNDS of the dearest need."""
    need = need_of(key)
    return max((place for place, fact in enumerate(ROUNDS, 1) if fact in need), default=0)


def cheap_first(key: SearchKey) -> SearchKey:
    """The same key with the operands of AND and OR in the order of what they need."""
    match key:
        case And(keys):
            return And(tuple(sorted(map(cheap_first, keys), key=_dearness)))
        case Or(left, right):
            first, second = sorted((cheap_first(left), cheap_first(right)), key=_dearness)
            return Or(first, second)
        case Not(inner):
            return Not(cheap_first(inner))
        case Fuzzy(inner):
            return Fuzzy(cheap_first(inner))
    return key


# -- the compiled form --


class Query:
    """A key made ready for one mailbox view of `count` messages whose last UID is `last_uid` (0 if empty), at `now`
    (seconds since 1970). `finder` knows what is looked for in bodies."""

    def __init__(self, key: SearchKey, *, count: int, last_uid: int, now: float = 0.0) -> None:
        self.key = cheap_first(key)
        self.need = need_of(key)
        self.finder = Finder()
        self.count = count
        self.last_uid = last_uid
        self.now = now
        self._test = self.compile(self.key, Mode())
        self._fit = fit_of(self.finder, self.key)

    @property
    def rounds(self) -> tuple[Need, ...]:
        """What to ask rows for, round by round, each holding the ones before; the last decides everything."""
        steps = [Need.INDEX]
        for fact in ROUNDS:
            if fact in self.need:
                steps.append(steps[-1] | fact)
        return tuple(steps)

    def evaluate(self, row: Row, have: Need) -> Verdict:
        """Whether `row` matches, as far as it can be said when the row was read with `have`."""
        return self._test(row, Seen(have))

    def judge(self, row: Row, seen: Seen) -> Verdict:
        """The same, with all that is known beside the row."""
        return self._test(row, seen)

    @property
    def fuzzy(self) -> bool:
        """Whether a message can fit more or less well."""
        return self._fit is not None

    def fit(self, row: Row, seen: Seen) -> float:
        """How well a match fits, above 0 and up to 1."""
        return (self._fit(row, seen) if self._fit is not None else None) or BY_INDEX

    def compile(self, key: SearchKey, mode: Mode) -> Test:
        return _COMPILERS[type(key)](self, key, mode)


# -- one compiler per kind of key --


def _all(query: Query, key: All, mode: Mode) -> Test:
    return lambda row, seen: True


def _and(query: Query, key: And, mode: Mode) -> Test:
    tests = [query.compile(inner, mode) for inner in key.keys]

    def test(row: Row, seen: Seen) -> Verdict:
        verdict: Verdict = True
        for inner in tests:
            found = inner(row, seen)
            if found is False:
                return False
            verdict = verdict if found else None
        return verdict

    return test


def _or(query: Query, key: Or, mode: Mode) -> Test:
    left, right = query.compile(key.left, mode), query.compile(key.right, mode)

    def test(row: Row, seen: Seen) -> Verdict:
        first = left(row, seen)
        if first:
            return True
        second = right(row, seen)
        return second if first is False or second else None

    return test


def _not(query: Query, key: Not, mode: Mode) -> Test:
    inner = query.compile(key.key, Mode(not mode.positive, mode.fuzzy))

    def test(row: Row, seen: Seen) -> Verdict:
        verdict = inner(row, seen)
        return None if verdict is None else not verdict

    return test


def _fuzzy(query: Query, key: Fuzzy, mode: Mode) -> Test:
    return query.compile(key.key, Mode(mode.positive, fuzzy=True))


def _flag(query: Query, key: HasFlag, mode: Mode) -> Test:
    system = SYSTEM_FLAGS_BY_NAME.get(key.name.lower())
    if system is not None:
        return lambda row, seen: bool(row.flags.system & system)
    return lambda row, seen: row.flags.has_keyword(key.name)


def _recent(query: Query, key: Recent, mode: Mode) -> Test:
    return lambda row, seen: row.recent


def _modseq(query: Query, key: ModSeqIs, mode: Mode) -> Test:
    return lambda row, seen: row.modseq >= key.modseq


def _seq(query: Query, key: SeqSet, mode: Mode) -> Test:
    return lambda row, seen: key.ids.contains(row.seq, query.count)


def _uid(query: Query, key: UidSet, mode: Mode) -> Test:
    return lambda row, seen: key.ids.contains(row.uid, query.last_uid)


def _larger(query: Query, key: Larger, mode: Mode) -> Test:
    return lambda row, seen: row.size > key.octets if Need.SIZE in seen.have else None


def _smaller(query: Query, key: Smaller, mode: Mode) -> Test:
    return lambda row, seen: row.size < key.octets if Need.SIZE in seen.have else None


_ORDER: dict[When, Callable[[Any, Any], bool]] = {
    When.BEFORE: lambda day, wanted: day < wanted,
    When.ON: lambda day, wanted: day == wanted,
    When.SINCE: lambda day, wanted: day >= wanted,
}


def _date(query: Query, key: DateIs, mode: Mode) -> Test:
    holds = _ORDER[key.when]
    if key.sent:
        return lambda row, seen: _sent(row, lambda day: holds(day, key.date))
    wanted = date(*key.date).toordinal() - _EPOCH
    return lambda row, seen: holds(row.internal_date // _DAY, wanted)


def _sent(row: Row, holds: Callable[[tuple[int, int, int]], bool]) -> Verdict:
    header = header_of(row)
    if header is None:
        return None
    day = sent_day(Fields(header).first(b"date") or b"")
    return day is not None and holds(day)


def _within(query: Query, key: Within, mode: Mode) -> Test:
    """RFC 5032 section 3: what came at that very second is both OLDER and YOUNGER."""
    then = int(query.now) - key.seconds
    if key.older:
        return lambda row, seen: row.internal_date <= then
    return lambda row, seen: row.internal_date >= then


def _saved(query: Query, key: SavedDate, mode: Mode) -> Test:
    """By INTERNALDATE where the save date is not known (RFC 8514 section 4.3)."""
    holds = _ORDER[key.when]
    wanted = date(*key.date).toordinal() - _EPOCH
    return _stored(lambda row: holds((row.save_date or row.internal_date) // _DAY, wanted))


def _object(query: Query, key: ObjectIs, mode: Mode) -> Test:
    return _stored(lambda row: (row.thread_id if key.thread else row.email_id) == key.id)


def _stored(holds: Callable[[Row], bool]) -> Test:
    return lambda row, seen: holds(row) if Need.STORED in seen.have else None


_COMPILERS: dict[type, Callable[[Query, Any, Mode], Test]] = {
    All: _all,
    And: _and,
    Or: _or,
    Not: _not,
    Fuzzy: _fuzzy,
    HasFlag: _flag,
    Recent: _recent,
    ModSeqIs: _modseq,
    SeqSet: _seq,
    UidSet: _uid,
    SavedDate: _saved,
    ObjectIs: _object,
    Larger: _larger,
    Smaller: _smaller,
    DateIs: _date,
    Within: _within,
    Contains: lambda query, key, mode: needles.contains(query.finder, key, mode),
    HeaderContains: lambda query, key, mode: needles.header_contains(query.finder, key, mode),
}
