"""What STATUS says of a mailbox's size: never less than FETCH says of its messages together (RFC 8438 section 3).

Exchange's own size of a message is of what it stores, not of the MIME that FETCH counts once it was seen (decision 3):
base64 makes attachments longer by a third, headers are made anew. So what was never seen counts for more than
Exchange's number; what was seen counts exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.types import FolderId
from gateway.graph.errors import GraphError, NotFound
from gateway.mailbox.context import AccountContext
from gateway.store.api import Counts, FolderRow

HEADERS = 4096  # octets that a message's MIME has beside what Exchange stores of it


def size_of(counts: Counts) -> int:
    """Octets, at least those of all messages together."""
    return counts.size + at_most(counts.estimated, counts.unseen_by_us) - counts.estimated


def at_most(stored: int, messages: int) -> int:
    """Octets of MIME that messages may have which Exchange stores in `stored` octets."""
    return stored + stored // 2 + messages * HEADERS


class ColdSizes:
    """Of folders never opened here, of which nothing but a count is known: Graph is asked for their stored size, one
    call each, many in a batch. Remembered while the count is the same; one entry a folder."""

    def __init__(self, ctx: AccountContext) -> None:
        self._ctx = ctx
        self._known: dict[FolderId, tuple[int, int]] = {}  # messages then, octets

    async def learn(self, rows: Sequence[FolderRow]) -> None:
        """Errors: those of Graph."""
        asked = [row for row in rows if row.total and self._known.get(row.id, (-1, 0))[0] != row.total]
        if not asked:
            return
        for row, answer in zip(
            asked, await self._ctx.graph.folder_sizes([row.id for row in asked]), strict=True
        ):
            if isinstance(answer, int):
                self._known[row.id] = row.total, answer
            elif isinstance(answer, GraphError) and not isinstance(answer, NotFound):
                raise answer

    def knows(self, row: FolderRow) -> bool:
        """Whether Graph told, or there is nothing to tell of."""
        return not row.total or row.id in self._known

    def of(self, row: FolderRow, messages: int) -> int:
        """Octets, at least those of `messages` together; 0 where Graph was not asked."""
        return at_most(self._known[row.id][1], messages) if row.id in self._known else 0
