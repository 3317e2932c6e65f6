"""How a submission ends in its row: sent, refused for good, or left to be taken up again."""

from __future__ import annotations

import structlog

from gateway.graph.errors import GraphError
from gateway.mailbox.context import AccountContext
from gateway.mailbox.sending.draft import discard_draft
from gateway.mailbox.sending.outcome import is_final
from gateway.mailbox.sending.promise import expect_exchange
from gateway.mailbox.sending.record import DRAFTING, GIVEN_UP, SENT, STRAYING, Record
from gateway.mailbox.sending.steps import UNKNOWN

# Seconds a message is remembered whose client heard a 4xx: longer than clients retry (RFC 5321 section 4.5.4.1).
KEPT = 4 * 24 * 3600
log = structlog.get_logger()


async def accounted(ctx: AccountContext, record: Record) -> None:
    """Graph has it. The row stays until the client is known to know."""
    now, work = ctx.clock.time(), record.work
    record.row.holder, record.row.lease = "", 0
    record.row.state = STRAYING if work.strays else SENT
    await remembered(ctx, record)
    ctx.sent.add(work.message_id, now)
    ctx.outgoing.left()
    await expect_exchange(ctx, work.message_id, work.draft)


async def remembered(ctx: AccountContext, record: Record) -> None:
    """It is sent; from now on its client has the whole window to come again, for it may not have heard us."""
    window = KEPT if record.work.refused else ctx.settings.retry_window
    record.row.due = int(ctx.clock.time() + window)
    await record.save(ctx)


async def failed(ctx: AccountContext, record: Record, error: GraphError) -> None:
    """Refused for good: nothing of it stays in Graph. Otherwise the row waits for the client's retry, if there is
    anything in Graph that it speaks of."""
    work = record.work
    if is_final(error):
        await give_up(ctx, record)
    elif is_nothing(record, error):
        await record.drop(ctx)
    else:
        work.refused = True
        record.row.holder, record.row.lease = "", 0
        await record.save(ctx)
        ctx.outgoing.wake.set()
        log.warning("a submission is not settled", account=ctx.account, queue_id=record.row.queue_id,
                    state=record.row.state, error=type(error).__name__)  # fmt: skip


def is_nothing(record: Record, error: GraphError) -> bool:
    """Whether there is nothing of it in Graph, so that a retry is as good as new."""
    work, drafted = record.work, record.row.state != DRAFTING and record.work.path != "mime"
    return not (drafted or work.strays or work.refused or isinstance(error, UNKNOWN))


async def give_up(ctx: AccountContext, record: Record) -> None:
    """It was not sent and will not be: its draft goes, then the row. What fails now `courier` does later."""
    if not record.work.draft and not record.work.strays:
        return await record.drop(ctx)
    record.row.holder, record.row.lease = "", 0
    await record.save(ctx, GIVEN_UP)
    try:
        await cleared(ctx, record)
    except GraphError:
        ctx.outgoing.wake.set()
    return None


async def cleared(ctx: AccountContext, record: Record) -> None:
    """The draft of a submission that was given up is discarded; without strays the row goes. GraphError."""
    if record.work.draft:
        await discard_draft(ctx, record.work.draft)
        record.work.draft = ""
        if record.work.strays:
            await record.save(ctx)
    if record.work.strays:
        ctx.outgoing.wake.set()
    else:
        await record.drop(ctx)
