"""A message put together from octets in memory and spans of one that is kept elsewhere, written piece by piece.

Nothing is read before it is written, and it may be written again and again: a request that is repeated is the same.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.core.limits import KIB
from gateway.mime.decoding import plain
from gateway.mime.lineends import mended
from gateway.mime.pages import Octets
from gateway.mime.part import Part

PIECE = 64 * KIB  # octets read at once
_LINE = 76  # RFC 2045 section 6.8
_GROUP = 57  # octets that make one such line


@dataclass(frozen=True, slots=True)
class Span:
    """Octets [start, end) of the source, as they are."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Recoded:
    """A leaf's body, its transfer encoding undone, as base64 in lines. `closed`: with a line end behind the last."""

    part: Part
    closed: bool


Segment = bytes | Span | Recoded
# [start, end) of the source, and what comes in its place.
Edit = tuple[int, int, tuple[Segment, ...]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """`bare`: line ends of the source are to be mended on the way (`compose.crlf`)."""

    segments: tuple[Segment, ...]
    bare: bool = False

    def pieces(self, source: Octets) -> Iterator[bytes]:
        """The octets in pieces of some 64 KiB at most."""
        for segment in self.segments:
            if isinstance(segment, bytes):
                yield from (segment[at : at + PIECE] for at in range(0, len(segment), PIECE))
            elif isinstance(segment, Span):
                yield from span_octets(source, segment, bare=self.bare)
            else:
                yield from in_lines(plain(source, segment.part, bare=self.bare), closed=segment.closed)

    def measure(self, source: Octets) -> int:
        """How many octets they are. Reads only what is changed on the way."""
        known = sum(_length(segment) for segment in self.segments if self._is_known(segment))
        changed = tuple(segment for segment in self.segments if not self._is_known(segment))
        return known + sum(map(len, Recipe(changed, self.bare).pieces(source)))

    def _is_known(self, segment: Segment) -> bool:
        return isinstance(segment, bytes) or (isinstance(segment, Span) and not self.bare)


def recipe(edits: Iterable[Edit], size: int, *, bare: bool) -> Recipe:
    """The source of `size` octets with these changes. Of edits that overlap the one that begins first counts; where
    several begin at one place, insertions and then the longest."""
    segments: list[Segment] = []
    at = 0
    for start, end, instead in sorted(edits, key=_order):
        if start < at:
            continue
        if start > at:
            segments.append(Span(at, start))
        segments += [segment for segment in instead if segment != b""]
        at = end
    if at < size:
        segments.append(Span(at, size))
    return Recipe(tuple(segments), bare)


def _order(edit: Edit) -> tuple[int, bool, int]:
    start, end, _ = edit
    return start, end > start, -end


def span_octets(source: Octets, span: Span, *, bare: bool) -> Iterator[bytes]:
    blocks = (source.read(at, min(at + PIECE, span.end)) for at in range(span.start, span.end, PIECE))
    return mended(blocks) if bare else blocks


def in_lines(blocks: Iterable[bytes], *, closed: bool) -> Iterator[bytes]:
    """Base64 in lines of 76, CRLF between them."""
    rest, begun = b"", False
    for block in blocks:
        octets = rest + block
        whole = len(octets) - len(octets) % _GROUP
        if whole:
            yield (b"\r\n" if begun else b"") + _lines(octets[:whole])
            begun = True
        rest = octets[whole:]
    if rest:
        yield (b"\r\n" if begun else b"") + _lines(rest)
    if closed:
        yield b"\r\n"


def _lines(octets: bytes) -> bytes:
    text = binascii.b2a_base64(octets, newline=False)
    return b"\r\n".join([text[at : at + _LINE] for at in range(0, len(text), _LINE)])


def _length(segment: Segment) -> int:
    if isinstance(segment, bytes):
        return len(segment)
    return segment.end - segment.start if isinstance(segment, Span) else 0


def base64_of(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same octets as base64 without line ends, whatever they are cut into."""
    rest = b""
    for block in blocks:
        octets = rest + block
        whole = len(octets) - len(octets) % 3
        if whole:
            yield binascii.b2a_base64(octets[:whole], newline=False)
        rest = octets[whole:]
    if rest:
        yield binascii.b2a_base64(rest, newline=False)


def base64_size(octets: int) -> int:
    return 4 * -(-octets // 3)
