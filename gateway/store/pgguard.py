"""One gateway per database: an advisory lock on a connection of its own, and a number that fences off whoever lost it.

The lock goes when the process or its connection ends, however that happens. Whoever takes it raises the
number in `fence`; every write of the holder begins by looking at the number under a share lock (`Session.write`),
in the same round trip as BEGIN. So a holder that was cut off from the database and replaced can never write
again, and nothing it has under way can commit after its successor began.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import Any

from gateway.store.errors import StoreError
from gateway.store.pgsession import Failed, Session

# Of this program; and of the schema, so that two gateways may share a database in schemas of their own.
LOCK = "SELECT pg_try_advisory_lock(1196246340, hashtext(current_schema()))"


PATIENCE = 3.0  # seconds in which the server sees that a process was killed
LOOK = 15.0  # seconds between two looks at the lock


class Guard:
    """`take` once, `release` at the end. Between them a thread sees to it that the lock is held, for its connection may
    be cut while the writers' are not; `renew` from any other thread after a connection was lost."""

    def __init__(self, url: str, *, look: float = LOOK) -> None:
        self.number = 0
        self.lost = False  # another gateway took over
        self._session = Session(url)
        self._look = look
        self._busy = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="store-guard", daemon=True)

    def take(self) -> None:
        """StoreError if another gateway has the database. Failed."""
        if not self._session.wait(_patiently):
            raise StoreError("the database is in use by another gateway: stop it first")
        self.number = self._session.wait(_raise_fence)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(self._look):
            self.renew()

    def renew(self) -> None:
        """After the server was away: have the lock again, unless somebody else has, or had it. Quiet where the
        server is still away: the writes fail by themselves."""
        with self._busy:
            for _ in range(2):  # the old connection tells at its first use that it is gone
                if self.lost:
                    return
                with suppress(Failed):
                    self._renew()
                    return

    def _renew(self) -> None:
        held = self._session.wait(lambda db: db.fetchval(LOCK))  # counts up where it is ours already
        number = self._session.wait(lambda db: db.fetchval("SELECT number FROM fence"))
        if not held or number != self.number:
            self.lost = True
            self._session.discard()  # the lock is for whoever may write

    def release(self) -> None:
        """Idempotent."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._session.close()


async def _patiently(db: Any) -> bool:
    """Whether the lock was to be had, at once or within `PATIENCE`."""
    until = time.monotonic() + PATIENCE
    while not await db.fetchval(LOCK):
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(0.1)
    return True


async def _raise_fence(db: Any) -> int:
    return int(await db.fetchval("UPDATE fence SET number = number + 1 RETURNING number"))
