"""SQLite under asyncio: one writer thread that commits in groups, a few readers on snapshots.

Durability: WAL with `synchronous=FULL`. A client may have been told a UID or a mod-sequence as soon as a
write returns, so the commit must outlive a power loss, not only a killed process; NORMAL would lose the last
commits then and give the same UID to another message. Groups pay one sync for all writes that wait together.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from gateway.core.errors import Unavailable
from gateway.store.keyfile import private_folder

T = TypeVar("T")
Connection = sqlite3.Connection
Job = Callable[[Connection], Any]

PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 10000",  # milliseconds; another process may migrate or take a backup
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16384",  # KiB per connection
    "PRAGMA journal_size_limit = 67108864",  # octets a WAL file keeps after a large write
)


class Waiting:
    """A write on its way: the job, and who waits for its result."""

    __slots__ = ("error", "future", "job", "loop", "result")

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
        self.job, self.loop, self.future = job, loop, future
        self.result: Any = None
        self.error: BaseException | None = None

    def deliver(self) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if self.future.done():  # cancelled: the write happened all the same
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Engine:
    """Runs jobs (functions of a connection) against the file at `path`.

    `write`: atomic, serialised, durable when it returns. A caller that is cancelled may still have written.
    `read`: on a consistent snapshot that holds every write that returned before. `work`: CPU off the loop.
    """

    def __init__(self, path: Path, *, readers: int, group: int) -> None:
        self.path = path
        self._readers = readers
        self._group = group
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None
        self._thread: threading.Thread | None = None

    async def start(self, prepare: Job) -> None:
        """Make the file (0600 in a 0700 folder), let `prepare` migrate it, start the threads."""
        self._pool = ThreadPoolExecutor(self._readers, "store-read")
        try:
            writer = await self._call(partial(self._prepare, prepare))
        except BaseException:
            self._pool.shutdown()
            raise
        self._thread = threading.Thread(target=self._run, args=(writer,), name="store-write", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Finish what was asked for, then close. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is None or self._pool is None:
            return
        self._queue.put(None)
        await self._call(thread.join)
        self._pool.shutdown()
        while not self._idle.empty():
            self._idle.get().close()

    async def write(self, job: Callable[[Connection], T], lane: object = None) -> T:
        """There is one lane for all."""
        loop = asyncio.get_running_loop()
        if self._thread is None:
            raise Unavailable("Store is closed")
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(Waiting(job, loop, future))
        return await future

    async def read(self, job: Callable[[Connection], T]) -> T:
        if self._thread is None:
            raise Unavailable("Store is closed")
        return await self._call(partial(self._snapshot, job))

    async def work(self, function: Callable[[], T]) -> T:
        if self._thread is None:
            raise Unavailable("Store is closed")
        return await self._call(function)

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    # -- in threads --

    def _prepare(self, prepare: Job) -> Connection:
        private_folder(self.path.parent)
        # SQLite gives its -wal and -shm files the mode of the database file.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self.path.chmod(0o600)
        writer = self._connect()
        prepare(writer)
        for _ in range(self._readers):
            self._idle.put(self._connect())
        return writer

    def _connect(self) -> Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=256)
        for pragma in PRAGMAS:
            db.execute(pragma)
        return db

    def _snapshot(self, job: Callable[[Connection], T]) -> T:
        db = self._idle.get()
        try:
            db.execute("BEGIN")
            return job(db)
        except sqlite3.OperationalError as error:
            raise Unavailable from error
        finally:
            _roll_back(db)
            self._idle.put(db)

    def _run(self, db: Connection) -> None:
        going = True
        while going:
            group, going = self._gather()
            if group:
                _commit(db, group)
                for waiting in group:
                    waiting.deliver()
        db.close()

    def _gather(self) -> tuple[list[Waiting], bool]:
        """Wait for one write, take along those that wait too."""
        group: list[Waiting] = []
        item = self._queue.get()
        while item is not None:
            group.append(item)
            if len(group) >= self._group:
                return group, True
            try:
                item = self._queue.get_nowait()
            except Empty:
                return group, True
        return group, False


def _commit(db: Connection, group: list[Waiting]) -> None:
    """One transaction for all; a job that fails is undone alone. If the commit fails, all of them failed."""
    try:
        db.execute("BEGIN IMMEDIATE")
        for waiting in group:
            _attempt(db, waiting)
        db.execute("COMMIT")
    except Exception as error:  # disk full, I/O error, locked for too long
        for waiting in group:
            if waiting.error is None:
                waiting.result, waiting.error = None, _translated(error)
    finally:
        _roll_back(db)


def _roll_back(db: Connection) -> None:
    """Whatever is still open. Where SQLite fails at that too, the next BEGIN says so to whoever comes next; the
    writer and the reader must live."""
    with suppress(sqlite3.Error):
        if db.in_transaction:
            db.execute("ROLLBACK")


def _attempt(db: Connection, waiting: Waiting) -> None:
    db.execute("SAVEPOINT job")
    try:
        waiting.result = waiting.job(db)
    except BaseException as error:
        waiting.error = _translated(error)
        db.execute("ROLLBACK TO job")  # fails if SQLite gave up the whole transaction: then all have failed
    db.execute("RELEASE job")


def _translated(error: BaseException) -> BaseException:
    if not isinstance(error, sqlite3.OperationalError):
        return error
    unavailable = Unavailable("Store cannot write, try again")
    unavailable.__cause__ = error
    return unavailable
