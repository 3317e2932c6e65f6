"""What STATUS says (RFC 9051 section 6.3.11): from our own rows, or, before the first sync, from Graph's counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from gateway.core.types import ObjectId
from gateway.mailbox.context import AccountContext
from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.names import Entry
from gateway.mailbox.sizes import ColdSizes, size_of
from gateway.mailbox.syncs import Syncs
from gateway.mailbox.values import MailboxStatus
from gateway.store.api import Counts, FolderRow

SETTLED_MAX_AGE = 2.0  # seconds: a folder looked at a moment ago is not asked for again

# Of an account: a mailbox by name, and the folder behind it as the store has it now; the hierarchy asked for now.
EntryOf = Callable[[str], Awaitable[Entry]]
RowOf = Callable[[str], Awaitable[FolderRow]]


class Statuses:
    """Of one account's mailboxes."""

    def __init__(
        self, ctx: AccountContext, hierarchy: Hierarchy, syncs: Syncs, entry: EntryOf, row: RowOf
    ) -> None:
        self._ctx = ctx
        self._hierarchy = hierarchy
        self._syncs = syncs
        self._entry = entry
        self._row = row
        self._cold_sizes = ColdSizes(ctx)
        self._counts: dict[int, tuple[tuple[int, ...], Counts]] = {}  # by folder: of which state, and what

    async def of(self, names: Sequence[str], *, sizes: bool) -> list[MailboxStatus]:
        """NoSuchMailbox; errors of Graph."""
        entries = [await self._entry(name) for name in names]
        if sizes:
            rows = [await self._row(entry.name) for entry in entries]
            await self._cold_sizes.learn([row for row in rows if not row.ready])
        return [await self._one(entry, sizes) for entry in entries]

    async def _one(self, entry: Entry, sizes: bool) -> MailboxStatus:
        """The hierarchy's counts tell whether our rows may be old (one request for all folders)."""
        row = await self._row(entry.name)
        if not row.ready and sizes and not self._cold_sizes.knows(row):
            # Graph does not tell the folder's size: the messages' own are summed up
            await self._syncs.of(row).ready()
            row = await self._row(entry.name)
        if not row.ready:
            return await self._of_cold(entry.name, row)
        await self.settle(row)
        return await self._counted(entry.name, await self._row(entry.name), sizes=sizes)

    async def settle(self, row: FolderRow) -> None:
        """Our rows are what the hierarchy's counts of this folder speak of."""
        await self._syncs.of(row).settle_counts(row, self._hierarchy.synced, SETTLED_MAX_AGE)

    async def known(self, names: Sequence[str]) -> list[MailboxStatus]:
        """Without asking anybody; of those there are."""
        rows = {row.id: row for row in await self._ctx.store.folders(self._ctx.account)}
        entries = [entry for name in names if (entry := self._hierarchy.tree.get(name)) is not None]
        known = [(entry.name, rows[entry.row.id]) for entry in entries if entry.row.id in rows]
        return [await (self._counted if row.ready else self._cold)(name, row) for name, row in known]

    async def _counted(self, name: str, row: FolderRow, *, sizes: bool = True) -> MailboxStatus:
        """Counting takes the longer the more messages there are: it is done anew where something has changed, or where
        sizes are told, which become exact without a new mod-sequence."""
        state = (row.modseq, row.uid_next, row.recent_from)
        known, counts = self._counts.get(row.key, ((), None))
        if sizes or counts is None or counts.deleted or known != state:
            counts = await self._ctx.store.counts(row.key)
            self._counts[row.key] = state, counts
        return MailboxStatus(
            name=name, messages=counts.messages, recent=counts.recent, uid_next=counts.uid_next,
            uid_validity=row.uid_validity, unseen=counts.unseen, highest_modseq=counts.modseq,
            deleted=counts.deleted, size=size_of(counts), mailbox_id=ObjectId(row.mailbox_id),
            deleted_size=counts.deleted_size,
        )  # fmt: skip

    async def _of_cold(self, name: str, row: FolderRow) -> MailboxStatus:
        """Before the first sync: the folder's own counts; UIDNEXT is above all reserved UIDs (decision 1). Nobody has
        opened it here, so that all its messages are \\Recent. What we have put there since the counts were read must
        show at once: then they are read anew, and are never below our own rows, for Graph counts late (trap 34)."""
        landed = await self._ctx.store.counts(row.key)
        if landed.messages:
            await self._hierarchy.refresh(max_age=0.0)
            row = await self._row(name)
        return await self._cold(name, row)

    async def _cold(self, name: str, row: FolderRow) -> MailboxStatus:
        landed = await self._ctx.store.counts(row.key)
        messages = max(row.total, landed.messages)
        return MailboxStatus(
            name=name, messages=messages, recent=messages, uid_next=row.uid_next, uid_validity=row.uid_validity,
            unseen=max(row.unread, landed.unseen), highest_modseq=max(row.modseq, 1), deleted=landed.deleted,
            size=self._cold_sizes.of(row, messages) + size_of(landed), mailbox_id=ObjectId(row.mailbox_id),
        )  # fmt: skip
