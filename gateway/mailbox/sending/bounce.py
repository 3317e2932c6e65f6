"""What the outbox could not send comes back to its sender (RFC 3464): a report in his INBOX, unread."""

from __future__ import annotations

from gateway.mailbox.context import AccountContext
from gateway.mailbox.sending.record import Record


async def bounce(ctx: AccountContext, record: Record) -> None:
    """Tell the sender, unless it was sent after all; then nothing is left of it. May be repeated: a report that is
    there already is not landed again. GraphError, GatewayError."""
    raise NotImplementedError
