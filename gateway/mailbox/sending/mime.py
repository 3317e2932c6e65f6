"""`submission.path = "mime"`: MIME to sendMail, one request, and less to look at if its answer is lost.

Graph knows no idempotency key, and nothing tells us the id of the copy. The copies in Sent Items and Outbox tell, after
a while, whether it was sent; as long as they do not, the client hears 451, and its retry looks first."""

from __future__ import annotations

from gateway.core.types import SpecialUse
from gateway.graph.errors import GraphError, NotFound, OutcomeUnknown
from gateway.graph.model import Message
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import epoch
from gateway.mailbox.sending.draft import SKEW, Prepared
from gateway.mailbox.sending.record import Record, Work
from gateway.mailbox.sending.steps import UNKNOWN

_LOOKS = (
    0.0,
    0.5,
    1.0,
    2.0,
    4.0,
    8.0,
    15.0,
)  # seconds before each look for the copy of what may have been sent


def path(ctx: AccountContext, prepared: Prepared) -> str:
    """How it goes: only what one request can say goes as MIME."""
    whole = not prepared.files and not prepared.hold_until
    return "mime" if whole and ctx.settings.submission_path == "mime" else "draft"


async def send(ctx: AccountContext, record: Record, prepared: Prepared, *, resumed: bool) -> None:
    """Until Graph has taken the message; `resumed`: an earlier try may have been taken. GraphError, OutcomeUnknown if
    it may have been sent."""
    work = record.work
    if resumed:
        if await was_sent(ctx, work):
            return
        work.began = int(ctx.clock.time())
        await record.save(ctx)
    try:
        await ctx.graph.send_mime(prepared.mime)
    except UNKNOWN as error:
        if not await was_sent(ctx, work):
            raise OutcomeUnknown(str(error), status=error.status, code=error.code) from error


async def was_sent(ctx: AccountContext, work: Work) -> bool:
    """Whether a copy shows that it was sent. Sent Items get it late, so there are several looks; an older
    submission under the same Message-ID must not pass for this one."""
    for pause in _LOOKS:
        await ctx.clock.sleep(pause)
        try:
            copies = await _copies(ctx, work)
        except GraphError:  # who asks again and again meanwhile helps nobody: 451
            return False
        if len(copies) > ctx.sent.count(work.message_id, work.began - SKEW):
            return True
    return False


async def _copies(ctx: AccountContext, work: Work) -> list[Message]:
    found: dict[str, Message] = {}
    for folder in (SpecialUse.SENT, SpecialUse.OUTBOX):
        try:
            listed = await ctx.graph.find_by_message_id(work.message_id, folder)
        except NotFound:
            continue
        found |= {message.id: message for message in listed}
    return [message for message in found.values() if _made(message) >= work.began - SKEW]


def _made(message: Message) -> int:
    return epoch(message.created_date_time) or epoch(message.sent_date_time) or 0
