"""A folder's whole listing: several pages in flight, the truth where delta is refused, dead or doubted."""

from __future__ import annotations

from collections.abc import Sequence

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
    order: str | None = "receivedDateTime asc",
    priority: Priority = Priority.INTERACTIVE,
) -> list[Message]:
    """Every message once, in one walk along nextLinks; the page is halved when the server times out (504)."""
    size, found = LISTING_PAGE, dict[str, Message]()
    link: str | None = None
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
        found.update({message.id: message for message in page.value})
        link = page.next_link
        if not link:
            return list(found.values())


class Windows:
    """Pages of a folder by `$skip`, several in flight, for a first listing whose gaps are verified afterwards.

    Where it ends tells the first page's count; what arrives later, the delta walk beside it or the next poll."""

    def __init__(self, ctx: AccountContext, folder: FolderId) -> None:
        self._ctx = ctx
        self._folder = folder
        self.size = LISTING_PAGE

    async def page(self, skip: int, *, count: bool, priority: Priority) -> list[MessagePage]:
        """The window [skip, skip + LISTING_PAGE): one page, or several where the server needs them smaller."""
        pages: list[MessagePage] = []
        at = skip
        while at < skip + LISTING_PAGE:
            size = self.size
            try:
                pages.append(
                    await self._ctx.graph.list_page(
                        self._folder, skip=at, size=size, count=count and not pages, priority=priority
                    )
                )
            except Unreachable as error:
                if error.status != 504 or size <= SMALLEST_PAGE:
                    raise
                self.size = min(self.size, size // 2)
                continue
            at += size
            if not pages[-1].next_link:
                break
        return pages
