"""Routes 10 and 11: messages from MIME (drafts) and from JSON (drafts, or landed by MAPI): contract 9."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace
from typing import Any

from gateway.emulator import changes, folders, jsonin, mapi, mime_clean, times
from gateway.emulator.api import Response
from gateway.emulator.attach import read_posted
from gateway.emulator.changes import Changes
from gateway.emulator.errors import GraphError, bad_body, quota
from gateway.emulator.extensions import read_posted as read_extension
from gateway.emulator.folder import Folder
from gateway.emulator.items import Content, Flags, Item
from gateway.emulator.limits import limit
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.messages import answer, fresh
from gateway.emulator.mime_in import crlf, read
from gateway.emulator.odata import Context
from gateway.emulator.props import INTERNET_HEADERS, Prop

_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]*={0,2}\s*\Z")


def create(ctx: Context) -> Response:
    """POST messages: MIME by Content-Type text/plain, else JSON."""
    if jsonin.content_type(ctx) == "text/plain":
        item = from_mime(ctx, posted_mime(ctx))
    else:
        item = from_json(ctx, jsonin.body(ctx), ctx.box.special["drafts"])
    return _made(ctx, item)


def create_in(ctx: Context, folder_id: str) -> Response:
    """POST mailFolders/{id}/messages: JSON; MIME is refused whatever the documentation says (trap 1)."""
    folder = folders.find(ctx.box, folder_id)
    if jsonin.content_type(ctx) == "text/plain":
        jsonin.check_size(ctx)
        if ctx.rule("mime-to-folder-refused"):
            raise bad_body()
        item = from_mime(ctx, posted_mime(ctx))
        ctx.box.move(item, folder)
    else:
        item = from_json(ctx, jsonin.body(ctx), folder)
    return _made(ctx, item)


def _made(ctx: Context, item: Item) -> Response:
    fresh(ctx.box, item)
    return answer(ctx, 201, item)


def posted_mime(ctx: Context) -> bytes:
    """The MIME of a base64 body as Exchange keeps it; 400 or 413 for what it refuses."""
    jsonin.check_size(ctx)
    body = ctx.request.body
    if not body.strip():
        raise bad_body("Empty Payload. JSON content expected.")
    if not _BASE64.match(body):
        raise _not_base64()
    try:
        raw = base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        raise _not_base64() from None
    mime_clean.check(raw, ctx.world)
    return mime_clean.clean(crlf(raw), ctx.world, ctx.box.known_headers)


def _not_base64() -> GraphError:
    return GraphError(400, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.")


def check_quota(box: Mailbox) -> None:
    if box.full():
        raise quota()


def from_mime(ctx: Context, raw: bytes) -> Item:
    """A draft in Drafts: read, dated now, sent date from its Date field."""
    check_quota(ctx.box)
    parsed = read(raw, transported=False)
    now = int(ctx.box.now())
    return ctx.box.create(
        ctx.box.special["drafts"],
        parsed.content,
        subject=parsed.subject,
        message_id=parsed.message_id,
        received=now,
        sent=parsed.date if parsed.date is not None else now,
        draft=True,
        state=Flags(read=True, importance=parsed.importance),
    )


def from_json(ctx: Context, body: dict[str, Any], folder: Folder) -> Item:
    """A draft, or with 0x0E07 a message as if received (contract 9.2)."""
    check_quota(ctx.box)
    if folder.search is not None:
        raise GraphError(400, "ErrorInvalidOperation", "Items cannot be made in a search folder.")
    wanted = changes.check(ctx, body, creating=True)
    _dates_from_json(ctx, body, wanted)
    return land(ctx.box, wanted, folder)


def _dates_from_json(ctx: Context, body: dict[str, Any], wanted: Changes) -> None:
    """receivedDateTime and sentDateTime are ignored (trap 3) unless that rule is off."""
    if ctx.rule("landing-dates-ignored"):
        return
    for name, tag in (("receivedDateTime", 0x0E06), ("sentDateTime", 0x0039)):
        if isinstance(body.get(name), str) and times.parse(body[name]) is not None:
            wanted.props.append((Prop("SystemTime", ("", tag)), body[name]))


def land(box: Mailbox, wanted: Changes, folder: Folder) -> Item:
    """Make the item that checked changes describe."""
    values, now = wanted.values, int(box.now())
    flags = wanted.tagged(0x0E07)
    draft = flags is None or bool(int(flags) & 8)
    content = _with_attachments(changes.content_of(wanted), values.get("attachments", []))
    if content.size > limit(box.world, "message_bytes"):
        raise GraphError(413, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
    seen = bool(int(flags or "1") & 1)
    item = box.create(
        folder,
        content,
        subject=values.get("subject", ""),
        message_id=values.get("internetmessageid") or wanted.tagged(0x1035) or _own_id(box),
        received=_time(wanted, 0x0E06, now),
        sent=_time(wanted, 0x0039, now),
        draft=draft,
        state=Flags(read=values.get("isread", seen)),
    )
    changes.apply_flags(box, item, item.state, _applicable(wanted))
    item.keywords = item.state.categories if box.world.rules.on("value-regenerated") else ()
    for name, value in values.get("internetmessageheaders", []):
        mapi.keep(box, item, Prop("String", (INTERNET_HEADERS, name.lower())), value)
    if values.get("extensions"):
        item.extensions = dict(map(read_extension, values["extensions"]))
    return item


def _applicable(wanted: Changes) -> Changes:
    """Threading is in the content already."""
    done = {0x1042, 0x1039, 0x0029, 0x001A}
    return Changes(wanted.values, [(p, v) for p, v in wanted.props if p.tag not in done])


def _time(wanted: Changes, tag: int, now: int) -> int:
    posted = wanted.tagged(tag)
    found = times.parse(posted) if posted else None
    return now if found is None else int(found)


def _own_id(box: Mailbox) -> str:
    return f"<EM{box.change:012X}{box.mint.store.hex()[:12].upper()}@EMU.PROD.OUTLOOK.COM>"


def _with_attachments(content: Content, posted: list[Any]) -> Content:
    if not posted:
        return content
    return replace(content, attachments=tuple(read_posted(each, f"{at}") for at, each in enumerate(posted)))
