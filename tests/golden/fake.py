"""An IMAP server over `tests.fakes`: the protocol alone, quick and without Graph (no `G:`, no `V:`)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from fakes import FakeAccount, FakeAccounts, FakeMessage, VirtualClock, settle
from golden.messages import NAMED, received, standard
from golden.options import USER, Options, certificates

from gateway.core.types import Flags
from gateway.imap.context import ImapSettings
from gateway.imap.server import ImapServer


class FakeBackend:
    """Over `tests.fakes`: no Graph, so nothing for the G: lane."""

    def __init__(self, accounts: FakeAccounts, server: ImapServer, clock: VirtualClock) -> None:
        self.port = 0
        self.tls: ssl.SSLContext | None = None
        self._account: FakeAccount = accounts.accounts[USER]
        self._server = server
        self._clock = clock
        self._delivered = 0

    async def outside(self, words: Sequence[str]) -> None:
        verb, *rest = words
        if verb in ("down", "up"):
            self._account.down = verb == "down"
        elif verb in ("create", "unsubscribe"):
            await self._hierarchy(verb, rest[0])
        else:
            _VERBS[verb](self, self._account.mailboxes[rest[0]], rest[1:])

    async def _hierarchy(self, verb: str, name: str) -> None:
        if verb == "create":
            await self._account.create(name)
        else:
            await self._account.subscribe(name, False)

    def fill(self, mailbox: object, words: Sequence[str]) -> None:
        for _ in range(int(words[0])):
            self.deliver(mailbox, [])

    def deliver(self, mailbox: object, words: Sequence[str]) -> None:
        self._delivered += 1
        data = NAMED[words[0]] if words else standard(self._delivered)
        mailbox.add(data, internal_date=received(self._delivered))  # type: ignore[attr-defined]

    def nth(self, mailbox: object, words: Sequence[str]) -> FakeMessage:
        message: FakeMessage = mailbox.present[int(words[0]) - 1]  # type: ignore[attr-defined]
        return message

    def flags(self, mailbox: object, words: Sequence[str]) -> None:
        flags = Flags.of(word.encode() for word in words[1:])
        mailbox.set_flags(self.nth(mailbox, words), flags)  # type: ignore[attr-defined]

    def delete(self, mailbox: object, words: Sequence[str]) -> None:
        mailbox.remove(self.nth(mailbox, words))  # type: ignore[attr-defined]

    def vanish(self, mailbox: object, words: Sequence[str]) -> None:
        self.nth(mailbox, words).lost = True

    def refuse(self, mailbox: object, words: Sequence[str]) -> None:
        self._account.refused_uids.add(self.nth(mailbox, words).uid)

    async def advance(self, seconds: float) -> None:
        await self.settle()
        await self._clock.advance(seconds)
        await self.settle()

    async def settle(self) -> None:
        """A socket pair in one process: a few rounds of the loop carry every octet across."""
        for _ in range(3):
            await settle()
            await asyncio.sleep(0.001)

    async def see(self, mailbox: str) -> list[str] | None:
        return None

    async def graph_log(self) -> list[str] | None:
        return None

    async def reset_graph_log(self) -> None:
        return None


_VERBS: dict[str, Callable[[FakeBackend, object, Sequence[str]], None]] = {
    "fill": FakeBackend.fill,
    "deliver": FakeBackend.deliver,
    "flags": FakeBackend.flags,
    "delete": FakeBackend.delete,
    "vanish": FakeBackend.vanish,
    "refuse": FakeBackend.refuse,
}


@asynccontextmanager
async def fake_backend(options: Options) -> AsyncIterator[FakeBackend]:
    accounts, clock = FakeAccounts(USER), VirtualClock()
    settings = ImapSettings(allow_plaintext=options.plaintext)
    server = ImapServer(accounts, settings, clock, options.limits)
    backend = FakeBackend(accounts, server, clock)
    accounts.accounts[USER].limit = min(options.limits.append, options.limits.append_landable)
    server_tls = None
    if options.tls:
        server_tls, backend.tls = certificates()
    backend.port = await server.start("127.0.0.1", 0, server_tls)
    for step in options.steps:
        await backend.outside(step)
    try:
        yield backend
    finally:
        stopping = asyncio.ensure_future(server.stop())
        while not stopping.done():
            await clock.advance(1.0)
        await stopping
