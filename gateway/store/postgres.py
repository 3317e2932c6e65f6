"""The PostgreSQL engine of the store contract: the same jobs and the same numbered migrations as SQLite's, in the
database's own words (`dialect.py`), through asyncpg (`pgsession.py`). Needs the extra `postgres`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from gateway.store import schema
from gateway.store.announcing import Speaking
from gateway.store.crypt import Vault
from gateway.store.dialect import definition
from gateway.store.errors import SchemaTooNew, StoreError
from gateway.store.jobs import TEXT_OCTETS, TOMBSTONES, JobStore, check_key
from gateway.store.nodejobs import NodeJobs
from gateway.store.pgbeat import Beat
from gateway.store.pgengine import PostgresEngine
from gateway.store.pgsession import Session

LEASE = 15.0  # seconds without a sign of life after which a node is dead
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(1196246341, hashtext(current_schema()))"
OWN = (
    "CREATE TABLE IF NOT EXISTS schema_version (number BIGINT NOT NULL)",
    "INSERT INTO schema_version SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM schema_version)",
)


class PostgresStore(JobStore):
    """`url`: `postgresql://user@host/database`, the server itself, not a pooler: prepared statements and locks live in
    connections. `readers`, `writers`: connections at most. Several processes may use one database: each joins with
    `beat`, one more connection, and `nodes` is what they agree by. The rest: `JobStore`."""

    _engine: PostgresEngine
    speech: Speaking

    def __init__(
        self, url: str, *, key: bytes, clock: Callable[[], float], tombstones: int = TOMBSTONES,
        readers: int = 4, writers: int = 4, text_octets: int = TEXT_OCTETS, name: str = "", lease: float = LEASE,
    ) -> None:  # fmt: skip
        speech = Speaking()
        engine = PostgresEngine(url, readers=readers, writers=writers, node=lambda: speech.node)
        super().__init__(engine, key=key, clock=clock, tombstones=tombstones, text_octets=text_octets)
        self.speech = speech
        self.nodes = NodeJobs(engine, lambda: speech.node, speech.hint)
        self.beat = Beat(url, speech, name=name, lease=lease)

    async def open(self) -> None:
        """Also SchemaTooNew, WrongKey. Drops blobs that were never adopted."""
        await self._engine.start(partial(_prepare, vault=self._vault))
        await self._sweep_blobs()

    async def close(self) -> None:
        await self.beat.leave()
        await super().close()


def _prepare(session: Session, vault: Vault) -> None:
    session.wait(_migrate)
    session.write(lambda db: check_key(db, vault), "")


async def _migrate(db: Any) -> None:
    """Bring the schema up to date, each step whole or not at all, one process at a time. SchemaTooNew leaves it
    untouched."""
    if await db.fetchval("SHOW server_encoding") != "UTF8":
        raise StoreError("the database's encoding must be UTF8")
    async with db.transaction():
        await db.execute(ONE_AT_A_TIME)
        for statement in OWN:
            await db.execute(statement)
    present = await db.fetchval("SELECT number FROM schema_version")
    if present > len(schema.MIGRATIONS):
        raise SchemaTooNew(
            f"the store has schema {present}, this program knows {len(schema.MIGRATIONS)}: use a newer program"
        )
    for number in range(present + 1, len(schema.MIGRATIONS) + 1):
        await _step(db, number)


async def _step(db: Any, number: int) -> None:
    async with db.transaction():
        await db.execute(ONE_AT_A_TIME)
        if await db.fetchval("SELECT number FROM schema_version") < number:  # another may have been first
            for statement in schema.MIGRATIONS[number - 1]:
                await db.execute(definition(statement))
            await db.execute("UPDATE schema_version SET number = $1", number)
