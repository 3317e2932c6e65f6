"""Chained batches against a few lines that answer as Graph does: whatever fails, each call gets its own answer."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st
from replay.player import BASE, NoJitter, RecordingClock, Tokens
from replay.virtual import VirtualClock

from gateway.graph.client import GraphClient
from gateway.graph.errors import Conflict, GraphError, Invalid, NotFound, OutcomeUnknown, Throttled
from gateway.graph.mail import GraphMailbox, Patch
from gateway.graph.model import Message

T = TypeVar("T")


@dataclass
class Chains(httpx.AsyncBaseTransport):
    """Runs the calls of a batch in order; `trouble` of an id holds the statuses it answers first."""

    trouble: dict[str, list[int]] = field(default_factory=dict)
    odd: frozenset[str] = frozenset()  # a batch with one of these is refused as a whole
    lose: set[int] = field(default_factory=set)  # numbers of the HTTP requests whose answer is lost
    done: Counter[str] = field(default_factory=Counter)
    sizes: list[int] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        body = json.loads(await request.aread())
        if not request.url.path.endswith("/$batch"):
            return self._plain(str(request.url))
        self.sizes.append(len(body["requests"]))
        if any(self._id(inner["url"]) in self.odd for inner in body["requests"]):
            return reply(400, {"error": {"code": "BadRequest"}})
        responses = self._run(body["requests"])
        if len(self.sizes) in self.lose:
            raise httpx.ReadError("gone")
        return reply(200, {"responses": responses[::-1]})

    def _plain(self, url: str) -> httpx.Response:
        id = self._id(url)
        if id in self.odd:
            return reply(400, {"error": {"code": "BadRequest"}})
        self.done[id] += 1
        return reply(200, {"id": id})

    def _run(self, requests: list[dict[str, object]]) -> list[dict[str, object]]:
        failed: set[str] = set()
        return [self._one(inner, failed) for inner in requests]

    def _one(self, inner: dict[str, object], failed: set[str]) -> dict[str, object]:
        number, id = str(inner["id"]), self._id(str(inner["url"]))
        if set(inner.get("dependsOn", ())) & failed:  # type: ignore[call-overload]
            failed.add(number)
            return {"id": number, "status": 424}
        waiting = self.trouble.get(id)
        status = waiting.pop(0) if waiting else 200
        if status != 200:
            failed.add(number)
            code = {404: "ErrorItemNotFound", 412: "ErrorIrresolvableConflict"}.get(status, "UnknownError")
            return {"id": number, "status": status, "headers": {}, "body": {"error": {"code": code}}}
        self.done[id] += 1
        return {"id": number, "status": 200, "body": {"id": id}}

    @staticmethod
    def _id(url: str) -> str:
        return url.split("/messages/")[1].partition("/")[0].partition("?")[0]


def reply(status: int, body: object) -> httpx.Response:
    class Stream(httpx.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            yield json.dumps(body).encode()

    return httpx.Response(status, stream=Stream())


def mailbox(graph: Chains, clock: RecordingClock | VirtualClock | None = None) -> GraphMailbox:
    client = GraphClient(BASE, Tokens(), clock=clock or RecordingClock(), rng=NoJitter(1), transport=graph)
    return GraphMailbox(client, "a@x.example")


def in_time(graph: Chains, call: Callable[[GraphMailbox], Coroutine[Any, Any, T]]) -> T:
    """The call's result, time passing whenever everybody waits."""

    async def scene() -> T:
        clock = VirtualClock()
        task = asyncio.create_task(call(mailbox(graph, clock)))
        while not task.done():
            await clock.advance(0.5)
        return task.result()

    return asyncio.run(scene())


def kinds(results: Sequence[Message | GraphError]) -> list[str]:
    return [r.id if isinstance(r, Message) else type(r).__name__ for r in results]


def ids(count: int) -> list[str]:
    return [f"m{n}" for n in range(count)]


async def test_a_hundred_writes_fill_the_slots_evenly() -> None:
    graph = Chains()
    results = await mailbox(graph).patch([Patch(id, {"isRead": True}) for id in ids(100)])
    assert kinds(results) == ids(100)
    assert graph.sizes == [15] * 6 + [10]
    assert graph.most <= 4


async def test_a_hundred_reads_cost_five() -> None:
    graph = Chains()
    assert kinds(await mailbox(graph).get(ids(100))) == ids(100)
    assert graph.sizes == [20] * 5


async def test_one_failure_costs_one_more() -> None:
    graph = Chains({"m57": [404] * 9})
    results = await mailbox(graph).patch([Patch(id, {"isRead": True}) for id in ids(100)])
    assert kinds(results) == [*ids(57), "NotFound", *ids(100)[58:]]
    assert len(graph.sizes) == 8


async def test_all_gone_costs_few_rounds() -> None:
    graph = Chains({id: [404] * 9 for id in ids(20)})
    results = await mailbox(graph).get(ids(20))
    assert all(isinstance(result, NotFound) for result in results)
    assert len(graph.sizes) == 20
    assert graph.most > 1  # side by side, not one after the other


async def test_nothing_is_no_request() -> None:
    graph = Chains()
    assert await mailbox(graph).get([]) == []
    assert graph.sizes == []


async def test_a_conflict_is_tried_once_more_without_if_match() -> None:
    graph = Chains({"m1": [412], "m3": [412, 412]})
    results = await mailbox(graph).patch([Patch(id, {"isRead": True}) for id in ids(5)])
    assert kinds(results) == ["m0", "m1", "m2", "Conflict", "m4"]
    assert isinstance(results[3], Conflict)


async def test_a_refused_batch_is_halved_to_the_odd_one() -> None:
    graph = Chains(odd=frozenset({"m5"}))
    results = await mailbox(graph).patch([Patch(id, {"isRead": True}) for id in ids(8)])
    assert kinds(results) == [*ids(5), "Invalid", "m6", "m7"]
    assert isinstance(results[5], Invalid)


async def test_patience_ends_with_a_typed_error_and_keeps_what_was_done() -> None:
    clock = RecordingClock()
    graph = Chains({"m2": [429] * 999})
    results = await mailbox(graph, clock).patch([Patch(id, {"isRead": True}) for id in ids(4)])
    assert kinds(results) == ["m0", "m1", "Throttled", "Throttled"]
    assert isinstance(results[2], Throttled)
    assert sum(clock.slept) <= 120


async def test_an_empty_id_is_a_result_of_its_own() -> None:
    results = await mailbox(Chains()).get(["m0", "", "m2"])
    assert kinds(results) == ["m0", "BadId", "m2"]


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 70),
    st.dictionaries(
        st.integers(0, 70),
        st.lists(st.sampled_from([404, 429, 503, 412]), min_size=1, max_size=3),
        max_size=12,
    ),
    st.sets(st.integers(1, 6), max_size=3),
)
def test_copies_are_made_once_or_reported(count: int, trouble: dict[int, list[int]], lose: set[int]) -> None:
    graph = Chains({f"m{n}": list(statuses) for n, statuses in trouble.items()}, lose=lose)
    results = in_time(graph, lambda alice: alice.copy(ids(count), "F"))
    for id, result in zip(ids(count), results, strict=True):
        assert graph.done[id] <= 1
        if isinstance(result, Message):
            assert result.id == id
            assert graph.done[id] == 1
        elif not isinstance(result, OutcomeUnknown):
            assert graph.done[id] == 0


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 70),
    st.dictionaries(
        st.integers(0, 70), st.lists(st.sampled_from([429, 503, 412]), min_size=1, max_size=1), max_size=12
    ),
    st.sets(st.integers(1, 6), max_size=3),
)
def test_patches_get_through_passing_trouble(
    count: int, trouble: dict[int, list[int]], lose: set[int]
) -> None:
    graph = Chains({f"m{n}": list(statuses) for n, statuses in trouble.items()}, lose=lose)
    results = in_time(graph, lambda alice: alice.patch([Patch(id, {"isRead": True}) for id in ids(count)]))
    assert kinds(results) == ids(count)
    assert graph.most <= 4
