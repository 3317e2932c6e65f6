"""The SQLite engine of the store contract: one file, one writer thread, readers on snapshots (`engine.py`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gateway.store.crypt import Vault
from gateway.store.engine import Engine
from gateway.store.jobs import TEXT_OCTETS, TOMBSTONES, JobStore, check_key
from gateway.store.schema import migrate


class SqliteStore(JobStore):
    """`path`: the database file; its folder is made, 0700. `readers`: threads for reads and sealing. `group`: writes
    that one commit may take together. The rest: `JobStore`."""

    _engine: Engine

    def __init__(
        self, path: Path, *, key: bytes, clock: Callable[[], float],
        tombstones: int = TOMBSTONES, readers: int = 2, group: int = 64, text_octets: int = TEXT_OCTETS,
    ) -> None:  # fmt: skip
        engine = Engine(path, readers=readers, group=group)
        super().__init__(engine, key=key, clock=clock, tombstones=tombstones, text_octets=text_octets)

    async def open(self) -> None:
        """Also SchemaTooNew, WrongKey. Drops blobs that were never adopted."""
        await self._engine.start(partial(_prepare, vault=self._vault))
        await self._sweep_blobs()


def _prepare(db: sqlite3.Connection, vault: Vault) -> None:
    migrate(db)
    check_key(db, vault)
