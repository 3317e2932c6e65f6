"""The SQLite engine's own promises: files, keys, schema, errors, secrecy at rest, speed."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.errors import Unavailable
from gateway.core.types import AccountId, Flags, FolderId, MessageId, ModSeq, SystemFlag
from gateway.store import schema
from gateway.store.api import Facts, FolderUpsert, Pin, Store, Upsert
from gateway.store.errors import Damaged, SchemaTooNew, WrongKey
from gateway.store.sqlite import SqliteStore
from tests.store_support import put_original

ME = AccountId("alice")
A = MessageId("a")


def make(tmp_path: Path, **options: Any) -> SqliteStore:
    return SqliteStore(
        tmp_path / "state" / "store.db", key=options.pop("key", b"k" * 32), clock=lambda: 1_000, **options
    )


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = make(tmp_path)
    await store.open()
    yield store
    await store.close()


async def a_folder(store: Store, total: int = 0) -> int:
    rows = await store.put_folders(ME, [FolderUpsert(FolderId("F"), total=total)], [], link=None)
    return rows[0].key


def test_it_is_a_store(tmp_path: Path) -> None:
    store: Store = make(tmp_path)  # mypy checks the shape
    assert store


async def test_state_files_are_private(store: SqliteStore, tmp_path: Path) -> None:
    await a_folder(store)
    folder = tmp_path / "state"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {p.name for p in folder.iterdir()} >= {"store.db", "store.db-wal"}
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}


async def test_a_commit_outlives_a_power_loss(store: SqliteStore) -> None:
    """FULL (2): NORMAL in WAL mode loses the last commits, and with them UIDs that clients were told."""
    mode, level = await store._engine.write(
        lambda db: (
            db.execute("PRAGMA journal_mode").fetchone()[0],
            db.execute("PRAGMA synchronous").fetchone()[0],
        )
    )
    assert (mode, level) == ("wal", 2)


async def test_another_key_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    store = make(tmp_path)
    await store.open()
    await store.close()
    with pytest.raises(WrongKey):
        await make(tmp_path, key=b"j" * 32).open()
    again = make(tmp_path)
    await again.open()
    await again.close()


async def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    store = make(tmp_path)
    await store.open()
    await store.close()
    with sqlite3.connect(tmp_path / "state" / "store.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(SchemaTooNew, match="99"):
        await make(tmp_path).open()


def test_a_migration_is_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    monkeypatch.setattr(
        schema, "MIGRATIONS", (("CREATE TABLE one (x)",), ("CREATE TABLE two (x)", "NONSENSE"))
    )
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(db)
    assert db.execute("PRAGMA user_version").fetchone()[0] == 1
    assert [name for (name,) in db.execute("SELECT name FROM sqlite_master")] == ["one"]
    monkeypatch.setattr(schema, "MIGRATIONS", (("CREATE TABLE one (x)",), ("CREATE TABLE two (x)",)))
    schema.migrate(db)
    schema.migrate(db)
    assert [name for (name,) in db.execute("SELECT name FROM sqlite_master")] == ["one", "two"]


async def test_nothing_a_person_wrote_is_readable_on_disk(tmp_path: Path) -> None:
    store = make(tmp_path)
    await store.open()
    key = await a_folder(store)
    secret = b"PLAINTEXT-MARKER"
    header = b"Subject: " + secret + b"\r\n\r\n"
    await store.put_facts(ME, {A: Facts(header, b"(" + secret + b")", secret.decode(), secret, secret)})
    await store.pin(ME, A, Pin(header, 5, secret * 2))
    await put_original(store, ME, A, header + b"x" * 100)
    await store.journal_add(ME, "send", secret)
    await store.put_folders(ME, [], [], link="https://graph/?token=" + secret.decode())
    await store.set_link(key, "https://graph/?token=" + secret.decode())
    await store.close()
    stored = b"".join(p.read_bytes() for p in (tmp_path / "state").iterdir())
    assert len(stored) > 4096
    assert secret not in stored


async def test_facts_moved_to_another_message_do_not_open(store: SqliteStore) -> None:
    await store.put_facts(ME, {A: Facts(b"H", b"E", "")})
    await store._engine.write(lambda db: db.execute("UPDATE facts SET id = 'b'"))
    with pytest.raises(Damaged):
        await store.facts(ME, [MessageId("b")])


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = make(tmp_path)
    with pytest.raises(Unavailable):
        await store.folders(ME)
    await store.open()
    await store.close()
    await store.close()
    with pytest.raises(Unavailable):
        await store.subscribe(ME, "x", True)


async def test_what_is_sealed_before_it_is_written_is_refused_at_a_closed_store_too(tmp_path: Path) -> None:
    store = make(tmp_path)
    await store.open()
    await store.close()
    for refused in (store.put_blob(b"x"), store.put_facts(ME, {A: Facts(b"", b"", "")})):
        with pytest.raises(Unavailable):
            await refused


async def test_a_rollback_that_fails_costs_no_reader(store: SqliteStore) -> None:
    def fail(db: sqlite3.Connection) -> None:
        db.set_authorizer(lambda action, first, *_: sqlite3.SQLITE_DENY if first == "ROLLBACK" else 0)
        raise sqlite3.OperationalError("disk I/O error")

    for _ in range(5):  # more than there are readers
        with pytest.raises(Unavailable):
            await asyncio.wait_for(store._engine.read(fail), 10)


async def test_writes_waiting_at_close_are_finished(tmp_path: Path) -> None:
    store = make(tmp_path, group=3)
    await store.open()
    writes = [asyncio.ensure_future(store.subscribe(ME, f"{n}", True)) for n in range(50)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    await store.open()
    assert len(await store.subscriptions(ME)) == 50
    await store.close()


async def test_a_cancelled_caller_harms_nobody(store: SqliteStore) -> None:
    writes = [asyncio.ensure_future(store.subscribe(ME, f"{n}", True)) for n in range(10)]
    await asyncio.sleep(0)
    writes[3].cancel()
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(r) for r in results].count(asyncio.CancelledError) == 1
    await store.subscribe(ME, "after", True)
    assert "after" in await store.subscriptions(ME)


async def test_a_full_disk_is_unavailable_and_passes(store: SqliteStore) -> None:
    await a_folder(store)
    pages = await store._engine.write(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await store._engine.write(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    big = random.Random(1).randbytes(300_000)
    results = await asyncio.gather(
        put_original(store, ME, A, big), *(put_original(store, ME, A, big + b"%d" % n) for n in range(5)),
        return_exceptions=True,
    )  # fmt: skip
    assert {type(result) for result in results} == {Unavailable}
    assert await store.original(ME, A) is None
    assert await store.folders(ME)
    await store._engine.write(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone())
    await put_original(store, ME, A, big)
    assert await store.original(ME, A) == big


async def test_reads_do_not_wait_for_a_long_write(store: SqliteStore) -> None:
    await store.subscribe(ME, "x", True)
    order: list[str] = []

    def slow(db: sqlite3.Connection) -> None:
        time.sleep(0.2)
        order.append("write")

    write = asyncio.ensure_future(store._engine.write(slow))
    await asyncio.sleep(0)
    assert await store.subscriptions(ME) == {"x"}
    order.append("read")
    await write
    assert order == ["read", "write"]


async def test_a_hundred_thousand_messages(store: SqliteStore) -> None:
    """Bounds are generous (a slow machine, tests beside it): they catch work that grows with the folder."""
    key = await a_folder(store, total=100_000)
    upserts = [
        Upsert(
            MessageId(f"AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A{n:032}"),
            flags=Flags(SystemFlag(n % 2)),
            internal_date=n,
            size=n,
            etag=f'W/"{n:040}"',
            thread_id=f"T{n:024}",
        )
        for n in range(100_000)
    ]
    for start in range(0, len(upserts), 5000):
        await store.stage(key, upserts[start : start + 5000], link="next")
    times: dict[str, float] = {}
    start_at = time.perf_counter()
    applied = await store.finish_first_sync(key, link="d")
    times["finish"] = time.perf_counter() - start_at
    start_at = time.perf_counter()
    rows = await store.messages(key)
    times["load"] = time.perf_counter() - start_at
    assert len(rows) == len(applied.rows) == 100_000
    changes = [Upsert(row.id, flags=Flags(SystemFlag.DELETED)) for row in rows[::1000]]
    start_at = time.perf_counter()
    changed = await store.apply(key, changes, [rows[1].id])
    times["apply"] = time.perf_counter() - start_at
    start_at = time.perf_counter()
    delta = await store.since(key, ModSeq(changed.modseq - 1))
    times["since"] = time.perf_counter() - start_at
    assert (len(delta.rows), delta.gone) == (100, [(2, changed.modseq)])
    assert times["finish"] < 8
    assert times["load"] < 4
    assert times["apply"] < 0.5
    assert times["since"] < 0.2


async def test_an_answer_is_given_only_for_what_is_stored_when_the_disk_fills_up(store: SqliteStore) -> None:
    """SQLite may give up a whole transaction when it is full: those that shared it must all hear of it."""
    pages = await store._engine.write(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await store._engine.write(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 40}").fetchone())
    rng = random.Random(2)
    bodies = {MessageId(f"m{n}"): rng.randbytes(rng.choice([100, 30_000, 90_000])) for n in range(40)}
    jobs = [put_original(store, ME, id, data) for id, data in bodies.items()]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    # How many share a transaction is a matter of time: perhaps none of them found room.
    assert Unavailable in {type(result) for result in results} <= {type(None), Unavailable}
    for (id, data), result in zip(bodies.items(), results, strict=True):
        assert await store.original(ME, id) == (data if result is None else None)
