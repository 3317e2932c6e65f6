"""Values to octets: `Out` is the only producer of response lines, the functions below make their parts.

Nothing a peer sent reaches a response line but through one of these, so that no CR, LF or stray quote of a
header, a mailbox name or an error text can begin a line of its own.
"""

from __future__ import annotations

from base64 import b64encode
from enum import Enum
from functools import lru_cache

from gateway.core.types import Flags, ObjectId
from gateway.wire import mutf7
from gateway.wire.chars import ASTRING_ATOM, QUOTABLE

CRLF = b"\r\n"
NIL = b"NIL"
TEXT_OCTETS = 400  # of the human-readable text of a status line
CODE_OCTETS = 900_000  # of a response code; a COPYUID of scattered messages is long, and half of it is wrong
QUOTED_OCTETS = 1000  # longer strings go as literals: some clients' line buffers are small

# RFC 9051 section 9, text: TEXT-CHAR, and here no control characters either
_TEXT = bytes(octet if 0x20 <= octet < 0x7F else 0x3F for octet in range(256))
# RFC 9051 section 9, resp-text-code: "]" would end it
_CODE = bytes(0x3F if octet == 0x5D else _TEXT[octet] for octet in range(256))


class Kind(Enum):
    """The five status responses, RFC 9051 section 7.1."""

    OK = b"OK"
    NO = b"NO"
    BAD = b"BAD"
    BYE = b"BYE"
    PREAUTH = b"PREAUTH"


class Out:
    """Gathers responses of one session until they are taken for one write.

    `size` is in octets and drives flushing; nothing here waits or writes.
    """

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def untagged(self, *parts: bytes) -> None:
        """`* `, the parts as they are, CRLF. The parts come from this module's functions or are constants."""
        line = b"".join((b"* ", *parts, CRLF))
        self._parts.append(line)
        self.size += len(line)

    def raw(self, data: bytes) -> None:
        """Octets in the middle of a response, e.g. of a literal that is sent in pieces."""
        self._parts.append(data)
        self.size += len(data)

    def status(self, tag: bytes, kind: Kind, text: str, code: bytes = b"") -> None:
        """A status response, tagged or (`tag` = b"*") untagged; text and code are cleaned and bounded."""
        if code:
            code = b"[%b] " % code[:CODE_OCTETS].translate(_CODE)
        self.raw(b"%b %b %b%b\r\n" % (tag, kind.value, code, _status_text(text)))

    def continuation(self, text: str = "OK") -> None:
        """`+ text`: the client may send its literal, or is idling."""
        self.raw(b"+ %b\r\n" % _status_text(text))

    def challenge(self, data: bytes = b"") -> None:
        """`+ ` and a SASL challenge in base64 (RFC 9051 section 6.2.2)."""
        self.raw(b"+ %b\r\n" % b64encode(data))

    def take(self) -> bytes:
        """Everything gathered, in one piece; the gatherer is empty afterwards."""
        data = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return data


@lru_cache(maxsize=256)
def _status_text(text: str) -> bytes:
    """Printable ASCII, never empty (some clients want text after a code), never read as a code itself."""
    cleaned = text[:TEXT_OCTETS].encode("ascii", "replace").translate(_TEXT).strip()
    if cleaned.startswith(b"["):
        cleaned = b"(" + cleaned[1:]
    return cleaned or b"Done"


# -- strings, RFC 9051 section 9 --


def quoted(data: bytes) -> bytes:
    """A quoted string; ValueError where only a literal can carry `data`."""
    if not QUOTABLE.fullmatch(data):
        raise ValueError("only a literal can carry this")
    return _quote(data)


def literal(data: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(data), data)


def string(data: bytes) -> bytes:
    """Quoted if it may be and is short, else a literal."""
    if len(data) <= QUOTED_OCTETS and QUOTABLE.fullmatch(data):
        return _quote(data)
    return literal(data)


def nstring(data: bytes | None) -> bytes:
    return NIL if data is None else string(data)


def nstring8(data: bytes | None) -> bytes:
    """nstring, or literal8 for what holds NUL (RFC 3516 section 3, RFC 5464 section 5)."""
    return nstring(data) if data is None or b"\0" not in data else b"~" + literal(data)


def astring(data: bytes) -> bytes:
    """An atom where possible; NIL and the empty string are quoted."""
    if ASTRING_ATOM.fullmatch(data) and data.upper() != NIL:
        return data
    return string(data)


def object_id(id: ObjectId) -> bytes:
    """`(F2212ea87)` (RFC 8474 section 7); NIL where there is none."""
    return b"(%b)" % id.encode() if id else NIL


def mailbox(name: str, utf8: bool = False) -> bytes:
    """A mailbox name: modified UTF-7, or UTF-8 in quotes once the client has enabled it (RFC 9051 5.1).

    Lone surrogates, which Graph does not send, are replaced.
    """
    if utf8:
        data = name.encode("utf-8", "replace")
        return astring(data) if name.isascii() else _quote(data.translate(None, b"\0\r\n"))
    return astring(mutf7.encode(name.encode("utf-16-be", "replace").decode("utf-16-be")))


def flag_list(flags: Flags, recent: bool = False) -> bytes:
    r"""`(\Seen $Forwarded)`, with `\Recent` in front where the view says so."""
    names = flags.names()
    return b"(%b)" % b" ".join([b"\\Recent", *names] if recent else names)


def _quote(data: bytes) -> bytes:
    if b"\\" in data or b'"' in data:
        data = data.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"%b"' % data
