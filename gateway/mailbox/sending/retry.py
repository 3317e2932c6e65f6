"""Is this submission the retry of an earlier one, or new mail of the same octets?

It is a retry only if the client cannot know how the earlier one ended: the connection was lost before it sent another
command behind our final reply, or we told it to try again. Devices send identical alarms: whoever has gone on after
our 250, or waits on a living connection beside, means a second message."""

from __future__ import annotations

import asyncio
import contextlib

from gateway.core.errors import SubmissionRefused
from gateway.mailbox.context import AccountContext
from gateway.mailbox.outgoing import Reply
from gateway.mailbox.sending.record import GIVEN_UP, TAKEN, Record, claimed
from gateway.store.outgoing import SubmissionRow

GRACE = 2.0  # seconds for news of a connection whose last reply was the 250: its QUIT, or its end
_ELSEWHERE = 30  # seconds another node has to end what it does


async def earlier(ctx: AccountContext, digest: bytes) -> Record | None:
    """What this submission repeats, claimed for us and begun (`ctx.outgoing`); None: it is new. The caller ends it.
    SubmissionRefused where the earlier one is still under way elsewhere."""
    patience = ctx.clock.monotonic() + GRACE
    for row in await ctx.store.submissions(ctx.account, digest=digest):
        found = await _unheard(ctx, row, digest, patience)
        if found is None or found.queue_id in ctx.outgoing.working:
            continue
        ctx.outgoing.begin(found.queue_id)
        try:
            record = await _taken(ctx, found)
        except BaseException:
            ctx.outgoing.end(found.queue_id)
            raise
        if record.row.state != GIVEN_UP:
            return record
        ctx.outgoing.end(found.queue_id)
    return None


async def _taken(ctx: AccountContext, row: SubmissionRow) -> Record:
    """Ours, where there is something left to do."""
    record = Record.of(row)
    if row.state in TAKEN or row.queued or await claimed(ctx, record):
        return record
    raise _busy()


async def _unheard(
    ctx: AccountContext, row: SubmissionRow, digest: bytes, patience: float
) -> SubmissionRow | None:
    """The row as it is once nobody works on it, if its end is not known to the client. `patience`: until when news of
    living connections is waited for."""
    now: SubmissionRow | None = row
    for _ in range(_ELSEWHERE):
        if now is None or now.heard or now.state == GIVEN_UP or now.queue_id in ctx.outgoing.heard:
            return None
        reply, ended = ctx.outgoing.replies.get(now.queue_id), ctx.outgoing.working.get(now.queue_id)
        if ended is not None:
            if reply is not None and reply.alive():
                return None
            await ended.wait()  # the client is gone, its message is not
        elif reply is not None:
            if not await _is_lost(ctx, reply, patience - ctx.clock.monotonic()):
                return None
        elif not _is_elsewhere(ctx, now):
            return now
        else:
            await ctx.clock.sleep(1.0)
        now = await _again(ctx, row.id, digest)
    raise _busy()


async def _is_lost(ctx: AccountContext, reply: Reply, patience: float) -> bool:
    """Whether the connection ended without a sign that the reply arrived; a moment is waited for news."""
    waits = [
        asyncio.ensure_future(reply.settled.wait()),
        asyncio.ensure_future(ctx.clock.sleep(max(patience, 0.0))),
    ]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await wait
    return reply.lost


def _is_elsewhere(ctx: AccountContext, row: SubmissionRow) -> bool:
    """Under way at another node. In the queue there is nothing to wait for."""
    if row.state in TAKEN or row.queued:
        return False
    return row.holder not in ("", ctx.node) and row.lease >= ctx.clock.time()


async def _again(ctx: AccountContext, id: int, digest: bytes) -> SubmissionRow | None:
    rows = await ctx.store.submissions(ctx.account, digest=digest)
    return next((row for row in rows if row.id == id), None)


def _busy() -> SubmissionRefused:
    return SubmissionRefused(451, "4.4.2", "This message is being sent already, try again later")
