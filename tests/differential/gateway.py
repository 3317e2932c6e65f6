"""The gateway whole, IMAP server to emulator, on a thread of its own: what stands on the other side."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gateway.core.errors import AuthenticationFailed
from gateway.core.limits import DEFAULT_LIMITS, MIB
from gateway.core.types import AccountId
from gateway.emulator.serve import EmulatorOptions, RunningEmulator, start
from gateway.graph.client import GraphClient
from gateway.graph.mail import GraphMailbox
from gateway.graph.token import MsalTokens, SignIn, app_scopes
from gateway.imap.context import ImapSettings
from gateway.imap.server import ImapServer
from gateway.mailbox.account import MailboxAccount
from gateway.mailbox.accounts import Directory
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.cache import BodyCache
from gateway.mailbox.clock import SystemClock
from gateway.mailbox.context import AccountContext, Settings
from gateway.mailbox.hub import Hubs
from gateway.mailbox.spool import SpoolBudget
from gateway.store.sqlite import SqliteStore

T = TypeVar("T")
KEY = bytes(range(32))
LAGS = ("delta_lag_seconds", "counts_lag_seconds", "conflict_seconds", "fresh_404_seconds")
PASSWORD = "demo"


class Passwords:
    """Every user of the emulator has the one password; argon2 takes its time on purpose."""

    scram = False

    async def check(self, user: str, password: str) -> str:
        if password != PASSWORD:
            raise AuthenticationFailed("Wrong user name or password")
        return user

    def close(self) -> None:
        return None


class Gateway:
    """Port and users of a running gateway. Its methods are called from other threads."""

    def __init__(self, folder: Path) -> None:
        self.port = 0
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gateway", daemon=True)
        self._thread.start()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    # -- life --

    def up(self) -> None:
        self._run(self._up())

    async def _up(self) -> None:
        self._emulator = await start(EmulatorOptions(port=0, http=True, messages=0, users=1))
        self._emulator.world.limits.update(dict.fromkeys(LAGS, 0.0))
        # Dovecot's messages do not change when a keyword is set: nor shall these (contract: a category is a header).
        self._emulator.world.rules.set("value-regenerated", False)
        self._client = GraphClient(f"{self._emulator.base_url}/v1.0", _tokens(self._emulator))
        self._store = SqliteStore(self._folder / "gateway.db", key=KEY, clock=time.time)
        await self._store.open()
        self._limits = replace(DEFAULT_LIMITS, login_delay=0.0)
        self._hubs = Hubs(self._store, change_log=self._limits.change_log)
        self._directory = Directory(Passwords(), self._account)  # type: ignore[arg-type]
        settings = ImapSettings(allow_plaintext=True, grace=0.5)
        self._server = ImapServer(self._directory, settings, SystemClock(), self._limits)
        self.port = await self._server.start("127.0.0.1", 0)

    def _account(self, name: str) -> MailboxAccount:
        ctx = AccountContext(
            account=AccountId(name), graph=GraphMailbox(self._client, name), store=self._store, hubs=self._hubs,
            settings=Settings(poll_interval=3600.0), limits=self._limits, clock=SystemClock(), rng=random.Random(1),
        )  # fmt: skip
        cache = BodyCache(memory=64 * MIB, spool_above=self._limits.body_spool, folder=None, disk=0, key=KEY)
        return MailboxAccount(ctx, self._hubs, Bodies(ctx, cache), SpoolBudget(self._limits.spool_in_flight))

    def down(self) -> None:
        self._run(self._down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _down(self) -> None:
        await self._server.stop()
        await self._directory.close()
        await self._client.aclose()
        await self._store.close()
        await self._emulator.stop()

    # -- what is in it --

    def add_user(self, user: str) -> None:
        self._run(self._add_user(user))

    async def _add_user(self, user: str) -> None:
        self._emulator.tenant.add_user(user)

    def fill(self, user: str, folder: str, messages: list[tuple[bytes, int]]) -> None:
        """Messages (octets, received) into a mailbox, which is made if it is not there."""
        self._run(self._fill(user, folder, messages))

    async def _fill(self, user: str, folder: str, messages: list[tuple[bytes, int]]) -> None:
        tenant = self._emulator.tenant
        where = "inbox" if folder == "INBOX" else tenant.outlook_folder(user, "msgfolderroot", folder)
        for octets, received in messages:
            tenant.deliver(user, where, octets, received=received)


def _tokens(emulator: RunningEmulator) -> MsalTokens:
    return MsalTokens(
        SignIn(
            authority=emulator.authority, client_id="demo-gateway", credential="demo-secret",
            scopes=tuple(app_scopes(f"{emulator.base_url}/v1.0")), ca_file=emulator.ca_file,
        )
    )  # fmt: skip


@contextlib.contextmanager
def gateway() -> Iterator[Gateway]:
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        made = Gateway(Path(folder))
        made.up()
        try:
            yield made
        finally:
            made.down()
