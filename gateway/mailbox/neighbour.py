"""What an account does about what other processes did to it (decision: adr/0050). They have written it to the store
already; here it becomes known to the sessions of this process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.core.types import FolderId
from gateway.mailbox.annotations import USE, Annotations
from gateway.mailbox.context import AccountContext
from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.tidings import What
from gateway.mailbox.watch import Watches
from gateway.store.nodes import Kind, News, Topic

TREE = 0  # in place of a folder's key: the tree is watched
_WHATS = {Kind.NEW: What.NEW, Kind.GONE: What.GONE, Kind.FLAGS: What.FLAGS}


class Household:
    """Implements `duty.Neighbour` with the parts of an account."""

    def __init__(
        self, ctx: AccountContext, hierarchy: Hierarchy, annotations: Annotations, watches: Watches
    ) -> None:
        self.account = ctx.account
        self._ctx = ctx
        self._hierarchy = hierarchy
        self._annotations = annotations
        self._watches = watches

    def has(self, folder: int) -> bool:
        return folder in self._ctx.folder_keys

    def levels(self) -> dict[int, int]:
        return {row.key: row.modseq for row in self._hierarchy.rows.values()}

    def messages(self, folder: int, kinds: int) -> None:
        if found := [what for kind, what in _WHATS.items() if kinds & kind]:
            self._ctx.tidings.changed(folder, found)

    async def news(self, news: Sequence[News]) -> None:
        if any(piece.topic is Topic.TREE for piece in news):
            await self._hierarchy.reload()
        for piece in news:
            if piece.topic is Topic.SUBSCRIBED:
                self._ctx.tidings.subscribed(piece.text)
        annotated = [piece for piece in news if piece.topic is Topic.ANNOTATED]
        if any(piece.text == USE for piece in annotated):
            await self._annotations.load()
        for piece in annotated:
            self._annotations.news.add(piece.folder or None, [piece.text], 0)

    def watched_here(self) -> set[int]:
        return self._watches.here()

    def watched_elsewhere(self, folders: Iterable[int]) -> None:
        wanted = set(folders)
        ids = [FolderId(row.id) for row in self._hierarchy.rows.values() if row.key in wanted]
        self._watches.elsewhere(ids, tree=TREE in wanted)

    def forget_work(self) -> None:
        self._ctx.working.clear()
        self.mend()

    def mend(self) -> None:
        self._ctx.unfinished.set()
