"""Drafts on their way out: never seen in Drafts by an IMAP client, whatever a delta tells of them.

The rows say which they are: also after a restart, and at another node. They stay for some minutes after the message
was sent, for deltas lag behind (trap 55)."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field

import msgspec

from gateway.core.types import FolderId, MessageId, SpecialUse
from gateway.graph.model import Message
from gateway.mailbox.context import AccountContext
from gateway.mailbox.sending.record import DRAFTING, GIVEN_UP, Record

LAG = 120  # seconds a delta may be behind


@dataclass(slots=True)
class Hidden:
    """`ids`: drafts of submissions; `perhaps`: such as may be, by their Message-ID: held back until it is clear."""

    ids: set[MessageId] = field(default_factory=set)
    perhaps: set[MessageId] = field(default_factory=set)


async def hidden(
    ctx: AccountContext, folder: FolderId, messages: Sequence[Message], known: Container[MessageId]
) -> Hidden:
    """Which of these are not for clients to see. Costs a look at the rows where there are drafts nobody knows."""
    drafts = ctx.special.get(SpecialUse.DRAFTS)
    if drafts is None or drafts.id != folder:
        return Hidden()
    strange = [m for m in messages if m.is_draft and MessageId(m.id) not in known]
    return await _among(ctx, strange) if strange else Hidden()


async def _among(ctx: AccountContext, messages: Sequence[Message]) -> Hidden:
    ids: set[str] = set()
    names: set[str] = set()
    for row in await ctx.store.submissions(ctx.account, open_since=int(ctx.clock.time()) - LAG):
        try:
            work = Record.of(row).work
        except msgspec.MsgspecError:  # of another program version
            continue
        ids.add(work.draft)
        if row.state in (DRAFTING, GIVEN_UP) or work.strays:
            names.add(work.message_id)
    hidden = Hidden({MessageId(m.id) for m in messages if m.id in ids})
    hidden.perhaps = {MessageId(m.id) for m in messages if m.internet_message_id in names} - hidden.ids
    return hidden
