"""Routes 20 and 21: reply, replyAll, forward and their create forms (contract 10.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.emulator import changes, create, jsonin, messages
from gateway.emulator.api import Response
from gateway.emulator.errors import GraphError, bad_body
from gateway.emulator.items import Address, Content, Flags, Item
from gateway.emulator.mime_in import read, strip_html
from gateway.emulator.odata import Context
from gateway.emulator.send import submit


def act(ctx: Context, message_id: str, verb: str) -> Response:
    """POST reply, replyAll, forward: 202."""
    item = _draft(ctx, message_id, verb, merge_comment=True)
    try:
        submit(ctx, item, save=True)
    except GraphError:
        ctx.box.answers.pop(item.number, None)
        ctx.box.destroy(item)
        raise
    return Response(202)


def draft(ctx: Context, message_id: str, verb: str) -> Response:
    """POST createReply, createReplyAll, createForward: 201 and a draft, without the comment (known issue)."""
    item = _draft(ctx, message_id, verb, merge_comment=False)
    messages.fresh(ctx.box, item)
    return messages.answer(ctx, 201, item)


def _draft(ctx: Context, message_id: str, verb: str, *, merge_comment: bool) -> Item:
    original = messages.find(ctx, message_id)
    if jsonin.content_type(ctx) == "text/plain":
        content = _from_mime(ctx, original, verb)
        wanted = changes.Changes({})
    else:
        content, wanted = _from_json(ctx, original, verb, merge_comment)
    now = int(ctx.box.now())
    item = ctx.box.create(
        ctx.box.special["drafts"],
        content,
        subject=_subject(original.subject, verb),
        message_id=f"<EMR{original.number:08X}.{ctx.box.change:X}@EMU.PROD.OUTLOOK.COM>",
        received=now,
        sent=now,
        draft=True,
        state=Flags(read=True),
    )
    changes.apply_draft(ctx.box, item, wanted)
    changes.apply_flags(ctx.box, item, item.state, wanted)
    ctx.box.answers[item.number] = (original.number, verb)
    return item


def _subject(subject: str, verb: str) -> str:
    mark = "FW: " if verb == "forward" else "RE: "
    return subject if subject[:4].upper() == mark else mark + subject


def _threading(original: Item) -> dict[str, Any]:
    references = f"{original.content.references or ''} {original.message_id or ''}".strip()
    return {
        "in_reply_to": original.message_id,
        "references": references or None,
        "conversation": original.content.conversation,
    }


def _to(ctx: Context, original: Item, verb: str) -> dict[str, tuple[Address, ...]]:
    content = original.content
    if verb == "forward":
        return {}
    to = content.reply_to or ((content.author,) if content.author else ())
    if verb == "reply":
        return {"to": to}
    mine = {ctx.box.upn.lower(), *(a.address.lower() for a in to)}
    return {
        "to": (*to, *(a for a in content.to if a.address.lower() not in mine)),
        "cc": tuple(a for a in content.cc if a.address.lower() not in mine),
    }


def _from_mime(ctx: Context, original: Item, verb: str) -> Content:
    parsed = read(create.posted_mime(ctx), transported=False)
    people = _to(ctx, original, verb) or {"to": parsed.content.to, "cc": parsed.content.cc}
    return replace(parsed.content, skeleton=None, **{**_threading(original), **people})


def _from_json(
    ctx: Context, original: Item, verb: str, merge_comment: bool
) -> tuple[Content, changes.Changes]:
    body = jsonin.body(ctx, optional=True)
    values = jsonin.checked(ctx, body, frozenset({"comment", "message", "torecipients"}), frozenset())
    message = values.get("message") or {}
    if not isinstance(message, dict) or not isinstance(values.get("comment", ""), str | None):
        raise bad_body()
    if values.get("comment") and "body" in {k.lower() for k in message}:
        raise bad_body("A comment and a message body cannot be given together.")
    wanted = changes.check(ctx, message, creating=False)
    people: dict[str, Any] = _to(ctx, original, verb)
    if verb == "forward" and values.get("torecipients"):
        people = {"to": jsonin.recipients(values["torecipients"])}
    comment = (values.get("comment") or "") if merge_comment else ""
    source = original.content
    quoted = strip_html(source.body) if source.body_type == "html" else source.body
    text = comment + "\r\n\r\n________________________________\r\n" + quoted
    attachments = source.attachments if verb == "forward" else ()
    fields = {
        **_threading(original),
        **people,
        **changes.body_fields("text", text),
        "attachments": attachments,
    }
    return Content(author=Address("", ctx.box.upn), sender=Address("", ctx.box.upn), **fields), wanted
