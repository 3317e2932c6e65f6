"""How the processes that use a mailbox divide what it bears: calls in flight, requests, uploaded octets (decision 6).

Each has a portion in the database, and all portions together are never more than the whole: who wants more waits until
others have given way, and says so. Who is alone has all of it; who has not called for a while gives his portion back
when somebody else wants it. A scheduler grants nothing while its portion is settled, so that what is
written down holds.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog

from gateway.core.errors import Unavailable
from gateway.core.limits import Limits
from gateway.store.nodes import Nodes, Portion

IDLE = 10.0  # seconds without a call: others may have the slots
TURN = 5.0  # seconds, where there are more processes than slots
FORGET = 60.0  # seconds between looks whether what was spent still counts
RETRY = 1.0  # seconds after the database failed
SOON = 0.05  # seconds until calls in flight beyond the portion are looked at again

log = structlog.get_logger("gateway.mailbox")


class Clock(Protocol):
    def time(self) -> float: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class Scheduler(Protocol):
    """What is asked of `graph.throttle.Scheduler`."""

    wanting: Callable[[], None] | None

    def allot(self, slots: int, requests: int, upload: int) -> None: ...
    def freeze(self) -> None: ...
    def spent(self) -> tuple[int, int]: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def waiting(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Use:
    """What a process uses now, and cannot give back."""

    active: bool
    slots: int
    requests: int
    upload: int


# -- the rule --


def targets(active: Sequence[int], slots: int, turn: int) -> dict[int, int]:
    """Slots of each process that is active, as they should be: alike; if they are too many, by turns."""
    if not active:
        return {}
    nodes = sorted(active)
    each, more = divmod(slots, len(nodes))
    first = turn % len(nodes) if not each else 0
    nodes = nodes[first:] + nodes[:first]
    return {node: each + (at < more) for at, node in enumerate(nodes)}


def divide(node: int, use: Use, portions: Sequence[Portion], whole: Use, turn: int) -> Portion | None:
    """This process's portion from now on. With those of the others it is at most the whole."""
    others = [portion for portion in portions if portion.node != node]
    if not (use.active or use.slots or use.requests or use.upload):
        return None
    active = [portion.node for portion in others if portion.active] + ([node] if use.active else [])
    slots = targets(active, whole.slots, turn).get(node, 0)

    def granted(of: Callable[[Portion | Use], int], wanted: int) -> int:
        free = of(whole) - sum(map(of, others))
        return max(0, min(free, max(of(use), wanted)))

    return Portion(
        node,
        use.active,
        granted(lambda each: each.slots, slots),
        granted(lambda each: each.requests, whole.requests * slots // whole.slots),
        granted(lambda each: each.upload, whole.upload * slots // whole.slots),
    )


# -- one process --


@dataclass(slots=True)
class _Held:
    """A mailbox of this process."""

    scheduler: Scheduler
    mine: Portion | None = None
    most: int = 0  # slots it may use: fewer than it has, while calls in flight keep them from others
    others: Sequence[Portion] = ()
    used: float = float("-inf")  # monotonic, when somebody called last
    settled: float = float("-inf")
    due: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Shares:
    """Of all mailboxes of this process. `alive`: whether what is written down for it still counts."""

    def __init__(
        self, nodes: Nodes, node: Callable[[], int], alive: Callable[[], bool], clock: Clock, limits: Limits
    ) -> None:
        self._nodes = nodes
        self._node = node
        self._alive = alive
        self._clock = clock
        self._whole = Use(True, limits.in_flight, limits.requests_per_10min, limits.upload_per_5min)
        self._all: dict[int, _Held] = {}
        self._ending = False

    def attach(self, mailbox: str, scheduler: Scheduler) -> None:
        """Nothing is granted before the first portion has come: the first call asks for it."""
        key = mailbox_key(mailbox)
        self._all[key] = _Held(scheduler)
        scheduler.allot(0, 0, 0)
        scheduler.wanting = partial(self._wanted, key)

    def hint(self, mailbox: int) -> None:
        """Somebody's portion has changed."""
        held = self._all.get(mailbox)
        if held is not None and (held.mine is not None or held.scheduler.waiting):
            self._settle_soon(mailbox)

    def look(self) -> None:
        """Now and then: whatever time alone makes due."""
        now = self._clock.monotonic()
        for key, held in self._all.items():
            if not self._alive():
                held.scheduler.allot(*self._allowed(held))
            elif self._is_due(held, now):
                self._settle_soon(key)

    def settle_all(self) -> None:
        """Nodes came or went, or hints may have been lost."""
        if self._ending and self._alive():
            self._ending = False
            for held in self._all.values():
                held.scheduler.allot(*self._allowed(held))
        for key in self._all:
            self.hint(key)

    def begin_anew(self) -> None:
        """This process was declared dead, and has no portion any more. What it has under way must be taken back, and
        nobody else knows of it: one call at a time, until it has ended."""
        self._ending = True
        for held in self._all.values():
            held.mine, held.others = None, ()
            held.scheduler.allot(*self._allowed(held))

    async def close(self) -> None:
        tasks = [held.task for held in self._all.values() if held.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- when --

    def _wanted(self, key: int) -> None:
        held = self._all[key]
        held.used = self._clock.monotonic()
        if held.mine is None or not held.mine.active or not held.mine.slots:
            self._settle_soon(key)

    def _active(self, held: _Held, now: float) -> bool:
        scheduler = held.scheduler
        return scheduler.waiting > 0 or scheduler.in_flight > 0 or now - held.used < IDLE

    def _is_due(self, held: _Held, now: float) -> bool:
        active = self._active(held, now)
        if held.mine is None:
            return held.scheduler.waiting > 0
        if not held.others:
            return False
        if active != held.mine.active:
            return True
        crowded = sum(portion.active for portion in held.others) + active > self._whole.slots
        pause = TURN if crowded or (active and not held.mine.slots) else FORGET
        return (crowded or not active or not held.mine.slots) and now - held.settled >= pause

    def _settle_soon(self, key: int) -> None:
        if not self._alive():  # whoever waits is seen when this process is back
            return
        held = self._all[key]
        held.due = True
        if held.task is None or held.task.done():
            held.task = asyncio.create_task(self._until_settled(key, held))

    async def _until_settled(self, key: int, held: _Held) -> None:
        while held.due:
            held.due = False
            try:
                await self._settle(key, held)
            except Unavailable:
                held.scheduler.allot(*self._allowed(held))
                await self._clock.sleep(RETRY)
                held.due = self._active(held, self._clock.monotonic())
            except Exception:
                held.scheduler.allot(*self._allowed(held))
                log.exception("portions not settled")

    async def _settle(self, key: int, held: _Held) -> None:
        scheduler, now = held.scheduler, self._clock.monotonic()
        scheduler.freeze()
        use = Use(self._active(held, now), scheduler.in_flight, *scheduler.spent())
        node, turn = self._node(), int(self._clock.time() // TURN)
        decided: list[Portion | None] = []

        def decide(portions: Sequence[Portion]) -> Portion | None:
            decided[:] = [divide(node, use, portions, self._whole, turn)]
            return decided[0]

        others = await self._nodes.share(key, decide)
        if node != self._node():  # declared dead meanwhile
            return
        active = [portion.node for portion in others if portion.active] + ([node] if use.active else [])
        held.mine, held.others, held.settled = decided[0], others, now
        held.most = targets(active, self._whole.slots, turn).get(node, 0)
        scheduler.allot(*self._allowed(held))
        if others and use.slots > held.most:
            await self._clock.sleep(SOON)  # what is in flight has to end first
            held.due = True

    def _allowed(self, held: _Held) -> tuple[int, int, int]:
        if self._ending and not self._alive():
            return 1, self._whole.requests, self._whole.upload
        if held.mine is None or not self._alive():
            return 0, 0, 0
        return min(held.mine.slots, held.most), held.mine.requests, held.mine.upload

    # -- for who wants to know --

    def slots(self) -> int:
        """Of all mailboxes together."""
        return sum(held.mine.slots for held in self._all.values() if held.mine is not None)


def mailbox_key(mailbox: str) -> int:
    """A number that stands for the mailbox, the same in every process."""
    return int.from_bytes(hashlib.sha256(mailbox.lower().encode()).digest()[:8]) >> 1
