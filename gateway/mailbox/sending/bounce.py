"""What the outbox could not send comes back to its sender (RFC 3464): a report in his INBOX, unread."""

from __future__ import annotations

from gateway.core.errors import Unavailable
from gateway.mailbox.context import AccountContext
from gateway.mailbox.reporting import Octets, header_of, land
from gateway.mailbox.sending.ending import accounted, give_up
from gateway.mailbox.sending.outcome import Fate, look
from gateway.mailbox.sending.record import Record
from gateway.mailbox.sending.stored import stored
from gateway.mailbox.values import Envelope, Spool
from gateway.mime.report import Outcome, Report, report

EXPIRED = "4.4.7"  # RFC 3463 section 3.5: delivery time expired


async def bounce(ctx: AccountContext, record: Record) -> None:
    """Tell the sender, unless it was sent after all; then nothing is left of it. May be repeated: a report that is
    there already is not landed again. GraphError, GatewayError: not now."""
    if await _was_sent(ctx, record):
        record.row.blob = b""
        await accounted(ctx, record)
        return
    envelope = record.work.envelope
    if envelope is not None:
        async with stored(ctx, record.row.blob, record.work.size) as spool:
            await _tell(ctx, record, envelope, spool or Octets(b""))
    await give_up(ctx, record)


async def _was_sent(ctx: AccountContext, record: Record) -> bool:
    """Of what was refused for good that is known; of what took too long it is to be seen."""
    work = record.work
    if not work.draft or work.error is None or work.error[0] >= 500:
        return False
    fate = await look(ctx, work)
    if fate is Fate.UNSEEN:
        raise Unavailable("a draft that may have been sent is not to be seen")
    return fate is Fate.SENT


async def _tell(ctx: AccountContext, record: Record, envelope: Envelope, spool: Spool) -> None:
    """Not the null path, nor about recipients of whom nobody wants to hear (RFC 3461 section 4.1)."""
    concerned = [address for address in envelope.recipients if envelope.dsn.of(address).wants("FAILURE")]
    if not concerned or not envelope.sender:
        return
    status, enhanced, text = record.work.error or (554, "5.0.0", "Not sent")
    final = enhanced if status >= 500 else EXPIRED
    outcomes = [
        Outcome(address, "failed", final, envelope.dsn.of(address).orcpt, f"{status} {enhanced} {text}")
        for address in concerned
    ]
    host, whole = ctx.settings.hostname, envelope.dsn.ret == "FULL"
    name = f"<{record.row.queue_id}.failed@{host}>"
    message = spool.read() if whole else header_of(spool)
    about = Report(
        host, envelope.sender, name, int(ctx.clock.time()), record.row.created, outcomes, message,
        envelope.dsn.envid, whole,
    )  # fmt: skip
    await land(ctx, report(about), name)
