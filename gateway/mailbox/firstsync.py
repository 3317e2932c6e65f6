"""The first sync of a folder (architecture decisions 1 and 5; decision 41).

A listing and a delta walk run side by side: the listing brings the rows, three pages in flight; the walk brings the
delta link and is the truth about which ids exist. Ids only one of them saw are asked for by id. Rows are staged
without UIDs; one transaction gives them UIDs 1..n in (received, id) order and makes the folder ready.

Each page is kept, of either: what was cut goes on with what is missing. The walk takes its pages one behind the other,
and is by far the longer of the two where there are many: there the folder is ready as soon as it is listed, and the
rest of the walk is a comparison behind it (`FolderSync`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from gateway.core.progress import Progress
from gateway.core.types import MessageId
from gateway.graph.errors import NotFound, QuotaExceeded, ResyncNeeded
from gateway.graph.model import Message, Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.intake import Intake
from gateway.mailbox.reconcile import LISTING_PAGE, Windows, listing
from gateway.mailbox.translate import first_error
from gateway.mailbox.walking import Walker
from gateway.store.api import Applied, FolderRow

PAGES_IN_FLIGHT = 3  # of the four slots; the last is the walk's, or left to somebody who waits
UNPROVED = 2  # of them before the server has shown that it can bear such pages: a 504 costs so many
WALK_AWAITED = 2 * LISTING_PAGE  # messages: up to here the walk ends about when the listing does
MANY_DOUBTFUL = 200  # ids only one side saw: beyond, another listing is cheaper than asking for each


class FirstSync:
    """One run. `run` returns when UIDs are assigned; `unfinished` then tells whether the walk has still to be gone on
    with, after `wound_up` has waited for the page of it that is under way."""

    def __init__(self, ctx: AccountContext, row: FolderRow, intake: Intake, priority: Priority) -> None:
        self._ctx = ctx
        self._row = self.row = row  # as it was before
        self._intake = intake
        self._priority = priority
        self._walker = Walker(ctx, row.key, row.id, lambda: self._priority)
        self._walk: asyncio.Task[str | None] | None = None
        self._staged = 0
        self.unfinished = False
        self.progress = Progress()  # in messages

    def lift(self, priority: Priority) -> None:
        """A client waits now: requests from here on go before background work."""
        self._priority = min(self._priority, priority)

    async def run(self) -> Applied:
        """Errors: those of Graph. What was found so far is kept."""
        await self._walker.forget_old()
        try:
            return await self._run()
        except (
            ResyncNeeded
        ):  # where the walk was cut Graph does not know any more, nor what has changed since
            await self._ctx.store.forget_walk(self._row.key)
            return await self._run()

    async def wound_up(self) -> None:
        if self._walk is not None:
            await asyncio.gather(self._walk, return_exceptions=True)

    async def _run(self) -> Applied:
        windows = Windows(
            self._ctx, self._row.id, self._row.total, (await self._ctx.store.walk(self._row.key)).windows
        )
        self._staged = await self._ctx.store.staged(self._row.key)
        again = self._staged > 0
        self._walk = asyncio.create_task(self._walked())
        try:
            await self._both(self._walk, windows)
            if self._staged > WALK_AWAITED and not self._walk.done():
                return await self._finish_early()
            return await self._finish(await self._walk, doubted=again or windows.more)
        except BaseException:
            await _end(self._walk)
            raise

    async def _both(self, walk: asyncio.Task[str | None], windows: Windows) -> None:
        """Till all is listed; a walk that fails ends it."""
        lists = asyncio.create_task(self._list(windows))
        try:
            await asyncio.wait({lists, walk}, return_when=asyncio.FIRST_COMPLETED)
            if not lists.done():
                walk.result()
            await lists
        except BaseExceptionGroup as group:
            raise first_error(group) from group
        finally:
            await _end(lists)

    async def _finish_early(self) -> Applied:
        self.unfinished = True
        self._priority = Priority.BACKGROUND
        self._walker.stop()
        return await self._ctx.store.finish_first_sync(self._row.key, link="")

    async def _finish(self, link: str | None, *, doubted: bool) -> Applied:
        if link is not None:
            await self._settle()
        elif doubted:
            await self._list_anew()
        return await self._ctx.store.finish_first_sync(self._row.key, link=link or "")

    # -- the walk --

    async def _walked(self) -> str | None:
        """The link to go on from; None where a full mailbox refuses delta (trap 10). What is selected here is baked
        into the link (contract section 12), so it is what later rounds need."""
        try:
            return await self._walker.run(self._doubtful)
        except QuotaExceeded:
            return None

    async def _doubtful(self, began: float, rows: Sequence[Message]) -> set[MessageId]:
        """The listing brings the rows. One that was listed in another state than the walk tells may have changed
        between that page and the beginning of the walk: no later delta would say so."""
        listed = await self._ctx.store.staged_etags(self._row.key, [MessageId(row.id) for row in rows])
        told = {MessageId(row.id): row.etag for row in rows if row.etag}
        return {id for id, etag in told.items() if id in listed and listed[id] != etag}

    # -- the listing --

    async def _list(self, windows: Windows) -> None:
        """Behind the walk: what changes after that has begun will be told by the next delta."""
        await self._walker.begun.wait()
        while windows.left:
            async with asyncio.TaskGroup() as pages:
                for number in range(PAGES_IN_FLIGHT):
                    pages.create_task(self._work(windows, number))

    async def _work(self, windows: Windows, number: int) -> None:
        if number >= UNPROVED:
            await windows.proved.wait()
        while (skip := windows.take()) is not None:
            pages = await windows.page(skip, self._priority)
            await self._stage([message for page in pages for message in page.value], windows.goal)
            await self._ctx.store.listed(self._row.key, skip)

    async def _stage(self, messages: Sequence[Message], goal: int) -> None:
        if messages:
            rows = await self._intake.upserts(messages)
            self._staged = await self._ctx.store.stage(self._row.key, rows, link=None)
        self.progress.reach(self._staged, goal)

    async def _list_anew(self) -> set[MessageId]:
        """What is there now; what was staged and is not there any more is forgotten."""
        there: set[MessageId] = set()
        async for page in listing(self._ctx, self._row.id, priority=self._priority):
            there |= {MessageId(message.id) for message in page}
            await self._stage(page, self.progress.goal or 0)
        ghosts = await self._ctx.store.staged_ids(self._row.key) - there
        await self._ctx.store.unstage(self._row.key, sorted(ghosts))
        return there

    # -- what only one side saw --

    async def _settle(self) -> None:
        """`$skip` pages shift while mail comes and goes (trap 15), and while nobody looks at all."""
        unlisted, unwalked = await self._ctx.store.walk_gaps(self._row.key)
        if len(unlisted) + len(unwalked) > MANY_DOUBTFUL:
            there = await self._list_anew()
            unlisted, unwalked = await self._ctx.store.walk_gaps(self._row.key)
            unwalked = [id for id in unwalked if id not in there]
        if doubtful := sorted({*unlisted, *unwalked}):
            await self._ask(doubtful)

    async def _ask(self, doubtful: Sequence[MessageId]) -> None:
        found: list[Message] = []
        lost: list[MessageId] = []
        answers = await self._ctx.graph.get(doubtful, priority=self._priority)
        for key, result in zip(doubtful, answers, strict=True):
            if isinstance(result, Message) and result.parent_folder_id in (None, self._row.id):
                found.append(result)
            elif isinstance(result, Message | NotFound):
                lost.append(key)
            else:
                raise result
        await self._stage(found, self.progress.goal or 0)
        await self._ctx.store.unstage(self._row.key, lost)
        if landed := await self._ctx.store.find(self._row.key, lost):  # from here, before anybody had looked
            await self._ctx.store.apply(self._row.key, (), list(landed))


async def _end(task: asyncio.Task[object]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task
