"""Header blocks by octet offsets: fields, unfolding, encoded words (RFC 5322 section 2.2, RFC 2047).

A header block is the octets from a part's first to the empty line, that line included. Line ends may be
CRLF or bare LF; a line without a colon is kept but is no field; blank space before the colon is passed over
(RFC 5322 section 4.5). Everything here takes linear time and never fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gateway.mime.charset import text_of
from gateway.mime.transfer import base64_octets, qp_octets

_EMPTY_LINE = re.compile(rb"\n\r?\n")
# One logical line: (name)(colon), the rest of the line, its continuation lines. A line that is no field
# has no name.
_LINE = re.compile(rb"(?:([!-9;-~]+)[ \t]*:)?([^\n]*(?:\n[ \t][^\n]*)*)\n?")
_WHOLE_LINE = re.compile(rb"((?:([!-9;-~]+)[ \t]*:)?[^\n]*(?:\n[ \t][^\n]*)*\n?)")
_FOLD = re.compile(rb"\r?\n[ \t]*")
_UNFOLD = re.compile(rb"\r?\n(?=[ \t])")
_WORD = re.compile(rb"=\?([^?\s]{1,80})\?([bBqQ])\?([^?]*)\?=")
_STRAY = bytes.maketrans(b"\r\n\t\x00", b"    ")
_STRAY_TEXT = {0: " ", 10: " ", 13: " "}
_PLAIN = re.compile(rb"[!-~](?:[ -~]*[!-~])?")
_FIELD_NAME = re.compile(rb"[!-9;-~]+")
_WIDTH = 78  # RFC 5322 section 2.1.1


class Field(NamedTuple):
    """One field: lower-case name (b"" for a line that is none) and its span [start, end), line end included;
    the value begins at `value`."""

    name: bytes
    start: int
    value: int
    end: int


def header_end(raw: bytes, start: int = 0) -> int:
    """Offset just behind the empty line that ends the header block which begins at `start`; `len(raw)` if
    there is none: then everything is header."""
    if raw.startswith((b"\r\n", b"\n"), start):
        return raw.index(b"\n", start) + 1
    match = _EMPTY_LINE.search(raw, start)
    return match.end() if match else len(raw)


def split(header: bytes) -> list[Field]:
    """Every logical line before the empty line, in order; the spans are adjacent and begin at 0."""
    end = _content_end(header)
    lines = _LINE.finditer(header, 0, end)
    return [
        Field((m[1] or b"").lower(), m.start(), m.start(2), m.end()) for m in lines if m.end() > m.start()
    ]


def _content_end(header: bytes) -> int:
    """Where the empty line begins, if the block has one."""
    if header.endswith(b"\n\r\n") or header == b"\r\n":
        return len(header) - 2
    if header.endswith(b"\n\n") or header == b"\n":
        return len(header) - 1
    return len(header)


class Fields:
    """The fields of one header block by name: parsed once, looked up often."""

    __slots__ = ("_values",)

    def __init__(self, header: bytes) -> None:
        values: dict[bytes, list[bytes]] = {}
        for name, value in _LINE.findall(header):
            if name:
                values.setdefault(name.lower(), []).append(value)
        self._values = values

    def __bool__(self) -> bool:
        return bool(self._values)

    def __len__(self) -> int:
        return sum(map(len, self._values.values()))

    def first(self, name: bytes) -> bytes | None:
        """The first such field's value, unfolded; `name` in lower case."""
        found = self._values.get(name)
        return unfold(found[0]) if found else None

    def all(self, name: bytes) -> list[bytes]:
        """Every such field's value, unfolded, in order; `name` in lower case."""
        return [unfold(value) for value in self._values.get(name, ())]


def field(header: bytes, name: bytes) -> bytes | None:
    """The first field of that name, in any case, unfolded; None if there is none."""
    return Fields(header).first(name.lower())


def unfold(value: bytes) -> bytes:
    """Line ends before white space taken out (RFC 5322 section 2.2.3), ends trimmed; no CR, LF, NUL left."""
    value = value.strip(b" \t\r\n")
    if b"\n" in value:
        value = _UNFOLD.sub(b"", value)
    if b"\r" in value or b"\n" in value or b"\x00" in value:
        value = value.replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\x00", b" ").strip(b" \t")
    return value


def fields_matching(header: bytes, names: Iterable[bytes], *, invert: bool) -> bytes:
    """HEADER.FIELDS, or HEADER.FIELDS.NOT with `invert` (RFC 9051 section 6.4.5.1): the fields in the
    message's order, octet for octet, then the empty line, also where the header block has none."""
    wanted = frozenset(name.lower() for name in names)
    lines = _WHOLE_LINE.findall(header[: _content_end(header)])
    kept = b"".join([line for line, name in lines if (name.lower() in wanted) is not invert])
    if kept and not kept.endswith(b"\n"):
        kept += b"\r\n"
    return kept + b"\r\n"


def decoded(value: bytes) -> str:
    """A field's value as a person reads it: unfolded, encoded words decoded, the blanks between adjacent ones
    dropped (RFC 2047 section 6.2). Words that cut a character in two are joined before they are decoded.
    Octets outside of words are UTF-8 if they can be, else Latin-1. Never holds a line end, nor NUL, not
    even one that was hidden in a word."""
    value = unfold(value).translate(_STRAY)
    if b"=?" not in value:
        return text_of(value)
    return "".join(_decode_words(value)).translate(_STRAY_TEXT)


def _decode_words(value: bytes) -> list[str]:
    out: list[str] = []
    charset, pending, at = b"", list[bytes](), 0
    for word in _WORD.finditer(value):
        gap = value[at : word.start()]
        label = word[1].partition(b"*")[0].lower()  # RFC 2231 section 5: charset*language
        if pending and (label != charset or gap.strip()):
            out.append(text_of(b"".join(pending), charset))
            pending = []
        if gap.strip() or not at:
            out.append(text_of(gap))
        charset, at = label, word.end()
        pending.append(_word_octets(word[2], word[3]))
    out.append(text_of(b"".join(pending), charset))
    out.append(text_of(value[at:]))
    return out


def _word_octets(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"bB":
        return base64_octets(text)
    return qp_octets(text.replace(b"_", b" "))


def fold_header(fields: Sequence[tuple[str, str]]) -> bytes:
    """A header block from names and values, folded one way only: UTF-8, lines of at most 78 octets where
    white space allows, never before the first word, CRLF line ends and the empty line. Line ends inside a
    value are taken as folding; a pair whose name is no field name is left out."""
    encoded = [(name.encode("utf-8", "replace"), value.encode("utf-8", "replace")) for name, value in fields]
    return b"".join([fold_field(*pair) for pair in encoded if _FIELD_NAME.fullmatch(pair[0])]) + b"\r\n"


def fold_field(name: bytes, value: bytes) -> bytes:
    """One field as `fold_header` has them, line end included. ValueError if `name` is no field name."""
    if not _FIELD_NAME.fullmatch(name):
        raise ValueError("not a header field name")
    if len(name) + len(value) <= _WIDTH - 2 and _PLAIN.fullmatch(value):
        return b"%b: %b\r\n" % (name, value)
    octets = b" " + _FOLD.sub(b" ", value.strip()).translate(_STRAY).strip()
    lines, start, room = [], 0, max(0, _WIDTH - 1 - len(name))
    while len(octets) - start > room:
        end = _last_word_end(octets, start, start + room)
        if end < 0:
            break
        lines.append(octets[start:end])
        start, room = end, _WIDTH
    lines.append(octets[start:])
    return b"%b:%b\r\n" % (name, b"\r\n".join(lines).rstrip(b" "))


def _last_word_end(octets: bytes, start: int, limit: int) -> int:
    """Where the blanks behind a word begin, as far on as `limit` allows, but behind the first word; -1 if there is no
    other."""
    end = len(octets[start : octets.rfind(b" ", start, limit + 1) + 1].rstrip(b" ")) + start
    if end > start:
        return end
    word = len(octets) - len(octets[start:].lstrip(b" "))
    return octets.find(b" ", word)
