"""Header facts of many messages: which pages are asked for, how many at once, and what others get of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mailbox_world import ACCOUNT, NOW, PLAIN, World, world

from gateway.core.types import MessageId, Uid
from gateway.graph.errors import Throttled, Unreachable
from gateway.graph.model import MessagePage
from gateway.mailbox.facts import metas
from gateway.mailbox.headers import HeaderPages, Lacking, windows
from gateway.mailbox.values import Meta
from gateway.store.api import MessageRow
from tests.sync_world import eventually


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def filled(w: World, count: int, **facts: Any) -> list[MessageRow]:
    for n in range(count):
        w.graph.put("inbox", **{"received": NOW + n, **facts})
    return await w.sync("inbox")


async def read(w: World, rows: Sequence[MessageRow], pages: HeaderPages | None = None) -> dict[Any, Meta]:
    """As a FETCH of these messages does it, in batches of 100."""
    reading = (pages or HeaderPages(w.ctx)).reading(w.folder("inbox"), lambda: [row.uid for row in rows])
    found: dict[Any, Meta] = {}
    try:
        for start in range(0, len(rows), 100):
            found |= await metas(w.ctx, rows[start : start + 100], reading.bring)
    finally:
        await reading.close()
    return found


def calls(w: World) -> list[str]:
    return [name for name, _ in w.graph.calls]


# -- which pages --


def plan(dates: Sequence[int], wanted: Sequence[int], size: int = 10) -> list[tuple[int, int, int]]:
    """(first date, last date, messages wanted) of each window; message n has UID n + 1 and the n-th date."""
    rows: list[Lacking] = sorted(
        ((Uid(n + 1), MessageId(f"{n}"), dates[n]) for n in wanted), key=lambda row: row[2]
    )
    return [(w.first, w.last, len(w.wanted)) for w in windows(sorted(dates), rows, size)]


def test_a_folder_in_order_is_read_page_by_page() -> None:
    assert plan(range(25), range(25)) == [(0, 9, 10), (10, 19, 10), (20, 24, 5)]


def test_what_nobody_wants_between_two_pages_is_not_listed() -> None:
    assert plan(range(100), [*range(5), *range(90, 95)]) == [(0, 4, 5), (90, 94, 5)]


def test_a_message_alone_is_not_worth_a_page() -> None:
    assert plan(range(100), [3, 50]) == []


def test_few_of_many_are_not_worth_their_page() -> None:
    assert plan(range(500), range(0, 500, 100), 500) == []  # 401 listed for 5
    assert plan(range(500), range(0, 500, 20), 500) == [(0, 480, 25)]


def test_a_page_ends_before_a_second_that_does_not_fit() -> None:
    assert plan([0] * 4 + [1] * 9, range(13)) == [(0, 0, 4), (1, 1, 9)]
    assert plan([5] * 30, range(30)) == [(5, 5, 30)]  # longer than a page: followed by its links


def test_uids_in_another_order_than_dates() -> None:
    dates = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert plan(dates, range(10), 5) == [(5, 9, 5), (0, 4, 5)]


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=60),
    st.randoms(use_true_random=False),
    st.integers(2, 20),
)
def test_windows_hold_each_message_once_and_list_no_more_than_a_page(
    dates: list[int], rng: Any, size: int
) -> None:
    wanted = [n for n in range(len(dates)) if rng.random() < 0.7]
    rows: list[Lacking] = sorted(
        ((Uid(n + 1), MessageId(f"{n}"), dates[n]) for n in wanted), key=lambda row: row[2]
    )
    seen: set[str] = set()
    for window in windows(sorted(dates), rows, size):
        inside = [date for date in dates if window.first <= date <= window.last]
        assert window.listed == len(inside) and not seen & window.wanted
        assert window.listed <= size or window.first == window.last
        assert window.uid == min(int(id) + 1 for id in window.wanted)
        seen |= window.wanted
    assert seen <= {f"{n}" for n in wanted}


# -- reading them --


async def test_hundreds_come_with_a_page_and_cost_nothing_again(w: World) -> None:
    rows = await filled(w, 250)
    assert len(await read(w, rows)) == 250
    assert calls(w) == ["list_page"]
    assert len(await read(w, rows)) == 250
    assert calls(w) == ["list_page"]


async def test_a_few_are_asked_for_by_id(w: World) -> None:
    rows = await filled(w, 100)
    assert len(await read(w, rows[:40])) == 40
    assert calls(w) == ["get"]


async def test_four_pages_are_on_their_way_and_come_in_the_order_of_need(w: World) -> None:
    rows = await filled(w, 3000)
    most, running, listed = 0, 0, w.graph.list_page

    async def slow(*args: Any, **options: Any) -> MessagePage:
        nonlocal most, running
        running += 1
        most = max(most, running)
        for _ in range(50):
            await asyncio.sleep(0)
        running -= 1
        return await listed(*args, **options)

    w.graph.list_page = slow  # type: ignore[method-assign]
    assert len(await read(w, rows)) == 3000
    assert most == 4 and calls(w) == ["list_page"] * 6


async def test_mail_whose_dates_are_in_no_order_costs_no_more(w: World) -> None:
    for n in range(1500):
        w.graph.put("inbox", received=NOW + n * 7919 % 1500)
    rows = sorted(await w.sync("inbox"), key=lambda row: row.id)
    assert len(await read(w, rows)) == 1500
    assert calls(w) == ["list_page"] * 3


async def test_scattered_messages_cost_as_few_as_they_can(w: World) -> None:
    rows = await filled(w, 1000)
    assert len(await read(w, rows[::20])) == 50
    assert calls(w) == ["list_page"] * 2


async def test_a_straggler_is_asked_for_by_id(w: World) -> None:
    rows = await filled(w, 1000)
    assert len(await read(w, [*rows[:50], rows[900]])) == 51
    assert calls(w) == ["list_page", "get"] and w.graph.calls[1][1] == [rows[900].id]


async def test_what_a_page_brings_besides_is_kept(w: World) -> None:
    rows = await filled(w, 100)
    await read(w, rows[::2])
    w.graph.calls.clear()
    assert len(await read(w, rows[1:98])) == 97
    assert calls(w) == []


async def test_a_page_too_heavy_is_halved_for_good(w: World) -> None:
    rows = await filled(w, 1000)
    pages = HeaderPages(w.ctx)
    w.graph.fail("list_page", Unreachable("", status=504))
    assert len(await read(w, rows[:500], pages)) == 500
    assert [size for _, size in w.graph.calls] == [500, 250, 250]
    await read(w, rows[500:], pages)
    assert [size for _, size in w.graph.calls[3:]] == [250, 250]


async def test_what_has_left_the_folder_meanwhile_is_asked_for_by_id(w: World) -> None:
    rows = await filled(w, 60)
    w.graph.messages[rows[3].id].folder = "F-deleteditems"
    del w.graph.messages[rows[5].id]
    assert {*await read(w, rows)} == {row.id for row in rows} - {rows[5].id}
    assert calls(w) == ["list_page", "get"] and w.graph.calls[1][1] == [rows[3].id, rows[5].id]


async def test_appended_mail_needs_no_page(w: World) -> None:
    rows = await filled(w, 60)
    for row in rows:
        await w.store.adopt_blob(ACCOUNT, row.id, await w.store.put_blob(PLAIN))
    assert len(await read(w, rows)) == 60 and calls(w) == []


async def test_two_commands_at_once_ask_once(w: World) -> None:
    rows = await filled(w, 1000)
    pages = HeaderPages(w.ctx)
    both = await asyncio.gather(read(w, rows, pages), read(w, rows[::-1], pages))
    assert all(len(found) == 1000 for found in both)
    assert calls(w) == ["list_page"] * 2


async def test_an_error_is_told_and_nothing_stays_behind(w: World) -> None:
    rows = await filled(w, 600)
    pages = HeaderPages(w.ctx)
    w.graph.fail("list_page", Throttled(""))
    with pytest.raises(Throttled):
        await read(w, rows, pages)
    assert not pages.coming(row.id for row in rows)
    assert len(await read(w, rows, pages)) == 600


async def test_who_gives_up_leaves_the_other_one_his_messages(w: World) -> None:
    rows = await filled(w, 600)
    pages = HeaderPages(w.ctx)
    first = asyncio.create_task(read(w, rows, pages))
    assert await eventually(lambda: pages.coming(row.id for row in rows))
    second = asyncio.create_task(read(w, rows, pages))
    await asyncio.sleep(0.01)
    first.cancel()
    assert len(await second) == 600
    assert not pages.coming(row.id for row in rows)
