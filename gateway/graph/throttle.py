"""One scheduler per mailbox: who may call Graph now (contract section 3, decision 6).

At most `slots` calls are in flight; interactive work goes before bulk work, bulk before background; within
one priority callers take turns. Background work leaves the last slot free. What has waited `AGED` seconds goes first
at every `TURN`-th grant, background before bulk work even in between: slow, but never starved. Requests and uploaded
bytes have budgets, of which bulk and background work may use a share only. A 429 halves the slots (they grow back
with success) and its Retry-After pauses the whole mailbox. Nobody waits past his deadline: `Throttled` says how long it
would take. Work that somebody begins to wait for can be lifted (`Urgency`).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.graph.budget import Budget
from gateway.graph.clock import Clock
from gateway.graph.errors import GraphError, Throttled, Unreachable
from gateway.graph.model import Priority

# Who is asking, for fairness between sessions of one mailbox; a front end sets it once per connection.
caller: ContextVar[str] = ContextVar("graph_caller", default="")

SHARE = {Priority.INTERACTIVE: 1.0, Priority.BULK: 0.6, Priority.BACKGROUND: 0.5}
RESERVE = {Priority.INTERACTIVE: 0, Priority.BULK: 0, Priority.BACKGROUND: 1}  # slots left free for others
AGED = 30.0
TURN = 8
LEAST_SLOTS = 2  # with one slot, background work would have none
GROW_AFTER = 20  # successes before a slot comes back
FOREVER = float("inf")


class Urgency:
    """Of work that begins in the background and may come to be waited for: whoever holds it may `lift` it. It
    concerns all calls made in the context it was set in (`urgency`), those that wait for a slot included."""

    def __init__(self) -> None:
        self.lifted = False
        self._waiting: dict[_Waiter, Scheduler] = {}

    def lift(self) -> None:
        """From now on a client waits for it."""
        self.lifted = True
        for waiter, scheduler in tuple(self._waiting.items()):
            scheduler.lift(waiter)

    def began(self, waiter: _Waiter, scheduler: Scheduler) -> None:
        self._waiting[waiter] = scheduler

    def ended(self, waiter: _Waiter) -> None:
        self._waiting.pop(waiter, None)


urgency: ContextVar[Urgency | None] = ContextVar("graph_urgency", default=None)


@dataclass(eq=False, slots=True)
class _Waiter:
    priority: Priority
    caller: str
    requests: int
    upload: int
    since: float
    deadline: float
    granted: asyncio.Future[None] = field(repr=False)
    queued: bool = True


class Scheduler:
    """Slots and budgets of one mailbox. All methods belong to one event loop; waiting is cancel-safe."""

    def __init__(self, clock: Clock, limits: Limits = DEFAULT_LIMITS) -> None:
        self._clock = clock
        self._most = limits.in_flight
        self._patience = limits.graph_patience  # of who waits for a call that was lifted
        self._slots = limits.in_flight
        self._in_flight = 0
        self._good = 0
        self._requests = Budget(limits.requests_per_10min, 600.0)
        self._upload = Budget(limits.upload_per_5min, 300.0)
        self._paused_until = 0.0
        self._away = False
        self._queues: dict[Priority, OrderedDict[str, deque[_Waiter]]] = {p: OrderedDict() for p in Priority}
        self._deadlines: list[tuple[float, int, _Waiter]] = []
        self._order = itertools.count()
        self._waiting = 0
        self._granted = 0
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = FOREVER
        self._frozen = False
        self.wanting: Callable[[], None] | None = None  # told of each call that comes, before it waits

    def allot(self, slots: int, requests: int, upload: int) -> None:
        """From now on only so much of what the mailbox bears: other processes use it, too. What is in flight goes on;
        without a slot everybody waits."""
        self._frozen = False
        grown = slots - self._most
        self._most = slots
        self._slots = min(slots, self._slots + grown) if grown > 0 else min(slots, self._slots)
        self._requests.limit, self._upload.limit = requests, upload
        self._dispatch()

    def freeze(self) -> None:
        """Nobody begins until the next `allot`: what is in flight now, and spent, can only become less."""
        self._frozen = True

    @property
    def waiting(self) -> int:
        return self._waiting

    def spent(self) -> tuple[int, int]:
        """Requests and octets that count now."""
        now = self._clock.monotonic()
        return self._requests.used(now), self._upload.used(now)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def slots(self) -> int:
        return self._slots

    @asynccontextmanager
    async def slot(
        self, priority: Priority, *, requests: int = 1, upload: int = 0, deadline: float = FOREVER
    ) -> AsyncIterator[None]:
        """Hold one slot, spending `requests` and `upload` octets; Throttled when `deadline` (clock time)
        cannot be met or has passed, Unreachable if Graph is away meanwhile.
        """
        await self.take(priority, requests=requests, upload=upload, deadline=deadline)
        try:
            yield
        finally:
            self.give_back()

    async def take(
        self, priority: Priority, *, requests: int = 1, upload: int = 0, deadline: float = FOREVER
    ) -> None:
        """`slot`, for who gives it back himself."""
        haste = urgency.get()
        if haste is not None and haste.lifted:
            priority = Priority.INTERACTIVE
        await self._acquire(priority, requests, upload, deadline, haste)

    def give_back(self) -> None:
        self._in_flight -= 1
        self._dispatch()

    def lift(self, waiter: _Waiter) -> None:
        """It waits as an interactive call from now on, behind those that wait already."""
        if waiter.queued and waiter.priority is not Priority.INTERACTIVE:
            self._remove(waiter)
            waiter.priority, waiter.queued = Priority.INTERACTIVE, True
            waiter.deadline = min(waiter.deadline, self._clock.monotonic() + self._patience)
            self._enqueue(waiter)
            self._dispatch()

    def refused(self, retry_after: float | None) -> None:
        """A 429 came: fewer slots from now on, and nobody starts before `retry_after` seconds are over."""
        self._slots = max(min(LEAST_SLOTS, self._most), self._slots // 2)
        self._good = 0
        if retry_after:
            self._paused_until = max(self._paused_until, self._clock.monotonic() + retry_after)
            self._dispatch()

    def succeeded(self) -> None:
        """A call was answered without 429."""
        self._away = False
        self._good += 1
        if self._good >= GROW_AFTER and self._slots < self._most:
            self._good = 0
            self._slots += 1
            self._dispatch()

    def unanswered(self) -> None:
        """A call got no answer, or a 5xx: whoever waits in vain from now on waits for a Graph that is away."""
        self._away = True

    def _too_late(self, retry_after: float) -> GraphError:
        if self._away:
            return Unreachable("Graph does not answer", retry_after=retry_after)
        return Throttled("Graph is busy", retry_after=retry_after)

    def close(self) -> None:
        """Stop the timer; call once nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = FOREVER

    async def _acquire(
        self, priority: Priority, requests: int, upload: int, deadline: float, haste: Urgency | None
    ) -> None:
        now = self._clock.monotonic()
        granted = asyncio.get_running_loop().create_future()
        waiter = _Waiter(priority, caller.get(), requests, upload, now, deadline, granted)
        self._enqueue(waiter)
        if self.wanting is not None:
            self.wanting()
        if haste is not None:
            haste.began(waiter, self)
        self._dispatch()
        try:
            await granted
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise
        finally:
            if haste is not None:
                haste.ended(waiter)

    def _enqueue(self, waiter: _Waiter) -> None:
        self._queues[waiter.priority].setdefault(waiter.caller, deque()).append(waiter)
        self._waiting += 1
        if waiter.deadline < FOREVER:
            heapq.heappush(self._deadlines, (waiter.deadline, next(self._order), waiter))

    def _abandon(self, waiter: _Waiter) -> None:
        """Its task was cancelled: give the slot back if it was just granted, else leave the queue."""
        if not waiter.granted.cancelled() and waiter.granted.done():
            if waiter.granted.exception() is None:
                self._in_flight -= 1
        else:
            self._remove(waiter)
        self._dispatch()

    def _remove(self, waiter: _Waiter) -> None:
        if not waiter.queued:
            return
        waiter.queued = False
        queue = self._queues[waiter.priority]
        queue[waiter.caller].remove(waiter)
        if not queue[waiter.caller]:
            del queue[waiter.caller]
        self._waiting -= 1

    # -- who is next --

    def _dispatch(self) -> None:
        now = self._clock.monotonic()
        self._expire(now)
        if self._frozen:
            wake = FOREVER
        else:
            wake = self._paused_until if now < self._paused_until else self._grant_all(now)
        self._arm(now, wake)

    def _grant_all(self, now: float) -> float:
        """Grant what can be granted; the time at which more may be (FOREVER: when a slot comes back)."""
        while True:
            waiter, wake = self._next(now)
            if waiter is None:
                return wake
            self._grant(waiter, now)

    def _next(self, now: float) -> tuple[_Waiter | None, float]:
        wake = FOREVER
        for priority in self._precedence(now):
            waiter = self._head(priority)
            if waiter is None:
                continue
            ready = self._affordable(waiter, now)
            if ready > now:
                wake = min(wake, ready)
                continue
            if self._in_flight >= self._slots - min(RESERVE[priority], max(0, self._slots - 1)):
                break  # whoever comes later may not take the slot this one waits for
            return waiter, now
        return None, wake

    def _precedence(self, now: float) -> tuple[Priority, ...]:
        """Every TURN-th time whoever has waited too long, the lowest class first."""
        low, mid, high = Priority.BACKGROUND, Priority.BULK, Priority.INTERACTIVE
        late = [each for each in (low, mid) if self._is_late(each, now)]
        if late and self._granted % TURN == 0:
            return (*late, *(each for each in (high, mid, low) if each not in late))
        return (high, low, mid) if low in late else (high, mid, low)

    def _is_late(self, priority: Priority, now: float) -> bool:
        head = self._head(priority)
        return head is not None and now - head.since >= AGED

    def _head(self, priority: Priority) -> _Waiter | None:
        """The one whose turn it is; those cancelled while they waited are dropped on the way."""
        queues = self._queues[priority]
        while queues:
            waiter = next(iter(queues.values()))[0]
            if not waiter.granted.done():
                return waiter
            self._remove(waiter)
        return None

    def _affordable(self, waiter: _Waiter, now: float) -> float:
        """When both budgets have room for it."""
        share = SHARE[waiter.priority]
        return max(
            self._requests.when(waiter.requests, share, now), self._upload.when(waiter.upload, share, now)
        )

    def _grant(self, waiter: _Waiter, now: float) -> None:
        self._remove(waiter)
        queue = self._queues[waiter.priority]
        if waiter.caller in queue:
            queue.move_to_end(waiter.caller)  # the others' turn
        self._in_flight += 1
        self._granted += 1
        self._requests.spend(waiter.requests, now)
        self._upload.spend(waiter.upload, now)
        waiter.granted.set_result(None)

    # -- time --

    def _expire(self, now: float) -> None:
        """Give up those whose deadline has passed, or lies before the end of the pause."""
        limit = max(now, self._paused_until)
        while self._deadlines and (self._deadlines[0][2].granted.done() or self._deadlines[0][0] <= limit):
            waiter = heapq.heappop(self._deadlines)[2]
            if not waiter.granted.done():
                self._remove(waiter)
                waiter.granted.set_exception(self._too_late(max(1.0, limit - now)))

    def _arm(self, now: float, wake: float) -> None:
        """See to it that `_dispatch` runs at `wake` or the nearest deadline; at most one timer sleeps."""
        if self._waiting == 0:
            wake = FOREVER
        elif self._deadlines:
            wake = min(wake, self._deadlines[0][0])
        if wake == self._timer_at:
            return
        self.close()
        self._timer_at = wake
        if wake < FOREVER:
            self._timer = asyncio.get_running_loop().create_task(self._wake(wake - now))

    async def _wake(self, seconds: float) -> None:
        await self._clock.sleep(max(0.0, seconds))
        self._timer = None
        self._timer_at = FOREVER
        self._dispatch()
