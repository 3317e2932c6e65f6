"""Plays hand-written exchanges to the Graph client: it must send exactly these requests and understand exactly
these answers. The files know nothing of the emulator: they were written from the contract's skeletons.

A file is TOML: `about` (what it shows), `call` (on a `GraphMailbox`), `user` (default alice; '' is `/me`), then
one `[[exchange]]` per HTTP exchange in order, and `result` (JSON) or `error` ("Name status code"). `waits` are the
seconds slept, `refreshes` the claims of each forced sign-in ('' for none).

An exchange has `request` and `answer` as HTTP text: first line, headers, empty line, body. All headers that are
not `EVERY` are listed. A request body of `(n octets)` stands for that many; a JSON body is compared as JSON.
`answer` may be `lost` instead: the connection breaks after the request was sent. `gzip = true` compresses it.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import tomllib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.graph.client import GraphClient
from gateway.graph.errors import GraphError
from gateway.graph.mail import GraphMailbox, Patch

BASE = "https://graph.microsoft.com/v1.0"
# Sent with every request, and checked apart.
EVERY = {
    "host": "graph.microsoft.com",
    "accept": "*/*",
    "accept-encoding": "gzip",
    "connection": "keep-alive",
    "user-agent": "graph-mail-gateway",
}


class RecordingClock:
    """Time passes only in sleeps, and each is noted."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class NoJitter(random.Random):
    """Waits come out whole."""

    def random(self) -> float:
        return 1.0


@dataclass
class Tokens:
    """`token-1` until another is asked for."""

    refreshes: list[str] = field(default_factory=list)

    async def token(self, *, claims: str | None = None, force: bool = False) -> str:
        if force:
            self.refreshes.append(claims or "")
        return f"token-{1 + len(self.refreshes)}"


class _Stream(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


class Script(httpx.AsyncBaseTransport):
    """The HTTP seam: checks each request against the next exchange and gives its answer."""

    def __init__(self, exchanges: list[dict[str, Any]]) -> None:
        self._exchanges = exchanges
        self.played = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        sent = await request.aread()
        if self.played == len(self._exchanges):
            raise AssertionError(f"one request too many: {request.method} {request.url}")
        exchange = self._exchanges[self.played]
        self.played += 1
        _compare(exchange["request"], request, sent)
        if exchange["answer"].strip() == "lost":
            raise httpx.ReadError("connection broken")
        return _answer(exchange["answer"], compress=exchange.get("gzip", False))


def _parse(text: str) -> tuple[str, dict[str, str], str]:
    """First line, headers and body of an HTTP text; long lines may be continued by two blanks."""
    head, _, body = text.strip("\n").partition("\n\n")
    first, *lines = re.sub(r"\n  +", "", head).split("\n")
    return first, {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}, body


def _compare(text: str, request: httpx.Request, sent: bytes) -> None:
    first, headers, body = _parse(text)
    method, _, target = first.partition(" ")
    url = target if target.startswith("https://") else BASE + target
    assert (request.method, str(request.url)) == (method, url)
    given = {name.lower(): value for name, value in request.headers.items()}
    assert str(uuid.UUID(given.pop("client-request-id"))) is not None
    expected = {**EVERY, "host": url.split("/")[2], **headers}
    if body or method in {"POST", "PUT", "PATCH"}:
        expected["content-length"] = str(len(sent))
    assert given == expected
    _compare_body(body, headers.get("content-type", ""), sent)


def _compare_body(body: str, content_type: str, sent: bytes) -> None:
    if octets := re.fullmatch(r"\((\d+) octets\)", body):
        assert len(sent) == int(octets[1])
    elif content_type == "application/json":
        assert json.loads(sent) == json.loads(body)
    else:
        assert sent == body.encode()


def _answer(text: str, *, compress: bool) -> httpx.Response:
    first, headers, body = _parse(text)
    raw = body.encode()
    if compress:
        raw, headers = gzip.compress(raw), {**headers, "content-encoding": "gzip"}
    headers.setdefault("transfer-encoding", "chunked")
    return httpx.Response(
        int(first.split()[0]), headers=headers, stream=_Stream(raw), extensions={"http_version": b"HTTP/1.1"}
    )


def plain(value: Any) -> Any:
    """A result as JSON: members under their names in Graph, those at their defaults left out."""
    if isinstance(value, GraphError):
        return {"error": said(value)}
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, msgspec.Struct):
        pairs = ((f, getattr(value, f.name)) for f in msgspec.structs.fields(value))
        return {f.encode_name: plain(item) for f, item in pairs if item != f.default and item != []}
    return value


def said(error: GraphError) -> str:
    return f"{type(error).__name__} {error.status} {error.code}".strip()


async def _outcome(mailbox: GraphMailbox, call: str) -> Any:
    try:
        return plain(await _perform(mailbox, call))
    except GraphError as error:
        return {"error": said(error)}


def _expected(script: dict[str, Any]) -> Any:
    if "error" in script:
        return {"error": script["error"]}
    return json.loads(script.get("result", "null"))


async def _perform(mailbox: GraphMailbox, call: str) -> Any:
    names = {name: getattr(mailbox, name) for name in dir(mailbox) if not name.startswith("_")}
    asked = eval(call, {"Patch": Patch, **names})
    if isinstance(asked, AsyncIterator):
        return [page async for page in asked]
    return await asked


async def play(text: str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Play one file's text; AssertionError names what differs."""
    script = tomllib.loads(text)
    transport, clock, tokens = Script(script.get("exchange", [])), RecordingClock(), Tokens()
    client = GraphClient(BASE, tokens, limits=limits, clock=clock, rng=NoJitter(1), transport=transport)
    mailbox = GraphMailbox(client, script.get("user", "alice@contoso.example") or None)
    outcome = await _outcome(mailbox, script["call"])
    await client.aclose()
    assert outcome == _expected(script)
    assert transport.played == len(script.get("exchange", []))
    assert clock.slept == script.get("waits", [])
    assert tokens.refreshes == script.get("refreshes", [])
