"""Work that one process does at a time, by leases of the database: the first sync of a folder, the walk from its
beginning. What is written inside is refused once the lease is another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from weakref import WeakValueDictionary

from gateway.core.errors import Unavailable
from gateway.store.nodes import Nodes, bound

AGAIN = 2.0  # seconds: whoever waits looks again, also if nobody told that it is his turn


class Exclusive:
    """Of one process. `freed`: told that some lease may be free."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._freed = asyncio.Event()
        self._inside: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._unreleased: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def freed(self) -> None:
        freed, self._freed = self._freed, asyncio.Event()
        freed.set()

    async def close(self) -> None:
        """What is held goes with the process."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        lock = self._inside.setdefault(name, asyncio.Lock())
        await lock.acquire()
        try:
            while (lease := (await self._nodes.leases([name])).get(name)) is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN):
                        await self._freed.wait()
            with bound(lease):
                yield
        finally:
            task = asyncio.get_running_loop().create_task(self._give_back(name, lock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _give_back(self, name: str, lock: asyncio.Lock) -> None:
        """Nobody of this process is inside before it is given back: the lease is not the same afterwards."""
        try:
            await self._nodes.release(name)
            self._unreleased.discard(name)
        except Unavailable:
            self._unreleased.add(name)
        finally:
            lock.release()

    async def busy(self, name: str) -> bool:
        return await self._nodes.taken(name)

    async def retry(self) -> None:
        """Once more, what could not be given back."""
        for name in list(self._unreleased):
            lock = self._inside.setdefault(name, asyncio.Lock())
            if not lock.locked():
                await lock.acquire()
                await self._give_back(name, lock)
