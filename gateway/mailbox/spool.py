"""Where a message on its way in is kept: memory first, then an encrypted temporary file without a name.

One `SpoolBudget` per process bounds the octets of all spools together. It never deadlocks: a spool waits
before it takes its first octet, for as much as its message will need. One that needs more than it announced
(SMTP without SIZE) waits as well, ahead of newcomers; of those a single one at a time may go beyond the
bound, so somebody can always finish.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.core.errors import Unavailable
from gateway.mailbox.sealed import CHUNK, ChunkCipher, new_prefix, sealed_size

MEMORY = 256 * 1024  # octets a spool holds in memory; a multiple of CHUNK
LEAST = 64 * 1024  # octets charged for a message of unknown size at first


class Lease:
    """What one spool has been given. Not to be used by two tasks at once."""

    __slots__ = ("octets",)

    def __init__(self) -> None:
        self.octets = 0


class SpoolBudget:
    """Octets in flight of one process: `limit` in all, beyond it at most one message that is finishing."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._over: Lease | None = None  # who may go beyond the limit
        self._growing: deque[tuple[Lease, int, asyncio.Future[None]]] = deque()
        self._coming: deque[tuple[Lease, int, asyncio.Future[None]]] = deque()

    async def take(self, lease: Lease, octets: int) -> None:
        """Waits, first come first served, those that hold octets already before those that come. A caller
        that is cancelled has taken nothing."""
        queue = self._growing if lease.octets else self._coming
        if self._over is lease or (not queue and self._allows(lease, octets)):
            self._give(lease, octets)
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (lease, octets, granted)
        queue.append(entry)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._return(lease, octets)
            else:
                queue.remove(entry)
                self._serve()
            raise

    def give_back(self, lease: Lease, octets: int | None = None) -> None:
        """So much of what the lease holds, or all. Idempotent."""
        self._return(lease, lease.octets if octets is None else octets)

    def _allows(self, lease: Lease, octets: int) -> bool:
        if self.used + octets <= self.limit:
            return bool(lease.octets) or not self._growing
        if lease.octets:
            return self._over in (None, lease)
        return not self.used  # a message larger than the budget goes alone

    def _give(self, lease: Lease, octets: int) -> None:
        self.used += octets
        lease.octets += octets
        if self.used > self.limit:
            self._over = lease

    def _return(self, lease: Lease, octets: int) -> None:
        self.used -= octets
        lease.octets -= octets
        if self._over is lease and not lease.octets:
            self._over = None
        self._serve()

    def _serve(self) -> None:
        """Let go on who may, from the head of each queue."""
        for queue in (self._growing, self._coming):
            while queue and self._allows(queue[0][0], queue[0][1]):
                lease, octets, granted = queue.popleft()
                self._give(lease, octets)
                granted.set_result(None)


class MailSpool:
    """Implements `api.Spool`. `expected`: octets announced (IMAP literal, SMTP SIZE), 0 if unknown.

    Beyond `memory` octets everything goes to the file, sealed with a key that is never written anywhere.
    `beside`: a spool of the same command. They hold one lease: a command that has some octets and waits for room for
    more goes ahead of newcomers, like a message that grows.
    """

    def __init__(
        self, budget: SpoolBudget, expected: int = 0, *, memory: int = MEMORY, beside: MailSpool | None = None
    ) -> None:
        self._budget = budget
        self._expected = expected
        self._memory = memory
        self._lease: Lease = Lease() if beside is None else beside._lease
        self._charged = 0  # octets of the lease that are this spool's
        self._size = 0
        self._tail = bytearray()  # not in the file yet
        self._file: TemporaryFile | None = None
        self._cipher = ChunkCipher(os.urandom(32), new_prefix(), b"spool")
        self._chunks = 0  # in the file, all of full length
        self._closed = False
        self._keepers = 0
        self._unwanted = False  # closed by whoever made it, but kept

    @property
    def size(self) -> int:
        return self._size

    async def write(self, data: bytes) -> None:
        """Waits for the budget. Unavailable if the disk is full."""
        await self._charge(self._size + len(data))
        if self._closed:
            self._uncharge()
            raise ValueError("the spool is closed")
        self._tail += data
        self._size += len(data)
        if len(self._tail) > self._memory:
            await self._spill()

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        if self._closed:
            raise ValueError("the spool is closed")
        stop, filed = self._size if end is None else end, self._chunks * CHUNK
        tail = bytes(self._tail[max(0, start - filed) : max(0, stop - filed)])
        if self._file is None or start >= filed:
            return tail
        return self._cipher.read(self._read_at, filed, start, min(stop, filed)) + tail

    @contextmanager
    def kept(self) -> Iterator[None]:
        self._keepers += 1
        try:
            yield
        finally:
            self._keepers -= 1
            if self._unwanted and not self._keepers:
                self._end()

    async def close(self) -> None:
        if self._keepers:
            self._unwanted = True
        else:
            self._end()

    def _end(self) -> None:
        self._closed = True
        self._tail = bytearray()
        file, self._file = self._file, None
        if file is not None:
            file.close()
        self._uncharge()

    async def _charge(self, size: int) -> None:
        """Before the first octet for the whole message, later only for what was not announced."""
        wanted = size if self._charged else max(size, self._expected, LEAST)
        if wanted > self._charged:
            more = wanted - self._charged
            await self._budget.take(self._lease, more)
            self._charged += more

    def _uncharge(self) -> None:
        charged, self._charged = self._charged, 0
        self._budget.give_back(self._lease, charged)

    async def _spill(self) -> None:
        """Full chunks go to the file; written off the loop, for a disk may be slow."""
        count = len(self._tail) // CHUNK
        octets, first = bytes(self._tail[: count * CHUNK]), self._chunks
        if not count:
            return
        try:
            if self._file is None:
                self._file = TemporaryFile()
            await asyncio.to_thread(self._append, self._file, octets, first)
        except OSError as error:
            raise Unavailable("No room for the message, try again later") from error
        del self._tail[: count * CHUNK]
        self._chunks += count

    def _append(self, file: TemporaryFile, octets: bytes, first: int) -> None:
        """In a thread, and to its place: a write that was cancelled and comes again does no harm."""
        file.write(b"".join(self._cipher.seal_all(octets, first)), sealed_size(first * CHUNK))

    def _read_at(self, offset: int, octets: int) -> bytes:
        return b"" if self._file is None else self._file.read(octets, offset)


class TemporaryFile:
    """A file without a name. The lock keeps `close` away from a write that still runs in its thread: the
    descriptor's number might belong to another file by then."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # closed in `close`
        self._lock = threading.Lock()

    def write(self, data: bytes, offset: int) -> None:
        """All of it, or OSError. Nothing is written once the file is closed."""
        rest = memoryview(data)
        with self._lock:
            while rest and not self._file.closed:
                done = os.pwrite(self._file.fileno(), rest, offset)
                rest, offset = rest[done:], offset + done

    def read(self, octets: int, offset: int) -> bytes:
        """ValueError once the file is closed."""
        with self._lock:
            return os.pread(self._file.fileno(), octets, offset)

    def close(self) -> None:
        with self._lock:
            self._file.close()
