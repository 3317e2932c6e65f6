"""`/healthz`, `/readyz` and `/metrics` (Prometheus text) on the web port.

`/healthz` answers 200 while the process's loop turns; `/readyz` 200 once every listener is open, 503 with the
reasons else. Nothing here names an account, an address or a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Readiness = Callable[[], list[str]]  # reasons why the gateway is not ready; empty = ready


Measure = Callable[[], Awaitable[None]]  # brings up to date what takes more than reading a number


def application(
    registry: CollectorRegistry, readiness: Readiness, measure: Measure, more: Sequence[Route] = ()
) -> Starlette:
    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        reasons = readiness()
        return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    async def metrics(_: Request) -> Response:
        await measure()
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics), *more]
    )


GRACE = 3  # seconds a running answer gets at the end


class WebServer:
    """uvicorn on the gateway's own loop, without its signal handlers. `more`: what else it serves."""

    def __init__(
        self,
        registry: CollectorRegistry,
        readiness: Readiness,
        measure: Measure,
        more: Sequence[Route] = (),
    ) -> None:
        self._app = application(registry, readiness, measure, more)
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the bound port. OSError if it is taken."""
        listener = socket.create_server((host, port))
        config = uvicorn.Config(
            self._app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=GRACE
        )
        self._server = _Quiet(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        bound: int = listener.getsockname()[1]
        return bound

    async def stop(self) -> None:
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
            self._server = self._task = None


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Signals belong to `gateway.app`."""
        yield
