"""The one subscription over days: renewed long before its end, made anew where it is gone, and never believed to live
longer than it does."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from fakes import VirtualClock, settle

from gateway.core.types import AccountId
from gateway.graph.errors import Denied, GraphError, NotFound, Unreachable
from gateway.graph.subscriptions import Subscription
from gateway.mailbox.context import Holds
from gateway.mailbox.duty import Always
from gateway.mailbox.freshness import Freshness
from gateway.mailbox.notices import Board, Inbox
from gateway.mailbox.subscription import LIFE, RETRY_MOST, Addresses, Keeper
from gateway.store.api import JournalRow

DAY = 86_400.0
ADDRESSES = Addresses("https://gw.example/graph/notices", "https://gw.example/graph/lifecycle")


class Journal:
    """The store's journal, in memory."""

    def __init__(self) -> None:
        self.rows: dict[int, JournalRow] = {}
        self._last = 0

    async def journal(self, account: AccountId) -> list[JournalRow]:
        return list(self.rows.values())

    async def journal_add(self, account: AccountId, kind: str, payload: bytes, into: int = 0) -> int:
        self._last += 1
        self.rows[self._last] = JournalRow(self._last, account, kind, payload, 0)
        return self._last

    async def journal_update(self, id: int, payload: bytes) -> None:
        self.rows[id] = replace(self.rows[id], payload=payload)

    async def journal_done(self, id: int) -> None:
        self.rows.pop(id, None)


@dataclass
class Graph:
    """Subscriptions, and what was asked when. `errors` are raised first, one a call."""

    clock: VirtualClock
    alive: dict[str, float] = field(default_factory=dict)  # until when, by id
    asked: list[tuple[str, float]] = field(default_factory=list)
    errors: list[GraphError] = field(default_factory=list)
    down: bool = False

    async def subscribe(self, url: str, lifecycle_url: str, secret: str, until: str) -> Subscription:
        self._ask("subscribe")
        name = f"s{len(self.asked)}"
        return self._until(name, until)

    async def renew_subscription(self, id: str, until: str) -> Subscription:
        self._ask("renew")
        if self.alive.get(id, 0.0) <= self.clock.time():
            raise NotFound("", status=404)
        return self._until(id, until)

    async def unsubscribe(self, id: str) -> None:
        self._ask("unsubscribe")
        self.alive.pop(id, None)

    def _ask(self, what: str) -> None:
        self.asked.append((what, self.clock.time()))
        if self.down:
            raise Unreachable("")
        if self.errors:
            raise self.errors.pop(0)

    def _until(self, name: str, until: str) -> Subscription:
        self.alive[name] = datetime.fromisoformat(until).timestamp()
        return Subscription(id=name, expiration_date_time=until)

    @property
    def kinds(self) -> list[str]:
        return [what for what, _ in self.asked]


@dataclass
class Watch:
    clock: VirtualClock
    graph: Graph
    freshness: Freshness
    board: Board
    inbox: Inbox
    keeper: Keeper
    store: Journal

    @property
    def trusted(self) -> bool:
        return self.freshness.since is not None


@asynccontextmanager
async def keeping(store: Journal | None = None, graph: Graph | None = None) -> AsyncIterator[Watch]:
    clock = graph.clock if graph is not None else VirtualClock(1_700_000_000.0)
    graph, store = graph or Graph(clock), store or Journal()
    ctx: Any = SimpleNamespace(
        account=AccountId("a"), graph=graph, store=store, clock=clock, rng=random.Random(1), duty=Always(),
        freshness=Freshness(), working=set(), holds=Holds(),
    )  # fmt: skip
    board, inbox = Board(), Inbox()
    keeper = Keeper(ctx, ADDRESSES, board, inbox)
    task = asyncio.create_task(keeper.run())
    await settle()
    try:
        yield Watch(clock, graph, ctx.freshness, board, inbox, keeper, store)
    finally:
        keeper.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_is_renewed_long_before_its_end_for_ever() -> None:
    async with keeping() as w:
        await w.clock.advance(30 * DAY)
        times = [at for what, at in w.graph.asked]
        assert w.graph.kinds[0] == "subscribe" and set(w.graph.kinds[1:]) == {"renew"}
        steps = [after - before for before, after in itertools.pairwise(times)]
        assert min(steps) > LIFE * 0.35 and max(steps) < LIFE * 0.55
        assert w.trusted and len(w.store.rows) == 1


async def test_expired_behind_our_back_it_is_made_anew_and_everything_is_looked_at() -> None:
    async with keeping() as w:
        w.inbox.take()
        w.graph.alive.clear()
        w.keeper.event("reauthorizationRequired")
        await settle()
        assert w.graph.kinds == ["subscribe", "renew", "subscribe"]
        assert w.trusted and w.inbox.missed and len(w.store.rows) == 1


async def test_while_it_cannot_be_renewed_it_is_trusted_to_its_end_and_not_longer() -> None:
    async with keeping() as w:
        w.graph.down = True
        (end,) = w.graph.alive.values()
        await w.clock.advance(end - w.clock.time() - 120.0)
        assert w.trusted
        await w.clock.advance(125.0)
        assert not w.trusted  # folders are polled again, though the next try is an hour away
        w.graph.down = False
        await w.clock.advance(RETRY_MOST)
        assert w.trusted and w.inbox.missed


async def test_where_it_is_denied_graph_is_not_asked_again_and_again() -> None:
    clock = VirtualClock(1_700_000_000.0)
    graph = Graph(clock, errors=[Denied("", status=403) for _ in range(50)])
    async with keeping(graph=graph) as w:
        await w.clock.advance(DAY)
        assert 20 <= len(w.graph.asked) <= 50 and not w.trusted and w.store.rows == {}


async def test_the_next_process_goes_on_with_it_and_one_that_expired_meanwhile_is_made_anew() -> None:
    async with keeping() as first:
        pass
    async with keeping(first.store, first.graph) as second:
        assert first.graph.kinds == ["subscribe", "renew"] and second.trusted
    await first.clock.advance(LIFE)
    async with keeping(first.store, first.graph) as third:
        assert first.graph.kinds == ["subscribe", "renew", "renew", "subscribe"]
        assert third.trusted and len(third.store.rows) == 1
