"""Submissions on their way (`outgoing.Submissions`): rows that a crash, a retry or another node must find."""

from __future__ import annotations

from typing import Any

from gateway.core.types import AccountId
from gateway.store.crypt import Vault
from gateway.store.db import Connection, Engine
from gateway.store.outgoing import PAYLOAD, QueueTotals, SubmissionRow
from gateway.store.rows import account_key, make_account

SENT = "sent"
_COLUMNS = "id, queue_id, state, queued, heard, holder, lease, created, touched, due, blob, sealed"


def _context(id: int) -> str:
    return f"submission/{id}"


def _check(payload: bytes) -> bytes:
    if len(payload) > PAYLOAD:
        raise ValueError(f"the payload of a submission has at most {PAYLOAD} octets")
    return payload


def _add(db: Connection, vault: Vault, row: SubmissionRow, digest: bytes, now: int) -> int:
    sql = (
        "INSERT INTO submission (account, queue_id, digest, state, queued, heard, holder, lease, created, touched, due,"
        " blob, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, x'') RETURNING id"
    )
    values = (
        make_account(db, row.account), row.queue_id, digest, row.state, int(row.queued), int(row.heard), row.holder,
        row.lease, now, now, row.due, row.blob,
    )  # fmt: skip
    (id,) = db.execute(sql, values).fetchone()
    sealed = vault.seal(row.payload, _context(id))
    db.execute("UPDATE submission SET sealed = ? WHERE id = ?", (sealed, id))
    return int(id)


def _put(db: Connection, vault: Vault, row: SubmissionRow, now: int) -> None:
    db.execute(
        "UPDATE submission SET state = ?, holder = ?, lease = ?, touched = ?, due = ?, blob = ?, sealed = ?"
        " WHERE id = ?",
        (
            row.state, row.holder, row.lease, now, row.due, row.blob, vault.seal(row.payload, _context(row.id)), row.id,
        ),
    )  # fmt: skip


def _rows(
    db: Connection, vault: Vault, account: AccountId, digest: bytes | None, open_since: int | None
) -> list[SubmissionRow]:
    sql = f"SELECT {_COLUMNS} FROM submission WHERE account = ?"  # noqa: S608  (a constant)
    values: list[Any] = [account_key(db, account)]
    if digest is not None:
        sql += " AND digest = ?"
        values.append(digest)
    if open_since is not None:
        sql += " AND (state <> ? OR touched >= ?)"
        values += [SENT, open_since]
    return [_row(vault, account, found) for found in db.execute(sql + " ORDER BY id", values).fetchall()]


def _row(vault: Vault, account: AccountId, found: tuple[Any, ...]) -> SubmissionRow:
    id, queue_id, state, queued, heard, holder, lease, created, touched, due, blob, sealed = found
    return SubmissionRow(
        account, queue_id, state, vault.open(sealed, _context(id)), queued == 1, heard == 1, holder, lease, due,
        bytes(blob), id, created, touched,
    )  # fmt: skip


def _claim(db: Connection, vault: Vault, id: int, holder: str, now: int, until: int) -> SubmissionRow | None:
    sql = (
        "UPDATE submission SET holder = ?, lease = ? WHERE id = ? AND (holder = ? OR holder = '' OR lease < ?)"
        " RETURNING (SELECT name FROM account WHERE key = submission.account), "
    )
    found = db.execute(sql + _COLUMNS, (holder, until, id, holder, now)).fetchone()
    return _row(vault, AccountId(found[0]), found[1:]) if found is not None else None


def _hasten(db: Connection, account: AccountId, queue_id: str) -> int:
    sql = "UPDATE submission SET due = 0 WHERE account = ? AND queued = 1 AND state <> ?"
    values: list[Any] = [account_key(db, account), SENT]
    if queue_id:
        sql += " AND queue_id = ?"
        values.append(queue_id)
    return db.execute(sql, values).rowcount


def _sweep(db: Connection, account: AccountId, heard_before: int, now: int) -> int:
    sql = (
        "DELETE FROM submission WHERE account = ? AND state = ? AND (due < ? OR (heard = 1 AND touched < ?))"
    )
    return db.execute(sql, (account_key(db, account), SENT, now, heard_before)).rowcount


def _heard(db: Connection, account: AccountId, queue_id: str) -> None:
    sql = "UPDATE submission SET heard = 1 WHERE account = ? AND queue_id = ?"
    db.execute(sql, (account_key(db, account), queue_id))


def _drop(db: Connection, id: int) -> None:
    db.execute("DELETE FROM submission WHERE id = ?", (id,))


def _accounts(db: Connection) -> list[AccountId]:
    sql = "SELECT name FROM account WHERE key IN (SELECT account FROM submission WHERE state <> ?) ORDER BY name"
    return [AccountId(name) for (name,) in db.execute(sql, (SENT,)).fetchall()]


def _totals(db: Connection) -> QueueTotals:
    sql = "SELECT COUNT(*), COALESCE(MIN(created), 0) FROM submission WHERE queued = 1 AND state <> ?"
    depth, oldest = db.execute(sql, (SENT,)).fetchone()
    return QueueTotals(int(depth), int(oldest))


class SubmissionJobs:
    """The methods of `outgoing.Submissions`, for `jobs.JobStore`."""

    _engine: Engine
    _vault: Vault

    def _now(self) -> int:
        raise NotImplementedError

    async def submission_add(self, row: SubmissionRow, digest: bytes) -> int:
        _check(row.payload)
        now, keyed = self._now(), self._vault.address(digest)
        return await self._engine.write(lambda db: _add(db, self._vault, row, keyed, now), row.account)

    async def submission_put(self, row: SubmissionRow) -> None:
        _check(row.payload)
        now = self._now()
        await self._engine.write(lambda db: _put(db, self._vault, row, now), row.account)

    async def submission_heard(self, account: AccountId, queue_id: str) -> None:
        await self._engine.write(lambda db: _heard(db, account, queue_id), account)

    async def submission_drop(self, id: int) -> None:
        await self._engine.write(lambda db: _drop(db, id))

    async def submissions(
        self, account: AccountId, *, digest: bytes | None = None, open_since: int | None = None
    ) -> list[SubmissionRow]:
        keyed = None if digest is None else self._vault.address(digest)
        return await self._engine.read(lambda db: _rows(db, self._vault, account, keyed, open_since))

    async def submission_claim(self, id: int, holder: str, now: int, until: int) -> SubmissionRow | None:
        return await self._engine.write(lambda db: _claim(db, self._vault, id, holder, now, until))

    async def submission_hasten(self, account: AccountId, queue_id: str = "") -> int:
        return await self._engine.write(lambda db: _hasten(db, account, queue_id), account)

    async def submission_sweep(self, account: AccountId, heard_before: int, now: int) -> int:
        return await self._engine.write(lambda db: _sweep(db, account, heard_before, now), account)

    async def submission_accounts(self) -> list[AccountId]:
        return await self._engine.read(_accounts)

    async def queue_totals(self) -> QueueTotals:
        return await self._engine.read(_totals)
