"""What of a message is meant (the inside of BODY[...], RFC 9051 section 6.4.5.1), and where its octets are.

Octets are located before they are read: a section of a large message is served from wherever it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.mime.header import fields_matching
from gateway.mime.pages import Octets as Octets
from gateway.mime.part import Part


class SectionText(StrEnum):
    """What of a part is meant; FULL is the part's body (BODY[1.2]) or the whole message (BODY[])."""

    FULL = ""
    HEADER = "HEADER"
    HEADER_FIELDS = "HEADER.FIELDS"
    HEADER_FIELDS_NOT = "HEADER.FIELDS.NOT"
    TEXT = "TEXT"
    MIME = "MIME"


@dataclass(frozen=True, slots=True)
class Section:
    """Part numbers, what of the part, and header field names as sent (order kept)."""

    part: tuple[int, ...] = ()
    text: SectionText = SectionText.FULL
    fields: tuple[bytes, ...] = ()

    def format(self) -> bytes:
        """As it is echoed in the answer, without the brackets: `1.2.HEADER.FIELDS (From To)`."""
        number = b".".join(b"%d" % n for n in self.part)
        text = self.text.value.encode()
        pieces = b".".join(piece for piece in (number, text) if piece)
        if not self.fields:
            return pieces
        return pieces + b" (" + b" ".join(self.fields) + b")"


Source = bytes | Octets
Span = tuple[int, int]
# Where the octets are; or the octets, where they are not one run of the message's.
Located = list[Span] | bytes


def read(source: Source, start: int, end: int) -> bytes:
    """Octets [start, end) of a message in memory or elsewhere."""
    return source[start:end] if isinstance(source, bytes) else source.read(start, end)


def locate(source: Source, message: Part, section: Section) -> Located | None:
    """Where the octets of `section` are in the message that `message` is the tree of (RFC 9051 section
    6.4.5.1).

    None if there is no such part, or nothing of that kind in it (HEADER and TEXT with part numbers are for
    message/rfc822 only): it is answered as an empty string or NIL. A message that is no multipart has the one
    part 1, and its MIME header is the message's header.
    """
    part = message
    if section.part:
        found = find(message, section.part)
        if found is None:
            return None
        part = found
    return _LOCATORS[section.text](source, part, section)


def find(message: Part, numbers: Sequence[int]) -> Part | None:
    """The part with these numbers. Inside message/rfc822 the count goes on with its message's parts."""
    siblings: Sequence[Part] = body_parts(message)
    part = None
    for number in numbers:
        if not 1 <= number <= len(siblings):
            return None
        part = siblings[number - 1]
        siblings = _inner(part)
    return part


def body_parts(message: Part) -> Sequence[Part]:
    """The parts numbered 1, 2, ... of a message (the outermost or one inside message/rfc822)."""
    return message.children if message.is_multipart else (message,)


def _inner(part: Part) -> Sequence[Part]:
    if part.is_multipart:
        return part.children
    return body_parts(part.children[0]) if part.children else ()


def _full(_source: Source, part: Part, section: Section) -> Located | None:
    return [(part.body if section.part else part.start, part.end)]


def _mime(_source: Source, part: Part, section: Section) -> Located | None:
    return [(part.start, part.body)] if section.part else None


def _message_of(part: Part, section: Section) -> Part | None:
    """The message whose HEADER or TEXT is meant."""
    if not section.part:
        return part
    return part.children[0] if part.is_message and part.children else None


def _header(_source: Source, part: Part, section: Section) -> Located | None:
    inner = _message_of(part, section)
    return None if inner is None else [(inner.start, inner.body)]


def _text(_source: Source, part: Part, section: Section) -> Located | None:
    inner = _message_of(part, section)
    return None if inner is None else [(inner.body, inner.end)]


def _fields(source: Source, part: Part, section: Section) -> Located | None:
    inner = _message_of(part, section)
    if inner is None:
        return None
    header = read(source, inner.start, inner.body)
    return fields_matching(header, section.fields, invert=section.text is SectionText.HEADER_FIELDS_NOT)


_LOCATORS: dict[SectionText, Callable[[Source, Part, Section], Located | None]] = {
    SectionText.FULL: _full,
    SectionText.HEADER: _header,
    SectionText.HEADER_FIELDS: _fields,
    SectionText.HEADER_FIELDS_NOT: _fields,
    SectionText.TEXT: _text,
    SectionText.MIME: _mime,
}


def length(located: Located) -> int:
    """Octets of what was located."""
    return len(located) if isinstance(located, bytes) else sum(end - start for start, end in located)


def partial(located: Located, offset: int, count: int) -> Located:
    """The octets offset..offset+count of what was located, counted from its own first octet
    (`<offset.count>`, RFC 9051 section 6.4.5); empty beyond its end."""
    if isinstance(located, bytes):
        return located[offset : offset + count]
    spans: list[Span] = []
    for start, end in located:
        first = min(start + offset, end)
        last = min(first + count, end)
        if last > first:
            spans.append((first, last))
        offset = max(0, offset - (end - start))
        count -= last - first
    return spans


def octets(source: Source, located: Located) -> bytes:
    """What was located, as octets."""
    if isinstance(located, bytes):
        return located
    return b"".join([read(source, start, end) for start, end in located])
