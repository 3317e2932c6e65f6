"""Submission: MIME to sendMail, 250 only after its 202, never sent twice (contract section 10).

Graph knows no idempotency key. Where the answer was lost, the copies in Sent Items and Outbox tell, after a
while, whether it was sent. As long as they do not, the client hears 451, and the journal keeps what was
tried: the retry of the same octets to the same recipients looks first, and sends only if there is still no
trace of the first try."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import msgspec
import structlog

from gateway.core.errors import SubmissionRefused
from gateway.core.types import SpecialUse
from gateway.graph.errors import GraphError, NotFound, OutcomeUnknown, Unreachable
from gateway.graph.model import Message
from gateway.mailbox.compose import compose, folded
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import epoch
from gateway.mailbox.replies import submission_refusal
from gateway.mailbox.values import Envelope
from gateway.mailbox.work import begin, done, payload_of, update, whole
from gateway.mime.compose import message_id
from gateway.store.api import JournalRow

_LOOKS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # seconds between looks for the copy of what may have been sent
_SKEW = 30  # seconds Graph's clock may differ from ours
# Seconds an unknown submission is remembered: longer than clients retry (RFC 5321 section 4.5.4.1).
KEPT = 4 * 24 * 3600
_UNKNOWN = (OutcomeUnknown, Unreachable)
log = structlog.get_logger()


class SendWork(msgspec.Struct):
    """A submission whose fate is not known yet. `digest`: of envelope and octets as the client gave them."""

    digest: str
    message_id: str
    began: int


async def submit(ctx: AccountContext, envelope: Envelope, data: bytes) -> str:
    """Send; returns a queue id for the reply. Raises SubmissionRefused with the reply to give.

    The same message twice at once is two submissions: devices send identical alarms."""
    return await whole(_submit(ctx, envelope, data))


async def _submit(ctx: AccountContext, envelope: Envelope, data: bytes) -> str:
    if not envelope.recipients:
        raise SubmissionRefused(554, "5.5.1", "No valid recipients")
    digest = _digest(envelope, data)
    before = await _tried(ctx, digest)
    generated = before[1].message_id if before else _generated_id(ctx, envelope)
    now = int(ctx.clock.time())
    mime = compose(data, envelope, now=now, message_id=generated)
    if len(mime) * 4 // 3 + 4 > ctx.limits.request_body:
        raise SubmissionRefused(552, "5.3.4", "Message too big to be sent through this gateway")
    work = SendWork(digest, (message_id(mime) or generated.encode()).decode("utf-8", "replace"), now)
    if before is not None:
        row, earlier = before
        ctx.working.add(row)
        if await _was_sent(ctx, earlier):
            await _accounted(ctx, row, earlier, earlier.began)
            return _queue_id(earlier)
        await update(ctx, row, work)
    else:
        row = await begin(ctx, "send", work)
    await _send(ctx, mime, row, work)
    return _queue_id(work)


async def _send(ctx: AccountContext, mime: bytes, row: int, work: SendWork) -> None:
    try:
        await ctx.graph.send_mime(mime)
    except _UNKNOWN as error:
        if await _was_sent(ctx, work):
            await _accounted(ctx, row, work, work.began)
            return
        ctx.working.discard(row)
        log.warning("fate of a submission unknown", account=ctx.account, queue_id=_queue_id(work))
        raise submission_refusal(OutcomeUnknown()) from error
    except GraphError as error:
        await done(ctx, row)
        raise submission_refusal(error) from error
    await _accounted(ctx, row, work, ctx.clock.time())


async def _accounted(ctx: AccountContext, row: int, work: SendWork, at: float) -> None:
    """It was sent: its copy must not stand for the next submission under the same Message-ID."""
    await done(ctx, row)
    ctx.sent.add(work.message_id, at)


async def _tried(ctx: AccountContext, digest: str) -> tuple[int, SendWork] | None:
    """An earlier try of the same submission whose outcome was never known. Those kept long enough go."""
    for row in await ctx.store.journal(ctx.account):
        if row.kind != "send" or row.id in ctx.working:
            continue
        work = payload_of(row, SendWork)
        if ctx.clock.time() - work.began > KEPT:
            await done(ctx, row.id)
        elif work.digest == digest:
            return row.id, work
    return None


async def _was_sent(ctx: AccountContext, work: SendWork) -> bool:
    """Whether a copy shows that it was sent. Sent Items get it late, so there are several looks; an older
    submission under the same Message-ID must not pass for this one."""
    for pause in (0.0, *_LOOKS):
        await ctx.clock.sleep(pause)
        try:
            copies = await _copies(ctx, work)
        except GraphError:  # who asks again and again meanwhile helps nobody: 451
            return False
        if len(copies) > ctx.sent.count(work.message_id, work.began - _SKEW):
            return True
    return False


async def _copies(ctx: AccountContext, work: SendWork) -> list[Message]:
    found: dict[str, Message] = {}
    for folder in (SpecialUse.SENT, SpecialUse.OUTBOX):
        try:
            listed = await ctx.graph.find_by_message_id(work.message_id, folder)
        except NotFound:
            continue
        found |= {message.id: message for message in listed}
    return [message for message in found.values() if _made(message) >= work.began - _SKEW]


def _made(message: Message) -> int:
    return epoch(message.created_date_time) or epoch(message.sent_date_time) or 0


def _digest(envelope: Envelope, data: bytes) -> str:
    """What makes two submissions the same: sender, set of recipients, octets."""
    people: Sequence[str] = [folded(envelope.sender), *sorted(map(folded, envelope.recipients))]
    head = "\n".join(people).encode("utf-8", "surrogateescape")
    return hashlib.sha256(hashlib.sha256(head).digest() + data).hexdigest()


def _generated_id(ctx: AccountContext, envelope: Envelope) -> str:
    domain = envelope.sender.rpartition("@")[2]
    host = domain if domain and domain.isascii() and ">" not in domain else "gateway.invalid"
    return f"<{ctx.rng.getrandbits(128):032x}@{host}>"


def _queue_id(work: SendWork) -> str:
    """Short, says nothing of the message: for the reply and the log."""
    octets = hashlib.sha256(f"{work.digest}{work.began}".encode()).digest()[:10]
    return base64.b32encode(octets).decode().lower()


async def recover_send(ctx: AccountContext, row: JournalRow) -> None:
    """Nothing to undo, and nothing is sent without the client: the row waits for its retry, for some days."""
    work = payload_of(row, SendWork)
    if ctx.clock.time() - work.began > KEPT:
        await done(ctx, row.id)
