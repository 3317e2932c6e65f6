"""FETCH and its attributes (RFC 9051 section 6.4.5, RFC 3501 section 6.4.5, RFC 7162 section 3.1.4, RFC 3516 section 4,
RFC 8970, RFC 9394 section 3.3).

Clients send the same few attribute lists again and again: what follows the sequence set is parsed once and
remembered, at most `_REMEMBERED` texts of at most `_REMEMBERED_OCTETS` each, for all sessions. The key is all
that the value depends on, so nothing ever makes one wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from gateway.core.errors import BadCommand, LimitReached
from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.mime.section import Section, SectionText
from gateway.wire.chars import ASTRING_ATOM
from gateway.wire.command import Fetch
from gateway.wire.cursor import NUMBER64_MAX, NUMBER_MAX, Cursor
from gateway.wire.fetchatt import Att, BinarySection, BinarySize, BodySection, FetchItem, Partial
from gateway.wire.page import Page, parse_page

_REMEMBERED = 512
_REMEMBERED_OCTETS = 1024

_FAST = (Att.FLAGS, Att.INTERNALDATE, Att.RFC822_SIZE)
MACROS: dict[bytes, tuple[FetchItem, ...]] = {
    b"FAST": _FAST,
    b"ALL": (*_FAST, Att.ENVELOPE),
    b"FULL": (*_FAST, Att.ENVELOPE, Att.BODY),
}
_ATTRIBUTES: dict[bytes, Att] = {att.value.encode(): att for att in Att}
_SECTION_TEXTS: dict[bytes, SectionText] = {text.value.encode(): text for text in SectionText if text.value}
_WITH_FIELDS = (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT)

_NAME = re.compile(rb"[A-Za-z0-9.]+")
_PART = re.compile(rb"[1-9][0-9]{0,9}(?:\.[1-9][0-9]{0,9})*+")
_PARTIAL = re.compile(rb"<([0-9]{1,19})\.([0-9]{1,19})>")
_BINARY = (b"BINARY", b"BINARY.PEEK", b"BINARY.SIZE")
_PREVIEW_MODIFIERS = re.compile(rb" \(LAZY(?: LAZY)*+\)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Tail:
    """What stands behind the sequence set."""

    items: tuple[FetchItem, ...]
    changed_since: int | None = None
    vanished: bool = False
    page: Page | None = None


def parse_fetch(c: Cursor, tag: bytes, *, by_uid: bool) -> Fetch:
    ids = c.message_set()
    c.space()
    tail = _tail(c)
    if tail.vanished and not by_uid:
        raise BadCommand("VANISHED is for UID FETCH")
    if tail.page is not None and not by_uid:
        raise BadCommand("PARTIAL is for UID FETCH")
    return Fetch(tag, by_uid, ids, tail.items, tail.changed_since, tail.vanished, tail.page)


def _tail(c: Cursor) -> _Tail:
    rest = c.rest_of_line()
    if rest is None or len(rest) > _REMEMBERED_OCTETS:
        return _parse_tail(c)
    tail = _remembered(rest, c.limits.list_items, c.limits.mime_depth)
    c.pos = len(c.text)
    return tail


@lru_cache(maxsize=_REMEMBERED)
def _remembered(rest: bytes, list_items: int, mime_depth: int) -> _Tail:
    """The limits that bear on a tail are part of the key: under others the same text may be an error."""
    c = Cursor((rest,), replace(DEFAULT_LIMITS, list_items=list_items, mime_depth=mime_depth))
    tail = _parse_tail(c)
    c.end()
    return tail


def _parse_tail(c: Cursor) -> _Tail:
    items = _items(c)
    if not c.accept(b" ("):
        return _Tail(items)
    return _modifiers(c, items)


def _items(c: Cursor) -> tuple[FetchItem, ...]:
    if c.accept(b"("):
        return parse_attributes(c)
    name = c.match(_NAME, "a FETCH item or a list of them").upper()
    return MACROS.get(name) or (_item(c, name),)


def parse_attributes(c: Cursor) -> tuple[FetchItem, ...]:
    """fetch-att *(SP fetch-att) ")", behind the opening parenthesis. No macros. Repeated items are answered once."""
    items: dict[FetchItem, None] = {}
    while True:
        items[_item(c, c.match(_NAME, "a FETCH item").upper())] = None
        if len(items) > c.limits.list_items:
            raise LimitReached("Too many FETCH items")
        if c.accept(b")"):
            return tuple(items)
        c.space()


def _item(c: Cursor, name: bytes) -> FetchItem:
    if c.at(b"[") and name in (b"BODY", b"BODY.PEEK"):
        return _body_section(c, peek=name == b"BODY.PEEK")
    if c.at(b"[") and name in _BINARY:
        return _binary(c, name)
    att = _ATTRIBUTES.get(name)
    if att is None:
        raise BadCommand(f"Unknown FETCH item {name[:40].decode('ascii')}")
    return _preview(c) if att is Att.PREVIEW else att


def _preview(c: Cursor) -> Att:
    """PREVIEW [SP "(" preview-mod *(SP preview-mod) ")"], where LAZY is the one modifier there is (RFC 8970 section
    6). Behind the last item a modifier of FETCH itself may stand in parentheses: that is left where it is."""
    found = _PREVIEW_MODIFIERS.match(c.text, c.pos)
    if found is None:
        return Att.PREVIEW
    c.pos = found.end()
    return Att.PREVIEW_LAZY


def _binary(c: Cursor, name: bytes) -> BinarySection | BinarySize:
    """section-binary is a part number, or nothing for the whole message; BINARY.SIZE has no partial."""
    c.expect(b"[", "a section")
    part = _part(c)
    c.expect(b"]", "the section's end: BINARY knows part numbers only")
    if name == b"BINARY.SIZE":
        return BinarySize(part)
    return BinarySection(part, _partial(c), peek=name == b"BINARY.PEEK")


def _body_section(c: Cursor, *, peek: bool) -> BodySection:
    c.expect(b"[", "a section")
    section = _section(c)
    c.expect(b"]", "the section's end")
    return BodySection(section, _partial(c), peek)


def _section(c: Cursor) -> Section:
    part = _part(c)
    if c.at(b"]"):
        return Section(part)
    if part:
        c.expect(b".", "a point before the section's text")
    text = _SECTION_TEXTS.get(name := c.match(_NAME, "a section").upper())
    if text is None:
        raise BadCommand(f"Unknown section {name[:40].decode('ascii')}")
    if text is SectionText.MIME and not part:
        raise BadCommand("MIME is a section of a part")
    return Section(part, text, _fields(c) if text in _WITH_FIELDS else ())


def _part(c: Cursor) -> tuple[int, ...]:
    found = _PART.match(c.text, c.pos)
    if found is None:
        return ()
    c.pos = found.end()
    numbers = tuple(map(int, found[0].split(b".")))
    if len(numbers) > c.limits.mime_depth:
        raise LimitReached("Section too deep")
    if max(numbers) > NUMBER_MAX:
        raise BadCommand("Number too large")
    return numbers


def _fields(c: Cursor) -> tuple[bytes, ...]:
    c.expect(b" (", "a list of header fields")
    names: list[bytes] = []
    while True:
        name = c.astring()
        if not ASTRING_ATOM.fullmatch(name):  # it is echoed: nothing that would need quotes or a literal
            raise BadCommand("Not a header field name")
        names.append(name)
        if len(names) > c.limits.list_items:
            raise LimitReached("Too many header fields")
        if c.accept(b")"):
            return tuple(names)
        c.space()


def _partial(c: Cursor) -> Partial | None:
    if not c.at(b"<"):
        return None
    found = _PARTIAL.match(c.text, c.pos)
    if found is None:
        raise BadCommand("Not a partial, which is <offset.count>")
    c.pos = found.end()
    offset, count = int(found[1]), int(found[2])
    if not count or max(offset, count) > NUMBER64_MAX:
        raise BadCommand("A partial's count is 1 at least and its numbers fit 63 bits")
    return Partial(offset, count)


def _modifiers(c: Cursor, items: tuple[FetchItem, ...]) -> _Tail:
    """fetch-modifiers: CHANGEDSINCE n [VANISHED], PARTIAL range, in any order; 0 is taken, Apple's clients send it."""
    changed_since: int | None = None
    vanished = False
    page: Page | None = None
    while True:
        word = c.word("a FETCH modifier")
        if word == b"CHANGEDSINCE" and changed_since is None:
            c.space()
            changed_since = c.number(NUMBER64_MAX)
        elif word == b"VANISHED" and not vanished:
            vanished = True
        elif word == b"PARTIAL" and page is None:
            c.space()
            page = parse_page(c)
        else:
            raise BadCommand("Unknown or repeated FETCH modifier")
        if c.accept(b")"):
            break
        c.space()
    if vanished and changed_since is None:
        raise BadCommand("VANISHED needs CHANGEDSINCE")
    return _Tail(items, changed_since, vanished, page)


def parse_items(text: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[FetchItem, ...]:
    """The items of an attribute list or macro alone, e.g. from a configuration or a test."""
    c = Cursor((text,), limits)
    items = _items(c)
    c.end()
    return items
