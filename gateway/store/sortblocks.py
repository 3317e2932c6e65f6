"""Blocks of sort facts of a folder's messages, sealed: what is in them is the mailbox floor's matter, and it can make
them again at any time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.store.crypt import Vault
from gateway.store.db import Connection


def seal(vault: Vault, folder: int, blocks: Mapping[int, bytes]) -> dict[int, bytes]:
    """CPU only: done before the transaction."""
    return {number: vault.seal(block, _context(folder, number)) for number, block in blocks.items()}


def put(db: Connection, folder: int, sealed: Mapping[int, bytes]) -> None:
    """Insert or replace; nothing if the folder was removed meanwhile."""
    if db.execute("SELECT 1 FROM folder WHERE key = ?", (folder,)).fetchone() is None:
        return
    db.executemany(
        "INSERT INTO sort_block (folder, number, sealed) VALUES (?, ?, ?)"
        " ON CONFLICT (folder, number) DO UPDATE SET sealed = excluded.sealed",
        [(folder, number, block) for number, block in sealed.items()],
    )


def sealed_blocks(db: Connection, folder: int) -> list[tuple[int, bytes]]:
    sql = "SELECT number, sealed FROM sort_block WHERE folder = ? ORDER BY number"
    return db.execute(sql, (folder,)).fetchall()


def open_blocks(vault: Vault, folder: int, rows: Iterable[tuple[int, bytes]]) -> dict[int, bytes]:
    return {number: vault.open(sealed, _context(folder, number)) for number, sealed in rows}


def _context(folder: int, number: int) -> str:
    return f"sort/{folder}/{number}"
