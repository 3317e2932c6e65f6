"""What is not known yet of a folder's messages: header facts nobody asked for, sizes that are estimates."""

from __future__ import annotations

from gateway.core.types import MessageId, Uid
from gateway.store.api import MessageRow, Undescribed
from gateway.store.db import Connection
from gateway.store.rows import MESSAGE, folder_field, message_rows


def undescribed(db: Connection, folder: int) -> Undescribed:
    (account,) = folder_field(db, folder, "account")
    dates = db.execute("SELECT internal_date FROM message WHERE folder = ? ORDER BY internal_date", (folder,))
    rows = db.execute(
        "SELECT uid, id, internal_date FROM message WHERE folder = ? AND NOT EXISTS"
        " (SELECT 1 FROM facts WHERE facts.account = ? AND facts.id = message.id) AND NOT EXISTS"
        " (SELECT 1 FROM original WHERE original.account = ? AND original.id = message.id)"
        " ORDER BY internal_date, uid",
        (folder, account, account),
    )
    return Undescribed(
        [date for (date,) in dates], [(Uid(uid), MessageId(id), date) for uid, id, date in rows]
    )


def estimated(db: Connection, folder: int, below: int, count: int) -> list[MessageRow]:
    sql = (
        f"SELECT {MESSAGE} FROM message WHERE folder = ? AND uid < ? AND size_exact = 0"  # noqa: S608
        " ORDER BY uid DESC LIMIT ?"
    )
    return message_rows(db.execute(sql, (folder, below, count)))
