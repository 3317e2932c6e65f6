"""The service's limits per application and mailbox (contract section 3): concurrency, requests, upload bytes.

A refused call still counts. All figures come from `world.limits`, so `POST limits` tightens them at once:
`concurrency`, `requests_per_10min`, `upload_bytes_per_5min`, `concurrency_retry_seconds`.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.emulator.api import Response, World

DEFAULTS: Final[dict[str, float]] = {
    "concurrency": 4,
    "requests_per_10min": 10_000,
    "upload_bytes_per_5min": 150 * 1000 * 1000,
    "concurrency_retry_seconds": 1.0,
}

UPLOADS: Final = frozenset({"POST", "PATCH", "PUT"})
MAX_KEYS: Final = 10_000
BUCKETS: Final = 60


@dataclass(slots=True)
class Window:
    """A sum over the last `span` seconds, in 60 buckets: bounded, exact to a sixtieth of it."""

    span: float
    buckets: dict[int, float] = field(default_factory=dict)
    total: float = 0.0

    def add(self, now: float, amount: float) -> None:
        self._forget(now)
        bucket = int(now / self.span * BUCKETS)
        self.buckets[bucket] = self.buckets.get(bucket, 0.0) + amount
        self.total += amount

    def free_in(self, now: float) -> float:
        """Seconds until the oldest bucket leaves the window."""
        oldest = min(self.buckets, default=None)
        if oldest is None:
            return 0.0
        return max(0.0, (oldest + BUCKETS) * self.span / BUCKETS - now)

    def _forget(self, now: float) -> None:
        limit = int(now / self.span * BUCKETS) - BUCKETS
        for bucket in [b for b in self.buckets if b <= limit]:
            self.total -= self.buckets.pop(bucket)


@dataclass(slots=True)
class Meter:
    """What one (application, mailbox) is using."""

    in_flight: int = 0
    requests: Window = field(default_factory=lambda: Window(600.0))
    uploads: Window = field(default_factory=lambda: Window(300.0))


@dataclass(slots=True)
class Slot:
    """One admitted or refused request. `seen` is how many were in flight with it, itself included.
    `leave` must be called exactly once and before the last octet of the answer leaves, so that a client
    that counts to four is never refused."""

    meter: Meter
    seen: int
    refusal: Response | None
    _held: bool = True

    def leave(self) -> None:
        if self._held:
            self._held = False
            self.meter.in_flight -= 1


class Throttle:
    """Admits or refuses; never waits. The table of meters is bounded: the idle and oldest goes first."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._meters: OrderedDict[tuple[str, str], Meter] = OrderedDict()
        self.highest = 0

    def enter(self, app: str, mailbox: str, method: str, size: int) -> Slot:
        meter = self._meter((app, mailbox))
        now = self._world.clock.now()
        meter.in_flight += 1
        self.highest = max(self.highest, meter.in_flight)
        meter.requests.add(now, 1)
        if method in UPLOADS and size:
            meter.uploads.add(now, size)
        slot = Slot(meter, meter.in_flight, self._refusal(meter, now))
        if slot.refusal is not None:
            slot.leave()
        return slot

    def charge(self, app: str, mailbox: str, size: int) -> Response | None:
        """Count octets that take no slot (an upload session's); the refusal once they are too many."""
        meter = self._meter((app, mailbox))
        now = self._world.clock.now()
        meter.uploads.add(now, size)
        return self._over_uploads(meter, now)

    def busy(self, app: str, mailbox: str) -> int:
        """Slots this application holds at this mailbox now."""
        meter = self._meters.get((app, mailbox))
        return meter.in_flight if meter else 0

    def _meter(self, key: tuple[str, str]) -> Meter:
        meter = self._meters.get(key)
        if meter is None:
            if len(self._meters) >= MAX_KEYS:
                idle = next((k for k, m in self._meters.items() if m.in_flight == 0), None)
                if idle is not None:
                    del self._meters[idle]
            meter = self._meters[key] = Meter()
        return meter

    def _refusal(self, meter: Meter, now: float) -> Response | None:
        limits = self._world.limits
        if meter.requests.total > limits["requests_per_10min"]:
            return self._too_many("TooManyRequests", "Too many requests.", meter.requests.free_in(now))
        if over := self._over_uploads(meter, now):
            return over
        if self._world.rules.on("concurrency-4") and meter.in_flight > limits["concurrency"]:
            text = "Application is over its MailboxConcurrency limit."
            return self._too_many("ApplicationThrottled", text, limits["concurrency_retry_seconds"])
        return None

    def _over_uploads(self, meter: Meter, now: float) -> Response | None:
        if meter.uploads.total <= self._world.limits["upload_bytes_per_5min"]:
            return None
        text = "Application is over its UploadBytes limit."
        return self._too_many("ApplicationThrottled", text, meter.uploads.free_in(now))

    def _too_many(self, code: str, text: str, seconds: float) -> Response:
        error: dict[str, object] = {"code": code, "message": text}
        if code == "TooManyRequests":
            error["innerError"] = {"code": "429", "status": "429"}
        return Response(
            429,
            json.dumps({"error": error}).encode(),
            {"Content-Type": "application/json", "Retry-After": self.retry_after(seconds)},
        )

    def retry_after(self, seconds: float) -> str:
        """Fractional under rule retry-after-float: clients that read an int must notice."""
        if self._world.rules.on("retry-after-float"):
            return f"{max(0.001, seconds) + self._world.rng.randrange(1, 100) / 1000:.3f}"
        return str(max(1, round(seconds)))


def mailbox_key(path: str, caller_user: str | None, users: Mapping[str, str]) -> str:
    """Which mailbox a path speaks of: `users` maps every known name, lower-case, to its mailbox.

    A mailbox nobody has is one shared key, so that a peer cannot grow the table by inventing users.
    """
    segments = path.lstrip("/").split("/", 2)
    head = segments[0].lower()
    if head == "me":
        return (caller_user or "").lower()
    if head == "users" and len(segments) > 1:
        return users.get(segments[1].lower(), "")
    if head.startswith("users('") and head.endswith("')"):
        return users.get(head[7:-2], "")
    return ""
