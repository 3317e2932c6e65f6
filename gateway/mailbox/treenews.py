"""What two looks at the hierarchy tell who wants to hear of mailboxes: their names, and the counts of those that were
never opened."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.types import FolderId
from gateway.mailbox.names import Tree
from gateway.mailbox.tidings import NameChange, Tidings, What
from gateway.store.api import FolderRow


def tell_tree(tidings: Tidings, before: Tree, after: Tree) -> None:
    """What became of names between two looks at the hierarchy."""
    old = {entry.row.key: entry.name for entry in before.entries()}
    new = {entry.row.key: entry.name for entry in after.entries()}
    for key in [*(key for key in old if key not in new), *new]:
        if old.get(key) != new.get(key):
            tidings.named(NameChange(key, old.get(key), new.get(key)))


def tell_counts(
    tidings: Tidings, before: Mapping[FolderId, FolderRow], after: Mapping[FolderId, FolderRow]
) -> None:
    """Of a folder that was never opened nothing is known but its counts: they are its news."""
    for id, row in after.items():
        known = before.get(id)
        if known is None or row.ready:
            continue
        if row.total != known.total:
            tidings.changed(row.key, [What.NEW if row.total > known.total else What.GONE])
        elif row.unread != known.unread:
            tidings.changed(row.key, [What.FLAGS])
