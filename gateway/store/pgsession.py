"""One connection to PostgreSQL with the face of `db.Connection`: a job runs in a thread, and each statement drives
the session's own small event loop until asyncpg has the answer.

So the jobs are the same functions for both engines, no statement crosses between threads, and the gateway's loop
never waits for the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar

import asyncpg

from gateway.core.errors import Unavailable
from gateway.store import dialect
from gateway.store.db import Connection
from gateway.store.nodes import Lease
from gateway.store.pgerrors import Verdict, verdict

T = TypeVar("T")

CONNECT = 10.0  # seconds
COMMAND = 60.0  # seconds for one statement, then the connection is given up
SETTINGS = {
    "application_name": "graph-mail-gateway",
    "statement_timeout": "55000",  # milliseconds
    "lock_timeout": "10000",
    "idle_in_transaction_session_timeout": "20000",  # who hangs with a folder's lock loses it
    "tcp_keepalives_idle": "30",  # seconds: a node that vanished frees its locks within a minute
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
# Weaker than this a client could be told a UID that a crash of the database takes back; what is stronger stays.
DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"
TELL = "SELECT pg_notify('gateway.' || current_schema(), $1)"


class Failed(Exception):
    """A transaction did not take place. `verdict`: what may be done about it; the cause is the database's error."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict


class Fenced(Unavailable):
    """Another node has declared this one dead, or has taken the lease that the work depends on (`nodes.py`)."""


def fenced(node: int, lease: Lease | None) -> str:
    """What a writing transaction begins with: a look, under a share lock, whether this node still lives, and still has
    the lease. Who declares it dead, or takes the lease, waits for those that have looked; those that look later see
    it. Renewing the row is not in the way."""
    if not node:
        return ""
    if lease is None:
        return f"; SELECT 1 FROM node WHERE id = {node:d} FOR KEY SHARE"  # noqa: S608
    held = f"lease.id = {lease.id:d} AND lease.node = {node:d} AND lease.number = {lease.number:d}"
    return f"; SELECT 1 FROM node, lease WHERE node.id = {node:d} AND {held} FOR KEY SHARE OF node FOR SHARE OF lease"  # noqa: S608


class Session:
    """Connects when it is first used, and anew after the connection was lost. One thread at a time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.SelectorEventLoop()
        self._db: Any = None
        self._prepared: dict[str, Any] = {}

    def read(self, job: Callable[[Connection], T]) -> T:
        """On one snapshot. Failed, Unavailable, and what the job raises."""
        return self._transaction(job, READ, writing=False)

    def write(self, job: Callable[[Connection], T], fence: str) -> T:
        """`fence`: as `fenced` has it. Failed: nothing was written. Unavailable: it may have been (the answer to
        COMMIT is missing). Fenced."""
        return self._transaction(job, WRITE + fence, writing=True)

    def wait(self, call: Callable[[Any], Awaitable[T]]) -> T:
        """One call outside of transactions. Failed."""
        try:
            return self._wait(call)
        except Exception as error:
            raise self._failed(error) or error from error

    def close(self) -> None:
        """Idempotent; the session is not used afterwards."""
        if not self._loop.is_closed():
            self.discard()
            self._loop.close()

    def discard(self) -> None:
        """Drop the connection; the server rolls back what is open."""
        db, self._db = self._db, None
        self._prepared.clear()
        if db is not None:
            with suppress(Exception):
                db.terminate()
            self._loop.run_until_complete(asyncio.sleep(0))

    # -- transactions --

    def _transaction(self, job: Callable[[Connection], T], begin: str, *, writing: bool) -> T:
        try:
            status = self._wait(lambda db: db.execute(begin))
            if status == "SELECT 0":
                self._roll_back()
                raise Fenced("Another gateway has taken over")
            face = Face(self, writing)
            result = job(face)
        except BaseException as error:
            failed = self._failed(error)
            self._roll_back()
            if failed is None:
                raise
            raise failed from error
        if writing:
            self._commit(face.notes)
        else:
            self._roll_back()
        return result

    def _commit(self, notes: Sequence[str]) -> None:
        """With what other nodes are to hear, in the same round trip."""
        said = "".join(f"{TELL.replace('$1', repr(note))}; " for note in notes)
        try:
            status = self._wait(lambda db: db.execute(said + "COMMIT"))
        except BaseException as error:
            failed = self._failed(error)
            self.discard()
            if failed is not None and failed.verdict is Verdict.AGAIN:
                raise failed from error
            raise Unavailable("Store cannot write, try again") from error
        if status != "COMMIT":  # a job hid an error: the server rolled back
            raise RuntimeError("a transaction that failed was committed")

    def _roll_back(self) -> None:
        if self._db is None:
            return
        try:
            self._wait(lambda db: db.execute("ROLLBACK"))
        except Exception:
            self.discard()

    def _failed(self, error: BaseException) -> Failed | None:
        """None: not the database's matter. Drops the connection if it is of no use any more."""
        found = verdict(error)
        if found is Verdict.LOST:
            self.discard()
        return None if found is None else Failed(found)

    # -- statements --

    def fetch(self, sql: str, parameters: Any, writing: bool) -> tuple[list[tuple[Any, ...]], str]:
        text, names = dialect.statement(sql, writing)
        values = [parameters[name] for name in names] if names else parameters

        async def call(db: Any) -> tuple[list[tuple[Any, ...]], str]:
            statement = await self._statement(db, text)
            rows = [tuple(row) for row in await statement.fetch(*values)]
            return rows, statement.get_statusmsg()

        return self._wait(call)

    def fetch_many(self, sql: str, parameters: Iterable[Any], writing: bool) -> None:
        text, _ = dialect.statement(sql, writing)
        values = list(parameters)

        async def call(db: Any) -> None:
            await (await self._statement(db, text)).executemany(values)

        if values:
            self._wait(call)

    async def _statement(self, db: Any, text: str) -> Any:
        """Prepared once per connection: the store's statements are a fixed set."""
        if text not in self._prepared:
            self._prepared[text] = await db.prepare(text)
        return self._prepared[text]

    def _wait(self, call: Callable[[Any], Awaitable[T]]) -> T:
        return self._loop.run_until_complete(self._call(call))

    async def _call(self, call: Callable[[Any], Awaitable[T]]) -> T:
        if self._db is None:
            self._db = await connect(self._url)
        return await call(self._db)


async def connect(url: str) -> Any:
    """A connection with our settings."""
    db = await asyncpg.connect(
        url, timeout=CONNECT, command_timeout=COMMAND, statement_cache_size=0, server_settings=SETTINGS
    )
    try:
        # Every numeric value here is a sum of integers.
        await db.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=int, format="text")
        await db.execute(DURABLE)
    except BaseException:
        db.terminate()
        raise
    return db


class Face:
    """`db.Connection` within one transaction. `notes`: said to other nodes when it commits, numbers and spaces only."""

    __slots__ = ("_session", "_writing", "notes")

    def __init__(self, session: Session, writing: bool) -> None:
        self._session, self._writing = session, writing
        self.notes: list[str] = []

    def execute(self, sql: str, parameters: Any = (), /) -> Answer:
        return Answer(*self._session.fetch(sql, parameters, self._writing))

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Answer:
        self._session.fetch_many(sql, parameters, self._writing)
        return Answer([], "")


class Answer:
    """`db.Cursor`: rows that are here already."""

    __slots__ = ("_rows", "_status")

    def __init__(self, rows: list[tuple[Any, ...]], status: str) -> None:
        self._rows: Iterator[tuple[Any, ...]] = iter(rows)
        self._status = status

    @property
    def rowcount(self) -> int:
        """From the command tag ("UPDATE 3"); -1 where it tells none."""
        count = self._status.rpartition(" ")[2]
        return int(count) if count.isdigit() else -1

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return next(self._rows)
