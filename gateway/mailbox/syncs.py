"""The one sync of each folder of an account."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from gateway.core.types import FolderId
from gateway.graph.model import Message
from gateway.mailbox.context import AccountContext
from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.sync import FolderSync
from gateway.store.api import FolderRow


class Syncs:
    """Made when a folder is first looked at, dropped when the folder is gone."""

    def __init__(self, ctx: AccountContext, hierarchy: Hierarchy) -> None:
        self._ctx = ctx
        self._hierarchy = hierarchy
        self._by_key: dict[int, FolderSync] = {}

    def of(self, row: FolderRow) -> FolderSync:
        found = self._by_key.get(row.key)
        if found is None:
            found = self._by_key[row.key] = FolderSync(self._ctx, row, self._moved_to)
        return found

    async def _moved_to(self, message: Message) -> None:
        row = self._hierarchy.rows.get(FolderId(message.parent_folder_id or ""))
        if row is not None:
            await self.of(row).adopt(message)

    def values(self) -> Collection[FolderSync]:
        return self._by_key.values()

    async def prune(self) -> None:
        """Those of folders that are gone end: nobody asks Graph for them any more."""
        gone = [key for key in self._by_key if key not in self._ctx.folder_keys]
        if gone:
            await asyncio.gather(*(self._by_key.pop(key).close() for key in gone))

    async def close(self) -> None:
        await asyncio.gather(*(sync.close() for sync in self._by_key.values()))
