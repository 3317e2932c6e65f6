"""Recovery at start: every kind has its row in the table, and one bad row stops no other (invariant 2)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from mailbox_world import ACCOUNT, World, world

import gateway.mailbox
from gateway.graph.errors import Denied, Unreachable
from gateway.mailbox.account import BACKGROUND_RETRY, MEND_AFTER, MailboxAccount
from gateway.mailbox.hub import Hubs
from gateway.mailbox.journal import RECOVERIES, recover
from gateway.mailbox.spool import SpoolBudget
from gateway.mailbox.transfer import MoveWork
from gateway.mailbox.work import abandon, begin, done, settled, whole


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
    assert {"append", "copy", "move"} <= begun <= set(RECOVERIES)


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


async def mending(w: World) -> asyncio.Task[None]:
    account = MailboxAccount(w.ctx, Hubs(w.store, change_log=10), None, SpoolBudget(1))  # type: ignore[arg-type]
    return asyncio.create_task(account._mend())


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(5000):
        if await condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it does not come true")


async def test_work_that_ended_amid_what_it_did_is_mended_in_the_same_process(w: World) -> None:
    task = await mending(w)
    await move_row(w)
    await asyncio.sleep(0.01)
    assert await kinds(w) == ["move"]  # it may still be running
    (row,) = await w.store.journal(ACCOUNT)
    abandon(w.ctx, row.id)

    async def mended() -> bool:
        return await kinds(w) == []

    await until(mended)
    assert w.clock.slept == [MEND_AFTER]
    task.cancel()


async def test_mending_waits_until_graph_can_be_asked_again(w: World) -> None:
    task = await mending(w)
    await move_row(w)
    w.graph.fail("get", Unreachable(""))
    (row,) = await w.store.journal(ACCOUNT)
    abandon(w.ctx, row.id)

    async def mended() -> bool:
        return await kinds(w) == []

    await until(mended)
    assert w.clock.slept == [MEND_AFTER, BACKGROUND_RETRY]
    task.cancel()


async def test_stopping_does_not_wait_for_ever_for_work_that_cannot_go_on() -> None:
    ended: list[str] = []

    async def stuck() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("stuck")

    waiter = asyncio.create_task(whole(stuck()))
    await asyncio.sleep(0)
    await settled(patience=0.01)
    assert ended == ["stuck"]
    await asyncio.gather(waiter, return_exceptions=True)
