"""The post of an account: whether this process, of several, does its background work (decision: adr/0050)."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from gateway.core.types import AccountId
from gateway.mailbox.duty import Neighbour
from gateway.store.nodes import Lease, bound

NONE = Lease(0, 0)  # which nobody has: nothing is written under it


class Office(Protocol):
    """The process's side of it: `cluster.Cluster`."""

    @property
    def alive(self) -> bool:
        """Whether nobody can have declared this process dead."""
        ...

    def alone(self, name: str) -> AbstractAsyncContextManager[None]: ...
    async def busy(self, name: str) -> bool: ...
    def publish(self, account: AccountId) -> None: ...
    async def enter(self, post: Post, neighbour: Neighbour) -> None: ...
    def forget(self, post: Post) -> None: ...


class Post:
    """Implements `duty.Duty`: the background work of one account."""

    def __init__(self, office: Office, account: AccountId) -> None:
        self._office = office
        self._turned = asyncio.Event()
        self.account = account
        self.lease: Lease | None = None
        self.neighbour: Neighbour | None = None
        self.key = 0
        self.heard = 0  # the last piece of news
        self.begun = False  # whether changes of its folders are counted
        self.published: frozenset[int] = frozenset()

    @property
    def held(self) -> bool:
        return self.lease is not None and self._office.alive

    def bound(self) -> AbstractContextManager[None]:
        return bound(self.lease or NONE)

    async def taken(self) -> None:
        while self.lease is None:
            await self._turned.wait()

    async def lost(self) -> bool:
        lease = self.lease
        while lease is not None and self.lease == lease:
            await self._turned.wait()
        return True

    def turn(self, lease: Lease | None) -> None:
        if lease != self.lease:
            self.lease = lease
            turned, self._turned = self._turned, asyncio.Event()
            turned.set()

    def alone(self, name: str) -> AbstractAsyncContextManager[None]:
        return self._office.alone(name)

    async def busy(self, name: str) -> bool:
        return await self._office.busy(name)

    def watching(self) -> None:
        self._office.publish(self.account)

    async def enter(self, neighbour: Neighbour) -> None:
        await self._office.enter(self, neighbour)

    def leave(self) -> None:
        self._office.forget(self)
