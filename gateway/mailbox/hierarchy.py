"""The folder list of one account, kept in step with mailFolders/delta (contract section 5.5).

One request tells everything that changed: names, parents, counts. Special folders are found by their well-known
names, which v1.0 does not show in listings: one batch, the first time and after every reset.
"""

from __future__ import annotations

import asyncio

from gateway.core.types import FolderId, SpecialUse
from gateway.graph.errors import QuotaExceeded, ResyncNeeded
from gateway.graph.model import MailFolder, Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.names import NOT_LISTED, Tree
from gateway.mailbox.origin import nobody
from gateway.mailbox.treenews import tell_counts, tell_tree
from gateway.store.api import FolderRow, FolderUpsert

NEVER = float("-inf")
YOUNG = 60.0  # seconds: a process that ended longer ago may have missed much
WELL_KNOWN = (*(use.value for use in SpecialUse), *sorted(NOT_LISTED))


class Hierarchy:
    """The account's folders. `tree` is made anew when something changed; one refresh runs at a time."""

    def __init__(self, ctx: AccountContext) -> None:
        self._ctx = ctx
        self._lock = asyncio.Lock()
        self.synced = NEVER  # monotonic
        self.rows: dict[FolderId, FolderRow] = {}
        self.tree = Tree(())
        self._names: dict[int, str] = {}
        self._link: str | None = None  # what our rows are the fruit of, as the store had it

    async def refresh(self, *, max_age: float, priority: Priority = Priority.INTERACTIVE) -> None:
        """Be at most `max_age` seconds old. Costs no request while younger."""
        if self._ctx.clock.monotonic() - self.synced <= max_age:
            return
        began = self._ctx.clock.monotonic()
        async with self._lock:
            if self.synced < began - max_age:  # else somebody did it while we waited
                with nobody():
                    await self._sync(priority)
                self.synced = began

    def forget_age(self) -> None:
        """Our own change of the hierarchy: the next refresh asks Graph."""
        self.synced = NEVER

    async def load(self) -> None:
        """What the store remembers, and how old it is: enough to answer while Graph is away, and while it is young
        without Graph."""
        ctx = self._ctx
        # The link first: folders read before it may be those of another process that has not named them all yet.
        self._link = link = await ctx.store.hierarchy_link(ctx.account) or ""
        heard = await ctx.store.hierarchy_synced(ctx.account)
        self._keep(await ctx.store.folders(ctx.account))
        if link and self.rows and 0 <= (age := ctx.clock.time() - heard) <= YOUNG:
            self.synced = ctx.clock.monotonic() - age

    async def reload(self) -> None:
        """Another process changed what the store has: who listens hears what became of it."""
        async with self._lock:
            before, rows = self.tree, self.rows
            await self.load()
            tell_tree(self._ctx.tidings, before, self.tree)
            tell_counts(self._ctx.tidings, rows, self.rows)

    async def _sync(self, priority: Priority) -> None:
        before, rows = self.tree, self.rows
        link = await self._ctx.store.hierarchy_link(self._ctx.account) or ""
        if self._link not in (None, link):  # what another process walked, Graph will not tell us any more
            await self.load()
        self._link = link
        try:
            if link and self.rows:
                await self._walk(link, priority)
            else:
                await self._rebuild(priority)
        except ResyncNeeded:
            await self._rebuild(priority)
        except QuotaExceeded:
            await self._list(priority)
        await self._follow(before)
        tell_tree(self._ctx.tidings, before, self.tree)
        tell_counts(self._ctx.tidings, rows, self.rows)

    async def _follow(self, before: Tree) -> None:
        """Subscriptions are ours to keep. A mailbox seen for the first time is subscribed (programs that list only
        subscribed ones would show none); one renamed by Outlook keeps its state under the new name."""
        store, account = self._ctx.store, self._ctx.account
        for entry in self.tree.entries():
            old = before.name_of(entry.row.id)
            if old is None:
                await store.subscribe(account, entry.name, True)
            elif old != entry.name and before.get(entry.name) is None:
                await store.rename_subscriptions(account, old, entry.name)

    async def _walk(
        self, link: str | None, priority: Priority, *, settled: bool = True
    ) -> tuple[set[FolderId], str]:
        """Apply one delta round; returns the ids it showed, and where it goes on. That is kept if what it showed is
        `settled`: a process that ends before, or another one that looks now, begins anew."""
        upserts: dict[FolderId, FolderUpsert] = {}
        gone: set[FolderId] = set()
        async for page in self._ctx.graph.folder_delta(link, priority=priority):
            for folder in page.value:
                key = FolderId(folder.id)
                if folder.removed is not None:
                    upserts.pop(key, None)
                    gone.add(key)
                else:
                    gone.discard(key)
                    upserts[key] = _upsert(folder)
            link = page.delta_link or link
        onward = link or ""
        kept = onward if settled else ""
        if upserts or gone or not self.rows:
            rows = await self._ctx.store.put_folders(
                self._ctx.account, list(upserts.values()), sorted(gone), link=kept
            )
            self._link = kept
            self._keep(rows)
        elif kept:
            await self._ctx.store.hierarchy_heard(self._ctx.account, kept)
            self._link = kept
        return set(upserts), onward

    async def _rebuild(self, priority: Priority) -> None:
        """From nothing, or after a dead token: ids that are no longer shown are gone, all others keep their UIDs."""
        shown, link = await self._walk(None, priority, settled=False)
        await self._settle(shown, link)

    async def _list(self, priority: Priority) -> None:
        """A full mailbox refuses delta (trap 10): list the tree instead, keep no link."""
        folders = await self._ctx.graph.folder_tree(priority=priority)
        rows = await self._ctx.store.put_folders(
            self._ctx.account, [_upsert(folder) for folder in folders], (), link=""
        )
        self._link = ""
        self._keep(rows)
        await self._settle({FolderId(folder.id) for folder in folders}, "")

    async def _settle(self, shown: set[FolderId], link: str) -> None:
        """Special folders are named, what was not shown is gone, and the link is kept."""
        known = await self._ctx.graph.well_known(WELL_KNOWN)
        special = [FolderUpsert(FolderId(folder.id), well_known=name) for name, folder in known.items()]
        special = [upsert for upsert in special if upsert.id in shown]
        gone = [folder for folder in self.rows if folder not in shown]
        self._keep(await self._ctx.store.put_folders(self._ctx.account, special, gone, link=link))
        self._link = link

    def name_of(self, folder: int) -> str | None:
        """The mailbox of this folder key, if it is listed."""
        return self._names.get(folder)

    def _keep(self, rows: list[FolderRow]) -> None:
        self.rows = {row.id: row for row in rows}
        self._ctx.special.clear()
        self._ctx.special.update({row.well_known: row for row in rows if row.well_known})
        before, self._ctx.folder_keys = self._ctx.folder_keys, {row.key for row in rows}
        for key in before - self._ctx.folder_keys:
            self._ctx.hubs.dissolve(key)
        self.tree = Tree(rows)
        self._names = {entry.row.key: entry.name for entry in self.tree.entries()}


def _upsert(folder: MailFolder) -> FolderUpsert:
    return FolderUpsert(
        FolderId(folder.id),
        parent=None if folder.parent_folder_id is None else FolderId(folder.parent_folder_id),
        name=folder.display_name,
        hidden=folder.is_hidden,
        total=folder.total_item_count,
        unread=folder.unread_item_count,
    )
