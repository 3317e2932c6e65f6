"""How long an answer takes: a round trip per HTTP request, a service time per inner request, a time per item.

The figures live in `world.limits` (`rtt_ms`, `service_ms`, `item_us`, `drip_ms`), so `POST limits` changes them
while the emulator runs. Zero costs nothing, not even a pass through the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

Sleep = Callable[[float], Awaitable[object]]


class Latency:
    def __init__(self, limits: Mapping[str, float], sleep: Sleep = asyncio.sleep) -> None:
        self._limits = limits
        self._sleep = sleep

    async def travel(self) -> None:
        """Once per HTTP request, a batch included."""
        await self._pause(self._limits["rtt_ms"] / 1e3)

    async def serve(self) -> None:
        """Once per Graph request, for each one inside a batch."""
        await self._pause(self._limits["service_ms"] / 1e3)

    async def items(self, count: int) -> None:
        """For the items of one page."""
        await self._pause(count * self._limits["item_us"] / 1e6)

    async def drip(self) -> None:
        """Before each chunk of a streamed body (`$value`): the slow answer of contract section 8."""
        await self._pause(self._limits["drip_ms"] / 1e3)

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await self._sleep(seconds)
