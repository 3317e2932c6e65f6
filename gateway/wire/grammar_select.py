"""SELECT and EXAMINE with their parameters (RFC 9051 section 6.3.2, RFC 4466 section 2.1, RFC 7162 sections 3.1.8 and
3.2.5)."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.errors import BadCommand
from gateway.core.runs import Runs
from gateway.wire.command import Command, Examine, Resync, Select
from gateway.wire.cursor import NUMBER64_MAX, Cursor


def parse_select(cls: type[Select] | type[Examine]) -> Callable[[Cursor, bytes], Command]:
    def parse(c: Cursor, tag: bytes) -> Command:
        mailbox = c.mailbox()
        condstore, qresync = _parameters(c) if c.accept(b" (") else (False, None)
        return cls(tag, mailbox, condstore, qresync)

    return parse


def _parameters(c: Cursor) -> tuple[bool, Resync | None]:
    """select-params: at least one, each once."""
    condstore, qresync = False, None
    while True:
        word = c.word("a SELECT parameter")
        if word == b"CONDSTORE" and not condstore:
            condstore = True
        elif word == b"QRESYNC" and qresync is None:
            qresync = _qresync(c)
        else:
            raise BadCommand("Unknown or repeated SELECT parameter")
        if c.accept(b")"):
            return condstore, qresync
        c.space()


def _qresync(c: Cursor) -> Resync:
    """`(uidvalidity modseq [known-uids] [(known-sequence-set known-uid-set)])`; a mod-sequence of 0, which the grammar
    does not know, asks for everything."""
    c.expect(b" (", "QRESYNC's arguments")
    uid_validity = c.number()
    c.space()
    modseq = c.number(NUMBER64_MAX)
    known = match = None
    if c.at(b" ") and not c.at(b" ("):
        c.space()
        known = _without_star(c)
    if c.accept(b" ("):
        match = _match(c)
    c.expect(b")", "the end of QRESYNC's arguments")
    return Resync(uid_validity, modseq, known, match)


def _match(c: Cursor) -> tuple[Runs, Runs]:
    """seq-match-data: as many message numbers as UIDs, both ascending. A set is a set: in which order it was written
    is not looked at."""
    numbers = _without_star(c)
    c.space()
    uids = _without_star(c)
    c.expect(b")", "the end of the sequence match data")
    if numbers.size() != uids.size():
        raise BadCommand("As many message numbers as UIDs are needed")
    return numbers, uids


def _without_star(c: Cursor) -> Runs:
    """known-uids: `*` is not allowed (RFC 7162 section 7)."""
    found = c.sequence_set()
    if found.has_star:
        raise BadCommand("* is not allowed here")
    return found
