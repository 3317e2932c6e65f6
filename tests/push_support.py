"""A subscriber: an address that answers Graph's handshake and keeps what it is notified of."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.emulator.serve import Server
from gateway.emulator.tls import Certificates


@dataclass
class Subscriber:
    """`status`, `delay` (seconds) and `handshake` say how it answers; `posts` are the bodies as they came."""

    port: int = 0
    scheme: str = "http"
    status: int = 202
    delay: float = 0.0
    handshake: str = "echo"
    posts: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[tuple[str, str, str]] = field(default_factory=list)  # path, token, content type

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/notify"

    @property
    def lifecycle(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/lifecycle"

    @property
    def notices(self) -> list[dict[str, Any]]:
        return [each for post in self.posts for each in post["value"] if "lifecycleEvent" not in each]

    @property
    def events(self) -> list[str]:
        return [e["lifecycleEvent"] for post in self.posts for e in post["value"] if "lifecycleEvent" in e]

    @property
    def kinds(self) -> list[str]:
        return [each["changeType"] for each in self.notices]

    async def answer(self, request: Request) -> Response:
        token = request.query_params.get("validationToken")
        if token is not None:
            self.tokens.append((request.url.path, token, request.headers.get("content-type", "")))
            return {
                "echo": Response(token, 200, media_type="text/plain"),
                "html": Response(token, 200, media_type="text/html"),
                "wrong": Response("no", 200, media_type="text/plain"),
                "created": Response(token, 201, media_type="text/plain"),
                "lifecycle": Response(
                    token if request.url.path == "/notify" else "", media_type="text/plain"
                ),
            }[self.handshake]
        body = await request.body()
        self.posts.append(json.loads(body))
        await asyncio.sleep(self.delay)
        return Response(status_code=self.status)


@contextlib.asynccontextmanager
async def subscribing(tls: Certificates | None = None) -> AsyncIterator[Subscriber]:
    made = Subscriber(scheme="https" if tls else "http")
    app = Starlette(routes=[Route("/{rest:path}", made.answer, methods=["POST"])])
    listener = socket.create_server(("127.0.0.1", 0))
    made.port = listener.getsockname()[1]
    files = {"ssl_certfile": tls.chain, "ssl_keyfile": tls.key} if tls else {}
    server = Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", **files))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await server.listening.wait()
    try:
        yield made
    finally:
        server.ending.set()
        await task
