"""The machine's clock, for everything that takes a clock as an argument."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Implements `mailbox.context.Clock`."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
