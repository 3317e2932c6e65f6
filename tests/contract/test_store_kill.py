"""`kill -9` at any moment: what the store had answered is there afterwards, and nothing is half there.

A child process writes as fast as it can and reports each answer on a pipe; it is killed at random points.
Afterwards every reported UID belongs to its message, no UID was given twice, and the delta link is the one
stored with the last rows.
"""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.core.types import AccountId, FolderId, MessageId
from gateway.store.api import FolderUpsert
from gateway.store.jobs import JobStore
from gateway.store.sqlite import SqliteStore
from tests import postgres_server

KILLS = {"sqlite": 20, "postgres": 8}
ME, INBOX = AccountId("alice"), FolderId("F")


def store_in(place: str) -> JobStore:
    """A store at a path, or at a URL."""
    if "://" in place:
        from gateway.store.postgres import PostgresStore

        return PostgresStore(
            place,
            key=b"k" * 32,
            clock=lambda: 1_700_000_000,
            tombstones=50,
            readers=1,
            writers=1,
        )
    return SqliteStore(Path(place) / "store.db", key=b"k" * 32, clock=lambda: 1_700_000_000, tombstones=50)


WRITER = """
import asyncio, sys
sys.path.insert(0, sys.argv[3])
from gateway.core.types import MessageId
from gateway.store.api import Upsert
from tests.contract.test_store_kill import ME, INBOX, store_in

async def main(run):
    store = store_in(sys.argv[1])
    await store.open()
    folder = await store.folder(ME, INBOX)
    previous = []
    for n in range(10**9):
        names = [MessageId(f"{run}-{n}-{i}") for i in range(4)]
        reserved = await store.reserve_uids(folder.key, 2)
        upserts = [Upsert(names[0], uid=reserved[0]), *map(Upsert, names[1:])]
        applied = await store.apply(folder.key, upserts, previous[:2], link=names[-1])
        address = await store.put_blob(names[0].encode() * 1000)
        await store.adopt_blob(ME, names[0], address)
        sys.stdout.write(" ".join(f"{row.id}={row.uid}" for row in applied.rows)
                         + " | " + " ".join(previous[:2]) + " | " + " ".join(map(str, applied.gone)) + "\\n")
        sys.stdout.flush()
        previous = names

asyncio.run(main(sys.argv[2]))
"""


def run_and_kill(place: str, run: int, delay: float) -> list[str]:
    root = str(Path(__file__).parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, place, str(run), root], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(delay)
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read()
    child.wait()
    return [line for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]


async def prepare(place: str) -> None:
    store = store_in(place)
    await store.open()
    [row] = await store.put_folders(ME, [FolderUpsert(INBOX)], [], link=None)
    await store.finish_first_sync(row.key, link="start")
    await store.close()


class Told:
    """What the children said was done."""

    def __init__(self) -> None:
        self.uids: dict[str, int] = {}  # message id -> UID, for ever
        self.gone: set[str] = set()

    def take(self, lines: list[str]) -> None:
        for line in lines:
            rows, gone, _ = line.split("|")
            for pair in rows.split():
                id, _, uid = pair.rpartition("=")
                self.uids[id] = int(uid)
            self.gone.update(gone.split())


async def check(place: str, told: Told) -> None:
    store = store_in(place)
    await store.open()
    row = await store.folder(ME, INBOX)
    assert row is not None
    uids = await store.ids(row.key)
    present = {id: uid for id, uid in told.uids.items() if id in uids}
    assert present == {id: uids[id] for id in present}, "a UID changed"
    lost = told.uids.keys() - uids.keys() - told.gone
    unconfirmed = {id for id in lost if not _followed(id, uids)}
    assert not unconfirmed, "an answered message is lost"
    foreign = set(uids.values()) & {uid for id, uid in told.uids.items() if id not in uids}
    assert not foreign, "a UID was given twice"
    assert len(set(uids.values())) == len(uids)
    assert max(uids.values()) < row.uid_next
    newest = max(uids.items(), key=lambda pair: pair[1])[0]
    assert row.delta_link == newest, "the link and its rows were torn apart"
    for id in list(uids)[-8:]:
        if id.endswith("-0") and id in told.uids:
            assert await store.original(ME, MessageId(id)) == id.encode() * 1000
    await store.close()


def _followed(id: str, uids: dict[MessageId, int]) -> bool:
    """Whether the step that removes `id` was committed, though the child had no time to say so."""
    run, step, _ = id.split("-")
    return MessageId(f"{run}-{int(step) + 1}-3") in uids


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_kills_lose_no_uid(engine: str, tmp_path: Path) -> None:
    place = str(tmp_path) if engine == "sqlite" else postgres_server.shared().database()
    kills = KILLS[engine]
    rng = random.Random(20)
    told = Told()
    asyncio.run(prepare(place))
    for run in range(kills):
        told.take(run_and_kill(place, run, rng.random() * 0.06))
        asyncio.run(check(place, told))
    assert len(told.uids) >= kills * 4
