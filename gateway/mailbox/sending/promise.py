"""A row in Sent Items for a copy that Exchange owes us: the UID is told before Graph shows the message.

Graph has taken the submission (202), and its draft's immutable id is what the copy in Sent Items will have (contract
section 10.2); until it is to be seen, a 404 says nothing. Such a row has no etag, whoever looks at it, in whatever
process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from gateway.core.errors import GatewayError
from gateway.core.types import Flags, FolderId, MessageId, SpecialUse
from gateway.mailbox.context import AccountContext
from gateway.mailbox.sending.record import BOUNCING, GIVEN_UP, TAKEN, Record
from gateway.mailbox.work import begin
from gateway.store.api import MessageRow, Upsert

KIND = "sentcopy"  # in the journal
YOUNG = 900.0  # seconds after a submission in which an APPEND of its Message-ID means its copy
BOUND = 1_000  # messages remembered that were put into Sent Items before they were submitted
# Seconds a row may stand without a message, should whoever looks after it have been lost.
_AT_MOST = 30 * 86_400
PLAIN = Flags.of([b"\\Seen"])  # what Exchange's copy has by itself
_ENDED = (BOUNCING, GIVEN_UP)


class Copy(msgspec.Struct, omit_defaults=True):
    """What the journal keeps. `id`: of Exchange's copy, "" while it is not known; `stand`: of the client's own
    message, which stands in its place meanwhile; `flagged`: the client gave more flags than the copy has by itself.
    Times in seconds since 1970."""

    folder: int
    folder_id: str
    message_id: str
    began: int
    id: str = ""
    stand: str = ""
    flagged: bool = False


@dataclass(slots=True)
class Submitted:
    """Young submissions of one Message-ID. `ids`: of the copies of those that Graph has taken; `open`: others are
    on their way."""

    ids: list[str] = field(default_factory=list)
    open: bool = False


async def submitted(ctx: AccountContext, message_id: str) -> Submitted:
    """As far as rows tell, which are kept for so long. No request."""
    found = Submitted()
    since = int(ctx.clock.time() - YOUNG)
    for row in await ctx.store.submissions(ctx.account, open_since=since):
        with suppress(msgspec.MsgspecError):  # of another program version
            work = Record.of(row).work
            if work.message_id != message_id or row.state in _ENDED:
                continue
            if row.state not in TAKEN:
                found.open = True
            elif work.draft:
                found.ids.append(work.draft)
    return found


async def expect_exchange(ctx: AccountContext, message_id: str, copy: str) -> None:
    """The submission has been taken. If its client has filed the message already, the courier sees to it that there
    is one in the end."""
    filed = ctx.outgoing.filed.get(message_id)
    now = ctx.clock.time()
    if filed is None or not copy or now - filed.at > YOUNG:
        return
    del ctx.outgoing.filed[message_id]
    work = Copy(filed.folder, filed.folder_id, message_id, int(now), copy, filed.id)
    with suppress(GatewayError):  # then there are two; the submission has been taken all the same
        ctx.holds.left[await begin(ctx, KIND, work)] = filed.folder_id
        ctx.outgoing.wake.set()


def is_owed(ctx: AccountContext, row: MessageRow) -> bool:
    """Whether a 404 says nothing of this row."""
    return not row.etag and ctx.clock.time() - row.save_date < _AT_MOST


def _is_sent(ctx: AccountContext, folder: FolderId) -> bool:
    sent = ctx.special.get(SpecialUse.SENT)
    return sent is not None and sent.id == folder


async def owed(ctx: AccountContext, key: int, folder: FolderId, ids: Collection[MessageId]) -> set[MessageId]:
    """Those of these messages, missing in Graph, that are only late."""
    if not ids or not _is_sent(ctx, folder):
        return set()
    rows = await ctx.store.find(key, list(ids))
    return {id for id, row in rows.items() if is_owed(ctx, row)}


def settled_rows(
    ctx: AccountContext, folder: FolderId, rows: Sequence[Upsert], known: Mapping[MessageId, MessageRow]
) -> list[Upsert]:
    """What may be taken in as it is. A copy that has come, and has not yet the flags that the client gave it, is seen
    to by the courier first."""
    if not _is_sent(ctx, folder):
        return list(rows)
    came = {row.id for row in rows if _is_to_be_flagged(ctx, row, known.get(row.id))}
    if came:
        ctx.outgoing.shown |= came
        ctx.outgoing.wake.set()
    return [row for row in rows if row.id not in came]


def _is_to_be_flagged(ctx: AccountContext, row: Upsert, known: MessageRow | None) -> bool:
    return known is not None and is_owed(ctx, known) and row.flags is not None and row.flags != known.flags
