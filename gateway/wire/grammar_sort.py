"""SORT and THREAD (RFC 5256 section 5), ESEARCH (RFC 7377 section 2), CANCELUPDATE (RFC 5267 section 4.3.5)."""

from __future__ import annotations

from gateway.core.errors import BadCommand, LimitReached
from gateway.wire import charset
from gateway.wire.command import Command
from gateway.wire.command_search import CancelUpdate, MultiSearch, Sort, Source, Thread, Where
from gateway.wire.cursor import Cursor
from gateway.wire.grammar_returns import or_unsearchable, parse_returns
from gateway.wire.grammar_search import charset_option, program
from gateway.wire.sortkey import Criterion, SortKey, Threading

_WITH_NAMES = (Where.SUBTREE, Where.SUBTREE_ONE, Where.MAILBOXES)


def parse_sort(c: Cursor, tag: bytes, *, by_uid: bool) -> Command:
    returns = parse_returns(c)

    def sort() -> Command:
        criteria = _criteria(c)
        return Sort(
            tag, by_uid, criteria, program(c, _charset(c)), returns.options, returns.page, returns.items
        )

    return or_unsearchable(c, tag, returns, sort)


def _criteria(c: Cursor) -> tuple[Criterion, ...]:
    """Naming a key again changes nothing, so the bound is generous and only keeps the list short."""
    c.expect(b"(", "a list of sort criteria")
    found = [_criterion(c)]
    while not c.accept(b")"):
        c.space()
        found.append(_criterion(c))
        if len(found) > c.limits.sort_criteria:
            raise LimitReached("Too many sort criteria")
    c.space()
    return tuple(found)


def _criterion(c: Cursor) -> Criterion:
    reverse = c.accept_word(b"REVERSE")
    if reverse:
        c.space()
    word = c.word("a sort key")
    try:
        return Criterion(SortKey(word.decode("ascii")), reverse)
    except ValueError:
        raise BadCommand(f"Unknown sort key {word[:40].decode('ascii')}") from None


def _charset(c: Cursor) -> str:
    """SORT and THREAD always name it."""
    codec = charset.codec(c.astring())
    c.space()
    return codec


def parse_thread(c: Cursor, tag: bytes, *, by_uid: bool) -> Thread:
    word = c.word("a threading algorithm")
    try:
        algorithm = Threading(word.decode("ascii"))
    except ValueError:
        raise BadCommand(f"Unknown threading algorithm {word[:40].decode('ascii')}") from None
    c.space()
    return Thread(tag, by_uid, algorithm, program(c, _charset(c)))


# -- ESEARCH --


def parse_esearch(c: Cursor, tag: bytes) -> Command:
    sources = _sources(c) if c.accept_word(b"IN") else (Source(Where.SELECTED),)
    returns = parse_returns(c)

    def search() -> Command:
        key = program(c, charset_option(c))
        return MultiSearch(tag, sources, key, returns.options or (b"ALL",), returns.page, returns.items)

    return or_unsearchable(c, tag, returns, search)


def _sources(c: Cursor) -> tuple[Source, ...]:
    """IN (filter-mailboxes ...). Scope options, in parentheses behind it, are defined by nobody yet."""
    c.expect(b" (", "a list of mailboxes")
    found = [parse_source(c)]
    while not c.accept(b")"):
        c.space()
        if c.at(b"("):
            raise BadCommand("Unknown scope option")
        found.append(parse_source(c))
        if len(found) > c.limits.list_patterns:
            raise LimitReached("Too many mailbox filters")
    c.space()
    return tuple(found)


def parse_source(c: Cursor) -> Source:
    """One filter-mailboxes (RFC 5465 section 8), as ESEARCH and NOTIFY have them."""
    word = c.word("a mailbox filter")
    try:
        where = Where(word.decode("ascii"))
    except ValueError:
        raise BadCommand(f"Unknown mailbox filter {word[:40].decode('ascii')}") from None
    return Source(where, _names(c) if where in _WITH_NAMES else ())


def _names(c: Cursor) -> tuple[str, ...]:
    """one-or-more-mailbox: a name, or several in parentheses."""
    c.space()
    if not c.accept(b"("):
        return (c.mailbox(),)
    names = [c.mailbox()]
    while not c.accept(b")"):
        c.space()
        names.append(c.mailbox())
        if len(names) > c.limits.search_mailboxes:
            raise LimitReached("Too many mailboxes")
    return tuple(names)


def parse_cancel_update(c: Cursor, tag: bytes) -> CancelUpdate:
    tags = [c.string()]
    while c.accept(b" "):
        tags.append(c.string())
    return CancelUpdate(tag, tuple(tags))
