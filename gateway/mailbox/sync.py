"""One folder kept in step with Graph's delta (contract section 12, architecture decision 5, invariants 6, 7, 9).

The delta stream is a hint that something happened, never the last word: a removal is verified, a row older than
our own write is dropped and read again, a dead token is a comparison. What the truth is, a GET or a listing says.

A round: collect the pages, sort out echoes of our own writes, get what the delta did not carry, verify what it
removed, then one `Store.apply` together with the new delta link, then the hub. Without a link, the walk from the
beginning is applied page by page, and goes on where it was cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import structlog

from gateway.core.errors import GatewayError
from gateway.core.progress import advance, expect, follow
from gateway.core.types import MessageId, SpecialUse
from gateway.graph.errors import GraphError, NotFound, QuotaExceeded, ResyncNeeded
from gateway.graph.model import Message, Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.firstsync import FirstSync
from gateway.mailbox.intake import Intake
from gateway.mailbox.origin import nobody
from gateway.mailbox.reconcile import listing
from gateway.mailbox.tally import Tally
from gateway.mailbox.truth import Truth, is_echo, same_second
from gateway.mailbox.walking import Take, Walker, delta_pages
from gateway.store.api import FolderRow

COMPARE_EVERY = 3600.0  # seconds between full comparisons of a watched folder: delta has holes (section 7)
OVERTAKEN = 3  # rounds that another process's may make void, one after another, before it is left to them
NEVER = float("-inf")

# Told of a message found in another folder than the one asked about.
Moved = Callable[[Message], Awaitable[None]]

log = structlog.get_logger("gateway.mailbox")


@dataclass(slots=True)
class Round:
    """What a delta walk said, last word per id."""

    began: float
    after: str  # the link it goes on from
    link: str = ""
    changed: dict[MessageId, Message] = field(default_factory=dict)
    removed: set[MessageId] = field(default_factory=set)


class FolderSync:
    """One per folder and process. All rounds of a folder are one at a time; waiters share the running one."""

    def __init__(self, ctx: AccountContext, folder: FolderRow, moved: Moved) -> None:
        self._ctx = ctx
        self._key = folder.key
        self._id = folder.id
        self._moved = moved
        self._intake = Intake(ctx, folder.key, folder.id)
        self._truth = Truth(ctx, folder.id)
        self._tally = Tally(ctx, folder.key)
        self._lock = asyncio.Lock()
        self._first: asyncio.Task[None] | None = None
        self._behind: set[asyncio.Task[None]] = set()  # background rounds, under way or waiting for one
        self._first_sync: FirstSync | None = None
        self._rest: asyncio.Task[None] | None = None  # what the first sync left of its walk
        self._again: set[MessageId] = set()
        self._missed: set[MessageId] = set()  # announced by delta, but 404 when asked for: once is no proof
        self._overtaken = False  # by another process's round
        self._compared = ctx.clock.monotonic()
        self._walk = f"walk/{folder.key}"  # what one process does at a time
        self._counts: tuple[int, int] | None = None  # Graph's own, when last looked at
        self.synced = NEVER  # monotonic

    # -- first sync --

    async def ready(self, priority: Priority = Priority.INTERACTIVE) -> None:
        """Returns when UIDs are assigned. The sync goes on if a waiter is cancelled; a client that waits lifts
        the priority of one that began in the background."""
        row = await self._row()
        if row.ready:
            return
        if self._first is None or self._first.done():
            self._first_sync = FirstSync(self._ctx, row, self._intake, priority)
            self._first = asyncio.create_task(self._run_first(self._first_sync))
        if self._first_sync is not None:
            self._first_sync.lift(priority)
            follow(self._first_sync.progress)
        await asyncio.shield(self._first)

    async def _run_first(self, first: FirstSync) -> None:
        async with self._lock:
            async with self._ctx.duty.alone(f"first/{self._key}"):
                if (await self._row()).ready:
                    return
                began = self._ctx.clock.monotonic()
                with nobody():
                    self._ctx.hubs.refresh(self._key, await first.run())
                await self._tally.begin(first.row)
                self.synced = began
            if first.unfinished:
                self._rest = asyncio.create_task(self._walk_on(first))

    async def _walk_on(self, first: FirstSync) -> None:
        """The rest of the first walk, behind the clients' backs: they have the folder, and go before it. If it fails,
        the next poll goes on with it."""
        began = self._ctx.clock.monotonic()
        try:
            await first.wound_up()
            if await self._whole(Priority.BACKGROUND, self._lock):
                self.synced = max(self.synced, began)
        except (GraphError, GatewayError) as error:
            log.info("walk waits", error=type(error).__name__)
        except Exception:
            log.exception("walk failed")
        await self._tell_elsewhere()

    async def walked(self) -> None:
        """Returns when the walk that a first sync left behind it has ended."""
        if self._rest is not None:
            await asyncio.shield(self._rest)

    @property
    def _walking(self) -> bool:
        return self._rest is not None and not self._rest.done()

    async def close(self) -> None:
        """End a first sync or a verification that still runs; the next start takes them up again."""
        await self._intake.suspects.close()
        tasks = [task for task in (self._first, self._rest) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- what follows --

    async def poll(
        self, *, max_age: float, priority: Priority = Priority.INTERACTIVE, whole: bool = False
    ) -> None:
        """Be at most `max_age` seconds old: no request while younger, else one delta and what it makes needful. While
        the first walk goes on nobody is kept waiting for it, but who wants the `whole` truth."""
        if whole:
            await self.walked()
        asked = self._ctx.clock.monotonic()
        if self._walking or asked - self.synced <= max_age:
            return
        await self._in_turn(self._poll_once(asked, priority), priority)
        await self._tell_elsewhere()

    async def _poll_once(self, asked: float, priority: Priority) -> None:
        async with self._lock:
            if self.synced >= asked:
                return
            for _ in range(OVERTAKEN):
                began, self._overtaken = self._ctx.clock.monotonic(), False
                with nobody():
                    done = await self._round(priority)
                if not self._overtaken:
                    break
            if done:
                self.synced = began

    async def _in_turn(self, work: Coroutine[Any, Any, None], priority: Priority) -> None:
        """Whoever waits for a client does not wait behind background work, which may wait long for its share of the
        budget with our lock in its hands: that work is cut short, and comes again with the next poll."""
        if priority is not Priority.BACKGROUND:
            for behind in self._behind:
                behind.cancel()
            await work
            return
        task = asyncio.create_task(work)
        self._behind.add(task)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            self._behind.discard(task)
        if not task.cancelled():
            task.result()

    async def _tell_elsewhere(self) -> None:
        """Outside our lock: two folders may tell each other."""
        told, self._truth.elsewhere = self._truth.elsewhere, []
        for message in told:
            await self._moved(message)

    async def adopt(self, message: Message) -> None:
        """A message found here by another folder's sync: this folder's delta may never say so (section 7)."""
        async with self._lock:
            if (await self._row()).ready:
                with nobody():
                    await self._intake.take([message], set(), began=self._ctx.clock.monotonic(), link=None)

    async def settle_counts(self, row: FolderRow, told: float, max_age: float) -> None:
        """Ask Graph only if its counts, as the hierarchy told them at `told` (monotonic), speak of something that we
        have not heard."""
        await self._tally.settle(row, told, self.synced, lambda: self.poll(max_age=max_age))

    def moved(self, row: FolderRow) -> bool:
        """Whether the folder's counts are others than when it was looked at last. At the first look: no."""
        before, self._counts = self._counts, (row.total, row.unread)
        return before is not None and before != self._counts

    def age(self) -> float:
        return self._ctx.clock.monotonic() - self.synced

    def stale(self) -> None:
        """Somebody knows better: the next poll asks Graph."""
        self.synced = NEVER

    async def _round(self, priority: Priority) -> bool:
        """One delta round applied; False if something had to be left for the next."""
        row = await self._row()
        try:
            seen = await self._collect(row, priority)
            return await (self._apply(seen, priority) if seen else self._whole(priority, nullcontext()))
        except QuotaExceeded:
            return await self._compare(priority, link="")
        except NotFound:
            await self._prove_gone()
            raise

    async def _prove_gone(self) -> None:
        """Delta does not know the folder. One 404 may pass; if the folder itself is not there either, in a mailbox
        that has its inbox, it is gone. Where nothing is found it is the mailbox that cannot be reached."""
        try:
            await self._ctx.graph.get_folder(self._id)
        except NotFound:
            if await self._reaches_mailbox():
                self._ctx.hubs.dissolve(self._key)
        except GraphError:
            return

    async def _reaches_mailbox(self) -> bool:
        try:
            await self._ctx.graph.get_folder(SpecialUse.INBOX)
        except GraphError:
            return False
        return True

    async def _collect(self, row: FolderRow, priority: Priority) -> Round | None:
        """What happened since the delta link; None where there is none, or it died: that is a comparison, not a new
        mailbox (invariant 7)."""
        if not row.delta_link:
            return None
        seen = Round(self._ctx.clock.monotonic(), row.delta_link)
        try:
            async for _, page in delta_pages(self._ctx, self._id, row.delta_link, lambda: priority):
                for message in page.value:
                    key = MessageId(message.id)
                    if message.removed is not None:
                        seen.changed.pop(key, None)
                        seen.removed.add(key)
                    else:
                        seen.removed.discard(key)
                        seen.changed[key] = message
                seen.link = page.delta_link or seen.link
        except ResyncNeeded:
            return None
        return seen

    async def _apply(self, seen: Round, priority: Priority) -> bool:
        ctx = self._ctx
        known = await ctx.store.find(self._key, [*seen.changed, *seen.removed, *self._again])
        news = [message for key, message in seen.changed.items() if not is_echo(message, known.get(key))]
        again = self._again - seen.changed.keys()
        doubtful = {key for key, row in known.items() if same_second(seen.changed.get(key), row)}
        told = await self._truth.of(news, doubtful, again & known.keys(), priority)
        proved = await self._truth.verify(seen.removed & known.keys(), priority)
        early = self._too_early(told.lost - known.keys())
        left = told.open | proved.open | early
        taken = await self._intake.take(
            [*told.messages, *proved.messages], (told.lost - early) | proved.lost,
            began=seen.began, link=None if left else seen.link, after=seen.after, seen=known,
        )  # fmt: skip
        if taken.overtaken:
            self._overtaken = True
            return False
        self._again = taken.again | again & told.open  # only now: a round that is cut short owes what it owed
        return taken.complete and not left and not self._again

    def _too_early(self, missing: set[MessageId]) -> set[MessageId]:
        """New ids that are not found are asked for once more: they may not be visible yet (trap 42), or a rule
        moved them on (trap 44)."""
        early = missing - self._missed
        self._missed = early
        return early

    # -- from the beginning --

    async def _whole(self, priority: Priority, lock: AbstractAsyncContextManager[object]) -> bool:
        """The walk from the beginning, or the rest of it, compared with what we have. `lock` is held for each step.
        False, at once, while another process does it."""
        if await self._ctx.duty.busy(self._walk):
            return False
        async with self._ctx.duty.alone(self._walk):
            return await self._whole_alone(priority, lock)

    async def _whole_alone(self, priority: Priority, lock: AbstractAsyncContextManager[object]) -> bool:
        began = self._ctx.clock.monotonic()
        if priority is Priority.INTERACTIVE:
            expect((await self._ctx.store.counts(self._key)).messages)
        walker = Walker(self._ctx, self._key, self._id, lambda: priority)
        link = await walker.run_anyhow(self._taker(priority, lock))
        async with lock:
            with nobody():
                return await self._close_gaps(link, began, priority)

    def _taker(self, priority: Priority, lock: AbstractAsyncContextManager[object]) -> Take:
        async def take(began: float, rows: Sequence[Message]) -> tuple[()]:
            async with lock:
                with nobody():
                    await self._take_page(began, rows, priority)
            advance(len(rows))
            return ()

        return take

    async def _take_page(self, began: float, rows: Sequence[Message], priority: Priority) -> None:
        """What is new in a page. What it hints at but cannot be had now is a gap at the end, or read again."""
        shown = {MessageId(row.id): row for row in rows if row.removed is None}
        known = await self._ctx.store.find(self._key, list(shown))
        news = [message for key, message in shown.items() if not is_echo(message, known.get(key))]
        if not news:
            return
        doubtful = {key for key, row in known.items() if same_second(shown[key], row)}
        told = await self._truth.of(news, doubtful, set(), priority)
        lost = told.lost & known.keys()
        taken = await self._intake.take(told.messages, lost, began=began, link=None, seen=known)
        self._again |= taken.again | (told.open & known.keys())

    async def _close_gaps(self, link: str, began: float, priority: Priority) -> bool:
        """Messages the walk named that we do not have, or had not named, though we have them."""
        unlisted, unwalked = await self._ctx.store.walk_gaps(self._key)
        again = set(self._again)
        told = await self._truth.get([*unlisted, *sorted(again - {*unlisted, *unwalked})], priority)
        proved = await self._truth.verify(set(unwalked), priority)
        left = told.open | proved.open
        taken = await self._intake.take(
            [*told.messages, *proved.messages], told.lost | proved.lost, began=began,
            link=None if left else link,
        )  # fmt: skip
        self._again = taken.again | again & told.open
        return taken.complete and not left and not self._again

    # -- comparing --

    async def _compare(self, priority: Priority, *, link: str | None) -> bool:
        """A full mailbox refuses delta (trap 10): list the folder and compare. Only what is other is read whole."""
        began = self._ctx.clock.monotonic()
        after = (await self._row()).delta_link if link is None else None
        there: set[MessageId] = set()
        news: list[Message] = []
        async for page in listing(
            self._ctx, self._id, fields=("id", "lastModifiedDateTime"), properties=(), priority=priority
        ):
            known = await self._ctx.store.find(self._key, [MessageId(message.id) for message in page])
            there |= {MessageId(message.id) for message in page}
            news += [message for message in page if not is_echo(message, known.get(MessageId(message.id)))]
        missing = (await self._ctx.store.ids(self._key)).keys() - there
        told = await self._truth.of(news, (), set(), priority)
        proved = await self._truth.verify(set(missing), priority)
        taken = await self._intake.take(
            [*told.messages, *proved.messages], told.lost | proved.lost, began=began, link=link, after=after
        )
        if taken.overtaken:
            return False
        self._again |= taken.again | told.open
        self._compared = began
        return taken.complete and not proved.open

    async def compare_if_due(self, priority: Priority = Priority.BACKGROUND) -> None:
        """The periodic full comparison that delta's holes make necessary (section 7)."""
        if self._ctx.clock.monotonic() - self._compared >= COMPARE_EVERY:
            await self.compare(priority)

    async def compare(self, priority: Priority = Priority.BACKGROUND) -> None:
        await self._in_turn(self._compare_once(priority), priority)
        await self._tell_elsewhere()

    async def _compare_once(self, priority: Priority) -> None:
        async with self._lock:
            with nobody():
                await self._compare(priority, link=None)

    async def _row(self) -> FolderRow:
        row = await self._ctx.store.folder(self._ctx.account, self._id)
        if row is None:
            raise NotFound("The folder is gone", status=404)
        return row
