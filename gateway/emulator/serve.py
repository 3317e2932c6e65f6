"""Starting and stopping the emulator: on this loop (`start`), in a thread (`EmulatorThread`), until a signal
(`run`).

It persists nothing: a certificate of the moment is written to the state folder so that clients can trust it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.emulator import grants, limits, throttle
from gateway.emulator.api import World
from gateway.emulator.app import Emulator
from gateway.emulator.ids import TENANT_GUID, user_guid
from gateway.emulator.rules import default_rules
from gateway.emulator.seed import fill
from gateway.emulator.tenant import Tenant
from gateway.emulator.tls import Certificates, make_certificates
from gateway.emulator.tokens import App, Directory, User

FIRST_USERS: Final = ("alice@example.com", "bob@example.com", "carol@example.com")
TENANT_ID: Final = TENANT_GUID
CLIENT_ID: Final = "demo-gateway"
CLIENT_SECRET: Final = "demo-secret"  # noqa: S105  (well known, worth nothing)
PUBLIC_CLIENT_ID: Final = "demo-public"
PASSWORD: Final = "demo"  # noqa: S105


@dataclass(frozen=True, slots=True)
class EmulatorOptions:
    """What the command line can say. `users` counts mailboxes: alice, bob, carol, then user4@example.com and
    so on; `messages` go to alice's inbox; `state_dir` None = a temporary folder."""

    host: str = "127.0.0.1"
    port: int = 8443
    http: bool = False
    messages: int = 500
    users: int = 3
    seed: int = 1
    rtt_ms: float = 0.0
    service_ms: float = 0.0
    item_us: float = 0.0
    ready_file: str | Path | None = None
    state_dir: str | Path | None = None
    language: str = "en"
    webhook_ca: str | Path | None = None  # PEM: whom else to trust when notifications are posted


class WallClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1 with the transport within reach of the application, for faults that break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Server(uvicorn.Server):
    """A uvicorn server that leaves the process's signals alone, ends when it is told to, and does not wait
    for idle connections to say goodbye."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.ending = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is None or cycle.response_complete:
                connection.transport.abort()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(slots=True)
class RunningEmulator:
    """A started emulator. `base_url` has no version: Graph is at `{base_url}/v1.0`, the control API at
    `{base_url}/_emulator`. `authority` is what msal is given; it is HTTPS even where Graph is plain HTTP,
    because msal takes nothing else. Trust `ca_file` for both."""

    base_url: str
    authority: str
    ca_file: str
    port: int
    tenant: Tenant
    world: World
    app: Emulator
    _servers: list[Server] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _folder: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def control_url(self) -> str:
        return f"{self.base_url}/_emulator"

    async def stop(self) -> None:
        """Stop listening, break what hangs, and return when all tasks have ended. May be called twice."""
        self.app.close()
        for server in self._servers:
            server.ending.set()
        await asyncio.gather(*self._tasks)
        await self.app.aclose()
        self._folder.close()

    def describe(self) -> dict[str, object]:
        """What a script needs to use this emulator (the ready file)."""
        return {
            "pid": os.getpid(),
            "port": self.port,
            "base_url": self.base_url,
            "control_url": self.control_url,
            "authority": self.authority,
            "ca_file": self.ca_file,
            "tenant_id": TENANT_ID,
            "users": self.tenant.users(),
            "password": PASSWORD,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "public_client_id": PUBLIC_CLIENT_ID,
        }


def make_world(options: EmulatorOptions) -> World:
    """Rules, clock, randomness and every limit at its default."""
    figures = {**limits.DEFAULTS, **throttle.DEFAULTS, **grants.DEFAULTS}
    figures |= {"rtt_ms": options.rtt_ms, "service_ms": options.service_ms, "item_us": options.item_us}
    return World(default_rules(), WallClock(), random.Random(options.seed), figures)  # noqa: S311


def user_names(count: int) -> list[str]:
    """The first `count` users: alice, bob, carol, user4, ..."""
    return [*FIRST_USERS[:count], *(f"user{n}@example.com" for n in range(4, count + 1))]


def make_directory(users: list[str]) -> Directory:
    """The users (password `demo`) and the two registered applications."""
    people = {upn.lower(): User(upn, user_guid(upn), PASSWORD) for upn in users}
    apps = [App(CLIENT_ID, CLIENT_SECRET), App(PUBLIC_CLIENT_ID)]
    return Directory(TENANT_ID, people, {app.client_id: app for app in apps})


async def start(options: EmulatorOptions) -> RunningEmulator:
    """Fill the mailboxes, listen, and return when connections are accepted; OSError if the port is taken."""
    world = make_world(options)
    users = user_names(options.users)
    tenant = Tenant(world, users, language=options.language)
    await asyncio.to_thread(fill, tenant, options.messages, options.seed)
    return await listen(options, tenant, Emulator(tenant, make_directory(users)))


async def listen(options: EmulatorOptions, tenant: Tenant, app: Emulator) -> RunningEmulator:
    """Serve an application that is ready; writes certificates and the ready file."""
    folder = contextlib.ExitStack()
    state = options.state_dir or folder.enter_context(tempfile.TemporaryDirectory(prefix="graph-emulator-"))
    certificates = make_certificates(Path(state), _names(options.host))
    sockets = [_bound(options.host, options.port)]
    if options.http:
        sockets.append(_bound(options.host, 0))
    running = _describe(options, sockets, app, tenant, certificates)
    running._folder = folder
    app.callbacks.trust(certificates.ca)
    if options.webhook_ca is not None:
        app.callbacks.trust(Path(options.webhook_ca))
    for number, sock in enumerate(sockets):
        await _serve(running, sock, None if options.http and number == 0 else certificates)
    if options.ready_file is not None:
        _write_whole(Path(options.ready_file), json.dumps(running.describe()))
    return running


def _describe(
    options: EmulatorOptions, sockets: list[socket.socket], app: Emulator, tenant: Tenant, made: Certificates
) -> RunningEmulator:
    host = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    port, secure = sockets[0].getsockname()[1], sockets[-1].getsockname()[1]
    return RunningEmulator(
        base_url=f"{'http' if options.http else 'https'}://{host}:{port}",
        authority=f"https://{host}:{secure}/{TENANT_ID}",
        ca_file=str(made.ca),
        port=port,
        tenant=tenant,
        world=tenant.world,
        app=app,
    )


def _names(host: str) -> list[str]:
    return list(dict.fromkeys(["127.0.0.1", "::1", "localhost", host, socket.gethostname()]))


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol must be named: asyncio sets TCP_NODELAY only where it is, and without it every chunked
    # answer waits 40 ms for the client's delayed acknowledgement.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


async def _serve(running: RunningEmulator, sock: socket.socket, tls: Certificates | None) -> None:
    config = uvicorn.Config(
        running.app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=120,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=256 * 1024,
        ssl_certfile=tls.chain if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    server = Server(config)
    running._servers.append(server)
    running._tasks.append(asyncio.ensure_future(server.serve(sockets=[sock])))
    await server.listening.wait()


def _write_whole(path: Path, text: str) -> None:
    """Readers see all of the file or none of it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.write_text(text)
    draft.replace(path)


async def run(options: EmulatorOptions, said: Callable[[RunningEmulator], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; `said` is called with the running emulator once it listens."""
    running = await start(options)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if said is not None:
        said(running)
    await stop.wait()
    await running.stop()


class EmulatorThread:
    """The emulator on a loop of its own, in a thread: `with EmulatorThread(options) as running: ...`."""

    def __init__(self, options: EmulatorOptions) -> None:
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="graph-emulator", daemon=True)
        self._running: RunningEmulator | None = None

    def __enter__(self) -> RunningEmulator:
        self._thread.start()
        try:
            self._running = asyncio.run_coroutine_threadsafe(start(self._options), self._loop).result()
        except BaseException:
            self._end()
            raise
        return self._running

    def __exit__(self, *error: object) -> None:
        if self._running is not None:
            asyncio.run_coroutine_threadsafe(self._running.stop(), self._loop).result(30)
        self._end()

    def _end(self) -> None:
        asyncio.run_coroutine_threadsafe(_end_tasks(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


async def _end_tasks() -> None:
    """Cancel what is still under way on this loop: TLS handshakes that nobody will finish."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
