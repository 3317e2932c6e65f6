"""A part's octets with its transfer encoding undone, without ever holding a large part (RFC 2045 section 6, RFC 3516).

A survey reads the part once, window by window, and notes what FETCH BINARY must know before the first octet leaves:
how many octets there will be and whether a NUL is among them; and where each window begins, so that a partial far
behind starts there and not at the part's first octet. Windows always begin at the same places: however the octets are
asked for, they are the same octets.

Line ends of text are CRLF in the answer, whatever a mailer encoded (RFC 3516 section 6); in charsets of 16 or 32 bits
nothing is a line end octet, and nothing is changed.
"""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.core.limits import KIB
from gateway.mime.charset import is_wide
from gateway.mime.lineends import mended
from gateway.mime.params import parameter
from gateway.mime.part import Part
from gateway.mime.section import Source, read
from gateway.mime.transfer import NOT_BASE64, base64_octets, qp_octets

WINDOW = 256 * KIB  # octets of the message looked at at once
PIECE = 64 * KIB  # the same, where nothing is noted
KNOWN = frozenset((b"7bit", b"8bit", b"binary", b"base64", b"quoted-printable"))

_BARE_LF = re.compile(rb"(?<!\r)\n")


class UnknownEncoding(Exception):
    """The part's Content-Transfer-Encoding is none that can be undone."""


@dataclass(frozen=True, slots=True)
class _State:
    """Where decoding stands: the next octet of the message, octets read but not decoded yet, and whether the last
    decoded one was a CR."""

    at: int
    carry: bytes = b""
    after_cr: bool = False


@dataclass(slots=True)
class Survey:
    """`size`: decoded octets; `has_nul`: whether NUL is among them; `offsets`, `states`: where windows begin, in
    decoded octets, and how to go on from there."""

    size: int = 0
    has_nul: bool = False
    offsets: list[int] = field(default_factory=list)
    states: list[_State] = field(default_factory=list)


def survey(source: Source, part: Part) -> Survey:
    """Reads the part's body once; what was found is remembered, some 100 octets a window. Containers have no
    encoding of their own (RFC 2045 section 6.4). UnknownEncoding."""
    if part.survey is None:
        part.survey = _survey(source, part)
    found: Survey = part.survey
    return found


def whole(message: Part) -> Part:
    """Header and body of a message as one leaf without an encoding: BINARY[] is the message as it is."""
    if message.whole is None:
        message.whole = Part(
            message.start, message.start, message.end, b"application", b"octet-stream", encoding=b"binary"
        )
    found: Part = message.whole
    return found


def can_decode(part: Part) -> bool:
    return bool(part.children) or part.encoding in KNOWN


def _survey(source: Source, part: Part) -> Survey:
    if not can_decode(part):
        raise UnknownEncoding
    found = Survey()
    state = _State(part.body)
    while state.at < part.end or state.carry:
        found.offsets.append(found.size)
        found.states.append(state)
        octets, state = _window(source, part, state)
        found.size += len(octets)
        found.has_nul = found.has_nul or b"\0" in octets
    return found


def decoded(source: Source, part: Part, known: Survey, start: int, end: int) -> Iterator[bytes]:
    """Decoded octets start..end (end exclusive, at most `known.size`) in pieces of about a window each."""
    first = bisect_right(known.offsets, start) - 1
    if start >= end or first < 0:
        return
    at, state = known.offsets[first], known.states[first]
    while at < end and (state.at < part.end or state.carry):
        octets, state = _window(source, part, state)
        piece = octets[max(0, start - at) : end - at]
        at += len(octets)
        if piece:
            yield piece


def plain(source: Source, part: Part, *, bare: bool = False) -> Iterator[bytes]:
    """The part's octets with its encoding undone and nothing else: what a file was before it was attached. `bare`:
    line ends are mended first, as they stand in the message."""
    blocks: Iterator[bytes] = (
        read(source, at, min(at + PIECE, part.end)) for at in range(part.body, part.end, PIECE)
    )
    carry, encoding = b"", b"" if part.children else part.encoding
    for block in mended(blocks) if bare and encoding != b"base64" else blocks:
        octets, carry = _undone(carry + block, encoding, last=False)
        if octets:
            yield octets
    if carry:
        yield _undone(carry, encoding, last=True)[0]


def plain_size(source: Source, part: Part, *, bare: bool = False) -> int:
    """How many octets `plain` gives. Base64 is counted, not decoded."""
    if part.encoding == b"base64" and not part.children:
        letters = padded = 0
        for at in range(part.body, part.end, PIECE):
            clean = read(source, at, min(at + PIECE, part.end)).translate(None, NOT_BASE64)
            text = clean.rstrip(b"=")
            if b"=" in text or (padded and text):  # blocks that something glued together
                break
            letters += len(text)
            padded += len(clean) - len(text)
        else:
            return (letters - (letters % 4 == 1)) * 3 // 4
    return sum(map(len, plain(source, part, bare=bare)))


def _window(source: Source, part: Part, state: _State) -> tuple[bytes, _State]:
    stop = min(state.at + WINDOW, part.end)
    raw = state.carry + read(source, state.at, stop)
    octets, carry = _undone(raw, b"" if part.children else part.encoding, last=stop >= part.end)
    if not _has_lines(part):
        return octets, _State(stop, carry)
    return _with_crlf(octets, state.after_cr), _State(stop, carry, octets.endswith(b"\r"))


def _undone(raw: bytes, encoding: bytes, *, last: bool) -> tuple[bytes, bytes]:
    """What can be decoded of `raw`, and what must wait for more."""
    if encoding == b"base64":
        return _base64(raw, last=last)
    if encoding == b"quoted-printable":
        return _quoted_printable(raw, last=last)
    return raw, b""


def _base64(raw: bytes, *, last: bool) -> tuple[bytes, bytes]:
    """Cut where four letters are whole; after padding, counting begins anew."""
    clean = raw.translate(None, NOT_BASE64)
    if last:
        return base64_octets(clean), b""
    if b"=" not in clean:
        whole = len(clean) & ~3
        return binascii.a2b_base64(clean[:whole]), clean[whole:]
    whole = len(clean) - (len(clean) - clean.rfind(b"=") - 1) % 4
    return base64_octets(clean[:whole]), clean[whole:]


def _quoted_printable(raw: bytes, *, last: bool) -> tuple[bytes, bytes]:
    """Cut behind a line's end; a line longer than a window is cut in front of an escape that may be unfinished."""
    if last:
        return qp_octets(raw), b""
    cut = raw.rfind(b"\n") + 1 or _before_escape(raw)
    return qp_octets(raw[:cut]), raw[cut:]


def _before_escape(raw: bytes) -> int:
    """Where a line without an end may be cut. `==` is one broken escape: of a run of such, pairs stay together."""
    escape = raw.rfind(b"=", max(0, len(raw) - 2))
    if escape < 0:
        return len(raw)
    while escape > 0 and raw[escape - 1] == 0x3D:
        escape -= 1
    if not escape and raw[1:2] not in (b"", b"="):  # hardly begun
        return 0
    return escape or len(raw) & ~1


def _has_lines(part: Part) -> bool:
    return part.type == b"text" and not is_wide(parameter(part.params, b"charset"))


def _with_crlf(octets: bytes, after_cr: bool) -> bytes:
    if octets.count(b"\n") == octets.count(b"\r\n"):
        return octets
    head = octets[:1] if after_cr and octets.startswith(b"\n") else b""
    return head + _BARE_LF.sub(b"\r\n", octets[len(head) :])
