"""A model without mail, and a server around it: what the tests of the emulator's shell stand on."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import httpx
import msgspec

from gateway.emulator import limits, serve
from gateway.emulator.api import Request, Response, World
from gateway.emulator.app import Emulator
from gateway.emulator.errors import JSON_TYPE, GraphError
from gateway.emulator.rules import default_rules

USERS = ["alice@example.com", "bob@example.com", "carol@example.com"]


class MovableClock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time


@dataclass
class StubModel:
    """Answers every call with what it was asked, unless `answers` has a function for the path."""

    world: World
    answers: dict[str, Callable[[Request], Response]] = field(default_factory=dict)
    seen: list[Request] = field(default_factory=list)
    uploads: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    mail: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    done: list[tuple[object, ...]] = field(default_factory=list)

    def handle(self, request: Request) -> Response:
        self.seen.append(request)
        answer = self.answers.get(unquote(request.path))
        if answer is not None:
            return answer(request)
        value = {"path": request.path, "query": dict(request.query), "caller": request.caller.user}
        return Response(200, msgspec.json.encode(value), {"Content-Type": JSON_TYPE})

    def upload(self, method: str, token: str, headers: Mapping[str, str], body: bytes) -> Response:
        self.uploads.append((method, token, dict(headers), body))
        return Response(200, b'{"nextExpectedRanges":["3-"]}', {"Content-Type": JSON_TYPE})

    def upload_owner(self, token: str) -> tuple[str, str] | None:
        return None

    def users(self) -> list[str]:
        return list(USERS)

    def deliver(self, upn: str, folder: str, mime: bytes, *, received: float | None = None) -> str:
        if folder == "nowhere":
            raise GraphError(404, "ErrorItemNotFound", "no such folder")
        rows = self.mail.setdefault(upn, [])
        rows.append({"id": f"m{len(rows)}", "size": len(mime), "received": received, "folder": folder})
        return f"m{len(rows) - 1}"

    def listing(self, upn: str, folder: str | None) -> list[dict[str, object]]:
        return [row for row in self.mail.get(upn, []) if folder in (None, row["folder"])]

    def outlook_patch(self, upn: str, message: str, change: Mapping[str, object]) -> None:
        self.done.append(("patch", upn, message, dict(change)))

    def outlook_delete(self, upn: str, message: str) -> None:
        if message == "gone":
            raise KeyError(message)
        self.done.append(("delete", upn, message))

    def outlook_move(self, upn: str, message: str, folder: str) -> None:
        self.done.append(("move", upn, message, folder))

    def outlook_folders(self, upn: str) -> list[dict[str, object]]:
        return [{"id": "f", "displayName": "Inbox"}]

    def expire_delta(self) -> int:
        return 3


@dataclass
class Stage:
    """One running server: its model, an HTTP client that trusts it, and a token to send."""

    running: serve.RunningEmulator
    model: StubModel
    clock: MovableClock
    http: httpx.AsyncClient
    token: str = ""

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def control(self, method: str, path: str, json: Any = None, **more: Any) -> httpx.Response:
        return await self.http.request(method, f"/_emulator/{path}", json=json, **more)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers={**self.bearer, **headers})

    async def sign_in(self) -> str:
        answer = await self.http.post(
            f"{self.running.authority}/oauth2/v2.0/token",
            data={
                "grant_type": "client_credentials",
                "client_id": "demo-gateway",
                "client_secret": "demo-secret",
                "scope": "https://graph.microsoft.com/.default",
            },
        )
        self.token = answer.json()["access_token"]
        return self.token

    async def batch(self, *requests: dict[str, Any], **headers: str) -> httpx.Response:
        return await self.http.post(
            "/v1.0/$batch", json={"requests": list(requests)}, headers={**self.bearer, **headers}
        )


def make_world(seed: int = 7) -> World:
    world = serve.make_world(serve.EmulatorOptions(seed=seed))
    world.limits.update(limits.DEFAULTS)
    world.clock = MovableClock()
    return World(default_rules(), world.clock, random.Random(seed), world.limits)


@contextlib.asynccontextmanager
async def staged(**options: Any) -> AsyncIterator[Stage]:
    """A server on a free port with a stub model; plain HTTP unless asked otherwise (TLS costs time)."""
    options = {"port": 0, "http": True, **options}
    world = make_world()
    model = StubModel(world)
    app = Emulator(model, serve.make_directory(USERS))
    running = await serve.listen(serve.EmulatorOptions(**options), model, app)  # type: ignore[arg-type]
    import ssl

    context = ssl.create_default_context(cafile=running.ca_file)
    async with httpx.AsyncClient(base_url=running.base_url, verify=context, timeout=10) as client:
        stage = Stage(running, model, world.clock, client)  # type: ignore[arg-type]
        await stage.sign_in()
        try:
            yield stage
        finally:
            await running.stop()
