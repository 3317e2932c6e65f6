"""Durable originals (decision 9): sealed chunks under a keyed content address, referred to by messages.

A blob lives while a message or a submission refers to it, and a while longer: `put_blob` comes before the message
exists, its address waits in a journal row. `sweep` drops blobs that nobody refers to only if they were last put longer
ago than the grace time and well before the oldest journal row, so that no unfinished APPEND can lose its octets.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.types import AccountId, MessageId
from gateway.store.crypt import Vault
from gateway.store.db import Connection
from gateway.store.errors import StoreError
from gateway.store.rows import account_key, among, make_account

CHUNK = 1024 * 1024  # octets before sealing
HEAD_START = 24 * 3600  # seconds a blob may be put before the journal row that holds its address


def seal_chunks(vault: Vault, address: bytes, data: bytes) -> list[bytes]:
    """CPU only: done before the transaction. An empty blob has no chunk."""
    pieces = (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))
    return [vault.seal(piece, context(address, number)) for number, piece in enumerate(pieces)]


def open_chunks(vault: Vault, address: bytes, sealed: Sequence[bytes]) -> bytes:
    return b"".join(vault.open(piece, context(address, number)) for number, piece in enumerate(sealed))


def context(address: bytes, number: int) -> str:
    """What a chunk is sealed with."""
    return f"blob/{address.hex()}/{number}"


def touch(db: Connection, address: bytes, now: int) -> bool:
    """Whether the blob is there already; then it counts as put now."""
    return db.execute("UPDATE blob SET touched = ? WHERE address = ?", (now, address)).rowcount > 0


def put(db: Connection, address: bytes, size: int, sealed: Sequence[bytes], now: int) -> None:
    if touch(db, address, now):
        return
    db.execute("INSERT INTO blob (address, size, touched) VALUES (?, ?, ?)", (address, size, now))
    db.executemany(
        "INSERT INTO chunk (address, number, sealed) VALUES (?, ?, ?)",
        [(address, number, piece) for number, piece in enumerate(sealed)],
    )


def chunks(db: Connection, address: bytes) -> list[bytes] | None:
    if db.execute("SELECT 1 FROM blob WHERE address = ?", (address,)).fetchone() is None:
        return None
    rows = db.execute("SELECT sealed FROM chunk WHERE address = ? ORDER BY number", (address,))
    return [piece for (piece,) in rows]


def address_of(db: Connection, account: AccountId, id: MessageId) -> bytes | None:
    sql = "SELECT address FROM original WHERE account = ? AND id = ?"
    row = db.execute(sql, (account_key(db, account), id)).fetchone()
    return row[0] if row else None


def adopt(db: Connection, account: AccountId, id: MessageId, address: bytes) -> None:
    """`id` refers to this blob from now on. Idempotent."""
    if db.execute("SELECT 1 FROM blob WHERE address = ?", (address,)).fetchone() is None:
        raise StoreError("no blob at this address")
    sql = (
        "INSERT INTO original (account, id, address) VALUES (?, ?, ?)"
        " ON CONFLICT (account, id) DO UPDATE SET address = excluded.address"
    )
    db.execute(sql, (make_account(db, account), id, address))


def share(db: Connection, account: AccountId, source: MessageId, target: MessageId) -> None:
    """COPY carries the reference; nothing happens if `source` has none."""
    address = address_of(db, account, source)
    if address is not None:
        adopt(db, account, target, address)


def having(db: Connection, account: AccountId, ids: Sequence[MessageId]) -> set[MessageId]:
    sql = "SELECT id FROM original WHERE account = ? AND id IN (SELECT value FROM json_each(?))"
    return {id for (id,) in db.execute(sql, (account_key(db, account), among(list(ids))))}


def octets(db: Connection) -> int:
    """Of all blobs together, before sealing."""
    (total,) = db.execute("SELECT COALESCE(SUM(size), 0) FROM blob").fetchone()
    return int(total)


def sweep(db: Connection, before: int) -> int:
    """Drop unreferenced blobs last put before `before` and a day before any journal row; returns how many."""
    (oldest,) = db.execute("SELECT MIN(created) FROM journal").fetchone()
    edge = before if oldest is None else min(before, oldest - HEAD_START)
    return db.execute(
        "DELETE FROM blob WHERE touched < ?"
        " AND NOT EXISTS (SELECT 1 FROM original WHERE original.address = blob.address)"
        " AND NOT EXISTS (SELECT 1 FROM submission WHERE submission.blob = blob.address)",
        (edge,),
    ).rowcount
