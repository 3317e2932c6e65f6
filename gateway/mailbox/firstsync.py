"""The first sync of a folder (architecture decisions 1 and 5).

A listing and a delta walk run side by side: the listing brings the rows, three pages in flight; the walk brings the
delta link and is the truth about which ids exist. Ids only one of them saw are asked for by id. Rows are staged
without UIDs; one transaction gives them UIDs 1..n in (received, id) order and makes the folder ready.
"""

from __future__ import annotations

import asyncio

from gateway.core.progress import Progress
from gateway.core.types import MessageId
from gateway.graph.errors import NotFound, QuotaExceeded
from gateway.graph.model import Message, Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.intake import Intake
from gateway.mailbox.reconcile import LISTING_PAGE, Windows
from gateway.mailbox.translate import first_error
from gateway.store.api import Applied, FolderRow

PAGES_IN_FLIGHT = 3  # of the four slots; the last is left to somebody who waits


class FirstSync:
    """One run. It may be repeated after a crash: staging is idempotent by id."""

    def __init__(self, ctx: AccountContext, row: FolderRow, intake: Intake, priority: Priority) -> None:
        self._ctx = ctx
        self._row = row
        self._intake = intake
        self._priority = priority
        self._windows = Windows(ctx, row.id)
        self._listed: set[MessageId] = set()
        self.progress = Progress()  # in messages

    def lift(self, priority: Priority) -> None:
        """A client waits now: requests from here on go before background work."""
        self._priority = min(self._priority, priority)

    async def run(self) -> Applied:
        try:
            return await self._run()
        except BaseExceptionGroup as group:
            raise first_error(group) from group

    async def _run(self) -> Applied:
        async with asyncio.TaskGroup() as both:
            walk = both.create_task(self._walk())
            both.create_task(self._list())
        walked, link = walk.result()
        if walked is not None:
            await self._settle(walked)
        await self._forget_ghosts()
        return await self._ctx.store.finish_first_sync(self._row.key, link=link)

    async def _forget_ghosts(self) -> None:
        """What an earlier run staged before it was cut, and nobody has seen in this one, is gone."""
        ghosts = await self._ctx.store.staged_ids(self._row.key) - self._listed
        if ghosts:
            await self._ctx.store.unstage(self._row.key, sorted(ghosts))

    async def _walk(self) -> tuple[set[MessageId] | None, str]:
        """The ids delta knows and the link to go on from; None where a full mailbox refuses delta (trap 10). What
        is selected here is baked into the link (contract section 12), so it is what later rounds need."""
        walked: set[MessageId] = set()
        link = ""
        try:
            async for page in self._ctx.graph.delta(self._row.id, None, priority=self._priority):
                for message in page.value:
                    change = walked.discard if message.removed is not None else walked.add
                    change(MessageId(message.id))
                link = page.delta_link or link
        except QuotaExceeded:
            return None, ""
        return walked, link

    async def _list(self) -> None:
        first = await self._windows.page(0, count=True, priority=self._priority)
        total = first[0].count or 0
        self.progress.reach(0, total)
        await self._stage([message for page in first for message in page.value])
        slots = asyncio.Semaphore(PAGES_IN_FLIGHT)
        async with asyncio.TaskGroup() as pages:
            for skip in range(LISTING_PAGE, total, LISTING_PAGE):
                await slots.acquire()
                pages.create_task(self._window(skip, slots))

    async def _window(self, skip: int, slots: asyncio.Semaphore) -> None:
        try:
            pages = await self._windows.page(skip, count=False, priority=self._priority)
            await self._stage([message for page in pages for message in page.value])
        finally:
            slots.release()

    async def _stage(self, messages: list[Message]) -> None:
        fresh = [message for message in messages if MessageId(message.id) not in self._listed]
        if fresh:
            await self._ctx.store.stage(self._row.key, await self._intake.upserts(fresh), link=None)
            self._listed |= {MessageId(message.id) for message in fresh}
            self.progress.reach(len(self._listed), self.progress.goal or 0)

    async def _settle(self, walked: set[MessageId]) -> None:
        """`$skip` pages shift while mail comes and goes (trap 15): what only one side saw is asked for by id."""
        doubtful = sorted(walked ^ self._listed)
        if not doubtful:
            return
        found: list[Message] = []
        lost: list[MessageId] = []
        for key, result in zip(
            doubtful, await self._ctx.graph.get(doubtful, priority=self._priority), strict=True
        ):
            if isinstance(result, Message) and result.parent_folder_id in (None, self._row.id):
                found.append(result)
            elif isinstance(result, Message | NotFound):
                lost.append(key)
            else:
                raise result
        await self._stage(found)
        await self._ctx.store.unstage(self._row.key, lost)
