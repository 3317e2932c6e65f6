"""One gateway per database: an advisory lock on a connection of its own, and a number that fences off whoever lost it.

The lock goes when the process or its connection ends, however that happens. Whoever takes it raises the
number in `fence`; every write of the holder begins by looking at the number under a share lock (`Session.write`),
in the same round trip as BEGIN. So a holder that was cut off from the database and replaced can never write
again, and nothing it has under way can commit after its successor began.
"""

from __future__ import annotations

import threading
from typing import Any

from gateway.store.errors import StoreError
from gateway.store.pgsession import Failed, Session

# Of this program; and of the schema, so that two gateways may share a database in schemas of their own.
LOCK = "SELECT pg_try_advisory_lock(1196246340, hashtext(current_schema()))"


class Guard:
    """`take` once, `release` at the end; `renew` from any thread after a connection was lost."""

    def __init__(self, url: str) -> None:
        self.number = 0
        self.lost = False  # another gateway took over
        self._session = Session(url)
        self._busy = threading.Lock()

    def take(self) -> None:
        """StoreError if another gateway has the database. Failed."""
        if not self._session.wait(lambda db: db.fetchval(LOCK)):
            raise StoreError("the database is in use by another gateway: stop it first")
        self.number = self._session.wait(_raise_fence)

    def renew(self) -> None:
        """After the server was away: have the lock again, unless somebody else has, or had it. Quiet where the
        server is still away: the writes fail by themselves."""
        with self._busy:
            try:
                self._session.wait(lambda db: db.fetchval("SELECT 1"))
                held = self._session.wait(lambda db: db.fetchval(LOCK))  # counts up where it is ours already
                number = self._session.wait(lambda db: db.fetchval("SELECT number FROM fence"))
            except Failed:
                return
            self.lost = not held or number != self.number

    def release(self) -> None:
        self._session.close()


async def _raise_fence(db: Any) -> int:
    return int(await db.fetchval("UPDATE fence SET number = number + 1 RETURNING number"))
