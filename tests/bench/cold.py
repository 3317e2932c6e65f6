"""What takes Graph: the gateway before the emulator at 50 ms round trip and 10 ms service, with the bound beside it.

The bound is the least that these can take, whoever asks: the mailbox has four slots, a page its size, a batch its 20
requests; an answer takes the round trip, the service time of each request in it and the time of its items. Where pages
follow from one another (a delta walk) their times add up. And the emulator is one process, whose own work takes its
time on a loaded machine: that is measured, and no bound is below it. In the figures `best` is the bound without it,
`first` the emulator's CPU, `cpu_ms` the gateway's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from tests.bench import rig
from tests.bench.imap import Client
from tests.bench.mail import USER
from tests.bench.report import Figure, Report
from tests.bench.rig import PASSWORD

RTT, SERVICE = 0.050, 0.010  # seconds
SLOTS, BATCH = 4, 20
COLD = "Cold"  # a mailbox nobody has opened


@dataclass(frozen=True, slots=True)
class Sizes:
    first: int = 50_000
    headers: int = 5_000
    many: int = 100
    bodies: int = 200


QUICK = Sizes(first=40, headers=30, many=6, bodies=6)


@dataclass(frozen=True, slots=True)
class Work:
    title: str
    folder: Callable[[Sizes], int]  # messages in the mailbox
    before: tuple[str, ...]
    commands: Callable[[Sizes], tuple[str, ...]]
    bound: Callable[[Sizes, Calls], float]
    item_us: float = 0.0


@dataclass(frozen=True, slots=True)
class Calls:
    """What the emulator has answered: `(method, path, inner requests)`."""

    lines: Sequence[tuple[str, str, int]]

    @property
    def count(self) -> int:
        return len(self.lines)

    def walked(self) -> int:
        """Pages of delta walks."""
        return sum("/messages/delta" in path for _, path, _ in self.lines)

    def seconds(self) -> float:
        """Of all slots together, without the time of items."""
        return sum(RTT + SERVICE * max(1, inner) for _, _, inner in self.lines)


def _first_sync(item: float) -> Callable[[Sizes, Calls], float]:
    """Every item is told once at least; the pages of the walk follow from one another."""

    def bound(sizes: Sizes, calls: Calls) -> float:
        walk = calls.walked() * (RTT + SERVICE)
        return max(walk, (calls.seconds() + sizes.first * item) / SLOTS)

    return bound


def _single(count: int) -> float:
    """So many single requests."""
    return math.ceil(count / SLOTS) * (RTT + SERVICE)


def _batched(count: int) -> float:
    """So many requests in batches: as few rounds as can be, and every slot has its share of the service."""
    rounds = math.ceil(math.ceil(count / BATCH) / SLOTS)
    return rounds * RTT + math.ceil(count / SLOTS) * SERVICE


OPEN = (f"SELECT {COLD}",)
WORK: dict[str, Work] = {
    "first-sync": Work(
        "first sync, SELECT of 50,000", lambda s: s.first, (), lambda s: OPEN, _first_sync(0.0)
    ),
    "first-sync-slow": Work(
        "first sync, SELECT of 50,000, 2 ms an item", lambda s: s.first, (), lambda s: OPEN,
        _first_sync(0.002), 2000.0,
    ),
    "headers": Work(
        "ENVELOPE of 5,000, first time", lambda s: s.headers, OPEN, lambda s: ("FETCH 1:* ENVELOPE",),
        lambda s, calls: _single(calls.count),
    ),
    "store": Work(
        "STORE of 100", lambda s: 2 * s.many, OPEN, lambda s: (f"STORE 1:{s.many} +FLAGS (\\Flagged)",),
        lambda s, calls: _batched(s.many),
    ),
    "move": Work(
        "MOVE of 100", lambda s: 2 * s.many, (*OPEN,), lambda s: (f"MOVE 1:{s.many} Archive",),
        lambda s, calls: _batched(s.many),
    ),
    "copy": Work(
        "COPY of 100", lambda s: 2 * s.many, (*OPEN,), lambda s: (f"COPY 1:{s.many} Archive",),
        lambda s, calls: _batched(s.many),
    ),
    "fetch": Work(
        "BODY.PEEK[] of 200, first time", lambda s: s.bodies, OPEN, lambda s: ("FETCH 1:* BODY.PEEK[]",),
        lambda s, calls: _single(s.bodies),
    ),
}  # fmt: skip


def measure(wanted: Sequence[str], sizes: Sizes, report: Report) -> None:
    for key in wanted:
        _measure(key, WORK[key], sizes, report)


def _measure(key: str, work: Work, sizes: Sizes, report: Report) -> None:
    with ExitStack() as stack:
        place = stack.enter_context(rig.folder())
        plan: dict[str, Any] = {
            "variants": {COLD: work.folder(sizes)},
            "rtt_ms": RTT * 1e3,
            "service_ms": SERVICE * 1e3,
        }
        ours, graph = stack.enter_context(rig.before_emulator(place, {**plan, "item_us": work.item_us}))
        emulator = psutil.Process(graph["pid"])
        with httpx.Client(base_url=graph["control_url"] + "/") as control, _Quiet(ours.port) as client:
            for command in work.before:
                client.run(command)
            control.delete("log")
            used, ours_used = sum(emulator.cpu_times()[:2]), ours.cpu()
            began = time.perf_counter()
            for command in work.commands(sizes):
                client.run(command)
            seconds = time.perf_counter() - began
            busy, cpu = sum(emulator.cpu_times()[:2]) - used, ours.cpu() - ours_used
            calls = _calls(control.get("log").json()["requests"])
        bound = work.bound(sizes, calls)
        report.add(
            Figure(
                "cold", key, work.title, "gateway", "s", seconds, requests=calls.count, bound=max(bound, busy),
                best=bound, first=busy, cpu_ms=cpu * 1e3, count=sum(max(1, inner) for _, _, inner in calls.lines),
            )
        )  # fmt: skip


class _Quiet(Client):
    """Logged in, and the background syncs that a login starts are over."""

    def __enter__(self) -> _Quiet:
        self.login(USER, PASSWORD)
        self.run("SELECT INBOX")
        self.run("UNSELECT")
        time.sleep(1.0)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _calls(requests: Sequence[dict[str, Any]]) -> Calls:
    asked = [each for each in requests if "_emulator" not in each["path"]]
    return Calls([(each["method"], each["path"], len(each["inner"])) for each in asked])
