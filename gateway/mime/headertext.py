"""Header blocks made fit for a system that wants ASCII and short lines (RFC 5322 section 2.1.1, RFC 2047, RFC 2231).

Fields that are so already stay octet for octet. Addresses that are UTF-8 themselves (RFC 6532) have no ASCII form and
stay UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from email.header import Header

from gateway.core.limits import DEFAULT_LIMITS
from gateway.mime.address import NO_HOST, NO_MAILBOX, Address, Group, parse_addresses
from gateway.mime.charset import text_of
from gateway.mime.header import Field, decoded, fold_field, split
from gateway.mime.params import parse_value

ADDRESSES = frozenset(
    {b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"resent-from", b"resent-sender", b"resent-to",
     b"resent-cc", b"resent-bcc", b"disposition-notification-to", b"return-receipt-to", b"mail-followup-to"}
)  # fmt: skip
PARAMETERS = frozenset({b"content-type", b"content-disposition"})
_LINE = re.compile(rb"[^\n]{999,}")
_WORDS = rb"(?:=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=|[A-Za-z0-9!#$%&'*+/^_`{|}~-]+)"
_PHRASE = re.compile(_WORDS + rb"(?: +" + _WORDS + rb")*")
_UNSAFE = re.compile(rb"[^!#$&+.0-9A-Z^_`a-z{|}~\-]")
_TOKEN = re.compile(rb"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")


def fit(header: bytes) -> bytes:
    """The block, lines that are no fields left out. Line ends are CRLF before and after; ends with the empty line if
    it did."""
    fields = split(header)
    if header.isascii() and not _LINE.search(header) and all(each.name for each in fields):
        return header
    tail = header[fields[-1].end :] if fields else header
    return b"".join([_fitted(header, each) for each in fields if each.name]) + tail


def _fitted(header: bytes, each: Field) -> bytes:
    octets = header[each.start : each.end]
    if octets.isascii() and not _LINE.search(octets):
        return octets
    name, value = header[each.start : each.value].rstrip(b" \t:"), header[each.value : each.end]
    if octets.isascii():
        return fold_field(name, value)
    if each.name in ADDRESSES:
        return fold_field(name, address_list(parse_addresses(value, DEFAULT_LIMITS.addresses)))
    if each.name in PARAMETERS:
        return fold_field(name, _with_ascii_parameters(value))
    return name + b": " + encoded(decoded(value), len(name) + 2) + b"\r\n"


def encoded(text: str, used: int = 0) -> bytes:
    """Text as a field's value in ASCII: encoded words where it needs them, folded. `used`: octets before it."""
    if text.isascii():
        return text.encode()
    return (
        Header(text, "utf-8", maxlinelen=75, header_name="x" * max(used - 2, 0))
        .encode(linesep="\r\n")
        .encode()
    )


def address_list(items: Iterable[Address | Group]) -> bytes:
    """The value of an address field that says the same."""
    return b", ".join([_group(item) if isinstance(item, Group) else address(item) for item in items])


def address(item: Address) -> bytes:
    """One address, its name in ASCII."""
    local, host = item.mailbox, item.host
    if local == NO_MAILBOX:
        return _phrase(item.name or b"") or b'""'
    if not _TOKEN.fullmatch(local.replace(b"@", b"(")) and not _is_utf8_atom(local):
        local = _quoted(local)
    spec = local if host == NO_HOST else local + b"@" + host
    return b"%b <%b>" % (_phrase(item.name), spec) if item.name else spec


def _is_utf8_atom(local: bytes) -> bool:
    return not local.isascii() and not re.search(rb'[\s"(),:;<>@\[\]\\]', local)


def _group(group: Group) -> bytes:
    return _phrase(group.name) + b": " + address_list(group.members) + b";"


def _phrase(name: bytes) -> bytes:
    """A display name; encoded words that are there already stay."""
    if name.isascii() and _PHRASE.fullmatch(name):
        return name
    text = decoded(name)
    return encoded(text) if not text.isascii() else _quoted(text.encode())


def _quoted(octets: bytes) -> bytes:
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _with_ascii_parameters(value: bytes) -> bytes:
    main, params = parse_value(value)
    return b"; ".join([main if main.isascii() else b"application/octet-stream", *map(_parameter, params)])


def _parameter(pair: Sequence[bytes]) -> bytes:
    name, value = pair
    if name.endswith(b"*"):
        return name + b"=" + value if value.isascii() else name + b"=" + _percent(value)
    if value.isascii():
        return name + b"=" + _quoted(value)
    return name + b"*=utf-8''" + _percent(text_of(value).encode())


def _percent(octets: bytes) -> bytes:
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], octets)
