"""What has happened in an account's mailboxes, for sessions that want to hear of others than the open one (RFC 5465).

A log of facts, not of events for somebody: each reader remembers how far he has heard. A mailbox is in it once for each
kind of change and author, names in the order in which they changed. It is bounded: who is further behind than it
reaches hears nothing more but that (NOTIFICATIONOVERFLOW).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from gateway.mailbox.origin import author
from gateway.store.api import Applied


class What(Enum):
    """What became of messages."""

    NEW = auto()
    GONE = auto()
    FLAGS = auto()


@dataclass(frozen=True, slots=True)
class NameChange:
    """A mailbox was made (`old` is None), renamed, or went away (`new` is None)."""

    folder: int
    old: str | None
    new: str | None


@dataclass(slots=True)
class Heard:
    """News since the last look. `changed`: mailboxes in which others did something; `names`: once per mailbox, from
    its name then to its name now; `subscriptions`: names that others subscribed to or unsubscribed from."""

    changed: dict[str, set[What]] = field(default_factory=dict)
    names: list[NameChange] = field(default_factory=list)
    subscriptions: list[str] = field(default_factory=list)


class Listening(Protocol):
    """One session's ear. News from the moment it was made."""

    def watch(self, names: Collection[str], *, tree: bool) -> None:
        """Look at these mailboxes every poll interval from now on, instead of those before; with `tree`, for changes
        of names, too."""
        ...

    def hear(self) -> Heard | None:
        """What has happened since the last call. None: more than is remembered."""
        ...

    async def stirred(self) -> None:
        """Returns when `hear` may have something to say. No lost wake-up; safe to cancel."""
        ...

    def close(self) -> None:
        """Nothing is watched any more. Idempotent."""
        ...


@dataclass(slots=True)
class Since:
    """The log after a serial, by folder key."""

    changed: dict[int, set[What]] = field(default_factory=dict)
    names: list[NameChange] = field(default_factory=list)
    subscriptions: list[str] = field(default_factory=list)


class Tidings:
    """Of one account. At most `bound` entries of each of the two kinds."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._changed: OrderedDict[tuple[int, What, int], int] = OrderedDict()
        self._names: deque[tuple[int, int, NameChange | str]] = deque()  # serial, author, what
        self._forgotten = 0  # the last serial that is not in the log any more
        self._stirred = asyncio.Event()
        self.serial = 0

    # -- telling --

    def changed(self, folder: int, whats: Iterable[What]) -> None:
        """Messages of this folder, by whoever is acting."""
        for what in whats:
            self.serial += 1
            key = (folder, what, author())
            self._changed[key] = self.serial
            self._changed.move_to_end(key)
        while len(self._changed) > self._bound:
            self._forgotten = max(self._forgotten, self._changed.popitem(last=False)[1])
        self._stir()

    def named(self, change: NameChange) -> None:
        self._add(0, change)

    def subscribed(self, name: str) -> None:
        """Or unsubscribed, by whoever is acting."""
        self._add(author(), name)

    def _add(self, by: int, what: NameChange | str) -> None:
        self.serial += 1
        self._names.append((self.serial, by, what))
        if len(self._names) > self._bound:
            self._forgotten = max(self._forgotten, self._names.popleft()[0])
        self._stir()

    def _stir(self) -> None:
        stirred, self._stirred = self._stirred, asyncio.Event()
        stirred.set()

    # -- hearing --

    def since(self, serial: int, reader: int) -> Since | None:
        """What others than `reader` did after `serial`; None if that is not known any more."""
        if serial < self._forgotten:
            return None
        found = Since()
        for (folder, what, by), at in reversed(self._changed.items()):
            if at <= serial:
                break
            if by != reader:
                found.changed.setdefault(folder, set()).add(what)
        for at, by, change in self._names:
            if at <= serial:
                continue
            if isinstance(change, NameChange):
                found.names.append(change)
            elif by != reader:
                found.subscriptions.append(change)
        return found

    async def after(self, serial: int) -> None:
        """Returns when there is something after `serial`."""
        while self.serial <= serial:
            await self._stirred.wait()


def whats(applied: Applied) -> list[What]:
    """What clients may be told of this write."""
    if not applied.advanced:
        return []
    old = [row for row in applied.rows if row.modseq == applied.modseq]
    found = {What.NEW: applied.born > 0, What.GONE: bool(applied.gone), What.FLAGS: len(old) > applied.born}
    return [what for what, so in found.items() if so]


class Hubs(Protocol):
    """As `context.Hubs`."""

    def refresh(self, folder: int, applied: Applied) -> None: ...
    def dissolve(self, folder: int) -> None: ...


class Reporting:
    """In front of the hubs, the one door that every change passes: it is written down for who has not that folder
    open."""

    def __init__(self, hubs: Hubs, tidings: Tidings) -> None:
        self._hubs = hubs
        self._tidings = tidings

    def refresh(self, folder: int, applied: Applied) -> None:
        self._hubs.refresh(folder, applied)
        if found := whats(applied):
            self._tidings.changed(folder, found)

    def dissolve(self, folder: int) -> None:
        self._hubs.dissolve(folder)


def in_one(changes: Iterable[NameChange]) -> list[NameChange]:
    """Each mailbox once, in the order in which they changed first: who is told late needs no names in between."""
    found: dict[int, NameChange] = {}
    for change in changes:
        before = found.get(change.folder)
        old = change.old if before is None else before.old
        found[change.folder] = NameChange(change.folder, old, change.new)
    return [change for change in found.values() if change.old != change.new]
