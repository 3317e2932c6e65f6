"""What other processes have sent: a client may submit through one gateway and file its copy through another."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from gateway.mailbox.context import ALONE, AccountContext
from gateway.mailbox.sending.record import TAKEN, Record


async def times_sent(ctx: AccountContext, message_id: str, since: float) -> int:
    """How often this Message-ID was sent, by whatever process. What others sent is known as long as its row is kept:
    a quarter of an hour after the client has heard of it, and longer if it has not."""
    here = ctx.sent.count(message_id, since)
    if here or ctx.node == ALONE:
        return here
    count = 0
    for row in await ctx.store.submissions(ctx.account, open_since=int(since)):
        with suppress(msgspec.MsgspecError):
            count += row.state in TAKEN and Record.of(row).work.message_id == message_id
    return count
