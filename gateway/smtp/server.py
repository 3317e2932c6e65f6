"""The submission server: listening sockets, caps on connections, and an orderly end."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.mailbox.api import Accounts
from gateway.smtp.connection import HANDSHAKE, Connection
from gateway.smtp.door import Door, NoQuotas, OpenDoor, Quotas, Terms
from gateway.smtp.handler import Submission
from gateway.smtp.replies import Farewell, Reply

BACKLOG = 512  # connections the kernel keeps until accepted: a fleet of devices wakes at the same minute


class Clock(Protocol):
    """Time as an argument; tests move it."""

    def time(self) -> float: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """What the administrator chooses for the submission ports."""

    hostname: str = "localhost"  # in the greeting and in answer to EHLO
    allow_plaintext: bool = False  # AUTH without TLS; for loopback only
    command_timeout: float = 300.0  # seconds for the next octets of the peer, RFC 5321 section 4.5.3.2.7
    data_timeout: float = 3600.0  # seconds for one message: a slow line may, a slow attacker may not
    longest_hold: int = 0  # seconds FUTURERELEASE may ask for; 0: it is not offered
    grace: float = 5.0  # seconds a running command gets at shutdown, and a closing socket to take its octets


@dataclass(slots=True)
class Counters:
    """What metrics read. Only counts: nothing here names a user or a message."""

    connections: int = 0  # accepted, ever
    refused: int = 0  # over a cap, or from where nobody may come
    logins: int = 0
    failed_logins: int = 0
    octets_in: int = 0
    replies: Counter[int] = field(default_factory=Counter)  # by code
    submissions: Counter[int] = field(default_factory=Counter)  # by the final reply's code


class SubmissionServer:
    """Serves `accounts`. `start` may be called for several ports; `stop` ends all of them.

    `counters` holds what metrics read; `open_connections` how many there are now."""

    def __init__(
        self,
        accounts: Accounts,
        settings: SmtpSettings,
        clock: Clock,
        limits: Limits = DEFAULT_LIMITS,
        *,
        quotas: Quotas | None = None,
    ) -> None:
        self.accounts = accounts
        self.quotas = quotas or NoQuotas()
        self.settings = settings
        self.clock = clock
        self.limits = limits
        self.tls: ssl.SSLContext | None = None  # what STARTTLS offers; None: no STARTTLS
        self.counters = Counters()
        self._connections: dict[Connection, asyncio.Task[None] | None] = {}
        self._addresses: Counter[str] = Counter()
        self._users: dict[
            Connection, str
        ] = {}  # who is logged in where; a new log-in after STARTTLS replaces it
        self._servers: list[asyncio.Server] = []
        self._stopping = False

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def start(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        *,
        implicit: bool = False,
        door: Door | None = None,
    ) -> int:
        """Listen; returns the port, which matters if 0 was asked for. `tls` with `implicit`: TLS from the
        first octet (RFC 8314); without: what STARTTLS offers on every plain port of this server. `door`: whom the port
        is for; without one, whoever can log in."""
        way_in = door or OpenDoor(Terms(login_in_clear=self.settings.allow_plaintext))
        if tls is not None and not implicit:
            self.tls = tls
        wrap = tls if implicit else None
        server = await asyncio.get_running_loop().create_server(
            lambda: Submission(self, way_in), host, port, ssl=wrap, backlog=BACKLOG,
            ssl_handshake_timeout=HANDSHAKE if wrap else None,
        )  # fmt: skip
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening; idle sessions get 421 at once, busy ones when their command is done. After
        `settings.grace` seconds connections are cut; what is on its way to Graph still ends whole."""
        self._stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.farewell(_shutdown())
        tasks = [task for task in self._connections.values() if task is not None]
        if tasks:
            await self._end(tasks)
        for server in self._servers:
            await server.wait_closed()

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        grace = asyncio.ensure_future(self.clock.sleep(self.settings.grace))
        everyone = asyncio.ensure_future(asyncio.wait(tasks))
        await asyncio.wait([everyone, grace], return_when=asyncio.FIRST_COMPLETED)
        grace.cancel()
        for task in tasks:
            task.cancel()
        await everyone

    # -- what connections ask --

    def admit(self, connection: Connection) -> Reply | None:
        """Count a new connection, or say why there is no room for it. Called by the connection's own task."""
        self.counters.connections += 1
        if self._stopping:
            return _shutdown().reply
        terms = connection.door.terms(connection.peer_address)
        if terms is None:
            return self._refuse("Your address has no business here", 554, "5.7.1")
        if len(self._connections) >= self.limits.connections:
            return self._refuse("Too many connections")
        if self._addresses[connection.peer_address] >= self.limits.connections_per_address:
            return self._refuse("Too many connections from your address")
        self._addresses[connection.peer_address] += 1
        self._connections[connection] = asyncio.current_task()
        connection.enter(terms)
        return None

    def log_in(self, connection: Connection, user: str) -> None:
        """Count the connection for its user; Farewell if he holds as many as he may."""
        self._users.pop(connection, None)
        if list(self._users.values()).count(user) >= self.limits.connections_per_user:
            self.counters.refused += 1
            raise Farewell(421, "4.7.0", "Too many connections of this user")
        self._users[connection] = user

    def dismiss(self, connection: Connection) -> None:
        """The session of an admitted connection is over."""
        del self._connections[connection]
        self._users.pop(connection, None)
        self._addresses[connection.peer_address] -= 1
        if not self._addresses[connection.peer_address]:
            del self._addresses[connection.peer_address]

    def _refuse(self, text: str, code: int = 421, enhanced: str = "4.7.0") -> Reply:
        self.counters.refused += 1
        return Reply(code, enhanced, text)


def _shutdown() -> Farewell:
    return Farewell(421, "4.3.2", "Server is shutting down")
