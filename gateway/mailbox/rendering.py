"""Whether two renderings of a message are of one content (decision 4).

`$value` is made anew from MAPI each time (contract section 8): a category adds a header field, an upgrade of
Exchange chooses other boundaries or encodings. So what people call the content is compared: subject, date,
addresses, and each part with its encodings undone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from enum import Enum, auto
from hashlib import sha256

from gateway.core.limits import MIB
from gateway.mime.address import Address, Group, parse_addresses
from gateway.mime.charset import text_of
from gateway.mime.header import Fields, decoded, header_end
from gateway.mime.params import parameter
from gateway.mime.part import Part, scan
from gateway.mime.transfer import decode_transfer
from gateway.store.api import Pin
from gateway.wire.dates import parse_header_date

OFF_LOOP = 1 * MIB  # octets from which hashing and decoding would be felt by other connections

Told = tuple[object, ...]  # what a header says to a person, in a form to be compared


class Verdict(Enum):
    """A rendering beside the record of the first one."""

    SAME = auto()  # the rest is equal: with the pinned header they are the same octets
    RENDERED = auto()  # the same content in other octets
    CHANGED = auto()  # somebody changed the content


async def pin_from(raw: bytes) -> Pin:
    """`pin_of`, in a thread where it would take long."""
    return await asyncio.to_thread(pin_of, raw) if len(raw) >= OFF_LOOP else pin_of(raw)


def pin_of(raw: bytes) -> Pin:
    """The first-bytes record of these octets."""
    end = header_end(raw)
    rest = memoryview(raw)[end:]
    return Pin(raw[:end], len(rest), sha256(rest).digest(), content_digest(raw))


def judge(first: Pin, now: Pin) -> Verdict:
    """What a rendering is beside the first one. Where the first one's content was never taken, its header alone
    can tell of a change."""
    if told(first.header) != told(now.header):
        return Verdict.CHANGED
    if (first.rest_length, first.rest_sha256) == (now.rest_length, now.rest_sha256):
        return Verdict.SAME
    return Verdict.RENDERED if first.content in (b"", now.content) else Verdict.CHANGED


# -- headers --


def told(header: bytes, names: tuple[bytes, ...] = (b"subject", b"date", b"from", b"to", b"cc")) -> Told:
    """Subject, date and addresses of a header block, however they are encoded, folded and spelled."""
    fields = Fields(header)
    return tuple(_TELLING.get(name, _addresses)(fields.all(name)) for name in names)


def _subject(values: list[bytes]) -> str:
    return " ".join(decoded(values[0]).split()) if values else ""


def _date(values: list[bytes]) -> int | None:
    parsed = parse_header_date(values[0]) if values else None
    return None if parsed is None else parsed[0]


def _addresses(values: list[bytes]) -> list[bytes]:
    """Without their names, which a directory may supply and change, and their order."""
    return sorted({spec for value in values for item in parse_addresses(value) for spec in _specs(item)})


def _specs(item: Address | Group) -> Iterator[bytes]:
    for one in item.members if isinstance(item, Group) else (item,):
        yield (one.mailbox + b"@" + one.host).lower()


_TELLING: dict[bytes, Callable[[list[bytes]], object]] = {b"subject": _subject, b"date": _date}


# -- parts --


def content_digest(raw: bytes) -> bytes:
    """SHA-256 over the leaves in their order, each its type and decoded octets, and over what the headers of
    messages inside say."""
    digest = sha256()
    for label, octets in _contents(raw, scan(raw)):
        digest.update(b"%b %d\n" % (label, len(octets)))
        digest.update(octets)
    return digest.digest()


def _contents(raw: bytes, part: Part) -> Iterator[tuple[bytes, bytes]]:
    if part.is_message and part.children:
        inner = part.children[0]
        yield b"message", repr(told(raw[inner.start : inner.body])).encode()
    if not part.children:
        yield part.type + b"/" + part.subtype, _leaf(raw, part)
    for child in part.children:
        yield from _contents(raw, child)


def _leaf(raw: bytes, part: Part) -> bytes:
    octets = decode_transfer(raw[part.body : part.end], part.encoding)
    if part.type != b"text":
        return octets
    text = text_of(octets, parameter(part.params, b"charset"))
    return text.replace("\r\n", "\n").rstrip().encode("utf-8", "surrogatepass")
