"""How old a watched folder may be before Graph is asked: the poll interval, or, while Graph itself tells of changes,
much longer (contract section 13). One per account."""

from __future__ import annotations

import asyncio
from typing import Protocol

PUSHED_INTERVAL = 900.0  # seconds: the safety net below notifications


class Sleeper(Protocol):
    async def sleep(self, seconds: float) -> None: ...


class Freshness:
    """`begin` and `end` say when notifications can be relied on; who waits for the next poll is woken by both."""

    def __init__(self) -> None:
        self.since: float | None = None  # monotonic; None: nobody tells us anything
        self.elsewhere = float("-inf")  # when something happened outside the watched folders, last
        self._possible = False
        self._changed = asyncio.Event()

    def expect(self) -> None:
        """Notifications are configured: sleeping must end when they begin."""
        self._possible = True

    def begin(self, now: float) -> None:
        self.since = now
        self._turn()

    def end(self) -> None:
        if self.since is not None:
            self.since = None
            self._turn()

    def _turn(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def interval(self, polling: float) -> float:
        """Seconds between deltas of a watched folder; `polling` is what they are without notifications."""
        return polling if self.since is None else max(polling, PUSHED_INTERVAL)

    def behind(self, synced: float) -> bool:
        """Whether a folder may have changed between its last sync and its being watched."""
        return self.since is not None and synced < max(self.since, self.elsewhere)

    async def pause(self, clock: Sleeper, seconds: float) -> None:
        """Sleep so long, or until the interval is another."""
        if not self._possible:
            await clock.sleep(seconds)
            return
        tasks = [asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(self._changed.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
