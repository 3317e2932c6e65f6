"""Bodies near at hand: memory by least recent use within a byte budget, over an optional encrypted disk tier.

Owner: the process. Entries are never invalidated: a key names one content for ever (EMAILID changes with it),
so an entry only ever falls out. Bounds: `memory` octets in memory, `disk` octets on disk, OPEN_FILES open
descriptors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache

from gateway.graph.throttle import Urgency, urgency
from gateway.mailbox.disktier import DiskTier, FileBody
from gateway.mailbox.rendering import OFF_LOOP
from gateway.mailbox.values import Body
from gateway.mailbox.work import whole
from gateway.mime.part import Part, scan
from gateway.store.errors import Damaged

OPEN_FILES = 32  # large bodies held open with their structure: clients read them in many partial FETCHes
PART_OCTETS = 600  # what one `Part` costs in memory, roughly
ENTRY_OCTETS = 500  # what an entry costs besides

Fetch = Callable[[], Awaitable[bytes]]


class MemoryBody:
    """Implements `api.Body` on octets in memory."""

    def __init__(self, raw: bytes, part: Part | None = None) -> None:
        self._raw = raw
        self._part = part

    @property
    def size(self) -> int:
        return len(self._raw)

    @property
    def part(self) -> Part:
        if self._part is None:
            self._part = scan(self._raw)
        return self._part

    def read(self, start: int, end: int) -> bytes:
        return self._raw[max(0, start) : max(0, end)]

    def cost(self) -> int:
        """Octets held, the structure included."""
        return len(self._raw) + ENTRY_OCTETS + PART_OCTETS * _count(self.part)


@dataclass(slots=True)
class Flight:
    """A body on its way: fetched once, for all who wait. `haste`: of one that began in the background."""

    task: asyncio.Task[Body]
    haste: Urgency | None = None
    waiting: int = 0


class BodyCache:
    """`memory`, `disk`: budgets in octets. Bodies above `spool_above` octets are kept on disk only, if there
    is a disk tier (`folder`); without one they may take a quarter of the memory. `key`: the state key."""

    def __init__(
        self, *, memory: int, spool_above: int, folder: Path | None = None, disk: int = 0, key: bytes = b""
    ) -> None:  # fmt: skip
        self._memory: LRUCache[str, MemoryBody] = LRUCache(memory, getsizeof=MemoryBody.cost)
        self._files: LRUCache[str, FileBody] = LRUCache(OPEN_FILES)
        self._disk = DiskTier(folder, disk, key) if folder is not None else None
        self._spool_above = spool_above
        self._flights: dict[str, Flight] = {}
        self.hits = 0
        self.disk_hits = 0
        self.misses = 0

    @property
    def memory_octets(self) -> int:
        return int(self._memory.currsize)

    @property
    def disk_octets(self) -> int:
        return self._disk.octets if self._disk is not None else 0

    @property
    def window(self) -> int:
        """Octets that may be fetched before they are asked for, and will be here still when they are."""
        return min(self._spool_above, int(self._memory.maxsize) // 16)

    async def get_or_fetch(
        self, key: str, fetch: Fetch, *, keep: Callable[[bytes], bool] = lambda raw: True, waited: bool = True
    ) -> Body:  # fmt: skip
        """The body, from memory, disk or `fetch`, which runs once however many ask at the same time. What
        `keep` refuses (placeholders) is given to those who wait and forgotten. `fetch`'s errors go to all of
        them. `waited`: somebody waits for it, and lifts what was begun by one who did not.

        A caller that is cancelled disturbs nobody; when the last one is gone, the fetch is cancelled.
        """
        held = self.held(key)
        if held is not None:
            return held
        flight = self._flights.get(key)
        if flight is None:
            haste = None if waited else Urgency()
            task = asyncio.create_task(self._fly(key, fetch, keep, haste))
            flight = self._flights[key] = Flight(task, haste)
            task.add_done_callback(lambda _: self._landed(key, flight))
        elif waited and flight.haste is not None:
            flight.haste.lift()
        return await self._wait(key, flight)

    def held(self, key: str) -> Body | None:
        """The body, if it takes no waiting."""
        body = self._held(key)
        self.hits += body is not None
        return body

    def in_memory(self, key: str) -> bool:
        return key in self._memory or key in self._files

    def has(self, key: str) -> bool:
        """Whether the body is here, in memory or on disk."""
        return (
            key in self._memory
            or key in self._files
            or (self._disk is not None and self._disk.known(self._disk.name(key)))
        )

    def _held(self, key: str) -> Body | None:
        return self._memory.get(key) or self._files.get(key)

    async def _wait(self, key: str, flight: Flight) -> Body:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._landed(key, flight)  # whoever asks from now on starts anew
                flight.task.cancel()

    def _landed(self, key: str, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _fly(
        self, key: str, fetch: Fetch, keep: Callable[[bytes], bool], haste: Urgency | None
    ) -> Body:
        urgency.set(haste)
        return await self._load(key, fetch, keep)

    async def _load(self, key: str, fetch: Fetch, keep: Callable[[bytes], bool]) -> Body:
        body = await self._from_disk(key)
        if body is not None:
            self.disk_hits += 1
            return body
        self.misses += 1
        raw = await fetch()
        return await self._keep(key, raw) if keep(raw) else MemoryBody(raw)

    async def _from_disk(self, key: str) -> Body | None:
        if self._disk is None or not self._disk.known(name := self._disk.name(key)):
            return None
        try:
            body, raw = await asyncio.to_thread(self._disk.read, name)
        except (OSError, Damaged):
            self._disk.forget(name)
            return None
        return self._hold(key, raw, body.part, body)

    async def _keep(self, key: str, raw: bytes) -> Body:
        disk = self._disk
        if disk is not None and disk.fits(len(raw)):
            try:
                body = await whole(self._write(disk, disk.name(key), raw))
            except OSError:  # the disk is full: the memory tier goes on alone
                pass
            else:
                return self._hold(key, raw, body.part, body)
        part = await asyncio.to_thread(scan, raw) if len(raw) >= OFF_LOOP else scan(raw)
        return self._hold(key, raw, part, None)

    async def _write(self, disk: DiskTier, name: str, raw: bytes) -> FileBody:
        """To its end, whoever still waits: a thread cannot be stopped, and its file must be in the budget."""
        body = await asyncio.to_thread(disk.write, name, raw)
        disk.kept(name, len(raw))
        return body

    def _hold(self, key: str, raw: bytes, part: Part, file: FileBody | None) -> Body:
        """Large bodies by their file, others by their octets."""
        if file is not None and len(raw) > self._spool_above:
            self._files[key] = file
            return file
        body = MemoryBody(raw, part)
        room = self._memory.maxsize if len(raw) <= self._spool_above else self._memory.maxsize // 4
        if body.cost() <= room:
            self._memory[key] = body
        return body


def _count(part: Part) -> int:
    return 1 + sum(_count(child) for child in part.children)
