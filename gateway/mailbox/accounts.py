"""Who may log in, and the mailbox behind each: one `MailboxAccount` per user and process, opened when first needed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable

from gateway.graph.throttle import caller
from gateway.mailbox.account import MailboxAccount
from gateway.mailbox.credentials import Credentials
from gateway.wire.sasl import user_name
from gateway.wire.scram import Verifier

OpenAccount = Callable[[str], MailboxAccount]


class Directory:
    """Implements `api.Accounts`. `make` builds the account of a configured user; it does no I/O."""

    def __init__(self, credentials: Credentials, make: OpenAccount) -> None:
        self._credentials = credentials
        self._make = make
        self._sessions = itertools.count(1)
        self._accounts: dict[str, asyncio.Task[MailboxAccount]] = {}

    async def authenticate(self, user: str, password: str, peer: str) -> MailboxAccount:
        return await self._admit(await self._credentials.check(user, password))

    @property
    def scram(self) -> bool:
        return self._credentials.scram

    def verifier(self, user: str) -> Verifier:
        return self._credentials.verifier(user)

    async def admit(self, user: str, peer: str) -> MailboxAccount:
        return await self._admit(user_name(user))

    async def _admit(self, name: str) -> MailboxAccount:
        # Who logs in is one caller to the mailbox's scheduler, whatever he asks for from now on in this task.
        caller.set(f"session {next(self._sessions)}")
        return await self.account(name)

    async def account(self, name: str) -> MailboxAccount:
        """The account of a user already known to be himself. A failed start is tried again by the next login."""
        task = self._accounts.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._accounts[name] = asyncio.create_task(self._started(name))
        return await asyncio.shield(task)

    async def _started(self, name: str) -> MailboxAccount:
        account = self._make(name)
        await account.start()
        return account

    def opened(self) -> Iterable[MailboxAccount]:
        """Accounts that are up."""
        done = [task for task in self._accounts.values() if task.done() and not task.cancelled()]
        return [task.result() for task in done if task.exception() is None]

    async def close(self) -> None:
        for task in self._accounts.values():
            task.cancel()
        await asyncio.gather(*self._accounts.values(), return_exceptions=True)
        for account in self.opened():
            await account.close()
        self._credentials.close()
