"""Between table rows and the contract's values: one place that knows the order of columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from gateway.core.errors import NoSuchMailbox
from gateway.core.types import Flags, MessageId, SystemFlag
from gateway.store.api import MessageRow, Upsert
from gateway.store.db import Connection

CONTENT = "system, keywords, internal_date, size, size_exact, email_id, thread_id, save_date, etag, modified"
MESSAGE = "uid, id, modseq, " + CONTENT
EXCLUDED = ", ".join(f"excluded.{column}" for column in CONTENT.split(", "))
CONTENT_MARKS = ", ".join("?" * 10)

Content = tuple[int, bytes, int, int, int, str, str, int, str, int]
NEW: Content = (0, b"", 0, 0, 0, "", "", 0, "", 0)


@lru_cache(maxsize=8192)
def flags_of(system: int, keywords: bytes) -> Flags:
    """Few combinations cover a mailbox: rows share one value each."""
    return Flags(SystemFlag(system), frozenset(keywords.split()))


def message_rows(cursor: Iterable[tuple[Any, ...]]) -> list[MessageRow]:
    return [
        MessageRow(
            uid, id, modseq, flags_of(system, words), date, size, exact == 1, email, thread, saved, etag, mod
        )
        for uid, id, modseq, system, words, date, size, exact, email, thread, saved, etag, mod in cursor
    ]  # fmt: skip


def content_of(row: MessageRow) -> Content:
    return (
        int(row.flags.system), keyword_octets(row.flags.keywords), row.internal_date, row.size,
        int(row.size_exact), row.email_id, row.thread_id, row.save_date, row.etag, row.modified,
    )  # fmt: skip


def merge(stored: Content, told: Upsert) -> Content:
    """What is stored, overlaid with what was told. An exact size is never replaced by an estimate, nor a THREADID by
    another (RFC 8474 section 5.2)."""
    flags, size, exact = stored[:2], stored[3], stored[4]
    if told.flags is not None:
        flags = (int(told.flags.system), keyword_octets(told.flags.keywords))
    if told.size is not None and (told.size_exact or not exact):
        size, exact = told.size, int(told.size_exact)
    return (
        *flags,
        _told(told.internal_date, stored[2]),
        size,
        exact,
        _told(told.email_id, stored[5]),
        stored[6] or told.thread_id or "",
        _told(told.save_date, stored[7]),
        _told(told.etag, stored[8]),
        _told(told.modified, stored[9]),
    )


def _told(value: Any, stored: Any) -> Any:
    return stored if value is None else value


def keyword_octets(keywords: Iterable[bytes]) -> bytes:
    return b" ".join(sorted(keywords))


def among(values: Sequence[Any]) -> str:
    """The one parameter of `IN (SELECT value FROM json_each(?))`: any number of ids or UIDs."""
    return json.dumps(values)


def find_messages(db: Connection, folder: int, ids: Sequence[MessageId]) -> dict[MessageId, MessageRow]:
    sql = f"SELECT {MESSAGE} FROM message WHERE folder = ? AND id IN (SELECT value FROM json_each(?))"  # noqa: S608
    return {row.id: row for row in message_rows(db.execute(sql, (folder, among(ids))))}


def account_key(db: Connection, account: str) -> int:
    """0 if nothing was ever written for this account."""
    row = db.execute("SELECT key FROM account WHERE name = ?", (account,)).fetchone()
    return row[0] if row else 0


def make_account(db: Connection, account: str) -> int:
    key = account_key(db, account)
    if not key:
        db.execute("INSERT INTO account (name) VALUES (?) ON CONFLICT DO NOTHING", (account,))
        key = account_key(db, account)
    return key


def folder_field(db: Connection, folder: int, columns: str) -> tuple[Any, ...]:
    """These columns of a folder; NoSuchMailbox if it was removed meanwhile."""
    row = db.execute(f"SELECT {columns} FROM folder WHERE key = ?", (folder,)).fetchone()  # noqa: S608
    if row is None:
        raise NoSuchMailbox("Mailbox no longer exists")
    return tuple(row)
