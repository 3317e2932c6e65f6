"""The IMAP server: listening sockets, caps on connections, and an orderly end."""

from __future__ import annotations

import asyncio
import ssl

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.imap.connection import HANDSHAKE, Connection
from gateway.imap.context import Clock, Context, Counters, Farewell, ImapSettings
from gateway.mailbox.api import Accounts

EVERYONE = "everyone"


class ImapServer:
    """Serves `accounts`. `start` may be called for several ports; `stop` ends all of them.

    `counters` holds what metrics read; `open_connections` how many there are now."""

    def __init__(
        self,
        accounts: Accounts,
        settings: ImapSettings,
        clock: Clock,
        limits: Limits = DEFAULT_LIMITS,
        *,
        starttls: ssl.SSLContext | None = None,
    ) -> None:
        self.context = Context(accounts, settings, limits, clock, tls=starttls)
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._stopping = False

    @property
    def counters(self) -> Counters:
        return self.context.counters

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def start(
        self, host: str, port: int, tls: ssl.SSLContext | None = None, *, implicit: bool = False
    ) -> int:
        """Listen; returns the port, which matters if 0 was asked for. `tls` with `implicit`: TLS from the
        first octet; without: what STARTTLS offers on every plain port of this server."""
        if tls is not None and not implicit:
            self.context.tls = tls
        wrap = tls if implicit else None
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self),
            host,
            port,
            ssl=wrap,
            ssl_handshake_timeout=HANDSHAKE if wrap else None,
        )
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening; idle sessions get BYE at once, busy ones when their command is done, or after
        `settings.grace` seconds in any case."""
        self._stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.say_farewell(Farewell("Server is shutting down"))
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        if tasks:
            await self._end(tasks)
        for server in self._servers:
            await server.wait_closed()

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        grace = asyncio.ensure_future(self.context.clock.sleep(self.context.settings.grace))
        everyone = asyncio.ensure_future(asyncio.wait(tasks))
        await asyncio.wait([everyone, grace], return_when=asyncio.FIRST_COMPLETED)
        grace.cancel()
        for task in tasks:
            task.cancel()
        await everyone

    # -- what connections ask --

    def admit(self, connection: Connection) -> str | None:
        """Count a new connection, or say why there is no room for it."""
        self.context.counters.connections += 1
        limits, census = self.context.limits, self.context.census
        if self._stopping:
            return "Server is shutting down"
        if not census.enter(EVERYONE, limits.connections):
            return self._refuse("Too many connections")
        if not census.enter(f"address {connection.peer}", limits.connections_per_address):
            census.leave(EVERYONE)
            return self._refuse("Too many connections from your address")
        self._connections.add(connection)
        return None

    def dismiss(self, connection: Connection) -> None:
        """The session of an admitted connection is over."""
        self._connections.discard(connection)
        self.context.census.leave(EVERYONE)
        self.context.census.leave(f"address {connection.peer}")

    def _refuse(self, text: str) -> str:
        self.context.counters.refused += 1
        return text
