"""SEARCH and its keys (RFC 9051 section 6.4.4, RFC 3501 section 6.4.4, RFC 4731, RFC 5032,
RFC 7162 section 3.1.5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.core.errors import BadCommand, LimitReached
from gateway.core.runs import Runs
from gateway.core.types import SYSTEM_FLAG_NAMES
from gateway.wire import charset, dates
from gateway.wire.chars import ATOM
from gateway.wire.command import Command, Search
from gateway.wire.cursor import NUMBER64_MAX, NUMBER_MAX, Cursor
from gateway.wire.grammar_returns import or_unsearchable, parse_returns
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

_ENTRY_NAME = re.compile(rb"/flags/\\?" + ATOM.pattern, re.IGNORECASE)
_MODSEQ_ENTRY_TYPES = (b"PRIV", b"SHARED", b"ALL")
_SET_STARTS = (b"*", b"$", *(b"%d" % digit for digit in range(10)))
_OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}")  # RFC 8474 section 7


@dataclass(slots=True)
class _Program:
    """One command's keys while they are read: the cursor, the charset, and what is left of the bounds."""

    c: Cursor
    codec: str
    keys_left: int

    def text(self) -> str:
        self.c.space()
        return charset.decode(self.c.astring(), self.codec)


def parse_search(c: Cursor, tag: bytes, *, by_uid: bool) -> Command:
    returns = parse_returns(c)

    def search() -> Command:
        key = program(c, charset_option(c))
        return Search(tag, by_uid, key, returns.options, returns.page, returns.items)

    return or_unsearchable(c, tag, returns, search)


def program(c: Cursor, codec: str) -> SearchKey:
    """search-key *(SP search-key), as far as the command goes: all must hold."""
    reading = _Program(c, codec, c.limits.search_keys)
    keys = [_key(reading, 0)]
    while c.accept(b" "):
        keys.append(_key(reading, 0))
    return _and(keys)


def charset_option(c: Cursor) -> str:
    """[CHARSET name SP], as Python's codec. RFC 6855 section 3: BAD once all strings are UTF-8."""
    if not c.accept_word(b"CHARSET"):
        return charset.DEFAULT
    if c.one_charset:
        raise BadCommand("SEARCH names no charset after ENABLE UTF8=ACCEPT")
    c.space()
    codec = charset.codec(c.astring())
    c.space()
    return codec


# -- keys --


def _key(p: _Program, depth: int) -> SearchKey:
    if depth > p.c.limits.search_depth:
        raise LimitReached("Search keys nested too deep")
    p.keys_left -= 1
    if p.keys_left < 0:
        raise LimitReached("Too many search keys")
    c = p.c
    if c.at(b"("):
        return _group(p, depth)
    if c.text.startswith(_SET_STARTS, c.pos):
        return SeqSet(c.message_set())
    word = c.word("a search key")
    if (nested := _NESTED.get(word)) is not None:
        return nested(p, depth)
    if (read := _KEYS.get(word)) is not None:
        return read(p)
    raise BadCommand(f"Unknown search key {word[:40].decode('ascii')}")


def _group(p: _Program, depth: int) -> SearchKey:
    p.c.expect(b"(", "a group")
    if depth >= p.c.limits.paren_depth:
        raise LimitReached("Parentheses nested too deep")
    keys = [_key(p, depth + 1)]
    while not p.c.accept(b")"):
        p.c.space()
        keys.append(_key(p, depth + 1))
    return _and(keys)


def _and(keys: list[SearchKey]) -> SearchKey:
    return keys[0] if len(keys) == 1 else And(tuple(keys))


def _not(p: _Program, depth: int) -> SearchKey:
    p.c.space()
    return Not(_key(p, depth + 1))


def _or(p: _Program, depth: int) -> SearchKey:
    """OR a OR b OR c d, as scripts chain hundreds of them, is one list and becomes a balanced tree."""
    keys: list[SearchKey] = []
    while True:
        p.c.space()
        keys.append(_key(p, depth + 1))
        p.c.space()
        if not p.c.accept_word(b"OR"):
            keys.append(_key(p, depth + 1))
            return _either(keys)
        p.keys_left -= 1


def _either(keys: list[SearchKey]) -> SearchKey:
    if len(keys) == 1:
        return keys[0]
    middle = len(keys) // 2
    return Or(_either(keys[:middle]), _either(keys[middle:]))


def _fuzzy(p: _Program, depth: int) -> SearchKey:
    """RFC 6203 section 3."""
    p.c.space()
    return Fuzzy(_key(p, depth + 1))


_NESTED: dict[bytes, Callable[[_Program, int], SearchKey]] = {b"NOT": _not, b"OR": _or, b"FUZZY": _fuzzy}


def _contains(field: Field, p: _Program) -> SearchKey:
    return Contains(field, p.text())


def _header(p: _Program) -> SearchKey:
    p.c.space()
    name = p.c.astring()
    return HeaderContains(name, p.text())


def _keyword(p: _Program) -> SearchKey:
    p.c.space()
    return HasFlag(p.c.atom("a keyword"))


def _unkeyword(p: _Program) -> SearchKey:
    return Not(_keyword(p))


def _date(when: When, sent: bool, p: _Program) -> SearchKey:
    p.c.space()
    return DateIs(when, _day(p.c), sent)


def _day(c: Cursor) -> dates.Day:
    text = c.string() if c.at_string() else c.atom("a date")
    try:
        return dates.parse_date(text)
    except ValueError as error:
        raise BadCommand("Not a date, which is like 1-Feb-1994") from error


def _within(older: bool, p: _Program) -> SearchKey:
    p.c.space()
    seconds = p.c.number()
    if not seconds:
        raise BadCommand("An interval has a second at least")
    return Within(seconds, older)


def _saved(when: When, p: _Program) -> SearchKey:
    p.c.space()
    return SavedDate(when, _day(p.c))


def _object_id(thread: bool, p: _Program) -> SearchKey:
    p.c.space()
    return ObjectIs(p.c.match(_OBJECT_ID, "an object id").decode("ascii"), thread)


def _larger(p: _Program) -> SearchKey:
    p.c.space()
    return Larger(p.c.number(NUMBER64_MAX))


def _smaller(p: _Program) -> SearchKey:
    p.c.space()
    return Smaller(p.c.number(NUMBER64_MAX))


def _uid(p: _Program) -> SearchKey:
    p.c.space()
    return UidSet(p.c.message_set())


def _uid_after(p: _Program) -> SearchKey:
    """UIDAFTER n (RFC 9738 section 3.2): nothing but what is above, so it is not `n+1:*`."""
    uid = _one_uid(p)
    return UidSet(Runs(((uid + 1, NUMBER_MAX),) if uid < NUMBER_MAX else ()))


def _uid_before(p: _Program) -> SearchKey:
    uid = _one_uid(p)
    return UidSet(Runs(((1, uid - 1),) if uid > 1 else ()))


def _one_uid(p: _Program) -> int:
    p.c.space()
    uid = p.c.number()
    if not uid:
        raise BadCommand("A UID is 1 at least")
    return uid


def _modseq(p: _Program) -> SearchKey:
    """MODSEQ [entry-name SP entry-type] n: flags have none of their own, so which one is passed over
    (RFC 7162 section 3.1.5)."""
    c = p.c
    c.space()
    if c.at(b'"'):
        if not _ENTRY_NAME.fullmatch(c.string()):
            raise BadCommand('An entry is like "/flags/\\\\seen"')
        c.space()
        if c.word("an entry type") not in _MODSEQ_ENTRY_TYPES:
            raise BadCommand("Unknown entry type")
        c.space()
    return ModSeqIs(c.number(NUMBER64_MAX))


def _constant(key: SearchKey, _: _Program) -> SearchKey:
    return key


def _flag_keys() -> dict[bytes, SearchKey]:
    """SEEN and UNSEEN, and so on for each system flag."""
    keys: dict[bytes, SearchKey] = {}
    for name in SYSTEM_FLAG_NAMES.values():
        word = name[1:].upper()
        keys[word] = HasFlag(name)
        keys[b"UN" + word] = Not(HasFlag(name))
    return keys


_CONSTANTS: dict[bytes, SearchKey] = {
    b"ALL": All(),
    b"SAVEDATESUPPORTED": All(),  # RFC 8514 section 4.3: every mailbox here has save dates
    b"RECENT": Recent(),
    b"OLD": Not(Recent()),
    b"NEW": And((Recent(), Not(HasFlag(b"\\Seen")))),
    **_flag_keys(),
}
_KEYS: dict[bytes, Callable[[_Program], SearchKey]] = {
    **{word: partial(_constant, key) for word, key in _CONSTANTS.items()},
    **{field.value.encode(): partial(_contains, field) for field in Field},
    **{when.value.encode(): partial(_date, when, False) for when in When},
    **{b"SENT" + when.value.encode(): partial(_date, when, True) for when in When},
    **{b"SAVED" + when.value.encode(): partial(_saved, when) for when in When},
    b"EMAILID": partial(_object_id, False),
    b"THREADID": partial(_object_id, True),
    b"HEADER": _header,
    b"KEYWORD": _keyword,
    b"UNKEYWORD": _unkeyword,
    b"OLDER": partial(_within, True),
    b"YOUNGER": partial(_within, False),
    b"LARGER": _larger,
    b"SMALLER": _smaller,
    b"UID": _uid,
    b"UIDAFTER": _uid_after,
    b"UIDBEFORE": _uid_before,
    b"MODSEQ": _modseq,
}
