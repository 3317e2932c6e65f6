"""The mailbox hierarchy: Graph's folders, their UIDVALIDITY and reserved range (decision 1), subscriptions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.objectid import object_id
from gateway.core.types import AccountId, FolderId, ModSeq
from gateway.store.api import FolderRow, FolderUpsert
from gateway.store.crypt import Vault
from gateway.store.db import Connection
from gateway.store.rows import account_key, folder_field, make_account

COLUMNS = (
    "key, id, parent, name, well_known, hidden, total, unread, uid_validity, uid_next, modseq, reserved,"
    " ready, delta_link, recent_from, synced_at, mailbox_id"
)
TOLD = ("parent", "name", "well_known", "hidden", "total", "unread")
HIERARCHY = "hierarchy-link"


def folders(db: Connection, vault: Vault, account: AccountId) -> list[FolderRow]:
    sql = f"SELECT {COLUMNS} FROM folder WHERE account = ? ORDER BY key"  # noqa: S608
    return [_row(vault, account, row) for row in db.execute(sql, (account_key(db, account),))]


def folder(db: Connection, vault: Vault, account: AccountId, id: FolderId) -> FolderRow | None:
    sql = f"SELECT {COLUMNS} FROM folder WHERE account = ? AND id = ?"  # noqa: S608
    row = db.execute(sql, (account_key(db, account), id)).fetchone()
    return None if row is None else _row(vault, account, row)


def _row(vault: Vault, account: AccountId, row: tuple[Any, ...]) -> FolderRow:
    (
        key, id, parent, name, well_known, hidden, total, unread, validity, uid_next, modseq, reserved, ready,
        link, recent_from, synced_at, mailbox_id,
    ) = row  # fmt: skip
    return FolderRow(
        key, account, id, parent, name, well_known, hidden == 1, total, unread, validity, uid_next,
        ModSeq(modseq), reserved, ready == 1, open_link(vault, link, f"link/{key}"), recent_from,
        synced_at, mailbox_id,
    )  # fmt: skip


def put_folders(
    db: Connection,
    account: AccountId,
    upserts: Sequence[FolderUpsert],
    gone: Sequence[FolderId],
    now: int,
) -> None:
    """`gone` first: their messages, staged rows and tombstones go with them; the account's counter stays."""
    owner = make_account(db, account)
    db.executemany("DELETE FROM folder WHERE account = ? AND id = ?", [(owner, id) for id in gone])
    for upsert in upserts:
        if not _update(db, owner, upsert):
            _insert(db, owner, account, upsert, now)


def _update(db: Connection, owner: int, told: FolderUpsert) -> bool:
    values = [getattr(told, column) for column in TOLD]
    marks = ", ".join(f"{column} = COALESCE(?, {column})" for column in TOLD)
    sql = f"UPDATE folder SET {marks} WHERE account = ? AND id = ?"  # noqa: S608
    return db.execute(sql, (*values, owner, told.id)).rowcount > 0


def _insert(db: Connection, owner: int, account: AccountId, told: FolderUpsert, now: int) -> None:
    validity = _next_uid_validity(db, owner, now)
    reserved = reserve(told.total or 0)
    row = {
        "account": owner, "id": told.id, "parent": told.parent or "", "name": told.name or "",
        "well_known": told.well_known or "", "hidden": int(told.hidden or False), "total": told.total or 0,
        "unread": told.unread or 0, "uid_validity": validity, "uid_next": reserved + 1, "modseq": 1,
        "reserved": reserved, "ready": 0, "recent_from": 1, "synced_at": 0,
        "mailbox_id": object_id("F", f"{account}/{told.id}/{validity}"),
    }  # fmt: skip
    marks = ", ".join("?" * len(row))
    db.execute(f"INSERT INTO folder ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))  # noqa: S608


def reserve(total: int) -> int:
    """R of decision 1: room for what is there now and for what comes until the first sync is done."""
    return total + total // 10 + 1000


def _next_uid_validity(db: Connection, owner: int, now: int) -> int:
    """Above every one ever given in this account, and never below the clock: a store made anew starts higher."""
    (given,) = db.execute(
        "UPDATE account SET uid_validity = MAX(uid_validity + 1, ?) WHERE key = ? RETURNING uid_validity",
        (now, owner),
    ).fetchone()
    return int(given)


# -- delta links: they may hold tokens, so they are sealed --


def seal_link(vault: Vault, link: str, context: str) -> bytes:
    return vault.seal(link.encode(), context) if link else b""


def open_link(vault: Vault, sealed: bytes, context: str) -> str:
    return vault.open(sealed, context).decode() if sealed else ""


def set_link(db: Connection, vault: Vault, key: int, link: str, now: int) -> None:
    folder_field(db, key, "key")
    sealed = seal_link(vault, link, f"link/{key}")
    db.execute("UPDATE folder SET delta_link = ?, synced_at = ? WHERE key = ?", (sealed, now, key))


def link(db: Connection, vault: Vault, key: int) -> str:
    (sealed,) = folder_field(db, key, "delta_link")
    return open_link(vault, sealed, f"link/{key}")


def set_hierarchy_link(db: Connection, vault: Vault, account: AccountId, link: str, now: int) -> None:
    sealed = seal_link(vault, link, f"{HIERARCHY}/{account}")
    db.execute(
        "UPDATE account SET hierarchy_link = ?, hierarchy_at = ? WHERE key = ?",
        (sealed, now, make_account(db, account)),
    )


def hierarchy_link(db: Connection, vault: Vault, account: AccountId) -> str:
    row = db.execute("SELECT hierarchy_link FROM account WHERE name = ?", (account,)).fetchone()
    return open_link(vault, row[0], f"{HIERARCHY}/{account}") if row else ""


# -- subscriptions: by name, also of mailboxes that are gone (RFC 9051 section 6.3.9) --


def subscriptions(db: Connection, account: AccountId) -> set[str]:
    rows = db.execute("SELECT name FROM subscription WHERE account = ?", (account_key(db, account),))
    return {name for (name,) in rows}


def subscribe(db: Connection, account: AccountId, name: str, on: bool) -> None:
    owner = make_account(db, account)
    if on:
        db.execute("INSERT INTO subscription VALUES (?, ?) ON CONFLICT DO NOTHING", (owner, name))
    else:
        db.execute("DELETE FROM subscription WHERE account = ? AND name = ?", (owner, name))


def rename_subscriptions(db: Connection, account: AccountId, source: str, target: str) -> None:
    """`source` and everything below it (`/` is the delimiter) becomes `target`."""
    known = subscriptions(db, account)
    moved = [name for name in known if name == source or name.startswith(source + "/")]
    for name in moved:
        subscribe(db, account, name, False)
    for name in moved:
        subscribe(db, account, target + name[len(source) :], True)
