"""A clock that moves when the test says so: whoever sleeps wakes in the order of his time."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class VirtualClock:
    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        awake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), awake))
        await awake

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, waking sleepers on the way and letting them run."""
        end = self.now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, awake = heapq.heappop(self._sleepers)
            self.now = max(self.now, at)
            if not awake.done():
                awake.set_result(None)
            await settle()
        self.now = end
        await settle()


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)
