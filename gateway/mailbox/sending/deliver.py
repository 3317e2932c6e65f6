"""The way in: one submission, answered when Graph, or the outbox, has it.

```
digest -> is it a retry?        retry: what the first one came to is the answer; or it is taken up where it stopped
prepare                         refusals that need no request
a row                           from here on a crash loses nothing
queue:   the octets and the row, 250
direct:  draft, send (`steps`), the row says so, 250
```
An outcome that cannot be seen is a 451, and the row stays: the client comes again, or `courier` finds out."""

from __future__ import annotations

import asyncio

import structlog

from gateway.core.errors import SubmissionRefused
from gateway.graph.errors import GraphError
from gateway.mailbox.context import AccountContext
from gateway.mailbox.replies import submission_refusal
from gateway.mailbox.sending import mime, queue
from gateway.mailbox.sending.answered import note_answer
from gateway.mailbox.sending.draft import Prepared, prepare
from gateway.mailbox.sending.ending import accounted, failed, remembered
from gateway.mailbox.sending.go import go
from gateway.mailbox.sending.record import (
    DRAFTING,
    SENDING,
    TAKEN,
    Record,
    Work,
    added,
    digest_of,
    held,
    new_message_id,
    new_queue_id,
)
from gateway.mailbox.sending.retry import earlier
from gateway.mailbox.values import Envelope, Spool
from gateway.mailbox.work import whole

log = structlog.get_logger()


async def submit(ctx: AccountContext, envelope: Envelope, spool: Spool) -> str:
    """Send, or take into the outbox; returns a queue id for the reply. SubmissionRefused with the reply to give.

    The caller tells whether that reply was heard (`heard`) or its connection ended before (`lost`). Cancelled: the
    work goes on, and the client is supposed to have heard nothing."""
    submission = _Submission(ctx, envelope, spool)
    try:
        return await whole(submission.run())
    except asyncio.CancelledError:
        submission.abandoned()
        raise


async def heard(ctx: AccountContext, queue_id: str) -> None:
    """The client went on after its 250: the same octets from now on are another message."""
    ctx.outgoing.heard.add(queue_id)
    ctx.outgoing.settle(queue_id)
    try:
        await ctx.store.submission_heard(ctx.account, queue_id)
    finally:
        ctx.outgoing.heard.discard(queue_id)


def lost(ctx: AccountContext, queue_id: str) -> None:
    """The connection ended, and no command had come after the 250."""
    ctx.outgoing.lose(queue_id)


class _Submission:
    def __init__(self, ctx: AccountContext, envelope: Envelope, spool: Spool) -> None:
        self._ctx = ctx
        self._envelope = envelope
        self._spool = spool
        self._queue_id = ""
        self._alone = False

    def abandoned(self) -> None:
        """Nobody waits for the reply any more."""
        self._alone = True
        self._ctx.outgoing.lose(self._queue_id)

    async def run(self) -> str:
        with self._spool.kept():  # the front end closes it when its client leaves
            return await self._run()

    async def _run(self) -> str:
        if not self._envelope.recipients:
            raise SubmissionRefused(554, "5.5.1", "No valid recipients")
        digest = await digest_of(self._envelope, self._spool)
        record = await earlier(self._ctx, digest)
        try:
            queue_id = await (self._new(digest) if record is None else self._again(record))
            note_answer(self._ctx, self._spool)
            return queue_id
        except BaseException:
            self._ctx.outgoing.settle(self._queue_id)  # whatever it was told, it was no 250
            raise
        finally:
            if record is not None:
                self._ctx.outgoing.end(record.row.queue_id)

    def _owe(self, queue_id: str) -> None:
        self._queue_id = queue_id
        if not self._alone:
            self._ctx.outgoing.owe(queue_id)

    async def _prepared(self, message_id: str) -> Prepared:
        now = int(self._ctx.clock.time())
        return await prepare(self._ctx, self._envelope, self._spool, now=now, message_id=message_id)

    # -- a new one --

    async def _new(self, digest: bytes) -> str:
        ctx = self._ctx
        prepared = await self._prepared(new_message_id(ctx, self._envelope))
        work = Work(prepared.message_id, int(ctx.clock.time()), mime.path(ctx, prepared))
        self._owe(new_queue_id(ctx))
        if ctx.settings.submission_mode == "queue":
            return await queue.accept(ctx, self._queue_id, digest, work, self._envelope, self._spool)
        state = SENDING if work.path == "mime" else DRAFTING
        ctx.outgoing.begin(self._queue_id)
        try:
            record = await added(ctx, digest, work, state=state, queue_id=self._queue_id)
            await self._sent(record, prepared, resumed=False)
        finally:
            ctx.outgoing.end(self._queue_id)
        return self._queue_id

    # -- one we know --

    async def _again(self, record: Record) -> str:
        self._owe(record.row.queue_id)
        if record.row.state in TAKEN:
            await remembered(self._ctx, record)
        elif not record.row.queued:
            prepared = await self._prepared(record.work.message_id)
            await self._sent(record, prepared, resumed=True)
        log.info(
            "a submission was taken for the client's retry",
            account=self._ctx.account,
            queue_id=self._queue_id,
        )
        return self._queue_id

    async def _sent(self, record: Record, prepared: Prepared, *, resumed: bool) -> None:
        ctx = self._ctx
        try:
            async with held(ctx, record):
                await go(ctx, record, prepared, resumed=resumed)
        except GraphError as error:
            ctx.refused.learn(prepared.author, error, ctx.clock.monotonic())
            await failed(ctx, record, error)
            raise submission_refusal(error) from error
        except BaseException:  # a bug, or the store: `courier` looks what there is
            ctx.outgoing.wake.set()
            raise
        await accounted(ctx, record)
