"""One person's mailbox: everything a front end may ask of an account.

It only assembles: `hierarchy` knows the tree, `administration` changes it, `sync` keeps each folder, `folder` is what a
session holds, `append` and `submit` write. One per user and process.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from gateway.core.errors import NoSuchMailbox, TooBig
from gateway.core.types import ObjectId, SpecialUse
from gateway.graph.errors import GraphError, NotFound
from gateway.graph.model import Priority
from gateway.mailbox import append, journal, reporting
from gateway.mailbox.administration import Administration
from gateway.mailbox.annotations import USE, Annotations
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.context import AccountContext
from gateway.mailbox.folder import OpenFolder
from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.hub import Hubs
from gateway.mailbox.inboxmove import move_everything
from gateway.mailbox.keywords import check
from gateway.mailbox.listening import Ear
from gateway.mailbox.local import KeywordMap
from gateway.mailbox.measuring import Measuring
from gateway.mailbox.names import Entry, canonical
from gateway.mailbox.neighbour import Household
from gateway.mailbox.push import Hook, Push
from gateway.mailbox.sending import deliver
from gateway.mailbox.sending.courier import Courier
from gateway.mailbox.sending.precheck import Precheck
from gateway.mailbox.sortkeys import SortKeys
from gateway.mailbox.spool import MailSpool, SpoolBudget
from gateway.mailbox.statuses import Statuses
from gateway.mailbox.sync import FolderSync
from gateway.mailbox.syncs import Syncs
from gateway.mailbox.tidings import Reporting
from gateway.mailbox.translate import translated
from gateway.mailbox.values import AppendResult, Envelope, Incoming, MailboxInfo, MailboxStatus, Spool
from gateway.mailbox.watch import Watches
from gateway.store.api import FolderRow
from gateway.wire.mailboxname import INBOX

OPEN_MAX_AGE = 2.0  # seconds: a SELECT right after another needs no second delta
OPEN_NAME_AGE = (
    300.0  # seconds: a SELECT by a name heard of so long ago does not ask for the hierarchy before
)
BACKGROUND_FOLDERS = ("inbox", "sentitems", "drafts", "archive", "deleteditems", "junkemail")
SUPPOSED_SIZE = 64 * 1024  # octets of a message, where nothing is known of any
BACKGROUND_RETRY = 30.0  # seconds after a failed background sync
MEND_AFTER = 5.0  # seconds after work ended amid what it did: what Graph was doing then is done

log = structlog.get_logger("gateway.mailbox")


class MailboxAccount:
    """Implements `api.Account`."""

    def __init__(
        self, ctx: AccountContext, hubs: Hubs, bodies: Bodies, budget: SpoolBudget, hook: Hook | None = None
    ) -> None:
        self.name = str(ctx.account)
        self.ctx = ctx
        self.bodies = bodies
        self.sort_keys = SortKeys(ctx, bodies)
        self.hierarchy = Hierarchy(ctx)
        ctx.hubs = Reporting(ctx.hubs, ctx.tidings)
        self._syncs = Syncs(ctx, self.hierarchy)
        self.watches = Watches(ctx, self.hierarchy, self.sync)
        self._push = Push(ctx, self.watches, hook.addresses, hook.board) if hook is not None else None
        self._statuses = Statuses(ctx, self.hierarchy, self._syncs, self.entry, self.row)
        self._administration = Administration(ctx, self.hierarchy)
        self.annotations = Annotations(ctx)
        self._hubs = hubs
        self._budget = budget
        self._background: asyncio.Task[None] | None = None
        self._mending: asyncio.Task[None] | None = None
        self._courier = Courier(ctx)
        self._precheck = Precheck(ctx)
        self.measuring = Measuring(ctx, bodies)
        self._interrupted = True  # a crash may have left work in the journal
        self._recovering = asyncio.Lock()

    # -- life --

    async def start(self) -> None:
        """Ready from what the store knows: a login costs no request. The first sync goes on in the background."""
        await self.ctx.duty.enter(Household(self.ctx, self.hierarchy, self.annotations, self.watches))
        await self.hierarchy.load()
        await self.annotations.load()
        self._background = asyncio.create_task(self._keep_warm())
        self._mending = asyncio.create_task(self._mend())
        self._courier.start()
        self.measuring.start()
        if self._push is not None:
            self._push.start()

    async def close(self) -> None:
        self.ctx.duty.leave()
        await self._courier.close()
        await self.measuring.close()
        for task in (self._background, self._mending):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if self._push is not None:
            await self._push.close()
        await self.watches.close()
        await self._syncs.close()

    async def _keep_warm(self) -> None:
        """Finish what a crash interrupted, then sync INBOX and the special folders (decision 5). Of several processes
        the one with the duty does it, also when it comes to have it later."""
        while True:
            await self.ctx.duty.taken()
            self._interrupted = True
            try:
                with self.ctx.duty.bound():
                    await self._warm_up()
            except GraphError as error:
                log.warning("background sync failed", error=type(error).__name__, code=error.code)
            except Exception:
                log.exception("background sync failed")
            else:
                if not await self.ctx.duty.lost():
                    return
                continue
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

    async def _mend(self) -> None:
        """What work of this process left undone is finished or undone without waiting for the next start."""
        pause = MEND_AFTER
        while True:
            await self.ctx.unfinished.wait()
            await self.ctx.clock.sleep(pause)
            self.ctx.unfinished.clear()
            pause = MEND_AFTER
            try:
                async with self._recovering:
                    await journal.recover(self.ctx)
            except GraphError as error:
                log.warning("unfinished work waits", error=type(error).__name__, code=error.code)
                self.ctx.unfinished.set()
                pause = BACKGROUND_RETRY
            except Exception:
                log.exception("unfinished work waits")

    def sync(self, row: FolderRow) -> FolderSync:
        """The one sync of a folder."""
        return self._syncs.of(row)

    # -- folders --

    @translated
    async def _fresh(self, max_age: float | None = None) -> None:
        await self.hierarchy.refresh(max_age=self.ctx.settings.poll_interval if max_age is None else max_age)
        await self._syncs.prune()
        if self._interrupted:
            await self._recover()

    async def entry(self, name: str, max_age: float | None = None) -> Entry:
        """A mailbox by name; one unknown to us is looked for in Graph once before it is refused."""
        await self._fresh(max_age)
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
        return await self.known_folders()

    async def known_folders(self) -> list[MailboxInfo]:
        subscribed = await self.ctx.store.subscriptions(self.ctx.account)
        use = self.annotations.use_of
        return [_info(entry, use(entry), subscribed) for entry in self.hierarchy.tree.entries()]

    @translated
    async def status(self, names: Sequence[str], *, sizes: bool = False) -> list[MailboxStatus]:
        return await self._statuses.of(names, sizes=sizes)

    @translated
    async def known_status(self, names: Sequence[str]) -> list[MailboxStatus]:
        return await self._statuses.known(names)

    def listen(self, reader: int) -> Ear:
        return Ear(self.ctx.tidings, self.hierarchy, self.watches, reader)

    @translated
    async def open(self, name: str, *, read_only: bool) -> OpenFolder:
        entry = await self.entry(name, max(OPEN_NAME_AGE, self.ctx.settings.poll_interval))
        try:
            return await self._open(entry, read_only)
        except NotFound as error:
            self.hierarchy.forget_age()
            if (other := await self.entry(name)).row.id == entry.row.id:
                raise NoSuchMailbox("The mailbox has just been deleted") from error
        return await self._open(other, read_only)

    async def _open(self, entry: Entry, read_only: bool) -> OpenFolder:
        sync = self.sync(entry.row)
        await sync.ready()
        await sync.poll(max_age=0.0 if self.ctx.freshness.behind(sync.synced) else OPEN_MAX_AGE)
        return await OpenFolder.open(self, entry, sync, self._hubs, read_only=read_only)

    @translated
    async def look(self, name: str, *, flags: bool) -> OpenFolder:
        """Costs a delta of its own only where flags matter or the hierarchy's counts say that something happened."""
        entry = await self.entry(name)
        sync = self.sync(entry.row)
        await sync.ready()
        if flags:
            await sync.poll(max_age=self.ctx.settings.poll_interval)
        else:
            await self._statuses.settle(await self.row(name))
        return await OpenFolder.open(self, entry, sync, self._hubs, read_only=True)

    @translated
    async def create(self, name: str, uses: Sequence[bytes] = ()) -> None:
        await self._fresh()
        self.annotations.check_uses(uses)
        await self._administration.create(name)
        for use in uses:
            await self.annotations.put(await self.entry(name), {USE: use}, 0)

    @translated
    async def delete(self, name: str) -> None:
        entry = await self.entry(name)
        await self._administration.delete(name)
        await self.annotations.forget_use(entry)

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
        inbox, made = await self.entry(INBOX), await self.entry(target)
        await self.annotations.copy(inbox, made)
        await self.sync(inbox.row).ready()
        await self.sync(inbox.row).poll(max_age=OPEN_MAX_AGE, whole=True)
        await move_everything(self.ctx, await self.row(INBOX), await self.row(made.name))

    async def subscribe(self, name: str, on: bool) -> None:
        known = (await self.entry(name)).name if on else canonical(name)
        await self.ctx.store.subscribe(self.ctx.account, known, on)
        self.ctx.tidings.subscribed(known)

    async def subscriptions(self) -> list[str]:
        return sorted(await self.ctx.store.subscriptions(self.ctx.account))

    # -- annotations, quota --

    async def metadata(self, name: str) -> dict[str, bytes]:
        return await self.annotations.of(await self.entry(name) if name else None)

    async def metadata_of_all(self, entries: Sequence[str]) -> dict[str, dict[str, bytes]]:
        await self._fresh()
        return await self.annotations.of_all(self.hierarchy.tree.entries(), entries)

    async def set_metadata(self, name: str, changes: Mapping[str, bytes | None], writer: int) -> None:
        await self.annotations.put(await self.entry(name) if name else None, changes, writer)

    @property
    def metadata_serial(self) -> int:
        return self.annotations.news.serial

    def metadata_news(self, serial: int, reader: int) -> dict[str, list[str]]:
        names = {row.key: self.hierarchy.tree.name_of(id) for id, row in self.hierarchy.rows.items()}
        news = self.annotations.news.since(serial, reader)
        named = (("" if key is None else names.get(key), entries) for key, entries in news.items())
        return {name: entries for name, entries in named if name is not None}

    async def metadata_changed(self, serial: int) -> None:
        await self.annotations.news.changed(serial)

    @property
    def quota(self) -> int:
        return self.ctx.settings.quota

    async def storage_used(self) -> int:
        await self._fresh()
        messages, octets = await self.ctx.store.storage(self.ctx.account)
        mean = octets // messages if messages else SUPPOSED_SIZE
        folders = await self.ctx.store.folders(self.ctx.account)
        return octets + mean * sum(row.total for row in folders if not row.ready)

    # -- messages in --

    def append_limit(self) -> int:
        return self.ctx.limits.append_landable

    async def check_append(self, name: str, size: int, keywords: Collection[bytes] = ()) -> None:
        row = (await self.entry(name)).row
        if size > self.append_limit():
            raise TooBig(f"At most {self.append_limit()} octets can be appended")
        if keywords:
            present = await self._keywords_of(row)
            check(keywords, present, KeywordMap(self.ctx.settings.labels), self.ctx.limits)

    async def _keywords_of(self, folder: FolderRow) -> set[bytes]:
        """None before the first sync: nobody has looked at its messages."""
        row = await self.ctx.store.folder(self.ctx.account, folder.id)
        if row is None or not row.ready:
            return set()
        return (await self._hubs.open(row.key)).index.table.keywords()

    def spool(self, expected: int, beside: Spool | None = None) -> MailSpool:
        return MailSpool(self._budget, expected, beside=beside if isinstance(beside, MailSpool) else None)

    @translated
    async def append(self, name: str, messages: Sequence[Incoming]) -> AppendResult:
        target = await self.row(name)
        uids = await append.append(self.ctx, target, messages)
        return AppendResult(target.uid_validity, tuple(uids))

    async def check_sender(self, sender: str) -> None:
        self._precheck.sender(sender)

    async def check_recipient(self, recipient: str, ahead: Callable[[], Sequence[str]], size: int) -> None:
        await self._precheck.recipient(recipient, ahead, size)

    async def submit(self, envelope: Envelope, spool: Spool) -> str:
        queue_id = await deliver.submit(self.ctx, envelope, spool)
        if self.ctx.settings.submission_mode == "direct":  # the outbox tells when it has sent
            await reporting.relayed(self.ctx, envelope, spool, queue_id)
        return queue_id

    async def heard(self, queue_id: str) -> None:
        await deliver.heard(self.ctx, queue_id)

    def lost(self, queue_id: str) -> None:
        deliver.lost(self.ctx, queue_id)


def _info(entry: Entry, use: SpecialUse | None, subscribed: set[str]) -> MailboxInfo:
    return MailboxInfo(
        name=entry.name, use=use, has_children=entry.has_children, selectable=True,
        subscribed=entry.name in subscribed, mailbox_id=ObjectId(entry.row.mailbox_id),
    )  # fmt: skip
