"""Between the Graph client and the emulator's tenant, in one process on one clock: requests that go wrong on purpose.

Nothing waits in real time. What a fault says was done was done, also minutes later, when nobody waits any more."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from gateway.emulator.api import Response
from tests.emulator_kit import Answer, Kit

JSON = {"Content-Type": "application/json"}
TRAVEL = 0.05  # seconds of a request


class SharedClock:
    """One time for gateway and emulator. It goes on when somebody sleeps."""

    def __init__(self, kit: Kit) -> None:
        self._hand = kit.clock
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._number = itertools.count()

    def at(self, when: float, work: Callable[[], object]) -> None:
        heapq.heappush(self._due, (when, next(self._number), work))

    def time(self) -> float:
        return self._hand.at

    def monotonic(self) -> float:
        return self._hand.at

    def pass_by(self, seconds: float) -> None:
        """What is due meanwhile happens at its time."""
        end = self._hand.at + max(0.0, seconds)
        while self._due and self._due[0][0] <= end:
            when, _, work = heapq.heappop(self._due)
            self._hand.at = max(self._hand.at, when)
            work()
        self._hand.at = end

    async def sleep(self, seconds: float) -> None:
        self.pass_by(seconds)
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Fault:
    """`done`: when the work is done: "never", "now" or "late". `status`: of the answer; 0: there is none."""

    name: str
    done: str
    status: int


FAULTS: Final = (
    Fault("throttled", "never", 429),
    Fault("unavailable", "never", 503),
    Fault("internal", "never", 500),
    Fault("gateway timeout", "never", 504),
    Fault("reset", "never", 0),
    Fault("a 200 that did nothing", "never", 200),
    Fault("done and lost", "now", 0),
    Fault("done and 504", "now", 504),
    Fault("done and 200", "now", 200),
    Fault("done late", "late", 0),
    Fault("504, and done late", "late", 504),
)


class FaultyWire(httpx.AsyncBaseTransport):
    """`next_fault` is asked for each request."""

    def __init__(
        self, kit: Kit, clock: SharedClock, rng: random.Random, next_fault: Callable[[str, str], Fault | None]
    ) -> None:
        self._kit = kit
        self._clock = clock
        self._rng = rng
        self._next_fault = next_fault
        self.requests = 0
        self.struck: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = b"".join([piece async for piece in request.stream])  # type: ignore[union-attr]
        self._clock.pass_by(TRAVEL)
        self.requests += 1
        path = str(request.url)
        fault = self._next_fault(request.method, request.url.path)
        if fault is None:
            return self._response(self._work(request, path, body))
        self.struck.append(fault.name)
        if fault.done == "now":
            self._work(request, path, body)
        elif fault.done == "late":
            due = self._clock.time() + self._rng.uniform(1, 60)
            self._clock.at(due, lambda: self._work(request, path, body))
        return self._failed(fault)

    def _work(self, request: httpx.Request, path: str, body: bytes) -> Answer:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if not path.endswith("/$batch"):
            return self._kit.call(request.method, path, body, headers)
        answers = [
            self._inner(each, urlsplit(path).path.removesuffix("/$batch"))
            for each in json.loads(body)["requests"]
        ]
        return Answer(Response(200, json.dumps({"responses": answers}).encode(), dict(JSON)))

    def _inner(self, one: dict[str, Any], base: str) -> dict[str, Any]:
        headers = {name.lower(): value for name, value in one.get("headers", {}).items()}
        body = json.dumps(one["body"]).encode() if "body" in one else b""
        answer = self._kit.call(one["method"], f"https://graph.test{base}{one['url']}", body, headers)
        content = json.loads(answer.body) if answer.body else None
        return {"id": one["id"], "status": answer.status, "headers": answer.headers, "body": content}

    def _response(self, answer: Answer) -> httpx.Response:
        headers = {**answer.headers, "content-length": str(len(answer.body))}
        return httpx.Response(answer.status, headers=headers, stream=httpx.ByteStream(answer.body))

    def _failed(self, fault: Fault) -> httpx.Response:
        if not fault.status:
            raise httpx.ReadError("reset")
        headers = {}
        if fault.status == 429:
            headers["Retry-After"] = f"{self._rng.uniform(0.5, 40):.3f}"
        return httpx.Response(
            fault.status, headers={**headers, "content-length": "0"}, stream=httpx.ByteStream(b"")
        )
