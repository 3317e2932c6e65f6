"""One process among several on one database (decision: adr/0050): who does the background work of which mailbox, and
how what another one wrote becomes known to the sessions here.

Hints come at once and may be lost; what they point at is in the database. So a hint only says where to look, and every
`ROUND` seconds, and whenever hints may have been lost, everything is looked at, by a fixed number of statements.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from gateway.core.errors import GatewayError, NoSuchMailbox
from gateway.core.types import AccountId, ModSeq, Uid
from gateway.mailbox.duty import Neighbour
from gateway.mailbox.exclusive import Exclusive
from gateway.mailbox.hub import Hubs
from gateway.mailbox.levels import Levels
from gateway.mailbox.post import Post
from gateway.mailbox.shares import Shares
from gateway.store.api import Applied, Store
from gateway.store.nodes import Hint, Kind, Nodes

ROUND = 30.0  # seconds
TICK = 2.0  # seconds: what only time brings about
RETRY = 1.0  # seconds after the database failed
POST = "mailbox/"  # the lease of an account's background work, before its name
ADOPTED = 50  # accounts of processes that died, taken up at once

log = structlog.get_logger("gateway.mailbox")


class Clock(Protocol):
    def time(self) -> float: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class Member(Protocol):
    """What is asked of `store.pgbeat.Beat`."""

    members: int

    @property
    def alive(self) -> bool: ...
    async def rejoin(self) -> None: ...


@dataclass(slots=True)
class Due:
    """What is to be looked at."""

    everything: bool = False
    members: bool = False
    news: set[int] = field(default_factory=set)  # account keys
    watched: bool = False
    publish: set[AccountId] = field(default_factory=set)
    corrected: dict[int, set[int]] = field(default_factory=dict)  # UIDs by folder

    def __bool__(self) -> bool:
        return bool(
            self.everything or self.members or self.news or self.watched or self.publish or self.corrected
        )


class Cluster:
    """Implements `store.pgbeat.Ear`. `settled`: returns when nothing is under way that must end whole. `adopt`: open
    this account, whose process died amid its work; it may be none of ours."""

    def __init__(
        self, store: Store, nodes: Nodes, member: Member, hubs: Hubs, shares: Shares, clock: Clock, *,
        settled: Callable[[], Awaitable[None]], adopt: Callable[[AccountId], Awaitable[Any]], kept: Sequence[str],
    ) -> None:  # fmt: skip
        self._store = store
        self._nodes = nodes
        self._member = member
        self._hubs = hubs
        self._shares = shares
        self._clock = clock
        self._settled = settled
        self._adopt = adopt
        self._kept = kept
        self._posts: dict[AccountId, Post] = {}
        self._keys: dict[int, Post] = {}
        self._levels = Levels()
        self._due = Due()
        self._woken = asyncio.Event()
        self._exclusive = Exclusive(nodes)
        self._tasks: set[asyncio.Task[None]] = set()
        self._reviving = False
        self._others = False  # whether somebody reads what is published
        self.hints = 0
        self.missed = 0  # changes found by looking that no hint had told of

    def start(self) -> None:
        self._spawn(self._work())
        self._spawn(self._tick())

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._exclusive.close()
        await self._shares.close()

    @property
    def alive(self) -> bool:
        return self._member.alive

    @property
    def posts(self) -> int:
        """How many accounts' background work is done here."""
        return sum(post.held for post in self._posts.values())

    def post(self, account: AccountId) -> Post:
        """Of an account that is about to be opened."""
        return Post(self, account)

    def reporting(self) -> Reporting:
        """In front of the hubs: what this process writes is known here."""
        return Reporting(self._hubs, self._levels)

    async def enter(self, post: Post, neighbour: Neighbour) -> None:
        post.key, post.heard = await self._nodes.enter(post.account)
        post.neighbour = neighbour
        self._posts[post.account] = self._keys[post.key] = post
        await self._take([post])
        self._due.watched = True
        self._wake()

    def alone(self, name: str) -> AbstractAsyncContextManager[None]:
        return self._exclusive.alone(name)

    async def busy(self, name: str) -> bool:
        return await self._exclusive.busy(name)

    def forget(self, post: Post) -> None:
        if self._posts.get(post.account) is post:
            del self._posts[post.account]
            self._keys.pop(post.key, None)

    # -- hints --

    def hint(self, numbers: tuple[int, ...]) -> None:
        self.hints += 1
        kind, _, *rest = numbers
        known = {
            Hint.MESSAGES: self._messages, Hint.NEWS: self._news, Hint.MEMBERS: self._members,
            Hint.WATCHED: self._watched, Hint.SHARE: self._share,
        }  # fmt: skip
        try:
            known[Hint(kind)](rest)
        except (ValueError, IndexError):
            log.warning("a hint of another version", kind=kind)
        self._wake()

    def _messages(self, rest: Sequence[int]) -> None:
        folder, modseq, what = rest[:3]
        self._hubs.refresh(folder, Applied(ModSeq(modseq)))
        if not what and self._hubs.has(folder):
            self._due.corrected.setdefault(folder, set()).update(rest[3:])
        if what:
            self._tell(folder, what)
            self._levels.told(folder, modseq)

    def _tell(self, folder: int, what: int) -> None:
        for post in self._posts.values():
            if post.neighbour is not None and post.neighbour.has(folder):
                post.neighbour.messages(folder, what)

    def _news(self, rest: Sequence[int]) -> None:
        if rest[0] in self._keys:
            self._due.news.add(rest[0])

    def _members(self, rest: Sequence[int]) -> None:
        self._due.members = self._others = True
        self._exclusive.freed()

    def _watched(self, rest: Sequence[int]) -> None:
        self._due.watched |= rest[0] in self._keys

    def _share(self, rest: Sequence[int]) -> None:
        self._shares.hint(rest[0])

    def gap(self) -> None:
        self._due.everything = True
        self._wake()

    def publish(self, account: AccountId) -> None:
        self._due.publish.add(account)
        self._wake()

    def _wake(self) -> None:
        self._woken.set()

    # -- the death of this process, as others see it --

    def dead(self) -> None:
        for post in self._posts.values():
            post.turn(None)
        self._shares.begin_anew()
        if not self._reviving:
            self._reviving = True
            self._spawn(self._revive())

    async def _revive(self) -> None:
        """Come back under another number, when what was begun under the old one has ended: it could write nothing."""
        await self._settled()
        for post in self._posts.values():
            if post.neighbour is not None:
                post.neighbour.forget_work()
        while not self.alive:
            try:
                await self._member.rejoin()
            except Exception as error:  # of the connection, of any kind
                log.info("not back yet", error=type(error).__name__)
                await self._clock.sleep(RETRY)
        self._reviving = False
        for post in self._posts.values():
            post.published = frozenset()
        self._due.members = self._due.everything = True
        self._wake()

    # -- leases --

    async def _take(self, posts: Sequence[Post]) -> None:
        held = await self._nodes.leases([POST + post.account for post in posts])
        for post in posts:
            post.turn(held.get(POST + post.account))

    # -- looking --

    async def _tick(self) -> None:
        looked = self._clock.monotonic()
        while True:
            await self._clock.sleep(TICK)
            self._shares.look()
            self._begin()
            if self._clock.monotonic() - looked >= ROUND:
                looked = self._clock.monotonic()
                self._others = self._member.members > 1  # counted long after the last that came or went
                self.gap()

    def _begin(self) -> None:
        """Of accounts that have come up: what was known when they read their folders."""
        for post in self._posts.values():
            if not post.begun and post.neighbour is not None and (levels := post.neighbour.levels()):
                self._levels.begin(levels)
                post.begun = True

    async def _work(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            due, self._due = self._due, Due()
            try:
                await self._look(due)
            except GatewayError:
                await self._later(due)
            except Exception:
                log.exception("looking at what others did failed")
                await self._later(due)

    async def _later(self, due: Due) -> None:
        """All of it again: looking costs little."""
        await self._clock.sleep(RETRY)
        self._due.everything = self._due.watched = True
        self._due.members |= due.members
        self._due.publish |= due.publish
        self._wake()

    async def _look(self, due: Due) -> None:
        if due.everything or due.members:
            await self._take(list(self._posts.values()))
            self._shares.settle_all()
        if due.members:
            await self._orphans()
        if due.everything:
            self._others |= self._member.members > 1
            await self._compare()
            await self._exclusive.retry()
            due.news |= await self._behind_in_news()
        for key in due.news:
            if key in self._keys:
                await self._hear(self._keys[key])
        for folder, uids in due.corrected.items():
            await self._correct(folder, sorted(uids))
        for account in self._posts.keys() if due.everything or due.members else due.publish:
            if account in self._posts:
                await self._publish(self._posts[account])
        if due.watched or due.everything:
            watched = await self._nodes.watched()
            for post in self._posts.values():
                if post.neighbour is not None:
                    post.neighbour.watched_elsewhere(watched.get(post.key, ()))

    async def _compare(self) -> None:
        """Folders that are open here, and those of accounts that are up: has the store more than is known here?"""
        neighbours = [post.neighbour for post in self._posts.values() if post.neighbour is not None]
        known = {key: modseq for each in neighbours for key, modseq in each.levels().items()}
        self._levels.begin(known)
        self._levels.keep(known)
        stored = await self._nodes.levels([*{*known, *self._hubs.keys()}])
        for folder, modseq in stored.items():
            self._hubs.refresh(folder, Applied(modseq))
        for folder, upto in self._levels.behind(stored).items():
            with suppress(NoSuchMailbox):
                delta = await self._store.since(folder, ModSeq(upto))
                self.missed += 1
                came = Kind.NEW + Kind.FLAGS if delta.rows else 0  # which of the two, nobody knows any more
                self._tell(folder, came + (Kind.GONE if delta.gone else 0))
                self._levels.caught_up(folder, delta.modseq)

    async def _behind_in_news(self) -> set[int]:
        newest = await self._nodes.newest(list(self._keys))
        return {key for key, id in newest.items() if key in self._keys and id > self._keys[key].heard}

    async def _hear(self, post: Post) -> None:
        while post.neighbour is not None and (news := await self._nodes.news(post.key, post.heard)):
            await post.neighbour.news(news)
            post.heard = news[-1].id

    async def _correct(self, folder: int, uids: Sequence[int]) -> None:
        if self._hubs.has(folder):
            rows = await self._store.by_uid(folder, [Uid(uid) for uid in uids])
            self._hubs.refresh(folder, Applied(ModSeq(0), [rows[uid] for uid in sorted(rows)]))

    async def _publish(self, post: Post) -> None:
        """Where there is nobody to read it, nothing is written."""
        if post.neighbour is None or not (self._others or post.published):
            return
        here = frozenset(post.neighbour.watched_here())
        if here != post.published:
            await self._nodes.watch(post.account, sorted(here))
            post.published = here

    async def _orphans(self) -> None:
        """Accounts whose work a process left when it died: whoever has the duty heals them; those that nobody has up
        are opened here, and elsewhere, and one takes the duty."""
        for account in (await self._nodes.orphans(self._kept))[:ADOPTED]:
            post = self._posts.get(account)
            if post is None:
                self._spawn(self._adopted(account))
            elif post.neighbour is not None:
                post.neighbour.mend()

    async def _adopted(self, account: AccountId) -> None:
        with suppress(GatewayError, KeyError):
            await self._adopt(account)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Reporting:
    """Implements `context.Hubs`."""

    def __init__(self, hubs: Hubs, levels: Levels) -> None:
        self._hubs = hubs
        self._levels = levels

    def refresh(self, folder: int, applied: Applied) -> None:
        self._hubs.refresh(folder, applied)
        if applied.advanced:
            self._levels.told(folder, applied.modseq)

    def dissolve(self, folder: int) -> None:
        self._hubs.dissolve(folder)
