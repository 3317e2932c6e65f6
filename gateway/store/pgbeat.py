"""What keeps a node among the living: a connection of its own to PostgreSQL, not through a pooler, on which it renews
its row, removes rows of nodes that did not, and listens to what the others say (`nodes.py`).

It runs on the gateway's own loop: a process that is stopped, or does nothing but compute, does not renew. Time is the
database's: nodes need not agree on it. A server that was away proves nothing against anybody, so nobody is declared
dead sooner after its start than after his own last renewal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import asyncpg
import structlog

from gateway.core.errors import Unavailable
from gateway.store.announcing import Speaking
from gateway.store.nodes import Hint
from gateway.store.pgerrors import BROKEN
from gateway.store.pgsession import TELL, connect

RETRY = 0.5  # seconds until a connection that was lost is made anew
NEWS_KEPT = 3600  # seconds: a node that heard nothing for so long has been declared dead
PRUNE_EVERY = 200  # renewals
FIGURES = 1000  # numbers in a hint; what is longer is none of ours

NOW = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
STARTED = "CAST(EXTRACT(EPOCH FROM pg_postmaster_start_time()) * 1000 AS BIGINT)"
OVERDUE = f"id <> $1 AND expires < {NOW} AND {STARTED} + $2 < {NOW}"
JOIN = f"INSERT INTO node (name, expires) VALUES ($1, {NOW} + $2) RETURNING id"  # noqa: S608
RENEW = f"""
WITH me AS (UPDATE node SET expires = {NOW} + $2 WHERE id = $1 RETURNING id)
SELECT (SELECT COUNT(*) FROM me) AS alive, (SELECT COUNT(*) FROM node) AS members,
    EXISTS (SELECT 1 FROM node WHERE {OVERDUE}) AS overdue
"""  # noqa: S608
# A dead node's transaction that is still open keeps its row until the server ends it: others do not wait for that.
BURY = (
    f"DELETE FROM node WHERE id IN (SELECT id FROM node WHERE {OVERDUE} FOR UPDATE SKIP LOCKED) RETURNING id"  # noqa: S608
)
LEAVE = "DELETE FROM node WHERE id = $1"
NAME = "SELECT set_config('application_name', 'graph-mail-gateway node ' || $1, false)"
# A dead node that listens, and does not read what it is told, would make the server keep it all.
SILENCE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'graph-mail-gateway node ' || $1 AND usename = current_user
"""
CLEAN = tuple(
    f"DELETE FROM {table} WHERE node NOT IN (SELECT id FROM node)"  # noqa: S608
    for table in ("share", "watched")
)
PRUNE = f"DELETE FROM news WHERE created * 1000 < {NOW} - {NEWS_KEPT * 1000}"  # noqa: S608
CHANNEL = "SELECT 'gateway.' || current_schema()"
_FAILED = (*BROKEN, asyncpg.PostgresError)

log = structlog.get_logger("gateway.store")


class Ear(Protocol):
    """Who is told, on the loop; none of these waits."""

    def hint(self, numbers: tuple[int, ...]) -> None:
        """As another node sent it."""
        ...

    def gap(self) -> None:
        """Hints may have been lost until now."""
        ...

    def dead(self) -> None:
        """This node was declared dead: nothing of it is written any more until it has joined anew."""
        ...


class Beat:
    """`join` once, `leave` at the end. `lease`: seconds without a renewal after which a node is dead."""

    def __init__(
        self, url: str, speech: Speaking, *, name: str, lease: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.name = name
        self.lease = lease
        self.members = 0
        self.deaths = 0  # how often this node was declared dead
        self.reconnects = 0
        self._url = url
        self._speech = speech
        self._monotonic = monotonic
        self._until = 0.0
        self._ear: Ear | None = None
        self._db: Any = None
        self._cut = asyncio.Event()
        self._lost = False
        self._using = asyncio.Lock()
        self._renewals = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def node(self) -> int:
        return self._speech.node

    @property
    def alive(self) -> bool:
        """By this node's own clock, which began before the database's did: nobody else has declared it dead yet."""
        return not self._lost and self._monotonic() < self._until

    async def join(self, ear: Ear) -> None:
        """Unavailable."""
        self._ear = ear
        try:
            await self._connect()
            await self.rejoin()
        except _FAILED as error:
            raise Unavailable(f"PostgreSQL: {error}") from error
        self._task = asyncio.create_task(self._run(), name="beat")

    async def rejoin(self) -> None:
        """Under a new number. Call it when nothing that was begun under the old one is still under way. Any error of
        the connection's: call again."""
        began = self._monotonic()
        if self._db is None:
            raise OSError("not connected")
        async with self._using, asyncio.timeout(self.lease):
            self._speech.node = await self._db.fetchval(JOIN, self.name, self._milliseconds)
            self._until, self._lost = began + self.lease, False
            await self._db.fetchval(NAME, str(self.node))
            await self._tell_members()

    async def leave(self) -> None:
        """What this node had is free at once. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._until = 0.0
        with suppress(*_FAILED):
            if self._db is not None:
                async with asyncio.timeout(self.lease), self._db.transaction():
                    await self._db.execute(LEAVE, self.node)
                    await self._clean()
        self._drop()

    # -- the loop --

    @property
    def _milliseconds(self) -> int:
        return int(self.lease * 1000)

    async def _run(self) -> None:
        while True:
            try:
                await self._renew()
                await self._wait(self.lease / 5)
            except _FAILED as error:
                log.info("beat failed", error=type(error).__name__)
                await self._pause()
            except Exception:  # ours: who stops renewing is dead
                log.exception("beat failed")
                await self._pause()

    async def _pause(self) -> None:
        self._drop()
        await asyncio.sleep(min(RETRY, self.lease / 10))

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._cut.wait()

    async def _renew(self) -> None:
        if self._db is None or self._cut.is_set():
            self._drop()
            await self._connect()
            self.reconnects += 1
        if self._lost:
            return
        began = self._monotonic()
        async with self._using, asyncio.timeout(self.lease / 2):
            row = await self._db.fetchrow(RENEW, self.node, self._milliseconds)
            self.members = row["members"]
            if not row["alive"]:
                self._die()
                return
            self._until = began + self.lease
            if row["overdue"]:
                await self._bury()
            self._renewals += 1
            if self._renewals % PRUNE_EVERY == 0:
                await self._db.execute(PRUNE)

    def _die(self) -> None:
        self._lost = True
        self.deaths += 1
        log.warning("declared dead by another gateway", node=self.node)
        if self._ear is not None:
            self._ear.dead()

    async def _bury(self) -> None:
        async with self._db.transaction():
            buried = [row["id"] for row in await self._db.fetch(BURY, self.node, self._milliseconds)]
            if not buried:
                return
            log.warning("gateways declared dead", nodes=buried)
            await self._clean()
        for node in buried:
            await self._db.fetch(SILENCE, str(node))
        if self._ear is not None:
            self._ear.hint((Hint.MEMBERS, self.node))  # others hear it by what was said, we do not

    async def _clean(self) -> None:
        for statement in CLEAN:
            await self._db.execute(statement)
        await self._tell_members()

    async def _tell_members(self) -> None:
        await self._db.execute(TELL, f"{Hint.MEMBERS:d} {self.node:d}")

    # -- the connection --

    async def _connect(self) -> None:
        async with asyncio.timeout(self.lease):
            self._db = db = await connect(self._url)
            self._cut = cut = asyncio.Event()
            db.add_termination_listener(lambda _: cut.set())
            if self.node:
                await db.fetchval(NAME, str(self.node))
            await db.add_listener(await db.fetchval(CHANNEL), self._heard)
        if self._ear is not None:
            self._ear.gap()

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with suppress(Exception):
                db.terminate()

    def _heard(self, _db: Any, _pid: int, _channel: str, payload: str) -> None:
        words = payload.split()
        if (
            len(words) < 2
            or len(words) > FIGURES
            or not all(word.isascii() and word.isdigit() for word in words)
        ):
            return
        numbers = tuple(map(int, words))
        if numbers[1] != self.node and self._ear is not None:
            self._ear.hint(numbers)
