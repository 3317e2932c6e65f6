"""Several gateways on one PostgreSQL before one emulator, in this process: each is the whole program but its command
line, with listeners of its own. A node can end as a killed process does (`crash`), or be stopped in its tracks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiosmtplib
from argon2 import PasswordHasher

from gateway.app import Gateway
from gateway.config import from_values
from gateway.mailbox.account import MailboxAccount
from tests import postgres_server
from tests.account_world import ALICE, BOB, PASSWORD, Client, Outlook, outlook_world, until

LEASE = 1.5  # seconds
EASY = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


@dataclass
class Node:
    """One gateway."""

    gateway: Gateway
    clients: list[Client] = field(default_factory=list)

    @property
    def store(self) -> Any:
        return self.gateway._store

    @property
    def beat(self) -> Any:
        return self.store.beat

    @property
    def cluster(self) -> Any:
        return self.gateway._place._cluster

    async def account(self, user: str = ALICE) -> MailboxAccount:
        return await self.gateway._directory.account(user)

    async def client(self, user: str = ALICE) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.ports.imap, limit=2**24)
        client = Client(reader, writer)
        self.clients.append(client)
        await client.response()
        (await client.do(f'LOGIN "{user}" "{PASSWORD}"')).ok()
        return client

    async def submit(self, raw: bytes, to: str = BOB, user: str = ALICE) -> None:
        """By SMTP; the client hears 250."""
        smtp = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self.gateway.ports.smtp, use_tls=False, start_tls=False
        )
        async with smtp:
            await smtp.login(user, PASSWORD)
            await smtp.sendmail(user, [to], raw)

    async def holds(self, user: str = ALICE) -> bool:
        return (await self.account(user)).ctx.duty.held

    async def deaf(self) -> None:
        """The connection that hears is cut; hints are lost until it is made anew."""
        self.beat._db.terminate()

    async def stop(self) -> None:
        for client in self.clients:
            await client.close()
        await self.gateway.stop()


@dataclass
class Nodes:
    """Made by `nodes_world`."""

    outlook: Outlook
    folder: Path
    url: str
    running: list[Node] = field(default_factory=list)

    async def up(self, prepare: Callable[[Gateway], None] = lambda gateway: None, **changes: Any) -> Node:
        emulator = self.outlook.emulator
        name = f"node{len(self.running)}"
        values = {
            "graph": {"base_url": f"{emulator.base_url}/v1.0", "authority": emulator.authority,
                      "client_id": "demo-gateway", "client_secret": "demo-secret"},
            "state": {"dir": str(self.folder / name), "cache_mib": 0},
            "store": {"url": self.url, "node": name, "lease": LEASE, "connections": 4},
            "imap": {"port": 0, "allow_plaintext": True, "poll_interval": 0.4, "login_delay": 0.1},
            "submission": {"port": 0, "allow_plaintext": True},
            "web": {"port": None},
            "log": {"level": "error"},
            "accounts": [{"user": ALICE, "password_hash": EASY}],
        }  # fmt: skip
        for section, change in changes.items():
            values[section] |= change  # type: ignore[operator]
        if emulator.ca_file is not None:
            values["graph"]["ca_file"] = str(emulator.ca_file)  # type: ignore[index]
        state = self.folder / name
        state.mkdir(mode=0o700)
        (state / "key").write_bytes(bytes(range(32)))
        (state / "key").chmod(0o600)
        gateway = Gateway(from_values(values, origin="test"))
        gateway.limits = replace(gateway.limits, graph_timeout=3.0, graph_patience=5.0)
        prepare(gateway)
        await gateway.start()
        node = Node(gateway)
        self.running.append(node)
        return node

    async def down(self, node: Node) -> None:
        self.running.remove(node)
        await node.stop()


@asynccontextmanager
async def nodes_world(folder: Path, *, messages: int = 0, **lag: float) -> AsyncIterator[Nodes]:
    async with outlook_world(folder, messages=messages, **lag) as outlook:
        world = Nodes(outlook, folder, postgres_server.shared().database())
        try:
            yield world
        finally:
            for node in list(world.running):
                await world.down(node)


async def hears(client: Client, pattern: bytes, seconds: float = 10.0) -> bytes:
    """The next response of this client that has `pattern` in it."""
    async with asyncio.timeout(seconds):
        while True:
            line = await client.response(seconds)
            assert line, "connection closed"
            if pattern in line:
                return line


# -- what tests say again and again --

ONE = b"Subject: one\r\n\r\nx\r\n"


async def uid_of(client: Client, message: bytes = ONE) -> int:
    answer = (await client.do("APPEND INBOX {}", message)).ok()
    found = re.search(rb"APPENDUID \d+ (\d+)", answer.tagged)
    assert found is not None
    return int(found[1])


async def holder(a: Node, b: Node) -> tuple[Node, Node]:
    """Who has the duty of the account first, then the other."""
    assert await until(lambda: a.cluster.posts + b.cluster.posts == 1)
    return (a, b) if await a.holds() else (b, a)


async def shortly(check: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
