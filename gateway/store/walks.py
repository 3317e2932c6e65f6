"""How far the sync of a folder has come: the walk, its ids, the windows of the first listing; what counts said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.core.types import AccountId, MessageId
from gateway.store import folders
from gateway.store.crypt import Vault
from gateway.store.db import Connection, Engine
from gateway.store.rows import account_key, among, folder_field
from gateway.store.syncing import Surplus, Walk

UNLISTED = """
SELECT id FROM walked WHERE folder = ?
AND NOT EXISTS (SELECT 1 FROM staged WHERE staged.folder = walked.folder AND staged.id = walked.id)
AND NOT EXISTS (SELECT 1 FROM message WHERE message.folder = walked.folder AND message.id = walked.id)
ORDER BY id
"""
UNWALKED = """
SELECT id FROM {table} WHERE folder = ?
AND NOT EXISTS (SELECT 1 FROM walked WHERE walked.folder = {table}.folder AND walked.id = {table}.id)
"""


def walk(db: Connection, vault: Vault, folder: int) -> Walk:
    row = db.execute("SELECT link, done, began, windows FROM walk WHERE folder = ?", (folder,)).fetchone()
    if row is None:
        return Walk()
    link, done, began, windows = row
    return Walk(_open(vault, link, folder), done == 1, began, frozenset(map(int, windows.split())))


def walk_on(
    db: Connection, folder: int, seen: Sequence[MessageId], unseen: Sequence[MessageId], link: bytes,
    *, done: bool,
) -> None:  # fmt: skip
    db.executemany("DELETE FROM walked WHERE folder = ? AND id = ?", [(folder, id) for id in unseen])
    db.executemany("INSERT INTO walked VALUES (?, ?) ON CONFLICT DO NOTHING", [(folder, id) for id in seen])
    db.execute("UPDATE walk SET link = ?, done = ? WHERE folder = ?", (link, int(done), folder))


def listed(db: Connection, folder: int, window: int) -> None:
    (windows,) = db.execute("SELECT windows FROM walk WHERE folder = ?", (folder,)).fetchone()
    known = {*map(int, windows.split()), window}
    db.execute("UPDATE walk SET windows = ? WHERE folder = ?", (" ".join(map(str, sorted(known))), folder))


def begin(db: Connection, folder: int, now: int) -> None:
    folder_field(db, folder, "key")
    db.execute(
        "INSERT INTO walk (folder, link, done, began, windows) VALUES (?, x'', 0, ?, '')"
        " ON CONFLICT DO NOTHING",
        (folder, now),
    )


def end(db: Connection, folder: int) -> None:
    """Without effect where none is under way."""
    db.execute("DELETE FROM walk WHERE folder = ?", (folder,))
    db.execute("DELETE FROM walked WHERE folder = ?", (folder,))


def staged_etags(db: Connection, folder: int, ids: Sequence[MessageId]) -> dict[MessageId, str]:
    sql = "SELECT id, etag FROM staged WHERE folder = ? AND id IN (SELECT value FROM json_each(?))"
    return {MessageId(id): etag for id, etag in db.execute(sql, (folder, among(ids)))}


def gaps(db: Connection, folder: int) -> tuple[list[MessageId], list[MessageId]]:
    unwalked = {
        *_ids(db.execute(UNWALKED.format(table="staged"), (folder,))),
        *_ids(db.execute(UNWALKED.format(table="message"), (folder,))),
    }
    return list(_ids(db.execute(UNLISTED, (folder,)))), sorted(unwalked)


def _ids(rows: Iterable[tuple[str]]) -> Iterable[MessageId]:
    return (MessageId(id) for (id,) in rows)


def seal(vault: Vault, link: str, folder: int) -> bytes:
    return folders.seal_link(vault, link, f"walk/{folder}")


def _open(vault: Vault, sealed: bytes, folder: int) -> str:
    return folders.open_link(vault, sealed, f"walk/{folder}")


def surplus(db: Connection, folder: int) -> Surplus | None:
    row = db.execute("SELECT total, unread FROM surplus WHERE folder = ?", (folder,)).fetchone()
    return None if row is None else Surplus(*row)


def put_surplus(db: Connection, folder: int, told: Surplus) -> None:
    folder_field(db, folder, "key")
    db.execute(
        "INSERT INTO surplus (folder, total, unread) VALUES (?, ?, ?)"
        " ON CONFLICT (folder) DO UPDATE SET (total, unread) = (excluded.total, excluded.unread)",
        (folder, told.total, told.unread),
    )


def hierarchy_synced(db: Connection, account: AccountId) -> int:
    sql = "SELECT hierarchy_at FROM account WHERE key = ?"
    row = db.execute(sql, (account_key(db, account),)).fetchone()
    return int(row[0]) if row else 0


class WalkJobs:
    """Where each of these runs; mixed into `jobs.JobStore`."""

    _engine: Engine
    _vault: Vault

    def _now(self) -> int:
        raise NotImplementedError

    async def walk(self, folder: int) -> Walk:
        return await self._engine.read(lambda db: walk(db, self._vault, folder))

    async def walk_on(
        self, folder: int, seen: Sequence[MessageId], unseen: Sequence[MessageId], *, link: str, done: bool
    ) -> None:
        sealed, now = seal(self._vault, link, folder), self._now()

        def job(db: Connection) -> None:
            begin(db, folder, now)
            walk_on(db, folder, seen, unseen, sealed, done=done)

        await self._engine.write(job, folder)

    async def listed(self, folder: int, window: int) -> None:
        now = self._now()

        def job(db: Connection) -> None:
            begin(db, folder, now)
            listed(db, folder, window)

        await self._engine.write(job, folder)

    async def staged_etags(self, folder: int, ids: Sequence[MessageId]) -> dict[MessageId, str]:
        return await self._engine.read(lambda db: staged_etags(db, folder, ids))

    async def walk_gaps(self, folder: int) -> tuple[list[MessageId], list[MessageId]]:
        return await self._engine.read(lambda db: gaps(db, folder))

    async def forget_walk(self, folder: int) -> None:
        await self._engine.write(lambda db: end(db, folder), folder)

    async def surplus(self, folder: int) -> Surplus | None:
        return await self._engine.read(lambda db: surplus(db, folder))

    async def put_surplus(self, folder: int, surplus: Surplus) -> None:
        await self._engine.write(lambda db: put_surplus(db, folder, surplus), folder)

    async def hierarchy_heard(self, account: AccountId, link: str) -> None:
        now = self._now()
        await self._engine.write(
            lambda db: folders.set_hierarchy_link(db, self._vault, account, link, now), account
        )

    async def hierarchy_synced(self, account: AccountId) -> int:
        return await self._engine.read(lambda db: hierarchy_synced(db, account))
