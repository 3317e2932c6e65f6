"""One person's mailbox: the folder list, open folders, and everything a front end may ask of an account.

It assembles the parts: `hierarchy` knows the tree, `sync` keeps each folder, `folder` is what a session holds, and
`append`, `submit` and the rest do the writing. One per user and process.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from gateway.core.errors import CannotDo, MailboxExists, NoSuchMailbox, TooBig
from gateway.core.types import Flags, FolderId, ObjectId, SystemFlag
from gateway.graph.errors import GraphError, NotFound
from gateway.graph.model import Priority
from gateway.mailbox import append, journal, submit
from gateway.mailbox.api import AppendResult, Envelope, MailboxInfo, MailboxStatus
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.context import AccountContext
from gateway.mailbox.folder import OpenFolder
from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.hub import Hubs
from gateway.mailbox.names import DELIMITER, Entry, split_new
from gateway.mailbox.replies import translated
from gateway.mailbox.spool import MailSpool, SpoolBudget
from gateway.mailbox.sync import FolderSync
from gateway.store.api import FolderRow

OPEN_MAX_AGE = 2.0  # seconds: a SELECT right after another needs no second delta
BACKGROUND_FOLDERS = ("inbox", "sentitems", "drafts", "archive", "deleteditems", "junkemail")
BACKGROUND_RETRY = 30.0  # seconds after a failed background sync

log = structlog.get_logger()


class MailboxAccount:
    """Implements `api.Account`."""

    def __init__(self, ctx: AccountContext, hubs: Hubs, bodies: Bodies, budget: SpoolBudget) -> None:
        self.name = ctx.account
        self.ctx = ctx
        self.bodies = bodies
        self._hubs = hubs
        self._budget = budget
        self.hierarchy = Hierarchy(ctx)
        self._syncs: dict[int, FolderSync] = {}
        self._background: asyncio.Task[None] | None = None

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
        for sync in self._syncs.values():
            await sync.close()

    async def _keep_warm(self) -> None:
        """Finish what a crash interrupted, then sync INBOX and the special folders (decision 5)."""
        while True:
            try:
                await self._warm_up()
                return
            except GraphError as error:
                log.warning("background sync failed", account=self.name, error=type(error).__name__, code=error.code)
            except Exception:
                log.exception("background sync failed", account=self.name)
            await self.ctx.clock.sleep(BACKGROUND_RETRY)

    async def _warm_up(self) -> None:
        await self.hierarchy.refresh(max_age=0.0, priority=Priority.BACKGROUND)
        await journal.recover(self.ctx)
        for name in BACKGROUND_FOLDERS:
            row = self.ctx.special.get(name)
            if row is not None:
                await self.sync(row).ready(Priority.BACKGROUND)

    def sync(self, row: FolderRow) -> FolderSync:
        """The one sync of a folder."""
        found = self._syncs.get(row.key)
        if found is None:
            found = self._syncs[row.key] = FolderSync(self.ctx, row, self._moved_to)
        return found

    def _moved_to(self, folder: FolderId) -> None:
        row = self.hierarchy.rows.get(folder)
        if row is not None:
            self.sync(row).stale()

    # -- folders --

    async def _entry(self, name: str) -> Entry:
        """A mailbox by name; one unknown to us is looked for in Graph once before it is refused."""
        await self._fresh(self.ctx.settings.poll_interval)
        entry = self.hierarchy.tree.get(name)
        if entry is None:
            await self._fresh(OPEN_MAX_AGE)
            entry = self.hierarchy.tree.find(name)
        return entry

    @translated
    async def _fresh(self, max_age: float) -> None:
        await self.hierarchy.refresh(max_age=max_age)

    async def folders(self) -> list[MailboxInfo]:
        await self._fresh(self.ctx.settings.poll_interval)
        subscribed = await self.ctx.store.subscriptions(self.ctx.account)
        return [
            MailboxInfo(
                name=entry.name, use=entry.use, has_children=entry.has_children, selectable=True,
                subscribed=entry.name in subscribed, mailbox_id=ObjectId(entry.row.mailbox_id),
            )
            for entry in self.hierarchy.tree.entries()
        ]  # fmt: skip

    async def status(self, names: Sequence[str]) -> list[MailboxStatus]:
        await self._fresh(self.ctx.settings.poll_interval)
        return [await self._status(await self._entry(name)) for name in names]

    @translated
    async def _status(self, entry: Entry) -> MailboxStatus:
        row = await self.ctx.store.folder(self.ctx.account, entry.row.id)
        if row is None:
            raise NoSuchMailbox("No such mailbox")
        if not row.ready:
            return _cold_status(entry.name, row)
        sync = self.sync(row)
        if sync.counts_differ(entry.row):
            await sync.poll(max_age=OPEN_MAX_AGE)
        counts = await self.ctx.store.counts(row.key)
        return MailboxStatus(
            name=entry.name, messages=counts.messages, recent=counts.recent, uid_next=counts.uid_next,
            uid_validity=row.uid_validity, unseen=counts.unseen, highest_modseq=counts.modseq,
            deleted=counts.deleted, size=counts.size, mailbox_id=ObjectId(row.mailbox_id),
        )  # fmt: skip

    @translated
    async def open(self, name: str, *, read_only: bool) -> OpenFolder:
        entry = await self._entry(name)
        sync = self.sync(entry.row)
        try:
            await sync.ready()
            await sync.poll(max_age=OPEN_MAX_AGE)
        except NotFound as error:
            self.hierarchy.forget_age()
            raise NoSuchMailbox("The mailbox has just been deleted") from error
        hub = await self._hubs.open(entry.row.key)
        return await OpenFolder.opened(self, entry, sync, hub, read_only=read_only)

    @translated
    async def create(self, name: str) -> None:
        """With the levels above it that are missing (RFC 9051 section 6.3.4)."""
        await self._fresh(self.ctx.settings.poll_interval)
        parent, display = split_new(name)
        if self.hierarchy.tree.get(parent + DELIMITER + display if parent else display) or self.hierarchy.tree.get(name.rstrip(DELIMITER)):
            raise MailboxExists("The mailbox exists")
        if parent and self.hierarchy.tree.get(parent) is None:
            await self.create(parent)
        above = self.hierarchy.tree.find(parent).row.id if parent else "msgfolderroot"
        await self.ctx.graph.create_folder(above, display)
        await self._hierarchy_changed()

    @translated
    async def delete(self, name: str) -> None:
        entry = await self._entry(name)
        if entry.use is not None:
            raise CannotDo("A special folder cannot be deleted")
        if entry.has_children:
            raise CannotDo("The mailbox has mailboxes below it: delete those first")
        await self.ctx.graph.delete_folder(entry.row.id)
        await self._hierarchy_changed()

    @translated
    async def rename(self, source: str, target: str) -> None:
        """Within a parent one PATCH; across parents a move first, undone if the new name is refused (trap 33).
        RENAME of INBOX moves its messages to a new mailbox (RFC 9051 section 6.3.6)."""
        entry = await self._entry(source)
        if self.hierarchy.tree.get(target) is not None:
            raise MailboxExists("The new name exists")
        if entry.name == "INBOX":
            await self._rename_inbox(target)
            return
        if entry.use is not None:
            raise CannotDo("A special folder cannot be renamed")
        if (target + DELIMITER).startswith(entry.name + DELIMITER):
            raise CannotDo("A mailbox cannot be moved below itself")
        await self._move_and_rename(entry, target)
        await self.ctx.store.rename_subscriptions(self.ctx.account, entry.name, target)
        await self._hierarchy_changed()

    async def _move_and_rename(self, entry: Entry, target: str) -> None:
        graph, folder = self.ctx.graph, entry.row.id
        parent, display = split_new(target)
        if parent and self.hierarchy.tree.get(parent) is None:
            await self.create(parent)
        above = self.hierarchy.tree.find(parent).row.id if parent else FolderId("msgfolderroot")
        now = entry.name.rpartition(DELIMITER)[0]
        moves, renames = parent != now, display != entry.row.name
        if moves:
            await graph.move_folder(folder, above)
        if renames:
            try:
                await graph.rename_folder(folder, display)
            except GraphError:
                if moves:
                    await graph.move_folder(folder, self.hierarchy.tree.find(now).row.id if now else "msgfolderroot")
                raise

    async def _rename_inbox(self, target: str) -> None:
        await self.create(target)
        inbox = await self.open("INBOX", read_only=False)
        try:
            if inbox.view.count:
                await inbox.move([*map(_uid, inbox.view.uids)], target)
        finally:
            await inbox.close()

    async def _hierarchy_changed(self) -> None:
        self.hierarchy.forget_age()
        await self.hierarchy.refresh(max_age=0.0)

    async def subscribe(self, name: str, on: bool) -> None:
        if on:
            name = (await self._entry(name)).name
        await self.ctx.store.subscribe(self.ctx.account, name, on)

    async def subscriptions(self) -> list[str]:
        return sorted(await self.ctx.store.subscriptions(self.ctx.account))

    # -- messages in --

    def append_limit(self) -> int:
        return self.ctx.limits.append_landable

    async def check_append(self, name: str, size: int) -> None:
        await self._entry(name)
        if size > self.append_limit():
            raise TooBig(f"At most {self.append_limit()} octets can be appended")

    def spool(self, expected: int) -> MailSpool:
        return MailSpool(self._budget, expected)

    @translated
    async def append(self, name: str, spool: MailSpool, flags: Flags, internal_date: int | None) -> AppendResult:
        entry = await self._entry(name)
        target = await self._row(entry)
        uid = await append.append(self.ctx, target, spool.read(), flags, internal_date)
        return AppendResult(target.uid_validity, uid)

    async def target(self, name: str) -> FolderRow:
        """Where COPY and MOVE put messages."""
        return await self._row(await self._entry(name))

    async def _row(self, entry: Entry) -> FolderRow:
        row = await self.ctx.store.folder(self.ctx.account, entry.row.id)
        if row is None:
            raise NoSuchMailbox("No such mailbox")
        return row

    @translated
    async def submit(self, envelope: Envelope, spool: MailSpool) -> str:
        return await submit.submit(self.ctx, envelope, spool.read())


def _cold_status(name: str, row: FolderRow) -> MailboxStatus:
    """Before the first sync: the folder's own counts; UIDNEXT is above all reserved UIDs (decision 1)."""
    return MailboxStatus(
        name=name, messages=row.total, recent=0, uid_next=row.uid_next, uid_validity=row.uid_validity,
        unseen=row.unread, highest_modseq=max(row.modseq, 1), mailbox_id=ObjectId(row.mailbox_id),
    )  # fmt: skip


_DELETED = SystemFlag.DELETED
