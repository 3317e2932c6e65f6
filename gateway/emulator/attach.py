"""Routes 23-27: attachments and upload sessions (contract 10.4, 14)."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.emulator import jsonin, messages, times
from gateway.emulator.api import Response
from gateway.emulator.attach_json import attachment_json
from gateway.emulator.errors import (
    GraphError,
    bad_body,
    denied,
    json_response,
    malformed_id,
    not_found,
    quota,
)
from gateway.emulator.ids import MalformedIdError
from gateway.emulator.items import OTHER, Attachment, Item
from gateway.emulator.limits import limit
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.messages import chunks
from gateway.emulator.mime_in import attachment_key, crlf, read
from gateway.emulator.odata import Context
from gateway.emulator.render import body_json

_KINDS = {"fileattachment": "file", "itemattachment": "item", "referenceattachment": "reference"}
_WRITABLE = frozenset(
    {"name", "contenttype", "contentbytes", "isinline", "contentid", "contentlocation", "item", "sourceurl",
     "providertype", "permission", "isfolder", "thumbnailurl", "previewurl"}
)  # fmt: skip
_IGNORED = frozenset({"id", "size", "lastmodifieddatetime"})
_RANGE = re.compile(r"bytes (\d{1,12})-(\d{1,12})/(\d{1,12})\Z", re.IGNORECASE)


# -- reading ---------------------------------------------------------------------------------------


def list_all(ctx: Context, message_id: str) -> Response:
    item, select = messages.find(ctx, message_id), _select(ctx)
    parts = item.content.attachments
    size, skip = (ctx.options.top or len(parts) or 1), ctx.options.skip
    shown = parts[skip : skip + size]
    out: dict[str, Any] = {
        "@odata.context": ctx.metadata(f"messages('{message_id}')/attachments"),
        "value": [attachment_json(ctx, item, part, select) for part in shown],
    }
    if ctx.options.count:
        out["@odata.count"] = len(parts)
    if skip + size < len(parts):
        out["@odata.nextLink"] = ctx.link({"$skip": skip + size})
    return json_response(200, out, items=len(shown))


def _select(ctx: Context) -> tuple[str, ...] | None:
    names = ctx.options.select
    known = {"id", "lastmodifieddatetime", "name", "contenttype", "size", "isinline"}
    for name in names or ():
        if name not in known and not name.startswith("microsoft.graph."):
            text = f"Could not find a property named '{name}' on type 'microsoft.graph.attachment'."
            raise GraphError(400, "BadRequest", f"Parsing OData Select and Expand failed: {text}")
    return names


def find(ctx: Context, message_id: str, attachment_id: str) -> tuple[Item, Attachment]:
    item = messages.find(ctx, message_id)
    try:
        key = ctx.box.mint.read_attachment(attachment_id)
    except MalformedIdError:
        raise malformed_id() from None
    part = next((a for a in item.content.attachments if a.key == key), None)
    if part is None:
        raise not_found()
    return item, part


def get(ctx: Context, message_id: str, attachment_id: str) -> Response:
    """GET; `$expand=microsoft.graph.itemattachment/item` shows the message inside."""
    item, part = find(ctx, message_id, attachment_id)
    out = attachment_json(ctx, item, part, _select(ctx))
    if part.kind == "item" and ctx.options.expand.item:
        out["item"] = part.item or _inner(ctx, part)
    return json_response(200, {"@odata.context": ctx.metadata("messages/attachments/$entity"), **out})


def _inner(ctx: Context, part: Attachment) -> dict[str, Any]:
    parsed = read(crlf(part.data), transported=True)
    content = parsed.content
    return {
        "@odata.type": "#microsoft.graph.message",
        "id": "",
        "subject": parsed.subject,
        "internetMessageId": parsed.message_id,
        "sentDateTime": times.iso(parsed.date or 0),
        "body": body_json(content.body_type, content.body, ctx),
        "from": content.author.json() if content.author else None,
        "toRecipients": [a.json() for a in content.to],
        "ccRecipients": [a.json() for a in content.cc],
        "bccRecipients": [a.json() for a in content.bcc],
        "hasAttachments": content.has_attachments,
    }


def value(ctx: Context, message_id: str, attachment_id: str) -> Response:
    """`$value`: a file's bytes, an item's MIME; 405 for a link."""
    _, part = find(ctx, message_id, attachment_id)
    if part.kind == "reference":
        raise GraphError(405, "ErrorInvalidOperation", "The value of a reference attachment cannot be read.")
    kind = "text/plain" if part.kind == "item" else part.content_type
    return Response(200, chunks(part.data), {"Content-Type": jsonin.one_line(kind)})


# -- writing ---------------------------------------------------------------------------------------


def read_posted(body: Any, position: str) -> Attachment:
    """An attachment from JSON; 400 for an unknown type, key or base64."""
    if not isinstance(body, dict):
        raise bad_body()
    kind = _KINDS.get(str(body.get("@odata.type", "")).rsplit(".", 1)[-1].lower())
    values = {k.lower(): v for k, v in body.items() if "@odata." not in k and k.lower() not in _IGNORED}
    if kind is None or values.keys() - _WRITABLE or not isinstance(values.get("name"), str):
        raise bad_body()
    data = _bytes(values.get("contentbytes", "")) if kind == "file" else b""
    if kind == "item":
        data = _item_mime(values.get("item"))
    return Attachment(
        attachment_key(position, data + values["name"].encode("utf-8", "replace")),
        kind,
        jsonin.one_line(values["name"]),
        _media_type(values.get("contenttype")),
        data,
        values.get("isinline") is True,
        _optional(values.get("contentid")),
        _optional(values.get("sourceurl" if kind == "reference" else "contentlocation")),
        values.get("item") if kind == "item" and isinstance(values.get("item"), dict) else None,
    )


def _optional(value: Any) -> str | None:
    return jsonin.one_line(value).strip("<>") if isinstance(value, str) and value else None


def _media_type(value: Any) -> str:
    kind = jsonin.one_line(value) if isinstance(value, str) else ""
    return kind if re.fullmatch(r"[\w.+-]+/[\w.+-]+(;.*)?", kind) else "application/octet-stream"


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise bad_body("Cannot convert the value of contentBytes.") from None


def _item_mime(value: Any) -> bytes:
    """A posted itemAttachment's item as MIME: subject and body are kept."""
    if not isinstance(value, dict):
        raise bad_body()
    body = value.get("body") if isinstance(value.get("body"), dict) else {}
    subject = jsonin.one_line(str(value.get("subject") or ""))
    text = str((body or {}).get("content") or "")
    head = f'Subject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset="utf-8"\r\n\r\n'
    return (head + text).encode("utf-8", "replace")


def add(box: Mailbox, item: Item, part: Attachment) -> Attachment:
    """Put an attachment on a message: its MIME is written anew from then on."""
    if item.content.size + len(part.data) * 4 // 3 > limit(box.world, "message_bytes"):
        raise GraphError(413, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
    box.edit(item, OTHER)
    kept = (*item.content.attachments, part)
    box.set_content(item, replace(item.content, attachments=kept, skeleton=None))
    return part


def create(ctx: Context, message_id: str) -> Response:
    """POST attachments: below 3 MB."""
    item = messages.find(ctx, message_id)
    body = jsonin.body(ctx)
    part = read_posted(body, f"{len(item.content.attachments)}:{item.state.change}")
    if len(part.data) >= limit(ctx.world, "attachment_bytes"):
        raise GraphError(413, "ErrorMessageSizeExceeded", "The attachment is too large for a single request.")
    _check_quota(ctx.box)
    add(ctx.box, item, part)
    out = attachment_json(ctx, item, part, None)
    return json_response(201, {"@odata.context": ctx.metadata("messages/attachments/$entity"), **out})


def _check_quota(box: Mailbox) -> None:
    if box.full():
        raise quota()


def delete(ctx: Context, message_id: str, attachment_id: str) -> Response:
    item, part = find(ctx, message_id, attachment_id)
    ctx.box.edit(item, OTHER)
    kept = tuple(a for a in item.content.attachments if a is not part)
    ctx.box.set_content(item, replace(item.content, attachments=kept, skeleton=None))
    return Response(204)


# -- upload sessions -------------------------------------------------------------------------------


@dataclass(slots=True)
class Upload:
    """One upload session: bytes arrive strictly in order until `size` are there."""

    box: Mailbox
    item: int
    name: str
    size: int
    content_type: str
    inline: bool
    content_id: str | None
    expires: float
    base: str
    immutable: bool
    app: str  # whose upload budget the bytes are charged to
    data: bytearray = field(default_factory=bytearray)


def create_session(ctx: Context, message_id: str) -> Response:
    """POST createUploadSession: 3 MB at least (contract 10.4)."""
    item = messages.find(ctx, message_id)
    body = jsonin.body(ctx)
    found = body.get("AttachmentItem", body.get("attachmentItem"))
    if not isinstance(found, dict) or str(found.get("attachmentType", "")).lower() not in ("file", "item"):
        raise bad_body()
    size, name = found.get("size"), found.get("name")
    if not isinstance(size, int) or isinstance(size, bool) or not isinstance(name, str):
        raise bad_body()
    if size < limit(ctx.world, "attachment_bytes"):
        text = "The size of the attachment is less than the minimum for an upload session."
        raise GraphError(400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", text)
    if item.content.size + size * 4 // 3 > limit(ctx.world, "message_bytes"):
        raise GraphError(413, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
    _check_quota(ctx.box)
    if ctx.caller.user is not None and ctx.caller.user.lower() != ctx.box.upn.lower():
        raise denied()  # known issue: delegated sessions in shared mailboxes
    return _open(ctx, item, name, size, found)


def _open(ctx: Context, item: Item, name: str, size: int, found: dict[str, Any]) -> Response:
    expires = ctx.box.now() + limit(ctx.world, "upload_seconds")
    token = secrets.token_urlsafe(32)
    ctx.uploads[token] = Upload(
        ctx.box,
        item.number,
        jsonin.one_line(name),
        size,
        _media_type(found.get("contentType")),
        found.get("isInline") is True,
        _optional(found.get("contentId")),
        expires,
        ctx.request.base,
        ctx.prefer.immutable,
        ctx.caller.app_id,
    )
    url = f"{ctx.request.base.rsplit('/', 1)[0]}/upload/{token}"
    out = {
        "@odata.context": f"{ctx.request.base}/$metadata#microsoft.graph.uploadSession",
        "uploadUrl": url,
        "expirationDateTime": times.iso(int(expires)),
        "nextExpectedRanges": ["0-"],
    }
    return json_response(201, out)


def upload(
    uploads: dict[str, Upload], method: str, token: str, headers: Mapping[str, str], body: bytes
) -> Response:
    """PUT a chunk or DELETE the session; raises GraphError."""
    session = uploads.get(token)
    if session is None or session.box.now() > session.expires:
        uploads.pop(token, None)
        raise GraphError(404, "ErrorItemNotFound", "The upload session was not found.")
    if "authorization" in headers and session.box.world.rules.on("upload-bearer-refused"):
        raise GraphError(
            401, "InvalidAudienceForResource", "The audience claim value is invalid for resource."
        )
    if method == "DELETE":
        del uploads[token]
        return Response(204)
    if method != "PUT":
        raise GraphError(405, "ErrorInvalidRequest", "The method is not offered for upload sessions.")
    _accept(session, headers.get("content-range", ""), body)
    if len(session.data) < session.size:
        return _next(session)
    del uploads[token]
    return _finish(session)


def _accept(session: Upload, text: str, body: bytes) -> None:
    match = _RANGE.match(text.strip())
    if match is None:
        raise GraphError(400, "ErrorInvalidRequest", "Content-Range is missing or malformed.")
    start, end, size = map(int, match.groups())
    if end - start + 1 != len(body) or size != session.size or end >= size:
        raise GraphError(400, "ErrorInvalidRequest", "Content-Range does not fit the body.")
    if len(body) >= limit(session.box.world, "upload_chunk_bytes"):
        raise GraphError(413, "RequestEntityTooLarge", "The chunk is too large.")
    if start != len(session.data):
        raise GraphError(416, "ErrorInvalidRange", "The range is not the next expected one.")
    session.data += body


def _next(session: Upload) -> Response:
    status = 200 if session.box.world.rules.on("upload-next-200") else 202
    out = {
        "@odata.context": f"{session.base}/$metadata#microsoft.graph.uploadSession",
        "ExpirationDateTime": times.iso(int(session.expires)),
        "NextExpectedRanges": [str(len(session.data))],
    }
    return json_response(status, out)


def _finish(session: Upload) -> Response:
    box = session.box
    item = box.items.get(session.item)
    if item is None or not item.folder:
        raise not_found()
    data = bytes(session.data)
    key = attachment_key(f"{len(item.content.attachments)}:{item.state.change}", data)
    part = Attachment(
        key, "file", session.name, session.content_type, data, session.inline, session.content_id
    )
    add(box, item, part)
    parent = box.id_of(item, session.immutable)
    name = box.mint.attachment(parent, key)
    where = f"{session.base}/users('{box.guid}')/messages('{parent}')/Attachments('{name}')"
    return Response(201, headers={"Location": where})
