"""The SQL of `nodes.py`, on either engine (SQLite has one node, whose tables are empty but for tests)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.core.types import AccountId, ModSeq
from gateway.store.db import Connection, Engine
from gateway.store.nodes import Hint, Lease, News, Portion, Topic
from gateway.store.rows import among, make_account

Announce = Callable[[Connection, Hint, Sequence[int]], None]


class NodeJobs:
    """Implements `nodes.Nodes`. `node`: this one's number now. `announce`: say a hint when the transaction commits."""

    def __init__(self, engine: Engine, node: Callable[[], int], announce: Announce) -> None:
        self._engine = engine
        self._node = node
        self._announce = announce

    # -- leases --

    async def leases(self, names: Sequence[str]) -> dict[str, Lease]:
        if not names:
            return {}
        if await self._engine.read(lambda db: _free(db, names)):
            await self._engine.write(lambda db: _take(db, names, self._node()))
        return await self._engine.read(lambda db: _held(db, names, self._node()))

    async def taken(self, name: str) -> bool:
        sql = "SELECT COUNT(*) FROM lease WHERE name = ? AND node <> ? AND node IN (SELECT id FROM node)"
        return await self._engine.read(lambda db: bool(db.execute(sql, (name, self._node())).fetchone()[0]))

    async def release(self, name: str) -> None:
        def job(db: Connection) -> None:
            if db.execute("DELETE FROM lease WHERE name = ? AND node = ?", (name, self._node())).rowcount:
                self._announce(db, Hint.MEMBERS, ())

        await self._engine.write(job)

    # -- shares --

    async def share(
        self, mailbox: int, decide: Callable[[Sequence[Portion]], Portion | None]
    ) -> Sequence[Portion]:
        return await self._engine.write(lambda db: self._settle(db, mailbox, decide))

    def _settle(
        self, db: Connection, mailbox: int, decide: Callable[[Sequence[Portion]], Portion | None]
    ) -> Sequence[Portion]:
        name, node = f"share/{mailbox}", self._node()
        db.execute("INSERT INTO lease (name, node, number) VALUES (?, 0, 0) ON CONFLICT DO NOTHING", (name,))
        db.execute("SELECT id FROM lease WHERE name = ?", (name,)).fetchone()  # one node at a time
        before = _portions(db, mailbox)
        mine = decide(before)
        others = [portion for portion in before if portion.node != node]
        if mine in before or (mine is None and len(others) == len(before)):
            return others
        db.execute("DELETE FROM share WHERE mailbox = ? AND node = ?", (mailbox, node))
        if mine is not None:
            db.execute(
                "INSERT INTO share (mailbox, node, active, slots, requests, upload) VALUES (?, ?, ?, ?, ?, ?)",
                (mailbox, node, int(mine.active), mine.slots, mine.requests, mine.upload),
            )
        elif not others:
            db.execute("DELETE FROM lease WHERE name = ?", (name,))
        if others:
            self._announce(db, Hint.SHARE, (mailbox,))
        return others

    async def shared(self) -> set[int]:
        sql = (
            "SELECT DISTINCT mailbox FROM share WHERE mailbox IN (SELECT mailbox FROM share WHERE node = ?)"
            " AND node <> ?"
        )
        node = self._node()
        return await self._engine.read(lambda db: {mailbox for (mailbox,) in db.execute(sql, (node, node))})

    # -- who watches what --

    async def watch(self, account: AccountId, folders: Sequence[int]) -> None:
        def job(db: Connection) -> None:
            key, node = make_account(db, account), self._node()
            db.execute("DELETE FROM watched WHERE account = ? AND node = ?", (key, node))
            db.executemany(
                "INSERT INTO watched (account, node, folder) VALUES (?, ?, ?)",
                [(key, node, folder) for folder in sorted(set(folders))],
            )
            self._announce(db, Hint.WATCHED, (key,))

        await self._engine.write(job, account)

    async def watched(self) -> dict[int, set[int]]:
        sql = "SELECT account, folder FROM watched WHERE node <> ? AND node IN (SELECT id FROM node)"

        def job(db: Connection) -> dict[int, set[int]]:
            found: dict[int, set[int]] = {}
            for account, folder in db.execute(sql, (self._node(),)):
                found.setdefault(account, set()).add(folder)
            return found

        return await self._engine.read(job)

    # -- news --

    async def enter(self, account: AccountId) -> tuple[int, int]:
        key = await self._engine.write(lambda db: make_account(db, account), account)
        return key, (await self.newest([key])).get(key, 0)

    async def news(self, account: int, after: int) -> list[News]:
        sql = (
            "SELECT id, kind, folder, text FROM news WHERE account = ? AND id > ? AND node <> ?"
            " ORDER BY id LIMIT 1000"
        )
        node = self._node()
        return await self._engine.read(
            lambda db: [
                News(id, Topic(kind), folder, text)
                for id, kind, folder, text in db.execute(sql, (account, after, node))
            ]
        )

    async def newest(self, accounts: Sequence[int]) -> dict[int, int]:
        sql = (
            "SELECT account, MAX(id) FROM news WHERE account IN (SELECT value FROM json_each(?))"
            " GROUP BY account"
        )
        wanted = among(accounts)
        return await self._engine.read(lambda db: dict(db.execute(sql, (wanted,)).fetchall()))

    async def levels(self, folders: Sequence[int]) -> dict[int, ModSeq]:
        sql = "SELECT key, modseq FROM folder WHERE CAST(key AS TEXT) IN (SELECT value FROM json_each(?))"
        wanted = among(folders)
        return await self._engine.read(lambda db: dict(db.execute(sql, (wanted,)).fetchall()))

    async def orphans(self, kept: Sequence[str]) -> list[AccountId]:
        sql = (
            "SELECT DISTINCT account.name FROM journal JOIN account ON account.key = journal.account"
            " WHERE journal.node NOT IN (SELECT id FROM node)"
            " AND journal.kind NOT IN (SELECT value FROM json_each(?)) ORDER BY account.name LIMIT 1000"
        )
        wanted = (among(kept),)
        return await self._engine.read(lambda db: [AccountId(name) for (name,) in db.execute(sql, wanted)])


# -- in transactions --


def _free(db: Connection, names: Sequence[str]) -> bool:
    sql = (
        "SELECT COUNT(*) FROM lease WHERE name IN (SELECT value FROM json_each(?))"
        " AND node IN (SELECT id FROM node)"
    )
    (taken,) = db.execute(sql, (among(names),)).fetchone()
    return bool(taken < len(set(names)))


def _take(db: Connection, names: Sequence[str], node: int) -> None:
    for name in sorted(set(names)):  # in one order: nobody waits for each other
        db.execute("INSERT INTO lease (name, node, number) VALUES (?, 0, 0) ON CONFLICT DO NOTHING", (name,))
        db.execute(
            "UPDATE lease SET node = ?, number = number + 1 WHERE name = ? AND node NOT IN (SELECT id FROM node)",
            (node, name),
        )


def _held(db: Connection, names: Sequence[str], node: int) -> dict[str, Lease]:
    sql = (
        "SELECT name, id, number FROM lease WHERE name IN (SELECT value FROM json_each(?))"
        " AND node = ? AND node IN (SELECT id FROM node)"
    )
    return {name: Lease(id, number) for name, id, number in db.execute(sql, (among(names), node))}


def _portions(db: Connection, mailbox: int) -> list[Portion]:
    sql = (
        "SELECT node, active, slots, requests, upload FROM share"
        " WHERE mailbox = ? AND node IN (SELECT id FROM node) ORDER BY node"
    )
    return [
        Portion(node, active == 1, slots, requests, upload)
        for node, active, slots, requests, upload in db.execute(sql, (mailbox,))
    ]


def tell(db: Connection, account: int, node: int, topic: Topic, folder: int, text: str, now: int) -> None:
    """Write down for other nodes what this one did. The account's row is locked: places are in the order of commits."""
    db.execute(
        "INSERT INTO news (account, node, kind, folder, text, created) VALUES (?, ?, ?, ?, ?, ?)",
        (account, node, int(topic), folder, text, now),
    )
