"""RETURN (...) of SEARCH, SORT and ESEARCH (RFC 4731 section 3.1, RFC 5182, RFC 5267 section 4, RFC 6203 section 4,
RFC 9394 section 3.1).

Options that ask for something keep their order; those that say how (SAVE, UPDATE, CONTEXT) may stand anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.errors import BadCommand, LimitReached, Refused
from gateway.wire.command import Command
from gateway.wire.command_search import Unsearchable
from gateway.wire.cursor import Cursor
from gateway.wire.fetchatt import FetchItem
from gateway.wire.grammar_fetch import parse_attributes
from gateway.wire.page import Page, parse_page

RESULT_OPTIONS = (b"MIN", b"MAX", b"ALL", b"COUNT", b"PARTIAL", b"RELEVANCY")
MODES = (b"SAVE", b"UPDATE", b"CONTEXT")
OPTIONS = (*RESULT_OPTIONS, *MODES)


@dataclass(frozen=True, slots=True)
class Returns:
    """`options` in upper case, each once; None: no RETURN was given. `items`: what UPDATE is to fetch of new messages
    (RFC 5465 section 7)."""

    options: tuple[bytes, ...] | None = None
    page: Page | None = None
    items: tuple[FetchItem, ...] = ()


def parse_returns(c: Cursor) -> Returns:
    """`RETURN (...) `, if it comes next, with the space behind it. An empty list asks for ALL."""
    if not c.accept_word(b"RETURN"):
        return Returns()
    c.expect(b" (", "a list of RETURN options")
    returns = Returns((b"ALL",)) if c.accept(b")") else _options(c)
    c.space()
    return returns


def or_unsearchable(c: Cursor, tag: bytes, returns: Returns, read: Callable[[], Command]) -> Command:
    """What `read` makes of the rest, or the command that stands for its refusal where its result was to be saved."""
    try:
        return read()
    except Refused as error:
        if b"SAVE" not in (returns.options or ()):
            raise
        c.skip_rest()
        return Unsearchable(tag, error)


def _options(c: Cursor) -> Returns:
    found: dict[bytes, None] = {}
    page: Page | None = None
    items: tuple[FetchItem, ...] = ()
    while True:
        option = c.known_word("a RETURN option", OPTIONS)
        if option == b"PARTIAL":
            if page is not None:
                raise BadCommand("PARTIAL can be asked for once")
            c.space()
            page = parse_page(c)
        if option == b"UPDATE" and c.accept(b" ("):
            items = parse_attributes(c)
            if len(items) > c.limits.notify_items:
                raise LimitReached("Too many FETCH items in UPDATE")
        found[option] = None
        if c.accept(b")"):
            break
        c.space()
    if page is not None and b"ALL" in found:
        raise BadCommand("PARTIAL and ALL exclude each other")
    return Returns(tuple(found), page, items)
