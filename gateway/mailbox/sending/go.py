"""Which way a submission goes through Graph."""

from __future__ import annotations

from gateway.mailbox.context import AccountContext
from gateway.mailbox.sending import mime
from gateway.mailbox.sending.draft import Prepared
from gateway.mailbox.sending.record import Record
from gateway.mailbox.sending.steps import Steps


async def go(ctx: AccountContext, record: Record, prepared: Prepared, *, resumed: bool) -> None:
    """Until Graph has it; see `Steps.run`."""
    if record.work.path == "mime":
        await mime.send(ctx, record, prepared, resumed=resumed)
    else:
        await Steps(ctx, record, prepared, resumed=resumed).run()
