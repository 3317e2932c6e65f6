"""Values with parameters: Content-Type and Content-Disposition (RFC 2045 section 5.1, RFC 2183, RFC 2231).

Parameters are handed on as they stand in the header: quoting undone, pieces (`name*0`, `name*1*`) joined,
percent-encoding kept and then the name ends in `*`, which is what clients decode for themselves. Linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.core.limits import DEFAULT_LIMITS

Params = tuple[tuple[bytes, bytes], ...]

_VALUE_MAX = 64 * 1024  # octets read of one field's value: a real one has a few hundred
_SEGMENT = re.compile(rb'((?:[^;"]+|"(?:[^"\\]+|\\.)*(?:"|\\?\Z))*)(?:;|\Z)', re.DOTALL)
_QUOTED = re.compile(rb'"((?:[^"\\]+|\\.)*)', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_REMARKED = re.compile(rb'(?:\([^()]*\)\s*)+(?=")')  # comments before a quoted value
_REMARK = re.compile(rb"\([^()]*\)")
_TOKEN = rb"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"
_TYPE = re.compile(rb"(%s)(?:[ \t]*/[ \t]*(%s))?" % (_TOKEN, _TOKEN))
_WORD = re.compile(_TOKEN)
_PIECE = re.compile(rb"(.+?)\*([0-9]{1,4})(\*?)", re.DOTALL)
_EXTENDED = re.compile(rb"[^']*'[^']*'")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNSAFE = re.compile(rb"[^!#$&+.0-9A-Z^_`a-z{|}~\-]")


def parse_value(value: bytes, most: int = DEFAULT_LIMITS.mime_parameters) -> tuple[bytes, Params]:
    """What stands before the first `;`, comments and blanks cut off, and the parameters (names in lower case,
    in order), at most `most` of them counting RFC 2231's pieces."""
    segments = _segments(value[:_VALUE_MAX])
    main = _REMARK.sub(b"", next(segments, b"")).strip()
    return main, _joined([pair for pair, _ in zip(_pairs(segments), range(most), strict=False)])


def media_type(main: bytes) -> tuple[bytes, bytes] | None:
    """`type/subtype` in lower case; only a type is given its usual subtype; None if it is no media type."""
    match = _TYPE.match(main)
    if match is None:
        return None
    kind = match[1].lower()
    if match[2] is not None:
        return kind, match[2].lower()
    default = {b"text": b"plain", b"multipart": b"mixed"}.get(kind)
    return (kind, default) if default else None


def token(value: bytes) -> bytes | None:
    """The first token of a value, in lower case: a transfer encoding or a disposition."""
    match = _WORD.match(_REMARK.sub(b"", value[:_VALUE_MAX]).strip(b' \t;"'))
    return match[0].lower() if match else None


def parameter(params: Params, name: bytes) -> bytes | None:
    """The octets that parameter means: percent-encoding undone if only the extended form is there."""
    values = dict(reversed(params))
    if name in values:
        return values[name]
    extended = values.get(name + b"*")
    return None if extended is None else _decoded(extended)


def _decoded(extended: bytes) -> bytes:
    text = _EXTENDED.sub(b"", extended, count=1) if _EXTENDED.match(extended) else extended
    return _PERCENT.sub(lambda match: bytes((int(match[1], 16),)), text)


def _segments(value: bytes) -> Iterator[bytes]:
    """The value cut at semicolons outside of quoted strings."""
    at = 0
    while at < len(value):
        match = _SEGMENT.match(value, at)
        if match is None:  # cannot be: the pattern takes every octet
            return
        yield match[1]
        at = match.end()


def _pairs(segments: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for segment in segments:
        name, equals, value = segment.partition(b"=")
        name = _REMARK.sub(b"", name).strip().lower()
        if equals and name and not name.startswith(b'"'):
            yield name, _unquoted(value.strip())


def _unquoted(value: bytes) -> bytes:
    if value.startswith(b"(") and (remarked := _REMARKED.match(value)):
        value = value[remarked.end() :]
    quoted = _QUOTED.match(value)
    if quoted:
        return _ESCAPED.sub(rb"\1", quoted[1])
    if value.endswith(b")"):  # charset=us-ascii (Plain text)
        value = value[: value.rfind(b" (") + 1 or None].rstrip()
    return value


def _joined(pairs: list[tuple[bytes, bytes]]) -> Params:
    """RFC 2231 section 3: pieces in the order of their numbers, standing where the first of them stood."""
    out: dict[bytes, bytes | list[tuple[int, bool, bytes]]] = {}
    for name, value in pairs:
        piece = _PIECE.fullmatch(name)
        if piece is None:
            out.setdefault(name, value)
            continue
        pieces = out.setdefault(piece[1] + b"*0", [])  # no plain parameter can have this name
        if isinstance(pieces, list):
            pieces.append((int(piece[2]), bool(piece[3]), value))
    return tuple(
        (name, value) if isinstance(value, bytes) else _assembled(name[:-2], value)
        for name, value in out.items()
    )


def _assembled(name: bytes, pieces: list[tuple[int, bool, bytes]]) -> tuple[bytes, bytes]:
    pieces = sorted({number: (number, extended, value) for number, extended, value in pieces}.values())
    if not any(extended for _, extended, _ in pieces):
        return name, b"".join(value for _, _, value in pieces)
    text = b"".join(value if extended else _escaped(value) for _, extended, value in pieces)
    return name + b"*", text if pieces[0][1] else b"''" + text


def _escaped(value: bytes) -> bytes:
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], value)
