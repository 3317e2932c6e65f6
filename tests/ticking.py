"""Time as Graph's round trips alone: each request waits for a tick, and the clock ticks when nothing else moves. What
was in flight at each tick then depends on who waits for whom, and not on how fast this machine is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tests.account_world import ALICE, Site

T = TypeVar("T")
STILL = 6  # looks at which nothing moved
LOOK = 0.004


class Ticks:
    """`flights`: how many requests were in flight at each tick."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._waiting: list[asyncio.Event] = []
        self._busy = 0
        self.flights: list[int] = []

    async def sleep(self, seconds: float) -> None:
        del seconds
        arrived = asyncio.Event()
        self._waiting.append(arrived)
        try:
            await arrived.wait()
        finally:
            if arrived in self._waiting:
                self._waiting.remove(arrived)

    def watch(self, engine: Any, name: str) -> None:
        """The store is not still while a job runs."""
        work: Callable[..., Awaitable[Any]] = getattr(engine, name)

        async def counted(*args: Any) -> Any:
            self._busy += 1
            try:
                return await work(*args)
            finally:
                self._busy -= 1

        setattr(engine, name, counted)

    async def until(self, work: Awaitable[T]) -> T:
        """Tick until this is done."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await self._still(task)
            if not task.done():
                self._tick()
        return task.result()

    async def times(self, count: int) -> None:
        """So many ticks; all that comes of them is done."""
        never = asyncio.get_running_loop().create_future()
        for _ in range(count):
            await self._still(never)
            self._tick()
        await self._still(never)

    async def _still(self, task: asyncio.Future[Any]) -> None:
        still = 0
        while still < STILL and not task.done():
            await asyncio.sleep(LOOK)
            under_way = self._site.graph.scheduler(ALICE).in_flight
            still = still + 1 if under_way <= len(self._waiting) and not self._busy else 0

    def _tick(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.flights.append(len(waiting))
        for arrived in waiting:
            arrived.set()

    def release(self) -> None:
        for arrived in self._waiting:
            arrived.set()


@asynccontextmanager
async def ticking(site: Site) -> AsyncIterator[Ticks]:
    """Inside, requests of this site's first user wait for ticks."""
    ticks = Ticks(site)
    for name in ("read", "write", "work"):
        ticks.watch(site.store._engine, name)
    latency = site.outlook.emulator.app._latency
    before, latency._sleep = latency._sleep, ticks.sleep
    await site.outlook.limits(rtt_ms=1)
    try:
        yield ticks
    finally:
        latency._sleep = before
        await site.outlook.limits(rtt_ms=0)
        ticks.release()
