"""Telling subscribers: from a change in a mailbox to a POST that was taken, or given up (contract section 13).

A change is noted at once and turned into notifications a moment later, when what belongs to it has happened (a move
is two entries in the folders' logs). Notifications to one address go out together, whosever they are. One that is
not taken with a 2xx in 3 seconds is sent again, with growing pauses, for 4 hours; then the subscriber has missed it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from gateway.emulator import times
from gateway.emulator.api import Model
from gateway.emulator.callbacks import Callbacks
from gateway.emulator.folder import Folder
from gateway.emulator.ids import TENANT_GUID
from gateway.emulator.items import GONE, MOVED, NEW, Item
from gateway.emulator.limits import lag, limit
from gateway.emulator.subscriptions import Subscription, Subscriptions

TICK: Final = 0.05  # seconds between looks at the clock while there are subscriptions
MAX_WAITING: Final = 10_000  # notifications not sent yet; beyond, the subscriber misses them
EVENTS: Final = frozenset({"reauthorizationRequired", "subscriptionRemoved", "missed"})
SLOW: Final = 2.9  # seconds; an answer that takes longer counts against its host
JUDGED: Final = 600.0  # seconds for which it counts
THROTTLED_AT, DROPPED_AT = 0.10, 0.15
LEAST_JUDGED: Final = 10  # answers


@dataclass(frozen=True, slots=True)
class Change:
    """What a subscription may have to be told of; `id` is the message's, as it was."""

    subscription: Subscription
    folder: Folder
    item: Item
    mask: int
    id: str


@dataclass(frozen=True, slots=True)
class Notice:
    """One element of `value`, for one address."""

    subscription: Subscription
    url: str
    due: float
    value: dict[str, Any]
    lifecycle: bool = False


@dataclass(slots=True)
class Manners:
    """How quickly a host answered of late."""

    answers: deque[tuple[float, bool]] = field(default_factory=deque)
    punished_until: float = 0.0
    dropped: bool = False

    def judge(self, now: float, slow: bool) -> None:
        self.answers.append((now, slow))
        while self.answers[0][0] < now - JUDGED:
            self.answers.popleft()
        share = sum(slow for _, slow in self.answers) / len(self.answers)
        if len(self.answers) >= LEAST_JUDGED and share > THROTTLED_AT:
            self.punished_until, self.dropped = now + JUDGED, share >= DROPPED_AT


class Notices:
    """The notifications of one emulator. The work begins with the first subscription and ends with `aclose`."""

    def __init__(self, model: Model, callbacks: Callbacks) -> None:
        self._world = model.world
        self._callbacks = callbacks
        self.subscriptions = Subscriptions(model, callbacks, self._heard)
        self._changes: list[Change] = []
        self._waiting: list[Notice] = []
        self._manners: dict[str, Manners] = {}
        self._wake = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._posts: set[asyncio.Task[None]] = set()
        self._told = 0
        self.lost = 0

    # -- what happened --

    def _heard(self, subscription: Subscription, folder: Folder, item: Item, mask: int) -> None:
        identity = subscription.box.id_of(item, subscription.immutable)
        self._changes.append(Change(subscription, folder, item, mask, identity))
        self._wake.set()

    def begin(self) -> None:
        """There may be subscriptions now."""
        if self._work is None or self._work.done():
            self._work = asyncio.get_running_loop().create_task(self._run(), name="notices")

    async def _run(self) -> None:
        while self.subscriptions.active() or self._waiting or self._changes:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._wake.wait()
            self._wake.clear()
            self._look()

    def _look(self) -> None:
        """What is due by the clock happens, what happened is written down, what is due to be sent is sent."""
        active = self.subscriptions.active()
        for box in {id(each.box): each.box for each in active}.values():
            box.tick()
        changes, self._changes = self._changes, []
        for change in changes:
            self._note(change)
        for each in active:
            self._ask_again(each)
        self._send()

    def _note(self, change: Change) -> None:
        """A notification of the change, if it is one to this subscriber; some come twice."""
        kind = _kind(change)
        if kind not in change.subscription.changes:
            return
        seconds = lag(self._world, "notices-late", "notice_seconds")
        self._told += 1
        again = self._world.rules.on("notices-repeat") and self._told % 3 == 0
        for _ in range(1 + again):
            self._queue(Notice(change.subscription, change.subscription.url, self._now() + seconds,
                               self._value(change, kind)))  # fmt: skip

    def _value(self, change: Change, kind: str) -> dict[str, Any]:
        subscription, box = change.subscription, change.subscription.box
        resource = f"Users/{box.guid}/Messages/{change.id}"
        data = {"@odata.type": "#Microsoft.Graph.Message", "@odata.id": resource, "id": change.id}
        if kind != "deleted":
            data["@odata.etag"] = f'W/"{box.mint.change_key(change.item.state.change)}"'
        return {**_head(subscription), "changeType": kind, "resource": resource, "resourceData": data}

    # -- lifecycle --

    def lifecycle(self, subscription: Subscription, event: str) -> None:
        """Tell a subscriber about his subscription; without an address for that, nobody hears it."""
        if event == "subscriptionRemoved":
            self.subscriptions.remove(subscription)
        if event == "missed":
            self._waiting = [each for each in self._waiting if each.subscription is not subscription]
        if subscription.lifecycle_url is not None:
            value = {**_head(subscription), "resource": subscription.resource, "lifecycleEvent": event}
            self._queue(Notice(subscription, subscription.lifecycle_url, self._now(), value, lifecycle=True))
            self._wake.set()
            self.begin()

    def _ask_again(self, subscription: Subscription) -> None:
        """Half its life after it was authorised, a subscription wants to be authorised again."""
        half = (subscription.renewed + subscription.expires) / 2
        if self._world.rules.on("reauthorization-required") and not subscription.told and self._now() >= half:
            subscription.told = True
            self.lifecycle(subscription, "reauthorizationRequired")

    # -- sending --

    def _queue(self, notice: Notice) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(notice)
        else:
            self._lose([notice])

    def _send(self) -> None:
        """Everything that is due, by address, in batches."""
        now = self._now()
        due = [each for each in self._waiting if each.due <= now]
        self._waiting = [each for each in self._waiting if each.due > now]
        most = int(limit(self._world, "notice_batch"))
        for url in dict.fromkeys(each.url for each in due):
            batch = [each for each in due if each.url == url]
            if self._world.rules.on("notices-reordered"):
                self._world.rng.shuffle(batch)
            for start in range(0, len(batch), most):
                self._post(url, batch[start : start + most])

    def _post(self, url: str, batch: list[Notice]) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(url, batch))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def _deliver(self, url: str, batch: list[Notice]) -> None:
        """Until it is taken, or for 4 hours."""
        pause, spent = limit(self._world, "notice_retry_seconds"), 0.0
        body = msgspec.json.encode({"value": [each.value for each in batch]})
        while not await self._offer(url, body):
            if spent + pause > limit(self._world, "notice_patience_seconds"):
                self._lose(batch)
                return
            await asyncio.sleep(pause)
            spent, pause = spent + pause, pause * 2

    async def _offer(self, url: str, body: bytes) -> bool:
        """One try; True also where the service drops what it was to tell a host that is too slow."""
        manners = self._manners.setdefault(urlsplit(url).netloc, Manners())
        if self._now() < manners.punished_until:
            return manners.dropped
        began = asyncio.get_running_loop().time()
        taken = await self._callbacks.takes(url, body, limit(self._world, "notice_answer_seconds"))
        if self._world.rules.on("notices-slow-dropped"):
            slow = asyncio.get_running_loop().time() - began > min(
                SLOW, limit(self._world, "notice_answer_seconds")
            )
            manners.judge(self._now(), slow)
        return taken

    def _lose(self, batch: Iterable[Notice]) -> None:
        lost = [each for each in batch if not each.lifecycle]
        self.lost += len(lost)
        for each in {id(each.subscription): each.subscription for each in lost}.values():
            if self.subscriptions.named(each.id) is not None:
                self.lifecycle(each, "missed")

    def _now(self) -> float:
        return self._world.clock.now()

    def end(self) -> None:
        """Nothing is sent any more."""
        for task in (self._work, *self._posts):
            if task is not None:
                task.cancel()

    async def aclose(self) -> None:
        self.end()
        tasks = [task for task in (self._work, *self._posts) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._callbacks.aclose()


def _head(subscription: Subscription) -> dict[str, Any]:
    return {
        "subscriptionId": subscription.id,
        "subscriptionExpirationDateTime": times.iso(int(subscription.expires)),
        "clientState": subscription.client_state,
        "tenantId": TENANT_GUID,
    }


def _kind(change: Change) -> str:
    """created, updated or deleted; "" for nothing to tell. One folder sees a move as deleted and created; for the
    whole mailbox the message was changed, unless it went where mail is not shown."""
    box, item = change.subscription.box, change.item
    if change.subscription.folder is not None:
        return "deleted" if change.mask & GONE else "created" if change.mask & NEW else "updated"
    there = box.folders.get(item.folder)
    if there is None or box.in_dumpster(there):
        return "deleted" if change.mask & GONE else ""
    if change.mask & GONE:
        return ""
    return "created" if change.mask & NEW and not change.mask & MOVED else "updated"
