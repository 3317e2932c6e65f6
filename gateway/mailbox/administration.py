"""CREATE, DELETE and RENAME (RFC 9051 sections 6.3.4-6.3.6) on Graph's folder tree.

Graph has no path: a level that is missing is made first; a rename across parents is a move and a PATCH, which is
not atomic, so the first half is undone when the second is refused (trap 33).
"""

from __future__ import annotations

from gateway.core.errors import CannotDo, HasChildren, MailboxExists, NoSuchMailbox
from gateway.core.types import FolderId
from gateway.graph.errors import GraphError
from gateway.mailbox.context import AccountContext
from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.names import DELIMITER, INBOX, Entry, Tree, canonical, split_new

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
        """With the levels above that are missing; a trailing delimiter only announces children."""
        name = canonical(name.rstrip(DELIMITER))
        if self._tree.get(name) is not None:
            raise MailboxExists("The mailbox exists")
        parent, display = split_new(name)
        above = await self._folder_for(parent)
        await self._ctx.graph.create_folder(above, display)
        await self._changed()

    async def delete(self, name: str) -> None:
        """The folder goes below Deleted Items with its messages, as Outlook does; from there it goes for good."""
        entry = self._tree.find(name)
        if entry.use is not None:
            raise CannotDo("A special folder cannot be deleted")
        if entry.has_children:
            raise HasChildren("Delete the mailboxes below it first")
        await self._ctx.graph.delete_folder(entry.row.id)
        await self._changed()

    async def rename(self, source: str, target: str) -> None:
        """Of any mailbox but INBOX, which is the account's to empty."""
        entry, target = self._tree.find(source), canonical(target.rstrip(DELIMITER))
        self._check(entry, target)
        parent, display = split_new(target)
        above = await self._folder_for(parent)
        await self._place(entry, above, display)
        await self._ctx.store.rename_subscriptions(self._ctx.account, entry.name, target)
        await self._changed()

    def _check(self, entry: Entry, target: str) -> None:
        if self._tree.get(target) is not None:
            raise MailboxExists("The new name exists")
        if entry.use is not None:
            raise CannotDo("A special folder cannot be renamed")
        if target.startswith(entry.name + DELIMITER):
            raise CannotDo("A mailbox cannot be moved below itself")

    async def _place(self, entry: Entry, above: FolderId, display: str) -> None:
        graph, folder = self._ctx.graph, entry.row.id
        before = await self._folder_for(entry.name.rpartition(DELIMITER)[0])
        if above != before:
            await graph.move_folder(folder, above)
        if display == entry.row.name:
            return
        try:
            await graph.rename_folder(folder, display)
        except GraphError:
            if above != before:
                await graph.move_folder(folder, before)
            raise

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
