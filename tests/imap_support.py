"""A running IMAP server over the in-memory mailbox, and a client that reads whole responses."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fakes import FakeAccount, FakeAccounts, FakeMailbox, VirtualClock, settle

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.imap.context import ImapSettings
from gateway.imap.server import ImapServer

ALICE = "alice@example.com"
MESSAGE = b"From: a@example.net\r\nSubject: One\r\n\r\nBody\r\n"


class Client:
    """Sends octets, reads responses with their literals."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def response(self) -> bytes:
        """One response without its CRLF; b"" at the end."""
        whole = line = await asyncio.wait_for(self.reader.readline(), 5)
        while line.endswith(b"}\r\n") and line[line.rfind(b"{") + 1 : -3].isdigit():
            whole += await self.reader.readexactly(int(line[line.rfind(b"{") + 1 : -3]))
            line = await asyncio.wait_for(self.reader.readline(), 5)
            whole += line
        return whole.removesuffix(b"\r\n")

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def until(self, tag: bytes) -> list[bytes]:
        """Responses up to the one that begins with `tag`."""
        found = [await self.response()]
        while not found[-1].startswith(tag + b" "):
            assert found[-1], f"closed before {tag!r}, after {found}"
            found.append(await self.response())
        return found

    async def command(self, text: bytes, tag: bytes = b"t") -> list[bytes]:
        self.send(tag + b" " + text + b"\r\n")
        return await self.until(tag)

    async def close(self) -> None:
        self.writer.close()
        await settle()


@dataclass(slots=True)
class World:
    server: ImapServer
    accounts: FakeAccounts
    clock: VirtualClock
    port: int

    @property
    def alice(self) -> FakeAccount:
        return self.accounts.accounts[ALICE]

    @property
    def inbox(self) -> FakeMailbox:
        return self.alice.mailboxes["INBOX"]

    async def connect(self, tls: ssl.SSLContext | None = None, *, limit: int = 1 << 26) -> Client:
        """Connected, the greeting read."""
        name = "localhost" if tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=tls, server_hostname=name, limit=limit
        )
        client = Client(reader, writer)
        await client.response()
        return client

    async def login(self, select: bytes | None = None) -> Client:
        client = await self.connect()
        assert (await client.command(b"LOGIN alice@example.com demo"))[-1].startswith(b"t OK")
        if select is not None:
            assert (await client.command(b"SELECT " + select))[-1].startswith(b"t OK")
        return client

    async def advance(self, seconds: float) -> None:
        await self.rest()
        await self.clock.advance(seconds)
        await self.rest()

    async def rest(self) -> None:
        """Let octets cross the loopback and tasks run."""
        for _ in range(3):
            await settle()
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(
    limits: Limits = DEFAULT_LIMITS,
    settings: ImapSettings | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    implicit: bool = False,
    messages: int = 0,
) -> AsyncIterator[World]:
    """A server with `messages` in INBOX; stopped at the end, its grace run out on the virtual clock."""
    accounts, clock = FakeAccounts(ALICE, "bob@example.com"), VirtualClock()
    server = ImapServer(accounts, settings or ImapSettings(allow_plaintext=True), clock, limits)
    port = await server.start("127.0.0.1", 0, tls, implicit=implicit)
    world = World(server, accounts, clock, port)
    for _ in range(messages):
        world.inbox.add(MESSAGE)
    try:
        yield world
    finally:
        stopping = asyncio.ensure_future(server.stop())
        while not stopping.done():
            await clock.advance(1.0)
        await stopping
