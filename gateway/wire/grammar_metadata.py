"""GETMETADATA, SETMETADATA (RFC 5464 section 5), entry lists of LIST (RFC 9590 section 5), and the commands of QUOTA
(RFC 9208 section 7).

Entry names are `/private/...` or `/shared/...`, in any case; what they may not look like (RFC 5464 section 3.2.1) is
refused here, so that nothing behind the grammar meets a wildcard or an empty component.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway.core.errors import BadCommand, LimitReached
from gateway.wire.chars import ATOM_CHAR_CLASS
from gateway.wire.command import Command, GetMetadata, GetQuota, GetQuotaRoot, SetMetadata, SetQuota
from gateway.wire.cursor import NUMBER64_MAX, Cursor

DEPTHS: dict[bytes, int | None] = {b"0": 0, b"1": 1, b"INFINITY": None}
# Printable ASCII without the wildcards, in components that are not empty, below one of the two roots.
_ENTRY = re.compile(rb"/(?:private|shared)(?:/[\x20-\x24\x26-\x29\x2b-\x2e\x30-\x7e]+)*", re.IGNORECASE)
_WORD = re.compile(rb"[%b]+" % ATOM_CHAR_CLASS)


# -- METADATA --


def parse_getmetadata(c: Cursor, tag: bytes) -> Command:
    """The options stand in front of the mailbox, by the ABNF, or behind it, as in the RFC's examples."""
    options = _options(c) if c.at(b"(") else {}
    mailbox = c.mailbox()
    c.space()
    if not options and c.at(b"(") and not _entries_follow(c):
        options = _options(c)
    found = entries(c)
    return GetMetadata(tag, mailbox, found, options.get(b"MAXSIZE"), options.get(b"DEPTH", 0))


def _entries_follow(c: Cursor) -> bool:
    """Behind the parenthesis: an entry begins with a slash, or is a string."""
    ahead = c.text[c.pos + 1 : c.pos + 2]
    return ahead in (b"/", b'"', b"{")


def _options(c: Cursor) -> dict[bytes, int | None]:
    c.expect(b"(", "a list of options")
    found: dict[bytes, int | None] = {}
    while True:
        name = c.word("a GETMETADATA option")
        if name not in _OPTIONS or name in found:
            raise BadCommand("Unknown or repeated GETMETADATA option")
        c.space()
        found[name] = _OPTIONS[name](c)
        if c.accept(b")"):
            c.space()
            return found
        c.space()


def _depth(c: Cursor) -> int | None:
    word = c.match(_WORD, "a depth").upper()
    if word not in DEPTHS:
        raise BadCommand("DEPTH is 0, 1 or infinity")
    return DEPTHS[word]


_OPTIONS: dict[bytes, Callable[[Cursor], int | None]] = {b"MAXSIZE": Cursor.number, b"DEPTH": _depth}


def entries(c: Cursor) -> tuple[str, ...]:
    """One entry, or a list of them; each once, as the client spelled it first."""
    if not c.accept(b"("):
        return (_entry(c),)
    found: dict[str, str] = {}
    while True:
        name = _entry(c)
        found.setdefault(name.lower(), name)
        if len(found) > c.limits.metadata_entries:
            raise LimitReached("Too many entries in one command")
        if c.accept(b")"):
            return tuple(found.values())
        c.space()


def _entry(c: Cursor) -> str:
    name = c.astring()
    if _ENTRY.fullmatch(name) is None:
        raise BadCommand("An entry is /private/... or /shared/... in ASCII, without wildcards or empty parts")
    if len(name) > c.limits.metadata_name:
        raise LimitReached("The entry's name is too long")
    return name.decode("ascii")


def parse_setmetadata(c: Cursor, tag: bytes) -> Command:
    mailbox = c.mailbox()
    c.space()
    c.expect(b"(", "a list of entries and values")
    changes: dict[str, bytes | None] = {}
    while True:
        name = _entry(c).lower()
        c.space()
        changes[name] = c.nstring8()
        if len(changes) > c.limits.metadata_entries:
            raise LimitReached("Too many entries in one command")
        if c.accept(b")"):
            return SetMetadata(tag, mailbox, tuple(changes.items()))
        c.space()


# -- QUOTA --


def parse_getquota(c: Cursor, tag: bytes) -> Command:
    return GetQuota(tag, c.astring())


def parse_getquotaroot(c: Cursor, tag: bytes) -> Command:
    return GetQuotaRoot(tag, c.mailbox())


def parse_setquota(c: Cursor, tag: bytes) -> Command:
    """setquota_list may be empty: no limits."""
    root = c.astring()
    c.space()
    c.expect(b"(", "a list of resources")
    resources: list[tuple[bytes, int]] = []
    while not c.accept(b")"):
        if resources:
            c.space()
        name = c.atom("a resource").upper()
        c.space()
        resources.append((name, c.number(NUMBER64_MAX)))
        if len(resources) > c.limits.metadata_entries:
            raise LimitReached("Too many resources in one command")
    return SetQuota(tag, root, tuple(resources))
