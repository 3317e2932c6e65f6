"""`POST /$batch` (contract section 3): up to 20 requests in one, each with its own limits and its own errors.

The whole batch is a 400 when it is malformed; else it is a 200 whose answers come in any order. What depends
on nothing starts at once, each request holding a slot of its mailbox, so the fifth independent one is
refused; a chain holds one slot, and what follows a failure is 424.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from gateway.emulator.api import Request, Response
from gateway.emulator.calls import Calls, Outcome
from gateway.emulator.errors import JSON_TYPE, GraphError, bad_request

MAX_STEPS: Final = 20
METHODS: Final = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE"})

Note = Callable[[str, str, int, int], None]  # method, url, status, in flight


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a batch."""

    id: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    after: tuple[str, ...]


def parse_batch(body: bytes) -> list[Step]:
    """The steps of a batch; raises GraphError (400) for what makes the whole call malformed."""
    try:
        requests = json.loads(body)["requests"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise bad_request("Invalid batch payload format.") from None
    if not isinstance(requests, list) or not requests:
        raise bad_request("Invalid batch payload format.")
    if len(requests) > MAX_STEPS:
        raise bad_request(f"Number of batch request steps exceeds the maximum value of {MAX_STEPS}.")
    steps = [_step(source) for source in requests]
    ids = [step.id.lower() for step in steps]
    if len(set(ids)) != len(ids):
        raise bad_request("Batch request contains duplicate request ids.")
    _check_dependencies(steps)
    return steps


def _step(source: Any) -> Step:
    if not isinstance(source, dict) or not isinstance(source.get("id"), str) or not source["id"]:
        raise bad_request("Request id is missing or is not a string.")
    name = source["id"]
    method = str(source.get("method", "")).upper()
    if method not in METHODS:
        raise bad_request(f"Write request id : {name} has no valid method.")
    given = source.get("headers") or {}
    if not isinstance(given, dict):
        raise bad_request(f"The headers of request id : {name} are no object.")
    headers = {str(k).lower(): str(v) for k, v in given.items()}
    body = source.get("body")
    if body is not None and "content-type" not in headers:
        raise bad_request(f"Write request id : {name} does not contain Content-Type header or body.")
    return Step(name, method, _url(source, name), headers, _body(body, headers), _after(source))


def _url(source: Mapping[str, Any], name: str) -> str:
    url = source.get("url")
    if not isinstance(url, str) or not url or "://" in url.partition("?")[0]:
        raise bad_request(f"Invalid request url of request id : {name}: it must be relative.")
    url = "/" + url.lstrip("/")
    if url.partition("?")[0].lower() in ("/$batch", "/%24batch"):
        raise bad_request("A batch request can not be nested in a batch request.")
    return url


def _body(body: Any, headers: Mapping[str, str]) -> bytes:
    """JSON as it is; any other type comes as a string: text for text types, base64 for the rest."""
    if body is None:
        return b""
    kind = headers["content-type"].lower()
    if "json" in kind or not isinstance(body, str):
        return json.dumps(body).encode()
    if kind.startswith("text/"):
        return body.encode()
    try:
        return base64.b64decode(body.replace("-", "+").replace("_", "/") + "==")
    except ValueError:
        raise bad_request("A request body is not base64.") from None


def _after(source: Mapping[str, Any]) -> tuple[str, ...]:
    after = source.get("dependsOn") or []
    if not isinstance(after, list) or not all(isinstance(a, str) for a in after):
        raise bad_request("dependsOn must be a list of request ids.")
    return tuple(after)


def _check_dependencies(steps: list[Step]) -> None:
    """Nothing depends, or all form one chain, or all depend on one: nothing else is taken."""
    ids = {step.id for step in steps}
    if any(set(step.after) - ids or step.id in step.after for step in steps):
        raise bad_request("dependsOn names a request id that is not in the batch.")
    free = [step for step in steps if not step.after]
    if len(free) == len(steps):
        return
    parents = [step.after[0] for step in steps if len(step.after) == 1]
    one_root = len(free) == 1 and len(parents) == len(steps) - 1
    serial = len(set(parents)) == len(parents)
    star = set(parents) == {free[0].id} if one_root else False
    if not one_root or not ((serial and _reaches_all(steps, free[0].id)) or star):
        raise bad_request("dependsOn must make the requests all serial, or all depend on one request.")


def _reaches_all(steps: list[Step], root: str) -> bool:
    following = {step.after[0]: step.id for step in steps if step.after}
    reached, at = 1, root
    while at in following and reached <= len(steps):
        at = following[at]
        reached += 1
    return reached == len(steps)


class Batch:
    """Runs one parsed batch for the caller of `outer`."""

    def __init__(self, calls: Calls, outer: Request, note: Note) -> None:
        self._calls = calls
        self._outer = outer
        self._note = note
        self._world = calls.model.world
        self._done: dict[str, Outcome] = {}

    async def run(self, steps: list[Step]) -> Outcome:
        """The batch's own answer. Raises ConnectionFaultError if one of its requests drew such a fault."""
        waiting = list(steps)
        while waiting:
            ready = [s for s in waiting if all(a in self._done for a in s.after)]
            waiting = [s for s in waiting if s not in ready]
            await self._wave(ready)
        order = list(steps)
        self._world.rng.shuffle(order)
        parts = [_part(step.id, self._done[step.id].response) for step in order]
        body = b'{"responses":[' + b",".join(parts) + b"]}"
        cut = any(outcome.cut for outcome in self._done.values())
        return Outcome(Response(200, body, {"Content-Type": JSON_TYPE}), cut)

    async def _wave(self, ready: list[Step]) -> None:
        """Run what may run side by side; without rule batch-inner-429 four at a time."""
        for step in [s for s in ready if self._failed_before(s)]:
            self._finish(step, Outcome(_failed_dependency()), 0)
        live = [s for s in ready if s.id not in self._done]
        if self._world.rules.on("batch-inner-429"):
            await self._together(live)
            return
        for start in range(0, len(live), 4):
            await self._together(live[start : start + 4])

    def _failed_before(self, step: Step) -> bool:
        return any(self._done[a].response.status >= 400 for a in step.after)

    async def _together(self, steps: list[Step]) -> None:
        entered = [
            (step, request, self._calls.enter(request)) for step in steps for request in [self._inner(step)]
        ]
        try:
            admitted = [(step, request, slot) for step, request, slot in entered if slot.refusal is None]
            results = await asyncio.gather(
                *(self._calls.perform(request, step.url, inner=True) for step, request, _ in admitted),
                return_exceptions=True,
            )
        finally:
            for _, _, slot in entered:
                slot.leave()
        for step, _, slot in entered:
            if slot.refusal is not None:
                self._finish(step, Outcome(slot.refusal), slot.seen)
        for (step, _, slot), result in zip(admitted, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            self._finish(step, result, slot.seen)

    def _finish(self, step: Step, outcome: Outcome, in_flight: int) -> None:
        self._done[step.id] = outcome
        self._note(step.method, step.url, outcome.response.status, in_flight)

    def _inner(self, step: Step) -> Request:
        path, _, query = step.url.partition("?")
        headers = dict(step.headers)
        headers.pop("authorization", None)
        if not self._world.rules.on("batch-headers-not-inherited") and "prefer" in self._outer.headers:
            headers.setdefault("prefer", self._outer.headers["prefer"])
        return Request(
            method=step.method,
            version=self._outer.version,
            path=path,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers=headers,
            body=step.body,
            caller=self._outer.caller,
            base=self._outer.base,
        )


def _failed_dependency() -> Response:
    return GraphError(424, "FailedDependency", "Failed Dependency").response()


def _part(name: str, response: Response) -> bytes:
    """One element of `responses`; what is not JSON is a base64 string."""
    body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    head = msgspec.json.encode({"id": name, "status": response.status, "headers": response.headers})
    if not body:
        return head
    kind = next((v for k, v in response.headers.items() if k.lower() == "content-type"), "")
    value = body if "json" in kind else msgspec.json.encode(base64.b64encode(body).decode())
    return head[:-1] + b',"body":' + value + b"}"
