"""What is shown of a message that Exchange cannot render as MIME for good (trap 26; contract section 8).

Opaque S/MIME is put together again: its header and its one attachment are all there is to it. Anything else
becomes a note with the attachments below it. The marker header tells clients and administrators what they
look at; the octets are the same each time, but they are never pinned: Exchange may learn to render the
message."""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Any

from gateway.graph.errors import GraphError, NotFound
from gateway.graph.mail import META_PROPERTIES
from gateway.graph.model import Message
from gateway.mailbox.context import AccountContext
from gateway.mailbox.facts import FIELDS, encoded, facts_of
from gateway.mime.compose import remove_header
from gateway.mime.header import field, fold_header, header_end
from gateway.store.api import MessageRow

MARKER = "X-Gateway-Placeholder"
MOST = 100  # attachments of one placeholder
NOTE = (
    "Exchange cannot convert this message to the Internet's format.\r\n"
    "Below is what the gateway could read of it: its header and its attachments.\r\n"
)
_MIME_FIELDS = (b"mime-version", b"content-type", b"content-transfer-encoding", b"content-disposition")
_SMIME = "application/pkcs7-mime"

File = tuple[str, str, bytes]  # name, content type, octets


def is_placeholder(raw: bytes) -> bool:
    """Whether these octets, or the beginning of them, are one of ours: not to be pinned, kept or measured."""
    return field(raw[: header_end(raw)], MARKER.lower().encode()) is not None


async def placeholder(ctx: AccountContext, row: MessageRow) -> bytes:
    """The whole message. Errors: those of Graph; NotFound if it is gone."""
    answer = (await ctx.graph.get([row.id], fields=FIELDS, properties=META_PROPERTIES))[0]
    if not isinstance(answer, Message):
        raise answer
    header = facts_of(answer).header
    for name in _MIME_FIELDS:
        header = remove_header(header, name)
    marker = fold_header([(MARKER, "Exchange could not convert this message")])
    version = fold_header([("MIME-Version", "1.0")])
    content = _content(await _files(ctx, row.id), f"gateway-{row.email_id}")
    return b"".join(block[: -len(b"\r\n")] for block in (marker, header, version)) + content


async def _files(ctx: AccountContext, id: str) -> list[File]:
    """What attachments can be read; links and broken ones are left out."""
    files = []
    for listed in (await ctx.graph.attachments(id))[:MOST]:
        try:
            data = await ctx.graph.attachment_value(id, str(listed["id"]))
        except NotFound:
            raise
        except GraphError:
            continue
        files.append((_text(listed, "name") or "attachment", _type(listed), data))
    return files


def _text(listed: dict[str, Any], key: str) -> str:
    value = listed.get(key)
    return value if isinstance(value, str) else ""


def _type(listed: dict[str, Any]) -> str:
    """Of an item attachment `$value` is a message."""
    if _text(listed, "@odata.type").lower().endswith("itemattachment"):
        return "message/rfc822"
    kind = _text(listed, "contentType")
    return (
        kind
        if "/" in kind and kind.isascii() and not kind.startswith("multipart/")
        else "application/octet-stream"
    )


def _content(files: Sequence[File], boundary: str) -> bytes:
    """Content fields, the empty line, the body."""
    if len(files) == 1 and files[0][0].lower().endswith(".p7m"):
        return _part(("smime.p7m", _SMIME + "; smime-type=enveloped-data", files[0][2]))
    delimiter = f"\r\n--{boundary}".encode()
    note = b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + NOTE.encode()
    parts = b"".join(delimiter + b"\r\n" + part for part in [note, *map(_part, files)])
    kind = fold_header([("Content-Type", f'multipart/mixed; boundary="{boundary}"')])
    return kind + parts[2:] + delimiter + b"--\r\n"


def _part(file: File) -> bytes:
    name, kind, data = file
    if kind == "message/rfc822":  # RFC 2046 section 5.2.1 allows no base64 here
        return fold_header([("Content-Type", kind)]) + data
    quoted = encoded(name).replace("\\", "_").replace('"', "'")
    fields = [
        ("Content-Type", f'{kind}; name="{quoted}"'),
        ("Content-Disposition", f'attachment; filename="{quoted}"'),
        ("Content-Transfer-Encoding", "base64"),
    ]
    return fold_header(fields) + _base64(data)


def _base64(data: bytes) -> bytes:
    lines = (binascii.b2a_base64(data[at : at + 57], newline=False) for at in range(0, len(data), 57))
    return b"\r\n".join(lines) + b"\r\n"
