"""Which store the configuration asks for; and, on PostgreSQL, this process's place among those that share it."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Protocol

from gateway.config import Config, StoreSection
from gateway.core.errors import Unavailable
from gateway.core.limits import MIB, Limits
from gateway.core.types import AccountId
from gateway.graph.throttle import Scheduler
from gateway.mailbox.building import BUILDING
from gateway.mailbox.cluster import Cluster
from gateway.mailbox.context import Clock
from gateway.mailbox.context import Hubs as Door
from gateway.mailbox.duty import Always, Duty
from gateway.mailbox.hub import Hubs
from gateway.mailbox.shares import Shares
from gateway.mailbox.subscription import SUBSCRIBED
from gateway.mailbox.work import settled
from gateway.store.errors import StoreError
from gateway.store.jobs import JobStore
from gateway.store.sqlite import SqliteStore

KEPT = (BUILDING, SUBSCRIBED)  # rows of the journal that are no work, but what must not be forgotten


class OpenError(Exception):
    """One line: why the store cannot be used. It never names the URL: a password may be in it."""


class Place(Protocol):
    """This process among those that share the store."""

    async def join(self, hubs: Hubs, limits: Limits, adopt: Callable[[AccountId], Awaitable[Any]]) -> None:
        """Be one of them. OpenError."""
        ...

    async def close(self) -> None: ...
    def door(self, hubs: Hubs) -> Door:
        """What the accounts tell of changes."""
        ...

    def duty(self, account: AccountId) -> Duty: ...
    def share(self, mailbox: str, scheduler: Scheduler) -> None: ...
    def troubles(self) -> list[str]:
        """Why it cannot serve now."""
        ...

    def figures(self) -> dict[str, float]:
        """For the metrics: none where there are no others."""
        ...


class Alone:
    """Implements `Place` for a store that nobody else uses."""

    async def join(self, hubs: Hubs, limits: Limits, adopt: Callable[[AccountId], Awaitable[Any]]) -> None:
        return

    async def close(self) -> None:
        return

    def door(self, hubs: Hubs) -> Door:
        return hubs

    def duty(self, account: AccountId) -> Duty:
        return Always()

    def share(self, mailbox: str, scheduler: Scheduler) -> None:
        return

    def troubles(self) -> list[str]:
        return []

    def figures(self) -> dict[str, float]:
        return {}


class Among:
    """Implements `Place` on PostgreSQL."""

    def __init__(self, store: Any, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._cluster: Cluster
        self._shares: Shares

    async def join(self, hubs: Hubs, limits: Limits, adopt: Callable[[AccountId], Awaitable[Any]]) -> None:
        store, beat = self._store, self._store.beat
        self._shares = Shares(store.nodes, lambda: beat.node, lambda: beat.alive, self._clock, limits)
        self._cluster = Cluster(
            store, store.nodes, beat, hubs, self._shares, self._clock, settled=settled, adopt=adopt, kept=KEPT
        )
        try:
            await beat.join(self._cluster)
        except Unavailable as error:
            raise OpenError(str(error)) from error
        self._cluster.start()

    async def close(self) -> None:
        await self._cluster.close()

    def door(self, hubs: Hubs) -> Door:
        return self._cluster.reporting()

    def duty(self, account: AccountId) -> Duty:
        return self._cluster.post(account)

    def share(self, mailbox: str, scheduler: Scheduler) -> None:
        self._shares.attach(mailbox, scheduler)

    def troubles(self) -> list[str]:
        return [] if self._store.beat.alive else ["not among the living gateways on the database"]

    def figures(self) -> dict[str, float]:
        cluster, beat = self._cluster, self._store.beat
        return {
            "members": beat.members, "posts": cluster.posts, "slots": self._shares.slots(), "hints": cluster.hints,
            "missed": cluster.missed, "deaths": beat.deaths, "reconnects": beat.reconnects,
        }  # fmt: skip


async def open_store(config: Config, key: bytes, clock: Clock) -> tuple[JobStore, Place]:
    """Open, but not joined. OpenError, or StoreError of a state folder."""
    text_octets = config.search.text_mib * MIB
    if config.store.url is not None:
        return await _postgres(config.store, key, clock, text_octets)
    store = SqliteStore(config.state.dir / "gateway.db", key=key, clock=clock.time, text_octets=text_octets)
    await store.open()
    return store, Alone()


async def _postgres(
    section: StoreSection, key: bytes, clock: Clock, text_octets: int
) -> tuple[JobStore, Place]:
    assert section.url is not None
    try:
        from gateway.store.postgres import PostgresStore  # asyncpg is an extra
    except ImportError as error:
        raise OpenError("needs asyncpg: pip install 'graph-mail-gateway[postgres]'") from error
    store = PostgresStore(
        section.url.get_secret_value(), key=key, clock=clock.time, text_octets=text_octets,
        readers=section.connections // 2, writers=section.connections - section.connections // 2,
        name=section.node or f"{socket.gethostname()}/{os.getpid()}", lease=section.lease,
    )  # fmt: skip
    try:
        await store.open()
    except (StoreError, Unavailable) as error:
        await store.close()
        raise OpenError(str(error)) from error
    return store, Among(store, clock)


async def living(section: StoreSection) -> list[dict[str, Any]]:
    """The gateways on this database, as `store.pgliving` has them. OpenError."""
    if section.url is None:
        raise OpenError("a store in a file has one gateway: set store.url")
    try:
        from gateway.store import pgliving  # asyncpg is an extra
    except ImportError as error:
        raise OpenError("needs asyncpg: pip install 'graph-mail-gateway[postgres]'") from error
    try:
        found = await pgliving.living(section.url.get_secret_value())
    except Unavailable as error:
        raise OpenError(str(error)) from error
    return [asdict(each) for each in found]
