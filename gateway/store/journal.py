"""Journal rows: work that must be finished or undone at start (invariant 2). Payloads are sealed."""

from __future__ import annotations

from gateway.core.types import AccountId
from gateway.store.api import JournalRow
from gateway.store.crypt import Vault
from gateway.store.db import Connection
from gateway.store.rows import account_key, make_account

PAYLOAD = 64 * 1024  # octets


def check(payload: bytes) -> bytes:
    if len(payload) > PAYLOAD:
        raise ValueError(f"a journal payload has at most {PAYLOAD} octets")
    return payload


def add(db: Connection, vault: Vault, account: AccountId, kind: str, payload: bytes, now: int) -> int:
    sql = "INSERT INTO journal (account, kind, payload, created) VALUES (?, ?, x'', ?) RETURNING id"
    (id,) = db.execute(sql, (make_account(db, account), kind, now)).fetchone()
    update(db, vault, id, payload)
    return int(id)


def update(db: Connection, vault: Vault, id: int, payload: bytes) -> None:
    """A row that is done already stays done."""
    db.execute("UPDATE journal SET payload = ? WHERE id = ?", (vault.seal(payload, f"journal/{id}"), id))


def done(db: Connection, id: int) -> None:
    db.execute("DELETE FROM journal WHERE id = ?", (id,))


def rows(db: Connection, vault: Vault, account: AccountId) -> list[JournalRow]:
    sql = "SELECT id, kind, payload, created FROM journal WHERE account = ? ORDER BY id"
    found = db.execute(sql, (account_key(db, account),)).fetchall()
    return [
        JournalRow(id, account, kind, vault.open(payload, f"journal/{id}"), created)
        for id, kind, payload, created in found
    ]
