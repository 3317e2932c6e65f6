"""From a notification to the sessions: which watched folders it is about, and one delta for each of them, at once.

A notification names a message, not its folder, and may be old, late, doubled or about our own write. What the store
has with that etag is known: no request. What a watched folder has is asked for there. Of the others Graph is asked
where they are, if that can be more than one place. Delta may lag behind the notification (contract section 12): what
it does not show yet is asked for again, a few times, with growing pauses; then the slow poll is left with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from gateway.core.errors import GatewayError
from gateway.core.types import FolderId, MessageId
from gateway.graph.errors import GraphError, NotFound
from gateway.graph.model import Message, Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.deafness import Deafness
from gateway.mailbox.notices import Board, Inbox, Poke
from gateway.mailbox.subscription import Addresses, Keeper
from gateway.mailbox.watch import Watches
from gateway.store.api import FolderRow, MessageRow

AGAIN = (0.4, 1.5, 5.0, 15.0)  # seconds until what delta did not show is asked for again
GATHER = (
    0.1  # seconds in which notifications become one round, and the answers to our own writes are taken in
)
FAILED = 10.0  # seconds, after Graph failed
LOOKED_UP = 20  # messages that Graph is asked for one by one; beyond, every watched folder is asked

log = structlog.get_logger("gateway.mailbox")
Known = dict[int, dict[MessageId, MessageRow]]  # by folder


@dataclass(slots=True)
class Plan:
    """The folders to be asked, and for which messages."""

    due: dict[int, set[str]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    unseen: set[str] = field(default_factory=set)  # announced, but Graph did not show them yet (trap 42)

    def add(self, folder: int, message: str) -> None:
        self.due.setdefault(folder, set()).add(message)


@dataclass(frozen=True, slots=True)
class Hook:
    """Where Graph reaches this process, and where what it says arrives."""

    addresses: Addresses
    board: Board


class Push:
    """The notifications of one account: `Keeper` has them sent, this acts on them."""

    def __init__(self, ctx: AccountContext, watches: Watches, addresses: Addresses, board: Board) -> None:
        self._ctx = ctx
        self._watches = watches
        self._inbox = Inbox()
        self._keeper = Keeper(ctx, addresses, board, self._inbox)
        self._deafness = Deafness(ctx, watches, self._inbox)
        self._tasks: list[asyncio.Task[None]] = []
        self._retry: asyncio.Task[None] | None = None
        self._left: dict[str, Poke] = {}
        ctx.freshness.expect()

    def start(self) -> None:
        runs = (self._keeper.run(), self._listen(), self._deafness.run())
        self._tasks = [asyncio.create_task(run) for run in runs]

    async def close(self) -> None:
        self._keeper.close()
        tasks = [*self._tasks, *([self._retry] if self._retry is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            await self._inbox.wake.wait()
            await self._ctx.clock.sleep(GATHER)
            pokes, missed = self._inbox.take()
            if pokes and self._deafness.hears():
                self._keeper.trust()
                missed = True
            while self._inbox.events:
                self._keeper.event(self._inbox.events.pop())
            again, self._left = self._left, {}
            for message, poke in again.items():
                merge(pokes, message, poke)
            await self._act(pokes, missed)

    async def _act(self, pokes: dict[str, Poke], missed: bool) -> None:
        """Never ends the task: what cannot be done now is done later."""
        try:
            if missed:
                await self._ask({row.key for row in await self._watches.watched()})
            left = await self._settle(pokes)
        except (GraphError, GatewayError) as error:
            log.info("notification waits", error=type(error).__name__)
            self._later(pokes, FAILED, missed=missed)
        except Exception:
            log.exception("notification failed")
        else:
            for poke in left.values():
                poke.tries += 1
            waiting = {key: poke for key, poke in left.items() if poke.tries <= len(AGAIN)}
            if waiting:
                self._later(waiting, AGAIN[max(poke.tries for poke in waiting.values()) - 1])

    def _later(self, pokes: Mapping[str, Poke], seconds: float, *, missed: bool = False) -> None:
        """Once more, together with what comes meanwhile."""

        async def again() -> None:
            await self._ctx.clock.sleep(seconds)
            if missed:
                self._inbox.look_everywhere()
            self._inbox.wake.set()

        for message, poke in pokes.items():
            merge(self._left, message, poke)
        if self._retry is None or self._retry.done():
            self._retry = asyncio.create_task(again())

    # -- one round --

    async def _settle(self, pokes: dict[str, Poke]) -> dict[str, Poke]:
        """Ask what has to be asked; what has not shown is returned."""
        if not pokes:
            return {}
        watched = await self._watches.watched()
        before = await self._known(watched, pokes)
        plan = planned(before, pokes)
        await self._place(plan, watched, pokes)
        await self._ask(set(plan.due))
        after = await self._known([row for row in watched if row.key in plan.due], pokes)
        left = {
            message: pokes[message]
            for folder, messages in plan.due.items()
            for message in messages
            if not shown(
                pokes[message], before[folder].get(MessageId(message)), after[folder].get(MessageId(message))
            )
        }
        left |= {message: pokes[message] for message in plan.unseen}
        lost = {message for message in left if not any(MessageId(message) in rows for rows in after.values())}
        await self._drop_strangers({key for key in lost if not left[key].deleted}, watched, left)
        return left

    async def _known(self, watched: list[FolderRow], pokes: Mapping[str, Poke]) -> Known:
        ids = [MessageId(message) for message in pokes]
        return {row.key: await self._ctx.store.find(row.key, ids) for row in watched}

    async def _ask(self, folders: set[int]) -> None:
        """One delta each, side by side; one folder that fails stops no other."""
        syncs = [self._watches.sync_of(row) for row in await self._watches.watched() if row.key in folders]
        polls = [sync.poll(max_age=0.0, priority=Priority.INTERACTIVE) for sync in syncs]
        for result in await asyncio.gather(*polls, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, NotFound):
                raise result

    async def _place(self, plan: Plan, watched: list[FolderRow], pokes: dict[str, Poke]) -> None:
        """Messages that no watched folder has: new in one of them, or elsewhere."""
        if not plan.unknown:
            return
        if not watched:
            self._ctx.freshness.elsewhere = self._ctx.clock.monotonic()
            return
        if len(watched) == 1 or len(plan.unknown) > LOOKED_UP:
            for row in watched:
                for message in plan.unknown:
                    plan.add(row.key, message)
            return
        places = await self._look_up(plan.unknown, watched, pokes)
        for message in plan.unknown:
            if places.get(message):
                plan.add(places[message], message)
            elif message not in places and not pokes[message].deleted:
                plan.unseen.add(message)

    async def _drop_strangers(
        self, messages: set[str], watched: list[FolderRow], left: dict[str, Poke]
    ) -> None:
        """Of what did not show: is it in a watched folder at all?"""
        messages = {message for message in messages if not left[message].asked}
        if not messages or len(messages) > LOOKED_UP:
            return
        places = await self._look_up(messages, watched, left)
        for message in messages:
            if not places.get(message, left[message].etags):
                left.pop(message)

    async def _look_up(
        self, messages: set[str], watched: list[FolderRow], pokes: Mapping[str, Poke]
    ) -> dict[str, int]:
        """The watched folder of each message that Graph shows; 0: it is elsewhere. One request."""
        keys = {row.id: row.key for row in watched}
        ids = sorted(messages)
        found = await self._ctx.graph.get(
            ids, fields=("id", "parentFolderId"), properties=(), priority=Priority.INTERACTIVE
        )
        places: dict[str, int] = {}
        for message, result in zip(ids, found, strict=True):
            if isinstance(result, Message):
                pokes[message].asked = True
                places[message] = keys.get(FolderId(result.parent_folder_id or ""), 0)
        if not all(places.values()):
            self._ctx.freshness.elsewhere = self._ctx.clock.monotonic()
        return places


def merge(pokes: dict[str, Poke], message: str, poke: Poke) -> None:
    """What was left is said again, beside what came meanwhile; that begins the count of tries anew."""
    newer = pokes.setdefault(message, poke)
    if newer is not poke:
        newer.etags |= poke.etags
        newer.deleted |= poke.deleted


def planned(known: Known, pokes: Mapping[str, Poke]) -> Plan:
    """What the store knows already needs nothing; what was deleted and is in no watched folder, neither."""
    plan = Plan()
    for message, poke in pokes.items():
        places = [folder for folder, rows in known.items() if MessageId(message) in rows]
        for folder in places:
            if poke.deleted or known[folder][MessageId(message)].etag not in poke.etags:
                plan.add(folder, message)
        if not places and poke.etags:
            plan.unknown.add(message)
    return plan


def shown(poke: Poke, before: MessageRow | None, after: MessageRow | None) -> bool:
    """Whether the delta had what the notification spoke of: the etag, any news of the message, or its end."""
    if after is None:
        return before is not None or poke.deleted
    return not poke.deleted and (before is None or after.etag in poke.etags or after.etag != before.etag)
