"""Polling of folders that somebody has open, or listens to: one delta per folder and interval, however many sessions.

Without a public address for Graph's notifications this is how IDLE and NOTIFY learn of new mail (contract section 13).
A few folders are asked each for itself. Beyond `FEW` (decision 6) one look at the hierarchy each interval tells whose
counts have moved, those are asked, and the others in turn: a change that moves no count is heard late, never not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from gateway.core.errors import GatewayError
from gateway.core.types import FolderId
from gateway.graph.errors import GraphError
from gateway.graph.model import Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.sync import FolderSync
from gateway.store.api import FolderRow

ELSEWHERE = "elsewhere"  # the listener that stands for the sessions of other processes
FEW = 10  # folders that are asked for themselves each interval (decision 6); beyond: so many of them in turn

log = structlog.get_logger("gateway.mailbox")


@dataclass(frozen=True, slots=True)
class Wish:
    """What one listener wants watched."""

    folders: frozenset[FolderId]
    tree: bool


class Watches:
    """The watched folders of one account. `sync`: the one sync of a folder."""

    def __init__(
        self, ctx: AccountContext, hierarchy: Hierarchy, sync: Callable[[FolderRow], FolderSync]
    ) -> None:
        self._ctx = ctx
        self._hierarchy = hierarchy
        self._sync = sync
        self._watchers: Counter[int] = Counter()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._wishes: dict[object, Wish] = {}
        self._round: asyncio.Task[None] | None = None

    # -- folders that are open --

    @contextmanager
    def watch(self, key: int, sync: FolderSync) -> Iterator[None]:
        """While inside, the folder is polled."""
        self._watchers[key] += 1
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._poll(sync))
            self._turned()
        try:
            yield
        finally:
            self._watchers[key] -= 1
            if not self._watchers[key]:
                self._tasks.pop(key).cancel()
                del self._watchers[key]
                self._turned()

    async def _poll(self, sync: FolderSync) -> None:
        if self._ctx.freshness.behind(sync.synced):
            await self._asked(sync, max_age=0.0)
        while True:
            interval = self._interval
            await self._pause(max(interval - sync.age(), interval / 10))
            if self.many or not await self._asked(sync):
                await self._pause(self._interval)

    async def _asked(self, sync: FolderSync, max_age: float | None = None) -> bool:
        """One poll; False: it failed. Another process may have the duty: it polls what we watch."""
        if not self._ctx.duty.held:
            return True
        try:
            age = self._interval * 0.9 if max_age is None else max_age
            with self._ctx.duty.bound():
                await sync.poll(max_age=age, priority=Priority.BACKGROUND)
                await sync.compare_if_due()
        except (GraphError, GatewayError) as error:
            log.info("poll failed", error=type(error).__name__)
            return False
        except Exception:
            log.exception("poll failed")
            return False
        return True

    # -- folders that are listened to --

    def listen(self, ear: object, folders: Collection[FolderId], *, tree: bool) -> None:
        """Watch these for this listener, instead of what it wanted before; with `tree`, the hierarchy, too."""
        self._wishes[ear] = Wish(frozenset(folders), tree)
        self._turned()

    def forget(self, ear: object) -> None:
        self._wishes.pop(ear, None)
        self._turned()

    # -- among several processes --

    def here(self) -> set[int]:
        """The keys of what sessions of this process watch; 0 is the tree."""
        rows = self._hierarchy.rows
        wishes = [wish for ear, wish in self._wishes.items() if ear is not ELSEWHERE]
        listened = {rows[id].key for wish in wishes for id in wish.folders if id in rows}
        return {*self._watchers, *listened, *([0] if any(wish.tree for wish in wishes) else [])}

    def elsewhere(self, folders: Collection[FolderId], *, tree: bool) -> None:
        """What sessions of other processes watch."""
        if folders or tree:
            self._wishes[ELSEWHERE] = Wish(frozenset(folders), tree)
        else:
            self._wishes.pop(ELSEWHERE, None)
        self._go_round()

    def _turned(self) -> None:
        self._go_round()
        self._ctx.duty.watching()

    @property
    def listened(self) -> frozenset[FolderId]:
        return frozenset[FolderId]().union(*(wish.folders for wish in self._wishes.values()))

    @property
    def many(self) -> bool:
        """Whether the watched folders are too many to ask each every time."""
        rows = self._hierarchy.rows
        listened = {rows[id].key for id in self.listened if id in rows}
        return len(listened | self._watchers.keys()) > FEW

    def _go_round(self) -> None:
        """The rounds go on as long as they are of use."""
        wanted = any(wish.folders or wish.tree for wish in self._wishes.values()) or self.many
        if wanted and self._round is None:
            self._round = asyncio.create_task(self._go())
        elif not wanted and self._round is not None:
            self._round.cancel()
            self._round = None

    async def _go(self) -> None:
        while True:
            untold = await self._untold()
            await self._pause(self._ctx.settings.poll_interval if untold else self._interval)
            if not self._ctx.duty.held:
                continue
            try:
                with self._ctx.duty.bound():
                    await self._one_round()
            except (GraphError, GatewayError) as error:
                log.info("round failed", error=type(error).__name__)
            except Exception:
                log.exception("round failed")

    async def _one_round(self) -> None:
        """One request tells of names and counts, where anybody needs them; then the folders that are due."""
        listened, many = self.listened, self.many
        stored = await self._stored()
        cold = any(id in stored and not stored[id].ready for id in listened)
        if many or cold or any(wish.tree for wish in self._wishes.values()):
            age = self._ctx.settings.poll_interval * 0.9
            await self._hierarchy.refresh(max_age=age, priority=Priority.BACKGROUND)
            stored = await self._stored()
        others = [row for id, row in stored.items() if id in listened and row.ready]
        opened = [row for row in stored.values() if row.key in self._watchers]
        due = self._due(opened, others) if many else [row for row in others if row.key not in self._watchers]
        for row in due:
            if row.key in self._watchers or row.id in self.listened:
                await self._asked(self._sync(row))

    async def _stored(self) -> dict[FolderId, FolderRow]:
        return {row.id: row for row in await self._ctx.store.folders(self._ctx.account)}

    def _due(self, opened: list[FolderRow], others: list[FolderRow]) -> list[FolderRow]:
        """Of many: those whose counts have moved, and in turn the rest."""
        every = {row.key: row for row in [*opened, *others]}
        moved = [key for key, row in every.items() if self._sync(row).moved(row)]
        ages = {key: self._sync(row).age() for key, row in every.items() if key not in moved}
        open_keys = {row.key for row in opened}
        return [every[key] for key in [*moved, *in_turn(ages, open_keys)]]

    @property
    def _interval(self) -> float:
        return self._ctx.freshness.interval(self._ctx.settings.poll_interval)

    async def _untold(self) -> bool:
        """Whether somebody waits for what no notification tells: the tree, or a folder's first sync."""
        if any(wish.tree for wish in self._wishes.values()):
            return True
        rows = await self._stored()
        return any(id in rows and not rows[id].ready for id in self.listened)

    async def _pause(self, seconds: float) -> None:
        await self._ctx.freshness.pause(self._ctx.clock, seconds)

    # -- what notifications are for --

    async def watched(self) -> list[FolderRow]:
        """The folders that are open or listened to, as far as their first sync is done."""
        listened = self.listened
        rows = await self._ctx.store.folders(self._ctx.account)
        return [row for row in rows if row.ready and (row.key in self._watchers or row.id in listened)]

    def sync_of(self, row: FolderRow) -> FolderSync:
        return self._sync(row)

    async def close(self) -> None:
        tasks = [*self._tasks.values(), *([self._round] if self._round is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def in_turn(ages: Mapping[int, float], opened: Collection[int], slots: int = FEW) -> list[int]:
    """The `slots` folders to ask next, by age: open ones first, yet never all slots while others wait."""
    oldest = sorted(ages, key=lambda key: -ages[key])
    first = [key for key in oldest if key in opened]
    others = [key for key in oldest if key not in opened]
    taken = first[: slots - min(len(others), slots // 5)]
    return taken + others[: slots - len(taken)]
