"""RENAME of INBOX: its messages go to the new mailbox, INBOX stays and is empty (RFC 9051 section 6.3.6).

The work is named by two numbers, whatever INBOX holds: where to, and below which UID. A crash in between is finished
at the next start; mail that came later stays in INBOX.
"""

from __future__ import annotations

import msgspec

from gateway.core.errors import GatewayError
from gateway.core.types import FolderId
from gateway.mailbox import transfer
from gateway.mailbox.context import AccountContext
from gateway.mailbox.work import begin, done, payload_of, whole
from gateway.store.api import FolderRow, JournalRow

KIND = "rename-inbox"


class InboxWork(msgspec.Struct):
    source: str  # Graph folder ids
    target: str
    below: int  # this UID and above came later


async def move_everything(ctx: AccountContext, inbox: FolderRow, target: FolderRow) -> None:
    """Of a folder in step with Graph. The first error is raised when the rest has been moved."""
    await whole(_journalled(ctx, inbox, target))


async def _journalled(ctx: AccountContext, inbox: FolderRow, target: FolderRow) -> None:
    journal = await begin(ctx, KIND, InboxWork(inbox.id, target.id, inbox.uid_next))
    try:
        await _move(ctx, inbox, target, inbox.uid_next)
    except GatewayError:  # the client is told: what did not go stays
        await done(ctx, journal)
        raise
    await done(ctx, journal)


async def _move(ctx: AccountContext, inbox: FolderRow, target: FolderRow, below: int) -> None:
    rows = [row for row in await ctx.store.messages(inbox.key) if row.uid < below]
    failures: list[GatewayError] = []
    if rows:
        await transfer.move(ctx, inbox, rows, target, failures=failures)
    if failures:
        raise failures[0]


async def recover_inbox_move(ctx: AccountContext, row: JournalRow) -> None:
    """Finish. A target that is gone takes nothing more."""
    work = payload_of(row, InboxWork)
    source = await ctx.store.folder(ctx.account, FolderId(work.source))
    target = await ctx.store.folder(ctx.account, FolderId(work.target))
    if source is not None and target is not None:
        await _move(ctx, source, target, work.below)
    await done(ctx, row.id)
