"""Recovery at start: every kind has its row in the table, and one bad row stops no other (invariant 2)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mailbox_world import ACCOUNT, World, world

import gateway.mailbox
from gateway.graph.errors import Denied, Unreachable
from gateway.mailbox.journal import RECOVERIES, recover
from gateway.mailbox.transfer import MoveWork
from gateway.mailbox.work import begin, done, settled, whole


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def kinds(w: World) -> list[str]:
    return [row.kind for row in await w.store.journal(ACCOUNT)]


async def move_row(w: World) -> None:
    stored = w.graph.put("inbox")
    await w.sync("inbox")
    inbox, sent = w.folder("inbox"), w.folder("sentitems")
    await begin(w.ctx, "move", MoveWork(inbox.key, sent.key, sent.id, [stored.id]))


def test_every_kind_of_work_has_a_recovery() -> None:
    source = "\n".join(path.read_text() for path in Path(gateway.mailbox.__file__).parent.glob("*.py"))
    begun = set(re.findall(r'begin\(\s*(?:self\._)?ctx, "([a-z-]+)"', source))
    assert {"append", "copy", "move", "send"} <= begun <= set(RECOVERIES)


async def test_an_unreadable_or_unknown_row_stops_no_other(w: World) -> None:
    await w.store.journal_add(ACCOUNT, "copy", b"not json")
    await w.store.journal_add(ACCOUNT, "of-tomorrow", b"{}")
    await move_row(w)
    await w.restarted()
    await recover(w.ctx)
    assert await kinds(w) == ["copy", "of-tomorrow"]


async def test_a_refusal_keeps_the_row_and_goes_on(w: World) -> None:
    await move_row(w)
    await move_row(w)
    await w.restarted()
    w.graph.fail("get", Denied(""))
    await recover(w.ctx)
    assert await kinds(w) == ["move"]


async def test_graph_away_means_later(w: World) -> None:
    await move_row(w)
    await w.restarted()
    w.graph.fail("get", Unreachable(""))
    with pytest.raises(Unreachable):
        await recover(w.ctx)
    assert await kinds(w) == ["move"]


async def test_work_under_way_is_left_alone(w: World) -> None:
    await move_row(w)
    await recover(w.ctx)
    assert await kinds(w) == ["move"] and w.graph.calls == []
    (row,) = await w.store.journal(ACCOUNT)
    await done(w.ctx, row.id)
    assert w.ctx.working == set()


async def test_whole_outlives_its_waiter() -> None:
    gate, reached = asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        reached.append(True)

    waiter = asyncio.create_task(whole(work()))
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    gate.set()
    await settled()
    assert reached == [True]
