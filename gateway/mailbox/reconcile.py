"""A folder's whole listing: several pages in flight, the truth where delta is refused, dead or doubted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence

from gateway.core.types import FolderId
from gateway.graph.errors import Unreachable
from gateway.graph.mail import INDEX_FIELDS, INDEX_PROPERTIES
from gateway.graph.model import Message, MessagePage, Priority
from gateway.mailbox.context import AccountContext

LISTING_PAGE = 1000  # contract section 4: the largest page of a listing
SMALLEST_PAGE = 50


async def list_folder(
    ctx: AccountContext,
    folder: FolderId,
    *,
    fields: Sequence[str] = INDEX_FIELDS,
    properties: Sequence[str] = INDEX_PROPERTIES,
    filter: str | None = None,
    priority: Priority = Priority.INTERACTIVE,
) -> list[Message]:
    """Every message once."""
    pages = listing(ctx, folder, fields=fields, properties=properties, filter=filter, priority=priority)
    found = {message.id: message async for page in pages for message in page}
    return list(found.values())


async def listing(
    ctx: AccountContext,
    folder: FolderId,
    *,
    fields: Sequence[str] = INDEX_FIELDS,
    properties: Sequence[str] = INDEX_PROPERTIES,
    filter: str | None = None,
    priority: Priority = Priority.INTERACTIVE,
) -> AsyncIterator[list[Message]]:
    """Every message at least once, page by page along nextLinks; when the server times out (504) it begins again
    with pages of half the size. `filter` goes with no order: what is sorted by must lead it (trap 37)."""
    size, link = LISTING_PAGE, None
    order = None if filter else "receivedDateTime asc"
    while True:
        try:
            page = await ctx.graph.list_page(
                folder, link=link, fields=fields, properties=properties, order=order, filter=filter, size=size,
                priority=priority,
            )  # fmt: skip
        except Unreachable as error:
            if error.status != 504 or size <= SMALLEST_PAGE:
                raise
            size, link = size // 2, None
            continue
        yield page.value
        link = page.next_link
        if not link:
            return


class Windows:
    """The pages of a first listing by `$skip`, several in flight; its gaps are verified afterwards. `goal`: about how
    many messages there are, till the first page tells; `done`: windows that were listed before. What arrives later,
    the delta walk beside it says, or the next poll."""

    def __init__(self, ctx: AccountContext, folder: FolderId, goal: int, done: Collection[int]) -> None:
        self._ctx = ctx
        self._folder = folder
        self._done = set(done)
        self._next = 0
        self._counted = False
        self._size = LISTING_PAGE
        self.goal = goal
        self.proved = asyncio.Event()  # the server can bear such pages
        self.more = False  # it says that there is something behind the last window

    @property
    def left(self) -> bool:
        while self._next in self._done:
            self._next += LISTING_PAGE
        return self._next == 0 or self._next < self.goal

    def take(self) -> int | None:
        """Where the next window begins; None: all are taken."""
        if not self.left:
            return None
        self._next += LISTING_PAGE
        return self._next - LISTING_PAGE

    async def page(self, skip: int, priority: Priority) -> list[MessagePage]:
        """The window [skip, skip + LISTING_PAGE): one page, or several where the server needs them smaller."""
        pages: list[MessagePage] = []
        at = skip
        while at < skip + LISTING_PAGE:
            size, count = self._size, not self._counted
            try:
                page = await self._ctx.graph.list_page(
                    self._folder, skip=at, size=size, count=count, tries_504=0, priority=priority
                )
            except Unreachable as error:
                if error.status != 504 or size <= SMALLEST_PAGE:
                    raise
                self._size = min(self._size, size // 2)
                continue
            self._learn(page)
            pages.append(page)
            at += size
            if not page.next_link:
                break
        self.more = self.more or (bool(pages[-1].next_link) and self._next <= skip + LISTING_PAGE)
        return pages

    def _learn(self, page: MessagePage) -> None:
        if page.count is not None and not self._counted:
            self.goal, self._counted = page.count, True
        self.proved.set()
