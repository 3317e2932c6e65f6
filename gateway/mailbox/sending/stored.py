"""A queued message's octets out of the store, as the front end's spool had them: never whole in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.mailbox.context import AccountContext
from gateway.mailbox.spool import MailSpool, SpoolBudget


@asynccontextmanager
async def stored(ctx: AccountContext, address: bytes, size: int) -> AsyncIterator[MailSpool | None]:
    """The spool, as long as the block lasts; None if the store does not have all of it. Its budget is its own: of a
    mailbox one message at a time is sent from the queue."""
    spool = MailSpool(SpoolBudget(size), size)
    try:
        number = 0
        while (piece := await ctx.store.blob_piece(address, number)) is not None:
            await spool.write(piece)
            number += 1
        yield spool if spool.size == size else None
    finally:
        await spool.close()
