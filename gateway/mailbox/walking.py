"""Walking along a folder's delta (contract section 12): its pages in the size the server can bear, and the walk from
the beginning, whose every step the store keeps, so that it goes on after a restart and does not begin again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing

from gateway.core.types import FolderId, MessageId
from gateway.graph.errors import ResyncNeeded, Unreachable
from gateway.graph.model import Message, MessagePage, Priority
from gateway.mailbox.context import AccountContext

DELTA_PAGE = 1000  # asked for; Exchange gives 512 at most (contract section 4)
SMALLEST_PAGE = 50
OLDEST = 24 * 3600  # seconds: beyond, a walk that was cut is begun anew, for its token will have died

# Told of each page: when its request began (monotonic), and its rows. Answers with ids that are to be left as gaps: who
# closes these will ask for them by name.
Take = Callable[[float, Sequence[Message]], Awaitable[Collection[MessageId]]]


async def delta_pages(
    ctx: AccountContext, folder: FolderId, link: str | None, priority: Callable[[], Priority]
) -> AsyncIterator[tuple[float, MessagePage]]:
    """Pages to the delta link, each with the time its request began (monotonic). On a 504 the rest comes in pages of
    half the size; a change of `priority` counts from the next page on. Errors: those of `MailboxClient.delta`."""
    size = DELTA_PAGE
    while True:
        began, asked = ctx.clock.monotonic(), priority()
        try:
            async with aclosing(ctx.graph.delta(folder, link, size=size, priority=asked)) as pages:  # type: ignore[type-var]
                async for page in pages:
                    yield began, page
                    link = page.delta_link or page.next_link
                    if page.delta_link:
                        return
                    if priority() is not asked:
                        break
                    began = ctx.clock.monotonic()
        except Unreachable as error:
            if error.status != 504 or size <= SMALLEST_PAGE:
                raise
            size //= 2


class Walker:
    """A walk of one folder from the beginning. `stop` ends it behind the page that is under way."""

    def __init__(
        self, ctx: AccountContext, key: int, folder: FolderId, priority: Callable[[], Priority]
    ) -> None:
        self._ctx = ctx
        self._key = key
        self._folder = folder
        self._priority = priority
        self._stopping = False
        self.begun = asyncio.Event()  # its next request goes out before those of whoever waits for this

    def stop(self) -> None:
        self._stopping = True

    async def run(self, take: Take) -> str:
        """The delta link; "" if stopped before. A page is kept as walked after `take` has returned. ResyncNeeded: the
        place where it was cut is not known to Graph any more."""
        store, walk = self._ctx.store, await self._ctx.store.walk(self._key)
        self.begun.set()
        if walk.done:
            return walk.link
        pages = delta_pages(self._ctx, self._folder, walk.link or None, self._priority)
        async with aclosing(pages):  # type: ignore[type-var]
            async for began, page in pages:
                gaps = await take(began, page.value)
                seen, unseen = last_words(page.value)
                seen = [id for id in seen if id not in gaps]
                onward = page.delta_link or page.next_link or ""
                await store.walk_on(self._key, seen, unseen, link=onward, done=page.delta_link is not None)
                if page.delta_link:
                    return page.delta_link
                if self._stopping:
                    return ""
        return ""

    async def run_anyhow(self, take: Take) -> str:
        """As `run`, but begun anew where it cannot go on."""
        await self.forget_old()
        try:
            return await self.run(take)
        except ResyncNeeded:
            await self._ctx.store.forget_walk(self._key)
            return await self.run(take)

    async def forget_old(self) -> None:
        """A walk that was cut long ago is not worth going on with."""
        walk = await self._ctx.store.walk(self._key)
        if walk.began and not 0 <= self._ctx.clock.time() - walk.began <= OLDEST:
            await self._ctx.store.forget_walk(self._key)


def last_words(rows: Sequence[Message]) -> tuple[list[MessageId], list[MessageId]]:
    """Ids a page names, and those it names as removed: the last row of an id counts (contract section 12)."""
    there = {MessageId(row.id): row.removed is None for row in rows}
    return [id for id, here in there.items() if here], [id for id, here in there.items() if not here]
