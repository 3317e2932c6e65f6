"""What a COPY, MOVE or EXPUNGE put into another folder: UIDs there, and what goes with the messages."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.types import Flags, MessageId, SystemFlag, Uid
from gateway.graph.errors import GraphError, NotFound
from gateway.graph.mail import IMAP_DELETED, Patch, Result
from gateway.graph.model import Message
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import KeywordMap, epoch, flags_of
from gateway.mailbox.patches import extended_properties
from gateway.mailbox.replies import is_message_gone
from gateway.store.api import Applied, FolderRow, Local, MessageRow, Upsert

RECOVERABLE = "recoverableitemsdeletions"  # the user can still get it back from there
Arrived = tuple[MessageRow, Message]  # as it was in the source, and as Graph shows it now
Pairs = list[tuple[Uid, Uid]]  # (source UID, target UID), what COPYUID tells

_NOTHING = SystemFlag(0)


async def arrive(
    ctx: AccountContext,
    target: FolderRow,
    pairs: Sequence[Arrived],
    *,
    without: SystemFlag = _NOTHING,
) -> Applied:
    """Rows in the target for messages that Graph put there; UIDs in their order."""
    local = await ctx.store.local(ctx.account, [MessageId(message.id) for _, message in pairs])
    uids = await ctx.store.reserve_uids(target.key, len(pairs))
    now, keywords = int(ctx.clock.time()), KeywordMap(ctx.settings.labels)
    upserts = []
    for (row, message), uid in zip(pairs, uids, strict=True):
        upsert = whole_row(row, now)
        upsert.id, upsert.uid = MessageId(message.id), uid
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


async def undelete_all(ctx: AccountContext, messages: Sequence[Message]) -> bool:
    """Take \\Deleted off in Graph, their etags kept up to date; False if it has to be tried again (the
    journal row stays)."""
    body = {"singleValueExtendedProperties": extended_properties({IMAP_DELETED: "0"})}
    if not messages:
        return True
    try:
        answers = await ctx.graph.patch([Patch(message.id, body) for message in messages])
    except GraphError:
        return False
    for message, answer in zip(messages, answers, strict=True):
        if isinstance(answer, Message):
            _newer(message, answer)
            ctx.writes.ended(MessageId(message.id), ctx.clock.monotonic())
    return all(isinstance(answer, (Message, NotFound)) for answer in answers)


def _newer(message: Message, answer: Message) -> None:
    message.etag = answer.etag or message.etag
    message.last_modified_date_time = answer.last_modified_date_time or message.last_modified_date_time


async def move_all(ctx: AccountContext, ids: Sequence[str], folder: str = RECOVERABLE) -> list[Result]:
    if not ids:
        return []
    try:
        return await ctx.graph.move(ids, folder)
    except GraphError as error:
        return [error for _ in ids]


async def get_all(ctx: AccountContext, ids: Sequence[str]) -> list[Result]:
    try:
        return await ctx.graph.get(ids) if ids else []
    except GraphError as error:
        return [error for _ in ids]


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
