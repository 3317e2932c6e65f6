"""The commands that name mailboxes: SELECT to APPEND (RFC 9051 section 6.3, RFC 5258, RFC 6154, RFC 5819)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.errors import BadCommand, LimitReached
from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.core.types import Flags
from gateway.wire import dates
from gateway.wire.chars import LITERAL_HEADER
from gateway.wire.command import (
    AppendStart,
    Command,
    Create,
    Examine,
    List,
    Lsub,
    Rename,
    Select,
    Status,
)
from gateway.wire.cursor import Cursor
from gateway.wire.frame import LiteralHeader, tag_of

SELECT_PARAMETERS = (b"CONDSTORE",)  # RFC 7162 section 3.1.8
SELECTION_OPTIONS = (b"SUBSCRIBED", b"REMOTE", b"RECURSIVEMATCH", b"SPECIAL-USE")
BASE_SELECTIONS = frozenset((b"SUBSCRIBED", b"SPECIAL-USE"))  # what RECURSIVEMATCH can recur to
RETURN_OPTIONS = (b"SUBSCRIBED", b"CHILDREN", b"SPECIAL-USE", b"STATUS")
STATUS_ITEMS = (
    b"MESSAGES", b"RECENT", b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN", b"HIGHESTMODSEQ", b"DELETED", b"SIZE",
    b"APPENDLIMIT",
)  # fmt: skip


def parse_select(cls: type[Select] | type[Examine]) -> Callable[[Cursor, bytes], Command]:
    def parse(c: Cursor, tag: bytes) -> Command:
        mailbox = c.mailbox()
        parameters = _select_parameters(c) if c.at(b" (") else ()
        return cls(tag, mailbox, condstore=b"CONDSTORE" in parameters)

    return parse


def _select_parameters(c: Cursor) -> tuple[bytes, ...]:
    c.space()
    parameters = c.words("SELECT parameter", SELECT_PARAMETERS)
    if not parameters:
        raise BadCommand("Expected a SELECT parameter")
    return parameters


def parse_create(c: Cursor, tag: bytes) -> Command:
    """A delimiter at the end only says that children will follow (RFC 9051 section 6.3.4)."""
    return Create(tag, c.mailbox().without_last_delimiter())


def parse_rename(c: Cursor, tag: bytes) -> Command:
    source = c.mailbox()
    c.space()
    return Rename(tag, source, c.mailbox())


def parse_status(c: Cursor, tag: bytes) -> Command:
    mailbox = c.mailbox()
    c.space()
    return Status(tag, mailbox, _status_items(c))


def _status_items(c: Cursor) -> tuple[bytes, ...]:
    items = c.words("STATUS item", STATUS_ITEMS)
    if not items:
        raise BadCommand("Expected a STATUS item")
    return items


def parse_lsub(c: Cursor, tag: bytes) -> Command:
    reference = c.mailbox()
    c.space()
    return Lsub(tag, reference, c.list_mailbox())


# -- LIST --


def parse_list(c: Cursor, tag: bytes) -> Command:
    """RFC 3501's LIST and RFC 5258's: options in front, several patterns, RETURN behind."""
    extended = c.at(b"(")
    selection = _selection(c) if extended else ()
    reference = c.mailbox()
    c.space()
    extended = extended or c.at(b"(")
    patterns = _patterns(c) if c.at(b"(") else (c.list_mailbox(),)
    if not c.accept(b" "):
        return List(tag, reference, patterns, selection, extended=extended)
    returns = _returns(c)
    return List(tag, reference, patterns, selection, tuple(returns.options), returns.status_items, True)


def _selection(c: Cursor) -> tuple[bytes, ...]:
    selection = c.words("LIST selection option", SELECTION_OPTIONS)
    if b"RECURSIVEMATCH" in selection and BASE_SELECTIONS.isdisjoint(selection):
        raise BadCommand("RECURSIVEMATCH needs an option to recur to")
    c.space()
    return selection


def _patterns(c: Cursor) -> tuple[str, ...]:
    c.expect(b"(", "a list of patterns")
    patterns = [c.list_mailbox()]
    while not c.accept(b")"):
        c.space()
        patterns.append(c.list_mailbox())
        if len(patterns) > c.limits.list_patterns:
            raise LimitReached("Too many patterns")
    return tuple(patterns)


@dataclass(slots=True)
class _Returns:
    options: dict[bytes, None]
    status_items: tuple[bytes, ...] = ()


def _returns(c: Cursor) -> _Returns:
    """RETURN (options), where STATUS has a list of its own (RFC 5819)."""
    if not c.accept_word(b"RETURN"):
        raise BadCommand("Expected RETURN")
    c.expect(b" (", "a list of RETURN options")
    returns = _Returns({})
    if c.accept(b")"):
        return returns
    while True:
        option = c.known_word("LIST return option", RETURN_OPTIONS)
        returns.options[option] = None
        if option == b"STATUS":
            c.space()
            returns.status_items = _status_items(c)
        if c.accept(b")"):
            return returns
        c.space()


# -- APPEND --


def parse_append(
    header: LiteralHeader, limits: Limits = DEFAULT_LIMITS, *, utf8: bool = False
) -> AppendStart:
    """APPEND as far as its message's literal, which the framer has announced.

    After the message's last Chunk comes a Frame that must be `(b"",)`: `append_ends` says so.
    BadCommand where the text is not APPEND's, LimitReached for a name or keyword beyond limits.
    """
    tag = tag_of(header.parts[0])
    if tag is None:
        raise BadCommand("No tag")
    c = Cursor(header.parts, limits, utf8=utf8)
    c.pos = len(tag) + 1
    if not c.accept_word(b"APPEND"):
        raise BadCommand("Expected APPEND")
    c.space()
    mailbox = c.mailbox()
    c.space()
    flags = _append_flags(c)
    epoch, zone = _append_date(c)
    _message_literal(c)
    return AppendStart(tag, mailbox, flags, epoch, header.size, header.sync, zone)


def append_ends(rest: tuple[bytes, ...]) -> bool:
    """Whether what follows APPEND's message (the parts of the Frame) ends the command."""
    return len(rest) == 1 and not rest[0].strip(b" ")


def _append_flags(c: Cursor) -> Flags:
    if not c.at(b"("):
        return Flags()
    flags = c.flags()
    c.space()
    return flags


def _append_date(c: Cursor) -> tuple[int | None, int]:
    if not c.at(b'"'):
        return None, 0
    try:
        found = dates.parse_date_time(c.string())
    except ValueError as error:
        raise BadCommand('Not a date-time, which is like "17-Jul-1996 02:44:25 -0700"') from error
    c.space()
    return found


def _message_literal(c: Cursor) -> None:
    """The literal header that the framer stopped at, and nothing else, is left of the line."""
    found = LITERAL_HEADER.match(c.text, c.pos)
    if found is None or c.rest_of_line() is None:
        raise BadCommand("Expected the message as a literal")
    if found[1]:
        raise BadCommand("A binary literal needs the BINARY extension")
