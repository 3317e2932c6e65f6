"""How much was sent within this hour and this day of the clock, for as long as it counts.

The contract is `Quotas`; `mailbox` and `smtp` say whose quota it is and how much it allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.store.db import Connection, Engine

_FORGOTTEN = 7 * 86_400  # seconds after which a span that nobody asked about is dropped
_SPAN = """
INSERT INTO quota (name, span, began, used) VALUES (?, ?, ?, 0) ON CONFLICT (name, span) DO UPDATE
SET used = CASE WHEN quota.began = excluded.began THEN quota.used ELSE 0 END, began = excluded.began
"""
_ADD = "UPDATE quota SET used = CASE WHEN used + ? > 0 THEN used + ? ELSE 0 END WHERE name = ? AND span = ?"


class Quotas(Protocol):
    async def take_quota(self, key: str, spans: Sequence[tuple[int, int]], count: int) -> bool:
        """Whether `count` more fit into each of these (seconds, most), aligned to 1970; if so they are counted, in all
        or none. 0 asks whether one more would fit and counts nothing, a negative number gives back and is always
        True."""
        ...


def take(db: Connection, key: str, spans: Sequence[tuple[int, int]], count: int, now: int) -> bool:
    db.execute("DELETE FROM quota WHERE began < ?", (now - _FORGOTTEN,))
    for span, _ in spans:  # held until the commit: whoever comes next counts on
        db.execute(_SPAN, (key, span, now - now % span))
    if count >= 0 and any(_used(db, key, span) + max(count, 1) > most for span, most in spans):
        return False
    for span, _ in spans:
        db.execute(_ADD, (count, count, key, span))
    return True


def _used(db: Connection, key: str, span: int) -> int:
    (used,) = db.execute("SELECT used FROM quota WHERE name = ? AND span = ?", (key, span)).fetchone()
    return int(used)


class QuotaJobs:
    """The methods of `Quotas`, for `jobs.JobStore`."""

    _engine: Engine

    def _now(self) -> int:
        raise NotImplementedError

    async def take_quota(self, key: str, spans: Sequence[tuple[int, int]], count: int) -> bool:
        now = self._now()
        return await self._engine.write(lambda db: take(db, key, spans, count, now))
