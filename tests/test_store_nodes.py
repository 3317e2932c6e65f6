"""Nodes on one database: leases and their fences, portions, news, who lives and who is dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.errors import Unavailable
from gateway.core.types import AccountId, Flags, FolderId, MessageId, SystemFlag
from gateway.store.announcing import CORRECTED, Silent
from gateway.store.api import ABSENT, FolderUpsert, Upsert
from gateway.store.nodejobs import NodeJobs
from gateway.store.nodes import Hint, Kind, Lease, Portion, Topic, bound
from gateway.store.sqlite import SqliteStore
from tests import postgres_server

pytest.importorskip("asyncpg")

from gateway.store.postgres import PostgresStore

ME, BOB = AccountId("alice"), AccountId("bob")
A, B = MessageId("a"), MessageId("b")


class Ears:
    """Implements `pgbeat.Ear`: writes down what it hears."""

    def __init__(self) -> None:
        self.hints: list[tuple[int, ...]] = []
        self.gaps = 0
        self.deaths = 0
        self._stirred = asyncio.Event()

    def hint(self, numbers: tuple[int, ...]) -> None:
        self.hints.append(numbers)
        self._stirred.set()

    def gap(self) -> None:
        self.gaps += 1
        self._stirred.set()

    def dead(self) -> None:
        self.deaths += 1
        self._stirred.set()

    async def until(self, check: Any) -> None:
        async with asyncio.timeout(10):
            while not check(self):
                self._stirred.clear()
                await self._stirred.wait()

    def of(self, kind: Hint) -> list[tuple[int, ...]]:
        return [numbers[2:] for numbers in self.hints if numbers[0] == kind]


class Pair:
    """Two stores of one database that have joined."""

    def __init__(self, one: PostgresStore, two: PostgresStore) -> None:
        self.one, self.two = one, two
        self.ears = (Ears(), Ears())

    async def folder(self) -> int:
        rows = await self.one.put_folders(ME, [FolderUpsert(FolderId("F"))], [], link=None)
        await self.one.finish_first_sync(rows[0].key, link="x")
        return rows[0].key


def make(url: str, lease: float = 5.0) -> PostgresStore:
    return PostgresStore(
        url, key=b"k" * 32, clock=lambda: 1_000, readers=1, writers=2, name="a test", lease=lease
    )


@pytest.fixture
def url() -> str:
    return postgres_server.shared().database()


@pytest_asyncio.fixture
async def pair(url: str) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        stores = [make(url), make(url)]
        found = Pair(*stores)
        for store, ears in zip(stores, found.ears, strict=True):
            await store.open()
            stack.push_async_callback(store.close)
            await store.beat.join(ears)
        await found.ears[0].until(lambda ears: ears.of(Hint.MEMBERS))
        yield found


async def declare_dead(store: PostgresStore) -> None:
    """As another node does that has not heard of this one for the lease's time."""
    await store._engine.read(lambda db: None)
    task, store.beat._task = store.beat._task, None
    assert task is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    node = store.beat.node
    await asyncio.to_thread(
        postgres_server.shared().sql, f"DELETE FROM {schema_of(store)}.node WHERE id = {node}"
    )


def schema_of(store: PostgresStore) -> str:
    return store._engine._url.rpartition("search_path=")[2]


# -- leases --


async def test_a_lease_is_one_nodes_until_it_is_given_back(pair: Pair) -> None:
    mine = await pair.one.nodes.leases(["x", "y"])
    assert mine.keys() == {"x", "y"}
    assert await pair.one.nodes.leases(["x"]) == {"x": mine["x"]}
    assert await pair.two.nodes.leases(["x", "z"]) == {"z": (await pair.two.nodes.leases(["z"]))["z"]}
    assert await pair.two.nodes.taken("x") and not await pair.one.nodes.taken("x")
    await pair.one.nodes.release("x")
    await pair.ears[1].until(lambda ears: ears.of(Hint.MEMBERS))
    theirs = (await pair.two.nodes.leases(["x"]))["x"]
    assert theirs != mine["x"]
    await pair.one.nodes.release("x")  # not his any more
    assert await pair.one.nodes.leases(["x"]) == {}


async def test_a_lease_goes_to_one_of_those_that_want_it_at_once(pair: Pair) -> None:
    for n in range(10):
        won = await asyncio.gather(*(store.nodes.leases([f"l{n}"]) for store in (pair.one, pair.two)))
        assert sorted(map(len, won)) == [0, 1]


async def test_what_a_lease_fences_is_not_written_when_another_has_it(pair: Pair) -> None:
    key = await pair.folder()
    lease = (await pair.one.nodes.leases(["x"]))["x"]
    with bound(lease):
        await pair.one.apply(key, [Upsert(A)], [])
    await pair.one.nodes.release("x")
    await pair.two.nodes.leases(["x"])
    with bound(lease):
        for refused in (pair.one.apply(key, [Upsert(B)], []), pair.one.set_link(key, "y")):
            with pytest.raises(Unavailable):
                await refused
        task = asyncio.create_task(pair.one.journal_add(ME, "copy", b""))
    with pytest.raises(Unavailable):  # a task made inside is inside
        await task
    await pair.one.apply(key, [Upsert(B)], [])
    assert len(await pair.two.messages(key)) == 2
    with bound(Lease(0, 0)), pytest.raises(Unavailable):
        await pair.one.reserve_uids(key, 1)


async def test_a_lease_of_the_dead_is_free_and_their_writes_are_refused(pair: Pair) -> None:
    key = await pair.folder()
    lease = (await pair.one.nodes.leases(["x"]))["x"]
    await pair.one.journal_add(ME, "append", b"half", key)
    await pair.two.journal_add(BOB, "append", b"whole", key)
    assert await pair.two.nodes.orphans(()) == []
    await declare_dead(pair.one)
    assert (await pair.two.nodes.leases(["x"]))["x"].number == lease.number + 1
    for refused in (
        pair.one.apply(key, [Upsert(A)], []),
        pair.one.journal_done(1),
        pair.one.put_blob(b"x"),
        pair.one.nodes.leases(["z"]),
    ):
        with pytest.raises(Unavailable):
            await refused
    assert await pair.two.nodes.orphans(()) == [ME]
    assert await pair.two.nodes.orphans(("append",)) == []
    [row] = await pair.two.journal(ME)
    assert row.elsewhere
    await pair.two.journal_claim(ME)
    [row] = await pair.two.journal(ME)
    assert (row.elsewhere, row.payload) == (False, b"half")
    assert await pair.one.messages(key) == []  # he may read


async def test_work_of_the_living_is_nobody_elses(pair: Pair) -> None:
    await pair.one.journal_add(ME, "append", b"mine")
    await pair.two.journal_claim(ME)
    assert [row.elsewhere for row in await pair.two.journal(ME)] == [True]
    assert [row.elsewhere for row in await pair.one.journal(ME)] == [False]


# -- life --


async def test_who_shows_no_sign_of_life_is_declared_dead_and_comes_back_as_another(url: str) -> None:
    one, two = make(url, 0.6), make(url, 0.6)
    ears = (Ears(), Ears())
    async with AsyncExitStack() as stack:
        for store, each in zip((one, two), ears, strict=True):
            await store.open()
            stack.push_async_callback(store.close)
            await store.beat.join(each)
        number = one.beat.node
        one.beat._renew = asyncio.Event().wait  # type: ignore[method-assign]
        await ears[1].until(lambda ears: (Hint.MEMBERS, two.beat.node) in ears.hints)
        assert not one.beat.alive
        async with asyncio.timeout(5):
            await one.beat._cut.wait()  # nobody keeps for it what it does not hear
        with pytest.raises(Unavailable):
            await one.subscribe(ME, "x", True)
        del one.beat._renew
        assert one.beat._task is not None
        one.beat._task.cancel()
        one.beat._task = asyncio.create_task(one.beat._run())
        await ears[0].until(lambda ears: ears.deaths == 1)
        with pytest.raises(Unavailable):
            await one.subscribe(ME, "x", True)
        await one.beat.rejoin()
        assert one.beat.alive and one.beat.node > number
        await one.subscribe(ME, "x", True)


async def test_a_server_that_was_away_proves_nothing_against_anybody() -> None:
    with postgres_server.own() as server:
        url = server.database()
        one, two = make(url, 1.0), make(url, 1.0)
        ears = (Ears(), Ears())
        async with AsyncExitStack() as stack:
            for store, each in zip((one, two), ears, strict=True):
                await store.open()
                stack.push_async_callback(store.close)
                await store.beat.join(each)
            server.stop()
            await asyncio.sleep(1.2)  # longer than the lease
            assert not one.beat.alive
            server.start()
            for store, each in ((one, ears[0]), (two, ears[1])):
                await each.until(lambda each: each.gaps >= 2)
                await store.subscribe(ME, "x", True)
            async with asyncio.timeout(5):
                while not (one.beat.alive and two.beat.alive):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert [each.deaths for each in ears] == [0, 0]


async def test_who_leaves_is_gone_at_once(pair: Pair) -> None:
    await pair.one.nodes.leases(["x"])
    await pair.one.nodes.watch(ME, [0, 7])
    await pair.one.nodes.share(5, lambda portions: Portion(pair.one.beat.node, True, 4, 1, 1))
    assert (await pair.two.nodes.watched()).popitem()[1] == {0, 7}
    before = len(pair.ears[1].of(Hint.MEMBERS))
    await pair.one.beat.leave()
    await pair.ears[1].until(lambda ears: len(ears.of(Hint.MEMBERS)) > before)
    assert "x" in await pair.two.nodes.leases(["x"])
    assert await pair.two.nodes.watched() == {}
    assert await pair.two.nodes.share(5, lambda portions: None) == []


# -- hints and news --


async def test_a_write_is_heard_by_the_other_and_not_by_oneself(pair: Pair) -> None:
    key = await pair.folder()
    await pair.ears[1].until(lambda ears: ears.of(Hint.MESSAGES))
    for ears in pair.ears:
        ears.hints.clear()
    await pair.one.apply(key, [Upsert(A)], [])
    await pair.one.apply(key, [Upsert(A, flags=Flags(SystemFlag.SEEN)), Upsert(B)], [])
    await pair.one.apply(key, [Upsert(A, size=7, size_exact=True)], [])
    await pair.one.apply(key, [Upsert(A, size=7, size_exact=True)], [])
    await pair.one.apply(key, [], [A, B])
    await pair.ears[1].until(lambda ears: len(ears.hints) == 4)
    assert pair.ears[1].of(Hint.MESSAGES) == [
        (key, 3, Kind.NEW), (key, 4, Kind.NEW + Kind.FLAGS), (key, 4, 0, 1001), (key, 5, Kind.GONE),
    ]  # fmt: skip
    assert pair.ears[0].hints == []


async def test_a_write_that_is_undone_says_nothing(pair: Pair) -> None:
    key = await pair.folder()
    await pair.ears[1].until(lambda ears: ears.of(Hint.MESSAGES))
    pair.ears[1].hints.clear()

    def job(db: Any) -> None:
        pair.one.speech.hint(db, Hint.MESSAGES, (key, 99, 1))
        raise LookupError

    with pytest.raises(LookupError):
        await pair.one._engine.write(job)
    await pair.one.apply(key, [Upsert(A)], [])
    await pair.ears[1].until(lambda ears: ears.hints)
    assert pair.ears[1].of(Hint.MESSAGES) == [(key, 3, Kind.NEW)]


async def test_many_corrections_are_several_hints(pair: Pair) -> None:
    key = await pair.folder()
    ids = [MessageId(f"m{n}") for n in range(CORRECTED + 1)]
    await pair.one.apply(key, [Upsert(id) for id in ids], [])
    await pair.one.apply(key, [Upsert(id, size=9, size_exact=True) for id in ids], [])
    await pair.ears[1].until(lambda ears: len(ears.of(Hint.MESSAGES)) == 4)
    told = [uid for hint in pair.ears[1].of(Hint.MESSAGES) for uid in hint[3:]]
    assert len(told) == len(set(told)) == CORRECTED + 1
    assert max(len(str(hint)) for hint in pair.ears[1].hints) < 8000


async def test_news_are_there_for_who_did_not_hear(pair: Pair) -> None:
    account, start = await pair.two.nodes.enter(ME)
    await pair.one.put_folders(ME, [FolderUpsert(FolderId("F"))], [], link=None)
    await pair.one.subscribe(ME, "Name", True)
    await pair.one.put_annotations(ME, None, {"/private/x": b"1", "/private/y": None})
    await pair.two.subscribe(ME, "Own", True)
    await pair.one.subscribe(BOB, "Other", True)
    news = await pair.two.nodes.news(account, start)
    assert [(piece.topic, piece.text) for piece in news] == [
        (Topic.TREE, ""), (Topic.SUBSCRIBED, "Name"), (Topic.ANNOTATED, "/private/x"),
        (Topic.ANNOTATED, "/private/y"),
    ]  # fmt: skip
    assert await pair.two.nodes.news(account, news[-1].id) == []
    assert (await pair.two.nodes.newest([account]))[account] > news[-1].id
    await pair.ears[1].until(lambda ears: (account,) in ears.of(Hint.NEWS))


async def test_nothing_but_numbers_is_taken_for_a_hint(pair: Pair) -> None:
    pair.ears[1].hints.clear()
    channel = await pair.one._engine.read(
        lambda db: db.execute("SELECT 'gateway.' || current_schema()").fetchone()[0]
    )
    for payload in ("", "x", "1", "1 -1", "1 ٣", "9 9 9"):
        await asyncio.to_thread(postgres_server.shared().sql, f"SELECT pg_notify('{channel}', '{payload}')")
    await pair.ears[1].until(lambda ears: ears.hints)
    assert pair.ears[1].hints == [(9, 9, 9)]


async def test_who_hears_badly_is_told_so(pair: Pair) -> None:
    gaps = pair.ears[1].gaps
    pair.two.beat._db.terminate()
    await pair.ears[1].until(lambda ears: ears.gaps == gaps + 1)
    pair.ears[1].hints.clear()
    await pair.one.subscribe(ME, "x", True)
    await pair.ears[1].until(lambda ears: ears.hints)


async def test_levels_are_of_folders_that_are_there(pair: Pair) -> None:
    key = await pair.folder()
    assert await pair.two.nodes.levels([key, 999]) == {key: 2}
    assert await pair.two.nodes.levels([]) == {}


# -- what another node is doing --


async def test_what_is_new_waits_while_somebody_puts_messages_there(pair: Pair) -> None:
    key = await pair.folder()
    row = await pair.one.journal_add(ME, "append", b"", key)
    await pair.one._engine.write(lambda db: db.execute("UPDATE journal SET created = 900"))
    applied = await pair.two.apply(key, [Upsert(A, base=ABSENT)], [], link="new")
    assert (applied.rows, applied.passed) == ([], [A])
    await pair.one.journal_done(row)
    applied = await pair.two.apply(key, [Upsert(A, base=ABSENT)], [], link="new")
    assert (len(applied.rows), applied.passed) == (1, [])
    applied = await pair.two.apply(key, [Upsert(A, base=ABSENT)], [])
    assert applied.passed == [A]  # there by now


async def test_work_that_is_old_holds_nobody_up(pair: Pair) -> None:
    key = await pair.folder()
    await pair.one.journal_add(ME, "append", b"", key)
    await pair.one._engine.write(lambda db: db.execute("UPDATE journal SET created = 0"))
    assert (await pair.two.apply(key, [Upsert(A, base=ABSENT)], [])).passed == []


async def test_a_round_that_another_one_overtook_is_void(pair: Pair) -> None:
    """What it knew is older than what is there: a removal that the other one saw would be lost."""
    key = await pair.folder()
    await pair.one.set_link(key, "L0")
    await pair.one.apply(key, [Upsert(B)], [], link="L2", after="L0")
    late = await pair.two.apply(key, [Upsert(A)], [B], link="L1", after="L0")
    assert late.overtaken and not late.rows
    assert [row.id for row in await pair.two.messages(key)] == [B]
    row = await pair.one.folder(ME, FolderId("F"))
    assert row is not None and row.delta_link == "L2"
    assert not (await pair.two.apply(key, [Upsert(A)], [B], link="L3", after="L2")).overtaken


# -- portions --


async def test_portions_are_settled_one_node_at_a_time(pair: Pair) -> None:
    """Whatever they ask for: together never more than four."""
    stores = (pair.one, pair.two)

    def wanting(node: int, most: int) -> Any:
        def decide(portions: Sequence[Portion]) -> Portion:
            free = 4 - sum(portion.slots for portion in portions if portion.node != node)
            assert free >= 0
            return Portion(node, True, min(most, free), 0, 0)

        return decide

    await asyncio.gather(
        *(store.nodes.share(7, wanting(store.beat.node, 1 + n % 4)) for n in range(12) for store in stores)
    )
    assert await pair.one.nodes.shared() == {7}
    last = {portion.node: portion for portion in await pair.one.nodes.share(7, lambda portions: portions[0])}
    assert last.keys() == {pair.two.beat.node}
    assert pair.ears[0].of(Hint.SHARE)


# -- SQLite has the same words --


async def test_the_words_are_sqlites_too(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "gateway.db", key=b"k" * 32, clock=lambda: 1_000)
    await store.open()
    said: list[Hint] = []
    nodes = NodeJobs(store._engine, lambda: 1, lambda db, hint, numbers: said.append(hint))
    await store._engine.write(lambda db: db.execute("INSERT INTO node VALUES (1, 'x', 0), (2, 'y', 0)"))
    assert (await nodes.leases(["x"])).keys() == {"x"}
    await nodes.release("x")
    await nodes.watch(ME, [3])
    assert await nodes.watched() == {}
    assert await nodes.share(5, lambda portions: Portion(1, True, 4, 0, 0)) == []
    key, at = await nodes.enter(ME)
    assert (await nodes.news(key, at), await nodes.newest([key]), await nodes.levels([1])) == ([], {}, {})
    assert await nodes.orphans(("copy",)) == []
    assert said == [Hint.MEMBERS, Hint.WATCHED]
    await store.close()


async def test_alone_nothing_is_written_for_others(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "gateway.db", key=b"k" * 32, clock=lambda: 1_000)
    await store.open()
    await store.subscribe(ME, "x", True)
    await store.put_folders(ME, [FolderUpsert(FolderId("F"))], [], link=None)
    await store.journal_claim(ME)
    count = await store._engine.read(lambda db: db.execute("SELECT COUNT(*) FROM news").fetchone())
    assert count == (0,) and type(store.speech) is Silent
    await store.close()
