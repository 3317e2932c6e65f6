"""Header facts for a command that goes through many messages: by pages of the listing, four in flight (decision 11).

A page is a window of dates. The store knows the dates of all messages of the folder and which of them lack facts, so it
is known before anything is asked how much a page will list and how much of that is of use; where that is too little,
the messages are left to be asked for by id. UIDs and dates need not be in one order: a page brings what it brings, all
of it is kept, and whoever reads waits for the pages his messages are in.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway.core.types import MessageId, Uid
from gateway.graph.errors import Unreachable
from gateway.graph.mail import META_PROPERTIES
from gateway.graph.model import Message, MessagePage, Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.facts import FIELDS, facts_of
from gateway.mailbox.local import epoch, graph_time
from gateway.store.api import Facts, FolderRow, MessageRow

FEW = 40  # messages of one batch: up to here two requests by id cost less than planning
PAGE = 500  # items: larger ones with all header fields in them time out (contract section 4)
SMALLEST_PAGE = 40
LISTED_FOR_ONE = 100  # messages that a listing may show in vain for one request less
BREATH = 25  # facts rendered before others have their turn

Lacking = tuple[Uid, MessageId, int]  # with its internal date


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the listing, both dates included. `listed`: how many messages it shows, as far as we know."""

    first: int
    last: int
    listed: int
    wanted: frozenset[MessageId]
    uid: int  # the lowest of those wanted


def windows(dates: Sequence[int], rows: Sequence[Lacking], size: int = PAGE) -> list[Window]:
    """The pages worth asking for, by the lowest UID wanted of each. `dates`: of all messages of the folder, ascending;
    `rows`: those wanted, by date. A window lists at most `size` messages, or those of one second."""
    found: list[Window] = []
    at = 0
    while at < len(rows):
        first = rows[at][2]
        low = bisect_left(dates, first)
        stop = len(rows)
        if low + size < len(dates):  # whatever has this date does not fit in any more
            stop = bisect_left(rows, dates[low + size], key=_date)
        if stop <= at:
            stop = bisect_right(rows, first, key=_date)
        wanted, last = rows[at:stop], rows[stop - 1][2]
        listed = bisect_right(dates, last) - low
        if len(wanted) > -(-listed // size) + listed // LISTED_FOR_ONE:
            ids = frozenset(id for _, id, _ in wanted)
            found.append(Window(first, last, listed, ids, min(uid for uid, _, _ in wanted)))
        at = stop
    return sorted(found, key=lambda window: window.uid)


def _date(row: Lacking) -> int:
    return row[2]


class HeaderPages:
    """One per account. A message's page is asked for once, however many commands wait for it."""

    def __init__(self, ctx: AccountContext) -> None:
        self._ctx = ctx
        self._coming: dict[MessageId, asyncio.Task[None]] = {}
        self._size = PAGE  # halved for good where Graph finds a page too heavy

    def reading(
        self,
        folder: FolderRow,
        uids: Callable[[], Iterable[int]],
        *,
        priority: Priority = Priority.INTERACTIVE,
    ) -> Reading:
        """For one command. `uids`: all that it is going to read, asked for only if much is lacking."""
        return Reading(self, folder, uids, priority)

    async def start(
        self, folder: FolderRow, uids: Callable[[], Iterable[int]], priority: Priority
    ) -> list[asyncio.Task[None]]:
        """Pages of what is lacking and not yet on its way; what an APPEND brought needs none."""
        ctx = self._ctx
        lacking = await ctx.store.undescribed(folder.key)
        chosen = set(uids())
        useful = {id for _, id, _ in lacking.rows}
        rows = [row for row in lacking.rows if row[0] in chosen and row[1] not in self._coming]
        slots = asyncio.Semaphore(ctx.limits.in_flight)
        return [
            self._launch(window, _Walk(folder, useful, slots, priority))
            for window in windows(lacking.dates, rows, self._size)
        ]

    def _launch(self, window: Window, walk: _Walk) -> asyncio.Task[None]:
        task = asyncio.create_task(self._bring(window, walk))
        self._coming.update(dict.fromkeys(window.wanted, task))
        task.add_done_callback(lambda _: self._landed(window))
        return task

    def _landed(self, window: Window) -> None:
        for id in window.wanted:
            self._coming.pop(id, None)

    def coming(self, ids: Iterable[MessageId]) -> set[asyncio.Task[None]]:
        return {task for id in ids if (task := self._coming.get(id)) is not None}

    async def _bring(self, window: Window, walk: _Walk) -> None:
        """Until all that is wanted was listed, or the listing has no more; Graph may list other mail by now."""
        async with walk.slots:
            found: set[MessageId] = set()
            first, newest, link = window.first, window.first, None
            for _ in range(2 + window.listed // SMALLEST_PAGE):
                try:
                    page = await self._page(window, walk, first, link)
                except Unreachable as error:
                    if error.status != 504 or self._size <= SMALLEST_PAGE:
                        raise
                    self._size //= 2
                    first, link = newest, None
                    continue
                fresh = [m for m in page.value if m.id in walk.useful and m.id not in found]
                found.update(MessageId(message.id) for message in fresh)
                await self._keep(fresh)
                newest = max(newest, _newest(page))
                link = page.next_link
                if not link or window.wanted <= found:
                    return

    async def _page(self, window: Window, walk: _Walk, first: int, link: str | None) -> MessagePage:
        between = f"receivedDateTime ge {graph_time(first)} and receivedDateTime le {graph_time(window.last)}"
        return await self._ctx.graph.list_page(
            walk.folder.id, link=link, fields=FIELDS, properties=META_PROPERTIES, filter=between,
            size=min(self._size, window.listed + FEW), priority=walk.priority,
        )  # fmt: skip

    async def _keep(self, messages: Sequence[Message]) -> None:
        facts: dict[MessageId, Facts] = {}
        for number, message in enumerate(messages, 1):
            facts[MessageId(message.id)] = facts_of(message)
            if number % BREATH == 0:
                await asyncio.sleep(0)
        if facts:
            await self._ctx.store.put_facts(self._ctx.account, facts, told=False)


@dataclass(frozen=True, slots=True)
class _Walk:
    """What the pages of one command share. `useful`: all messages of the folder that lack facts."""

    folder: FolderRow
    useful: set[MessageId]
    slots: asyncio.Semaphore
    priority: Priority


class Reading:
    """One command's way through a folder: `bring` before each batch, `close` at the end."""

    def __init__(
        self, pages: HeaderPages, folder: FolderRow, uids: Callable[[], Iterable[int]], priority: Priority
    ) -> None:
        self._pages = pages
        self._folder = folder
        self._uids = uids
        self.priority = priority
        self._own: list[asyncio.Task[None]] | None = None

    async def bring(self, rows: Sequence[MessageRow]) -> None:
        """Returns when all pages with these messages are in the store, as far as pages are worth it. The first time
        many are lacking, everything the command is going to read is begun. Errors: those of Graph."""
        if self._own is None and len(rows) > FEW:
            self._own = await self._pages.start(self._folder, self._uids, self.priority)
        waited = self._pages.coming(row.id for row in rows)
        if waited:
            await asyncio.wait(waited)
        for task in waited.intersection(self._own or ()):
            task.result()

    async def close(self) -> None:
        """What was begun and not used is given up."""
        if not self._own:
            return
        left = [task for task in self._own if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*self._own, return_exceptions=True)


def _newest(page: MessagePage) -> int:
    return max((epoch(message.received_date_time) or 0 for message in page.value), default=0)
