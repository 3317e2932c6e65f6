"""One per account: sends what is in the outbox, and sees to submissions whose end nobody waited for.

```
direct, draft not known     the client heard no 250: what turns up in Drafts is discarded, after a while
direct, may have been sent  looked at: sent, and kept for the client's retry; or a draft still: discarded, after a while
given up                    its draft is discarded
sent                        forgotten, once the client knows or has had time to come again; strays are discarded
```
A while (`LINGER`): a client that heard a 4xx comes again in minutes, and goes on with the draft there is."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import structlog

from gateway.core.errors import GatewayError
from gateway.graph.errors import GraphError
from gateway.graph.model import Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.sending import queue
from gateway.mailbox.sending.answered import set_marks
from gateway.mailbox.sending.copies import settle_copies
from gateway.mailbox.sending.draft import discard_draft, find_draft
from gateway.mailbox.sending.ending import KEPT, accounted, cleared, give_up
from gateway.mailbox.sending.outcome import Fate, look
from gateway.mailbox.sending.record import GIVEN_UP, SENDING, SENT, TAKEN, Record, claimed, released
from gateway.mailbox.sending.steps import drafts_in_use
from gateway.store.outgoing import SubmissionRow

LINGER = 300.0  # seconds a draft waits for its client's retry; longer than Graph works on a lost request
REMEMBERED = (
    900  # seconds after its client has heard of it: deltas lag, and clients file their own copies late
)
TICK = 60.0  # seconds between rounds while there are rows to look after
TROUBLE = 30.0  # seconds after a round that failed
log = structlog.get_logger()


class Courier:
    def __init__(self, ctx: AccountContext) -> None:
        self._ctx = ctx
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """What is under way is cut; the next start, or another node, takes it up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            self._ctx.outgoing.wake.clear()
            try:
                pause = await self.round()
            except (GraphError, GatewayError) as error:
                log.warning("the outbox waits", account=self._ctx.account, error=type(error).__name__)
                pause = TROUBLE
            except Exception:
                log.exception("the outbox waits")
                pause = TROUBLE
            await self._woken(pause)

    async def _woken(self, pause: float | None) -> None:
        """Until there is something to do; None: nothing will be but what somebody announces."""
        ctx = self._ctx
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(ctx.outgoing.wake.wait())]
        if pause is not None:
            waits.append(asyncio.ensure_future(ctx.clock.sleep(pause)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def round(self) -> float | None:
        """Do what can be done now; seconds until the next round, None if nothing is left."""
        ctx = self._ctx
        now = int(ctx.clock.time())
        await ctx.store.submission_sweep(ctx.account, now - REMEMBERED, now)
        rows = await ctx.store.submissions(ctx.account)
        ctx.outgoing.active = bool(rows)
        records = [record for row in rows if (record := _read(row)) is not None]
        trouble = False
        for record in records:
            if not queue.in_queue(record):
                trouble |= not await self._see_to(record)
        pause = await queue.work_off(ctx, [record for record in records if queue.in_queue(record)])
        least = TROUBLE if trouble else TICK
        pauses = [pause, least if rows else None, await settle_copies(ctx), await set_marks(ctx)]
        return min((each for each in pauses if each is not None), default=None)

    async def _see_to(self, record: Record) -> bool:
        """Unless somebody else works on it: it is ours, or its holder's lease has run out. Whether Graph could be
        asked."""
        ctx, row = self._ctx, record.row
        if row.queue_id in ctx.outgoing.working or row.state == SENT:
            return True
        ctx.outgoing.begin(row.queue_id)
        try:
            if await claimed(ctx, record):
                try:
                    await self._tidy(record)
                finally:
                    await released(ctx, record)
        except GraphError as error:
            log.warning("a submission waits to be settled", account=ctx.account, queue_id=row.queue_id,
                        state=row.state, error=type(error).__name__)  # fmt: skip
            return False
        finally:
            ctx.outgoing.end(row.queue_id)
        return True

    async def _tidy(self, record: Record) -> None:
        old = self._ctx.clock.time() - record.row.touched > LINGER
        if record.row.state == SENDING:
            await self._settle(record, old)
        elif record.row.state == SENT or queue.in_queue(record):  # it was somebody else's until now
            return
        elif record.row.state == GIVEN_UP and record.work.draft:
            await self._clear(record)
        elif old:
            await self._strays(record)

    async def _settle(self, record: Record, old: bool) -> None:
        """Look what became of it. By MIME there is nothing to look at: the row waits for the client's retry."""
        ctx = self._ctx
        if record.work.path == "mime":
            if ctx.clock.time() - record.row.created > KEPT:
                await record.drop(ctx)
            return
        fate = await look(ctx, record.work, priority=Priority.BACKGROUND)
        if fate is Fate.SENT:
            await accounted(ctx, record)
        elif fate is Fate.DRAFT and old:
            await give_up(ctx, record)

    async def _clear(self, record: Record) -> None:
        """It bears the id that its copy in Sent Items would have: what was sent after all stays there."""
        fate = await look(self._ctx, record.work, priority=Priority.BACKGROUND)
        if fate is Fate.SENT:
            await accounted(self._ctx, record)
        elif fate is Fate.DRAFT:
            await cleared(self._ctx, record)

    async def _strays(self, record: Record) -> None:
        """Drafts that nobody waits for, at a time when no more can come."""
        ctx, row, work = self._ctx, record.row, record.work
        others = await drafts_in_use(ctx, record, ctx.clock.time() - LINGER)
        if others is None:
            return
        while (found := await find_draft(ctx, row.queue_id, work.message_id, work.began, others)) is not None:
            await discard_draft(ctx, found.id)
            others.add(found.id)
        if row.state in TAKEN:
            work.strays = False
            row.holder, row.lease = "", 0
            await record.save(ctx, SENT)
        else:
            await record.drop(ctx)


def _read(row: SubmissionRow) -> Record | None:
    try:
        return Record.of(row)
    except msgspec.MsgspecError:
        log.warning("a submission of another program version", account=row.account, queue_id=row.queue_id)
        return None
