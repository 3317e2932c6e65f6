"""Ears of sessions (RFC 5465): news by name instead of by folder, and which mailboxes are to be watched for them."""

from __future__ import annotations

from collections.abc import Collection

from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.tidings import Heard, Tidings, in_one
from gateway.mailbox.watch import Watches


class Ear:
    """Implements `tidings.Listening`. `reader`: the session, which does not hear of its own doings."""

    def __init__(self, tidings: Tidings, hierarchy: Hierarchy, watches: Watches, reader: int) -> None:
        self._tidings = tidings
        self._hierarchy = hierarchy
        self._watches = watches
        self._reader = reader
        self._heard = tidings.serial

    def watch(self, names: Collection[str], *, tree: bool) -> None:
        entries = (self._hierarchy.tree.get(name) for name in names)
        self._watches.listen(self, [entry.row.id for entry in entries if entry is not None], tree=tree)

    def hear(self) -> Heard | None:
        """A mailbox that is gone by now is named as gone, nothing else is said of it."""
        since = self._tidings.since(self._heard, self._reader)
        self._heard = self._tidings.serial
        if since is None:
            return None
        heard = Heard(names=in_one(since.names), subscriptions=list(dict.fromkeys(since.subscriptions)))
        for folder, what in since.changed.items():
            if name := self._hierarchy.name_of(folder):
                heard.changed[name] = what
        return heard

    async def stirred(self) -> None:
        await self._tidings.after(self._heard)

    def close(self) -> None:
        self._watches.forget(self)
