"""The one subscription of an account at Graph: made, kept alive, made anew, and remembered across restarts.

It is for the whole mailbox: one to renew, and a SELECT costs nothing more (decision: adr/0036). Its id and secret are
kept in the journal, sealed, before and after it is made.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import structlog

from gateway.core.errors import Unavailable
from gateway.graph.errors import Denied, GraphError, NotFound
from gateway.graph.subscriptions import Subscription
from gateway.mailbox import work
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import epoch
from gateway.mailbox.notices import Board, Inbox
from gateway.store.api import JournalRow

SUBSCRIBED = "subscribed"  # kind of the journal row
LIFE = 4200 * 60.0  # seconds: below what every edition of the documentation allows
FOLLOW = 30.0  # seconds between looks at what another process keeps
LEAST_LIFE = 60.0  # seconds before the end that it is not relied on any more
RETRY, RETRY_MOST = 30.0, 3600.0  # seconds after a failure, doubled each time

log = structlog.get_logger("gateway.mailbox")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where Graph posts to (https)."""

    notices: str
    lifecycle: str


class Kept(msgspec.Struct):
    """The journal's payload. `id` is "" until Graph has answered."""

    secret: str
    url: str
    id: str = ""
    expires: float = 0.0  # seconds since 1970


class Keeper:
    """Runs in a task of its own. `ctx.freshness` says whether what it keeps is alive."""

    def __init__(self, ctx: AccountContext, addresses: Addresses, board: Board, inbox: Inbox) -> None:
        self._ctx = ctx
        self._addresses = addresses
        self._board = board
        self._inbox = inbox
        self._row = 0
        self._kept: Kept | None = None
        self._wake = asyncio.Event()

    def event(self, name: str) -> None:
        """A lifecycle event; both are answered by a renewal, which finds out what there is."""
        log.info("subscription event", kind=name)
        self._wake.set()

    def trust(self) -> None:
        """Notifications come, after none did for a while."""
        if self._alive:
            self._ctx.freshness.begin(self._ctx.clock.monotonic())

    async def run(self) -> None:
        while True:
            await self._follow()
            await self._lead()

    async def _follow(self) -> None:
        """While another process keeps the subscription: notifications may come here as well as there."""
        while not self._ctx.duty.held:
            try:
                self._look(await self._ctx.store.journal(self._ctx.account))
            except Unavailable:
                self._ctx.freshness.end()
            with suppress(TimeoutError):
                async with asyncio.timeout(FOLLOW):
                    await self._ctx.duty.taken()

    def _look(self, rows: Sequence[JournalRow]) -> None:
        found = [_read(row.payload) for row in rows if row.kind == SUBSCRIBED]
        now = self._ctx.clock.time()
        alive = [kept for kept in found if kept is not None and kept.id and kept.expires - LEAST_LIFE > now]
        if self._kept is not None and self._kept not in alive:
            self._board.disconnect(self._kept.id)
            self._kept = None
        if not alive:
            self._ctx.freshness.end()
        elif self._kept is None:
            self._kept = alive[0]
            self._hear(self._kept)

    async def _lead(self) -> None:
        pause, self._row, self._kept = RETRY, 0, None
        await self._recall()
        while self._ctx.duty.held:
            try:
                with self._ctx.duty.bound():
                    await self._renew_or_make()
            except Unavailable:  # of the store, or the duty is another's by now
                await self._wait(RETRY)
            except GraphError as error:
                pause = RETRY_MOST if isinstance(error, Denied) else pause
                log.warning("no notifications", error=type(error).__name__, code=error.code, retry=pause)
                self._check_alive()
                await self._wait(min(pause * (0.5 + self._ctx.rng.random() / 2), self._until_end()))
                pause = min(pause * 2, RETRY_MOST)
            else:
                pause = RETRY
                await self._wait(self._until_renewal())

    def close(self) -> None:
        """The subscription stays: the next start goes on with it."""
        if self._kept is not None:
            self._board.disconnect(self._kept.id)
        self._ctx.freshness.end()

    async def _wait(self, seconds: float) -> None:
        sleeping = asyncio.ensure_future(self._ctx.clock.sleep(seconds))
        woken = asyncio.ensure_future(self._wake.wait())
        lost = asyncio.ensure_future(self._lost())
        waiting = (sleeping, woken, lost)
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in waiting:
                future.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        self._wake.clear()

    async def _lost(self) -> None:
        """Returns when another process has the duty."""
        if not await self._ctx.duty.lost():
            await asyncio.Event().wait()

    def _until_renewal(self) -> float:
        """About half of what is left, so that not all mailboxes are renewed at once, nor any of them late."""
        assert self._kept is not None
        left = self._kept.expires - self._ctx.clock.time()
        return max(left / 2 * (0.8 + 0.2 * self._ctx.rng.random()), LEAST_LIFE)

    @property
    def _alive(self) -> bool:
        return self._kept is not None and self._kept.expires - LEAST_LIFE >= self._ctx.clock.time()

    def _until_end(self) -> float:
        """Seconds in which what there is can be relied on; where there is nothing, no reason to look sooner."""
        if self._kept is None or not self._alive:
            return RETRY_MOST
        return self._kept.expires - LEAST_LIFE - self._ctx.clock.time() + 1.0

    def _check_alive(self) -> None:
        if not self._alive:
            self._ctx.freshness.end()

    # -- at Graph --

    async def _renew_or_make(self) -> None:
        if self._kept is not None and self._kept.id:
            try:
                self._took(await self._ctx.graph.renew_subscription(self._kept.id, self._until()))
                await work.update(self._ctx, self._row, self._kept)
                return
            except NotFound:
                await self._forget()
        await self._make()

    async def _make(self) -> None:
        kept = Kept(secrets.token_urlsafe(32), self._addresses.notices)
        row = await work.begin(self._ctx, SUBSCRIBED, kept)
        try:
            made = await self._ctx.graph.subscribe(
                self._addresses.notices, self._addresses.lifecycle, kept.secret, self._until()
            )
        except GraphError:
            await work.done(self._ctx, row)
            raise
        self._row, self._kept = row, kept
        kept.id = made.id
        self._took(made)
        await work.update(self._ctx, row, kept)

    def _took(self, told: Subscription) -> None:
        """It lives. What happened before it did, or while nobody listened, has to be looked for."""
        assert self._kept is not None
        self._kept.expires = float(epoch(told.expiration_date_time) or self._ctx.clock.time() + LIFE)
        self._hear(self._kept)

    def _hear(self, kept: Kept) -> None:
        self._board.connect(kept.id, kept.secret, self._inbox)
        if self._ctx.freshness.since is None:
            self._ctx.freshness.begin(self._ctx.clock.monotonic())
            self._inbox.look_everywhere()

    def _until(self) -> str:
        return datetime.fromtimestamp(self._ctx.clock.time() + LIFE, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def _forget(self) -> None:
        """It is no more: until there is another, folders are polled."""
        assert self._kept is not None
        self._board.disconnect(self._kept.id)
        self._ctx.freshness.end()
        await work.done(self._ctx, self._row)
        self._row, self._kept = 0, None

    # -- across restarts --

    async def _recall(self) -> None:
        """The subscription of the process before us; whatever else the journal has of the kind is of no use."""
        for row in await self._ctx.store.journal(self._ctx.account):
            if row.kind != SUBSCRIBED:
                continue
            kept = _read(row.payload)
            if kept is not None and kept.id and kept.url == self._addresses.notices and self._kept is None:
                self._row, self._kept = row.id, kept
            else:
                await self._dismiss(kept)
                await self._ctx.store.journal_done(row.id)

    async def _dismiss(self, kept: Kept | None) -> None:
        """Posts to an address that is ours no more; if Graph does not hear that now, it expires by itself."""
        if kept is not None and kept.id:
            try:
                await self._ctx.graph.unsubscribe(kept.id)
            except GraphError as error:
                log.info("subscription left to expire", error=type(error).__name__)


def _read(payload: bytes) -> Kept | None:
    try:
        return msgspec.json.decode(payload, type=Kept)
    except msgspec.MsgspecError:
        return None
