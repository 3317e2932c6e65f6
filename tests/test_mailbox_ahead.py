"""A client that walks through a folder: what is fetched before it asks, and what that may cost."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from mailbox_world import NOW, World, world

from gateway.core.limits import KIB, MIB
from gateway.graph.errors import Throttled
from gateway.graph.model import Priority
from gateway.mailbox.ahead import AT_ONCE, STEPS, Ahead
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.cache import BodyCache
from gateway.store.api import MessageRow

WINDOW = 8


@dataclass
class Reader:
    """A client with a folder of 60 messages open."""

    w: World
    rows: list[MessageRow]
    bodies: Bodies
    ahead: Ahead

    async def read(self, *positions: int) -> None:
        for position in positions:
            self.ahead.read([range(position, position + 1)])
            assert await self.bodies.body(self.rows[position], self.w.folder("inbox")) is not None
            await self.quiet()

    async def quiet(self) -> None:
        """What is fetched ahead has come."""
        if self.ahead._task is not None:
            await asyncio.wait([self.ahead._task])

    def fetched(self) -> list[int]:
        number = {row.id: at for at, row in enumerate(self.rows)}
        return [number[id] for name, id in self.w.graph.calls if name == "mime"]


async def reader(w: World, memory: int = 64 * MIB, **options: Any) -> Reader:
    for n in range(60):
        w.graph.put("inbox", received=NOW + n)
    rows = await w.sync("inbox")
    bodies = Bodies(w.ctx, BodyCache(memory=memory, spool_above=8 * MIB, **options))
    view: Any = SimpleNamespace(uids=array("I", [row.uid for row in rows]), count=len(rows))
    w.graph.calls.clear()
    return Reader(w, rows, bodies, Ahead(w.ctx, bodies, w.folder("inbox"), view))


@pytest_asyncio.fixture
async def r(tmp_path: Path) -> AsyncIterator[Reader]:
    async with world(tmp_path) as made:
        yield await reader(made)


async def test_the_whole_walk_costs_one_request_a_message(r: Reader) -> None:
    await r.read(*range(60))
    assert sorted(r.fetched()) == list(range(60))


async def test_downwards_as_well(r: Reader) -> None:
    await r.read(*range(59, -1, -1))
    assert sorted(r.fetched()) == list(range(60))


async def test_nothing_is_fetched_before_a_walk_is_seen(r: Reader) -> None:
    await r.read(*range(STEPS - 1))
    assert r.fetched() == list(range(STEPS - 1))
    await r.read(STEPS - 1)
    assert sorted(r.fetched()) == list(range(STEPS + WINDOW))


@pytest.mark.parametrize("stop", [4, 5, 7, 8, 9, 12, 17])
async def test_who_stops_has_cost_one_window_at_most(r: Reader, stop: int) -> None:
    await r.read(*range(stop))
    assert len(r.fetched()) <= stop + WINDOW and len(set(r.fetched())) == len(r.fetched())


async def test_the_next_ones_come_when_half_of_a_window_is_used_up(r: Reader) -> None:
    await r.read(*range(STEPS))
    before = len(r.fetched())
    await r.read(*range(STEPS, STEPS + WINDOW // 2 - 1))
    assert len(r.fetched()) == before
    await r.read(STEPS + WINDOW // 2 - 1)
    assert len(r.fetched()) == before + WINDOW // 2


async def test_partial_reads_of_one_message_are_one_step(r: Reader) -> None:
    await r.read(0, 0, 0, 0, 0, 0)
    assert r.fetched() == [0]
    await r.read(1, 1, 2, 2, 3, 3)
    assert len(r.fetched()) == STEPS + WINDOW


async def test_who_jumps_about_gets_nothing_ahead(r: Reader) -> None:
    await r.read(5, 9, 3, 30, 31, 32, 10, 9, 8, 40, 41, 40, 41)
    assert len(r.fetched()) == len(set(r.fetched())) == 10


async def test_a_command_for_many_messages_is_no_step(r: Reader) -> None:
    await r.read(0, 1, 2)
    r.ahead.read([range(3, 20)])
    await r.read(20, 21, 22)
    assert r.fetched() == [0, 1, 2, 20, 21, 22]


async def test_a_turn_begins_a_new_walk(r: Reader) -> None:
    await r.read(*range(20, 20 + STEPS))
    r.w.graph.calls.clear()
    await r.read(*range(20 + STEPS - 2, 14, -1))
    assert set(r.fetched()) == set(range(14 - WINDOW + 1, 20)) & set(r.fetched())
    assert 14 in r.fetched()


async def test_off_by_setting(r: Reader) -> None:
    r.w.settings.prefetch = 0
    await r.read(*range(20))
    assert r.fetched() == list(range(20))


async def test_in_the_background_and_lifted_when_the_client_comes_there(r: Reader) -> None:
    asked: list[tuple[str, Any]] = []
    fetch, gate = r.w.graph.mime, asyncio.Event()

    async def mime(id: str, *, priority: Any = None) -> bytes:
        asked.append((id, priority))
        if priority is Priority.BACKGROUND:
            await gate.wait()
        return await fetch(id)

    r.w.graph.mime = mime  # type: ignore[method-assign]
    for position in range(STEPS):
        r.ahead.read([range(position, position + 1)])
        await r.bodies.body(r.rows[position], r.w.folder("inbox"))
    await asyncio.sleep(0.05)
    ahead = [id for id, priority in asked if priority is Priority.BACKGROUND]
    assert set(ahead) == {row.id for row in r.rows[STEPS : STEPS + AT_ONCE]}
    haste = r.bodies._cache._flights[r.bodies._key(r.rows[STEPS])].haste
    assert haste is not None and not haste.lifted
    waiting = asyncio.create_task(r.bodies.body(r.rows[STEPS], r.w.folder("inbox")))
    await asyncio.sleep(0.05)
    assert haste.lifted and not waiting.done()
    gate.set()
    assert await waiting is not None
    await r.quiet()
    assert len({id for id, _ in asked}) == len(asked)


async def test_closing_the_folder_ends_it(r: Reader) -> None:
    gate, begun = asyncio.Event(), 0
    fetch = r.w.graph.mime

    async def mime(id: str, *, priority: Any = None) -> bytes:
        nonlocal begun
        if priority is Priority.BACKGROUND:
            begun += 1
            await gate.wait()
        return await fetch(id)

    r.w.graph.mime = mime  # type: ignore[method-assign]
    for position in range(STEPS):
        r.ahead.read([range(position, position + 1)])
        await r.bodies.body(r.rows[position], r.w.folder("inbox"))
    await asyncio.sleep(0.05)
    r.ahead.close()
    await asyncio.sleep(0.05)
    gate.set()
    await asyncio.sleep(0.05)
    assert begun == AT_ONCE and not r.bodies._cache._flights


async def test_what_is_on_its_way_when_the_client_jumps_is_not_asked_for_twice(r: Reader) -> None:
    gate = asyncio.Event()
    fetch = r.w.graph.mime

    async def mime(id: str, *, priority: Any = None) -> bytes:
        if priority is Priority.BACKGROUND:
            await gate.wait()
        return await fetch(id)

    r.w.graph.mime = mime  # type: ignore[method-assign]
    for position in range(STEPS):
        r.ahead.read([range(position, position + 1)])
        await r.bodies.body(r.rows[position], r.w.folder("inbox"))
    await asyncio.sleep(0.05)
    r.ahead.read([range(40, 50)])
    gate.set()
    await r.quiet()
    assert len(r.fetched()) == STEPS + AT_ONCE
    await r.read(*range(STEPS, STEPS + AT_ONCE))
    assert len(r.fetched()) == STEPS + AT_ONCE


async def test_trouble_ahead_is_not_the_clients(r: Reader) -> None:
    r.w.graph.fail("mime", Throttled(""))
    fetch = r.w.graph.mime

    async def mime(id: str, *, priority: Any = None) -> bytes:
        if priority is Priority.BACKGROUND:
            raise Throttled("")
        r.w.graph.faults.clear()
        return await fetch(id)

    r.w.graph.mime = mime  # type: ignore[method-assign]
    await r.read(*range(20))
    assert r.fetched() == list(range(20))


async def test_what_would_not_stay_in_the_cache_is_not_fetched(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        r = await reader(w, memory=256 * KIB)  # a window of 16 KiB, messages of a little more than 1 KiB
        await r.read(*range(STEPS))
        assert STEPS < len(r.fetched()) < STEPS + WINDOW
        r.w.graph.calls.clear()
        await r.read(*range(STEPS, 30))
        assert len(r.fetched()) == len(set(r.fetched()))
