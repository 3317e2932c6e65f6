"""What becomes of a message whose content may have changed (decision 4, invariants 7 and 8).

A UID means the same octets for ever. Content that somebody changed is a new message: new UID, new EMAILID, the
old UID expunged. Exchange tells of any change by another etag and nothing else; where flags and keywords stayed
as they were and somebody has seen the message, what Exchange renders now is compared with what was seen.

`Suspects` does that behind the rounds of a folder's sync, a few in each. Until a message is judged its row keeps
the old etag, so that after a crash the next full comparison of the folder finds it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from gateway.core.errors import GatewayError
from gateway.core.types import MessageId, Uid
from gateway.graph.errors import GraphError, NotFound, PermanentFailure
from gateway.graph.mail import META_PROPERTIES
from gateway.graph.model import Message, Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.facts import FIELDS, facts_of
from gateway.mailbox.rendering import Verdict, judge, pin_from, told
from gateway.mime.header import header_end
from gateway.store.api import Facts, MessageRow, Pin, Upsert

A_ROUND = 20  # messages verified behind one round of a folder's sync
MOST = 10_000  # messages of one folder that wait for it in memory
_DRAFTED = (b"subject", b"to", b"cc")  # the other fields of a draft Exchange writes itself

log = structlog.get_logger("gateway.mailbox")


# -- the end of a UID --


async def ends(
    ctx: AccountContext, folder: int, row: MessageRow, verdict: Verdict, *, size: int, etag: str | None = None
) -> bool:
    """Whether this UID ends because of what is rendered now, of `size` octets; if so it has ended on return, in
    the store and in every view. `etag`: the one that goes with it, if known."""
    if verdict is Verdict.SAME or (verdict is Verdict.RENDERED and not _granted(ctx)):
        return False
    ctx.renewals.changed += verdict is Verdict.CHANGED
    await _renew(ctx, folder, row, Upsert(row.id, size=size, etag=etag, new_generation=True, known_only=True))
    return True


def _granted(ctx: AccountContext) -> bool:
    renewals = ctx.renewals
    renewals.rendered += 1
    if renewals.grant(ctx.clock.time()):
        return True
    if renewals.alert():
        log.error("Exchange renders mail otherwise than before; UIDs are kept for today", account=ctx.account)
    return False


async def _renew(ctx: AccountContext, folder: int, row: MessageRow, upsert: Upsert) -> None:
    """Unless it was done meanwhile, or the message has gone."""
    async with ctx.renewals.lock:
        now = await _now(ctx, folder, row.id)
        if now is None or now.uid != row.uid:
            return
        applied = await ctx.store.apply(folder, [upsert], ())
    ctx.hubs.refresh(folder, applied)


async def superseded(ctx: AccountContext, folder: int, row: MessageRow) -> bool:
    """Whether another UID stands for the message by now: what Graph says of it is not said of this one."""
    now = await _now(ctx, folder, row.id)
    return now is not None and now.uid != row.uid


async def _now(ctx: AccountContext, folder: int, id: MessageId) -> MessageRow | None:
    return (await ctx.store.find(folder, [id])).get(id)


# -- suspicion --


async def watched(ctx: AccountContext, ids: Sequence[MessageId]) -> set[MessageId]:
    """Those of which somebody has seen more than flags, and that Exchange renders: what was appended is served
    as it came."""
    known = await ctx.store.facts(ctx.account, ids) if ids else {}
    return known.keys() - (await ctx.store.has_originals(ctx.account, list(known)) if known else set())


@dataclass(frozen=True, slots=True)
class Suspicion:
    """`uid`: of the message when it began; `etag` and `size` (an estimate): what Graph told then."""

    uid: Uid
    etag: str
    size: int


class Suspects:
    """The messages of one folder that have to be verified. One per folder and process."""

    def __init__(self, ctx: AccountContext, folder: int) -> None:
        self._ctx = ctx
        self._folder = folder
        self._waiting: dict[MessageId, Suspicion] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, id: MessageId, suspicion: Suspicion) -> None:
        """What does not fit in is left to the next full comparison."""
        if id in self._waiting or len(self._waiting) < MOST:
            self._waiting[id] = suspicion

    def verify(self) -> None:
        """Verify the next few in the background."""
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._round())

    async def settled(self) -> None:
        """Returns when the round under way has ended."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Break off the round under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _round(self) -> None:
        """Ends at the first trouble; whom it befell is asked about last next time."""
        for id in list(self._waiting)[:A_ROUND]:
            suspicion = self._waiting.pop(id)
            try:
                await self._verify(id, suspicion)
            except (GraphError, GatewayError) as error:
                self._waiting.setdefault(id, suspicion)
                log.info("verification put off", account=self._ctx.account, error=type(error).__name__)
                return
            except Exception:
                log.exception("verification failed", account=self._ctx.account)
                return

    async def _verify(self, id: MessageId, suspicion: Suspicion) -> None:
        ctx, etag = self._ctx, suspicion.etag
        row = await _now(ctx, self._folder, id)
        if row is None or row.uid != suspicion.uid:
            return
        try:
            verdict, size = await _judged(ctx, row)
        except NotFound:
            return  # the sync will say so
        size = suspicion.size if size is None else size
        if not await ends(ctx, self._folder, row, verdict, size=size, etag=etag):
            await self._acquit(row, etag)

    async def _acquit(self, row: MessageRow, etag: str) -> None:
        """Its etag is known now, unless we wrote it meanwhile."""
        now = await _now(self._ctx, self._folder, row.id)
        if now is not None and now.etag == row.etag:
            upserts = [Upsert(row.id, etag=etag, known_only=True)]
            self._ctx.hubs.refresh(self._folder, await self._ctx.store.apply(self._folder, upserts, ()))


# -- judging --

Judged = tuple[Verdict, int | None]  # and the octets now, where they were counted


async def _judged(ctx: AccountContext, row: MessageRow) -> Judged:
    """What Exchange has now, beside what was seen: octets, or else the facts of a listing. At most one request."""
    original = await ctx.store.original(ctx.account, row.id)
    if original is not None:
        return await _beside_original(ctx, row, original)
    pin = await ctx.store.pinned(ctx.account, row.id)
    if pin is not None:
        return await _beside_pin(ctx, row, pin)
    facts = (await ctx.store.facts(ctx.account, [row.id])).get(row.id)
    return (Verdict.SAME, None) if facts is None else await _beside_facts(ctx, row, facts)


async def _beside_original(ctx: AccountContext, row: MessageRow, original: bytes) -> Judged:
    """Of a draft that a client appended Exchange renders other octets and, where it has HTML, other text."""
    raw = await ctx.graph.mime(row.id, priority=Priority.BACKGROUND)
    before, now = (told(octets[: header_end(octets)], _DRAFTED) for octets in (original, raw))
    return (Verdict.SAME if before == now else Verdict.CHANGED), len(raw)


async def _beside_pin(ctx: AccountContext, row: MessageRow, pin: Pin) -> Judged:
    try:
        raw = await ctx.graph.mime(row.id, priority=Priority.BACKGROUND)
    except PermanentFailure:
        return Verdict.SAME, None  # nothing to compare with (trap 26)
    return judge(pin, await pin_from(raw)), len(raw)


async def _beside_facts(ctx: AccountContext, row: MessageRow, facts: Facts) -> Judged:
    """Nobody has seen octets yet: the header and the preview are all that could differ from what was seen."""
    answer = (
        await ctx.graph.get([row.id], fields=FIELDS, properties=META_PROPERTIES, priority=Priority.BACKGROUND)
    )[0]
    if not isinstance(answer, Message):
        raise answer
    now = facts_of(answer)
    same = (told(facts.header), facts.preview) == (told(now.header), now.preview)
    return (Verdict.SAME if same else Verdict.CHANGED), None
