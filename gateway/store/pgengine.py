"""PostgreSQL under asyncio: a few writing sessions, a few reading ones, each with a thread of its own.

Writes of one lane (a folder, an account) go through one session in the order of the calls; what else serialises
them, other nodes included, are the locks of `dialect.py`. A transaction that met another one, or whose
connection went before COMMIT, is run again: a job has no effects but its statements.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from gateway.core.errors import Unavailable
from gateway.store.db import Connection
from gateway.store.nodes import Lease, fence
from gateway.store.pgerrors import Verdict
from gateway.store.pgsession import Failed, Session, fenced

T = TypeVar("T")

TRIES = 6  # of a transaction that others were in the way of
RECONNECTS = 2  # how many of them may be for a lost connection: all idle ones die in a restart of the server


class PostgresEngine:
    """`readers`, `writers`: connections at most. `node`: this one's number, 0 for none; what it writes is fenced off
    once it was declared dead, or has lost the lease that the caller runs under (`nodes.fence`)."""

    def __init__(self, url: str, *, readers: int, writers: int, node: Callable[[], int] = lambda: 0) -> None:
        self._url = url
        self._readers = readers
        self._lanes = writers
        self._writing: list[tuple[ThreadPoolExecutor, Session]] = []
        self._idle: SimpleQueue[Session] = SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None
        self._node = node

    async def start(self, prepare: Callable[[Session], None]) -> None:
        """`prepare` migrates. StoreError; Unavailable."""
        self._pool = ThreadPoolExecutor(self._readers, "store-read")
        for _ in range(self._readers):
            self._idle.put(Session(self._url))
        self._writing = [
            (ThreadPoolExecutor(1, "store-write"), Session(self._url)) for _ in range(self._lanes)
        ]
        try:
            await self._call(self._pool, partial(self._prepare, prepare))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Finish what was asked for, then close. Idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._stop, pool)

    async def write(self, job: Callable[[Connection], T], lane: object = None) -> T:
        self._open()
        executor, session = self._writing[hash(lane) % self._lanes]
        return await self._call(executor, partial(self._write, session, job, fence.get()))

    async def read(self, job: Callable[[Connection], T]) -> T:
        return await self._call(self._open(), partial(self._read, job))

    async def work(self, function: Callable[[], T]) -> T:
        return await self._call(self._open(), function)

    def _open(self) -> ThreadPoolExecutor:
        if self._pool is None:
            raise Unavailable("Store is closed")
        return self._pool

    async def _call(self, executor: ThreadPoolExecutor, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, function)

    # -- in threads --

    def _prepare(self, prepare: Callable[[Session], None]) -> None:
        session = self._writing[0][1]
        try:
            prepare(session)
        except Failed as error:
            raise Unavailable(f"PostgreSQL: {error.__cause__ or error}") from error

    def _stop(self, pool: ThreadPoolExecutor) -> None:
        for executor, session in self._writing:
            executor.shutdown()
            session.close()
        pool.shutdown()
        while not self._idle.empty():
            self._idle.get().close()

    def _read(self, job: Callable[[Connection], T]) -> T:
        session = self._idle.get()
        try:
            return self._persist(partial(session.read, job))
        finally:
            self._idle.put(session)

    def _write(self, session: Session, job: Callable[[Connection], T], lease: Lease | None) -> T:
        begin = fenced(self._node(), lease)
        return self._persist(lambda: session.write(job, begin))

    def _persist(self, transaction: Callable[[], T]) -> T:
        reconnects = 0
        for _ in range(TRIES):
            try:
                return transaction()
            except Failed as error:
                last = error
                reconnects += error.verdict is Verdict.LOST
                if error.verdict is Verdict.UNAVAILABLE or reconnects > RECONNECTS:
                    break
        raise Unavailable("Store cannot answer, try again") from last
