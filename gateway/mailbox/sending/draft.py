"""A submission as a draft in Graph: made ready, created, found again, discarded. Nothing here sends.

The seam between what is sent (this module and those it uses) and that it is sent exactly once (`steps`, `deliver`):
`steps` keeps a row with the token before it calls `create_draft`, asks `find_draft` after an answer that was lost, and
never has two drafts sent for one row. A draft that nobody knows of harms nobody: it is found and discarded."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from gateway.core.errors import SubmissionRefused
from gateway.core.types import MessageId, SpecialUse
from gateway.graph.errors import GraphError
from gateway.graph.model import Message
from gateway.mailbox.arrival import move_all
from gateway.mailbox.compose import compose
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import epoch
from gateway.mailbox.replies import is_message_gone
from gateway.mailbox.values import Envelope, Spool
from gateway.mime.compose import message_id as message_id_of

SKEW = 30  # seconds Graph's clock may differ from ours


@dataclass(frozen=True, slots=True)
class Prepared:
    """A submission that nothing stands against here. `message_id`: that of the message, with its angle brackets."""

    message_id: str
    mime: bytes


async def prepare(
    ctx: AccountContext, envelope: Envelope, spool: Spool, *, now: int, message_id: str
) -> Prepared:
    """Plan and content, checked; no request. `now` and `message_id` are used where the message has no Date or
    Message-ID. SubmissionRefused."""
    mime = compose(spool.read(), envelope, now=now, message_id=message_id)
    if len(mime) * 4 // 3 + 4 > ctx.limits.request_body:
        raise SubmissionRefused(552, "5.3.4", "Message too big to be sent through this gateway")
    found = message_id_of(mime) or message_id.encode()
    return Prepared(found.decode("utf-8", "replace"), mime)


async def create_draft(
    ctx: AccountContext, prepared: Prepared, token: str, found: Message | None = None
) -> Message:
    """The whole draft, ready to be sent. `found`: what `find_draft` told of an earlier try with this token; it is
    finished rather than made anew. GraphError; after OutcomeUnknown or Unreachable there may be a draft."""
    return found if found is not None else await ctx.graph.create_from_mime(prepared.mime)


async def find_draft(
    ctx: AccountContext, token: str, message_id: str, began: int, claimed: Container[str]
) -> Message | None:
    """What a `create_draft` with this token left behind, whole or not. `began`: when its row was made. `claimed`:
    drafts that are others', by immutable id. GraphError."""
    drafts = ctx.special.get(SpecialUse.DRAFTS)
    if drafts is None:
        return None
    listed = await ctx.graph.find_by_message_id(message_id, drafts.id)
    young = [m for m in listed if m.is_draft and (epoch(m.created_date_time) or 0) >= began - SKEW]
    ids = [MessageId(message.id) for message in young]
    known = await ctx.store.find(drafts.key, ids)
    originals = await ctx.store.has_originals(ctx.account, ids)
    for message, id in zip(young, ids, strict=True):
        if id not in known and id not in originals and message.id not in claimed:
            return message
    return None


async def discard_draft(ctx: AccountContext, id: str) -> None:
    """To Recoverable Items: it must not be seen in Deleted Items either. Gone already is fine. GraphError."""
    (result,) = await move_all(ctx, [id])
    if isinstance(result, GraphError) and not is_message_gone(result):
        raise result
