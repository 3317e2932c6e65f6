"""FETCH BINARY and BINARY.SIZE: a part with its transfer encoding undone (RFC 3516, RFC 9051 section 6.4.5).

A leaf's octets are decoded as they are sent, window by window. What holds other parts (multipart, message/rfc822) and
the message itself have no encoding to undo: they go out as BODY has them, but NUL is sent as NUL. A literal8 is used
only where there is one, so that a client can tell from the answer's form (RFC 3516 section 4.3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.core.limits import MIB
from gateway.imap.context import Gone
from gateway.mailbox.values import Body, Row
from gateway.mime.decoding import Survey, can_decode, decoded, survey, whole
from gateway.mime.part import Part
from gateway.mime.section import find
from gateway.wire.fetchatt import BinarySection, BinarySize, Partial

OFF_LOOP = 1 * MIB  # octets from which decoding would be felt by other connections


@dataclass(frozen=True, slots=True)
class Decoded:
    """Decoded octets start..end of a part."""

    source: Body
    of: Part
    known: Survey
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def form(self) -> bytes:
        """What stands before the literal's brace: `~` where a NUL is in it."""
        return b"~" if self.known.has_nul and any(b"\0" in piece for piece in self.slices()) else b""

    def slices(self) -> Iterator[bytes]:
        """In order, each at most a window. Gone: fewer than promised, when the literal's length is out already."""
        left = self.size
        for piece in decoded(self.source, self.of, self.known, self.start, self.end):
            left -= len(piece)
            yield piece
        if left:
            raise Gone


def binary_octets(row: Row, item: BinarySection) -> Decoded | None:
    """None: no such part, answered NIL."""
    body, part = _body(row), _part(row, item.part)
    if part is None:
        return None
    known = survey(body, part)
    start, end = _bounds(item.partial, known.size)
    return Decoded(body, part, known, start, end)


def binary_size(row: Row, item: BinarySize) -> int:
    """Octets that BINARY of the same part would have; 0 where there is no such part."""
    part = _part(row, item.part)
    return 0 if part is None else survey(_body(row), part).size


async def can_answer(row: Row, items: Iterable[BinarySection | BinarySize]) -> bool:
    """Whether all these parts can be decoded; large ones are looked through here, in a thread, so that what follows is
    quick. False: answered NO [UNKNOWN-CTE]."""
    for item in items:
        part = _part(row, item.part)
        if part is None:
            continue
        if not can_decode(part):
            return False
        if part.survey is None and part.end - part.body >= OFF_LOOP:
            await asyncio.to_thread(survey, _body(row), part)
    return True


def label(item: BinarySection | BinarySize) -> bytes:
    """`BINARY[1.2]<0>`: where the octets of a partial begin is told as with BODY. The RFC's text has it so and its
    grammar has not; Dovecot tells it, too."""
    number = b".".join(b"%d" % n for n in item.part)
    if isinstance(item, BinarySize):
        return b"BINARY.SIZE[%b]" % number
    return b"BINARY[%b]" % number + (b"<%d>" % item.partial.offset if item.partial else b"")


def _bounds(partial: Partial | None, size: int) -> tuple[int, int]:
    if partial is None:
        return 0, size
    start = min(partial.offset, size)
    return start, min(start + partial.count, size)


def _body(row: Row) -> Body:
    if row.body is None:
        raise AssertionError("Need.MIME brings the body")
    return row.body


def _part(row: Row, numbers: tuple[int, ...]) -> Part | None:
    message = _body(row).part
    return find(message, numbers) if numbers else whole(message)
