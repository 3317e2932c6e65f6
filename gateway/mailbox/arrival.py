"""What a COPY, MOVE or EXPUNGE put into another folder: UIDs there, and what goes with the messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from gateway.core.types import Flags, MessageId, SystemFlag, Uid
from gateway.graph.errors import GraphError, NotFound, OutcomeUnknown, Throttled, Unreachable
from gateway.graph.mail import Result
from gateway.graph.model import Message, Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import KeywordMap, epoch, flags_of
from gateway.mailbox.localstate import States, change_local
from gateway.mailbox.replies import is_message_gone
from gateway.store.api import Applied, FolderRow, Local, MessageRow, Upsert

RECOVERABLE = "recoverableitemsdeletions"  # the user can still get it back from there
Arrived = tuple[MessageRow, Message]  # as it was in the source, and as Graph shows it now
Pairs = list[tuple[Uid, Uid]]  # (source UID, target UID), what COPYUID tells

_NOTHING = SystemFlag(0)
_OPEN = (OutcomeUnknown, Unreachable, Throttled)  # whether it was done is not known


async def arrive(
    ctx: AccountContext,
    target: FolderRow,
    pairs: Sequence[Arrived],
    *,
    without: SystemFlag = _NOTHING,
) -> Applied:
    """Rows in the target for messages that Graph put there; UIDs in their order, given with the rows: a UIDNEXT that
    somebody is told meanwhile must not be above what is still to come."""
    local = await ctx.store.local(ctx.account, [MessageId(message.id) for _, message in pairs])
    now, keywords = int(ctx.clock.time()), KeywordMap(ctx.settings.labels)
    upserts = []
    for row, message in pairs:
        upsert = whole_row(row, now)
        upsert.id = MessageId(message.id)
        upsert.flags = _flags_there(row, message, local.get(upsert.id), keywords, without)
        upsert.etag = message.etag or None
        upsert.modified = epoch(message.last_modified_date_time)
        upserts.append(upsert)
    applied = await ctx.store.apply(target.key, upserts, ())
    ctx.hubs.refresh(target.key, applied)
    return applied


def _flags_there(
    row: MessageRow, message: Message, local: Local | None, keywords: KeywordMap, without: SystemFlag
) -> Flags:
    flags = flags_of(message, local, keywords, expanded=False, known=row.flags)
    return Flags(flags.system & ~without, flags.keywords)


async def leave(ctx: AccountContext, source: int, ids: Sequence[MessageId]) -> None:
    if ids:
        ctx.hubs.refresh(source, await ctx.store.apply(source, (), ids))


async def carry(ctx: AccountContext, pairs: Sequence[Arrived]) -> None:
    """A copy is the same message: its original, pinned bytes, facts and local state go with it."""
    ids = {row.id: MessageId(message.id) for row, message in pairs}
    for source in await ctx.store.has_originals(ctx.account, list(ids)):
        await ctx.store.share_original(ctx.account, source, ids[source])
    facts = await ctx.store.facts(ctx.account, list(ids))
    await ctx.store.put_facts(ctx.account, {ids[source]: fact for source, fact in facts.items()})
    local = await ctx.store.local(ctx.account, list(ids))
    await ctx.store.put_local(ctx.account, {ids[source]: state for source, state in local.items()})
    for source, target in ids.items():
        pin = await ctx.store.pinned(ctx.account, source)
        if pin is not None:
            await ctx.store.pin(ctx.account, target, pin)


async def spend_marks(ctx: AccountContext, ids: Sequence[MessageId]) -> None:
    """The \\Deleted of these messages has had its effect: the mark Graph still has counts for nothing from now on,
    wherever they may turn up. No request (decision 8)."""

    def spent(local: States) -> States:
        return {id: replace(local.get(id, Local()), undeleted=True) for id in ids}

    await change_local(ctx, ids, spent)


async def move_all(
    ctx: AccountContext,
    ids: Sequence[str],
    folder: str = RECOVERABLE,
    *,
    priority: Priority = Priority.INTERACTIVE,
) -> list[Result]:
    if not ids:
        return []
    try:
        return await ctx.graph.move(ids, folder, priority=priority)
    except GraphError as error:
        return [error for _ in ids]


async def get_all(ctx: AccountContext, ids: Sequence[str]) -> list[Result]:
    try:
        return await ctx.graph.get(ids) if ids else []
    except GraphError as error:
        return [error for _ in ids]


Again = Callable[[list[MessageId]], Awaitable[Sequence[Result]]]


async def settled(
    ctx: AccountContext, ids: Sequence[MessageId], results: Sequence[Result], source: str, again: Again
) -> list[Result]:
    """What became of messages that were to leave `source`: where the answer leaves that open, the message itself says
    where it is. A 404 is believed when it comes twice: a passing one must not look like a message that is gone. What
    is still there after one is tried once more by `again`."""
    settled = list(results)
    doubtful = [
        at for at, result in enumerate(results) if isinstance(result, _OPEN) or is_message_gone(result)
    ]
    there: list[int] = []
    for at, answer in zip(doubtful, await get_all(ctx, [ids[at] for at in doubtful]), strict=True):
        passing = is_message_gone(results[at])
        if isinstance(answer, NotFound) or has_left(answer, source) or (passing and _failed(answer)):
            settled[at] = answer
        elif passing:
            there.append(at)
    if there:
        for at, answer in zip(there, await again([ids[at] for at in there]), strict=True):
            settled[at] = (
                Unreachable("a 404 for a message that is there") if is_message_gone(answer) else answer
            )
    return settled


def _failed(answer: Result) -> bool:
    return isinstance(answer, GraphError)


def has_left(answer: Result, source: str) -> bool:
    return isinstance(answer, Message) and answer.parent_folder_id not in (None, source)


def is_in(answer: Result, folder: str) -> bool:
    return isinstance(answer, Message) and answer.parent_folder_id == folder


def raise_first(results: Sequence[Result]) -> None:
    for result in results:
        if isinstance(result, GraphError) and not is_message_gone(result):
            raise result


def paired(pairs: Sequence[Arrived], applied: Applied) -> Pairs:
    uids = {row.id: row.uid for row in applied.rows}
    return [(row.uid, uids[MessageId(m.id)]) for row, m in pairs if MessageId(m.id) in uids]


def whole_row(row: MessageRow, now: int) -> Upsert:
    return Upsert(
        row.id,
        flags=row.flags,
        internal_date=row.internal_date,
        size=row.size,
        size_exact=row.size_exact,
        email_id=row.email_id,
        thread_id=row.thread_id,
        save_date=now,
        etag=row.etag,
        modified=row.modified,
    )
