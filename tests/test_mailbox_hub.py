"""The hub: one door, no lost wake-up, and an index that equals the store whatever order news comes in."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.errors import NoSuchMailbox, Unavailable
from gateway.core.types import AccountId, Flags, FolderId, MessageId, ModSeq, SystemFlag
from gateway.mailbox.hub import FolderHub, Hubs
from gateway.mailbox.values import Exists, Expunged, Flagged
from gateway.store.api import Applied, Delta, FolderUpsert, Upsert
from gateway.store.sqlite import SqliteStore

ME = AccountId("alice")
SEEN, NONE = Flags(SystemFlag.SEEN), Flags()
FIRST = 1001


class Gated(SqliteStore):
    """A store whose `since` can be held up, to let writes overtake it, or made to fail."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.gate = asyncio.Event()
        self.gate.set()
        self.taken = asyncio.Event()
        self.reads = 0
        self.failure: Exception | None = None

    async def since(self, folder: int, modseq: ModSeq) -> Delta:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        delta = await super().since(folder, modseq)
        self.taken.set()
        await self.gate.wait()
        return delta


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Gated]:
    store = Gated(tmp_path / "s" / "db", key=b"k" * 32, clock=lambda: 1000, tombstones=4)
    await store.open()
    yield store
    await store.close()


async def folder(store: SqliteStore, name: str = "F") -> int:
    rows = await store.put_folders(ME, [FolderUpsert(FolderId(name))], [], link=None)
    key = next(row.key for row in rows if row.id == name)
    await store.finish_first_sync(key, link="")
    return key


def new(*names: str) -> list[Upsert]:
    return [Upsert(MessageId(name)) for name in names]


def flag(name: str, flags: Flags = SEEN) -> list[Upsert]:
    return [Upsert(MessageId(name), flags=flags)]


async def write(store: SqliteStore, hubs: Hubs, key: int, upserts: Sequence[Upsert], *gone: str) -> Applied:
    applied = await store.apply(key, upserts, [MessageId(id) for id in gone])
    hubs.refresh(key, applied)
    return applied


async def settled(hub: FolderHub) -> None:
    for _ in range(500):
        if not hub.behind:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("the hub stays behind the store")


def level(hub: FolderHub, rows: Sequence[Any]) -> bool:
    index = hub.index
    return [(uid, index.entry(uid).flags, index.entry(uid).modseq) for uid in index.uids] == [  # type: ignore[union-attr]
        (row.uid, row.flags, row.modseq) for row in rows
    ]


async def test_a_write_reaches_every_view(store: Gated) -> None:
    hubs, key = Hubs(store, change_log=100), await folder(store)
    await write(store, hubs, key, new("a", "b"))
    hub = await hubs.open(key)
    one, two = (hub.view(recent_from=1, takes_recent=False) for _ in range(2))
    applied = await write(store, hubs, key, [*flag("a"), *new("c")], "b")
    for view in (one, two):
        assert view.drain(expunge=True) == [
            Expunged(2, FIRST + 1), Exists(2, 2), Flagged(1, FIRST, SEEN, True, applied.modseq),
        ]  # fmt: skip
    assert store.reads == 1


async def test_one_hub_per_folder_level_at_every_open(store: Gated) -> None:
    hubs, key = Hubs(store, change_log=100), await folder(store)
    first, second = await asyncio.gather(hubs.open(key), hubs.open(key))
    assert first is second
    await store.apply(key, new("another node"), [])  # this process was not told
    assert len((await hubs.open(key)).index) == 1


async def test_changed_returns_when_there_is_something_and_not_before(store: Gated) -> None:
    hubs, key = Hubs(store, change_log=100), await folder(store)
    hub = await hubs.open(key)
    view = hub.view(recent_from=1, takes_recent=False)
    waiting = asyncio.ensure_future(hub.changed(view))
    await asyncio.sleep(0)
    assert not waiting.done()
    await write(store, hubs, key, new("a"))
    await asyncio.wait_for(waiting, 1)
    await asyncio.wait_for(hub.changed(view), 1)  # still not drained: at once
    view.drain(expunge=True)
    again = asyncio.ensure_future(hub.changed(view))
    applied = await write(store, hubs, key, [Upsert(MessageId("a"), size=5, size_exact=True)])
    await asyncio.sleep(0)
    assert not again.done(), "a size is told to nobody"
    assert hub.index.entry(applied.rows[0].uid).size == 5  # type: ignore[union-attr]
    await write(store, hubs, key, flag("a"))
    await asyncio.wait_for(again, 1)


async def test_no_wake_up_is_lost_between_look_and_wait(store: Gated) -> None:
    """A reader that drains and waits in turn hears of every message, whenever the writes fall."""
    hubs, key = Hubs(store, change_log=2), await folder(store)
    hub = await hubs.open(key)
    view = hub.view(recent_from=1, takes_recent=False)

    async def reader() -> None:
        while view.count < 60:
            await hub.changed(view)
            assert view.drain(expunge=True)

    reading = asyncio.ensure_future(reader())
    rng = random.Random(1)
    for n in range(60):
        await write(store, hubs, key, new(f"m{n}"))
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
    await asyncio.wait_for(reading, 5)


async def test_a_cancelled_waiter_takes_nobody_along(store: Gated) -> None:
    hubs, key = Hubs(store, change_log=100), await folder(store)
    hub = await hubs.open(key)
    view = hub.view(recent_from=1, takes_recent=False)
    one, two = asyncio.ensure_future(hub.changed(view)), asyncio.ensure_future(hub.changed(view))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.sleep(0)
    await write(store, hubs, key, new("a"))
    await asyncio.wait_for(two, 1)


async def test_answers_that_overtook_each_other_end_in_the_store_s_state(store: Gated) -> None:
    hubs, key = Hubs(store, change_log=100), await folder(store)
    hub = await hubs.open(key)
    view = hub.view(recent_from=1, takes_recent=False)
    applied = [await store.apply(key, new(name), []) for name in "abc"]
    applied.append(await store.apply(key, flag("a"), [MessageId("b")]))
    for one in (applied[3], applied[1], applied[0], applied[2]):
        hubs.refresh(key, one)
        uids = list(hub.index.uids)
        assert uids == sorted(uids)
    await settled(hub)
    assert level(hub, await store.messages(key))
    assert view.drain(expunge=True) == [Exists(2, 2)]


async def test_an_answer_without_a_change_does_not_hide_the_change_before_it(store: Gated) -> None:
    """A poll that found nothing answers with a mod-sequence that another's write made, and overtakes it."""
    hubs, key = Hubs(store, change_log=100), await folder(store)
    await write(store, hubs, key, new("a", "b"))
    hub = await hubs.open(key)
    view = hub.view(recent_from=1, takes_recent=False)
    applied = await store.apply(key, [*flag("a"), *flag("b")], [])
    nothing = await store.apply(key, flag("a"), [])
    size = await store.apply(key, [Upsert(MessageId("a"), size=77)], [])
    for one in (nothing, size, applied):
        hubs.refresh(key, one)
    await settled(hub)
    assert [change.seq for change in view.drain(expunge=True) if isinstance(change, Flagged)] == [1, 2]
    assert level(hub, await store.messages(key))


async def test_a_write_nobody_delivered_is_found_with_the_next(store: Gated) -> None:
    hubs, key = Hubs(store, change_log=100), await folder(store)
    hub = await hubs.open(key)
    view = hub.view(recent_from=1, takes_recent=False)
    await store.apply(key, new("a"), [])  # its caller was cancelled
    waiting = asyncio.ensure_future(hub.changed(view))
    await write(store, hubs, key, new("b"))
    await asyncio.wait_for(waiting, 1)
    await settled(hub)
    assert view.drain(expunge=True) == [Exists(2, 2)]


async def test_a_write_while_the_index_is_read_is_not_lost(store: Gated) -> None:
    hubs, key = Hubs(store, change_log=100), await folder(store)
    store.gate.clear()
    opening = asyncio.ensure_future(hubs.open(key))
    await store.taken.wait()
    await write(store, hubs, key, new("a"))
    store.gate.set()
    hub = await opening
    await settled(hub)
    assert level(hub, await store.messages(key))


async def test_an_older_snapshot_undoes_nothing(store: Gated) -> None:
    hubs, key = Hubs(store, change_log=100), await folder(store)
    await write(store, hubs, key, new("a"))
    hub = await hubs.open(key)
    store.gate.clear()
    store.taken.clear()
    late = asyncio.ensure_future(hub.catch_up())
    await store.taken.wait()
    await write(store, hubs, key, [*flag("a"), *new("b")])
    store.gate.set()
    await late
    assert level(hub, await store.messages(key))


async def test_pruned_tombstones_are_made_up_for_by_comparing_in_full(store: Gated) -> None:
    hubs, key = Hubs(store, change_log=2), await folder(store)
    names = [f"m{n}" for n in range(20)]
    await write(store, hubs, key, new(*names))
    hub = await hubs.open(key)
    view = hub.view(recent_from=1, takes_recent=False)
    for name in names[:10]:
        await store.apply(key, [], [MessageId(name)])
    last = await store.apply(key, [*flag("m15"), *new("x")], [])
    hubs.refresh(key, last)
    await settled(hub)
    assert level(hub, await store.messages(key))
    changes = view.drain(expunge=True)
    assert [c.seq for c in changes if isinstance(c, Expunged)] == list(range(10, 0, -1))
    assert changes[10:] == [Exists(11, 11), Flagged(6, FIRST + 15, SEEN, True, last.modseq)]


async def test_a_store_that_fails_leaves_the_index_and_is_tried_again(store: Gated) -> None:
    hubs, key = Hubs(store, change_log=100), await folder(store)
    hub = await hubs.open(key)
    await store.apply(key, new("a"), [])
    store.failure = Unavailable()
    await write(store, hubs, key, new("b"))
    await asyncio.sleep(0.01)
    assert (hub.behind, len(hub.index)) == (True, 0)
    with pytest.raises(Unavailable):
        await hubs.open(key)
    store.failure = None
    await write(store, hubs, key, new("c"))
    await settled(hub)
    assert len(hub.index) == 3


async def test_a_removed_folder_cannot_be_opened_and_open_views_go_on(store: Gated) -> None:
    hubs, key = Hubs(store, change_log=100), await folder(store)
    await write(store, hubs, key, new("a"))
    hub = await hubs.open(key)
    view = hub.view(recent_from=1, takes_recent=False)
    await store.put_folders(ME, [], [FolderId("F")], link=None)
    with pytest.raises(NoSuchMailbox):
        await hubs.open(key)
    assert (view.count, view.drain(expunge=True)) == (1, [])


async def test_recent_goes_to_the_first_read_write_session(store: Gated) -> None:
    hubs, key = Hubs(store, change_log=100), await folder(store)
    await write(store, hubs, key, new("a", "b"))
    hub = await hubs.open(key)
    first = hub.view(recent_from=await store.take_recent(key), takes_recent=True)
    await write(store, hubs, key, new("c"))
    first.drain(expunge=True)
    second = hub.view(recent_from=await store.take_recent(key), takes_recent=True)
    assert (first.recent, second.recent) == (3, 0)


async def test_cold_hubs_go_when_the_bound_is_reached_but_held_ones_stay(store: Gated) -> None:
    hubs = Hubs(store, change_log=100, warm_messages=5)
    keys = [await folder(store, name) for name in "ABC"]
    for key in keys:
        await store.apply(key, new("1", "2", "3"), [])
    held = await hubs.open(keys[0])
    view = held.view(recent_from=1, takes_recent=False)
    for key in keys[1:]:
        await hubs.open(key)
    gc.collect()
    assert set(hubs._all) == {keys[0], keys[2]}
    await write(store, hubs, keys[0], new("4"))
    assert view.drain(expunge=True) == [Exists(4, 4)]


async def test_empty_folders_do_not_stay_warm_for_ever(store: Gated) -> None:
    hubs = Hubs(store, change_log=100, warm_folders=2)
    keys = [await folder(store, name) for name in "ABCD"]
    for key in keys:
        await hubs.open(key)
    gc.collect()
    assert set(hubs._all) == set(keys[2:])


async def test_refresh_of_a_folder_nobody_has_open_costs_nothing(store: Gated) -> None:
    hubs, key = Hubs(store, change_log=100), await folder(store)
    await write(store, hubs, key, new("a"))
    assert (store.reads, len(hubs._all)) == (0, 0)


async def test_any_order_of_delivery_ends_level(store: Gated) -> None:
    """Writers side by side, some answers late, some never: the index equals the store, views equal the index."""
    rng = random.Random(7)
    hubs, key = Hubs(store, change_log=2), await folder(store)
    hub = await hubs.open(key)
    views = [hub.view(recent_from=1, takes_recent=False) for _ in range(3)]

    async def writer(n: int) -> None:
        for _ in range(20):
            name, other = f"m{rng.randrange(12)}", f"m{rng.randrange(12)}"
            gone = [MessageId(other)] if rng.random() < 0.4 else []
            applied = await store.apply(key, flag(name, Flags(SystemFlag(rng.randrange(32)))), gone)
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
            if rng.random() < 0.9:
                hubs.refresh(key, applied)
            if rng.random() < 0.5:
                views[n].drain(expunge=rng.random() < 0.5)

    await asyncio.gather(*(writer(n) for n in range(3)))
    await write(store, hubs, key, new("last"))
    await settled(hub)
    assert level(hub, await store.messages(key))
    for view in views:
        view.drain(expunge=True)
        assert view.uids is hub.index.uids
        assert not view.pending()


async def test_a_destroyed_mailbox_wakes_whoever_waits_and_is_whole_again_when_it_is_found(
    store: Gated,
) -> None:
    hubs = Hubs(store, change_log=4)
    key = await folder(store)
    hub = await hubs.open(key)
    view = hub.view(recent_from=1, takes_recent=False)
    waiter = asyncio.create_task(hub.changed(view))
    await asyncio.sleep(0)
    hubs.dissolve(key)
    hubs.dissolve(key + 1)  # nobody's
    await asyncio.wait_for(waiter, 1)
    assert hub.dissolved and not view.pending()
    assert (await hubs.open(key)) is hub and not hub.dissolved
