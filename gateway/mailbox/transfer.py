"""COPY and MOVE inside one mailbox (contract section 11; RFC 9051 sections 6.4.7 and 6.4.8).

A copy is never blindly repeated: where its fate is unknown it is looked for first. All of a COPY is done,
or what was copied is taken back. A move by immutable id may be repeated, and each message is in one folder
or the other. What the delta of the target shows meanwhile is held back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from gateway.core.errors import GatewayError, InUse
from gateway.core.types import FolderId, MessageId, SystemFlag
from gateway.graph.errors import GraphError, NotFound, OutcomeUnknown, Unreachable
from gateway.graph.mail import Result
from gateway.graph.model import Message, Priority
from gateway.mailbox.arrival import (
    Pairs,
    arrive,
    carry,
    get_all,
    has_left,
    is_in,
    leave,
    move_all,
    paired,
    raise_first,
    settled,
    spend_marks,
    whole_row,
)
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import epoch
from gateway.mailbox.replies import is_message_gone, refusal
from gateway.mailbox.work import abandon, begin, bulk, done, payload_of, update, whole
from gateway.store.api import FolderRow, JournalRow, MessageRow

AT_ONCE = 400  # messages of one journal row, whose payload is bounded
SKEW = 120  # seconds Graph's clock may differ from ours
TRIES = 3  # to copy one message, where Graph does not say what became of it
_UNKNOWN = (OutcomeUnknown, Unreachable)


class CopyWork(msgspec.Struct):
    """A COPY under way. `copies`: what is known to have been made; `unsure`: sources whose copy may exist."""

    target: int
    target_id: str
    ids: list[str]
    began: int
    unsure: list[str]
    copies: list[str] = []


class MoveWork(msgspec.Struct):
    """A MOVE under way, or an EXPUNGE to Deleted Items, where \\Deleted is spent."""

    source: int
    target: int
    target_id: str
    ids: list[str]
    undelete: bool = False


# -- COPY --


async def copy(
    ctx: AccountContext, source: FolderRow, rows: Sequence[MessageRow], target: FolderRow
) -> Pairs:
    """Copy all of `rows` that still exist; (source UID, target UID) in their order. Raises GatewayError with
    nothing left in the target."""
    return await whole(_copy(ctx, rows, target))


async def _copy(ctx: AccountContext, rows: Sequence[MessageRow], target: FolderRow) -> Pairs:
    ids = {str(row.id) for row in rows}
    try:
        await _cleared(ctx, ids, target)
    except GraphError as error:
        raise refusal(error) from error
    with ctx.holds.copies(target.id, ids):
        return await _Copy(ctx, target, bulk(len(rows))).run(rows)


async def _cleared(ctx: AccountContext, ids: set[str], target: FolderRow) -> None:
    """What an earlier COPY of these messages left in the target is taken back, before it could be taken for ours."""
    if target.id not in ctx.holds.left.values():
        return
    for row in await ctx.store.journal(ctx.account):
        if row.kind != "copy" or ctx.holds.left.get(row.id) != target.id:
            continue
        if ids.intersection(payload_of(row, CopyWork).ids):
            await recover_copy(ctx, row)
            if row.id in ctx.holds.left:
                raise InUse("The same messages are being copied there, try again")


class _Copy:
    def __init__(self, ctx: AccountContext, target: FolderRow, priority: Priority) -> None:
        self._ctx = ctx
        self._target = target
        self._priority = priority
        self._made: list[tuple[MessageRow, Message]] = []
        self._journal: list[int] = []
        self._unsure = False  # whether a copy may exist that we know nothing of

    async def run(self, rows: Sequence[MessageRow]) -> Pairs:
        with self._ctx.holds.hold(self._target.id):
            try:
                for start in range(0, len(rows), AT_ONCE):
                    await self._some(rows[start : start + AT_ONCE])
            except GraphError as error:
                await self._undo()
                raise refusal(error) from error
            return await self._land()

    async def _some(self, rows: Sequence[MessageRow]) -> None:
        ctx, ids = self._ctx, [str(row.id) for row in rows]
        work = CopyWork(self._target.key, self._target.id, ids, int(ctx.clock.time()), ids)
        row = await begin(ctx, "copy", work, into=self._target.key)
        self._journal.append(row)
        results = await self._asked(work.ids)
        self._take(rows, results)
        work.copies = [result.id for result in results if isinstance(result, Message)]
        work.unsure = [id for id, result in zip(ids, results, strict=True) if isinstance(result, _UNKNOWN)]
        self._unsure = bool(work.unsure)
        await update(ctx, row, work)
        for source, result in zip(rows, results, strict=True):
            if isinstance(result, _UNKNOWN):
                await self._settle(source, work)
            elif isinstance(result, GraphError) and not is_message_gone(result):
                raise result
        self._unsure = False

    async def _asked(self, ids: Sequence[str]) -> Sequence[Result]:
        try:
            return await self._ctx.graph.copy(ids, self._target.id, priority=self._priority)
        except GraphError as error:
            return [error for _ in ids]

    def _take(self, rows: Sequence[MessageRow], results: Sequence[Result]) -> None:
        made = ((row, answer) for row, answer in zip(rows, results, strict=True))
        self._made += [(row, answer) for row, answer in made if isinstance(answer, Message)]

    async def _settle(self, row: MessageRow, work: CopyWork) -> None:
        """Nobody said whether it was copied: look, and only if it is not there copy again."""
        taken = {message.id for _, message in self._made}
        for _ in range(TRIES):
            found = await stray_copies(self._ctx, work, row.id, taken)
            result: Result = found[0] if found else (await self._asked([row.id]))[0]
            if not isinstance(result, _UNKNOWN):
                break
        if isinstance(result, Message):
            self._made.append((row, result))
        elif not is_message_gone(result):
            raise result

    async def _undo(self) -> None:
        """Take back what was copied. Should that fail as well, the journal does it soon."""
        results = await move_all(self._ctx, [message.id for _, message in self._made])
        undone = all(isinstance(each, Message) or is_message_gone(each) for each in results)
        for row in self._journal:
            if self._unsure or not undone:
                abandon(self._ctx, row, self._target.id)
            else:
                await done(self._ctx, row)

    async def _land(self) -> Pairs:
        ctx = self._ctx
        self._made.sort(key=lambda made: made[0].uid)
        pairs = [(row, message) for row, message in self._made]
        await carry(ctx, pairs)
        applied = await arrive(ctx, self._target, pairs)
        for row in self._journal:
            await done(ctx, row)
        return paired(pairs, applied)


async def stray_copies(ctx: AccountContext, work: CopyWork, source: str, taken: set[str]) -> list[Message]:
    """Copies of `source` in the target that nobody accounts for: same Message-ID, changed since the work
    began, no UID given."""
    answers = await ctx.graph.get([source])
    raise_first(answers)  # that it cannot be seen now does not say that there is no copy
    if not isinstance(answers[0], Message) or not answers[0].internet_message_id:
        return []
    found = await ctx.graph.find_by_message_id(answers[0].internet_message_id, work.target_id)
    known = await ctx.store.find(work.target, [MessageId(message.id) for message in found])
    return [
        message
        for message in found
        if message.id not in taken
        and message.id != source
        and message.id not in known
        and (epoch(message.last_modified_date_time) or 0) >= work.began - SKEW
    ]


async def recover_copy(ctx: AccountContext, row: JournalRow) -> None:
    """The client was never told of these copies: take them back. While one of these messages is being copied to the
    same folder again that has to wait: nobody could tell the copies apart."""
    async with ctx.holds.undoing:
        if row.id not in {each.id for each in await ctx.store.journal(ctx.account)}:
            return
        work = payload_of(row, CopyWork)
        if any((work.target_id, source) in ctx.holds.copying for source in work.ids):
            ctx.unfinished.set()
        else:
            await _undo_copy(ctx, row, work)


async def _undo_copy(ctx: AccountContext, row: JournalRow, work: CopyWork) -> None:
    known = await ctx.store.find(work.target, [MessageId(id) for id in work.copies])
    copies = [id for id in work.copies if id not in known]
    for source in work.unsure:
        copies += [message.id for message in await stray_copies(ctx, work, source, set(copies))]
    raise_first(await move_all(ctx, copies))
    await done(ctx, row.id)


# -- MOVE --


async def move(
    ctx: AccountContext,
    source: FolderRow,
    rows: Sequence[MessageRow],
    target: FolderRow,
    *,
    failures: list[GatewayError] | None = None,
) -> Pairs:
    """Move what can be moved; (source UID, target UID). A failure is raised if nothing was moved, else put
    into `failures`: those messages stay where they are."""
    if source.key == target.key:
        return await _renumber(ctx, source, rows)
    return await whole(_relocate(ctx, source, rows, target, undelete=False, failures=failures))


async def to_trash(
    ctx: AccountContext, source: FolderRow, rows: Sequence[MessageRow], trash: FolderRow
) -> Pairs:
    """EXPUNGE by move (decision 8): in Trash the messages are no longer \\Deleted, or the next EXPUNGE
    there, by anybody, would destroy them."""
    return await whole(_relocate(ctx, source, rows, trash, undelete=True, failures=None))


async def _relocate(
    ctx: AccountContext,
    source: FolderRow,
    rows: Sequence[MessageRow],
    target: FolderRow,
    *,
    undelete: bool,
    failures: list[GatewayError] | None,
) -> Pairs:
    pairs, errors = Pairs(), list[GraphError]()
    with ctx.holds.hold(target.id):
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            moved = _Move(ctx, source, target, undelete, errors, bulk(len(rows)))
            pairs += await moved.run(some)
    if errors and not pairs:
        raise refusal(errors[0]) from errors[0]
    if failures is not None:
        failures += map(refusal, errors)
    return pairs


@dataclass(slots=True)
class _Move:
    ctx: AccountContext
    source: FolderRow
    target: FolderRow
    undelete: bool
    errors: list[GraphError]
    priority: Priority
    gone: list[MessageId] = field(default_factory=list)

    async def run(self, rows: Sequence[MessageRow]) -> Pairs:
        ctx, ids = self.ctx, [row.id for row in rows]
        work = MoveWork(self.source.key, self.target.key, self.target.id, list(ids), self.undelete)
        journal = await begin(ctx, "move", work, into=self.target.key)
        results = await self._settled(ids, await self._asked(ids))
        moved = [(r, a) for r, a in zip(rows, results, strict=True) if isinstance(a, Message)]
        self._judge(rows, results)
        if self.undelete:
            await spend_marks(ctx, [row.id for row, _ in moved if SystemFlag.DELETED in row.flags.system])
        applied = await arrive(ctx, self.target, moved, without=_taken_off(self.undelete))
        await leave(ctx, self.source.key, [*(row.id for row, _ in moved), *self.gone])
        await done(ctx, journal)
        return paired(moved, applied)

    async def _asked(self, ids: Sequence[MessageId]) -> list[Result]:
        return await move_all(self.ctx, ids, self.target.id, priority=self.priority)

    async def _settled(self, ids: Sequence[MessageId], results: Sequence[Result]) -> list[Result]:
        """Where the outcome is unknown, the message itself says in which folder it is. What somebody else put into
        a third one has gone."""
        found = await settled(self.ctx, ids, results, self.source.id, self._asked)
        return [
            NotFound("moved by somebody else") if has_left(each, self.source.id) and not is_in(each, self.target.id)
            else each
            for each in found
        ]  # fmt: skip

    def _judge(self, rows: Sequence[MessageRow], results: Sequence[Result]) -> None:
        for row, result in zip(rows, results, strict=True):
            if is_message_gone(result):
                self.gone.append(row.id)
            elif isinstance(result, GraphError):
                self.errors.append(result)
            else:
                self.ctx.writes.ended(row.id, self.ctx.clock.monotonic())


async def recover_move(ctx: AccountContext, row: JournalRow) -> None:
    """Finish: what arrived is given its UID, what left is expunged; what never moved stays."""
    work = payload_of(row, MoveWork)
    ids = [MessageId(id) for id in work.ids]
    left, arrived = await ctx.store.find(work.source, ids), await ctx.store.find(work.target, ids)
    answers = dict(zip(ids, await get_all(ctx, ids), strict=True))
    raise_first([a for a in answers.values() if isinstance(a, GraphError) and not isinstance(a, NotFound)])
    there = {id: a for id, a in answers.items() if isinstance(a, Message) and is_in(a, work.target_id)}
    target = await ctx.store.folder(ctx.account, FolderId(work.target_id))
    moved = [(left[id], message) for id, message in there.items() if id in left]
    if work.undelete:
        await spend_marks(ctx, list(there))
    if target is not None:
        fresh = [(source, message) for source, message in moved if source.id not in arrived]
        await arrive(ctx, target, fresh, without=_taken_off(work.undelete))
    gone = [id for id, answer in answers.items() if isinstance(answer, NotFound)]
    await leave(ctx, work.source, [*there, *gone])
    await done(ctx, row.id)


async def _renumber(ctx: AccountContext, folder: FolderRow, rows: Sequence[MessageRow]) -> Pairs:
    """MOVE to the folder itself: new UIDs, no request. The bytes are the same, so is the EMAILID."""
    now = int(ctx.clock.time())
    upserts = [whole_row(row, now) for row in rows]
    applied = await ctx.store.apply(folder.key, upserts, [row.id for row in rows])
    ctx.hubs.refresh(folder.key, applied)
    uids = {row.id: row.uid for row in applied.rows}
    return [(row.uid, uids[row.id]) for row in rows]


def _taken_off(undelete: bool) -> SystemFlag:
    return SystemFlag.DELETED if undelete else SystemFlag(0)
