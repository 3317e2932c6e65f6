"""One person's mailbox: everything a front end may ask of an account.

It only assembles: `hierarchy` knows the tree, `administration` changes it, `sync` keeps each folder, `folder` is what a
session holds, `append` and `submit` write. One per user and process.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from gateway.core.errors import NoSuchMailbox, TooBig
from gateway.core.types import Flags, FolderId, ObjectId, Uid
from gateway.graph.errors import GraphError, NotFound
from gateway.graph.model import Message, Priority
from gateway.mailbox import append, journal, submit
from gateway.mailbox.administration import Administration
from gateway.mailbox.api import AppendResult, Envelope, MailboxInfo, MailboxStatus, Spool
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.context import AccountContext
from gateway.mailbox.folder import OpenFolder
from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.hub import Hubs
from gateway.mailbox.names import INBOX, Entry, canonical
from gateway.mailbox.spool import MailSpool, SpoolBudget
from gateway.mailbox.sync import FolderSync
from gateway.mailbox.translate import translated
from gateway.mailbox.watch import Watches
from gateway.store.api import FolderRow

OPEN_MAX_AGE = 2.0  # seconds: a SELECT right after another needs no second delta
BACKGROUND_FOLDERS = ("inbox", "sentitems", "drafts", "archive", "deleteditems", "junkemail")
BACKGROUND_RETRY = 30.0  # seconds after a failed background sync

log = structlog.get_logger("gateway.mailbox")


class MailboxAccount:
    """Implements `api.Account`."""

    def __init__(self, ctx: AccountContext, hubs: Hubs, bodies: Bodies, budget: SpoolBudget) -> None:
        self.name = str(ctx.account)
        self.ctx = ctx
        self.bodies = bodies
        self.hierarchy = Hierarchy(ctx)
        self.watches = Watches(ctx)
        self._administration = Administration(ctx, self.hierarchy)
        self._hubs = hubs
        self._budget = budget
        self._syncs: dict[int, FolderSync] = {}
        self._background: asyncio.Task[None] | None = None
        self._interrupted = True  # a crash may have left work in the journal
        self._recovering = asyncio.Lock()

    # -- life --

    async def start(self) -> None:
        """Ready from what the store knows: a login costs no request. The first sync goes on in the background."""
        await self.hierarchy.load()
        self._background = asyncio.create_task(self._keep_warm())

    async def close(self) -> None:
        if self._background is not None:
            self._background.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._background
        await self.watches.close()
        for sync in self._syncs.values():
            await sync.close()

    async def _keep_warm(self) -> None:
        """Finish what a crash interrupted, then sync INBOX and the special folders (decision 5)."""
        while True:
            try:
                await self._warm_up()
            except GraphError as error:
                log.warning("background sync failed", error=type(error).__name__, code=error.code)
            except Exception:
                log.exception("background sync failed")
            else:
                return
            await self.ctx.clock.sleep(BACKGROUND_RETRY)

    async def _warm_up(self) -> None:
        await self.hierarchy.refresh(max_age=self.ctx.settings.poll_interval, priority=Priority.BACKGROUND)
        await self._recover()
        for name in BACKGROUND_FOLDERS:
            row = self.ctx.special.get(name)
            if row is not None:
                await self.sync(row).ready(Priority.BACKGROUND)

    async def _recover(self) -> None:
        """What a crash interrupted is finished or undone before anybody looks into a folder: a copy that is going
        to be taken back must not be given a UID by delta first (invariant 2)."""
        async with self._recovering:
            if self._interrupted:
                await journal.recover(self.ctx)
                self._interrupted = False

    def sync(self, row: FolderRow) -> FolderSync:
        """The one sync of a folder."""
        found = self._syncs.get(row.key)
        if found is None:
            found = self._syncs[row.key] = FolderSync(self.ctx, row, self._moved_to)
        return found

    async def _moved_to(self, message: Message) -> None:
        row = self.hierarchy.rows.get(FolderId(message.parent_folder_id or ""))
        if row is not None:
            await self.sync(row).adopt(message)

    # -- folders --

    @translated
    async def _fresh(self, max_age: float | None = None) -> None:
        await self.hierarchy.refresh(max_age=self.ctx.settings.poll_interval if max_age is None else max_age)
        if self._interrupted:
            await self._recover()

    async def entry(self, name: str) -> Entry:
        """A mailbox by name; one unknown to us is looked for in Graph once before it is refused."""
        await self._fresh()
        found = self.hierarchy.tree.get(name)
        if found is None:
            await self._fresh(OPEN_MAX_AGE)
            found = self.hierarchy.tree.find(name)
        return found

    async def row(self, name: str) -> FolderRow:
        """The folder behind a name, as the store has it now."""
        found = await self.ctx.store.folder(self.ctx.account, (await self.entry(name)).row.id)
        if found is None:
            raise NoSuchMailbox("No such mailbox")
        return found

    async def folders(self) -> list[MailboxInfo]:
        await self._fresh()
        subscribed = await self.ctx.store.subscriptions(self.ctx.account)
        return [_info(entry, subscribed) for entry in self.hierarchy.tree.entries()]

    async def status(self, names: Sequence[str]) -> list[MailboxStatus]:
        return [await self._status(await self.entry(name)) for name in names]

    @translated
    async def _status(self, entry: Entry) -> MailboxStatus:
        """From our own rows; the hierarchy's counts tell whether they may be old (one request for all folders)."""
        row = await self.row(entry.name)
        if not row.ready:
            return await self._cold_status(entry.name, row)
        await self.sync(row).settle_counts(row, OPEN_MAX_AGE)
        counts = await self.ctx.store.counts(row.key)
        return MailboxStatus(
            name=entry.name, messages=counts.messages, recent=counts.recent, uid_next=counts.uid_next,
            uid_validity=row.uid_validity, unseen=counts.unseen, highest_modseq=counts.modseq,
            deleted=counts.deleted, size=counts.size, mailbox_id=ObjectId(row.mailbox_id),
        )  # fmt: skip

    async def _cold_status(self, name: str, row: FolderRow) -> MailboxStatus:
        """Before the first sync: the folder's own counts; UIDNEXT is above all reserved UIDs (decision 1). Nobody has
        opened it here, so that all its messages are \\Recent. What we have put there since the counts were read must
        show at once: then they are read anew, and are never below our own rows, for Graph counts late (trap 34)."""
        landed = await self.ctx.store.counts(row.key)
        if landed.messages:
            await self._fresh(0.0)
            row = await self.row(name)
        messages = max(row.total, landed.messages)
        return MailboxStatus(
            name=name, messages=messages, recent=messages, uid_next=row.uid_next, uid_validity=row.uid_validity,
            unseen=max(row.unread, landed.unseen), highest_modseq=max(row.modseq, 1),
            mailbox_id=ObjectId(row.mailbox_id),
        )  # fmt: skip

    @translated
    async def open(self, name: str, *, read_only: bool) -> OpenFolder:
        entry = await self.entry(name)
        sync = self.sync(entry.row)
        try:
            await sync.ready()
            await sync.poll(max_age=OPEN_MAX_AGE)
        except NotFound as error:
            self.hierarchy.forget_age()
            raise NoSuchMailbox("The mailbox has just been deleted") from error
        return await OpenFolder.open(self, entry, sync, self._hubs, read_only=read_only)

    @translated
    async def create(self, name: str) -> None:
        await self._fresh()
        await self._administration.create(name)

    @translated
    async def delete(self, name: str) -> None:
        await self.entry(name)
        await self._administration.delete(name)

    @translated
    async def rename(self, source: str, target: str) -> None:
        entry = await self.entry(source)
        if entry.name == INBOX:
            await self._empty_inbox_into(target)
        else:
            await self._administration.rename(source, target)

    async def _empty_inbox_into(self, target: str) -> None:
        """RENAME of INBOX moves its messages to a new mailbox and leaves INBOX (RFC 9051 section 6.3.6)."""
        await self._administration.create(target)
        inbox = await self.open(INBOX, read_only=False)
        try:
            if inbox.view.count:
                moved = await inbox.move([Uid(uid) for uid in inbox.view.uids], target)
                if moved.error is not None:  # some stayed: a repeated RENAME would meet the new mailbox
                    raise moved.error
        finally:
            await inbox.close()

    async def subscribe(self, name: str, on: bool) -> None:
        known = (await self.entry(name)).name if on else canonical(name)
        await self.ctx.store.subscribe(self.ctx.account, known, on)

    async def subscriptions(self) -> list[str]:
        return sorted(await self.ctx.store.subscriptions(self.ctx.account))

    # -- messages in --

    def append_limit(self) -> int:
        return self.ctx.limits.append_landable

    async def check_append(self, name: str, size: int) -> None:
        await self.entry(name)
        if size > self.append_limit():
            raise TooBig(f"At most {self.append_limit()} octets can be appended")

    def spool(self, expected: int) -> MailSpool:
        return MailSpool(self._budget, expected)

    @translated
    async def append(self, name: str, spool: Spool, flags: Flags, internal_date: int | None) -> AppendResult:
        target = await self.row(name)
        uid = await append.append(self.ctx, target, spool.read(), flags, internal_date)
        return AppendResult(target.uid_validity, uid)

    async def submit(self, envelope: Envelope, spool: Spool) -> str:
        return await submit.submit(self.ctx, envelope, spool.read())


def _info(entry: Entry, subscribed: set[str]) -> MailboxInfo:
    return MailboxInfo(
        name=entry.name, use=entry.use, has_children=entry.has_children, selectable=True,
        subscribed=entry.name in subscribed, mailbox_id=ObjectId(entry.row.mailbox_id),
    )  # fmt: skip
