"""How long `gateway serve` takes until it listens, with many accounts and messages in its store."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from gateway.core.types import AccountId, FolderId, MessageId
from gateway.store.api import FolderUpsert, Upsert
from gateway.store.keyfile import load_or_create_key, private_folder
from gateway.store.sqlite import SqliteStore
from tests.bench import rig
from tests.bench.report import Figure, Report


@dataclass(frozen=True, slots=True)
class Sizes:
    accounts: int = 100
    messages: int = 1_000_000
    rounds: int = 5


QUICK = Sizes(accounts=2, messages=20, rounds=1)
ROWS = {
    "start": "gateway serve, 100 accounts and 1,000,000 messages",
    "start-empty": "gateway serve, nothing known",
}


def measure(wanted: Sequence[str], sizes: Sizes, report: Report) -> None:
    with ExitStack() as stack:
        place = stack.enter_context(rig.folder())
        graph = stack.enter_context(rig.emulator(place, {"users": sizes.accounts}))
        config = rig.write_config(place, graph)
        if "start-empty" in wanted:
            _time("start-empty", place, config, sizes, report)
        if "start" in wanted:
            state = place / "state"
            private_folder(state)
            asyncio.run(_fill(state, graph["users"], sizes.messages // sizes.accounts))
            _time("start", place, config, sizes, report)


def _time(key: str, place: Path, config: Path, sizes: Sizes, report: Report) -> None:
    seconds: list[float] = []
    for _ in range(sizes.rounds):
        began = time.perf_counter()
        with rig.gateway(place, config):
            seconds.append(time.perf_counter() - began)
    report.add(
        Figure(
            "startup",
            key,
            ROWS[key],
            "gateway",
            "s",
            statistics.median(seconds),
            best=min(seconds),
            bound=1.0,
        )
    )


async def _fill(state: Path, users: Sequence[str], each: int) -> None:
    """One account's INBOX by the store, the others as copies of its rows."""
    store = SqliteStore(state / "gateway.db", key=load_or_create_key(state / "key"), clock=time.time)
    await store.open()
    keys: list[int] = []
    for user in users:
        inbox = FolderUpsert(
            FolderId(f"inbox {user}"), FolderId("root"), "Inbox", "inbox", hidden=False, total=each, unread=0
        )
        (row,) = await store.put_folders(AccountId(user), [inbox], (), link="L")
        keys.append(row.key)
    for start in range(0, each, 2000):
        numbers = range(start, min(start + 2000, each))
        upserts = [
            Upsert(MessageId(f"message-{n:08d}-{'x' * 100}"), internal_date=1_700_000_000 + n, size=2000)
            for n in numbers
        ]
        await store.stage(keys[0], upserts, link=None)
    await store.finish_first_sync(keys[0], link="D")
    await store.close()
    db = sqlite3.connect(state / "gateway.db")
    columns = [row[1] for row in db.execute("PRAGMA table_info(message)") if row[1] != "folder"]
    names = ", ".join(columns)
    for key in keys[1:]:
        db.execute(
            f"INSERT INTO message (folder, {names}) SELECT ?, {names} FROM message WHERE folder = ?",
            (key, keys[0]),
        )
    db.execute("UPDATE folder SET ready = 1, uid_last = ?, modseq = 1", (each,))
    db.commit()
    db.close()
