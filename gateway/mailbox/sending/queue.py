"""The outbox: accepted means that octets and row are in the store, and that the gateway does not give up before days.

One mailbox's messages go in the order in which they came. What Graph refuses for good, and what has waited too long,
comes back to the sender as a report (`bounce`)."""

from __future__ import annotations

import asyncio

import structlog

from gateway.core.errors import GatewayError, SubmissionRefused
from gateway.graph.errors import GraphError, SignInFailed
from gateway.mailbox.context import AccountContext
from gateway.mailbox.replies import submission_refusal
from gateway.mailbox.reporting import relayed
from gateway.mailbox.sending.bounce import bounce
from gateway.mailbox.sending.draft import prepare
from gateway.mailbox.sending.ending import accounted, is_nothing
from gateway.mailbox.sending.go import go
from gateway.mailbox.sending.record import (
    BOUNCING,
    DRAFTING,
    GIVEN_UP,
    SENDING,
    TAKEN,
    WAITING,
    Record,
    Work,
    added,
    claimed,
    held,
    released,
)
from gateway.mailbox.sending.stored import stored
from gateway.mailbox.values import Envelope, Spool

FIRST_PAUSE = 30.0  # seconds, doubled from try to try
LONGEST_PAUSE = 1800.0
REPORT_PAUSE = 300.0  # until a report that could not be landed is tried again
_LOST = "The message was lost in the gateway's store"
_BUG = (451, "4.3.0", "Local error in processing")
log = structlog.get_logger()


async def accept(
    ctx: AccountContext, queue_id: str, digest: bytes, work: Work, envelope: Envelope, spool: Spool
) -> str:
    """Octets and row, durably; the queue id."""
    work.envelope, work.size = envelope, spool.size
    blob = await ctx.store.put_blob_of(spool.read, spool.size)
    await added(ctx, digest, work, state=WAITING, queue_id=queue_id, blob=blob)
    ctx.outgoing.wake.set()
    return queue_id


def in_queue(record: Record) -> bool:
    return record.row.queued and record.row.state not in (*TAKEN, GIVEN_UP)


async def work_off(ctx: AccountContext, records: list[Record]) -> float | None:
    """Send what can be sent, in order; seconds until there is more to do, None if nothing waits. `records`: those of
    the queue that are not sent, in order."""
    later: list[float] = []
    for record in records:
        now = ctx.clock.time()
        if record.row.due > now and record.row.state == BOUNCING:  # holds up nobody
            later.append(record.row.due - now)
            continue
        if record.row.due > now:
            return record.row.due - now
        if not await claimed(ctx, record):  # another node's turn
            return max(1.0, min(record.row.lease - now, FIRST_PAUSE))
        if not in_queue(record):  # another node has had it
            continue
        ctx.outgoing.begin(record.row.queue_id)
        try:
            if not await _advance(ctx, record):
                return max(0.0, record.row.due - ctx.clock.time())
        except (
            asyncio.CancelledError
        ):  # this process ends: another one need not wait for the lease to run out
            await released(ctx, record)
            raise
        finally:
            ctx.outgoing.end(record.row.queue_id)
    return min(later, default=None)


async def _advance(ctx: AccountContext, record: Record) -> bool:
    """Whether the next one's turn has come."""
    if record.row.state == BOUNCING:
        return await _returned(ctx, record)
    try:
        await _send(ctx, record)
    except GraphError as error:
        if record.row.state == DRAFTING and is_nothing(record, error):
            record.row.state = WAITING
        return await _failed(ctx, record, _told(error), error.retry_after)
    except SubmissionRefused as error:  # by the configuration, or for the message's content
        return await _failed(ctx, record, (error.status, error.enhanced, str(error)), 0.0)
    except GatewayError:  # the store: nothing can be written down now
        raise
    except Exception:  # a bug must not hold up the others for ever
        log.exception("smtp.queue", account=ctx.account, queue_id=record.row.queue_id)
        return await _failed(ctx, record, _BUG, 0.0)
    return True


def _told(error: GraphError) -> tuple[int, str, str]:
    told = submission_refusal(error)
    if isinstance(error, SignInFailed):  # an administrator mends it: no reason to give up yet
        return 451, "4.7.0", str(told)
    return told.status, told.enhanced, str(told)


async def _send(ctx: AccountContext, record: Record) -> None:
    async with stored(ctx, record.row.blob, record.work.size) as spool:
        if spool is None or record.work.envelope is None:
            raise SubmissionRefused(554, "5.3.0", _LOST)
        await _send_octets(ctx, record, record.work.envelope, spool)


async def _send_octets(ctx: AccountContext, record: Record, envelope: Envelope, spool: Spool) -> None:
    row, work = record.row, record.work
    prepared = await prepare(ctx, envelope, spool, now=row.created, message_id=work.message_id)
    resumed = row.state != WAITING
    if not resumed:
        work.began = int(ctx.clock.time())
        await record.save(ctx, SENDING if work.path == "mime" else DRAFTING)
    async with held(ctx, record):
        await go(ctx, record, prepared, resumed=resumed)
    row.blob = b""
    await accounted(ctx, record)
    await relayed(ctx, envelope, spool, row.queue_id)


async def _failed(
    ctx: AccountContext, record: Record, told: tuple[int, str, str], retry_after: float
) -> bool:
    """Later again, or never: refused for good, or old enough."""
    row, work, now = record.row, record.work, ctx.clock.time()
    work.attempts += 1
    work.error = told
    log.warning("a queued message is not sent", account=ctx.account, queue_id=row.queue_id, attempts=work.attempts,
                status=told[0], enhanced=told[1])  # fmt: skip
    if told[0] >= 500 or now - row.created > ctx.settings.queue_patience:
        await record.save(ctx, BOUNCING)
        return await _returned(ctx, record)
    pause = max(retry_after, min(FIRST_PAUSE * 2 ** min(work.attempts - 1, 16), LONGEST_PAUSE))
    await _put_off(ctx, record, pause)
    return False


async def _put_off(ctx: AccountContext, record: Record, pause: float) -> None:
    record.row.due = int(ctx.clock.time() + pause) + 1
    record.row.holder, record.row.lease = "", 0
    await record.save(ctx)


async def _returned(ctx: AccountContext, record: Record) -> bool:
    """The sender is told. Nobody waits for that: the next one's turn has come."""
    try:
        await bounce(ctx, record)
    except (GraphError, GatewayError) as error:
        log.warning(
            "a report waits", account=ctx.account, queue_id=record.row.queue_id, error=type(error).__name__
        )
        await _put_off(ctx, record, REPORT_PAUSE)
    return True
