"""An open mailbox of one session: SELECT or EXAMINE until CLOSE (implements `api.Folder`).

It reads from the index what the index holds, asks `Bodies` for the rest, and hands every write to the module that
knows how. A position is a place in this session's view; the UID there is what everything else goes by.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

from gateway.core.errors import Expired, GatewayError, NoPermission, NoSuchMailbox
from gateway.core.progress import expect
from gateway.core.runs import Runs
from gateway.core.types import (
    FlagChange,
    FlagOp,
    FolderId,
    MessageId,
    ModSeq,
    ObjectId,
    SystemFlag,
    Uid,
    one_spelling,
)
from gateway.mailbox import append, changes, expunge, transfer
from gateway.mailbox.arranging import Arranger
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.columns import ColumnReader
from gateway.mailbox.context import AccountContext
from gateway.mailbox.hub import FolderHub, Hubs
from gateway.mailbox.index import Entry as Indexed
from gateway.mailbox.keywords import as_known, check, room
from gateway.mailbox.local import KeywordMap
from gateway.mailbox.names import Entry
from gateway.mailbox.reach import reach
from gateway.mailbox.replacing import Replaced
from gateway.mailbox.resync import Known, vanished
from gateway.mailbox.rows import RowReader
from gateway.mailbox.search import Query
from gateway.mailbox.searching import Searching
from gateway.mailbox.sortkeys import SortKeys
from gateway.mailbox.sync import FolderSync
from gateway.mailbox.translate import translated
from gateway.mailbox.values import (
    AppendResult,
    Columns,
    CopyResult,
    Derived,
    Flagged,
    Incoming,
    Need,
    Row,
    SearchResult,
    StoreResult,
    Thread,
)
from gateway.mailbox.view import MailboxView
from gateway.mailbox.watch import Watches
from gateway.store.api import FolderRow, MessageRow
from gateway.wire.searchkey import All, SearchKey
from gateway.wire.sortkey import Criterion, Threading

NO_RELEVANCY: Mapping[int, int] = {}
EXPUNGE_MAX_AGE = 2.0  # seconds: decision 8, somebody else may have taken \\Deleted away


class Home(Protocol):
    """What an open folder needs of its account."""

    ctx: AccountContext
    bodies: Bodies
    sort_keys: SortKeys
    watches: Watches

    async def row(self, name: str) -> FolderRow:
        """The folder behind a name, as the store has it now. NoSuchMailbox."""
        ...


class OpenFolder:
    """Made by `open`; `close` ends it."""

    def __init__(
        self, account: Home, row: FolderRow, name: str, sync: FolderSync, hub: FolderHub, view: MailboxView,
        *, read_only: bool,
    ) -> None:  # fmt: skip
        self.name = name
        self.read_only = read_only
        self.uid_validity = row.uid_validity
        self._account = account
        self._ctx = account.ctx
        self._row = row
        self._sync = sync
        self._hub = hub
        self._view = view
        self._words = KeywordMap(account.ctx.settings.labels)
        self._copied_out: set[MessageId] = set()
        self._reader = RowReader(account.ctx, account.bodies, row, hub, view)
        self._columns = ColumnReader(account.ctx, account.bodies, row, hub, view)
        self._watching: AbstractContextManager[None] | None = account.watches.watch(row.key, sync)
        self._watching.__enter__()

    @classmethod
    async def open(
        cls, account: Home, entry: Entry, sync: FolderSync, hubs: Hubs, *, read_only: bool
    ) -> OpenFolder:
        """The folder is synced; taking \\Recent is part of a read-write SELECT (decision 14). The view comes last: it
        has to show everything below the UIDNEXT of the row, or a client would not look there again."""
        row = await _row(account.ctx, entry.row.id)
        recent = row.recent_from if read_only else await account.ctx.store.take_recent(row.key)
        row = await _row(account.ctx, row.id)
        hub = await hubs.open(row.key)
        view = hub.view(recent_from=recent, takes_recent=not read_only)
        return cls(account, row, entry.name, sync, hub, view, read_only=read_only)

    async def close(self) -> None:
        self._reader.close()
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.__exit__(None, None, None)

    # -- what is known without asking --

    @property
    def view(self) -> MailboxView:
        return self._view

    @property
    def gone(self) -> bool:
        return self._hub.dissolved

    @property
    def uid_next(self) -> int:
        return max(self._row.uid_next, self._hub.index.last_uid + 1)

    @property
    def highest_modseq(self) -> int:
        return max(self._hub.index.modseq, 1)

    @property
    def mailbox_id(self) -> ObjectId:
        return ObjectId(self._row.mailbox_id)

    def keywords(self) -> list[bytes]:
        return one_spelling(self._hub.index.table.keywords())

    @property
    def takes_keywords(self) -> bool:
        return room(self._hub.index.table.keywords(), self._ctx.limits)

    def first_unseen(self) -> int:
        uid = self._hub.index.first_unseen()
        return self._view.seq(uid) if uid else 0

    # -- mod-sequences (RFC 7162) --

    def newer(self, at: Sequence[range], modseq: int) -> list[range]:
        return self._view.newer(at, modseq)

    def highest_of(self, at: Iterable[int]) -> int:
        return self._view.highest_of(at)

    @translated
    async def vanished(self, known: Known) -> Runs:
        """Nothing is named that is in the view when this returns: the view will speak of it. Nor is what has come,
        and was not announced yet."""
        expunged = await self._ctx.store.expunged(self._row.key, ModSeq(known.modseq))
        announced, here = self._view.uids, self._hub.index.uids
        present = announced if announced is here else array("I", sorted({*announced, *here}))
        return vanished(known, expunged, present, self.uid_next - 1)

    # -- reading --

    def rows(self, at: Sequence[range], need: Need) -> AsyncIterator[list[Row]]:
        return self._reader.rows(at, need)

    def columns(
        self, at: Sequence[range], need: Need, derived: Sequence[Derived]
    ) -> AsyncIterator[Columns] | None:
        return None if self._reader.exact(at, need) else self._columns.columns(at, derived)

    @translated
    async def search(self, key: SearchKey) -> SearchResult:
        view = self._view
        if isinstance(key, All):
            return SearchResult(range(view.count))
        last = view.uids[-1] if view.count else 0
        query = Query(key, count=view.count, last_uid=last, now=self._ctx.clock.time())
        searching = Searching(self._ctx, self._account.bodies, self._row, self._reader, query, self._columns)
        return await searching.run(reach(key, view.uids))

    @translated
    async def sort(
        self, at: Sequence[int], criteria: Sequence[Criterion], relevancy: Mapping[int, int] = NO_RELEVANCY
    ) -> list[int]:
        return await self._arranger(at).sort(criteria, relevancy)

    @translated
    async def thread(self, at: Sequence[int], algorithm: Threading) -> list[Thread]:
        return await self._arranger(at).thread(algorithm)

    def _arranger(self, at: Sequence[int]) -> Arranger:
        return Arranger(self._account.sort_keys, self._row, self._hub, self._view, self._reader, at)

    # -- writing --

    def _writable(self) -> None:
        if self.read_only:
            raise NoPermission("The mailbox is open read-only")

    async def _stored(self, uids: Iterable[int]) -> list[MessageRow]:
        """The messages of these UIDs that still exist, in their order."""
        wanted = [Uid(uid) for uid in uids]
        known = await self._ctx.store.by_uid(self._row.key, wanted)
        return [known[uid] for uid in wanted if uid in known]

    async def _fresh_row(self) -> FolderRow:
        """By its id: Outlook may have renamed it, and something else may bear its name by now."""
        self._row = await _row(self._ctx, self._row.id)
        return self._row

    @translated
    async def store(self, uids: Sequence[Uid], change: FlagChange) -> StoreResult:
        self._writable()
        if change.op is not FlagOp.REMOVE and change.flags.keywords:
            known = self._hub.index.table.keywords()
            check(change.flags.keywords, known, self._words, self._ctx.limits)
            change = replace(change, flags=as_known(change.flags, known))
        rows = await self._stored(uids)
        expect(len(rows))
        outcome = await changes.store_flags(self._ctx, await self._fresh_row(), rows, change)
        heard = {*outcome.changed, *outcome.failed, *outcome.modified}
        shown = [shown for uid in uids if uid in heard and (shown := self._flagged(uid)) is not None]
        return StoreResult(shown, outcome.failed, outcome.modified, outcome.error)

    def _flagged(self, uid: Uid) -> Flagged | None:
        entry: Indexed | None = self._hub.index.entry(uid)
        seq = self._view.seq(uid)
        if entry is None or not seq:
            return None
        return Flagged(seq, uid, entry.flags, self._view.is_recent(uid), entry.modseq)

    @translated
    async def copy(self, uids: Sequence[Uid], target: str) -> CopyResult:
        into = await self._account.row(target)
        rows = await self._stored(uids)
        expect(len(rows))
        pairs = await transfer.copy(self._ctx, self._row, rows, into)
        self._copied_out.update(row.id for row in rows)
        return _result(into, pairs)

    @translated
    async def move(self, uids: Sequence[Uid], target: str) -> CopyResult:
        self._writable()
        into = await self._account.row(target)
        rows = await self._stored(uids)
        expect(len(rows))
        failures: list[GatewayError] = []
        pairs = await transfer.move(self._ctx, self._row, rows, into, failures=failures)
        result = _result(into, pairs)
        result.error = failures[0] if failures else None
        return result

    @translated
    async def replace(self, old: Uid, target: str, message: Incoming) -> AppendResult:
        self._writable()
        into = await self._account.row(target)
        rows = await self._stored([old])
        if not rows:
            raise Expired("The message to be replaced is gone")
        id = rows[0].id
        replaced = Replaced(self._row.id, id, copied_out=id in self._copied_out)
        uid = await append.replace(self._ctx, into, message, replaced)
        return AppendResult(into.uid_validity, (uid,))

    @translated
    async def expunge(self, uids: Sequence[Uid] | None) -> None:
        """After a delta that is young: a \\Deleted that somebody took back in Outlook must not destroy (decision 8)."""
        self._writable()
        candidates = self._deleted(uids)
        if not candidates:
            return
        await self._sync.poll(max_age=EXPUNGE_MAX_AGE, whole=True)
        rows = [row for row in await self._stored(candidates) if SystemFlag.DELETED in row.flags.system]
        expect(len(rows))
        if rows:
            copied = frozenset(self._copied_out)
            await expunge.expunge(self._ctx, await self._fresh_row(), rows, copied_out=copied)

    def _deleted(self, uids: Sequence[Uid] | None) -> list[int]:
        """UIDs announced to this session that have \\Deleted, of `uids` if given."""
        index = self._hub.index
        wanted = self._view.uids if uids is None else uids
        entries = ((uid, index.entry(uid)) for uid in wanted if self._view.seq(uid))
        return [
            uid for uid, entry in entries if entry is not None and SystemFlag.DELETED in entry.flags.system
        ]

    # -- news --

    @translated
    async def poll(self, *, force: bool = False) -> None:
        interval = self._ctx.freshness.interval(self._ctx.settings.poll_interval)
        await self._sync.poll(max_age=0.0 if force else interval)

    async def changed(self, *, messages: bool = True, expunge: bool = True, flags: bool = True) -> None:
        await self._hub.changed(self._view, messages=messages, expunge=expunge, flags=flags)


async def _row(ctx: AccountContext, folder: FolderId) -> FolderRow:
    """The folder as the store has it now. NoSuchMailbox."""
    row = await ctx.store.folder(ctx.account, folder)
    if row is None:
        raise NoSuchMailbox("The mailbox has been deleted")
    return row


def _result(target: FolderRow, pairs: Sequence[tuple[Uid, Uid]]) -> CopyResult:
    return CopyResult(target.uid_validity, [source for source, _ in pairs], [copy for _, copy in pairs])
