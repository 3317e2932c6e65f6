"""Polling of folders that somebody has open: one delta per folder and interval, however many sessions watch.

Without a public address for Graph's notifications this is how IDLE learns of new mail (contract section 13).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from gateway.core.errors import GatewayError
from gateway.graph.errors import GraphError
from gateway.graph.model import Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.sync import FolderSync

log = structlog.get_logger("gateway.mailbox")


class Watches:
    """The watched folders of one account."""

    def __init__(self, ctx: AccountContext) -> None:
        self._ctx = ctx
        self._watchers: Counter[int] = Counter()
        self._tasks: dict[int, asyncio.Task[None]] = {}

    @contextmanager
    def watch(self, key: int, sync: FolderSync) -> Iterator[None]:
        """While inside, the folder is polled."""
        self._watchers[key] += 1
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._poll(sync))
        try:
            yield
        finally:
            self._watchers[key] -= 1
            if not self._watchers[key]:
                self._tasks.pop(key).cancel()
                del self._watchers[key]

    async def _poll(self, sync: FolderSync) -> None:
        interval = self._ctx.settings.poll_interval
        while True:
            await self._ctx.clock.sleep(max(interval - sync.age(), interval / 10))
            try:
                await sync.poll(max_age=interval * 0.9, priority=Priority.BACKGROUND)
                await sync.compare_if_due()
            except (GraphError, GatewayError) as error:
                log.info("poll failed", error=type(error).__name__)
                await self._ctx.clock.sleep(interval)
            except Exception:
                log.exception("poll failed")
                await self._ctx.clock.sleep(interval)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
