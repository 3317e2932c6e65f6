"""Ids that were made a moment ago: a 404 for one of them may be replication lag, not absence (trap 42)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.graph.clock import Clock
from gateway.graph.errors import NotFound

T = TypeVar("T")
LAG = 60.0  # seconds a 404 may be lag
WAITS = (0.25, 0.75, 2.5)  # seconds before each further try
MOST = 1_000  # ids remembered; the oldest go first


class FreshIds:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()

    def add(self, id: str) -> None:
        self._until[id] = self._clock.monotonic() + LAG
        while len(self._until) > MOST:
            self._until.popitem(last=False)

    def __contains__(self, id: str) -> bool:
        return self._until.get(id, 0.0) > self._clock.monotonic()

    async def patient(self, id: str, call: Callable[[], Awaitable[T]]) -> T:
        """`call()`; for a fresh id up to three times more on NotFound (nothing was done then)."""
        for wait in WAITS:
            try:
                return await call()
            except NotFound:
                if id not in self:
                    raise
            await self._clock.sleep(wait)
        return await call()
