"""Messages as a command reads them: batches of `api.Row`, each holding just what the command needs.

INDEX is in memory. META, SIZE and MIME go by message ids, which the store has; their dear parts are fetched for a
whole batch at once (facts), or a few side by side (octets).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from itertools import chain, islice

from gateway.core.types import MessageId, ObjectId, Uid
from gateway.graph.errors import GraphError
from gateway.graph.model import Priority
from gateway.mailbox.ahead import Ahead
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.context import AccountContext
from gateway.mailbox.facts import known_metas
from gateway.mailbox.headers import Reading
from gateway.mailbox.hub import FolderHub
from gateway.mailbox.replies import refusal
from gateway.mailbox.values import Meta, Need, Row
from gateway.mailbox.view import MailboxView
from gateway.mailbox.work import bulk
from gateway.store.api import FolderRow, MessageRow

EXACT_UP_TO = 10  # messages of one command whose sizes are made exact by fetching them (decision 3)
ONLY_OCTETS = (Need.MIME, Need.MIME | Need.SIZE)
MIME_ROWS = 16  # rows of one batch that hold octets: they are large


class RowReader:
    """One per open folder."""

    def __init__(
        self, ctx: AccountContext, bodies: Bodies, folder: FolderRow, hub: FolderHub, view: MailboxView
    ) -> None:
        self._ctx = ctx
        self._bodies = bodies
        self._folder = folder
        self._hub = hub
        self._view = view
        self._ahead = Ahead(ctx, bodies, folder, view)

    def close(self) -> None:
        self._ahead.close()

    async def rows(self, at: Sequence[range], need: Need) -> AsyncIterator[list[Row]]:
        """In order, at most `limits.rows_per_batch` at once (MIME_ROWS with MIME). Messages expunged so long ago
        that nothing is known of them are left out."""
        if need & Need.MIME:
            self._ahead.read(at)
            if len(at) == 1 and len(at[0]) <= MIME_ROWS and (near := self._near(at[0], need)) is not None:
                yield near
                return
        exact = self.exact(at, need)
        size = MIME_ROWS if Need.MIME in need else self._ctx.limits.rows_per_batch
        priority = bulk(sum(map(len, at)))
        reading = self._bodies.headers.reading(self._folder, lambda: _uids(self._view, at), priority=priority)
        try:
            for positions in _slices(at, size):
                near = self._near(positions, need)
                yield near if near is not None else await self._batch(positions, need, reading, exact=exact)
        except GraphError as error:
            raise refusal(error) from error
        finally:
            await reading.close()

    def exact(self, at: Sequence[range], need: Need) -> bool:
        """Whether sizes are asked for that must be exact, whatever that costs (decision 3)."""
        if Need.SIZE not in need:
            return False
        how, count = self._ctx.settings.rfc822_size, sum(map(len, at))
        return how == "exact" or (how == "hybrid" and count <= EXACT_UP_TO)

    async def _batch(
        self, positions: Sequence[int], need: Need, reading: Reading, *, exact: bool
    ) -> list[Row]:
        rows = [row for at in positions if (row := self._indexed(at)) is not None]
        if need is Need.INDEX or (need is Need.SIZE and not exact):
            return rows
        stored = await self._ctx.store.by_uid(self._folder.key, [row.uid for row in rows])
        for row in rows:
            if row.uid in stored:
                row.email_id = ObjectId(stored[row.uid].email_id)
                row.thread_id = ObjectId(stored[row.uid].thread_id)
                row.save_date = stored[row.uid].save_date
        if Need.MIME in need:
            await self._add_bodies(rows, stored, reading.priority, structures=Need.STRUCTURE in need)
        elif exact:
            await self._add_sizes(rows, stored, reading.priority)
        if Need.META in need:  # last: octets just read bring these facts along
            messages = list(stored.values())
            previews = Need.PREVIEW in need
            metas = self._bodies.metas(messages, reading, priority=reading.priority, previews=previews)
            _give(rows, stored, await metas)
        elif Need.FACTS in need:
            _give(rows, stored, await known_metas(self._ctx, [row.id for row in stored.values()]))
        return rows

    def _indexed(self, at: int) -> Row | None:
        entry = self._hub.index.entry(self._view.uids[at])
        if entry is None:
            return None
        return Row(
            seq=at + 1, uid=Uid(entry.uid), flags=entry.flags, recent=self._view.is_recent(entry.uid),
            modseq=entry.modseq, internal_date=entry.internal_date, size=entry.size, email_id=ObjectId(""),
            thread_id=ObjectId(""),
        )  # fmt: skip

    async def _add_sizes(
        self, rows: Sequence[Row], stored: dict[Uid, MessageRow], priority: Priority
    ) -> None:
        sizes = await self._bodies.exact_sizes(self._folder, list(stored.values()), priority=priority)
        for row in rows:
            if row.uid in stored:
                row.size = sizes.get(stored[row.uid].id, row.size)

    async def _add_bodies(
        self, rows: Sequence[Row], stored: dict[Uid, MessageRow], priority: Priority, *, structures: bool
    ) -> None:
        by_uid = {row.uid: row for row in rows}
        messages = list(stored.values())
        async with aclosing(self._bodies.bodies(messages, self._folder, priority=priority)) as bodies:
            async for message, body in bodies:
                if body is None:
                    continue
                row = by_uid[message.uid]
                row.body, row.size = body, body.size
                if structures:
                    row.structure, row.basic_structure = await self._bodies.structures(message, body)

    def _near(self, positions: Sequence[int], need: Need) -> list[Row] | None:
        """These, if nothing but octets is wanted and those of all are at hand: clients read one message often."""
        if need not in ONLY_OCTETS:
            return None
        uids = self._view.uids
        bodies = self._bodies.near(self._folder.key, [uids[at] for at in positions])
        if bodies is None:
            return None
        found = []
        for at, body in zip(positions, bodies, strict=True):
            row = self._indexed(at)
            if row is not None:
                row.body, row.size = body, body.size
                found.append(row)
        return found


def _uids(view: MailboxView, at: Sequence[range]) -> Iterator[int]:
    return (view.uids[position] for position in chain.from_iterable(at))


def _give(rows: Sequence[Row], stored: dict[Uid, MessageRow], metas: dict[MessageId, Meta]) -> None:
    for row in rows:
        if row.uid in stored:
            row.meta = metas.get(stored[row.uid].id)


def _slices(at: Sequence[range], size: int) -> Iterator[list[int]]:
    """Positions in order, so many at once: scattered messages are asked of Graph together, too."""
    positions = chain.from_iterable(at)
    while batch := list(islice(positions, size)):
        yield batch
