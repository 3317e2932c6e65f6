"""Sizes made exact in the background (decision 3): RFC822.SIZE of a message is known once its octets were seen.

The newest estimates first, folder by folder, one message at a time and evenly spread, so that never more than
`settings.size_share` of the mailbox's requests goes into it; whatever a client asks for comes before. Nothing is
remembered of the way but the sizes themselves: after a restart it goes on where there are estimates. The octets are not
kept, but what is kept of octets that were seen: their pin, header facts, structures and searchable text.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from gateway.core.errors import GatewayError
from gateway.core.types import MessageId, SpecialUse
from gateway.graph.errors import GraphError
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.context import AccountContext
from gateway.store.api import FolderRow, MessageRow, Upsert

FIRST = 60.0  # seconds from the start: the first syncs come before
PAUSE = 300.0  # seconds from one round to the next: new mail is an estimate, too
AT_ONCE = 20  # sizes of one write
SKIPPED = 10_000  # messages remembered that Exchange cannot render
TOP_UID = 2**32

log = structlog.get_logger("gateway.mailbox")


class Measuring:
    """One per account. `measured`: messages whose size was found out so, since the start."""

    def __init__(self, ctx: AccountContext, bodies: Bodies) -> None:
        self._ctx = ctx
        self._bodies = bodies
        self._skipped: dict[MessageId, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._next = 0.0  # monotonic: when the next request may go
        self.measured = 0

    @property
    def interval(self) -> float:
        """Seconds from one request to the next."""
        return 600.0 / (self._ctx.settings.size_share * self._ctx.limits.requests_per_10min)

    def start(self) -> None:
        settings = self._ctx.settings
        if settings.size_share > 0 and settings.rfc822_size != "estimate":
            self._task = asyncio.create_task(self._go())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _go(self) -> None:
        await self._ctx.clock.sleep(FIRST)
        while True:
            await self._ctx.duty.taken()
            try:
                with self._ctx.duty.bound():
                    await self.round()
            except (GraphError, GatewayError) as error:
                log.info("measuring waits", error=type(error).__name__)
            except Exception:
                log.exception("measuring waits")
            await self._ctx.clock.sleep(PAUSE)

    async def round(self) -> None:
        """Once through all folders that are synced. Errors: those of Graph and the store."""
        folders = await self._ctx.store.folders(self._ctx.account)
        for folder in sorted(folders, key=lambda row: (row.well_known != SpecialUse.INBOX, row.key)):
            if folder.ready and not folder.hidden:
                await self._measure(folder)

    async def _measure(self, folder: FolderRow) -> None:
        below = TOP_UID
        while rows := await self._ctx.store.estimated(folder.key, below, AT_ONCE):
            below = rows[-1].uid
            sizes: list[tuple[MessageRow, int]] = []
            try:
                for row in rows:
                    if row.id not in self._skipped:
                        await self._turn()
                        sizes += await self._size(row, folder)
            finally:  # what was found out is not lost
                await self._keep(folder, sizes)

    async def _turn(self) -> None:
        clock = self._ctx.clock
        await clock.sleep(max(0.0, self._next - clock.monotonic()))
        self._next = clock.monotonic() + self.interval

    async def _size(self, row: MessageRow, folder: FolderRow) -> list[tuple[MessageRow, int]]:
        size = await self._bodies.measured(row, folder)
        if size is not None:
            return [(row, size)]
        while len(self._skipped) >= SKIPPED:
            del self._skipped[next(iter(self._skipped))]
        self._skipped[row.id] = None
        return []

    async def _keep(self, folder: FolderRow, sizes: Sequence[tuple[MessageRow, int]]) -> None:
        if not sizes:
            return
        upserts = [Upsert(row.id, size=size, size_exact=True, known_only=True) for row, size in sizes]
        self._ctx.hubs.refresh(folder.key, await self._ctx.store.apply(folder.key, upserts, ()))
        self.measured += len(sizes)
