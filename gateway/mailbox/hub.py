"""The only door into a folder's index (invariants 3 and 4): whoever changed the store, its `Applied` comes
here.

Mod-sequences of a folder rise by one with each `apply` that clients are told of. A hub takes an `Applied`
in if it made the next one; one that comes too early (answers overtook each other, a cancelled command never
delivered its own, another process wrote) makes it read what is missing from the store. So an index always
shows a state that the store had.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from weakref import WeakValueDictionary

from gateway.core.errors import NoSuchMailbox, Unavailable
from gateway.core.limits import MIB
from gateway.core.types import ModSeq, Uid
from gateway.mailbox.index import FolderIndex
from gateway.mailbox.shelf import Shelf
from gateway.mailbox.view import MailboxView
from gateway.store.api import Applied, Delta, Store

WARM_MESSAGES = 2_000_000  # messages of folders nobody has open that stay in memory, about 60 MB
SHELF = 32 * MIB  # octets of what was made of header facts, all folders
WARM_FOLDERS = 5_000  # of them: an empty one, or one that is gone, costs some kB as well


class FolderHub:
    """One per process and folder: the index, its views, and the wake-ups. `Hubs.open` makes it."""

    def __init__(self, folder: int, store: Store, *, change_log: int, shelf: Shelf | None = None) -> None:
        self.folder = folder
        self.shelf = shelf or Shelf(SHELF)
        self.index = FolderIndex((), 0, change_log=change_log)
        self._store = store
        self._change_log = change_log
        self._loaded = False
        self._awaited = 0  # the highest mod-sequence heard of
        self._reading = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.dissolved = False  # the mailbox has been destroyed

    # -- views --

    def view(self, *, recent_from: int, takes_recent: bool) -> MailboxView:
        """A view that was told everything so far. `recent_from`: what the store's `take_recent` returned, or
        the folder row's watermark for EXAMINE; what another session of this process announced is not
        \\Recent."""
        recent_from = max(recent_from, self.index.recent_floor)
        return MailboxView(self.index, recent_from=recent_from, takes_recent=takes_recent)

    async def changed(
        self, view: MailboxView, *, messages: bool = True, expunge: bool = True, flags: bool = True
    ) -> None:
        """Returns when `view.drain` would say something of this kind, or the mailbox is no more. No wake-up is lost:
        the event is taken before the look, and nothing is awaited in between. Safe to cancel."""
        while not (self.dissolved or (messages and view.pending(expunge=expunge, flags=flags))):
            await self._changed.wait()

    def dissolve(self) -> None:
        """The mailbox has been destroyed: who has it open shall hear that."""
        self.dissolved = True
        self._wake()

    # -- the door --

    def refresh(self, applied: Applied) -> None:
        """Take in what an `apply` did. Not yet its turn: what is missing is read in the background."""
        self._awaited = max(self._awaited, applied.modseq)
        if not self._loaded:
            return
        if applied.advanced and applied.modseq == self.index.modseq + 1:
            self._merge(applied.modseq, applied)
        else:
            self.index.correct(applied.rows)
        if self.behind:
            self._catch_up_later()

    @property
    def behind(self) -> bool:
        """Whether the store is known to hold more than the index."""
        return self._awaited > self.index.modseq

    async def catch_up(self) -> None:
        """Read from the store what the index lacks. NoSuchMailbox, Unavailable: the index stays as it is."""
        async with self._reading:
            if not self._loaded:
                await self._load()
                return
            delta = await self._store.since(self.folder, ModSeq(self.index.modseq))
            if not delta.complete:
                delta = await self._in_full()
            self._merge(delta.modseq, delta)

    async def _load(self) -> None:
        delta = await self._store.since(self.folder, ModSeq(0))
        self.index = FolderIndex(delta.rows, delta.modseq, change_log=self._change_log)
        self._loaded = True
        if self.behind:  # written while we read
            self._catch_up_later()

    async def _in_full(self) -> Delta:
        """Tombstones that old were dropped: what is not in the store any more is gone."""
        delta = await self._store.since(self.folder, ModSeq(0))
        present = {row.uid for row in delta.rows}
        gone = [(Uid(uid), delta.modseq) for uid in self.index.uids if uid not in present]
        return Delta(delta.modseq, delta.rows, gone)

    def _merge(self, modseq: int, change: Applied | Delta) -> None:
        gone = change.gone if isinstance(change, Applied) else [uid for uid, _ in change.gone]
        if self.index.merge(modseq, change.rows, gone):
            self._wake()

    def _wake(self) -> None:
        """Every waiter looks at its view again; those that come later wait for the next event."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _catch_up_later(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._until_level())

    async def _until_level(self) -> None:
        with contextlib.suppress(NoSuchMailbox, Unavailable):  # the next refresh or open tries again
            while self.behind:
                await self.catch_up()


class Hubs:
    """The process's hubs. A hub lives while somebody holds it; the last ones used stay warm besides, up to
    `warm_folders` and `warm_messages` in all."""

    def __init__(
        self,
        store: Store,
        *,
        change_log: int,
        warm_messages: int = WARM_MESSAGES,
        warm_folders: int = WARM_FOLDERS,
    ) -> None:
        self._store = store
        self._change_log = change_log
        self._warm_messages = warm_messages
        self._warm_folders = warm_folders
        self.shelf = Shelf(SHELF)
        self._all: WeakValueDictionary[int, FolderHub] = WeakValueDictionary()
        self._warm: OrderedDict[int, FolderHub] = OrderedDict()

    async def open(self, folder: int) -> FolderHub:
        """The hub of a folder that is ready (first sync done), level with the store. Keep it as long as a
        view of it is open. NoSuchMailbox, Unavailable."""
        hub = self._all.get(folder)
        if hub is None:
            hub = self._all[folder] = FolderHub(
                folder, self._store, change_log=self._change_log, shelf=self.shelf
            )
        await hub.catch_up()
        hub.dissolved = False
        self._keep_warm(hub)
        return hub

    def refresh(self, folder: int, applied: Applied) -> None:
        """Show what a `Store.apply` did to every open view of the folder; a folder nobody has open costs
        nothing."""
        hub = self._all.get(folder)
        if hub is not None:
            hub.refresh(applied)

    def keys(self) -> list[int]:
        """The folders that are in memory."""
        return list(self._all)

    def has(self, folder: int) -> bool:
        return folder in self._all

    def dissolve(self, folder: int) -> None:
        """This folder has been destroyed."""
        hub = self._all.get(folder)
        if hub is not None:
            hub.dissolve()

    def _keep_warm(self, hub: FolderHub) -> None:
        self._warm[hub.folder] = hub
        self._warm.move_to_end(hub.folder)
        total = sum(len(warm.index) for warm in self._warm.values())
        while self._warm and (total > self._warm_messages or len(self._warm) > self._warm_folders):
            _, coldest = self._warm.popitem(last=False)
            total -= len(coldest.index)
