"""One row, another message in Graph: where a copy of ours gives way to Exchange's, the UID stays (`Store.rebind`)."""

from __future__ import annotations

from gateway.core.types import MessageId
from gateway.store.content import forget
from gateway.store.db import Connection
from gateway.store.identity import remember
from gateway.store.rows import find_messages, folder_field

_BY_ID = ("original", "local")  # kept by message, and not sealed under its id


def rebind(db: Connection, folder: int, old: MessageId, new: MessageId) -> bool:
    """See the contract."""
    (account,) = folder_field(db, folder, "account")
    rows = find_messages(db, folder, [old, new])
    if old not in rows or new in rows:
        return False
    row = rows[old]
    sql = "UPDATE message SET id = ?, etag = '', modified = 0 WHERE folder = ? AND uid = ?"
    db.execute(sql, (new, folder, row.uid))
    for table in _BY_ID:
        db.execute(f"DELETE FROM {table} WHERE account = ? AND id = ?", (account, new))  # noqa: S608
        db.execute(f"UPDATE {table} SET id = ? WHERE account = ? AND id = ?", (new, account, old))  # noqa: S608
    forget(db, account, [old])
    db.execute("DELETE FROM facts WHERE account = ? AND id = ?", (account, new))
    db.execute("DELETE FROM pin WHERE account = ? AND id = ?", (account, new))
    remember(db, account, {new: row.email_id})
    return True
