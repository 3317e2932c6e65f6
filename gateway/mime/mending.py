"""What must change in a message's octets before Exchange takes them, with as little change as can be.

Exchange leaves `=3D` in what recipients read of quoted-printable parts (the gateway's Graph contract, section 9.1 and
trap 22); octets above 127, NUL and lines of more than 998 octets (RFC 5322 section 2.1.1) do not pass every relay. The
leaves that have any of these become base64. Whatever is under multipart/signed or multipart/encrypted stays, and so do
messages inside the message: they are somebody else's.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.core.limits import KIB
from gateway.mime.compose import set_header
from gateway.mime.lineends import crlf
from gateway.mime.pages import Octets
from gateway.mime.params import parameter
from gateway.mime.part import Part
from gateway.mime.recipe import Edit, Recoded

LINE = 998  # RFC 5322 section 2.1.1: octets without the line end
_WINDOW = 128 * KIB
_SEALED = frozenset({b"signed", b"encrypted"})
_SMIME = frozenset({b"pkcs7-mime", b"x-pkcs7-mime"})
_AS_IS = frozenset({b"7bit", b"8bit", b"binary"})
_UNDECLARED = frozenset({b"", b"us-ascii", b"ascii"})


@dataclass(frozen=True, slots=True)
class Look:
    """What a run of octets holds: any above 127, any NUL, a line over 998 octets, a line end that is not CRLF."""

    eight: bool = False
    nul: bool = False
    long: bool = False
    bare: bool = False

    @property
    def passes(self) -> bool:
        return not (self.eight or self.nul or self.long)


@dataclass(slots=True)
class Mending:
    """`edits` of the source; `fields`: what the message's own header must say now (lower-case names)."""

    edits: list[Edit] = field(default_factory=list)
    fields: dict[bytes, bytes] = field(default_factory=dict)


def look(source: Octets, start: int, end: int) -> Look:
    """Reads the octets once."""
    eight = nul = long = False
    returns = feeds = pairs = column = 0
    before = b""
    for block in _blocks(source, start, end):
        eight = eight or not block.isascii()
        nul = nul or b"\0" in block
        returns += block.count(b"\r")
        feeds += block.count(b"\n")
        pairs += block.count(b"\r\n") + (before == b"\r" and block.startswith(b"\n"))
        before = block[-1:]
        if not long:
            column = _column(block, column)
            long = column < 0
    return Look(eight, nul, long or column > LINE, not returns == feeds == pairs)


def _column(block: bytes, column: int) -> int:
    """Octets of the line that the block ends in, `column` of which were before it; -1: a line is too long."""
    at, most = 0, LINE + 2  # with its line end
    while True:
        end = block.rfind(b"\n", at, at + most - column)
        if end < 0:
            rest = len(block) - at + column
            return -1 if rest >= most else rest
        at, column = end + 1, 0


def _blocks(source: Octets, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, _WINDOW):
        yield source.read(at, min(at + _WINDOW, end))


def mend(source: Octets, message: Part, whole: Look) -> Mending:
    """What to change in the bodies of `message`, of which `whole` was seen. Its own header block is the caller's."""
    found = Mending()
    for part in _leaves(message):
        fields = _new_fields(source, part, whole)
        if fields is None:
            continue
        last = source.read(part.end, part.end + 1)
        found.edits.append((part.body, part.end, (Recoded(part, closed=last not in (b"\r", b"\n")),)))
        if part is message:
            found.fields |= fields
        else:
            found.edits.append((part.start, part.body, (_header(source, part, fields),)))
    return found


def is_sealed(part: Part) -> bool:
    """Whether a change of its octets would break this part: multipart/signed and /encrypted (RFC 1847)."""
    return part.is_multipart and part.subtype in _SEALED


def is_smime(part: Part) -> bool:
    """An S/MIME message in one part (RFC 8551)."""
    return part.type == b"application" and part.subtype in _SMIME


def _leaves(part: Part) -> Iterator[Part]:
    if part.is_multipart:
        if not is_sealed(part):
            for child in part.children:
                yield from _leaves(child)
    elif part.type != b"message" and not is_smime(part):
        yield part


def _new_fields(source: Octets, part: Part, whole: Look) -> dict[bytes, bytes] | None:
    """The fields a leaf must have when it is base64; None: it stays as it is."""
    fields = {b"content-transfer-encoding": b"base64"}
    if part.encoding == b"quoted-printable":
        return fields
    if part.encoding == b"base64":
        return fields if whole.long and look(source, part.body, part.end).long else None
    if part.encoding not in _AS_IS or whole.passes:
        return None
    seen = look(source, part.body, part.end)
    if seen.passes:
        return None
    if (
        seen.eight
        and part.type == b"text"
        and (parameter(part.params, b"charset") or b"").lower() in _UNDECLARED
    ):
        fields[b"content-type"] = _with_charset(source, part)
    return fields


def _with_charset(source: Octets, part: Part) -> bytes:
    """Text that does not say what its octets above 127 are: UTF-8 if they can be, else what Windows writes."""
    charset = b"utf-8" if _is_utf8(source, part) else b"windows-1252"
    others = [(name, value) for name, value in part.params if name != b"charset"]
    pieces = [b'%b="%b"' % (name, value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')) if not name.endswith(b"*")
              else b"%b=%b" % (name, value) for name, value in others]  # fmt: skip
    return b"; ".join([part.type + b"/" + part.subtype, b"charset=" + charset, *pieces])


def _is_utf8(source: Octets, part: Part) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for block in _blocks(source, part.body, part.end):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _header(source: Octets, part: Part, fields: dict[bytes, bytes]) -> bytes:
    header = crlf(source.read(part.start, part.body))
    for name, value in fields.items():
        header = set_header(header, name.title(), value)
    return header if header.endswith(b"\n\r\n") else header + b"\r\n"
