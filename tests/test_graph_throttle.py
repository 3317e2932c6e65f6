"""The scheduler of one mailbox, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay.virtual import VirtualClock, settle

from gateway.core.limits import DEFAULT_LIMITS
from gateway.graph.budget import Budget
from gateway.graph.errors import Throttled, Unreachable
from gateway.graph.model import Priority
from gateway.graph.throttle import AGED, GROW_AFTER, Scheduler, caller

PERSON, BULK, BG = Priority.INTERACTIVE, Priority.BULK, Priority.BACKGROUND


class Floor:
    """Calls that take a slot and hold it until told; `ran` is the order in which they got it."""

    def __init__(self, **limits: int) -> None:
        self.clock = VirtualClock()
        self.scheduler = Scheduler(self.clock, replace(DEFAULT_LIMITS, **limits))
        self.ran: list[str] = []
        self.held: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, priority: Priority, *, who: str = "", **cost: float) -> None:
        self.held[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._call(name, priority, who, **cost))

    async def _call(self, name: str, priority: Priority, who: str, **cost: float) -> None:
        caller.set(who)
        async with self.scheduler.slot(priority, **cost):  # type: ignore[arg-type]
            self.ran.append(name)
            await self.held[name].wait()

    async def finish(self, *names: str) -> None:
        for name in names:
            self.held[name].set()
        await settle()

    async def clear(self) -> None:
        for event in self.held.values():
            event.set()
        await self.clock.advance(10_000)
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


@pytest.fixture
def floor() -> Iterator[Floor]:
    return Floor()


async def test_no_more_than_four_run(floor: Floor) -> None:
    for n in range(7):
        floor.start(f"{n}", PERSON)
    await settle()
    assert floor.ran == ["0", "1", "2", "3"]
    await floor.finish("2")
    assert floor.ran[4:] == ["4"]
    assert floor.scheduler.in_flight == 4
    await floor.clear()
    assert floor.scheduler.in_flight == 0


async def test_background_leaves_the_last_slot(floor: Floor) -> None:
    for n in range(6):
        floor.start(f"b{n}", BG)
    await settle()
    assert len(floor.ran) == 3
    floor.start("person", PERSON)
    await settle()
    assert floor.ran[-1] == "person"
    await floor.finish("b0")
    assert len(floor.ran) == 4  # three are running: the last slot stays free
    await floor.clear()


async def test_a_person_overtakes_whoever_waits(floor: Floor) -> None:
    for n in range(4):
        floor.start(f"bulk{n}", BULK)
    floor.start("bulk4", BULK)
    floor.start("background", BG)
    floor.start("person", PERSON)
    await settle()
    await floor.finish("bulk0")
    assert floor.ran[4:] == ["person"]
    await floor.finish("bulk1")
    assert floor.ran[5:] == ["bulk4"]
    await floor.clear()


async def test_no_priority_inversion_by_a_blocked_background_call(floor: Floor) -> None:
    """What waits in front of a person and cannot run must not keep him waiting."""
    for n in range(3):
        floor.start(f"b{n}", BG)
    floor.start("b3", BG)
    await settle()
    floor.start("person", PERSON)
    floor.start("second", PERSON)
    await settle()
    assert floor.ran[3:] == ["person"]
    await floor.finish("b0")
    assert floor.ran[4:] == ["second"]
    await floor.clear()


async def test_callers_take_turns(floor: Floor) -> None:
    for n in range(4):
        floor.start(f"x{n}", BULK, who="x")
    await settle()
    for n in range(4):
        floor.start(f"greedy{n}", BULK, who="greedy")
    floor.start("modest", BULK, who="modest")
    await settle()
    await floor.finish("x0", "x1")
    assert floor.ran[4:] == ["greedy0", "modest"]
    await floor.clear()


async def test_old_background_work_goes_before_bulk(floor: Floor) -> None:
    for n in range(4):
        floor.start(f"bulk{n}", BULK)
    floor.start("sync", BG)
    for n in range(4, 8):
        floor.start(f"bulk{n}", BULK)
    await floor.clock.advance(AGED)
    await floor.finish("bulk0", "bulk1")
    assert floor.ran[4] == "sync"
    await floor.clear()


async def test_late_work_that_cannot_be_afforded_keeps_no_slot_empty() -> None:
    floor = Floor(requests_per_10min=100)
    floor.start("much", PERSON, requests=60)
    await settle()
    await floor.finish("much")
    floor.start("sync", BG)  # has half of the budget, which is gone
    await floor.clock.advance(AGED)
    for n in range(20):
        floor.start(f"p{n}", PERSON)
    for n in range(16):
        await settle()
        assert floor.scheduler.in_flight == 4
        await floor.finish(f"p{n}")
    assert "sync" not in floor.ran
    await floor.clear()
    assert floor.ran[-1] == "sync"


async def test_retry_after_pauses_everyone(floor: Floor) -> None:
    floor.scheduler.refused(2.5)
    floor.start("a", PERSON)
    await floor.clock.advance(2.4)
    assert floor.ran == []
    await floor.clock.advance(0.1)
    assert floor.ran == ["a"]
    await floor.clear()


async def test_a_429_halves_the_slots_and_success_gives_them_back(floor: Floor) -> None:
    floor.scheduler.refused(None)
    assert floor.scheduler.slots == 2
    floor.scheduler.refused(None)
    assert floor.scheduler.slots == 2
    for _ in range(2 * GROW_AFTER):
        floor.scheduler.succeeded()
    assert floor.scheduler.slots == 4
    for _ in range(GROW_AFTER):
        floor.scheduler.succeeded()
    assert floor.scheduler.slots == 4


async def test_who_cannot_be_served_in_time_is_told_at_once(floor: Floor) -> None:
    floor.scheduler.refused(100.0)
    floor.start("a", PERSON, deadline=60.0)
    await settle()
    with pytest.raises(Throttled) as caught:
        await floor.tasks["a"]
    assert caught.value.retry_after == 100.0


async def test_waiting_ends_at_the_deadline(floor: Floor) -> None:
    for n in range(4):
        floor.start(f"{n}", PERSON)
    floor.start("late", PERSON, deadline=30.0)
    await floor.clock.advance(29)
    assert not floor.tasks["late"].done()
    await floor.clock.advance(1)
    with pytest.raises(Throttled):
        await floor.tasks["late"]
    await floor.clear()
    assert "late" not in floor.ran


async def test_requests_have_a_budget_and_people_the_last_of_it() -> None:
    floor = Floor(requests_per_10min=10)
    for n in range(6):
        floor.start(f"bulk{n}", BULK)
        await settle()
        await floor.finish(f"bulk{n}")
    floor.start("bulk6", BULK)
    floor.start("person", PERSON)
    await settle()
    assert floor.ran[6:] == ["person"]
    await floor.finish("person")
    await floor.clock.advance(620)
    assert floor.ran[-1] == "bulk6"
    await floor.clear()


async def test_uploads_have_a_budget_of_octets() -> None:
    floor = Floor(upload_per_5min=100)
    floor.start("a", PERSON, upload=80)
    floor.start("b", PERSON, upload=30)
    floor.start("c", PERSON)
    await settle()
    await floor.finish("a")
    assert "b" not in floor.ran
    await floor.clock.advance(310)
    assert "b" in floor.ran
    await floor.clear()


async def test_cancelling_a_waiter_leaves_no_trace(floor: Floor) -> None:
    for n in range(4):
        floor.start(f"{n}", PERSON)
    floor.start("given-up", PERSON, deadline=60.0)
    floor.start("next", PERSON)
    await settle()
    floor.tasks["given-up"].cancel()
    await floor.finish("0")
    assert floor.ran[4:] == ["next"]
    await floor.clear()
    assert floor.scheduler.in_flight == 0


async def test_cancelling_in_the_same_moment_as_the_grant_gives_the_slot_back(floor: Floor) -> None:
    for n in range(4):
        floor.start(f"{n}", PERSON)
    floor.start("unlucky", PERSON)
    await settle()
    floor.held["0"].set()
    for _ in range(2):  # the slot is handed over, the task has not yet run
        await asyncio.sleep(0)
    floor.tasks["unlucky"].cancel()
    await settle()
    await floor.finish("1", "2", "3")
    assert floor.tasks["unlucky"].done()
    assert floor.scheduler.in_flight == 0


async def test_a_cancelled_waiter_is_not_granted(floor: Floor) -> None:
    for n in range(4):
        floor.start(f"{n}", PERSON)
    floor.start("unlucky", PERSON)
    floor.start("next", PERSON)
    await settle()
    floor.tasks["unlucky"].cancel()  # its future is cancelled now, its task runs later
    floor.held["0"].set()
    await settle()
    assert floor.ran[4:] == ["next"]
    await floor.clear()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(Priority)), st.sampled_from("abc"), st.floats(0, 40)), max_size=30
    ),
    st.randoms(),
)
def test_whatever_comes_four_run_and_all_get_their_turn(
    calls: list[tuple[Priority, str, float]], rng: object
) -> None:
    async def scene() -> None:
        clock = VirtualClock()
        scheduler = Scheduler(clock)
        most = 0
        done = 0

        async def call(priority: Priority, who: str, takes: float) -> None:
            nonlocal most, done
            caller.set(who)
            async with scheduler.slot(priority):
                most = max(most, scheduler.in_flight)
                await clock.sleep(takes)
            done += 1

        tasks = [asyncio.create_task(call(*each)) for each in calls]
        await settle()
        for task in tasks[::5]:
            task.cancel()
        await clock.advance(5_000)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert most <= 4
        assert scheduler.in_flight == 0
        assert done == sum(not task.cancelled() for task in tasks)

    asyncio.run(scene())


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5)), max_size=200))
def test_a_budget_is_never_exceeded_in_any_window(spending: list[tuple[float, int]]) -> None:
    budget, now, spent = Budget(20, 600.0), 0.0, list[tuple[float, int]]()
    for pause, units in spending:
        now = max(now + pause, budget.when(units, 1.0, now + pause))
        budget.spend(units, now)
        spent.append((now, units))
        assert sum(u for at, u in spent if at > now - 600.0) <= 20


@pytest.mark.parametrize(("away", "error"), [(True, Unreachable), (False, Throttled)])
async def test_who_waits_in_vain_hears_whether_graph_is_away_or_busy(
    away: bool, error: type[Exception]
) -> None:
    floor = Floor(in_flight=1)
    floor.start("first", PERSON)
    await settle()
    floor.scheduler.unanswered()
    if not away:
        floor.scheduler.succeeded()
    floor.start("second", PERSON, deadline=5.0)
    await settle()
    await floor.clock.advance(6)
    with pytest.raises(error):
        await floor.tasks["second"]
    await floor.clear()
