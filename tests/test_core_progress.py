"""How far a command has come: what may be said of it, and whose work counts."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import progress
from gateway.core.progress import Progress


@pytest.mark.parametrize(
    ("done", "goal", "said"),
    [
        (0, 10, (0, 10)),
        (3, 10, (3, 10)),
        (10, 10, (9, 10)),
        (12, 10, (9, 10)),
        (5, 0, (5, None)),
        (0, 1, (0, 1)),
    ],
)
def test_the_goal_is_positive_and_beyond_what_is_done(
    done: int, goal: int, said: tuple[int, int | None]
) -> None:
    found = Progress()
    found.reach(done, goal)
    assert found.seen() == said


def test_nothing_known_is_nothing_said() -> None:
    assert Progress().seen() == (None, None)


@given(st.lists(st.integers(0, 100)))
def test_it_never_goes_backwards(steps: list[int]) -> None:
    found, last = Progress(), 0
    for step in steps:
        found.reach(step, 1000)
        done = found.seen()[0]
        assert done is not None and done >= last
        last = done


def test_what_is_counted_below() -> None:
    found = progress.begin()
    progress.advance(3)
    assert found.seen() == (None, None)
    progress.expect(10)
    progress.advance(3)
    progress.expect(2)  # a part of it
    progress.advance(4)
    assert found.seen() == (7, 10)


async def test_tasks_of_the_command_count_for_it_and_later_ones_for_the_next() -> None:
    gate = asyncio.Event()

    async def work() -> None:
        progress.advance(1)
        await gate.wait()
        progress.advance(1)

    first = progress.begin()
    progress.expect(5)
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    second = progress.begin()
    progress.expect(5)
    gate.set()
    await task
    assert (first.seen(), second.seen()) == ((2, 5), (0, 5))


def test_who_waits_for_somebody_elses_work_shows_that() -> None:
    shared, found = Progress(), progress.begin()
    progress.follow(shared)
    shared.reach(200, 1000)
    assert found.seen() == (200, 1000)
