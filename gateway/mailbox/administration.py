"""CREATE, DELETE and RENAME (RFC 9051 sections 6.3.4-6.3.6) on Graph's folder tree.

Graph has no path: a level that is missing is made first; a rename across parents is `mailbox.placing`'s. Where Graph
did not say whether it was done, it is looked for, never asked for twice (invariant 10).
"""

from __future__ import annotations

from gateway.core.errors import CannotDo, HasChildren, MailboxExists, NoSuchMailbox
from gateway.core.types import FolderId
from gateway.graph.errors import OutcomeUnknown
from gateway.mailbox.context import AccountContext
from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.names import Entry, Tree, split_new
from gateway.mailbox.placing import Place, give_name, place
from gateway.mailbox.work import whole
from gateway.wire.mailboxname import DELIMITER, INBOX, canonical

ROOT = FolderId("msgfolderroot")


class Administration:
    """Changes of one account's hierarchy. The caller has refreshed it; it is refreshed again after each change."""

    def __init__(self, ctx: AccountContext, hierarchy: Hierarchy) -> None:
        self._ctx = ctx
        self._hierarchy = hierarchy

    @property
    def _tree(self) -> Tree:
        return self._hierarchy.tree

    async def create(self, name: str) -> None:
        """With the levels above that are missing."""
        name = canonical(name)
        if self._tree.get(name) is not None:
            raise MailboxExists("The mailbox exists")
        parent, display = split_new(name)
        above = await self._folder_for(parent)
        self._hierarchy.forget_age()
        try:
            await self._ctx.graph.create_folder(above, display)
        except OutcomeUnknown:
            await self._changed()
            if self._tree.get(name) is None:
                raise
        else:
            await self._changed()

    async def delete(self, name: str) -> None:
        """The folder goes below Deleted Items with its messages, as Outlook does; from there it goes for good.

        DELETE destroys what is in Deleted Items already, so nothing but the present place will do: Outlook, or a
        DELETE whose answer was lost, may have put it there since we looked last (trap 53)."""
        await self._changed()
        entry = self._tree.find(name)
        if entry.use is not None:
            raise CannotDo("A special folder cannot be deleted")
        if entry.has_children:
            raise HasChildren("Delete the mailboxes below it first")
        subscribed = await self._ctx.store.subscriptions(self._ctx.account)
        self._hierarchy.forget_age()
        try:
            await self._ctx.graph.delete_folder(entry.row.id)
        except OutcomeUnknown:
            await self._changed()
            if self._tree.get(name) is not None:
                raise
        else:
            await self._changed()
        await self._restore(subscribed)

    async def _restore(self, subscribed: set[str]) -> None:
        """A subscribed name outlives its mailbox (RFC 9051 section 6.3.8), and those below it. They have followed the
        folder into Deleted Items, where what has no mailbox there is nothing to keep."""
        store, account = self._ctx.store, self._ctx.account
        now = await store.subscriptions(account)
        for name in subscribed - now:
            await store.subscribe(account, name, True)
        for name in now - subscribed:
            if self._tree.get(name) is None:
                await store.subscribe(account, name, False)

    async def rename(self, source: str, target: str) -> None:
        """Of any mailbox but INBOX, which is the account's to empty."""
        entry, target = self._tree.find(source), canonical(target)
        self._check(entry, target)
        parent, display = split_new(target)
        above = await self._folder_for(parent)
        before = await self._folder_for(entry.name.rpartition(DELIMITER)[0])
        self._hierarchy.forget_age()
        if above == before:
            await give_name(self._ctx, entry.row.id, display)
        else:
            await whole(place(self._ctx, entry.row, Place(above, display)))
        await self._ctx.store.rename_subscriptions(self._ctx.account, entry.name, target)
        await self._changed()

    def _check(self, entry: Entry, target: str) -> None:
        if self._tree.get(target) is not None:
            raise MailboxExists("The new name exists")
        if entry.use is not None:
            raise CannotDo("A special folder cannot be renamed")
        if target.startswith(entry.name + DELIMITER):
            raise CannotDo("A mailbox cannot be moved below itself")

    async def _folder_for(self, name: str) -> FolderId:
        """The folder of a parent path, made if it is missing; the root for no path."""
        if not name:
            return ROOT
        entry = self._tree.get(name)
        if entry is None:
            if name == INBOX:
                raise NoSuchMailbox("No such mailbox")
            await self.create(name)
            entry = self._tree.find(name)
        return entry.row.id

    async def _changed(self) -> None:
        self._hierarchy.forget_age()
        await self._hierarchy.refresh(max_age=0.0)
