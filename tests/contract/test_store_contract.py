"""Every promise of `gateway.store.api`, for each engine. An engine is a way to open the same state again and
again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.errors import NoSuchMailbox
from gateway.core.objectid import object_id
from gateway.core.types import AccountId, Flags, FolderId, MessageId, ModSeq, SystemFlag, Uid
from gateway.store.api import (
    ABSENT,
    Applied,
    Counts,
    Facts,
    FolderRow,
    FolderUpsert,
    Local,
    MessageRow,
    Pin,
    Store,
    Upsert,
)
from gateway.store.outgoing import QueueTotals, SubmissionRow
from gateway.store.sqlite import SqliteStore
from gateway.store.syncing import Surplus, Walk
from tests import postgres_server
from tests.store_support import put_original

ALICE, BOB = AccountId("alice"), AccountId("bob")
NOW = 1_700_000_000
SEEN, DELETED = Flags(SystemFlag.SEEN), Flags(SystemFlag.DELETED)
TOMBSTONES = 4


@dataclass
class State:
    """One state folder: `open` gives a store on it, as a process start would."""

    open_store: Callable[[float, int], Awaitable[Store]]
    opened: list[Store] = field(default_factory=list)

    async def open(self, now: float = NOW, tombstones: int = TOMBSTONES) -> Store:
        store = await self.open_store(now, tombstones)
        self.opened.append(store)
        return store

    async def close(self) -> None:
        for store in self.opened:
            await store.close()


def sqlite_state(folder: Path) -> State:
    async def open_store(now: float, tombstones: int) -> Store:
        store = SqliteStore(
            folder / "s" / "store.db", key=b"k" * 32, clock=lambda: now, tombstones=tombstones
        )
        await store.open()
        return store

    return State(open_store)


def postgres_state(folder: Path) -> State:
    url = postgres_server.shared().database()

    async def open_store(now: float, tombstones: int) -> Store:
        from gateway.store.postgres import PostgresStore

        store = PostgresStore(url, key=b"k" * 32, clock=lambda: now, tombstones=tombstones, readers=2)
        await store.open()
        return store

    return State(open_store)


ENGINES = {"sqlite": sqlite_state, "postgres": postgres_state}


@pytest_asyncio.fixture(params=list(ENGINES))
async def state(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[State]:
    state = ENGINES[request.param](tmp_path)
    yield state
    await state.close()


@pytest_asyncio.fixture
async def store(state: State) -> Store:
    return await state.open()


def told(id: str, **values: Any) -> Upsert:
    return Upsert(MessageId(id), **values)


def ids(*names: str) -> list[MessageId]:
    return [MessageId(name) for name in names]


def uids_of(rows: list[MessageRow]) -> list[int]:
    return [row.uid for row in rows]


async def a_folder(store: Store, id: str = "F", total: int = 0, account: AccountId = ALICE) -> FolderRow:
    rows = await store.put_folders(account, [FolderUpsert(FolderId(id), name=id, total=total)], [], link=None)
    return next(row for row in rows if row.id == id)


async def ready(store: Store, *names: str, id: str = "F") -> int:
    """A folder whose first sync found these messages, in this order."""
    folder = await a_folder(store, id)
    await store.stage(folder.key, [told(n, internal_date=i) for i, n in enumerate(names)], link=None)
    await store.finish_first_sync(folder.key, link="first")
    return folder.key


async def fresh(store: Store, id: str = "F") -> FolderRow:
    row = await store.folder(ALICE, FolderId(id))
    assert row is not None
    return row


# -- folders --


async def test_a_new_folder_reserves_uids_for_its_first_sync(store: Store) -> None:
    row = await a_folder(store, total=50_000)
    assert row.reserved == 56_000
    assert row.uid_next == 56_001
    assert not row.ready
    assert row.uid_validity == NOW
    assert row.recent_from == 1
    assert row.modseq == 1
    assert (row.name, row.account, row.delta_link) == ("F", ALICE, "")


async def test_what_was_not_told_of_a_folder_is_kept(store: Store) -> None:
    told_all = FolderUpsert(FolderId("F"), FolderId("P"), "Name", "inbox", True, 7, 3)
    await store.put_folders(ALICE, [told_all], [], link=None)
    [row] = await store.put_folders(ALICE, [FolderUpsert(FolderId("F"), unread=4)], [], link=None)
    assert (row.parent, row.name, row.well_known, row.hidden, row.total, row.unread) == (
        "P", "Name", "inbox", True, 7, 4,
    )  # fmt: skip


async def test_uidvalidity_rises_and_is_never_given_twice_even_after_delete_and_restart(state: State) -> None:
    store = await state.open()
    first, second = (await a_folder(store, "A")).uid_validity, (await a_folder(store, "B")).uid_validity
    assert (first, second) == (NOW, NOW + 1)
    await store.put_folders(ALICE, [], [FolderId("A"), FolderId("B")], link=None)
    await store.close()
    again = await state.open(NOW - 1000)  # a clock that was set back
    row = await a_folder(again, "A")
    assert row.uid_validity == NOW + 2


async def test_uidvalidity_follows_the_clock_so_a_lost_store_starts_higher(state: State) -> None:
    await a_folder(await state.open())
    later = await state.open(NOW + 10_000)
    assert (await a_folder(later, "G")).uid_validity == NOW + 10_000


async def test_a_folder_made_anew_under_the_same_id_has_no_old_messages_and_another_mailbox_id(
    store: Store,
) -> None:
    key = await ready(store, "a", "b")
    old = await fresh(store)
    await store.put_folders(ALICE, [], [FolderId("F")], link=None)
    assert await store.folder(ALICE, FolderId("F")) is None
    new = await a_folder(store)
    assert new.key != key
    assert new.mailbox_id != old.mailbox_id
    assert new.uid_validity > old.uid_validity
    assert await store.messages(new.key) == []
    assert await store.messages(key) == []


async def test_rename_and_move_of_a_folder_keep_its_numbers(store: Store) -> None:
    await ready(store, "a")
    before = await fresh(store)
    moved = FolderUpsert(FolderId("F"), parent=FolderId("Q"), name="Other")
    await store.put_folders(ALICE, [moved], [], link=None)
    after = await fresh(store)
    assert (after.key, after.uid_validity, after.mailbox_id) == (
        before.key,
        before.uid_validity,
        before.mailbox_id,
    )


async def test_folder_ids_are_compared_as_octets_and_by_account(store: Store) -> None:
    await a_folder(store, "AAkAb=")
    await a_folder(store, "AAkAB=")
    await a_folder(store, "AAkAb=", account=BOB)
    assert [row.id for row in await store.folders(ALICE)] == ["AAkAb=", "AAkAB="]
    assert len(await store.folders(BOB)) == 1
    assert await store.folders(AccountId("nobody")) == []


async def test_the_hierarchy_link_is_kept_with_the_folders(state: State) -> None:
    store = await state.open()
    assert await store.hierarchy_link(ALICE) == ""
    await store.put_folders(ALICE, [], [], link="https://graph/delta?token=1")
    await store.put_folders(ALICE, [FolderUpsert(FolderId("F"))], [], link=None)
    await store.close()
    assert await (await state.open()).hierarchy_link(ALICE) == "https://graph/delta?token=1"


async def test_subscriptions_are_names_and_follow_a_rename_with_their_children(store: Store) -> None:
    for name in ("A", "A/b", "AB", "C"):
        await store.subscribe(ALICE, name, True)
    await store.subscribe(ALICE, "C", False)
    await store.subscribe(ALICE, "never", False)
    await store.rename_subscriptions(ALICE, "A", "Z/y")
    assert await store.subscriptions(ALICE) == {"Z/y", "Z/y/b", "AB"}
    assert await store.subscriptions(BOB) == set()


async def test_a_rename_below_itself_keeps_every_subscription(store: Store) -> None:
    for name in ("A", "A/A"):
        await store.subscribe(ALICE, name, True)
    await store.rename_subscriptions(ALICE, "A", "A/A")
    assert await store.subscriptions(ALICE) == {"A/A", "A/A/A"}


# -- first sync --


async def test_the_first_sync_numbers_by_date_then_id(store: Store) -> None:
    folder = await a_folder(store)
    pages = [[told("c", internal_date=5), told("b", internal_date=9)], [told("a", internal_date=9)]]
    assert await store.stage(folder.key, pages[0], link="page-2") == 2
    assert await store.stage(folder.key, pages[1], link=None) == 3
    assert await store.messages(folder.key) == []
    applied = await store.finish_first_sync(folder.key, link="delta")
    assert [(row.id, row.uid) for row in applied.rows] == [("c", 1), ("a", 2), ("b", 3)]
    assert await store.messages(folder.key) == applied.rows
    after = await fresh(store)
    assert after.ready
    assert after.delta_link == "delta"
    assert after.uid_next == folder.reserved + 1
    assert after.modseq == applied.modseq > folder.modseq
    assert after.synced_at == NOW
    assert await store.staged(folder.key) == 0


async def test_staging_is_idempotent_and_continues_after_a_restart(state: State) -> None:
    store = await state.open()
    folder = await a_folder(store)
    await store.stage(folder.key, [told("a", flags=SEEN, size=7), told("b")], link="next-page")
    await store.close()
    store = await state.open()
    assert (await fresh(store)).delta_link == "next-page"
    assert await store.staged(folder.key) == 2
    assert await store.stage(folder.key, [told("a", internal_date=3), told("c")], link=None) == 3
    await store.unstage(folder.key, ids("b", "unknown"))
    rows = (await store.finish_first_sync(folder.key, link="d")).rows
    assert [(row.id, row.flags, row.size, row.internal_date) for row in rows] == [
        ("c", Flags(), 0, 0), ("a", SEEN, 7, 3),
    ]  # fmt: skip


async def test_the_first_sync_happens_once(store: Store) -> None:
    key = await ready(store, "a")
    with pytest.raises(ValueError):
        await store.stage(key, [told("b")], link=None)
    with pytest.raises(ValueError):
        await store.finish_first_sync(key, link="x")


async def test_what_was_appended_before_the_first_sync_lies_above_the_reserved_range_and_stays(
    store: Store,
) -> None:
    folder = await a_folder(store)
    [uid] = await store.reserve_uids(folder.key, 1)
    assert uid == folder.reserved + 1
    await store.apply(folder.key, [told("mine", uid=uid)], [])
    await store.stage(folder.key, [told("old"), told("mine", flags=SEEN)], link=None)
    rows = (await store.finish_first_sync(folder.key, link="d")).rows
    assert [(row.id, row.uid) for row in rows] == [("old", 1), ("mine", uid)]
    assert (await store.apply(folder.key, [told("next")], [])).rows[0].uid == uid + 1


async def test_a_walk_is_taken_up_where_it_was_and_ends_with_the_delta_link(state: State) -> None:
    store = await state.open()
    folder = await a_folder(store)
    assert await store.walk(folder.key) == Walk()
    await store.walk_on(folder.key, ids("a", "b", "c"), [], link="page-2", done=False)
    await store.listed(folder.key, 1000)
    await store.listed(folder.key, 0)
    await store.close()
    store = await state.open(now=NOW + 50)
    assert await store.walk(folder.key) == Walk("page-2", False, NOW, frozenset({0, 1000}))
    await store.stage(folder.key, [told("a", etag="e"), told("x")], link=None)
    assert await store.staged_etags(folder.key, ids("a", "x", "b")) == {"a": "e", "x": ""}
    await store.apply(folder.key, [told("mine"), told("d")], [])
    await store.walk_on(folder.key, ids("d", "b"), ids("c"), link="delta", done=True)
    assert await store.walk_gaps(folder.key) == (ids("b"), ids("mine", "x"))
    assert (await store.walk(folder.key)).done
    await store.finish_first_sync(folder.key, link="")
    assert (await store.walk(folder.key)).link == "delta"
    assert await store.walk_gaps(folder.key) == (ids("b"), ids("mine", "x"))
    await store.apply(folder.key, [], [], link="delta")
    assert await store.walk(folder.key) == Walk()
    assert await store.walk_gaps(folder.key) == ([], ids("a", "d", "mine", "x"))


async def test_a_walk_can_be_forgotten_and_goes_with_its_folder(store: Store) -> None:
    folder = await a_folder(store)
    await store.stage(folder.key, [told("a")], link=None)
    await store.walk_on(folder.key, ids("a"), [], link="page", done=False)
    await store.forget_walk(folder.key)
    assert await store.walk(folder.key) == Walk()
    assert await store.walk_gaps(folder.key) == ([], ids("a"))
    await store.put_folders(ALICE, [], [folder.id], link=None)
    for work in (
        store.walk_on(folder.key, ids("a"), [], link="page", done=False), store.listed(folder.key, 0),
        store.put_surplus(folder.key, Surplus(1, 1)),
    ):  # fmt: skip
        with pytest.raises(NoSuchMailbox):
            await work


async def test_what_graph_counts_beyond_ours_is_kept(store: Store) -> None:
    key = await ready(store, "a")
    assert await store.surplus(key) is None
    await store.put_surplus(key, Surplus(3, -1))
    await store.put_surplus(key, Surplus(2, 0))
    assert await store.surplus(key) == Surplus(2, 0)


async def test_when_the_hierarchy_was_heard_of_last_is_kept(state: State) -> None:
    store = await state.open()
    assert await store.hierarchy_synced(ALICE) == 0
    await store.put_folders(ALICE, [], [], link="one")
    await store.close()
    store = await state.open(now=NOW + 9)
    assert (await store.hierarchy_link(ALICE), await store.hierarchy_synced(ALICE)) == ("one", NOW)
    await store.hierarchy_heard(ALICE, "two")
    assert (await store.hierarchy_link(ALICE), await store.hierarchy_synced(ALICE)) == ("two", NOW + 9)


async def test_more_messages_than_reserved_go_above_every_given_uid(store: Store) -> None:
    folder = await a_folder(store)  # R = 1000
    [promised] = await store.reserve_uids(folder.key, 1)
    await store.stage(folder.key, [told(f"{n:04}", internal_date=n) for n in range(1003)], link=None)
    rows = (await store.finish_first_sync(folder.key, link="d")).rows
    assert uids_of(rows) == [*range(1, 1001), 1002, 1003, 1004]
    assert promised == 1001
    [late] = (await store.apply(folder.key, [told("late", uid=promised)], [])).rows
    assert late.uid == 1005


async def test_an_empty_folder_becomes_ready(store: Store) -> None:
    key = await ready(store)
    assert await store.messages(key) == []
    assert (await store.apply(key, [told("a")], [])).rows[0].uid == 1001


# -- apply --


async def test_a_new_message_gets_the_next_uid_and_all_it_was_told(store: Store) -> None:
    key = await ready(store)
    flags = Flags(SystemFlag.SEEN | SystemFlag.FLAGGED, frozenset({b"work", b"$Forwarded"}))
    values = {
        "internal_date": 5,
        "size": 9,
        "size_exact": True,
        "email_id": "E",
        "thread_id": "T",
        "save_date": 6,
        "etag": "W/1",
        "modified": 7,
    }
    applied = await store.apply(key, [told("a", flags=flags, **values)], [])
    expected = MessageRow(Uid(1001), MessageId("a"), applied.modseq, flags, 5, 9, True, "E", "T", 6, "W/1", 7)
    assert applied.rows == [expected]
    assert await store.messages(key) == [expected]
    assert await store.find(key, ids("a", "b")) == {"a": expected}
    assert await store.by_uid(key, [Uid(1001), Uid(1)]) == {1001: expected}
    assert await store.ids(key) == {"a": 1001}
    assert (await fresh(store)).uid_next == 1002


async def test_a_message_keeps_its_uid_and_what_was_not_told(store: Store) -> None:
    key = await ready(store)
    await store.apply(key, [told("a", flags=SEEN, size=9, etag="1", email_id="E")], [])
    [row] = (await store.apply(key, [told("a", flags=DELETED)], [])).rows
    assert (row.uid, row.flags, row.size, row.etag, row.email_id) == (1001, DELETED, 9, "1", "E")


async def test_a_row_that_did_not_change_gets_no_mod_sequence(store: Store) -> None:
    key = await ready(store)
    first = await store.apply(key, [told("a", flags=SEEN), told("b")], [])
    same = await store.apply(key, [told("a", flags=SEEN), told("b")], [MessageId("unknown")])
    assert same == Applied(first.modseq, [], [], advanced=False)
    assert first.advanced
    one = await store.apply(key, [told("a", flags=SEEN), told("b", flags=SEEN)], [])
    assert [row.id for row in one.rows] == ["b"]
    assert one.modseq == first.modseq + 1
    assert (await store.find(key, ids("a")))["a"].modseq == first.modseq


async def test_what_clients_are_not_told_of_changes_without_a_mod_sequence(store: Store) -> None:
    key = await ready(store)
    first = await store.apply(key, [told("a", size=10)], [])
    second = await store.apply(key, [told("a", size=12, size_exact=True, etag="2", modified=3)], [])
    assert (second.modseq, second.advanced) == (first.modseq, False)
    assert [(row.size, row.size_exact, row.etag, row.modseq) for row in second.rows] == [
        (12, True, "2", first.modseq)
    ]
    assert await store.messages(key) == second.rows


async def test_an_exact_size_is_never_replaced_by_an_estimate(store: Store) -> None:
    key = await ready(store)
    await store.apply(key, [told("a", size=12, size_exact=True)], [])
    await store.apply(key, [told("a", size=99)], [])
    row = (await store.find(key, ids("a")))["a"]
    assert (row.size, row.size_exact) == (12, True)


async def test_a_uid_once_expunged_is_never_revived(store: Store) -> None:
    key = await ready(store, "a", "b")
    applied = await store.apply(key, [], ids("b"))
    assert applied.gone == [2]
    [back] = (await store.apply(key, [told("b")], [])).rows
    assert back.uid == 1001
    await store.apply(key, [], ids("b"))
    [again] = (await store.apply(key, [told("b")], [])).rows
    assert again.uid == 1002


async def test_a_message_that_left_meanwhile_is_not_brought_back_by_what_was_learnt_of_it(
    store: Store,
) -> None:
    key = await ready(store, "a", "b")
    modseq = (await store.apply(key, [], ids("a"))).modseq
    late = [told("a", size=9, known_only=True), told("b", size=9, size_exact=True, known_only=True)]
    applied = await store.apply(key, late, [])
    assert [row.id for row in applied.rows] == ["b"] and applied.modseq == modseq
    assert [(row.id, row.size) for row in await store.messages(key)] == [("b", 9)]


async def test_gone_and_told_at_once_is_a_new_message(store: Store) -> None:
    key = await ready(store, "a")
    applied = await store.apply(key, [told("a")], ids("a"))
    assert (applied.gone, uids_of(applied.rows)) == ([1], [1001])


async def test_the_same_id_told_twice_is_one_message_and_the_last_word_counts(store: Store) -> None:
    key = await ready(store)
    applied = await store.apply(key, [told("a", flags=SEEN, size=4), told("a", flags=DELETED)], [])
    assert [(row.uid, row.flags, row.size) for row in applied.rows] == [(1001, DELETED, 4)]
    assert await store.messages(key) == applied.rows


async def test_a_new_generation_ends_the_uid_and_forgets_the_old_content(store: Store) -> None:
    key = await ready(store, "a", "b")
    old = (await store.find(key, ids("a")))["a"]
    await store.put_facts(ALICE, {MessageId("a"): Facts(b"H", b"E", "p")})
    await store.pin(ALICE, MessageId("a"), Pin(b"H", 1, b"s" * 32))
    await put_original(store, ALICE, MessageId("a"), b"octets")
    applied = await store.apply(key, [told("a", new_generation=True, flags=SEEN)], [])
    [row] = applied.rows
    assert (applied.gone, row.uid, row.flags) == ([1], 1001, SEEN)
    assert row.email_id not in ("", old.email_id)
    assert (row.size_exact, row.internal_date) == (False, old.internal_date)
    assert await store.facts(ALICE, ids("a")) == {}
    assert await store.pinned(ALICE, MessageId("a")) is None
    assert await store.original(ALICE, MessageId("a")) is None
    assert await store.ids(key) == {"a": 1001, "b": 2}


async def test_a_new_generation_of_an_unknown_message_is_a_new_message(store: Store) -> None:
    key = await ready(store)
    applied = await store.apply(key, [told("a", new_generation=True)], [])
    assert (applied.gone, uids_of(applied.rows)) == ([], [1001])


async def test_message_ids_that_differ_by_case_are_two_messages(store: Store) -> None:
    key = await ready(store, "AAkb", "AAkB")
    assert set(await store.find(key, ids("AAkb"))) == {"AAkb"}
    assert (await store.apply(key, [], ids("AAkB"))).gone == [2]
    assert await store.ids(key) == {"AAkb": 1}


async def test_object_ids_are_derived_where_none_was_given_and_equal_for_one_message(store: Store) -> None:
    one, two = await ready(store, "a", id="F"), await ready(store, "b", id="G")
    first = (await store.find(one, ids("a")))["a"].email_id
    await store.apply(one, [], ids("a"))
    await store.apply(two, [told("a")], [])
    assert (await store.find(two, ids("a")))["a"].email_id == first
    assert first != (await store.find(two, ids("b")))["b"].email_id


async def test_an_inherited_email_id_outlives_the_row_it_came_with(store: Store) -> None:
    """Outlook moves a copy, or changed content, to another folder: a row ends and another begins."""
    one = await ready(store, "a", id="F")
    await store.apply(one, [told("copy", email_id="Msource")], [])
    changed = (await store.apply(one, [told("a", new_generation=True)], [])).rows[0].email_id
    await store.apply(one, [], ids("a", "copy"))
    two = await ready(store, "a", id="G")  # staged there by a first sync
    await store.apply(two, [told("copy", email_id=object_id("M", "copy"))], [])
    found = await store.find(two, ids("a", "copy"))
    assert (found["a"].email_id, found["copy"].email_id) == (changed, "Msource")
    assert changed != object_id("M", "a")
    again = (await store.apply(two, [told("a", new_generation=True)], [])).rows[0].email_id
    assert again not in (changed, object_id("M", "a"))


async def test_a_thread_id_once_told_stays_until_the_content_changes(store: Store) -> None:
    key = await ready(store, "a")
    await store.apply(key, [told("a", thread_id="T1")], [])
    await store.apply(key, [told("a", thread_id="T2", flags=SEEN)], [])
    assert (await store.find(key, ids("a")))["a"].thread_id == "T1"
    await store.apply(key, [told("a", thread_id="T2", new_generation=True)], [])
    assert (await store.find(key, ids("a")))["a"].thread_id == "T2"
    await store.apply(key, [told("a", new_generation=True)], [])
    assert (await store.find(key, ids("a")))["a"].thread_id == "T2"


async def test_the_link_is_stored_with_the_rows(state: State) -> None:
    store = await state.open(NOW + 5)
    key = await ready(store)
    await store.apply(key, [told("a")], [], link="second")
    assert (await fresh(store)).delta_link == "second"
    await store.apply(key, [told("b")], [])
    assert (await fresh(store)).delta_link == "second"
    with pytest.raises(ValueError):
        await store.apply(key, [told("c"), told("d", uid=Uid(9999))], [], link="third")
    row = await fresh(store)
    assert (row.delta_link, row.synced_at) == ("second", NOW + 5)
    assert set(await store.ids(key)) == {"a", "b"}
    await store.set_link(key, "")
    assert (await fresh(store)).delta_link == ""


async def test_a_folder_that_was_removed_meanwhile_is_no_such_mailbox(store: Store) -> None:
    key = await ready(store, "a")
    await store.put_folders(ALICE, [], [FolderId("F")], link=None)
    for attempt in (
        store.apply(key, [told("b")], []), store.reserve_uids(key, 1), store.since(key, ModSeq(0)),
        store.take_recent(key), store.set_link(key, "x"), store.stage(key, [told("b")], link=None),
    ):  # fmt: skip
        with pytest.raises(NoSuchMailbox):
            await attempt


async def test_a_failed_write_leaves_the_writes_beside_it_alone(store: Store) -> None:
    key = await ready(store)
    jobs = [store.apply(key, [told(f"m{n}", uid=Uid(99_999) if n % 3 == 1 else None)], []) for n in range(30)]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [isinstance(result, ValueError) for result in results] == [n % 3 == 1 for n in range(30)]
    assert uids_of(await store.messages(key)) == list(range(1001, 1021))


async def test_uids_and_mod_sequences_appear_in_the_order_of_the_answers(store: Store) -> None:
    key = await ready(store)
    applied = await asyncio.gather(*(store.apply(key, [told(f"m{n}")], []) for n in range(50)))
    assert [(one.rows[0].uid, one.rows[0].modseq) for one in applied] == [
        (1001 + n, applied[0].modseq + n) for n in range(50)
    ]


# -- reserved UIDs --


async def test_reserved_uids_are_used_where_named_and_lost_where_not(store: Store) -> None:
    key = await ready(store, "a")
    assert await store.reserve_uids(key, 3) == [1001, 1002, 1003]
    applied = await store.apply(key, [told("y", uid=Uid(1002)), told("z", uid=Uid(1003))], [])
    assert uids_of(applied.rows) == [1002, 1003]
    assert (await store.apply(key, [told("n")], [])).rows[0].uid == 1004
    assert (await fresh(store)).uid_next == 1005


async def test_a_reserved_uid_below_a_visible_one_is_not_used(store: Store) -> None:
    key = await ready(store)
    [promised] = await store.reserve_uids(key, 1)
    await store.apply(key, [told("from outside")], [])
    [row] = (await store.apply(key, [told("mine", uid=promised)], [])).rows
    assert row.uid == promised + 2
    await store.apply(key, [], ids("from outside", "mine"))
    [late] = await store.reserve_uids(key, 1)
    assert late == promised + 3


async def test_the_same_reserved_uid_is_never_two_messages(store: Store) -> None:
    key = await ready(store)
    [uid] = await store.reserve_uids(key, 1)
    applied = await store.apply(key, [told("a", uid=uid), told("b", uid=uid)], [])
    assert [(row.id, row.uid) for row in applied.rows] == [("a", uid), ("b", uid + 1)]


async def test_a_known_message_keeps_its_uid_whatever_was_reserved(store: Store) -> None:
    key = await ready(store, "a")
    [uid] = await store.reserve_uids(key, 1)
    applied = await store.apply(key, [told("a", uid=uid, flags=SEEN)], [])
    assert uids_of(applied.rows) == [1]


async def test_reserved_uids_survive_a_restart(state: State) -> None:
    store = await state.open()
    key = await ready(store)
    await store.reserve_uids(key, 5)
    await store.close()
    assert await (await state.open()).reserve_uids(key, 1) == [1006]


# -- since, \Recent --


async def test_since_tells_rows_and_tombstones_after_a_mod_sequence(store: Store) -> None:
    key = await ready(store, "a", "b", "c")
    start = (await fresh(store)).modseq
    await store.apply(key, [told("c", flags=SEEN)], [])
    await store.apply(key, [told("a", flags=SEEN)], ids("b"))
    last = await store.apply(key, [told("d")], [])
    delta = await store.since(key, start)
    assert (delta.modseq, delta.complete) == (last.modseq, True)
    assert [row.id for row in delta.rows] == ["a", "c", "d"]
    assert delta.gone == [(2, start + 2)]
    nothing = await store.since(key, last.modseq)
    assert (nothing.rows, nothing.gone, nothing.modseq) == ([], [], last.modseq)
    everything = await store.since(key, ModSeq(0))
    assert len(everything.rows) == 3


async def test_tombstones_are_bounded_and_since_says_when_they_are_not_enough(store: Store) -> None:
    names = [f"m{n:02}" for n in range(20)]
    key = await ready(store, *names)
    start = (await fresh(store)).modseq
    for name in names:
        await store.apply(key, [], ids(name))
    delta = await store.since(key, start)
    assert not delta.complete
    assert len(delta.gone) <= TOMBSTONES
    oldest_known = delta.gone[0][1]
    recent = await store.since(key, ModSeq(oldest_known - 1))
    assert recent.complete
    assert recent.gone == delta.gone


async def test_expunged_is_since_without_rows(store: Store) -> None:
    names = [f"m{n:02}" for n in range(20)]
    key = await ready(store, *names)
    start = (await fresh(store)).modseq
    assert await store.expunged(key, start) == []
    for name in reversed(names[:3]):
        await store.apply(key, [], ids(name))
    assert await store.expunged(key, start) == [1, 2, 3]
    assert await store.expunged(key, ModSeq(start + 1)) == [1, 2]
    for name in names[3:]:
        await store.apply(key, [], ids(name))
    assert await store.expunged(key, start) is None
    delta = await store.since(key, ModSeq((await fresh(store)).modseq - 1))
    assert await store.expunged(key, ModSeq(delta.modseq - 1)) == [uid for uid, _ in delta.gone]
    assert await store.expunged(key, delta.modseq) == []
    with pytest.raises(NoSuchMailbox):
        await store.expunged(key + 99, start)


async def test_many_expunged_at_once_beyond_the_bound(store: Store) -> None:
    names = [f"m{n:02}" for n in range(20)]
    key = await ready(store, *names)
    start = (await fresh(store)).modseq
    await store.apply(key, [], ids(*names))
    delta = await store.since(key, start)
    assert not delta.complete
    assert (await store.since(key, delta.modseq)).complete


async def test_counts_of_a_folder(store: Store) -> None:
    key = await ready(store)
    empty = await store.counts(key)
    assert (empty.messages, empty.recent, empty.unseen, empty.deleted, empty.size) == (0, 0, 0, 0, 0)
    await store.apply(key, [told("a", flags=SEEN, size=5), told("b", size=7)], [])
    await store.take_recent(key)
    both = Flags(SystemFlag.SEEN | SystemFlag.DELETED)
    applied = await store.apply(key, [told("c", flags=DELETED, size=1), told("d", flags=both)], [])
    assert await store.counts(key) == Counts(4, 2, 2, 2, 13, 1005, applied.modseq, 1, 13, 4)
    await store.apply(key, [told("b", size=70, size_exact=True)], [])
    counts = await store.counts(key)
    assert (counts.size, counts.estimated, counts.unseen_by_us) == (76, 6, 3)


async def test_recent_is_taken_once(store: Store) -> None:
    key = await ready(store, "a", "b")
    assert await store.take_recent(key) == 1
    assert await store.take_recent(key) == 1001
    [row] = (await store.apply(key, [told("c")], [])).rows
    assert await store.take_recent(key) == row.uid
    assert await store.take_recent(key) == row.uid + 1


# -- what is not known yet --


async def test_messages_without_facts_are_told_by_their_dates(store: Store) -> None:
    key = await ready(store, "a", "b", "c", "d")  # dates 0..3
    await store.apply(key, [told("e", internal_date=1)], [])
    await store.put_facts(ALICE, {MessageId("b"): Facts(b"H", b"E", "")})
    await store.put_facts(BOB, {MessageId("c"): Facts(b"H", b"E", "")})
    await store.adopt_blob(ALICE, MessageId("d"), await store.put_blob(b"appended"))
    lacking = await store.undescribed(key)
    assert lacking.dates == [0, 1, 1, 2, 3]
    assert [(id, date) for _, id, date in lacking.rows] == [("a", 0), ("e", 1), ("c", 2)]
    assert [uid for uid, _, _ in lacking.rows] == [1, (await store.ids(key))[MessageId("e")], 3]
    with pytest.raises(NoSuchMailbox):
        await store.undescribed(key + 1)


async def test_messages_whose_size_is_an_estimate_come_newest_first_and_go_on_below(store: Store) -> None:
    key = await ready(store, *"abcde")
    await store.apply(key, [told("c", size=7, size_exact=True)], [])
    assert uids_of(await store.estimated(key, 2**32, 3)) == [5, 4, 2]
    assert uids_of(await store.estimated(key, 2, 3)) == [1]
    assert await store.estimated(key, 1, 3) == []


# -- facts and bytes --


async def test_facts_are_pinned_by_the_first_and_structures_filled_in_once(store: Store) -> None:
    a = MessageId("a")
    first = Facts(b"Subject: 1\r\n\r\n", b"(env)", "pre\N{LATIN SMALL LETTER E WITH ACUTE}view")
    assert await store.put_facts(ALICE, {a: first}) == {a: first}
    second = Facts(b"Subject: 2\r\n\r\n", b"(other)", "", b"(structure)", b"(basic)")
    filled = Facts(first.header, first.envelope, first.preview, b"(structure)", b"(basic)")
    assert await store.put_facts(ALICE, {a: second}) == {a: filled}
    assert await store.put_facts(ALICE, {a: Facts(b"", b"", "", b"3", b"3")}) == {a: filled}
    assert await store.put_facts(ALICE, {a: first}) == {a: filled}
    assert await store.put_facts(ALICE, {a: first}, told=False) == {}
    assert await store.facts(ALICE, ids("a", "b")) == {a: filled}
    assert await store.facts(BOB, ids("a")) == {}


async def test_previews_are_filled_in_where_none_was_made(store: Store) -> None:
    a, b = ids("a", "b")
    nothing = Facts(b"H", b"E", None, b"(structure)", b"(basic)")
    await store.put_facts(ALICE, {a: nothing, b: Facts(b"H", b"E", "")})
    assert await store.facts(ALICE, [a]) == {a: nothing}
    await store.put_previews(ALICE, {a: "made", b: "made", MessageId("c"): "made"})
    await store.put_previews(ALICE, {a: "again"})
    found = await store.facts(ALICE, ids("a", "b", "c"))
    assert found == {a: Facts(b"H", b"E", "made", b"(structure)", b"(basic)"), b: Facts(b"H", b"E", "")}


async def test_the_first_pin_wins_and_the_loser_adopts(state: State) -> None:
    store = await state.open()
    a = MessageId("a")
    first, second = Pin(b"H: 1\r\n\r\n", 5, b"1" * 32), Pin(b"H: 2\r\n\r\n", 6, b"2" * 32)
    assert await store.pinned(ALICE, a) is None
    results = await asyncio.gather(store.pin(ALICE, a, first), store.pin(ALICE, a, second))
    assert results[0] == results[1]
    assert await store.pin(ALICE, a, second) == results[0]
    await store.close()
    assert await (await state.open()).pinned(ALICE, a) == results[0]


async def test_a_replaced_pin_takes_the_structures_with_it_and_nothing_else(state: State) -> None:
    store = await state.open()
    a, b = ids("a", "b")
    old, new = Pin(b"H", 1, b"s" * 32, b"c" * 32), Pin(b"I", 2, b"t" * 32, b"d" * 32)
    facts = Facts(b"H", b"E", "p", b"structure", b"basic")
    await store.put_facts(ALICE, {a: facts, b: facts})
    for id in (a, b):
        await store.pin(ALICE, id, old)
    await store.replace_pin(ALICE, a, new)
    await store.close()
    store = await state.open()
    assert await store.pinned(ALICE, a) == new
    assert await store.pinned(ALICE, b) == old
    assert await store.facts(ALICE, [a, b]) == {a: Facts(b"H", b"E", "p"), b: facts}
    filled = Facts(b"other", b"other", "", b"structure 2", b"basic 2")
    assert await store.put_facts(ALICE, {a: filled}) == {
        a: Facts(b"H", b"E", "p", b"structure 2", b"basic 2")
    }


async def test_a_pin_may_be_put_where_none_was(store: Store) -> None:
    a = MessageId("a")
    await store.replace_pin(ALICE, a, Pin(b"H", 1, b"s" * 32))
    assert await store.pinned(ALICE, a) == Pin(b"H", 1, b"s" * 32)


async def test_dropped_content_is_gone_and_local_state_stays(store: Store) -> None:
    a, b = ids("a", "b")
    for id in (a, b):
        await store.put_facts(ALICE, {id: Facts(b"H", b"E", "")})
        await store.pin(ALICE, id, Pin(b"H", 1, b"s" * 32))
    await store.put_local(ALICE, {a: Local(answered=True)})
    await store.drop_content(ALICE, [a])
    assert set(await store.facts(ALICE, [a, b])) == {b}
    assert await store.pinned(ALICE, a) is None
    assert await store.pinned(ALICE, b) is not None
    assert await store.local(ALICE, [a]) == {a: Local(answered=True)}


# -- originals --

SIZES = [0, 1, 1000, 1024 * 1024, 1024 * 1024 + 1, 3_000_000]


@pytest.mark.parametrize("size", SIZES)
async def test_originals_come_back_octet_for_octet(state: State, size: int) -> None:
    store = await state.open()
    data = bytes(n * n % 251 for n in range(min(size, 70_000))) * (size // 70_000 + 1)
    data = data[:size]
    await put_original(store, ALICE, MessageId("a"), data)
    await store.close()
    assert await (await state.open()).original(ALICE, MessageId("a")) == data


async def test_originals_are_shared_by_copies_and_by_equal_content(store: Store) -> None:
    a, b, c = ids("a", "b", "c")
    await put_original(store, ALICE, a, b"same")
    await store.share_original(ALICE, a, b)
    await store.share_original(ALICE, MessageId("none"), c)
    assert await store.has_originals(ALICE, [a, b, c]) == {a, b}
    await store.drop_content(ALICE, [a])
    assert await store.original(ALICE, a) is None
    assert await store.original(ALICE, b) == b"same"
    assert await store.original(BOB, b) is None
    assert await store.put_blob(b"same") == await store.put_blob(b"same") != await store.put_blob(b"other")


async def test_a_blob_waits_for_its_message(state: State) -> None:
    store = await state.open()
    address = await store.put_blob(b"octets")
    await store.journal_add(ALICE, "append", address)
    await store.close()
    store = await state.open(NOW + 100)
    [row] = await store.journal(ALICE)
    assert await store.blob(row.payload) == b"octets"
    await store.adopt_blob(ALICE, MessageId("a"), address)
    await store.adopt_blob(ALICE, MessageId("a"), address)
    assert await store.original(ALICE, MessageId("a")) == b"octets"
    assert await store.blob(b"x" * 32) is None


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 600_000])
async def test_a_blob_in_pieces_is_that_blob(state: State, size: int) -> None:
    store = await state.open(NOW)
    data = random.Random(size).randbytes(size)
    pieces: list[tuple[int, int]] = []

    def read(start: int, end: int) -> bytes:
        pieces.append((start, end))
        return data[start:end]

    address = await store.put_blob_of(read, size)
    assert all(end - start <= 256 * 1024 for start, end in pieces)
    assert await store.blob(address) == data
    assert await store.put_blob(data) == address == await store.put_blob_of(read, size)
    got = []
    while (piece := await store.blob_piece(address, len(got))) is not None:
        got.append(piece)
    assert b"".join(got) == data
    assert await store.originals_octets() == size


async def test_pieces_of_a_blob_that_was_put_whole(state: State) -> None:
    store = await state.open(NOW)
    address = await store.put_blob(b"octets")
    assert await store.blob_piece(address, 0) == b"octets"
    assert await store.blob_piece(address, 1) is None is await store.blob_piece(b"x" * 32, 0)


async def test_half_a_blob_is_none_and_is_swept(state: State) -> None:
    store = await state.open(NOW)
    data = random.Random(1).randbytes(600_000)
    asked = 0

    def failing(start: int, end: int) -> bytes:
        nonlocal asked
        asked += 1
        return data[start:end] if asked < 5 else b""

    with pytest.raises(EOFError):
        await store.put_blob_of(failing, len(data))
    address = await store.put_blob_of(lambda start, end: data[start:end], len(data))
    assert await store.blob(address) == data
    await store.adopt_blob(ALICE, MessageId("m"), address)
    await store.close()
    store = await state.open(NOW + 30 * 86_400)
    assert await store.sweep() == 0  # opening swept the half already
    assert await store.blob(address) == data


async def test_unadopted_blobs_go_after_a_week_but_never_before_their_journal_row(state: State) -> None:
    store = await state.open(NOW)
    waiting, kept = await store.put_blob(b"waiting"), await store.put_blob(b"kept")
    await store.adopt_blob(ALICE, MessageId("m"), kept)
    await store.close()
    store = await state.open(NOW + 60)
    entry = await store.journal_add(ALICE, "append", waiting)
    await store.close()
    store = await state.open(NOW + 30 * 86_400)
    assert await store.blob(waiting) == b"waiting"
    await store.journal_done(entry)
    await store.close()
    store = await state.open(NOW + 31 * 86_400)
    assert await store.blob(waiting) is None
    assert await store.blob(kept) == b"kept"


# -- local state, journal --


async def test_local_state_is_keyed_by_account_and_id(state: State) -> None:
    store = await state.open()
    a, b = ids("a", "b")
    full = Local(answered=True, forwarded=True, keywords=frozenset({b"$MDNSent", b"NonJunk"}), undeleted=True)
    await store.put_local(ALICE, {a: full, b: Local(forwarded=True)})
    await store.put_local(ALICE, {b: Local()})
    await store.close()
    store = await state.open()
    assert await store.local(ALICE, [a, b, MessageId("c")]) == {a: full, b: Local()}
    assert await store.local(BOB, [a]) == {}


async def test_what_was_decided_on_another_row_is_passed_over(state: State) -> None:
    store = await state.open()
    a, b, c = ids("a", "b", "c")
    key = await ready(store)
    await store.apply(key, [Upsert(a, etag="1"), Upsert(b, etag="1")], [], link="old")
    applied = await store.apply(
        key,
        [
            Upsert(a, size=5, base="1"),
            Upsert(b, size=5, base="0"),
            Upsert(b, base=ABSENT),
            Upsert(c, base="1"),
        ],
        [],
        link="new",
    )
    assert ([row.id for row in applied.rows], applied.passed) == ([a], [b, b, c])
    assert [row.size for row in await store.messages(key)] == [5, 0]
    rows = {row.key: row for row in await store.folders(ALICE)}
    assert rows[key].delta_link == "old"
    assert (await store.apply(key, [Upsert(c, base=ABSENT)], [], link="new")).passed == []


async def test_changes_of_local_state_at_once_all_count(state: State) -> None:
    store = await state.open()
    (a,) = ids("a")

    def adding(word: bytes) -> Callable[[dict[MessageId, Local]], dict[MessageId, Local]]:
        return lambda known: {a: Local(keywords=known.get(a, Local()).keywords | {word})}

    await store.subscribe(ALICE, "x", True)
    words = [b"w%d" % n for n in range(20)]
    answers = await asyncio.gather(*(store.change_local(ALICE, [a], adding(word)) for word in words))
    assert sorted(len(answer[a].keywords) for answer in answers) == list(range(1, 21))
    assert (await store.local(ALICE, [a]))[a].keywords == frozenset(words)
    assert await store.change_local(ALICE, [a], lambda known: {}) == {a: Local(keywords=frozenset(words))}


async def test_the_journal_survives_a_restart_in_order(state: State) -> None:
    store = await state.open()
    first = await store.journal_add(ALICE, "append", b"1")
    second = await store.journal_add(ALICE, "send", b"2")
    await store.journal_add(BOB, "send", b"3")
    await store.journal_update(first, b"1b")
    await store.close()
    store = await state.open(NOW + 9)
    rows = await store.journal(ALICE)
    assert [(row.id, row.kind, row.payload, row.created) for row in rows] == [
        (first, "append", b"1b", NOW), (second, "send", b"2", NOW),
    ]  # fmt: skip
    await store.journal_done(first)
    await store.journal_done(first)
    await store.journal_update(first, b"too late")
    assert [row.id for row in await store.journal(ALICE)] == [second]
    await store.journal_done(second)
    assert await store.journal_add(ALICE, "send", b"") > second


async def test_a_journal_payload_is_bounded(store: Store) -> None:
    with pytest.raises(ValueError):
        await store.journal_add(ALICE, "append", b"x" * (64 * 1024 + 1))


# -- one property: the store against a model --

STEP = st.tuples(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3), st.booleans()), max_size=4),
    st.lists(st.sampled_from("abcdef"), max_size=3),
    st.integers(0, 2),
)


@pytest.mark.parametrize("engine", list(ENGINES))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, max_size=12))
def test_any_history_keeps_uids_ascending_and_since_complete(
    engine: str, tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
) -> None:
    asyncio.run(_history(ENGINES[engine](tmp_path_factory.mktemp("store")), steps))


async def _history(state: State, steps: list[Any]) -> None:
    store = await state.open(tombstones=1000)
    try:
        key = await ready(store)
        mirror: dict[int, tuple[str, Flags]] = {}  # what a hub would hold, fed by since() alone
        seen_modseq = ModSeq(0)
        ever: set[int] = set()
        highest = 0
        truth: dict[str, Flags] = {}
        for upserts, gone, reserve in steps:
            reserved = await store.reserve_uids(key, reserve)
            told_now = [
                told(
                    id,
                    flags=Flags(SystemFlag(bits)),
                    new_generation=new,
                    uid=reserved.pop() if reserved else None,
                )
                for id, bits, new in upserts
            ]
            applied = await store.apply(key, told_now, ids(*gone))
            for id in gone:
                truth.pop(id, None)
            truth |= {id: Flags(SystemFlag(bits)) for id, bits, _ in upserts}
            delta = await store.since(key, seen_modseq)
            seen_modseq = delta.modseq
            assert delta.modseq == applied.modseq
            for uid, _ in delta.gone:
                mirror.pop(uid, None)
            born = {row.uid for row in delta.rows} - mirror.keys()
            assert all(uid > highest for uid in born)
            assert not born & ever
            ever |= born
            highest = max([highest, *born])
            mirror |= {row.uid: (row.id, row.flags) for row in delta.rows}
            rows = await store.messages(key)
            assert uids_of(rows) == sorted(mirror)
            assert {row.id: row.flags for row in rows} == truth
            assert {row.uid: (row.id, row.flags) for row in rows} == mirror
            assert len(rows) == len(truth)
            assert highest < (await fresh(store)).uid_next
    finally:
        await state.close()


# -- searchable texts --


async def test_a_text_is_kept_by_the_name_of_its_content(state: State) -> None:
    store = await state.open()
    await store.put_texts(ALICE, {"Ma": "HELLO WORLD", "Mb": "\ud800 CAFE\u0301"})
    await store.put_texts(ALICE, {"Ma": "HELLO AGAIN"})
    later = await state.open()
    assert await later.texts(ALICE, ["Ma", "Mb", "Mc"]) == {"Ma": "HELLO AGAIN", "Mb": "\ud800 CAFE\u0301"}
    assert await later.texts(BOB, ["Ma"]) == {}


async def test_texts_of_messages_that_are_gone_are_swept(store: Store) -> None:
    folder = await ready(store, "a", "b")
    rows = await store.messages(folder)
    await store.put_texts(ALICE, {row.email_id: "TEXT" for row in rows})
    await store.apply(folder, [], ids("a"))
    assert len(await store.texts(ALICE, [row.email_id for row in rows])) == 2
    await store.sweep()
    assert list(await store.texts(ALICE, [row.email_id for row in rows])) == [rows[1].email_id]


# -- annotations --


async def test_annotations_belong_to_a_folder_or_to_the_account_and_outlive_a_restart(state: State) -> None:
    store = await state.open()
    one, other = await a_folder(store, "F"), await a_folder(store, "G")
    await store.put_annotations(ALICE, one.key, {"/private/b": b"\0\xff", "/private/a": b""})
    await store.put_annotations(ALICE, other.key, {"/private/a": b"other"})
    await store.put_annotations(ALICE, None, {"/shared/comment": b"server"})
    await store.put_annotations(ALICE, None, {"/shared/comment": b"again"})
    await store.close()
    store = await state.open()
    assert list((await store.annotations(ALICE, one.key)).items()) == [
        ("/private/a", b""), ("/private/b", b"\0\xff"),
    ]  # fmt: skip
    assert await store.annotations(ALICE, None) == {"/shared/comment": b"again"}
    assert await store.annotations(BOB, None) == {}
    assert await store.annotations_of_all(ALICE, ["/private/a", "/shared/comment"]) == {
        one.key: {"/private/a": b""}, other.key: {"/private/a": b"other"},
    }  # fmt: skip
    counted = [b"/private/b\0\xff", b"/private/a", b"/private/aother", b"/shared/commentagain"]
    assert await store.annotation_octets(ALICE) == sum(map(len, counted))


async def test_annotations_follow_a_rename_and_go_with_their_folder(store: Store) -> None:
    folder = await a_folder(store)
    await store.put_annotations(ALICE, folder.key, {"/private/a": b"1", "/private/b": b"2"})
    await store.put_folders(ALICE, [FolderUpsert(folder.id, name="New", parent=FolderId("P"))], [], link=None)
    assert await store.annotations(ALICE, folder.key) == {"/private/a": b"1", "/private/b": b"2"}
    await store.put_annotations(ALICE, folder.key, {"/private/a": None, "/private/none": None})
    assert await store.annotations(ALICE, folder.key) == {"/private/b": b"2"}
    await store.put_folders(ALICE, [], [folder.id], link=None)
    assert await store.annotations(ALICE, folder.key) == {}
    assert await store.annotation_octets(ALICE) == 0
    with pytest.raises(NoSuchMailbox):
        await store.put_annotations(ALICE, folder.key, {"/private/a": b"late"})
    again = await a_folder(store)
    assert await store.annotations(ALICE, again.key) == {}


async def test_storage_counts_what_was_synced_and_counts_tell_what_is_deleted(store: Store) -> None:
    folder = await a_folder(store)
    await a_folder(store, "Cold", total=7)
    rows = [told("a", size=10, internal_date=1), told("b", size=5, flags=DELETED, internal_date=2)]
    await store.stage(folder.key, rows, link=None)
    assert await store.storage(ALICE) == (0, 0)
    await store.finish_first_sync(folder.key, link="x")
    assert await store.storage(ALICE) == (2, 15)
    assert await store.storage(BOB) == (0, 0)
    assert (await store.counts(folder.key)).deleted_size == 5


# -- sort facts --


async def test_sort_blocks_are_replaced_outlive_a_restart_and_go_with_their_folder(state: State) -> None:
    store = await state.open()
    one, other = await a_folder(store, "F"), await a_folder(store, "G")
    await store.put_sort_blocks(one.key, {0: b"old", 7: b"\0seven"})
    await store.put_sort_blocks(one.key, {0: b"new"})
    await store.put_sort_blocks(other.key, {0: b"other"})
    await store.close()
    store = await state.open()
    assert await store.sort_blocks(one.key) == {0: b"new", 7: b"\0seven"}
    await store.put_folders(ALICE, [], [one.id], link=None)
    assert await store.sort_blocks(one.key) == {}
    await store.put_sort_blocks(one.key, {1: b"late"})
    assert await store.sort_blocks(one.key) == {}
    assert await store.sort_blocks(other.key) == {0: b"other"}


# -- another message under a UID --


async def test_a_row_that_is_bound_anew_keeps_what_clients_know_it_by(state: State) -> None:
    store = await state.open()
    key = await ready(store, "a", "b")
    await store.apply(key, [told("a", flags=SEEN, email_id="M1", etag="E", modified=7)], ())
    await store.adopt_blob(ALICE, MessageId("a"), await store.put_blob(b"octets"))
    await store.put_local(ALICE, {MessageId("a"): Local(answered=True)})
    await store.put_facts(ALICE, {MessageId("a"): Facts(b"h", b"e", None)})
    (before,) = (await store.find(key, ids("a"))).values()
    assert not await store.rebind(key, MessageId("none"), MessageId("c"))
    assert not await store.rebind(key, MessageId("a"), MessageId("b"))
    assert await store.rebind(key, MessageId("a"), MessageId("c"))
    await store.close()
    store = await state.open()
    found = await store.find(key, ids("a", "c"))
    before.id, before.etag, before.modified = MessageId("c"), "", 0
    assert found == {MessageId("c"): before}
    assert await store.original(ALICE, MessageId("c")) == b"octets"
    assert await store.original(ALICE, MessageId("a")) is None
    assert await store.local(ALICE, ids("a", "c")) == {MessageId("c"): Local(answered=True)}
    assert await store.facts(ALICE, ids("a", "c")) == {}
    await store.apply(key, [told("c", etag="F")], ())
    assert (await store.since(key, ModSeq(0))).gone == []
    with pytest.raises(NoSuchMailbox):
        await store.rebind(999, MessageId("a"), MessageId("c"))


async def test_the_newest_come_first(store: Store) -> None:
    key = await ready(store, "a", "b", "c")
    await store.apply(key, [told("d")], ids("b"))
    assert [row.id for row in await store.newest(key, 2)] == ids("d", "c")
    assert [row.id for row in await store.newest(key, 9)] == ids("d", "c", "a")
    assert await store.newest(999, 9) == []


# -- submissions --

DIGEST = b"d" * 32


def submission(queue_id: str, state: str = "sending", **values: Any) -> SubmissionRow:
    return SubmissionRow(ALICE, queue_id, state, b"envelope", **values)


async def queue_ids(store: Store, **asked: Any) -> list[str]:
    return [row.queue_id for row in await store.submissions(ALICE, **asked)]


async def test_a_submission_is_kept_as_it_was_put(state: State) -> None:
    store = await state.open()
    row = submission("q1", queued=True, holder="a", lease=NOW + 60, due=NOW + 5, blob=b"address")
    row.id = await store.submission_add(row, DIGEST)
    row.state, row.payload, row.holder = "sent", b"draft", ""
    await store.submission_put(row)
    await store.submission_heard(ALICE, "q1")
    await store.close()
    later = await state.open(NOW + 10)
    (found,) = await later.submissions(ALICE)
    row.created = row.touched = NOW
    row.heard = True
    assert found == row
    found.heard = False
    await later.submission_put(found)
    (again,) = await later.submissions(ALICE)
    assert again.heard and again.touched == NOW + 10
    await later.submission_drop(row.id)
    await later.submission_put(row)
    assert await later.submissions(ALICE) == []


async def test_submissions_are_found_by_what_they_are(store: Store) -> None:
    for at, (queue_id, state) in enumerate((("q1", "sent"), ("q2", "sending"), ("q3", "drafting"))):
        await store.submission_add(submission(queue_id, state), DIGEST if at != 1 else b"e" * 32)
    assert await queue_ids(store) == ["q1", "q2", "q3"]
    assert await queue_ids(store, digest=DIGEST) == ["q1", "q3"]
    assert await queue_ids(store, open_since=NOW + 1) == ["q2", "q3"]
    assert await queue_ids(store, open_since=NOW) == ["q1", "q2", "q3"]
    assert await store.submissions(BOB) == [] == await store.submissions(BOB, digest=DIGEST)


async def test_a_submission_has_one_holder_until_its_lease_ends(store: Store) -> None:
    id = await store.submission_add(submission("q1"), DIGEST)
    assert await store.submission_claim(id, "a", NOW, NOW + 60)
    assert not await store.submission_claim(id, "b", NOW + 60, NOW + 120)
    assert await store.submission_claim(id, "a", NOW + 30, NOW + 90)
    assert not await store.submission_claim(id, "b", NOW + 90, NOW + 150)
    assert await store.submission_claim(id, "b", NOW + 91, NOW + 150)
    assert not await store.submission_claim(id + 1, "b", NOW, NOW + 60)


async def test_one_of_two_claims_at_once_holds(store: Store) -> None:
    id = await store.submission_add(submission("q1"), DIGEST)
    claims = [store.submission_claim(id, node, NOW, NOW + 60) for node in "abcdef"]
    (claimed,) = [row for row in await asyncio.gather(*claims) if row is not None]
    assert (claimed.id, claimed.account, claimed.payload, claimed.lease) == (id, ALICE, b"envelope", NOW + 60)


async def test_what_is_queued_is_hastened(store: Store) -> None:
    for queue_id, status, queued in (
        ("q1", "waiting", True),
        ("q2", "waiting", True),
        ("q3", "sent", True),
        ("q4", "sending", False),
    ):
        await store.submission_add(submission(queue_id, status, queued=queued, due=NOW + 900), DIGEST)
    assert await store.submission_hasten(ALICE, "q2") == 1
    assert [row.due for row in await store.submissions(ALICE)] == [NOW + 900, 0, NOW + 900, NOW + 900]
    assert await store.submission_hasten(ALICE, "q3") == 0 == await store.submission_hasten(BOB)
    assert await store.submission_hasten(ALICE) == 2
    assert [row.due for row in await store.submissions(ALICE)] == [0, 0, NOW + 900, NOW + 900]


async def test_only_what_is_sent_is_swept(state: State) -> None:
    store = await state.open()
    for queue_id, status in (("heard", "sent"), ("unheard", "sent"), ("waits", "sending")):
        await store.submission_add(submission(queue_id, status, due=NOW + 100), DIGEST)
    await store.submission_heard(ALICE, "heard")
    await store.submission_heard(ALICE, "waits")
    assert await store.submission_sweep(ALICE, NOW, NOW) == 0
    assert await store.submission_sweep(ALICE, NOW + 1, NOW) == 1
    assert await queue_ids(store) == ["unheard", "waits"]
    assert await store.submission_sweep(ALICE, NOW + 1, NOW + 101) == 1
    assert await queue_ids(store) == ["waits"]


async def test_the_queue_is_counted_over_all_accounts(state: State) -> None:
    store = await state.open()
    assert await store.queue_totals() == QueueTotals(0, 0) and await store.submission_accounts() == []
    await store.submission_add(submission("q1", queued=True), DIGEST)
    await store.submission_add(submission("q2"), DIGEST)
    bob = submission("q1", queued=True)
    bob.account = BOB
    await store.submission_add(bob, DIGEST)
    await store.submission_add(submission("q4", "sent", queued=True), DIGEST)
    assert await store.queue_totals() == QueueTotals(2, NOW)
    assert await store.submission_accounts() == [ALICE, BOB]


async def test_the_octets_of_a_submission_are_kept_with_it(state: State) -> None:
    store = await state.open()
    address = await store.put_blob(b"a message")
    id = await store.submission_add(submission("q1", blob=address), DIGEST)
    late = await state.open(NOW + 30 * 86400)  # opening sweeps
    assert await late.blob(address) == b"a message"
    await late.submission_drop(id)
    much_later = await state.open(NOW + 60 * 86400)
    assert await much_later.blob(address) is None


# -- quotas --

HOURLY = [(3600, 2), (86_400, 3)]


async def test_a_quota_is_counted_by_the_hour_and_by_the_day(state: State) -> None:
    start = NOW - NOW % 86_400
    store = await state.open(start)
    assert [await store.take_quota("a", HOURLY, 1) for _ in range(3)] == [True, True, False]
    assert await store.take_quota("b", HOURLY, 1), "another's"
    later = await state.open(start + 3600)
    assert [await later.take_quota("a", HOURLY, 1) for _ in range(2)] == [True, False], "three a day"
    tomorrow = await state.open(start + 86_400)
    assert await tomorrow.take_quota("a", HOURLY, 2)


async def test_a_quota_is_looked_at_and_given_back(state: State) -> None:
    store = await state.open()
    assert [await store.take_quota("a", HOURLY, 0) for _ in range(5)] == [True] * 5
    assert await store.take_quota("a", HOURLY, 2) and not await store.take_quota("a", HOURLY, 0)
    assert await store.take_quota("a", HOURLY, -1) and await store.take_quota("a", HOURLY, 1)
    for _ in range(5):
        assert await store.take_quota("a", HOURLY, -1)
    assert await store.take_quota("a", HOURLY, 2) and not await store.take_quota("a", HOURLY, 1), (
        "never below none"
    )


async def test_what_does_not_fit_everywhere_counts_nowhere(state: State) -> None:
    store = await state.open()
    assert not await store.take_quota("a", [(3600, 5), (86_400, 2)], 3)
    assert await store.take_quota("a", [(3600, 5), (86_400, 2)], 2)


async def test_a_quota_is_one_for_those_who_ask_at_once(state: State) -> None:
    store = await state.open()
    taken = await asyncio.gather(*(store.take_quota("a", [(3600, 3)], 1) for _ in range(8)))
    assert sum(taken) == 3
