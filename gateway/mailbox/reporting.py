"""Reports of what became of a submission, in the sender's own INBOX (RFC 3461, RFC 3464).

A message that was passed on to Exchange is "relayed" where the client asked for NOTIFY=SUCCESS: the gateway is one to
a system that tells nothing more (RFC 3461 section 5.2.4). Before the client is told that its message was taken, the
report is kept; it lands besides, and after a crash at the next start. Nobody gets one with NOTIFY=NEVER, or to the null
path; what Exchange itself sends cannot be stopped from here.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import msgspec
import structlog

from gateway.core.errors import GatewayError, Unavailable
from gateway.core.types import Flags, SpecialUse
from gateway.graph.errors import GraphError
from gateway.mailbox.append import append
from gateway.mailbox.context import AccountContext
from gateway.mailbox.values import Envelope, Incoming, Spool
from gateway.mailbox.work import abandon, aside, begin, done, payload_of
from gateway.mime.header import header_end
from gateway.mime.report import Outcome, Report, report
from gateway.store.api import JournalRow

KIND = "report"
HEADER = 64 * 1024  # octets of a message's header that come back; a longer one ends with a whole line
RELAYED = "2.1.9"  # RFC 3886 section 3.3.4: to a system that does not report
log = structlog.get_logger()


class ReportWork(msgspec.Struct):
    """A report on its way into INBOX: its Message-ID, and where its octets are."""

    message_id: str
    blob: str


class Octets:
    """A message that is whole already, as a spool."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    async def write(self, data: bytes) -> None:
        raise AssertionError("the message is whole")

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        return self._data[start:end]

    def kept(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def close(self) -> None:
        """Nothing to give back."""


async def relayed(ctx: AccountContext, envelope: Envelope, spool: Spool, queue_id: str) -> None:
    """Keep the report that the client asked for, if it asked for one, and land it besides. To be called when Graph
    has the message, before that is said; it fails without harm to the message, which is sent."""
    outcomes = [
        Outcome(recipient, "relayed", RELAYED, asked.orcpt)
        for recipient, asked in envelope.dsn.asked
        if asked.wants("SUCCESS")
    ]
    if not outcomes or not envelope.sender:
        return
    now = int(ctx.clock.time())
    name = f"<{queue_id}.relayed@{ctx.settings.hostname}>"
    about = Report(
        ctx.settings.hostname, envelope.sender, name, now, now, outcomes, header_of(spool), envelope.dsn.envid
    )
    try:
        blob = await ctx.store.put_blob(report(about))
        work = ReportWork(name, blob.hex())
        row = await begin(ctx, KIND, work)
    except Unavailable:
        log.warning("a report is lost", account=ctx.account, queue_id=queue_id)
        return
    aside(_landed(ctx, row, work))


def header_of(spool: Spool) -> bytes:
    """The message's header block, or as much of it as comes back."""
    beginning = spool.read(0, HEADER)
    cut = header_end(beginning)
    return beginning[:cut] if cut < len(beginning) else beginning[: beginning.rfind(b"\n") + 1]


async def land(ctx: AccountContext, octets: bytes, message_id: str) -> None:
    """Put a report into INBOX, unread; one that is there already is not landed again. GraphError, GatewayError."""
    inbox = ctx.special.get(SpecialUse.INBOX)
    if inbox is None:
        raise Unavailable("The mailbox is not known yet")
    if not await ctx.graph.find_by_message_id(message_id, inbox.id):
        await append(ctx, inbox, [Incoming(Octets(octets), Flags(), None)])


async def _landed(ctx: AccountContext, row: int, work: ReportWork) -> None:
    """What fails now is done soon, by the journal."""
    try:
        await _land(ctx, work)
        await done(ctx, row)
    except (GraphError, GatewayError) as error:
        log.warning("a report waits", account=ctx.account, error=type(error).__name__)
        abandon(ctx, row)
    except BaseException:
        abandon(ctx, row)
        raise


async def _land(ctx: AccountContext, work: ReportWork) -> None:
    octets = await ctx.store.blob(bytes.fromhex(work.blob))
    if octets is not None:
        await land(ctx, octets, work.message_id)


async def recover_report(ctx: AccountContext, row: JournalRow) -> None:
    await _land(ctx, payload_of(row, ReportWork))
    await done(ctx, row.id)
