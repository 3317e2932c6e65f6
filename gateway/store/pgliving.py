"""Who lives on a database, for an administrator who asks: reads only, and joins nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg

from gateway.core.errors import Unavailable
from gateway.store.pgbeat import NOW
from gateway.store.pgerrors import BROKEN
from gateway.store.pgsession import connect

LIVING = f"""
SELECT id, name, expires - {NOW} AS left,
    (SELECT COUNT(*) FROM lease WHERE lease.node = node.id AND lease.name LIKE 'mailbox/%') AS duties,
    (SELECT COALESCE(SUM(slots), 0) FROM share WHERE share.node = node.id) AS slots,
    (SELECT COUNT(*) FROM journal WHERE journal.node = node.id) AS work
FROM node ORDER BY id
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Living:
    """A gateway. `left`: seconds until others take over unless it shows a sign of life; `duties`: accounts whose
    background work it does; `slots`: calls to Graph it may make at once; `work`: rows of the journal."""

    node: int
    name: str
    left: float
    duties: int
    slots: int
    work: int


async def living(url: str) -> list[Living]:
    """Unavailable; also of a database that no gateway has used yet."""
    try:
        db: Any = await connect(url)
        try:
            rows = await db.fetch(LIVING)
        finally:
            db.terminate()
    except (*BROKEN, asyncpg.PostgresError) as error:
        raise Unavailable(f"PostgreSQL: {error}") from error
    return [
        Living(row["id"], row["name"], row["left"] / 1000, row["duties"], row["slots"], row["work"])
        for row in rows
    ]
