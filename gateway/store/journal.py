"""Journal rows: work that must be finished or undone at start (invariant 2). Payloads are sealed."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.types import AccountId
from gateway.store.announcing import Silent
from gateway.store.api import JournalRow
from gateway.store.crypt import Vault
from gateway.store.db import Connection, Engine
from gateway.store.rows import account_key, make_account

PAYLOAD = 64 * 1024  # octets


def check(payload: bytes) -> bytes:
    if len(payload) > PAYLOAD:
        raise ValueError(f"a journal payload has at most {PAYLOAD} octets")
    return payload


def add(
    db: Connection,
    vault: Vault,
    account: AccountId,
    kind: str,
    payload: bytes,
    now: int,
    node: int,
    folder: int,
) -> int:
    (id,) = db.execute(
        "INSERT INTO journal (account, kind, payload, created, node, folder) VALUES (?, ?, x'', ?, ?, ?)"
        " RETURNING id",
        (make_account(db, account), kind, now, node, folder),
    ).fetchone()
    update(db, vault, id, payload)
    return int(id)


def update(db: Connection, vault: Vault, id: int, payload: bytes) -> None:
    """A row that is done already stays done."""
    db.execute("UPDATE journal SET payload = ? WHERE id = ?", (vault.seal(payload, f"journal/{id}"), id))


def done(db: Connection, id: int) -> None:
    db.execute("DELETE FROM journal WHERE id = ?", (id,))


def claim(db: Connection, account: AccountId, node: int) -> None:
    db.execute(
        "UPDATE journal SET node = ? WHERE account = ? AND node <> ? AND node NOT IN (SELECT id FROM node)",
        (node, account_key(db, account), node),
    )


def rows(db: Connection, vault: Vault, account: AccountId, node: int) -> list[JournalRow]:
    sql = "SELECT id, kind, payload, created, node <> ? FROM journal WHERE account = ? ORDER BY id"
    found = db.execute(sql, (node, account_key(db, account))).fetchall()
    return [
        JournalRow(id, account, kind, vault.open(payload, f"journal/{id}"), created, bool(elsewhere))
        for id, kind, payload, created, elsewhere in found
    ]


class JournalJobs:
    """The journal's part of `api.Store`."""

    _engine: Engine
    _vault: Vault
    _clock: Callable[[], float]
    speech: Silent

    async def journal_add(self, account: AccountId, kind: str, payload: bytes, folder: int = 0) -> int:
        payload, now, node = check(payload), int(self._clock()), self.speech.node
        return await self._engine.write(
            lambda db: add(db, self._vault, account, kind, payload, now, node, folder), account
        )

    async def journal_update(self, id: int, payload: bytes) -> None:
        payload = check(payload)
        await self._engine.write(lambda db: update(db, self._vault, id, payload))

    async def journal_done(self, id: int) -> None:
        await self._engine.write(lambda db: done(db, id))

    async def journal(self, account: AccountId) -> list[JournalRow]:
        node = self.speech.node
        return await self._engine.read(lambda db: rows(db, self._vault, account, node))

    async def journal_claim(self, account: AccountId) -> None:
        if node := self.speech.node:
            await self._engine.write(lambda db: claim(db, account, node), account)
