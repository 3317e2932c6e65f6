"""A message restored from Deleted Items loses the mark of \\Deleted that its EXPUNGE left in Graph (decision 8).

For this gateway the mark counts for nothing anyway; this is for other programs that read it. It costs a request, in the
background, for each message that comes back, and none for those that stay where they are. Nothing is lost when it does
not come about: the message is met again when it changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from gateway.core.errors import NoSuchMailbox
from gateway.core.types import FolderId, MessageId, SpecialUse
from gateway.graph.errors import GraphError
from gateway.graph.mail import IMAP_DELETED, Patch
from gateway.graph.model import Message, Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import epoch, is_marked
from gateway.mailbox.patches import extended_properties
from gateway.mailbox.work import aside
from gateway.store.api import Local, Upsert

AT_ONCE = 100  # of one round; the others when they are met again


def unmark(
    ctx: AccountContext, key: int, id: FolderId, messages: Sequence[Message], local: Mapping[MessageId, Local]
) -> None:
    """Begin with those of these messages that bear a spent mark, as they were just seen in this folder."""
    trash = ctx.special.get(SpecialUse.TRASH)
    if trash is not None and trash.id == id:
        return
    spent = [m for m in messages if is_marked(m) and local.get(MessageId(m.id), Local()).undeleted]
    if spent:
        aside(_unmark(ctx, key, spent[:AT_ONCE]))


async def _unmark(ctx: AccountContext, folder: int, messages: Sequence[Message]) -> None:
    """If-Match: a STORE of \\Deleted since then is not undone. The mark stays spent here: what a late row shows is
    still the old one."""
    body = {"singleValueExtendedProperties": extended_properties({IMAP_DELETED: "0"})}
    patches = [Patch(message.id, body, message.etag) for message in messages if message.etag]
    try:
        answers = await ctx.graph.patch(patches, priority=Priority.BACKGROUND)
    except GraphError:
        return
    written = [answer for answer in answers if isinstance(answer, Message)]
    for message in written:
        ctx.writes.ended(MessageId(message.id), ctx.clock.monotonic())
    with suppress(NoSuchMailbox):
        ctx.hubs.refresh(folder, await ctx.store.apply(folder, [_row(message) for message in written], ()))


def _row(message: Message) -> Upsert:
    """The etag is ours: nobody is to suspect that the content was changed."""
    modified = epoch(message.last_modified_date_time)
    return Upsert(MessageId(message.id), etag=message.etag or None, modified=modified, known_only=True)
