"""A client that submits a message APPENDs it to Sent as well; Exchange puts its own copy there (trap 21).

One message, not two: while a submission is young, an APPEND of its Message-ID to Sent Items is about the copy that
Exchange makes. It gets the client's octets, date and flags, and the UID that APPENDUID tells. Which it is:

```
Graph has taken the submission  the draft's immutable id names the copy: no request, be it to be seen yet or not
it is on its way                waited for, for a moment; else landed, and exchanged for the copy later (`copies`)
it went as MIME                 nothing names the copy: it is looked for by its Message-ID
none that we know of            landed; should it be submitted afterwards, exchanged as well
```"""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from itertools import islice

from gateway.core.types import FlagChange, FlagOp, Flags, MessageId, SystemFlag, Uid
from gateway.graph.errors import GraphError
from gateway.graph.model import Message
from gateway.mailbox.changes import store_flags
from gateway.mailbox.context import AccountContext
from gateway.mailbox.facts import facts_from
from gateway.mailbox.local import KeywordMap, email_id, epoch, upsert_of
from gateway.mailbox.outgoing import Filed
from gateway.mailbox.patches import local_of
from gateway.mailbox.sending.elsewhere import times_sent
from gateway.mailbox.sending.promise import BOUND, KIND, PLAIN, YOUNG, Copy, submitted
from gateway.mailbox.values import Incoming
from gateway.mailbox.work import begin
from gateway.mime.compose import message_id
from gateway.store.api import FolderRow, MessageRow, Upsert

_LOOKS = (0.0, 0.5, 1.0, 2.0, 4.0)  # seconds between looks: the copy comes late (contract section 10.2)
_WAITS = (0.5, 1.0, 2.0)  # seconds between looks for the end of a submission
_SKEW = 30.0
_HEADER = 256 * 1024  # octets of a message in which its Message-ID is


@dataclass(frozen=True, slots=True)
class SentCopy:
    """Exchange's copy of a message; `message` is it as Graph showed it, where Graph was asked."""

    id: MessageId
    message: Message | None = None


async def find_sent_copies(
    ctx: AccountContext, sent: FolderRow, messages: Sequence[Incoming]
) -> list[SentCopy | None]:
    """Exchange's copy of each, no copy twice; None: there is none to take, land that message as any other."""
    copies: list[SentCopy | None] = []
    found: dict[str, set[MessageId]] = {}  # by Message-ID
    for message in messages:
        name = _name(message)
        copy = await _find(ctx, sent, name, found.setdefault(name, set())) if name else None
        copies.append(copy)
        if copy is not None:
            found[name].add(copy.id)
    return copies


async def take_sent_copy(ctx: AccountContext, sent: FolderRow, copy: SentCopy, message: Incoming) -> Uid:
    """The UID of this copy, now holding the client's octets. The folder is held meanwhile."""
    data = message.spool.read()
    blob = await ctx.store.put_blob(data)
    row = (await ctx.store.find(sent.key, [copy.id])).get(copy.id)
    if row is None and copy.message is None:
        return await _promise(ctx, sent, copy.id, message, blob)
    await _take(ctx, sent, copy, row, message, blob)
    return await _flag(ctx, sent, copy.id, message.flags)


async def file_message(ctx: AccountContext, sent: FolderRow, message: Incoming, uid: Uid) -> None:
    """This one was landed. If it is being submitted, or will be, it gives way to Exchange's copy."""
    name = _name(message)
    row = (await ctx.store.by_uid(sent.key, [uid])).get(uid) if name else None
    if row is None:
        return
    now = ctx.clock.time()
    if (await submitted(ctx, name)).open:
        await begin(ctx, KIND, Copy(sent.key, sent.id, name, int(now), stand=row.id))
        ctx.outgoing.wake.set()
        return
    filed = ctx.outgoing.filed
    filed[name] = Filed(row.id, sent.key, sent.id, now)
    filed.move_to_end(name)
    for oldest in list(islice(filed, max(0, len(filed) - BOUND))):
        del filed[oldest]


def _name(message: Incoming) -> str:
    """Its Message-ID, or nothing."""
    found = message_id(message.spool.read(0, _HEADER))
    return found.decode("utf-8", "replace") if found else ""


# -- which copy --


async def _find(
    ctx: AccountContext, sent: FolderRow, name: str, but: Collection[MessageId]
) -> SentCopy | None:
    """Another than those found; as many as were sent can be there."""
    known = await submitted(ctx, name)
    for pause in _WAITS:
        ids = [MessageId(id) for id in known.ids]
        taken = await ctx.store.has_originals(ctx.account, ids) if ids else set()
        for id in ids:
            if id not in taken and id not in but:
                return SentCopy(id)
        if not known.open:
            break
        await ctx.clock.sleep(pause)
        known = await submitted(ctx, name)
    since = ctx.clock.time() - YOUNG
    if await times_sent(ctx, name, since) <= max(len(but), len(known.ids)):
        return None
    return await _look(ctx, sent, name, since, but)


async def _look(
    ctx: AccountContext, sent: FolderRow, name: str, since: float, but: Container[str]
) -> SentCopy | None:
    for pause in _LOOKS:
        await ctx.clock.sleep(pause)
        try:
            listed = await ctx.graph.find_by_message_id(name, sent.id)
        except GraphError:
            return None
        taken = await ctx.store.has_originals(ctx.account, [MessageId(copy.id) for copy in listed])
        for copy in listed:
            id = MessageId(copy.id)
            young = (epoch(copy.created_date_time) or 0) >= since - _SKEW
            if id not in taken and id not in but and young:
                return SentCopy(id, copy)
    return None


# -- one that nobody has seen yet --


async def _promise(
    ctx: AccountContext, sent: FolderRow, id: MessageId, message: Incoming, blob: bytes
) -> Uid:
    """Its row, with the client's octets, before Graph shows it; no request."""
    now = int(ctx.clock.time())
    keywords = KeywordMap(ctx.settings.labels)
    flags = _flags_of(message, keywords)
    work = Copy(sent.key, sent.id, _name(message), now, id, flagged=flags != PLAIN)
    await begin(ctx, KIND, work)
    date = now if message.internal_date is None else message.internal_date
    row = Upsert(id, flags=flags, internal_date=date, email_id=email_id(id), save_date=now)
    ctx.writes.ended(id, ctx.clock.monotonic())
    born = await ctx.store.apply(sent.key, [row], ())  # first: after a crash the client's next try finds it
    await ctx.store.put_local(ctx.account, {id: local_of(flags, keywords)})
    await ctx.store.put_facts(ctx.account, {id: await facts_from(message.spool.read())})
    await ctx.store.adopt_blob(ctx.account, id, blob)
    exact = Upsert(id, size=message.spool.size, size_exact=True)
    applied = await ctx.store.apply(sent.key, [exact], ())
    ctx.hubs.refresh(sent.key, born)
    ctx.hubs.refresh(sent.key, applied)
    ctx.outgoing.wake.set()
    return applied.rows[0].uid


def _flags_of(message: Incoming, keywords: KeywordMap) -> Flags:
    """Exchange's copy is read, whatever the client says."""
    asked = keywords.canonical_flags(message.flags)
    return Flags(asked.system & ~SystemFlag.DRAFT | SystemFlag.SEEN, asked.keywords)


# -- one that is there --


async def _take(
    ctx: AccountContext,
    sent: FolderRow,
    copy: SentCopy,
    row: MessageRow | None,
    message: Incoming,
    blob: bytes,
) -> None:
    """The copy's row with the client's octets; a new UID if anybody may have read other octets under the old one."""
    id, data = copy.id, message.spool.read()
    facts = {id: await facts_from(data)}
    await ctx.store.adopt_blob(ctx.account, id, blob)  # from here on nobody is shown others
    known = await ctx.store.put_facts(ctx.account, facts)
    read = row is not None and (known != facts or await _was_read(ctx, row))
    upsert = await _upsert(ctx, copy, row)
    upsert.new_generation = read
    if message.internal_date is not None and (read or row is None):
        upsert.internal_date = message.internal_date
    applied = await ctx.store.apply(sent.key, [upsert], ())
    if read:
        await ctx.store.drop_content(ctx.account, [id])
        await ctx.store.adopt_blob(ctx.account, id, blob)
        await ctx.store.put_facts(ctx.account, facts)
    ctx.hubs.refresh(sent.key, applied)
    exact = Upsert(id, size=len(data), size_exact=True)  # only now: a crash before leaves Exchange's octets
    ctx.hubs.refresh(sent.key, await ctx.store.apply(sent.key, [exact], ()))


async def _upsert(ctx: AccountContext, copy: SentCopy, row: MessageRow | None) -> Upsert:
    if copy.message is None:
        return Upsert(copy.id)
    local = (await ctx.store.local(ctx.account, [copy.id])).get(copy.id)
    return upsert_of(copy.message, local, KeywordMap(ctx.settings.labels), known=row, expanded=False)


async def _was_read(ctx: AccountContext, row: MessageRow) -> bool:
    return row.size_exact or await ctx.store.pinned(ctx.account, row.id) is not None


async def _flag(ctx: AccountContext, sent: FolderRow, id: MessageId, flags: Flags) -> Uid:
    row = (await ctx.store.find(sent.key, [id]))[id]
    canonical = KeywordMap(ctx.settings.labels).canonical_flags(flags)
    if canonical.system & ~row.flags.system or canonical.keywords - row.flags.keywords:
        await store_flags(ctx, sent, [row], FlagChange(FlagOp.ADD, flags))
    return row.uid
