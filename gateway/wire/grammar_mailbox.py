"""The commands that name mailboxes (RFC 9051 section 6.3, RFC 5258, RFC 6154, RFC 5819)."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.errors import BadCommand, LimitReached
from gateway.wire.chars import FLAG
from gateway.wire.command import (
    Command,
    Create,
    List,
    Lsub,
    Rename,
    Status,
)
from gateway.wire.cursor import Cursor
from gateway.wire.grammar_metadata import entries

SELECTION_OPTIONS = (b"SUBSCRIBED", b"REMOTE", b"RECURSIVEMATCH", b"SPECIAL-USE")
BASE_SELECTIONS = frozenset((b"SUBSCRIBED", b"SPECIAL-USE"))  # what RECURSIVEMATCH can recur to
RETURN_OPTIONS = (b"SUBSCRIBED", b"CHILDREN", b"SPECIAL-USE", b"STATUS", b"METADATA")
STATUS_ITEMS = (
    b"MESSAGES", b"RECENT", b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN", b"HIGHESTMODSEQ", b"DELETED", b"SIZE",
    b"APPENDLIMIT", b"DELETED-STORAGE", b"MAILBOXID",
)  # fmt: skip


def parse_create(c: Cursor, tag: bytes) -> Command:
    """A delimiter at the end only says that children will follow (RFC 9051 section 6.3.4)."""
    name = c.mailbox().without_last_delimiter()
    return Create(tag, name, _uses(c) if c.accept(b" ") else ())


def _uses(c: Cursor) -> tuple[bytes, ...]:
    """create-param of RFC 6154 section 6: (USE (\\Archive ...)), perhaps none."""
    c.expect(b"(", "a list of CREATE parameters")
    if not c.accept_word(b"USE"):
        raise BadCommand("Unknown CREATE parameter")
    c.expect(b" (", "a list of special uses")
    uses: dict[bytes, bytes] = {}
    while not c.accept(b")"):
        if uses:
            c.space()
        use = c.match(FLAG, "a special use")
        if not use.startswith(b"\\"):
            raise BadCommand("A special use begins with a backslash")
        uses.setdefault(use.lower(), use)
    c.expect(b")", "the end of the CREATE parameters")
    return tuple(uses.values())


def parse_rename(c: Cursor, tag: bytes) -> Command:
    """A delimiter at the end of the new name says no more than CREATE's."""
    source = c.mailbox()
    c.space()
    return Rename(tag, source, c.mailbox().without_last_delimiter())


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
    options = tuple(returns.options)
    return List(tag, reference, patterns, selection, options, returns.status_items, True, returns.entries)


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
    entries: tuple[str, ...] = ()


def _returns(c: Cursor) -> _Returns:
    """RETURN (options), where STATUS and METADATA have lists of their own (RFC 5819, RFC 9590)."""
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
        elif option == b"METADATA":
            c.space()
            returns.entries = entries(c)
        if c.accept(b")"):
            return returns
        c.space()
