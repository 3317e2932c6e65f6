"""`$value`: mail from its kept skeleton, everything else written anew from its properties (contract 8).

The result depends on the item's content alone, so two readings of one version are equal byte by byte.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Iterator
from email.header import Header
from email.utils import formataddr

from gateway.emulator import props
from gateway.emulator.items import Address, Attachment, Content, Item
from gateway.emulator.mime_in import strip_html
from gateway.emulator.skeleton import Skeleton, fields_of, header_end, rfc_date, unfold

# What the writer makes from properties: never taken from the raw header block of a landed message.
_OWN = frozenset(
    {
        "from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "in-reply-to",
        "references", "mime-version", "content-type", "content-transfer-encoding", "content-disposition",
        "content-id", "thread-topic", "thread-index", "importance", "disposition-notification-to",
    }
)  # fmt: skip


def render(item: Item, mailbox_guid: str) -> bytes:
    """The MIME of an item, CRLF lines."""
    content = item.content
    added = list(named_headers(item))
    if item.keywords:
        added.append(("Keywords", ", ".join(encode(k) for k in item.keywords)))
    if content.skeleton is not None:
        known = {name.lower() for name, _ in content.skeleton.values}
        return content.skeleton.render(
            item.variant, item.sent, [(k, v) for k, v in added if k.lower() not in known]
        )
    return synthesise(item, mailbox_guid, added)


def named_headers(item: Item) -> Iterator[tuple[str, str]]:
    """The Internet headers set as named properties."""
    for (space, name), value in (item.extra or {}).items():
        if space == props.INTERNET_HEADERS and isinstance(name, str):
            yield name, encode(value)


def encode(value: str) -> str:
    """A header value in ASCII: encoded words where it needs them, no line breaks of the caller's."""
    plain = " ".join(value.splitlines()) if "\n" in value or "\r" in value else value
    if plain.isascii():
        return plain
    return Header(plain, "utf-8", maxlinelen=74).encode(linesep="\r\n")


def mailbox(address: Address) -> str:
    if not address.name or address.name == address.address:
        return address.address if address.address.isascii() else encode(address.address)
    return (
        formataddr((address.name, address.address)) if address.address.isascii() else encode(address.address)
    )


def address_list(addresses: Iterable[Address]) -> str:
    return ",\r\n ".join(mailbox(a) for a in addresses)


def synthesise(item: Item, guid: str, added: list[tuple[str, str]]) -> bytes:
    """Write a message from its properties: Exchange's own header order, boundaries from the Message-ID."""
    content = item.content
    seed = item.message_id or f"<{item.number}.{guid}@emulator.invalid>"
    boundary = hashlib.blake2b(f"{guid}{item.number}{seed}".encode(), digest_size=8).hexdigest()
    lines: list[str] = [f"{k}: {v}" for k, v in [*_header(item, added), *transport_fields(content)]]
    head = "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n"
    return head + _entity(content, seed, boundary)


def transport_fields(content: Content) -> Iterator[tuple[str, str]]:
    """The fields of the raw header block (0x007D) that the writer does not make itself."""
    raw = content.transport or b""
    end, _ = header_end(raw)
    for each in fields_of(raw, 0, end):
        if each.name.lower() not in _OWN:
            yield each.name, raw[each.value : each.end].strip(b" \t\r\n").decode("utf-8", "replace")


def transport_headers(content: Content) -> list[tuple[str, str]]:
    """Name and value of every field of the raw header block of a landed message."""
    raw = content.transport or b""
    end, _ = header_end(raw)
    return [(f.name, unfold(raw[f.value : f.end])) for f in fields_of(raw, 0, end)]


def _header(item: Item, added: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    content = item.content
    if content.author:
        yield "From", mailbox(content.author)
    if content.sender and content.author and content.sender.address.lower() != content.author.address.lower():
        yield "Sender", mailbox(content.sender)
    lists = (("To", content.to), ("CC", content.cc), ("BCC", content.bcc), ("Reply-To", content.reply_to))
    for name, found in lists:
        if found:
            yield name, address_list(found)
    yield "Subject", encode(item.subject)
    yield "Thread-Topic", encode(item.subject)
    if content.conversation_index:
        yield "Thread-Index", content.conversation_index
    if item.sent is not None:
        yield "Date", rfc_date(item.sent)
    if item.message_id:
        yield "Message-ID", item.message_id
    if content.references:
        yield "References", encode(content.references)
    if content.in_reply_to:
        yield "In-Reply-To", encode(content.in_reply_to)
    if item.state.importance != "normal":
        yield "Importance", item.state.importance
    if content.read_receipt and content.author:
        yield "Disposition-Notification-To", mailbox(content.author)
    yield "Content-Language", "en-US"
    yield "X-MS-Has-Attach", "yes" if content.attachments else ""
    yield from added


def _entity(content: Content, seed: str, boundary: str) -> bytes:
    stem = seed.strip("<>")[:40].encode("ascii", "replace").decode().replace(" ", "_").replace('"', "_")
    body = _bodies(content, f"_000_{stem}_{boundary}_")
    for number, group, kind in (
        (4, [a for a in content.attachments if a.inline], 'multipart/related; type="multipart/alternative"'),
        (5, [a for a in content.attachments if not a.inline], "multipart/mixed"),
    ):
        if group:
            body = _multipart(f"_00{number}_{stem}_{boundary}_", kind, [body, *map(_attached, group)])
    return body.replace(b"\r\n", b"\r\nMIME-Version: 1.0\r\n", 1)


def _bodies(content: Content, boundary: str) -> bytes:
    if content.body_type != "html":
        return _leaf('text/plain; charset="utf-8"', content.body)
    plain = _leaf('text/plain; charset="utf-8"', html.unescape(strip_html(content.body)).strip() + "\r\n")
    rich = _leaf('text/html; charset="utf-8"', content.body)
    return _multipart(boundary, "multipart/alternative", [plain, rich])


def _multipart(boundary: str, kind: str, parts: list[bytes]) -> bytes:
    mark = b"--" + boundary.encode()
    inside = b"".join(mark + b"\r\n" + part + (b"" if part.endswith(b"\r\n") else b"\r\n") for part in parts)
    return f'Content-Type: {kind}; boundary="{boundary}"\r\n\r\n'.encode() + inside + mark + b"--\r\n"


def _leaf(kind: str, text: str) -> bytes:
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode() + lines64(
        text.encode("utf-8", "replace")
    )


def lines64(data: bytes) -> bytes:
    """base64 in CRLF lines of 76."""
    coded = base64.b64encode(data)
    return b"".join(coded[at : at + 76] + b"\r\n" for at in range(0, len(coded), 76))


def _attached(part: Attachment) -> bytes:
    if part.kind == "item":
        return b"Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n" + part.data
    name = encode(part.name.replace('"', "'"))
    where = "inline" if part.inline else "attachment"
    head = f'Content-Type: {part.content_type}; name="{name}"\r\nContent-Description: {name}\r\n'
    head += f'Content-Disposition: {where}; filename="{name}"; size={len(part.data)}\r\n'
    if part.content_id:
        head += f"Content-ID: <{part.content_id}>\r\n"
    return f"{head}Content-Transfer-Encoding: base64\r\n\r\n".encode("utf-8", "replace") + lines64(part.data)


def value_of(item: Item, guid: str) -> tuple[str, int]:
    """(sha256, length) of the item's MIME; computed once per version."""
    if item.digest is None:
        data = render(item, guid)
        item.digest = (hashlib.sha256(data).hexdigest(), len(data))
    return item.digest


__all__ = ["Skeleton", "encode", "lines64", "render", "synthesise", "transport_headers", "value_of"]
