"""One folder kept in step with Graph's delta (contract section 12, architecture decision 5, invariants 6, 7, 9).

The delta stream is a hint that something happened, never the last word: a removal is verified, a row older than
our own write is dropped and read again, a dead token is a comparison. What the truth is, a GET or a listing says.

A round: collect the pages, sort out echoes of our own writes, get what the delta did not carry, verify what it
removed, then one `Store.apply` together with the new delta link, then the hub.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.core.progress import follow
from gateway.core.types import MessageId, SpecialUse
from gateway.graph.errors import GraphError, NotFound, QuotaExceeded, ResyncNeeded
from gateway.graph.model import Message, Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.firstsync import FirstSync
from gateway.mailbox.intake import Intake
from gateway.mailbox.local import epoch
from gateway.mailbox.origin import nobody
from gateway.mailbox.reconcile import list_folder
from gateway.store.api import FolderRow, MessageRow

MANY_CHANGED = 200  # beyond this a listing by lastModifiedDateTime is cheaper than batches of 20
MANY_REMOVED = 100  # decision 5: beyond this one listing of ids verifies all
COMPARE_EVERY = 3600.0  # seconds between full comparisons of a watched folder: delta has holes (section 7)

# Told of a message found in another folder than the one asked about.
Moved = Callable[[Message], Awaitable[None]]


@dataclass(slots=True)
class Round:
    """What a delta walk said, last word per id."""

    began: float
    link: str = ""
    changed: dict[MessageId, Message] = field(default_factory=dict)
    removed: set[MessageId] = field(default_factory=set)
    whole: bool = False  # from the beginning: ids it does not name may be gone


@dataclass(slots=True)
class Found:
    """What asking for ids by name gave: messages that are here, ids that are not, and ids nobody can tell yet."""

    messages: list[Message] = field(default_factory=list)
    lost: set[MessageId] = field(default_factory=set)
    open: set[MessageId] = field(default_factory=set)


class FolderSync:
    """One per folder and process. All rounds of a folder are one at a time; waiters share the running one."""

    def __init__(self, ctx: AccountContext, folder: FolderRow, moved: Moved) -> None:
        self._ctx = ctx
        self._key = folder.key
        self._id = folder.id
        self._moved = moved
        self._intake = Intake(ctx, folder.key, folder.id)
        self._lock = asyncio.Lock()
        self._first: asyncio.Task[None] | None = None
        self._behind: set[asyncio.Task[None]] = set()  # background rounds, under way or waiting for one
        self._first_sync: FirstSync | None = None
        self._again: set[MessageId] = set()
        self._missed: set[MessageId] = set()  # announced by delta, but 404 when asked for: once is no proof
        self._elsewhere: list[Message] = []
        self._compared = ctx.clock.monotonic()
        self._counts: tuple[int, int] | None = None  # Graph's own, when last synced
        self.synced = float("-inf")  # monotonic

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
            if (await self._row()).ready:
                return
            began = self._ctx.clock.monotonic()
            with nobody():
                self._ctx.hubs.refresh(self._key, await first.run())
            self.synced = began

    async def close(self) -> None:
        """End a first sync or a verification that still runs; the next start takes them up again."""
        await self._intake.suspects.close()
        if self._first is not None and not self._first.done():
            self._first.cancel()
            await asyncio.gather(self._first, return_exceptions=True)

    # -- what follows --

    async def poll(self, *, max_age: float, priority: Priority = Priority.INTERACTIVE) -> None:
        """Be at most `max_age` seconds old: no request while younger, else one delta and what it makes needful."""
        asked = self._ctx.clock.monotonic()
        if asked - self.synced <= max_age:
            return
        await self._in_turn(self._poll_once(asked, priority), priority)
        await self._tell_elsewhere()

    async def _poll_once(self, asked: float, priority: Priority) -> None:
        async with self._lock:
            if self.synced >= asked:
                return
            began = self._ctx.clock.monotonic()
            with nobody():
                done = await self._round(priority)
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
        told, self._elsewhere = self._elsewhere, []
        for message in told:
            await self._moved(message)

    async def adopt(self, message: Message) -> None:
        """A message found here by another folder's sync: this folder's delta may never say so (section 7)."""
        async with self._lock:
            if (await self._row()).ready:
                with nobody():
                    await self._intake.take([message], set(), began=self._ctx.clock.monotonic(), link=None)

    async def settle_counts(self, row: FolderRow, max_age: float) -> None:
        """Ask Graph only if the folder's counts are others than when it was synced last: they come for all
        folders in one request, and are never the answer themselves (trap 34)."""
        if self._counts != (row.total, row.unread):
            await self.poll(max_age=max_age)
            self._counts = (row.total, row.unread)

    def moved(self, row: FolderRow) -> bool:
        """Whether the folder's counts are others than when it was looked at last. At the first look: no."""
        before, self._counts = self._counts, (row.total, row.unread)
        return before is not None and before != self._counts

    def age(self) -> float:
        return self._ctx.clock.monotonic() - self.synced

    def stale(self) -> None:
        """Somebody knows better: the next poll asks Graph."""
        self.synced = float("-inf")

    async def _round(self, priority: Priority) -> bool:
        """One delta round applied; False if something had to be left for the next."""
        row = await self._row()
        try:
            seen = await self._collect(row, priority)
        except QuotaExceeded:
            return await self._compare(row, priority, link="")
        except NotFound:
            await self._prove_gone()
            raise
        return await self._apply(row, seen, priority)

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

    async def _collect(self, row: FolderRow, priority: Priority) -> Round:
        if row.delta_link:
            try:
                return await self._walk(row.delta_link, priority)
            except ResyncNeeded:
                pass  # a dead token is a comparison, not a new mailbox (invariant 7)
        seen = await self._walk(None, priority)
        seen.whole = True
        return seen

    async def _walk(self, link: str | None, priority: Priority) -> Round:
        seen = Round(self._ctx.clock.monotonic())
        async for page in self._ctx.graph.delta(self._id, link, priority=priority):
            for message in page.value:
                key = MessageId(message.id)
                if message.removed is not None:
                    seen.changed.pop(key, None)
                    seen.removed.add(key)
                else:
                    seen.removed.discard(key)
                    seen.changed[key] = message
            seen.link = page.delta_link or seen.link
        return seen

    async def _apply(self, row: FolderRow, seen: Round, priority: Priority) -> bool:
        ctx = self._ctx
        known = await ctx.store.find(self._key, [*seen.changed, *seen.removed, *self._again])
        suspects = seen.removed & known.keys()
        if seen.whole:
            every = await ctx.store.ids(self._key)
            suspects |= every.keys() - seen.changed.keys()
        news = [message for key, message in seen.changed.items() if not _is_echo(message, known.get(key))]
        again = self._again - seen.changed.keys()
        doubtful = {key for key, row in known.items() if _same_second(seen.changed.get(key), row)}
        told = await self._truth(news, doubtful, again & known.keys(), priority)
        proved = await self._verify(suspects, priority)
        early = self._too_early(told.lost - known.keys())
        left = told.open | proved.open | early
        taken = await self._intake.take(
            [*told.messages, *proved.messages], (told.lost - early) | proved.lost,
            began=seen.began, link=None if left else seen.link,
        )  # fmt: skip
        self._again = taken.again | again & told.open  # only now: a round that is cut short owes what it owed
        return taken.complete and not left and not self._again

    def _too_early(self, missing: set[MessageId]) -> set[MessageId]:
        """New ids that are not found are asked for once more: they may not be visible yet (trap 42), or a rule
        moved them on (trap 44)."""
        early = missing - self._missed
        self._missed = early
        return early

    async def _truth(
        self, news: Sequence[Message], doubtful: set[MessageId], again: set[MessageId], priority: Priority
    ) -> Found:
        """The messages as they are now, with the properties that a delta without `$expand` leaves out."""
        told = [message for message in news if _is_whole(message) and message.id not in doubtful]
        partial = [message for message in news if not _is_whole(message) or message.id in doubtful]
        wanted = [MessageId(message.id) for message in partial] + sorted(again)
        listed: dict[MessageId, Message] = {}
        if len(partial) > MANY_CHANGED:
            listed = await self._changed_since(partial, priority)
        found = await self._get([key for key in wanted if key not in listed], priority)
        found.messages += [*told, *listed.values()]
        return found

    async def _changed_since(
        self, partial: Sequence[Message], priority: Priority
    ) -> dict[MessageId, Message]:
        since = min(message.last_modified_date_time or "1900-01-01T00:00:00Z" for message in partial)
        listed = await list_folder(
            self._ctx, self._id, filter=f"lastModifiedDateTime ge {since}", order=None, priority=priority
        )
        return {MessageId(message.id): message for message in listed}

    async def _get(self, ids: Sequence[MessageId], priority: Priority) -> Found:
        found = Found()
        results = await self._ctx.graph.get(ids, priority=priority) if ids else []
        for key, result in zip(ids, results, strict=True):
            if isinstance(result, Message) and result.parent_folder_id in (None, self._id):
                found.messages.append(result)
            elif isinstance(result, Message):
                found.lost.add(key)
                self._elsewhere.append(result)
            elif isinstance(result, NotFound):
                found.lost.add(key)
            else:
                found.open.add(key)
        return found

    async def _verify(self, suspects: set[MessageId], priority: Priority) -> Found:
        """Which of the removed are gone from here: the A->B->A hole and replays make delta lie (section 7)."""
        if len(suspects) <= MANY_REMOVED:
            return await self._get(sorted(suspects), priority)
        listed = await list_folder(self._ctx, self._id, priority=priority)
        there = {MessageId(message.id): message for message in listed}
        return Found([there[key] for key in suspects & there.keys()], suspects - there.keys())

    async def _compare(self, row: FolderRow, priority: Priority, *, link: str | None) -> bool:
        """A full mailbox refuses delta (trap 10): list the folder and compare."""
        began = self._ctx.clock.monotonic()
        listed = await list_folder(self._ctx, self._id, priority=priority)
        stored = await self._ctx.store.messages(self._key)
        rows = {row.id: row for row in stored}
        missing = rows.keys() - {MessageId(message.id) for message in listed}
        news = [message for message in listed if not _is_echo(message, rows.get(MessageId(message.id)))]
        proved = await self._verify(set(missing), priority)
        taken = await self._intake.take([*news, *proved.messages], proved.lost, began=began, link=link)
        self._again |= taken.again
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
                await self._compare(await self._row(), priority, link=None)

    async def _row(self) -> FolderRow:
        row = await self._ctx.store.folder(self._ctx.account, self._id)
        if row is None:
            raise NotFound("The folder is gone", status=404)
        return row


def _is_echo(message: Message, known: MessageRow | None) -> bool:
    """What we know already, be it our own write coming back (invariant 9) or a replay."""
    return known is not None and bool(message.etag) and message.etag == known.etag


def _same_second(message: Message | None, known: MessageRow) -> bool:
    """Times have whole seconds: which of two states of one second is the newer, only a GET tells (invariant 9)."""
    return message is not None and 0 < known.modified == epoch(message.last_modified_date_time)


def _is_whole(message: Message) -> bool:
    """Whether the delta row carries all that a row of ours needs. Every message has a size property, so without
    any property the delta came without `$expand` (refused, or baked into the link before it was known)."""
    return message.single_value_extended_properties is not None and message.received_date_time is not None
