"""What becomes of promised copies in Sent Items (`promise`): they come, or the client's own message takes their place.

```
the client's message stands there, the submission is on its way    wait for it
the client's message stands there, Graph has taken the submission  its row becomes that of the copy; it goes itself
the copy is there                                                  its row learns its etag; flags the client gave
the copy is somewhere else                                         somebody has moved it: the row ends
there is no copy for 10 minutes                                    the client's octets are landed, under the same UID
```
The journal has each until it is settled; what is done here may be repeated."""

from __future__ import annotations

import structlog

from gateway.core.errors import GatewayError
from gateway.core.types import Flags, FolderId, MessageId, SpecialUse
from gateway.graph.errors import GraphError, NotFound
from gateway.graph.mail import Patch
from gateway.graph.model import Message, Priority
from gateway.mailbox.arrival import leave, move_all
from gateway.mailbox.context import AccountContext
from gateway.mailbox.creating import Creation
from gateway.mailbox.facts import facts_from
from gateway.mailbox.local import KeywordMap, epoch, flags_of, upsert_of
from gateway.mailbox.patches import Change, changed_aspects, patch_of
from gateway.mailbox.replies import is_message_gone
from gateway.mailbox.reporting import Octets
from gateway.mailbox.sending.promise import KIND, PLAIN, Copy, submitted
from gateway.mailbox.values import Incoming
from gateway.mailbox.work import abandon, done, payload_of, update
from gateway.store.api import FolderRow, JournalRow, MessageRow, Upsert

PATIENCE = 600.0  # seconds until a copy that Graph does not show counts as one that never comes
LONGEST_PAUSE = 60.0  # between looks for one whose flags wait
TROUBLE = 30.0  # seconds after Graph could not be asked
_SKEW = 120  # seconds Graph's clock may differ from ours
log = structlog.get_logger()


async def settle_copies(ctx: AccountContext) -> float | None:
    """See to each that is this process's; seconds until the next look, None if none waits."""
    pauses: list[float] = []
    for row in await ctx.store.journal(ctx.account):
        if row.kind != KIND or row.elsewhere:
            continue
        try:
            pause = await _Promise(ctx, row.id, payload_of(row, Copy)).advance()
        except (GraphError, GatewayError) as error:
            log.info("a copy in Sent Items waits", account=ctx.account, error=type(error).__name__)
            pause = TROUBLE
        pauses += [] if pause is None else [pause]
    return min(pauses, default=None)


async def recover_sent_copy(ctx: AccountContext, row: JournalRow) -> None:
    """The courier goes on with it; what gives way to a copy is nobody's new mail until it is gone."""
    copy = payload_of(row, Copy)
    if copy.stand and copy.id:
        ctx.holds.left[row.id] = FolderId(copy.folder_id)


class _Promise:
    def __init__(self, ctx: AccountContext, journal: int, copy: Copy) -> None:
        self._ctx = ctx
        self._journal = journal
        self._copy = copy
        self._age = ctx.clock.time() - copy.began

    async def advance(self) -> float | None:
        """One step on; seconds until the next, None at the end."""
        folder = await self._ctx.store.folder(self._ctx.account, FolderId(self._copy.folder_id))
        if folder is None:
            return await self._end()
        if self._copy.stand and not self._copy.id and not await self._learn():
            return await self._wait_for_submission()
        if self._copy.stand and not await self._exchange():
            return await self._end()
        return await self._arrival(folder)

    async def _end(self) -> float | None:
        await done(self._ctx, self._journal)
        return None

    # -- the client's message in its place --

    async def _learn(self) -> bool:
        """Whether the submission has been taken meanwhile; the copy's id is known then."""
        ids = (await submitted(self._ctx, self._copy.message_id)).ids
        taken = await self._ctx.store.has_originals(self._ctx.account, [MessageId(id) for id in ids])
        free = [id for id in ids if MessageId(id) not in taken]
        if not free:
            return False
        self._copy.id, self._copy.began = free[0], int(self._ctx.clock.time())
        self._age = 0.0
        await update(self._ctx, self._journal, self._copy)
        return True

    async def _wait_for_submission(self) -> float | None:
        if (await submitted(self._ctx, self._copy.message_id)).open:
            return LONGEST_PAUSE
        return await self._end()

    async def _exchange(self) -> bool:
        """The copy under the UID of the message that stood there, and that one gone. False if it did not stand there
        any more: then both are left alone."""
        ctx, copy = self._ctx, self._copy
        ctx.holds.left[self._journal] = FolderId(copy.folder_id)  # what gives way is nobody's new mail
        if not await self._bound(MessageId(copy.stand), MessageId(copy.id)):
            return False
        (result,) = await move_all(ctx, [copy.stand], priority=Priority.BACKGROUND)
        if isinstance(result, GraphError) and not is_message_gone(result):
            raise result
        copy.stand = ""
        await update(ctx, self._journal, copy)
        ctx.holds.left.pop(self._journal, None)
        return True

    async def _bound(self, old: MessageId, new: MessageId) -> bool:
        """Whether `new` has the row now that `old` had, be it from before a crash."""
        ctx, folder = self._ctx, self._copy.folder
        rows = await ctx.store.find(folder, [old, new])
        if old in rows and new in rows:  # somebody was shown both
            await leave(ctx, folder, [new])
        if old not in rows:
            return new in rows
        self._copy.flagged = rows[old].flags != PLAIN
        if not await ctx.store.rebind(folder, old, new):
            return False
        data = await ctx.store.original(ctx.account, new)
        if data is not None:
            await ctx.store.put_facts(ctx.account, {new: await facts_from(data)})
        return True

    # -- Exchange's copy --

    async def _arrival(self, folder: FolderRow) -> float | None:
        ctx, id = self._ctx, MessageId(self._copy.id)
        row = (await ctx.store.find(folder.key, [id])).get(id)
        if row is None or (
            row.etag and not self._copy.flagged
        ):  # a client has removed it; a sync has seen it
            return await self._end()
        if (pause := self._pause(row)) > 0:
            return pause
        (result,) = await ctx.graph.get([id], priority=Priority.BACKGROUND)
        ctx.outgoing.shown.discard(id)
        if isinstance(result, Message):
            return await self._seen(folder, row, result)
        if not isinstance(result, NotFound):
            raise result
        if self._age < PATIENCE:
            return self._next_look()
        return await self._missed(folder, row)

    def _pause(self, row: MessageRow) -> float:
        """Nobody waits for a copy that is to be read and nothing else: the folder's sync will show it."""
        if row.id in self._ctx.outgoing.shown or self._copy.flagged:
            return 0.0
        return PATIENCE - self._age

    def _next_look(self) -> float:
        return min(max(1.0, self._age), LONGEST_PAUSE)

    async def _seen(self, folder: FolderRow, row: MessageRow, message: Message) -> float | None:
        if not message.is_draft and message.parent_folder_id in (None, folder.id):
            await self._arrived(folder, row, message)
        elif self._is_on_its_way(message):
            return LONGEST_PAUSE
        elif message.is_draft:  # taken back: it was not sent
            return await self._missed(folder, row)
        else:
            await leave(self._ctx, folder.key, [row.id])
        return await self._end()

    def _is_on_its_way(self, message: Message) -> bool:
        """Held back until a set time, or under way."""
        special = self._ctx.special
        places = {special[name].id for name in (SpecialUse.OUTBOX, SpecialUse.DRAFTS) if name in special}
        return message.parent_folder_id in places or (not message.is_draft and self._age < PATIENCE)

    async def _arrived(self, folder: FolderRow, row: MessageRow, message: Message) -> None:
        """The row as Graph has it, and what the client wanted of it, which Graph is told."""
        ctx, keywords = self._ctx, KeywordMap(self._ctx.settings.labels)
        local = (await ctx.store.local(ctx.account, [row.id])).get(row.id)
        upsert = upsert_of(message, local, keywords, known=row)
        there = flags_of(message, None, keywords)
        wanted = Flags(there.system | row.flags.system, there.keywords | row.flags.keywords)
        quiet = ctx.settings.read_receipts != "send"
        change = Change(there, wanted, keywords, int(ctx.clock.time()), quiet)
        body = patch_of(change, changed_aspects(there, wanted, keywords))
        if body is not None:
            (result,) = await ctx.graph.patch([Patch(row.id, body)], priority=Priority.BACKGROUND)
            if isinstance(result, GraphError):
                raise result
            upsert.etag, upsert.modified = result.etag or None, epoch(result.last_modified_date_time)
        upsert.flags = wanted
        applied = await ctx.store.apply(folder.key, [upsert], ())
        ctx.writes.ended(row.id, ctx.clock.monotonic())
        ctx.hubs.refresh(folder.key, applied)

    # -- none comes --

    async def _missed(self, folder: FolderRow, row: MessageRow) -> float | None:
        """Under another id than the draft's, as a last look; else the client's own."""
        ctx = self._ctx
        ctx.holds.left[self._journal] = folder.id
        other = await self._other(folder)
        if other is not None and await self._bound(row.id, MessageId(other.id)):
            self._copy.id = other.id
            await update(ctx, self._journal, self._copy)
            ctx.outgoing.shown.add(MessageId(other.id))
            ctx.holds.left.pop(self._journal, None)
            return 1.0
        await self._land(folder, row)
        return await self._end()

    async def _other(self, folder: FolderRow) -> Message | None:
        ctx, copy = self._ctx, self._copy
        listed = [
            message
            for message in await ctx.graph.find_by_message_id(copy.message_id, folder.id)
            if not message.is_draft and (epoch(message.created_date_time) or 0) >= copy.began - _SKEW
        ]
        taken = await ctx.store.has_originals(ctx.account, [MessageId(message.id) for message in listed])
        return next((message for message in listed if message.id not in taken), None)

    async def _land(self, folder: FolderRow, row: MessageRow) -> None:
        """GraphError: what was made is taken back by the journal, and we come again."""
        ctx = self._ctx
        data = await ctx.store.original(ctx.account, row.id)
        if data is None:
            return
        creation = Creation(ctx, folder, Incoming(Octets(data), row.flags, row.internal_date))
        try:
            await creation.begin()
            await creation.create()
            made = creation.made
            if made is None or not await self._bound(row.id, MessageId(made.id)):
                raise NotFound("nobody has a place for it any more")
        except BaseException:
            await self._take_back(creation, folder)
            raise
        told = Upsert(
            MessageId(made.id), etag=made.etag or None, modified=epoch(made.last_modified_date_time)
        )
        ctx.writes.ended(told.id, ctx.clock.monotonic())
        ctx.hubs.refresh(folder.key, await ctx.store.apply(folder.key, [told], ()))
        await done(ctx, creation.journal)
        log.warning("a copy in Sent Items never came, the client's was landed", account=ctx.account)

    async def _take_back(self, creation: Creation, folder: FolderRow) -> None:
        if creation.journal:
            creation.work.refused = True
            await creation.save()
            abandon(self._ctx, creation.journal, folder.id)
