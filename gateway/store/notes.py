"""Annotations of mailboxes and of the account itself (RFC 5464): small values under names, sealed.

They belong to a folder, not to its name: a rename keeps them, and they go when the folder's row goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.types import AccountId
from gateway.store.crypt import Vault
from gateway.store.db import Connection
from gateway.store.rows import account_key, among, folder_field, make_account


def of_folder(db: Connection, vault: Vault, account: AccountId, folder: int | None) -> dict[str, bytes]:
    sql = "SELECT entry, sealed FROM annotation WHERE account = ? AND folder IS ? ORDER BY entry"
    rows = db.execute(sql, (account_key(db, account), folder))
    return {entry: vault.open(sealed, _context(account, folder, entry)) for entry, sealed in rows}


def of_all(
    db: Connection, vault: Vault, account: AccountId, entries: Sequence[str]
) -> dict[int, dict[str, bytes]]:
    sql = (
        "SELECT folder, entry, sealed FROM annotation WHERE account = ? AND folder IS NOT NULL"
        " AND entry IN (SELECT value FROM json_each(?)) ORDER BY folder, entry"
    )
    found: dict[int, dict[str, bytes]] = {}
    for folder, entry, sealed in db.execute(sql, (account_key(db, account), among(entries))):
        found.setdefault(folder, {})[entry] = vault.open(sealed, _context(account, folder, entry))
    return found


def put(
    db: Connection,
    vault: Vault,
    account: AccountId,
    folder: int | None,
    changes: Mapping[str, bytes | None],
) -> None:
    owner = make_account(db, account)
    if folder is not None:
        folder_field(db, folder, "key")
    for entry, value in changes.items():
        db.execute(
            "DELETE FROM annotation WHERE account = ? AND folder IS ? AND entry = ?", (owner, folder, entry)
        )
        if value is not None:
            sealed = vault.seal(value, _context(account, folder, entry))
            octets = len(value) + len(entry)
            db.execute(
                "INSERT INTO annotation (account, folder, entry, octets, sealed) VALUES (?, ?, ?, ?, ?)",
                (owner, folder, entry, octets, sealed),
            )


def octets(db: Connection, account: AccountId) -> int:
    sql = "SELECT COALESCE(SUM(octets), 0) FROM annotation WHERE account = ?"
    (total,) = db.execute(sql, (account_key(db, account),)).fetchone()
    return int(total)


def _context(account: AccountId, folder: int | None, entry: str) -> str:
    """Binds a value to its place."""
    return f"annotation/{account}/{folder or 0}/{entry}"
