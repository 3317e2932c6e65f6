"""EXPUNGE (decision 8): where a message goes that a client removed for good.

```
imap.expunge = "permanent"                         permanentDelete: Purges, which nobody can undo
in Trash; drafts; copied out in this session       Recoverable Items: Trash is not flooded, nothing is lost
anything else                                      Deleted Items by move: repeated, no harm (trap 53)
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from gateway.core.types import MessageId, SpecialUse, SystemFlag, Uid
from gateway.graph.errors import GraphError
from gateway.graph.mail import Result
from gateway.graph.model import Message
from gateway.mailbox.arrival import RECOVERABLE, leave, move_all, settled, spend_marks
from gateway.mailbox.context import AccountContext
from gateway.mailbox.replies import is_message_gone, refusal
from gateway.mailbox.transfer import to_trash
from gateway.mailbox.work import bulk, whole
from gateway.store.api import FolderRow, MessageRow

AT_ONCE = 400


async def expunge(
    ctx: AccountContext, folder: FolderRow, rows: Sequence[MessageRow], *, copied_out: frozenset[MessageId]
) -> list[Uid]:
    """Remove these messages; returns the UIDs that are gone, also those that were gone before (trap 43).
    The caller has chosen them after a folder delta that is at most 2 s old. Raises GatewayError if none
    could be removed."""
    if ctx.settings.expunge == "permanent":
        return await whole(_remove(ctx, folder, rows, _purge))
    trash = ctx.special.get(SpecialUse.TRASH)
    away = [row for row in rows if _recoverable(folder, row, copied_out)]
    chosen = {row.id for row in away}
    kept = [row for row in rows if row.id not in chosen]
    gone = await whole(_remove(ctx, folder, away, _soft_delete)) if away else []
    if kept and trash is not None:
        gone += await _trashed(ctx, folder, kept, trash)
    elif kept:
        gone += await whole(_remove(ctx, folder, kept, _discard))
    return sorted(gone)


def _recoverable(folder: FolderRow, row: MessageRow, copied_out: frozenset[MessageId]) -> bool:
    """Whether Deleted Items is not the place for it."""
    if folder.well_known in (SpecialUse.TRASH, SpecialUse.DRAFTS):
        return True
    return SystemFlag.DRAFT in row.flags.system or row.id in copied_out


async def _trashed(
    ctx: AccountContext, folder: FolderRow, rows: Sequence[MessageRow], trash: FolderRow
) -> list[Uid]:
    await to_trash(ctx, folder, rows, trash)
    left = await ctx.store.by_uid(folder.key, [row.uid for row in rows])
    return [row.uid for row in rows if row.uid not in left]


async def _remove(ctx: AccountContext, folder: FolderRow, rows: Sequence[MessageRow], how: Way) -> list[Uid]:
    """Each message by itself: after a crash, what was not done is still \\Deleted, and the next delta tells
    what was."""
    gone: list[Uid] = []
    errors: list[GraphError] = []
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        ids, way = [row.id for row in some], partial(how, ctx)
        results = await settled(ctx, ids, await way(ids), folder.id, way)
        done = [row for row, result in zip(some, results, strict=True) if _is_gone(result)]
        errors += [r for r in results if isinstance(r, GraphError) and not _is_gone(r)]
        for row in done:
            ctx.writes.ended(row.id, ctx.clock.monotonic())
        if how is not _purge:
            await spend_marks(ctx, [row.id for row in done if SystemFlag.DELETED in row.flags.system])
        await leave(ctx, folder.key, [row.id for row in done])
        gone += [row.uid for row in done]
    if errors and not gone:
        raise refusal(errors[0]) from errors[0]
    return gone


def _is_gone(result: Result) -> bool:
    return isinstance(result, Message) or is_message_gone(result)


async def _soft_delete(ctx: AccountContext, ids: Sequence[str]) -> list[Result]:
    return await move_all(ctx, ids, RECOVERABLE, priority=bulk(len(ids)))


async def _discard(ctx: AccountContext, ids: Sequence[str]) -> list[Result]:
    """To a Deleted Items that the folder list does not know."""
    return await move_all(ctx, ids, SpecialUse.TRASH, priority=bulk(len(ids)))


async def _purge(ctx: AccountContext, ids: Sequence[str]) -> list[Result]:
    return list(await asyncio.gather(*(_purge_one(ctx, id) for id in ids)))


async def _purge_one(ctx: AccountContext, id: str) -> Result:
    try:
        await ctx.graph.permanent_delete(id)
    except GraphError as error:
        return error
    return Message(id=id)


Way = Callable[[AccountContext, Sequence[str]], Awaitable[list[Result]]]
