"""What a transcript is played against: a running IMAP server over some mailbox, and hands to reach behind.

`BACKENDS` maps a name to an async context manager; the environment's GOLDEN_BACKEND chooses. One over the
emulator answers `graph_log` with the requests since `reset_graph_log`, as the `G:` lane writes them
(`POST /$batch PATCH*2`); one without Graph answers None and the lane is not looked at.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

import trustme
from fakes import FakeAccount, FakeAccounts, FakeMessage, VirtualClock, settle
from golden.messages import NAMED, received, standard

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.core.types import Flags
from gateway.imap.context import ImapSettings
from gateway.imap.server import ImapServer

USER, PASSWORD = "alice@example.com", "demo"


@dataclass(slots=True)
class Options:
    """What a transcript's `fixture` lines ask for. `steps`: things to do before the first line."""

    limits: Limits = DEFAULT_LIMITS
    plaintext: bool = True
    tls: bool = False
    start: str = (
        "select"  # greeting, connected, login, select, examine: where a connection's first line finds it
    )
    steps: list[list[str]] = field(default_factory=list)

    @classmethod
    def of(cls, lines: Sequence[str]) -> Options:
        options = cls()
        for line in lines:
            word, *rest = line.split()
            _FIXTURES[word](options, rest)
        return options


def _limits(options: Options, words: list[str]) -> None:
    pairs = (word.split("=") for word in words)
    options.limits = replace(options.limits, **{name: type(getattr(DEFAULT_LIMITS, name))(value)
                                                for name, value in pairs})  # fmt: skip


def _set(name: str, value: object) -> Callable[[Options, list[str]], None]:
    return lambda options, words: setattr(options, name, value)


_FIXTURES: dict[str, Callable[[Options, list[str]], None]] = {
    "limits": _limits,
    "no-plaintext": _set("plaintext", False),
    "tls": _set("tls", True),
    "start": lambda options, words: setattr(options, "start", words[0]),
    # `inbox 3`: three standard messages; everything else is a step of the O: lane
    "inbox": lambda options, words: options.steps.append(["fill", "INBOX", *words]),
    "fill": lambda options, words: options.steps.append(["fill", *words]),
    "deliver": lambda options, words: options.steps.append(["deliver", *words]),
    "create": lambda options, words: options.steps.append(["create", *words]),
    "flags": lambda options, words: options.steps.append(["flags", *words]),
    "unsubscribe": lambda options, words: options.steps.append(["unsubscribe", *words]),
}


class Backend(Protocol):
    """A running server and what stands behind it."""

    port: int
    tls: ssl.SSLContext | None  # a client's, which trusts the server

    async def outside(self, words: Sequence[str]) -> None:
        """Do what another program does to the mailbox (the O: lane):

        fill MAILBOX n               n standard messages
        deliver MAILBOX [name]       the next standard message, or a named one
        create MAILBOX
        unsubscribe MAILBOX
        flags MAILBOX n [flag ...]   message n (from 1) has these flags now
        delete MAILBOX n             message n is gone, and the gateway has been told
        vanish MAILBOX n             message n is gone, and the gateway does not know
        refuse MAILBOX n             changes of message n will be refused
        down, up                     the backend does not answer, or does again
        """
        ...

    async def advance(self, seconds: float) -> None:
        """Move the clock."""
        ...

    async def settle(self) -> None:
        """Let the server finish what it can do now."""
        ...

    def graph_log(self) -> list[str] | None: ...
    def reset_graph_log(self) -> None: ...


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

    def graph_log(self) -> list[str] | None:
        return None

    def reset_graph_log(self) -> None:
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
async def fake_backend(options: Options) -> AsyncIterator[Backend]:
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


def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server on localhost, and for a client that trusts it."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.ECDSA).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


BackendFactory = Callable[[Options], AbstractAsyncContextManager[Backend]]
BACKENDS: dict[str, BackendFactory] = {"fake": fake_backend}


def chosen() -> BackendFactory:
    return BACKENDS[os.environ.get("GOLDEN_BACKEND", "fake")]
