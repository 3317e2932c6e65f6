"""A client that submits a message APPENDs it to Sent as well; Exchange puts its own copy there (trap 21).

One message, not two: while a submission is young, an APPEND of its Message-ID to Sent Items takes over the
copy that Exchange made. It gets the client's octets, date and flags, and the UID that APPENDUID tells."""

from __future__ import annotations

from collections.abc import Container, Sequence

from gateway.core.types import FlagChange, FlagOp, Flags, MessageId, Uid
from gateway.graph.errors import GraphError
from gateway.graph.model import Message
from gateway.mailbox.changes import store_flags
from gateway.mailbox.context import AccountContext
from gateway.mailbox.facts import facts_of_octets
from gateway.mailbox.local import KeywordMap, epoch, upsert_of
from gateway.mailbox.sending.elsewhere import times_sent
from gateway.mailbox.values import Incoming
from gateway.mime.compose import message_id
from gateway.store.api import FolderRow, Upsert

YOUNG = 900.0  # seconds after its submission
_LOOKS = (0.0, 0.5, 1.0, 2.0, 4.0)  # seconds between looks: the copy comes late (contract section 10.2)
_SKEW = 30.0


async def find_sent_copies(
    ctx: AccountContext, sent: FolderRow, messages: Sequence[Incoming]
) -> list[Message | None]:
    """Exchange's copy of each, no copy twice; None: there is none to take, land that message as any other."""
    copies: list[Message | None] = []
    found: dict[str, list[str]] = {}  # ids, by Message-ID
    for message in messages:
        name = _name(message)
        copy = await _find(ctx, sent, name, found.setdefault(name, []))
        copies.append(copy)
        if copy is not None:
            found[name].append(copy.id)
    return copies


async def take_sent_copy(ctx: AccountContext, sent: FolderRow, copy: Message, message: Incoming) -> Uid:
    """The UID of this copy, now holding the client's octets. The folder is held meanwhile."""
    data = message.spool.read()
    await _take(ctx, sent, copy, data, message.internal_date, await ctx.store.put_blob(data))
    return await _flag(ctx, sent, MessageId(copy.id), message.flags)


def _name(message: Incoming) -> str:
    """Its Message-ID, or nothing."""
    found = message_id(message.spool.read())
    return found.decode("utf-8", "replace") if found else ""


async def _find(ctx: AccountContext, sent: FolderRow, name: str, found: Sequence[str]) -> Message | None:
    """Another than those found; as many as were sent can be there."""
    since = ctx.clock.time() - YOUNG
    if not name or await times_sent(ctx, name, since) <= len(found):
        return None
    return await _look(ctx, sent, name, since, found)


async def _look(
    ctx: AccountContext, sent: FolderRow, name: str, since: float, but: Container[str]
) -> Message | None:
    for pause in _LOOKS:
        await ctx.clock.sleep(pause)
        try:
            listed = await ctx.graph.find_by_message_id(name, sent.id)
        except GraphError:
            return None
        taken = await ctx.store.has_originals(ctx.account, [MessageId(copy.id) for copy in listed])
        for copy in listed:
            if (
                copy.id not in taken
                and copy.id not in but
                and (epoch(copy.created_date_time) or 0) >= since - _SKEW
            ):
                return copy
    return None


async def _take(
    ctx: AccountContext, sent: FolderRow, copy: Message, data: bytes, internal_date: int | None, blob: bytes
) -> None:
    """The copy's row with the client's octets; a new UID if anybody may have read other octets under the
    old one."""
    id = MessageId(copy.id)
    row = (await ctx.store.find(sent.key, [id])).get(id)
    local = (await ctx.store.local(ctx.account, [id])).get(id)
    upsert = upsert_of(copy, local, KeywordMap(ctx.settings.labels), known=row, expanded=False)
    upsert.internal_date = internal_date if internal_date is not None else upsert.internal_date
    upsert.new_generation = row is not None
    applied = await ctx.store.apply(sent.key, [upsert], ())
    await ctx.store.drop_content(ctx.account, [id])
    await ctx.store.adopt_blob(ctx.account, id, blob)
    await ctx.store.put_facts(ctx.account, {id: facts_of_octets(data)})
    ctx.hubs.refresh(sent.key, applied)
    exact = Upsert(id, size=len(data), size_exact=True)  # only now: a crash before leaves Exchange's octets
    ctx.hubs.refresh(sent.key, await ctx.store.apply(sent.key, [exact], ()))


async def _flag(ctx: AccountContext, sent: FolderRow, id: MessageId, flags: Flags) -> Uid:
    row = (await ctx.store.find(sent.key, [id]))[id]
    await store_flags(ctx, sent, [row], FlagChange(FlagOp.ADD, flags))
    return row.uid
