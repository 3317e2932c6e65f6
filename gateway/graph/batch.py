"""`POST /$batch` for many calls of one kind: up to 20 in one request (contract section 3, decision 12).

The calls of one batch form a chain by `dependsOn`, so that it holds one of the mailbox's slots and not four.
What follows a failure in its chain was not executed (424): it is repeated. After an early failure the rest
goes in shorter chains side by side, so that a run of failures costs a few rounds and not one round each.
Calls must not depend on each other: chains run in parallel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.core.progress import advance
from gateway.graph.client import GraphClient
from gateway.graph.errors import BadId, GraphError, Invalid, Unreachable
from gateway.graph.request import Request, Response
from gateway.graph.together import together
from gateway.graph.verdict import Again, Lost, judge

CHAIN = 20  # Graph's limit of calls in one batch
FEW = 2  # results after which a broken chain is cut into shorter ones
ENVELOPE = 1024  # octets of one inner call without its body, at most, as JSON
FAILED_DEPENDENCY = 424


class _Inner(msgspec.Struct):
    """One answer of a batch. Headers come in any case, and now and then with numbers as values."""

    id: str = ""
    status: int = 0
    headers: dict[str, Any] = {}
    body: msgspec.Raw = msgspec.Raw(b"")

    def response(self) -> Response:
        headers = {name.lower(): str(value) for name, value in self.headers.items()}
        return Response(self.status, headers, bytes(self.body))


class _Answer(msgspec.Struct):
    responses: list[_Inner] = []


@dataclass(slots=True)
class _Item:
    """One call on its way: `result` is set when it is finished, `error` says why it is not yet."""

    request: Request
    result: Response | GraphError | None = None
    error: GraphError | None = None
    wait: float = 0.0
    tries: int = 0


async def run(client: GraphClient, requests: Sequence[Request]) -> list[Response | GraphError]:
    """Each request's answer or typed error, in order; never raises GraphError. All must be of one mailbox and
    priority, and speak JSON. `repeat` of each decides what happens where its effect is open."""
    items = [_Item(request) for request in requests]
    lanes = asyncio.Semaphore(client.limits.in_flight)
    length = _length(requests, client.limits.in_flight)
    await together(
        _finish(client, chain, lanes) for chain in _chains(items, length, client.limits.request_body)
    )
    return [item.result or Unreachable("no answer in the batch") for item in items]


def _length(requests: Sequence[Request], slots: int) -> int:
    """Of chains of writes, which take their time one by one: such that all slots end at about the same time. 100 in
    five chains of 20 would take two full rounds, in seven of 15 one and a half; eight would be a little better still,
    but a command may have asked for something before, and has eight requests for 100 messages in all. Reads are quick,
    and have the fewest requests."""
    count = len(requests)
    if count <= CHAIN or requests[0].method == "GET":
        return CHAIN
    rounds = -(-count // (CHAIN * slots))
    return min(CHAIN, -(-count // max(1, rounds * slots - (rounds > 1))))


def _chains(items: Iterable[_Item], length: int, octets: int) -> Iterator[list[_Item]]:
    """Cut into chains of at most `length` calls and `octets` of JSON."""
    chain: list[_Item] = []
    size = ENVELOPE
    for item in items:
        cost = len(item.request.body) + len(item.request.path) + ENVELOPE
        if chain and (len(chain) == length or size + cost > octets):
            yield chain
            chain, size = [], ENVELOPE
        chain.append(item)
        size += cost
    if chain:
        yield chain


async def _finish(client: GraphClient, chain: list[_Item], lanes: asyncio.Semaphore) -> None:
    """Send and send again until every item of the chain has its result."""
    waits, since = 0, client.clock.monotonic()
    while chain:
        async with lanes:
            await _send(client, chain)
        left = [item for item in chain if item.result is None]
        if chain[0].request.method != "GET":  # what a command changes is what it counts
            advance(len(chain) - len(left))
        if len(left) < len(chain):
            waits, since = 0, client.clock.monotonic()
        if not await _patient(client, left, waits, since):
            return
        waits += 1
        if _a_run_of_failures(chain, left):
            length = -(-len(left) // client.limits.in_flight)
            parts = _chains(left, length, client.limits.request_body)
            await together(_finish(client, part, lanes) for part in parts)
            return
        chain = left


def _a_run_of_failures(chain: list[_Item], left: list[_Item]) -> bool:
    """The chain broke almost at once, and not because Graph was busy: what follows may well fail, too."""
    return 0 < len(chain) - len(left) <= FEW and len(left) > 1 and all(item.error is None for item in left)


async def _patient(client: GraphClient, left: list[_Item], waits: int, since: float) -> bool:
    """Wait as long as the answers ask; False, and their errors as results, when that would take too long."""
    refused = [item for item in left if item.error is not None]
    if not refused:
        return True
    asked = max(item.wait for item in refused)
    wait = asked or min(30.0, 0.5 * 2.0**waits) * client.jitter()
    if client.clock.monotonic() + wait - since > client.limits.graph_patience:
        for item in left:
            item.result = item.error or refused[0].error
        return False
    await client.clock.sleep(wait)
    return True


async def _send(client: GraphClient, chain: list[_Item]) -> None:
    """One batch request; sets `result` or `error` of each item it answers."""
    for item in chain:
        item.error, item.wait = None, 0.0
    try:
        answer = await client.call(_outer(chain))
    except BadId as error:
        _give_up(chain, error)
    except Invalid as error:
        await _singly(client, chain, error)
    except GraphError as error:
        _give_up(chain, error)
    else:
        _take(client, chain, answer)


def _outer(chain: list[_Item]) -> Request:
    first = chain[0].request
    return Request(
        method="POST",
        template=f"/$batch {first.method} {first.template}",
        path="/$batch",
        headers={"Content-Type": "application/json"},
        body=msgspec.json.encode({"requests": [_inner(n, item.request) for n, item in enumerate(chain, 1)]}),
        shape=_Answer,
        expect=frozenset({200, FAILED_DEPENDENCY}),
        repeat=all(item.request.repeat for item in chain),
        priority=first.priority,
        mailbox=first.mailbox,
        weight=len(chain),
    )


def _inner(number: int, request: Request) -> dict[str, Any]:
    """Headers are not inherited from the outer request: each call carries its own (trap 6)."""
    inner: dict[str, Any] = {
        "id": str(number),
        "method": request.method,
        "url": request.path,
        "headers": {"Prefer": request.prefer_header(), **request.headers},
    }
    if number > 1:
        inner["dependsOn"] = [str(number - 1)]
    if request.body and isinstance(request.body, bytes):
        inner["body"] = msgspec.Raw(request.body)
    return inner


def _give_up(chain: list[_Item], error: GraphError) -> None:
    for item in chain:
        item.result = error


async def _singly(client: GraphClient, chain: list[_Item], error: GraphError) -> None:
    """Graph refused the batch as such, so nothing of it was done: halve it until the odd one stands alone."""
    if len(chain) > 1:
        half = len(chain) // 2
        await _send(client, chain[:half])
        await _send(client, chain[half:])
        return
    item = chain[0]
    try:
        item.result = await client.call(item.request)
    except GraphError as refusal:
        item.result = refusal


def _take(client: GraphClient, chain: list[_Item], answer: Response) -> None:
    """Match the answers, which come in any order, with their items."""
    found: dict[str, _Inner] = {}
    for inner in answer.value.responses:
        found.setdefault(inner.id, inner)
    for number, item in enumerate(chain, 1):
        inner = found.get(str(number))
        status = inner.status if inner is not None else answer.status
        if status == FAILED_DEPENDENCY and (inner is None or number == 1):
            # Depends on nothing, so it is the batch as a whole that was turned away.
            item.error = Unreachable("the batch was refused", status=answer.status)
        elif inner is None:
            _settle(client, item, Lost(sent=True, reason="no answer in the batch"))
        elif status != FAILED_DEPENDENCY:
            _settle(client, item, inner.response())


def _settle(client: GraphClient, item: _Item, answer: Response | Lost) -> None:
    try:
        verdict = judge(item.request, answer)
    except GraphError as error:
        item.result = error
        return
    if isinstance(verdict, Response):
        item.result = verdict
        return
    item.tries += 1
    if verdict.refresh or item.tries > verdict.tries:
        item.result = verdict.error
        return
    _postpone(client, item, verdict, answer)


def _postpone(client: GraphClient, item: _Item, again: Again, answer: Response | Lost) -> None:
    item.error, item.wait = again.error, again.wait or 0.0
    if isinstance(answer, Response) and answer.status == 429:
        client.scheduler(item.request.mailbox).refused(again.wait)
