"""Whether Graph's counts of a folder speak of something that we have not heard (contract section 5).

They come for all folders in one request, and are never the answer themselves: they count items that no message list
shows, and late (trap 34). So what counts is what they are beyond our own rows, the surplus. As long as it is the same,
nothing happened, but for what moves no count: that is heard when the folder is opened, or watched.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.mailbox.context import AccountContext
from gateway.store.api import FolderRow
from gateway.store.syncing import Surplus

PATIENCE = (
    180.0  # seconds in which delta may lag behind the counts, or these behind delta (contract section 12)
)

NEVER = float("-inf")


class Tally:
    """Of one folder. The surplus outlives the process."""

    def __init__(self, ctx: AccountContext, key: int) -> None:
        self._ctx = ctx
        self._key = key
        self._judged = NEVER  # when the counts were told that were looked at last, monotonic
        self._doubted = NEVER  # since when they differ though delta tells nothing

    async def begin(self, row: FolderRow) -> None:
        """The folder has just been listed; `row` has the counts told before that."""
        if await self._ctx.store.surplus(self._key) is None:
            await self._ctx.store.put_surplus(self._key, await self._surplus(row))

    async def settle(
        self, row: FolderRow, told: float, synced: float, poll: Callable[[], Awaitable[None]]
    ) -> None:
        """Polls if `row`'s counts, as told at `told`, are not explained by what we have. `synced`: when the folder was
        looked at last."""
        if told <= self._judged:
            return
        surplus = await self._surplus(row)
        known = await self._ctx.store.surplus(self._key)
        if known is None and synced >= told:
            await self._ctx.store.put_surplus(self._key, surplus)
        elif surplus != known:
            await poll()
            await self._judge(await self._surplus(row), known)
        else:
            self._doubted = NEVER
        self._judged = told

    async def _judge(self, surplus: Surplus, known: Surplus | None) -> None:
        now = self._ctx.clock.monotonic()
        if surplus == known:
            self._doubted = NEVER
        elif known is not None and self._doubted == NEVER:
            self._doubted = now
        elif known is None or now - self._doubted > PATIENCE:
            self._doubted = NEVER
            await self._ctx.store.put_surplus(self._key, surplus)

    async def _surplus(self, row: FolderRow) -> Surplus:
        ours = await self._ctx.store.counts(self._key)
        return Surplus(row.total - ours.messages, row.unread - ours.unseen)
