"""ENVELOPE and BODYSTRUCTURE of a message as they go over the wire (RFC 9051 section 7.5.2, RFC 3501
section 7.4.2).

Every string is legal for a client of IMAP4rev1: quoted if it is short and 7-bit, else a literal; no CR, LF
or NUL inside, quotes and backslashes escaped. Text that is not 7-bit goes out as encoded words (RFC 2047)
where a client decodes those (subject, description, names of addresses); elsewhere as the octets that are
in the header.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Sequence

from gateway.core.limits import DEFAULT_LIMITS
from gateway.mime.address import Address, Group, parse_addresses
from gateway.mime.header import Fields, decoded
from gateway.mime.params import Params
from gateway.mime.part import Part
from gateway.mime.section import Source, read
from gateway.wire.encode import NIL, nstring, string

_WORD_OCTETS = 45  # of UTF-8 in one encoded word of 75 characters
_EMPTY_ENVELOPE = b"(" + b" ".join([NIL] * 10) + b")"


def _readable(value: bytes | None) -> bytes:
    """An nstring of text for people: as in the header if that is 7-bit, else in encoded words."""
    if value is None or value.isascii():
        return nstring(value)
    return string(b" ".join(_encoded_words(decoded(value))))


def _encoded_words(text: str) -> Iterable[bytes]:
    octets = text.encode("utf-8", "replace")
    at = 0
    while at < len(octets):
        end = min(at + _WORD_OCTETS, len(octets))
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # never inside a character
            end -= 1
        yield b"=?utf-8?B?%b?=" % binascii.b2a_base64(octets[at:end], newline=False)
        at = end


# -- ENVELOPE --


def envelope(header: bytes) -> bytes:
    """The ENVELOPE list of a header block. Sender and Reply-To are From's where they are absent or empty;
    a field that occurs several times counts as one list of addresses, or as its first occurrence."""
    fields = Fields(header)
    if not fields:
        return _EMPTY_ENVELOPE
    sender = _addresses(fields, b"from")
    parts = (
        nstring(fields.first(b"date")),
        _readable(fields.first(b"subject")),
        sender,
        _addresses(fields, b"sender", sender),
        _addresses(fields, b"reply-to", sender),
        _addresses(fields, b"to"),
        _addresses(fields, b"cc"),
        _addresses(fields, b"bcc"),
        nstring(fields.first(b"in-reply-to")),
        nstring(fields.first(b"message-id")),
    )
    return b"(" + b" ".join(parts) + b")"


def _addresses(fields: Fields, name: bytes, default: bytes = NIL) -> bytes:
    values = fields.all(name)
    items = parse_addresses(b", ".join(values)) if values else []
    if not items:
        return default
    return b"(" + b"".join([_item(item) for item in items]) + b")"


def _item(item: Address | Group) -> bytes:
    if isinstance(item, Address):
        return _address(item)
    start = b"(NIL NIL %b NIL)" % _readable(item.name)
    return start + b"".join([_address(member) for member in item.members]) + b"(NIL NIL NIL NIL)"


def _address(address: Address) -> bytes:
    return b"(%b %b %b %b)" % (
        _readable(address.name),
        nstring(address.route),
        string(address.mailbox),
        string(address.host),
    )


# -- BODYSTRUCTURE --


def bodystructure(message: Source, part: Part, *, extensible: bool) -> bytes:
    """The structure of `part`, a part of `message`: BODYSTRUCTURE, or BODY if not `extensible`.

    `message` is read for the envelopes of the messages inside it only."""
    if part.is_multipart:
        return _multipart(message, part, extensible)
    fields = [
        string(part.type),
        string(part.subtype),
        _params(part.params),
        nstring(part.id),
        _readable(part.description),
        string(part.encoding),
        b"%d" % (part.end - part.body),
    ]
    if part.is_message:
        inner = part.children[0]
        header_end = min(inner.body, inner.start + DEFAULT_LIMITS.header_octets)
        fields.append(envelope(read(message, inner.start, header_end)))
        fields.append(bodystructure(message, inner, extensible=extensible))
    if part.is_message or part.type == b"text":
        fields.append(b"%d" % part.lines)
    if extensible:
        fields += [nstring(part.md5), *_extension(part)]
    return b"(" + b" ".join(fields) + b")"


def _multipart(message: Source, part: Part, extensible: bool) -> bytes:
    children = b"".join([bodystructure(message, child, extensible=extensible) for child in part.children])
    fields = [children, string(part.subtype)]
    if extensible:
        fields += [_params(part.params), *_extension(part)]
    return b"(" + b" ".join(fields) + b")"


def _extension(part: Part) -> Sequence[bytes]:
    """body-fld-dsp, body-fld-lang and body-fld-loc."""
    disposition = NIL
    if part.disposition is not None:
        disposition = b"(%b %b)" % (string(part.disposition), _params(part.disposition_params))
    return disposition, _language(part.language), nstring(part.location)


def _language(tags: tuple[bytes, ...]) -> bytes:
    if len(tags) < 2:
        return nstring(tags[0] if tags else None)
    return b"(" + b" ".join([string(tag) for tag in tags]) + b")"


def _params(params: Params) -> bytes:
    if not params:
        return NIL
    return b"(" + b" ".join([string(name) + b" " + string(value) for name, value in params]) + b")"
