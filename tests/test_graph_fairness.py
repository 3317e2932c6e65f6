"""Fifty clients of one mailbox, on a virtual clock, against the service's own limits as the emulator keeps them: nobody
is refused, nobody starves. Waiting is counted in steps: calls of others that begin while one waits."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from replay.virtual import VirtualClock, settle

from gateway.core.limits import DEFAULT_LIMITS
from gateway.emulator.rules import default_rules
from gateway.emulator.throttle import DEFAULTS, Slot, Throttle
from gateway.graph.client import QUEUE_PATIENCE
from gateway.graph.model import Priority
from gateway.graph.throttle import AGED, FOREVER, TURN, Scheduler, Urgency, caller, urgency

PERSON, BULK, BG = Priority.INTERACTIVE, Priority.BULK, Priority.BACKGROUND
CLIENTS = 50


@dataclass
class Service:
    """A mailbox with its scheduler, and the service behind it. `begun`: who was let in, in order."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    begun: list[str] = field(default_factory=list)
    refused: int = 0
    most: int = 0
    steps: dict[str, int] = field(default_factory=dict)  # the longest wait of each

    def __post_init__(self) -> None:
        self.rng = random.Random(7)
        world: Any = SimpleNamespace(
            limits=dict(DEFAULTS), rules=default_rules(), rng=self.rng,
            clock=SimpleNamespace(now=self.clock.monotonic),
        )  # fmt: skip
        self.throttle = Throttle(world)
        self.scheduler = Scheduler(self.clock)

    async def call(
        self, who: str, priority: Priority = PERSON, *, method: str = "GET", size: int = 0
    ) -> None:
        before = len(self.begun)
        upload = size if method != "GET" else 0
        async with self.scheduler.slot(priority, upload=upload):
            self.begun.append(who)
            self.steps[who] = max(self.steps.get(who, 0), len(self.begun) - 1 - before)
            slot: Slot = self.throttle.enter("app", "alice", method, size)
            self.most = max(self.most, slot.seen)
            self.refused += slot.refusal is not None
            await self.clock.sleep(self.rng.uniform(0.02, 0.4))
            slot.leave()

    async def client(self, who: str, calls: int, **how: Any) -> None:
        caller.set(who)
        for _ in range(calls):
            await self.call(who, **how)

    async def run(self, tasks: list[asyncio.Task[None]], seconds: float) -> None:
        await self.clock.advance(seconds)
        assert all(task.done() for task in tasks), "somebody starved"
        await asyncio.gather(*tasks)


async def test_fifty_clients_never_see_a_429_and_take_turns() -> None:
    s = Service()
    tasks = [asyncio.create_task(s.client(f"c{n}", 20)) for n in range(CLIENTS)]
    tasks += [
        asyncio.create_task(s.client(f"loader{n}", 100, priority=BULK, method="POST", size=200_000))
        for n in range(3)
    ]
    tasks += [asyncio.create_task(s.client("poll", 50, priority=BG))]
    await s.run(tasks, 1000)
    assert s.refused == 0 and s.most == 4
    late = (CLIENTS + 4) // TURN + 4  # what others were let before them because they had waited too long
    assert max(s.steps[f"c{n}"] for n in range(CLIENTS)) <= CLIENTS + late


async def test_bulk_and_background_work_go_on_beside_people_who_never_pause() -> None:
    s = Service()
    people = [asyncio.create_task(s.client(f"c{n}", 10_000)) for n in range(8)]
    slow = [asyncio.create_task(s.client(name, 5, priority=p)) for name, p in (("bulk", BULK), ("poll", BG))]
    await s.clock.advance(10 * AGED)
    assert all(task.done() for task in slow) and not any(task.done() for task in people)
    # Graph answers 4 calls in 0.21 s on average
    assert s.steps["bulk"] <= AGED / 0.21 * 4 * 1.2 + 3 * TURN >= s.steps["poll"]
    for task in people:
        task.cancel()
    await asyncio.gather(*people, return_exceptions=True)


async def test_a_mailbox_asked_without_end_stays_within_ten_minutes_budget() -> None:
    s = Service()
    s.rng.uniform = lambda low, high: 0.05  # type: ignore[method-assign]
    one = asyncio.create_task(s.client("bulk", 12_000, priority=BULK))
    await s.clock.advance(590)
    assert len(s.begun) == round(DEFAULT_LIMITS.requests_per_10min * 0.6)  # and there it waits
    people = asyncio.create_task(s.client("person", 30))
    await s.clock.advance(30 * 0.05 + 1)
    assert people.done()
    assert s.steps["person"] == 0
    await s.clock.advance(1000)
    assert s.refused == 0 and len(s.begun) > 10_000
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)


# -- work that comes to be waited for --


async def test_background_work_is_lifted_when_a_client_waits_for_it() -> None:
    s = Service()
    s.rng.uniform = lambda low, high: 0.1  # type: ignore[method-assign]
    hold = [asyncio.create_task(s.client(f"c{n}", 1)) for n in range(4)]
    await settle()
    haste = Urgency()

    async def prefetch() -> None:
        urgency.set(haste)
        await s.client("ahead", 2, priority=BG)

    ahead = asyncio.create_task(prefetch())
    bulk = [asyncio.create_task(s.client(f"bulk{n}", 1, priority=BULK)) for n in range(10)]
    await settle()
    haste.lift()
    await s.run([*hold, ahead, *bulk], 100)
    assert s.begun.index("ahead") == 4 and s.begun.count("ahead") == 2
    assert s.begun.index("ahead", 5) < 4 + 6  # the next call of the same work, too


async def test_lifting_what_has_its_slot_or_was_given_up_does_nothing() -> None:
    s = Service()
    haste = Urgency()
    urgency.set(haste)
    hold = [asyncio.create_task(s.client(f"c{n}", 1, priority=BG)) for n in range(5)]
    await settle()
    hold[-1].cancel()
    await settle()
    haste.lift()
    await s.clock.advance(10)
    assert s.begun == ["c0", "c1", "c2", "c3"][: len(s.begun)] and s.scheduler.in_flight == 0
    await asyncio.gather(*hold, return_exceptions=True)


@pytest.mark.parametrize("priority", list(Priority))
def test_nobody_waits_for_ever(priority: Priority) -> None:
    patience = QUEUE_PATIENCE[priority] * DEFAULT_LIMITS.graph_patience
    assert patience < FOREVER
    if priority is not PERSON:
        assert patience > 600 + 10  # a used-up budget comes back in the meantime
