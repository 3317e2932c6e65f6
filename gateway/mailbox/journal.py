"""What a crash interrupted, finished or undone at start (invariant 2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import structlog

from gateway.graph.errors import GraphError, SignInFailed, Throttled, Unreachable
from gateway.mailbox.append import recover_append
from gateway.mailbox.building import BUILDING
from gateway.mailbox.context import AccountContext
from gateway.mailbox.inboxmove import KIND as RENAME_INBOX
from gateway.mailbox.inboxmove import recover_inbox_move
from gateway.mailbox.placing import recover_rename
from gateway.mailbox.reporting import KIND as REPORT
from gateway.mailbox.reporting import recover_report
from gateway.mailbox.sending.copies import recover_sent_copy
from gateway.mailbox.sending.promise import KIND as SENT_COPY
from gateway.mailbox.subscription import SUBSCRIBED
from gateway.mailbox.transfer import recover_copy, recover_move
from gateway.store.api import JournalRow

Recovery = Callable[[AccountContext, JournalRow], Awaitable[None]]
log = structlog.get_logger()


async def _kept(ctx: AccountContext, row: JournalRow) -> None:
    """Not work, but what must not be forgotten."""


async def _forgotten(ctx: AccountContext, row: JournalRow) -> None:
    """Of an older program version, which kept submissions here."""
    await ctx.store.journal_done(row.id)


RECOVERIES: dict[str, Recovery] = {
    "copy": recover_copy,
    "move": recover_move,
    "append": recover_append,
    "rename": recover_rename,
    RENAME_INBOX: recover_inbox_move,
    "send": _forgotten,
    REPORT: recover_report,
    SENT_COPY: recover_sent_copy,
    BUILDING: _kept,
    SUBSCRIBED: _kept,
}
_LATER = (Unreachable, Throttled, SignInFailed)  # Graph cannot be asked now: all rows wait


async def recover(ctx: AccountContext) -> None:
    """Every journal row of this process, and with the duty of those that died, that no running work owns. Raises
    GraphError if Graph cannot be asked now: call again later. A row that cannot be dealt with stays and is logged; it
    stops no other."""
    if ctx.duty.held:
        with ctx.duty.bound():
            await ctx.store.journal_claim(ctx.account)
    for row in await ctx.store.journal(ctx.account):
        if row.elsewhere or row.id in ctx.working:
            continue
        recovery = RECOVERIES.get(row.kind)
        if recovery is None:
            log.warning("journal row of an unknown kind", account=ctx.account, kind=row.kind)
            continue
        try:
            await recovery(ctx, row)
        except _LATER:
            raise
        except (GraphError, msgspec.MsgspecError) as error:
            ctx.holds.left.pop(row.id, None)
            log.warning("journal row kept", account=ctx.account, kind=row.kind, error=type(error).__name__)
