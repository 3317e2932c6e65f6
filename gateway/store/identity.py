"""Which EMAILID a message has that is not derived from its Graph id: a copy inherits its source's, changed content
has a new one (RFC 8474 section 5.1, decision 13).

Kept by immutable id beside the rows, because a row ends when Outlook moves the message to another folder: the row that
begins there must not go back to the id of the original content, under which other octets may be known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.objectid import object_id
from gateway.core.types import MessageId
from gateway.store.db import Connection
from gateway.store.rows import among


def native(id: MessageId) -> str:
    """The EMAILID of a message that was never copied or changed."""
    return object_id("M", id)


def known(db: Connection, account: int, ids: Sequence[MessageId]) -> dict[MessageId, str]:
    """Of these messages the EMAILIDs that are not native. `account` is the store's own key."""
    sql = "SELECT id, email_id FROM identity WHERE account = ? AND id IN (SELECT value FROM json_each(?))"
    return dict(db.execute(sql, (account, among(ids))).fetchall()) if ids else {}


def remember(db: Connection, account: int, identities: Mapping[MessageId, str]) -> None:
    db.executemany(
        "INSERT INTO identity (account, id, email_id) VALUES (?, ?, ?)"
        " ON CONFLICT (account, id) DO UPDATE SET email_id = excluded.email_id",
        [(account, id, email_id) for id, email_id in identities.items()],
    )
