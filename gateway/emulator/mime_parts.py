"""A tolerant walk over MIME by offsets: parts, types, decoded bodies. Nothing here raises on bad input."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.header import decode_header
from email.message import Message
from email.utils import collapse_rfc2231_value, getaddresses

from gateway.emulator.items import Address
from gateway.emulator.skeleton import Field, fields_of, header_end, text, unfold

MAX_DEPTH = 60
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64 = bytes(sorted(set(range(256)) - set(_BASE64)))


@dataclass(slots=True)
class Part:
    """One entity: raw[start:end], its body from `body` on."""

    raw: bytes
    start: int
    head_end: int
    body: int
    end: int
    fields: list[Field]
    header: Message
    parts: list[Part] = field(default_factory=list)

    @property
    def type(self) -> str:
        return self.header.get_content_type()

    def value(self, name: str) -> str:
        """The raw unfolded value of the first such field, "" without one."""
        for each in self.fields:
            if each.name.lower() == name:
                return unfold(self.raw[each.value : each.end])
        return ""

    def param(self, name: str, header: str = "content-type") -> str:
        """A decoded parameter, "" without one."""
        try:
            found = self.header.get_param(name, "", header)
            return decoded(collapse_rfc2231_value(found)) if found else ""
        except (ValueError, LookupError, TypeError):
            return ""

    @property
    def disposition(self) -> str:
        return self.value("content-disposition").split(";")[0].strip().lower()

    @property
    def encoding(self) -> str:
        return self.value("content-transfer-encoding").split(";")[0].strip().lower()

    @property
    def filename(self) -> str:
        return self.param("filename", "content-disposition") or self.param("name")

    def content(self) -> bytes:
        """The body with its transfer encoding undone."""
        return decode_body(self.raw[self.body : self.end], self.encoding)

    def text(self) -> str:
        return decode_text(self.content(), self.param("charset"))


def parse(raw: bytes, start: int = 0, end: int | None = None, depth: int = 0) -> Part:
    """The entity in raw[start:end] with everything below it, at most MAX_DEPTH deep."""
    stop = len(raw) if end is None else end
    head_end, body = header_end(raw, start, stop)
    fields = fields_of(raw, start, head_end)
    header = Message()
    for each in fields:
        if each.name.lower() in ("content-type", "content-disposition"):
            header[each.name] = unfold(raw[each.value : each.end])
    part = Part(raw, start, head_end, body, stop, fields, header)
    if depth < MAX_DEPTH and part.type.startswith("multipart/"):
        boundary = _boundary(part)
        if boundary:
            part.parts = [parse(raw, a, b, depth + 1) for a, b in spans(raw, body, stop, boundary)]
    return part


def _boundary(part: Part) -> bytes:
    try:
        return (part.header.get_boundary() or "").encode("utf-8", "surrogateescape")
    except (ValueError, LookupError, TypeError):
        return b""


def spans(raw: bytes, start: int, end: int, boundary: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of each body part; a missing closing boundary ends with the parent."""
    mark = b"--" + boundary
    opened: int | None = None
    at = look = start
    while (hit := raw.find(mark, look, end)) >= 0:
        found = _DELIMITER_END.match(raw, hit + len(mark), end)
        if found is None:
            look = hit + 1
            continue
        before = hit - _line_end(raw, at, hit)
        at = look = found.end()
        if before > start and before == hit and raw[hit - 1 : hit] != b"\n":
            continue
        if opened is not None:
            yield opened, max(before, opened)
        opened = None if found.group(1) else at
        if found.group(1):
            return
    if opened is not None:
        yield opened, end


_DELIMITER_END = re.compile(rb"(--)?[ \t]*(?:\r?\n|\Z)")


def _line_end(raw: bytes, at: int, hit: int) -> int:
    """How many octets of a line end are just before `hit`, at `at` or later."""
    if raw[max(at, hit - 2) : hit] == b"\r\n":
        return 2
    return int(raw[max(at, hit - 1) : hit] == b"\n")


def walk(part: Part) -> Iterator[Part]:
    yield part
    for child in part.parts:
        yield from walk(child)


def decode_body(data: bytes, encoding: str) -> bytes:
    """base64 (junk passed over) and quoted-printable undone; anything else as it is."""
    if encoding == "base64":
        clean = data.translate(None, _NOT_BASE64)
        clean = clean[: len(clean) - (len(clean) % 4 == 1)]
        return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data)
    return data


def decode_text(data: bytes, charset: str) -> str:
    """Text in a declared charset; without a usable one UTF-8, else Windows-1252."""
    name = charset.strip().strip("'\"").lower()
    for codec in (name, "utf-8"):
        try:
            return clean(data.decode(codec))
        except (UnicodeError, LookupError, ValueError):
            continue
    return clean(data.decode("windows-1252", "replace"))


def clean(value: str) -> str:
    """Text that JSON can carry: no lone surrogates (UTF-7 can make them), no NUL."""
    return _UNFIT.sub("\ufffd", value).replace("\x00", "")


_UNFIT = re.compile("[\ud800-\udfff]")


def decoded(value: str) -> str:
    """Encoded words undone; undecodable ones stay as they are."""
    if "=?" not in value:
        return clean(value)
    try:
        pieces = decode_header(value)
    except Exception:  # the library raises HeaderParseError, binascii.Error and more
        return clean(value)
    return "".join(
        clean(piece) if isinstance(piece, str) else decode_text(piece, charset or "latin-1")
        for piece, charset in pieces
    )


def addresses(value: str) -> tuple[Address, ...]:
    """The mailboxes of an address list, group syntax and entries without an address left out."""
    try:
        found = getaddresses([value])
    except Exception:  # the parser trips over some garbage
        return ()
    return tuple(Address(decoded(name).strip(), address) for name, address in found if "@" in address)


__all__ = ["Part", "addresses", "decode_body", "decode_text", "decoded", "parse", "spans", "text", "walk"]
