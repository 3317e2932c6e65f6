"""How several processes divide what a mailbox bears: the rule, and processes that come, go, work and idle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Unavailable
from gateway.core.limits import DEFAULT_LIMITS
from gateway.graph.model import Priority
from gateway.graph.throttle import Scheduler
from gateway.mailbox.shares import IDLE, RETRY, Shares, Use, divide, mailbox_key, targets
from gateway.store.nodes import Portion

WHOLE = Use(True, 4, 1000, 4000)
LIMITS = replace(DEFAULT_LIMITS, requests_per_10min=1000, upload_per_5min=4000)


# -- the rule --


def test_slots_are_divided_alike_and_by_turns_where_they_are_too_few() -> None:
    assert targets([], 4, 0) == {}
    assert targets([7], 4, 0) == {7: 4}
    assert targets([2, 1], 4, 9) == {1: 2, 2: 2}
    assert targets([3, 1, 2], 4, 0) == {1: 2, 2: 1, 3: 1}
    six = [targets(range(6), 4, turn) for turn in range(6)]
    assert all(sum(each.values()) == 4 for each in six)
    assert all(sum(each[node] for each in six) == 4 for node in range(6))


def test_who_is_alone_has_all_and_who_comes_waits_for_it() -> None:
    alone = divide(1, Use(True, 0, 0, 0), [], WHOLE, 0)
    assert alone == Portion(1, True, 4, 1000, 4000)
    second = divide(2, Use(True, 0, 0, 0), [alone], WHOLE, 0)
    assert second == Portion(2, True, 0, 0, 0)
    less = divide(1, Use(True, 3, 700, 0), [alone, second], WHOLE, 0)
    assert less == Portion(1, True, 3, 700, 2000)  # what is in flight and spent cannot be given back
    assert divide(2, Use(True, 0, 0, 0), [less, second], WHOLE, 0) == Portion(2, True, 1, 300, 2000)


def test_who_is_idle_keeps_what_he_has_spent_until_it_counts_no_more() -> None:
    others = [Portion(2, True, 0, 0, 0)]
    assert divide(1, Use(False, 0, 30, 0), others, WHOLE, 0) == Portion(1, False, 0, 30, 0)
    assert divide(1, Use(False, 0, 0, 0), others, WHOLE, 0) is None


uses = st.builds(Use, st.booleans(), st.integers(0, 4), st.integers(0, 1000), st.integers(0, 4000))


@given(st.lists(st.tuples(st.integers(1, 6), uses, st.integers(0, 9)), max_size=40))
def test_together_it_is_never_more_than_the_whole(steps: list[tuple[int, Use, int]]) -> None:
    portions: dict[int, Portion] = {}
    for node, use, turn in steps:
        mine = divide(node, use, list(portions.values()), WHOLE, turn)
        portions.pop(node, None)
        if mine is not None:
            portions[node] = mine
        assert sum(portion.slots for portion in portions.values()) <= 4
        assert sum(portion.requests for portion in portions.values()) <= 1000
        assert sum(portion.upload for portion in portions.values()) <= 4000


# -- processes --


class Clock:
    """Time that only tests move."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self._sleepers.append((self.now + seconds, event))
        await event.wait()

    async def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for at, event in self._sleepers:
            if at <= self.now:
                event.set()
        await settle()


async def settle() -> None:
    for _ in range(60):
        await asyncio.sleep(0)


class Table:
    """The database's part, in memory; tells everybody else as NOTIFY does."""

    def __init__(self) -> None:
        self.portions: dict[int, Portion] = {}
        self.down = False
        self.everybody: list[Process] = []
        self.most = 0

    def nodes_of(self, process: Process) -> Nodes:
        return Nodes(self, process)


class Nodes:
    def __init__(self, table: Table, process: Process) -> None:
        self._table = table
        self._process = process

    async def share(
        self, mailbox: int, decide: Callable[[Sequence[Portion]], Portion | None]
    ) -> Sequence[Portion]:
        table, node = self._table, self._process.node
        await asyncio.sleep(0)
        if table.down:
            raise Unavailable("away")
        before = list(table.portions.values())
        mine = decide(before)
        others = [portion for portion in before if portion.node != node]
        if mine != table.portions.get(node):
            table.portions.pop(node, None)
            if mine is not None:
                table.portions[node] = mine
            for process in table.everybody:
                if process is not self._process:
                    process.shares.hint(mailbox)
        table.most = max(table.most, sum(portion.slots for portion in table.portions.values()))
        return others


class Process:
    def __init__(self, table: Table, node: int, clock: Clock) -> None:
        self.node, self.alive = node, True
        table.everybody.append(self)
        nodes = table.nodes_of(self)
        self.shares = Shares(nodes, lambda: self.node, lambda: self.alive, clock, LIMITS)  # type: ignore[arg-type]
        self.scheduler = Scheduler(clock, LIMITS)
        self.shares.attach("alice@example.com", self.scheduler)
        self.ends: list[asyncio.Event] = []
        self.calls: list[asyncio.Task[None]] = []

    def call(self, count: int = 1) -> None:
        for _ in range(count):
            end = asyncio.Event()
            self.ends.append(end)
            self.calls.append(asyncio.create_task(self._call(end)))

    async def _call(self, end: asyncio.Event) -> None:
        async with self.scheduler.slot(Priority.INTERACTIVE):
            await end.wait()

    async def end(self, count: int = 1) -> None:
        for _ in range(count):
            self.ends.pop(0).set()
        await settle()

    @property
    def in_flight(self) -> int:
        return self.scheduler.in_flight

    async def stop(self) -> None:
        for task in self.calls:
            task.cancel()
        await asyncio.gather(*self.calls, return_exceptions=True)
        self.scheduler.close()
        await self.shares.close()


@pytest.fixture
def table() -> Table:
    return Table()


async def test_four_in_flight_of_all_together_at_any_time(table: Table) -> None:
    clock = Clock()
    one, two = Process(table, 1, clock), Process(table, 2, clock)
    one.call(6)
    await settle()
    assert one.in_flight == 4  # alone
    two.call(3)
    await settle()
    assert (one.in_flight, two.in_flight) == (4, 0)
    await one.end()
    await clock.pass_by(1)
    assert (one.in_flight, two.in_flight) == (3, 1)
    await one.end()
    await clock.pass_by(1)
    assert (one.in_flight, two.in_flight) == (2, 2)
    await one.end()
    assert (one.in_flight, two.in_flight) == (2, 2)  # its own queue goes on within its portion
    assert table.most == 4
    for process in (one, two):
        await process.stop()


async def test_who_idles_gives_way_and_has_it_back(table: Table) -> None:
    clock = Clock()
    one, two = Process(table, 1, clock), Process(table, 2, clock)
    one.call()
    await settle()
    await one.end()
    two.call(4)
    await settle()
    assert two.in_flight == 2  # one called a moment ago
    await clock.pass_by(IDLE + 1)
    one.shares.look()
    await settle()
    assert two.in_flight == 4
    one.call()
    await settle()
    assert one.in_flight == 0
    await two.end()
    await clock.pass_by(1)
    assert (one.in_flight, two.in_flight) == (1, 3)
    for process in (one, two):
        await process.stop()


async def test_nobody_starves_among_more_processes_than_slots(table: Table) -> None:
    clock = Clock()
    processes = [Process(table, node, clock) for node in range(1, 7)]
    for process in processes:
        process.call(30)
    served = dict.fromkeys(range(6), 0)
    for _ in range(60):
        await clock.pass_by(2)
        for at, process in enumerate(processes):
            process.shares.look()
            served[at] += process.in_flight
            await process.end(min(process.in_flight, len(process.ends)))
        assert sum(process.in_flight for process in processes) <= 4
    assert min(served.values()) >= 5, served
    assert table.most == 4
    for process in processes:
        await process.stop()


async def test_who_was_declared_dead_has_nothing_until_he_is_back(table: Table) -> None:
    clock = Clock()
    one = Process(table, 1, clock)
    one.call(2)
    await settle()
    table.portions.clear()
    one.alive = False
    one.shares.begin_anew()
    one.call(2)
    await settle()
    assert one.in_flight == 2 and one.shares.slots() == 0
    await one.end(2)
    assert one.in_flight == 1  # what is under way is taken back, one by one
    one.shares.look()
    await one.end()
    assert one.in_flight == 1
    one.node, one.alive = 9, True
    one.shares.settle_all()
    await settle()
    one.call(3)
    await settle()
    assert one.in_flight == 4 and table.portions[9].slots == 4
    await one.stop()


async def test_a_database_that_is_away_stops_nobody_who_has_a_portion(table: Table) -> None:
    clock = Clock()
    one = Process(table, 1, clock)
    one.call()
    await settle()
    table.down = True
    one.shares.settle_all()
    await settle()
    one.call(2)
    await settle()
    assert one.in_flight == 3
    table.down = False
    await clock.pass_by(RETRY)
    one.call()
    await settle()
    assert one.in_flight == 4
    await one.stop()


def test_a_mailbox_is_the_same_number_in_every_process() -> None:
    assert (
        mailbox_key("Alice@example.com") == mailbox_key("alice@EXAMPLE.com") != mailbox_key("bob@example.com")
    )
    assert 0 <= mailbox_key("x") < 2**63
