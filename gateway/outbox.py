"""What `gateway queue` does: look at the outbox, hasten what waits, take out what is not to be sent.

It works on the store, beside a gateway that runs: nothing is changed but what no running gateway works on. A gateway
sees the changes within a minute."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.config import Config
from gateway.core.types import AccountId
from gateway.database import OpenError, open_store
from gateway.mailbox.clock import SystemClock
from gateway.mailbox.context import ALONE
from gateway.mailbox.sending.record import GIVEN_UP, LEASE, TAKEN, Record, Work
from gateway.store.api import Store
from gateway.store.errors import StoreError
from gateway.store.keyfile import load_or_create_key
from gateway.store.outgoing import SubmissionRow
from gateway.store.statelock import StateLock

_TOOL = "gateway queue"  # as the holder of a row


class OutboxError(Exception):
    """One line: why it cannot be done."""


@dataclass(slots=True)
class Outbox:
    """`alone`: no gateway works on this store now."""

    store: Store
    alone: bool
    clock: SystemClock

    async def listed(self) -> list[dict[str, Any]]:
        """What is accepted and not sent, in the order of each mailbox."""
        return [_facts(row, _work(row)) for row in await self._rows()]

    async def shown(self, queue_id: str) -> dict[str, Any]:
        row = await self._row(queue_id)
        work = _work(row)
        envelope = work.envelope if work is not None else None
        more = {
            "recipients": list(envelope.recipients) if envelope else [],
            "message_id": work.message_id if work else "",
            "draft": bool(work and work.draft),
            "holder": row.holder if row.lease >= self.clock.time() else "",
        }
        return _facts(row, work) | more

    async def hasten(self, queue_id: str = "") -> int:
        """That one, or all, to be tried at once; how many. Each mailbox's order stays."""
        if queue_id:
            row = await self._row(queue_id)
            return await self.store.submission_hasten(row.account, queue_id)
        return sum([await self.store.submission_hasten(account) for account in await self._accounts()])

    async def drop(self, queue_id: str) -> None:
        """It will not be sent, and nobody is told. A draft of it is discarded by the gateway."""
        row = await self._row(queue_id)
        now = int(self.clock.time())
        holder = ALONE if self.alone else _TOOL
        claimed = await self.store.submission_claim(row.id, holder, now, now + LEASE)
        if claimed is None:
            raise OutboxError(f"{queue_id} is being sent just now")
        row, work = claimed, _work(claimed)
        if row.state in (*TAKEN, GIVEN_UP):
            raise OutboxError(f"{queue_id} is not in the queue")
        if work is not None and (work.draft or work.strays or row.state != "waiting"):
            row.holder, row.lease = "", 0
            await self.store.submission_put(_given_up(row, work))
        else:
            await self.store.submission_drop(row.id)

    async def _accounts(self) -> list[AccountId]:
        return await self.store.submission_accounts()

    async def _rows(self) -> list[SubmissionRow]:
        rows = [row for account in await self._accounts() for row in await self.store.submissions(account)]
        return [row for row in rows if row.queued and row.state not in (*TAKEN, GIVEN_UP)]

    async def _row(self, queue_id: str) -> SubmissionRow:
        found = next((row for row in await self._rows() if row.queue_id == queue_id), None)
        if found is None:
            raise OutboxError(f"{queue_id} is not in the queue")
        return found


def _given_up(row: SubmissionRow, work: Work) -> SubmissionRow:
    """A draft whose id is not known may turn up."""
    work.strays |= not work.draft
    row.state, row.payload, row.blob = GIVEN_UP, msgspec.json.encode(work), b""
    return row


def _work(row: SubmissionRow) -> Work | None:
    try:
        return Record.of(row).work
    except msgspec.MsgspecError:  # of another program version
        return None


def _facts(row: SubmissionRow, work: Work | None) -> dict[str, Any]:
    envelope = work.envelope if work is not None else None
    status = " ".join(map(str, work.error)) if work is not None and work.error else ""
    return {
        "queue_id": row.queue_id, "account": row.account, "state": row.state, "accepted": _time(row.created),
        "next_try": _time(row.due), "attempts": work.attempts if work else 0, "size": work.size if work else 0,
        "sender": envelope.sender if envelope else "", "recipients_count": len(envelope.recipients) if envelope else 0,
        "error": status,
    }  # fmt: skip


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Outbox]:
    """OutboxError where there is no store, or it cannot be used."""
    if config.store.url is None and not (config.state.dir / "gateway.db").exists():
        raise OutboxError(f"{config.state.dir} holds no state: no gateway has run with this configuration")
    clock = SystemClock()
    lock = StateLock(config.state.dir)
    alone = False
    if config.store.url is None:
        with contextlib.suppress(StoreError):
            lock.take()
            alone = True
    try:
        store, _ = await open_store(config, load_or_create_key(config.state.dir / "key"), clock)
    except OpenError as error:
        raise OutboxError(f"store.url: {error}") from error
    try:
        yield Outbox(store, alone, clock)
    finally:
        await store.close()
        lock.release()
