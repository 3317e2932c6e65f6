"""Sizes made exact in the background: at what pace, in which order, what a restart or trouble costs; virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mailbox_world import ACCOUNT, NOW, World, world

from gateway.core.limits import MIB
from gateway.core.types import MessageId
from gateway.graph.errors import PermanentFailure, Throttled
from gateway.graph.model import Priority
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.cache import BodyCache
from gateway.mailbox.measuring import FIRST, PAUSE, Measuring
from gateway.store.api import FolderUpsert, Upsert


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        made.settings.size_share = 0.2
        yield made


def job(w: World) -> Measuring:
    return Measuring(w.ctx, Bodies(w.ctx, BodyCache(memory=MIB, spool_above=MIB)))


async def filled(w: World, count: int, folder: str = "inbox") -> None:
    for n in range(count):
        w.graph.put(folder, received=NOW + n)
    await w.sync(folder)
    w.graph.calls.clear()


def asked(w: World) -> list[str]:
    return [id for name, id in w.graph.calls if name == "mime"]


async def exact(w: World, folder: str = "inbox") -> list[bool]:
    return [row.size_exact for row in await w.rows(folder)]


async def test_every_size_becomes_exact_for_one_request_each(w: World) -> None:
    await filled(w, 50)
    measuring = job(w)
    await measuring.round()
    rows = await w.rows("inbox")
    assert all(row.size_exact and row.size == len(w.graph.messages[row.id].mime) for row in rows)
    assert asked(w) == [row.id for row in reversed(rows)]  # newest first
    assert {name for name, _ in w.graph.calls} == {"mime"} and measuring.measured == 50
    await measuring.round()
    assert len(asked(w)) == 50


async def test_never_more_than_its_share_of_ten_minutes(w: World) -> None:
    w.ctx.limits = replace(w.ctx.limits, requests_per_10min=100)
    await filled(w, 90)
    times: list[float] = []
    fetch = w.graph.mime

    async def mime(id: str, *, priority: Any = None) -> bytes:
        assert priority is Priority.BACKGROUND
        times.append(w.clock.now)
        return await fetch(id)

    w.graph.mime = mime  # type: ignore[method-assign]
    await job(w).round()
    assert len(times) == 90
    assert max(sum(at <= each < at + 600 for each in times) for at in times) <= 20
    assert times[-1] - times[0] < 91 * 30 + 1  # and no less, as long as there is something to do


async def test_inbox_comes_first_and_what_is_not_synced_is_left_alone(w: World) -> None:
    await filled(w, 2, "sentitems")
    for n in range(2):
        w.graph.put("inbox", received=NOW + n)
    await w.sync("inbox")
    w.graph.calls.clear()
    cold = FolderUpsert("cold", name="cold", total=3)  # type: ignore[arg-type]
    await w.store.put_folders(ACCOUNT, [cold], [], link=None)
    await job(w).round()
    inbox = {row.id for row in await w.rows("inbox")}
    assert set(asked(w)[:2]) == inbox and len(asked(w)) == 4


async def test_trouble_ends_the_round_and_nothing_is_measured_twice(w: World) -> None:
    await filled(w, 30)
    third = (await w.rows("inbox"))[-3].id
    fetch = w.graph.mime

    async def mime(id: str, *, priority: Any = None) -> bytes:
        raw = await fetch(id)
        if id == third and asked(w).count(id) == 1:
            raise Throttled("")
        return raw

    w.graph.mime = mime  # type: ignore[method-assign]
    with pytest.raises(Throttled):
        await job(w).round()
    assert sum(await exact(w)) == 2  # what was found out is kept
    await job(w).round()  # after a restart, say
    assert all(await exact(w)) and len(asked(w)) == 31


async def test_what_cannot_be_rendered_is_asked_for_once(w: World) -> None:
    await filled(w, 3)
    odd = (await w.rows("inbox"))[1].id
    fetch = w.graph.mime

    async def mime(id: str, *, priority: Any = None) -> bytes:
        raw = await fetch(id)
        if id == odd:
            raise PermanentFailure("", status=500)
        return raw

    w.graph.mime = mime  # type: ignore[method-assign]
    measuring = job(w)
    await measuring.round()
    await measuring.round()
    assert await exact(w) == [True, False, True] and len(asked(w)) == 3
    assert {name for name, _ in w.graph.calls} == {"mime"}  # nothing is made up for it


async def test_what_went_away_meanwhile_does_no_harm(w: World) -> None:
    await filled(w, 3)
    del w.graph.messages[(await w.rows("inbox"))[2].id]
    await job(w).round()
    assert await exact(w) == [True, True, False]


async def test_octets_seen_once_leave_facts_but_no_cached_body(w: World) -> None:
    await filled(w, 1)
    (row,) = await w.rows("inbox")
    bodies = Bodies(w.ctx, BodyCache(memory=MIB, spool_above=MIB))
    await Measuring(w.ctx, bodies).round()
    assert await bodies.at_hand([row]) == set()
    facts = (await w.store.facts(ACCOUNT, [row.id]))[MessageId(row.id)]
    assert facts.structure is not None and await w.store.pinned(ACCOUNT, row.id) is not None


async def test_it_begins_after_the_first_syncs_and_looks_again_for_new_mail(w: World) -> None:
    await filled(w, 1)
    measuring = job(w)
    measuring.start()
    for _ in range(200):
        await asyncio.sleep(0.001)
        if w.clock.slept.count(PAUSE) >= 2:
            break
    await measuring.close()
    assert w.clock.slept[0] == FIRST and all(await exact(w)) and len(asked(w)) == 1


@pytest.mark.parametrize("settings", [{"size_share": 0.0}, {"rfc822_size": "estimate"}])
async def test_off_where_it_is_not_wanted(w: World, settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        setattr(w.settings, name, value)
    measuring = job(w)
    measuring.start()
    assert measuring._task is None
    await measuring.close()


async def test_exact_ones_are_left_alone(w: World) -> None:
    await filled(w, 4)
    rows = await w.rows("inbox")
    sizes = [Upsert(row.id, size=7, size_exact=True) for row in rows[:3]]
    await w.store.apply(w.folder("inbox").key, sizes, ())
    await job(w).round()
    assert asked(w) == [rows[3].id]
