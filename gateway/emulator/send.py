"""Routes 19 and 22: sending a draft, sendMail (contract 10.1, 10.2, 10.5, 10.6)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from gateway.emulator import changes, create, jsonin, messages, post
from gateway.emulator.api import Response
from gateway.emulator.errors import GraphError, bad_body, denied, quota
from gateway.emulator.items import EXTENDED, Address, Flags, Item
from gateway.emulator.limits import lag, limit
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.mime_in import read
from gateway.emulator.mime_out import render
from gateway.emulator.mime_parts import addresses
from gateway.emulator.odata import Context

_ANSWERED = {"reply": (102, 261), "replyall": (103, 261), "forward": (104, 262)}


def send_mail(ctx: Context) -> Response:
    """POST sendMail: 202 with nothing in it; over 4 MB a 200 that did nothing (trap 24)."""
    if len(ctx.request.body) > limit(ctx.world, "body_bytes") and ctx.rule("silent-200"):
        return Response(200)
    save = True
    if jsonin.content_type(ctx) == "text/plain":
        item = _outbox_mime(ctx, create.posted_mime(ctx))
    else:
        body = jsonin.body(ctx)
        values = jsonin.checked(ctx, body, frozenset({"message", "savetosentitems"}), frozenset())
        if not isinstance(values.get("message"), dict):
            raise bad_body()
        save = str(values.get("savetosentitems", True)).lower() != "false"
        item = create.land(
            ctx.box, changes.check(ctx, values["message"], creating=True), ctx.box.special["outbox"]
        )
    try:
        submit(ctx, item, save=save)
    except GraphError:
        ctx.box.destroy(item)
        raise
    return Response(202)


def _outbox_mime(ctx: Context, raw: bytes) -> Item:
    item = create.from_mime(ctx, raw)
    ctx.box.move(item, ctx.box.special["outbox"])
    return item


def send_draft(ctx: Context, message_id: str) -> Response:
    """POST send: the draft leaves at once, the Sent copy with the same immutable id comes later (trap 42)."""
    item = messages.find(ctx, message_id)
    if not item.draft:
        raise GraphError(400, "ErrorInvalidOperation", "The operation is valid for drafts only.")
    submit(ctx, item, save=True)
    return Response(202)


def submit(ctx: Context, item: Item, *, save: bool) -> None:
    """Check, deliver and file one message; GraphError leaves everything as it was."""
    box, now = ctx.box, ctx.box.now()
    if box.full():
        raise quota()
    author = item.content.author or Address("", box.upn)
    sender = _sender(ctx, author)
    recipients = _recipients(ctx, item)
    wait = _deferred(item) - now if ctx.rule("deferred-send-waits") else 0
    if wait > 0:
        _hold(ctx, item, wait, save=save)
        return
    item.draft = False
    raw = render(item, box.mint.guid)
    if len(raw) > limit(ctx.world, "send_bytes"):
        item.draft = True
        raise GraphError(413, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
    copy = post.outgoing(item, raw, author, sender, int(now))
    ctx.post.carry(sender, recipients, copy.without(frozenset({"bcc"})).raw, now)
    _file(box, item, copy.raw, save)
    _mark_original(box, item)


def _deferred(item: Item) -> float:
    """PR_DEFERRED_SEND_TIME, seconds since 1970; 0 without one."""
    value = (item.extra or {}).get(("", 0x3FEF))
    try:
        return datetime.fromisoformat(value).timestamp() if value else 0.0
    except ValueError:
        return 0.0


def _hold(ctx: Context, item: Item, seconds: float, *, save: bool) -> None:
    """Sent when its time has come, unless it was taken away, or given another time and sent again, meanwhile."""
    due, folder = _deferred(item), item.folder

    def go() -> None:
        if item.draft and item.folder == folder and _deferred(item) == due:
            with suppress(GraphError):  # an NDR, on the real one
                submit(ctx, item, save=save)

    ctx.box.later(seconds, go)


def _sender(ctx: Context, author: Address) -> str:
    principal = ctx.caller.user or ctx.box.upn
    sender: str | None = ctx.post.rights.sender_for(principal, author.address)
    if sender is None:
        text = "The user account which was used to submit this request does not have the right to send mail "
        raise GraphError(403, "ErrorSendAsDenied", text + "on behalf of the specified sending account.")
    others = ctx.caller.user is not None and ctx.post.rights.owner(author.address) != principal.lower()
    if others and "mail.send.shared" not in {scope.lower() for scope in ctx.caller.scopes}:
        raise denied()
    return sender


def _recipients(ctx: Context, item: Item) -> list[str]:
    named = [*item.content.to, *item.content.cc, *item.content.bcc]
    envelope = ctx.request.headers.get("x-envelope-to")
    if envelope is not None and not ctx.rule("sendmail-no-envelope"):
        named = list(addresses(envelope))
    found = post.distinct(named)
    if not found or not all(map(post.valid, found)):
        raise GraphError(400, "ErrorInvalidRecipients", "At least one recipient isn't valid.")
    if len(found) > limit(ctx.world, "recipients"):
        text = "The message has too many recipients."
        raise GraphError(400, "ErrorExceededMaxRecipientLimit", text)
    return found


def _file(box: Mailbox, item: Item, raw: bytes, save: bool) -> None:
    """Take the item out of its folder and put it into Sent Items a moment later."""
    parsed = read(raw, transported=False)
    box.lift(item)
    if not save:
        box.destroy(item)
        return
    now = int(box.now())
    box.set_content(item, replace(parsed.content, conversation=item.content.conversation))
    item.message_id, item.received = parsed.message_id, now
    item.sent = parsed.date if parsed.date is not None else now
    item.subject, item.fresh_until = parsed.subject, 0.0
    box.change += 1
    old = item.state
    item.state = Flags(True, old.flag, old.categories, old.importance, old.inference, now, box.change)

    def arrive() -> None:
        item.state.modified = int(box.now())
        box.place(item, box.special["sentitems"])

    box.later(lag(box.world, "sent-copy-late", "sent_copy_seconds"), arrive)


def _mark_original(box: Mailbox, item: Item) -> None:
    """A reply or forward that has left marks the message it answers."""
    number, verb = box.answers.pop(item.number, (0, ""))
    original = box.items.get(number)
    if original is not None and original.folder:
        box.edit(original, EXTENDED)
        original.verb, original.icon = _ANSWERED[verb]
        original.verb_time = int(box.now())
