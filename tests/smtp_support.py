"""A submission server over a fake account, and a client that speaks octets."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import trustme
from fakes import FakeAccount, FakeAccounts, FakeSpool, VirtualClock, settle

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.mailbox.clock import SystemClock
from gateway.mailbox.values import Envelope
from gateway.smtp.server import SmtpSettings, SubmissionServer

USER, PASSWORD = "alice@example.com", "demo"
PLAIN = b64encode(f"\0{USER}\0{PASSWORD}".encode())
SETTINGS = SmtpSettings(hostname="mx.example.com", allow_plaintext=True)
QUICK = replace(DEFAULT_LIMITS, login_delay=0.0)


class Sender(FakeAccount):
    """Keeps what is submitted. `outcome`: raised instead; `gate`: waited for first; `announced`: what spools were
    asked to expect."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.sent: list[tuple[Envelope, bytes]] = []
        self.outcome: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.spool_fault: Exception | None = None
        self.announced: list[int] = []
        self.heard_of: list[str] = []
        self.lost_of: list[str] = []
        self.deaf: Exception | None = None  # what `heard` raises

    def spool(self, expected: int) -> FakeSpool:
        self.announced.append(expected)
        self.spools.append(FailingSpool(self.spool_fault) if self.spool_fault else FakeSpool())
        return self.spools[-1]

    async def submit(self, envelope: Envelope, spool: FakeSpool) -> str:
        if self.gate is not None:
            await self.gate.wait()
        if self.outcome is not None:
            raise self.outcome
        self.sent.append((envelope, spool.read()))
        return f"q{len(self.sent)}"

    async def check_sender(self, sender: str) -> None:
        """Anybody."""

    async def check_recipient(self, recipient: str, ahead: Callable[[], Sequence[str]], size: int) -> None:
        """Anybody."""

    async def heard(self, queue_id: str) -> None:
        if self.deaf is not None:
            raise self.deaf
        self.heard_of.append(queue_id)

    def lost(self, queue_id: str) -> None:
        self.lost_of.append(queue_id)


class FailingSpool(FakeSpool):
    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self._fault = fault

    async def write(self, data: bytes) -> None:
        raise self._fault


class Client:
    """Speaks octets; `reply` checks that a reply is well formed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self) -> str:
        """All lines of one reply, `code text` joined by newlines; '' when the server has closed."""
        texts: list[str] = []
        code = ""
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), 10)).decode("ascii")
            if not line:
                return ""
            assert line.endswith("\r\n") and len(line) <= 512, line
            assert line[:3].isdigit() and line[3] in " -" and line[:3] == (code or line[:3]), line
            code = line[:3]
            texts.append(line[4:-2])
            if line[3] == " ":
                return f"{code} " + "\n".join(texts)

    async def command(self, line: bytes) -> str:
        await self.send(line + b"\r\n")
        return await self.reply()

    async def login(self) -> None:
        assert (await self.command(b"EHLO client.example.com")).startswith("250 ")
        assert (await self.command(b"AUTH PLAIN " + PLAIN)).startswith("235 ")

    async def open_transaction(self, recipient: bytes = b"bob@example.com") -> None:
        """Up to the 354."""
        assert (await self.command(b"MAIL FROM:<alice@example.com>")).startswith("250 ")
        assert (await self.command(b"RCPT TO:<" + recipient + b">")).startswith("250 ")
        assert (await self.command(b"DATA")).startswith("354 ")

    async def mail(self, text: bytes) -> str:
        """One message, dot-stuffed by the caller, without its end."""
        await self.open_transaction()
        return await self.command(text + b"\r\n.")

    async def ended(self) -> bool:
        return await asyncio.wait_for(self.reader.read(), 10) == b""

    def close(self) -> None:
        self.writer.transport.abort()


class World:
    def __init__(self, server: SubmissionServer, clock: VirtualClock | SystemClock, account: Sender) -> None:
        self.server, self.clock, self.account = server, clock, account
        self.port = 0
        self.client_tls: ssl.SSLContext | None = None
        self._clients: list[Client] = []

    async def connect(self, tls: ssl.SSLContext | None = None, *, greeting: bool = True) -> Client:
        name = "localhost" if tls else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=tls, server_hostname=name)
        client = Client(reader, writer)
        self._clients.append(client)
        if greeting:
            assert await client.reply() == "220 mx.example.com ESMTP graph-mail-gateway"
        return client

    async def session(self) -> Client:
        client = await self.connect()
        await client.login()
        return client

    async def pass_time(self, seconds: float) -> None:
        assert isinstance(self.clock, VirtualClock)
        await self.rest()
        await self.clock.advance(seconds)

    async def rest(self) -> None:
        """Let sockets and tasks come to rest."""
        for _ in range(5):
            await settle()
            await asyncio.sleep(0.002)

    def abandon(self) -> None:
        for client in self._clients:
            client.close()


def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server on localhost, and for a client that trusts it."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA).configure_cert(server)
    authority.configure_trust(client)
    return server, client


@asynccontextmanager
async def serving(
    limits: Limits = DEFAULT_LIMITS,
    settings: SmtpSettings = SETTINGS,
    *,
    tls: bool = False,
    implicit: bool = False,
    real_time: bool = False,
) -> AsyncIterator[World]:
    """Time is virtual, unless clients in threads need theirs to pass."""
    accounts, account = FakeAccounts(USER), Sender(USER)
    accounts.accounts[USER] = account
    clock: VirtualClock | SystemClock = SystemClock() if real_time else VirtualClock()
    server = SubmissionServer(accounts, settings, clock, limits)
    world = World(server, clock, account)
    context = None
    if tls:
        context, world.client_tls = certificates()
    world.port = await server.start("127.0.0.1", 0, context, implicit=implicit)
    try:
        yield world
    finally:
        world.abandon()
        stopping = asyncio.ensure_future(server.stop())
        while not stopping.done():
            await (clock.advance(1.0) if isinstance(clock, VirtualClock) else asyncio.sleep(0.01))
        await stopping
        assert server.open_connections == 0
        assert all(spool.closed for spool in account.spools)
