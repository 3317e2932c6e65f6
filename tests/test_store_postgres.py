"""The PostgreSQL engine's own promises: reconnects, locks between processes, schema, errors, secrecy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.errors import Unavailable
from gateway.core.types import AccountId, FolderId, MessageId, ModSeq
from gateway.store import dialect, schema
from gateway.store.api import Facts, FolderUpsert, Store, Upsert
from gateway.store.errors import SchemaTooNew, WrongKey
from tests import postgres_server
from tests.postgres_server import Server

pytest.importorskip("asyncpg")

from gateway.store.pgengine import TRIES
from gateway.store.postgres import PostgresStore
from tests.store_support import put_original

ME = AccountId("alice")
A = MessageId("a")


def make(url: str, **options: Any) -> PostgresStore:
    return PostgresStore(
        url, key=options.pop("key", b"k" * 32), clock=lambda: 1_000, readers=2, writers=2, **options
    )


@pytest.fixture
def url() -> str:
    return postgres_server.shared().database()


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    store = make(url)
    await store.open()
    yield store
    await store.close()


async def a_folder(store: Store, id: str = "F") -> int:
    rows = await store.put_folders(ME, [FolderUpsert(FolderId(id))], [], link=None)
    key = next(row.key for row in rows if row.id == id)
    await store.finish_first_sync(key, link="x")
    return key


def kick(url: str) -> None:
    """Every connection of stores is cut by the server."""
    postgres_server.shared().sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'graph-mail-gateway'"
    )


def test_it_is_a_store(url: str) -> None:
    store: Store = make(url)  # mypy checks the shape
    assert store


# -- words --


def test_statements_are_turned_by_the_tables() -> None:
    assert dialect.statement("UPDATE t SET a = ? WHERE b IS ? AND c = ?", True) == (
        "UPDATE t SET a = $1 WHERE b IS NOT DISTINCT FROM $2 AND c = $3", (),
    )  # fmt: skip
    assert dialect.statement("SELECT :b + :a + :b", False) == ("SELECT $1 + $2 + $1", ("b", "a"))


@pytest.mark.parametrize("ending", dialect.LOCKED)
def test_who_writes_locks_what_it_reads_first(ending: str) -> None:
    sql = ending if ending.startswith("SELECT") else "SELECT modseq" + ending
    assert dialect.statement(sql, True)[0].endswith(" FOR NO KEY UPDATE")
    assert "UPDATE" not in dialect.statement(sql, False)[0]


def test_every_table_turns_into_one_with_types_of_postgresql() -> None:
    for number, migration in enumerate(schema.MIGRATIONS):
        for sql in map(dialect.definition, migration):
            for word in ("STRICT", "WITHOUT ROWID", "BLOB", "INTEGER", "AUTOINCREMENT", "--"):
                assert word not in sql, (number, sql)


# -- connections --


async def test_a_connection_that_was_cut_is_made_anew_and_nobody_notices(
    store: PostgresStore, url: str
) -> None:
    key = await a_folder(store)
    for round in range(3):
        kick(url)
        await store.apply(key, [Upsert(MessageId(f"m{round}"))], [])
        kick(url)
        assert len(await store.messages(key)) == round + 1


async def test_a_server_that_is_away_is_unavailable_and_comes_back_with_all_that_was_answered() -> None:
    with postgres_server.own() as server:
        store = make(server.database())
        await store.open()
        key = await a_folder(store)
        await store.apply(key, [Upsert(A)], [])
        server.stop()
        for refused in (store.apply(key, [Upsert(MessageId("b"))], []), store.messages(key)):
            with pytest.raises(Unavailable):
                await refused
        server.start()
        [row] = (await store.apply(key, [Upsert(MessageId("c"))], [])).rows
        assert (row.uid, [one.id for one in await store.messages(key)]) == (1002, ["a", "c"])
        await store.close()


async def test_no_server_at_all_is_unavailable_at_open() -> None:
    store = make("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(Unavailable):
        await store.open()
    with pytest.raises(Unavailable):
        await store.folders(ME)


async def test_a_closed_store_is_unavailable(url: str) -> None:
    store = make(url)
    with pytest.raises(Unavailable):
        await store.folders(ME)
    await store.open()
    await store.close()
    await store.close()
    for refused in (store.subscribe(ME, "x", True), store.put_facts(ME, {A: Facts(b"", b"", "")})):
        with pytest.raises(Unavailable):
            await refused


async def test_writes_waiting_at_close_are_finished(url: str) -> None:
    store = make(url)
    await store.open()
    writes = [asyncio.ensure_future(store.subscribe(ME, f"{n}", True)) for n in range(30)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    await store.open()
    assert len(await store.subscriptions(ME)) == 30
    await store.close()


async def test_a_cancelled_caller_harms_nobody(store: PostgresStore) -> None:
    writes = [asyncio.ensure_future(store.subscribe(ME, f"{n}", True)) for n in range(10)]
    await asyncio.sleep(0)
    writes[3].cancel()
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(result) for result in results].count(asyncio.CancelledError) == 1
    await store.subscribe(ME, "after", True)
    assert "after" in await store.subscriptions(ME)


async def test_connections_are_bounded(store: PostgresStore, url: str) -> None:
    key = await a_folder(store)
    await asyncio.gather(*(store.messages(key) for _ in range(30)), *(store.reserve_uids(key, 1) for _ in range(30)),
                         *(store.subscribe(AccountId(f"u{n}"), "x", True) for n in range(30)))  # fmt: skip
    count = await store._engine.read(
        lambda db: db.execute(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'graph-mail-gateway'"
        ).fetchone()
    )
    assert count[0] <= 4


async def test_a_commit_is_durable_though_the_server_prefers_speed(store: PostgresStore) -> None:
    postgres_server.shared().sql("ALTER ROLE gateway SET synchronous_commit = off")
    try:
        kick("")
        setting = await store._engine.write(lambda db: db.execute("SHOW synchronous_commit").fetchone())
        assert setting == ("on",)
    finally:
        postgres_server.shared().sql("ALTER ROLE gateway RESET synchronous_commit")


# -- several processes on one database --


async def test_uids_and_mod_sequences_of_two_stores_never_collide(store: PostgresStore, url: str) -> None:
    key = await a_folder(store)
    other = make(url)
    await other.open()
    stores = (store, other)
    applied = await asyncio.gather(
        *(stores[n % 2].apply(key, [Upsert(MessageId(f"m{n}"))], []) for n in range(60)),
        *(stores[n % 2].reserve_uids(key, 1) for n in range(20)),
    )
    rows = [one.rows[0] for one in applied[:60]]
    given = [row.uid for row in rows] + [uid for [uid] in applied[60:]]
    assert len(set(given)) == 80
    assert len({row.modseq for row in rows}) == 60
    in_order = sorted(rows, key=lambda row: row.modseq)
    assert [row.uid for row in in_order] == sorted(row.uid for row in rows)
    assert await store.messages(key) == await other.messages(key)
    await other.close()


async def test_who_reads_mod_sequences_in_order_misses_nothing(store: PostgresStore, url: str) -> None:
    """Invariant 1: what `since` answered once is all there will ever be below its mod-sequence."""
    key = await a_folder(store)
    other = make(url)
    await other.open()
    seen: set[str] = set()

    async def watch() -> None:
        modseq = ModSeq(0)
        while len(seen) < 40:
            delta = await other.since(key, modseq)
            modseq = delta.modseq
            seen.update(row.id for row in delta.rows)

    writes = [(store, other)[n % 2].apply(key, [Upsert(MessageId(f"m{n}"))], []) for n in range(40)]
    await asyncio.wait_for(asyncio.gather(watch(), *writes), 60)
    await other.close()


async def test_two_stores_that_make_the_same_rows_agree(store: PostgresStore, url: str) -> None:
    other = make(url)
    await other.open()
    stores = (store, other)
    folders = [FolderUpsert(FolderId(f"F{n}")) for n in range(5)]
    for _ in range(4):
        answers = await asyncio.gather(
            *(one.put_folders(ME, folders[:: 1 - 2 * n], [], link=None) for n, one in enumerate(stores)),
            *(one.put_folders(ME, [FolderUpsert(FolderId("G"))], [FolderId("G")], link=None) for one in stores),
            *(one.put_facts(ME, {A: Facts(b"%d" % n, b"", "")}) for n, one in enumerate(stores)),
            *(one.put_blob(b"same") for one in stores),
            *(one.put_texts(ME, {"M": "text"}) for one in stores),
            *(one.put_annotations(ME, None, {"/private/x": b"%d" % n}) for n, one in enumerate(stores)),
        )  # fmt: skip
        assert answers[4] == answers[5]  # the loser adopts
        assert answers[6] == answers[7]
    rows = await store.folders(ME)
    assert sorted(row.id for row in rows) == ["F0", "F1", "F2", "F3", "F4", "G"]
    assert len({row.uid_validity for row in rows}) == 6
    assert await store.annotation_octets(ME) == len("/private/x") + 1
    await other.close()


async def test_a_transaction_that_deadlocked_is_run_again(store: PostgresStore) -> None:
    one, two = await a_folder(store, "one"), await a_folder(store, "two")
    met: list[int] = []

    def cross(first: int, second: int) -> Any:
        def job(db: Any) -> int:
            met.append(first)
            db.execute("SELECT modseq FROM folder WHERE key = ?", (first,)).fetchone()
            if len(met) <= 2:
                db.execute("SELECT pg_sleep(0.2)")
            return int(db.execute("SELECT modseq FROM folder WHERE key = ?", (second,)).fetchone()[0])

        return job

    assert hash(0) % 2 != hash(1) % 2  # two sessions
    engine = store._engine
    assert await asyncio.gather(engine.write(cross(one, two), 0), engine.write(cross(two, one), 1)) == [2, 2]
    assert len(met) >= 3


async def test_what_fails_again_and_again_is_told(store: PostgresStore) -> None:
    runs: list[int] = []

    def job(db: Any) -> None:
        runs.append(1)
        db.execute("INSERT INTO meta (name, value) VALUES ('probe', ?)", (b"",))

    with pytest.raises(Unavailable):
        await store._engine.write(job)
    assert len(runs) == TRIES


async def test_a_mistake_of_ours_is_no_excuse_to_try_again(store: PostgresStore) -> None:
    with pytest.raises(Exception, match="nonsense"):
        await store._engine.write(lambda db: db.execute("SELECT nonsense"))
    await store.subscribe(ME, "x", True)


async def test_whether_a_commit_took_place_is_nobodys_guess(store: PostgresStore) -> None:
    """The connection goes while COMMIT is under way: not run again, for it may have happened."""
    runs: list[int] = []

    def cut_at_commit(db: Any) -> None:
        db.execute(
            "CREATE OR REPLACE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'"
        )
        db.execute(
            "CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON subscription DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION cut()"
        )

    def job(db: Any) -> None:
        runs.append(1)
        db.execute("INSERT INTO subscription VALUES ((SELECT MIN(key) FROM account), 'y')")

    await store.subscribe(ME, "x", True)
    await store._engine.write(cut_at_commit)
    with pytest.raises(Unavailable):
        await store._engine.write(job)
    assert len(runs) == 1
    assert await store.subscriptions(ME) == {"x"}


# -- schema, keys, secrecy --


async def test_another_key_is_refused(url: str) -> None:
    store = make(url)
    await store.open()
    await store.close()
    with pytest.raises(WrongKey):
        await make(url, key=b"j" * 32).open()


async def test_a_newer_schema_is_left_alone(store: PostgresStore, url: str) -> None:
    await store._engine.write(lambda db: db.execute("UPDATE schema_version SET number = 99"))
    with pytest.raises(SchemaTooNew, match="99"):
        await make(url).open()


async def test_a_migration_is_whole_or_not_at_all(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = schema.MIGRATIONS
    monkeypatch.setattr(schema, "MIGRATIONS", (*known, ("CREATE TABLE two (x INTEGER) STRICT", "NONSENSE")))
    with pytest.raises(Exception, match="NONSENSE"):
        await make(url).open()
    monkeypatch.setattr(schema, "MIGRATIONS", (*known, ("CREATE TABLE two (x INTEGER) STRICT",)))
    store = make(url)
    await store.open()
    assert (await store._engine.read(lambda db: db.execute("SELECT number FROM schema_version").fetchall())) == [
        (len(known) + 1,)
    ]  # fmt: skip
    await store.close()


async def test_several_processes_may_migrate_at_once(url: str) -> None:
    stores = [make(url) for _ in range(3)]
    await asyncio.gather(*(store.open() for store in stores))
    assert await stores[2].folders(ME) == []
    for store in stores:
        await store.close()


async def test_nothing_a_person_wrote_is_readable_in_the_database(store: PostgresStore) -> None:
    secret = b"PLAINTEXT-MARKER"
    key = await a_folder(store)
    await store.put_facts(ME, {A: Facts(secret, secret, secret.decode(), secret, secret)})
    await put_original(store, ME, A, secret * 10)
    await store.journal_add(ME, "send", secret)
    await store.set_link(key, secret.decode())
    await store.put_texts(ME, {"M": secret.decode()})
    tables = ("facts", "pin", "chunk", "journal", "folder", "body_text")
    text = await store._engine.read(
        lambda db: [row for table in tables for row in db.execute(f"SELECT * FROM {table}").fetchall()]
    )
    assert len(text) >= 5
    assert not any(secret in value for row in text for value in row if isinstance(value, bytes))
    assert not any(secret.decode() in value for row in text for value in row if isinstance(value, str))


def test_the_tests_own_server_is_told_apart_from_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_server, "binaries", lambda: None)
    monkeypatch.setenv("GATEWAY_REQUIRE_CLIENTS", "1")
    with pytest.raises(pytest.fail.Exception):
        Server(postgres_server.require())
