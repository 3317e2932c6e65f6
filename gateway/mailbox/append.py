"""APPEND and REPLACE (decision 9): the octets put safely first, then messages in Graph, then their rows here, all
in one transaction; then, for REPLACE, the old message removed.

While they are created, unknown ids in the folder are held back. All or nothing: what went wrong is undone, by the
journal if need be (RFC 3502, section 6.3.11; RFC 8508 section 3.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gateway.core.errors import GatewayError, TooBig
from gateway.core.limits import MIB
from gateway.core.types import MessageId, SpecialUse, Uid
from gateway.graph.errors import GraphError
from gateway.graph.mail import Result
from gateway.graph.model import Message
from gateway.mailbox import replacing
from gateway.mailbox.arrival import leave, move_all, raise_first
from gateway.mailbox.context import AccountContext
from gateway.mailbox.creating import AppendWork, Creation, find_created
from gateway.mailbox.facts import facts_from
from gateway.mailbox.local import email_id, epoch, flags_of, thread_id
from gateway.mailbox.patches import local_of
from gateway.mailbox.replacing import Replaced
from gateway.mailbox.replies import is_message_gone, refusal
from gateway.mailbox.sentcopy import file_message, find_sent_copies, take_sent_copy
from gateway.mailbox.values import Incoming
from gateway.mailbox.work import abandon, done, payload_of, whole
from gateway.store.api import FolderRow, JournalRow, Upsert

# Messages whose requests are in memory at the same time.
AT_ONCE = 40
OCTETS_AT_ONCE = 8 * MIB  # or one


async def append(ctx: AccountContext, target: FolderRow, messages: Sequence[Incoming]) -> list[Uid]:
    """Put messages into a folder; their UIDs there, in order. Their octets, dates, flags and read state come back as
    they were given. Raises GatewayError with nothing left behind."""
    _fits(ctx, messages)
    if target.well_known == SpecialUse.SENT:
        return await whole(_append_to_sent(ctx, target, messages))
    return await whole(_Append(ctx, target, messages).run())


async def _append_to_sent(ctx: AccountContext, sent: FolderRow, messages: Sequence[Incoming]) -> list[Uid]:
    """Messages just submitted take over the copies that Exchange made of them; last, for that cannot be undone, and
    need not be: they were in their place before we began."""
    with ctx.holds.hold(sent.id):
        copies = await find_sent_copies(ctx, sent, messages)
        others = [message for message, copy in zip(messages, copies, strict=True) if copy is None]
        landed = iter(await _Append(ctx, sent, others).run() if others else ())
        uids = [
            next(landed) if copy is None else await take_sent_copy(ctx, sent, copy, message)
            for message, copy in zip(messages, copies, strict=True)
        ]
        for message, copy, uid in zip(messages, copies, uids, strict=True):
            if copy is None:
                await file_message(ctx, sent, message, uid)
        return uids


async def replace(ctx: AccountContext, target: FolderRow, message: Incoming, old: Replaced) -> Uid:
    """Put a message into a folder and remove another: both, or GatewayError and neither."""
    _fits(ctx, [message])
    return await whole(_replace(ctx, target, message, old))


async def _replace(ctx: AccountContext, target: FolderRow, message: Incoming, old: Replaced) -> Uid:
    if target.well_known == SpecialUse.SENT:
        with ctx.holds.hold(target.id):
            copy = (await find_sent_copies(ctx, target, [message]))[0]
            uid = None if copy is None else await take_sent_copy(ctx, target, copy, message)
        if uid is not None:  # the new message was in its place before we began, and stays there
            await replacing.remove(ctx, old)
            return uid
    return (await _Append(ctx, target, [message], old).run())[0]


def _fits(ctx: AccountContext, messages: Iterable[Incoming]) -> None:
    if any(message.spool.size > ctx.limits.append_landable for message in messages):
        raise TooBig(f"Messages of more than {ctx.limits.append_landable} octets cannot be landed")


class _Append:
    """Messages on their way into one folder, and the message that goes when they have come."""

    def __init__(
        self,
        ctx: AccountContext,
        target: FolderRow,
        messages: Sequence[Incoming],
        replaces: Replaced | None = None,
    ) -> None:
        self._ctx = ctx
        self._target = target
        self._replaces = replaces
        self._creations = [Creation(ctx, target, message) for message in messages]

    async def run(self) -> list[Uid]:
        with self._ctx.holds.hold(self._target.id):  # until what was made has its UID, or has been taken back
            return await self._run()

    async def _run(self) -> list[Uid]:
        try:
            uids = await self._landed()
            if self._replaces is not None:
                await replacing.remove(self._ctx, self._replaces)
        except GraphError as error:
            await self._undo()
            raise refusal(error) from error
        except GatewayError:
            await self._undo()
            raise
        except BaseException:  # a bug, or the store: what was done is undone soon, by the journal
            self._abandon()
            raise
        for creation in self._creations:
            await done(self._ctx, creation.journal)
        return uids

    async def _landed(self) -> list[Uid]:
        for creation in self._creations:
            await creation.begin(self._replaces)
        for some in _groups(self._creations):
            await (some[0].create() if len(some) == 1 else self._create(some))
        return await self._land()

    # -- creating --

    async def _create(self, some: Sequence[Creation]) -> None:
        """In as few requests as there can be: batches of those that one POST creates, the others side by side."""
        bodies = {creation: body for creation in some if (body := await creation.body()) is not None}
        alone = [creation.create() for creation in some if creation not in bodies]
        results = await self._batch(list(bodies.values()))
        taken = (creation.take(result) for creation, result in zip(bodies, results, strict=True))
        await self._all([*taken, *alone])

    async def _batch(self, bodies: Sequence[Mapping[str, Any]]) -> Sequence[Result]:
        return await self._ctx.graph.create_all(self._target.id, bodies) if bodies else ()

    async def _all(self, steps: Sequence[Awaitable[None]]) -> None:
        """Each to its end, so that what it made is known, before the first failure is raised."""
        slots = asyncio.Semaphore(self._ctx.limits.in_flight)
        results = await asyncio.gather(*(_within(slots, step) for step in steps), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    # -- undoing --

    async def _undo(self) -> None:
        """Take back what was made. Should that fail as well, the journal does it soon."""
        begun = [creation for creation in self._creations if creation.journal]
        for creation in begun:
            creation.work.refused = True
        try:
            gone = await _take_back(self._ctx, self._target.key, [c.work.id for c in begun if c.work.id])
            for creation in begun:
                if creation.unsure or creation.work.id not in gone | {""}:
                    await creation.save()
                    abandon(self._ctx, creation.journal, self._target.id)
                else:
                    await done(self._ctx, creation.journal)
        except GatewayError:  # the store: nothing more can be done now
            self._abandon()

    def _abandon(self) -> None:
        for creation in self._creations:
            if creation.journal:
                abandon(self._ctx, creation.journal, self._target.id)

    # -- taking over --

    async def _land(self) -> list[Uid]:
        ctx, ids = self._ctx, [MessageId(creation.work.id) for creation in self._creations]
        for id, creation in zip(ids, self._creations, strict=True):
            await ctx.store.adopt_blob(ctx.account, id, bytes.fromhex(creation.work.blob))
            await ctx.store.put_facts(ctx.account, {id: await facts_from(await creation.octets())})
            ctx.writes.ended(id, ctx.clock.monotonic())
        states = [local_of(creation.flags, creation.keywords) for creation in self._creations]
        await ctx.store.put_local(ctx.account, dict(zip(ids, states, strict=True)))
        applied = await ctx.store.apply(self._target.key, list(self._upserts()), ())
        ctx.hubs.refresh(self._target.key, applied)
        uids = {row.id: row.uid for row in applied.rows}
        return [uids[id] for id in ids]

    def _upserts(self) -> Iterator[Upsert]:
        now = int(self._ctx.clock.time())
        for creation in self._creations:
            if creation.made is None:
                raise AssertionError("a message was not created")
            yield _upsert(creation, creation.made, now)


def _groups(creations: Sequence[Creation]) -> Iterator[list[Creation]]:
    some: list[Creation] = []
    octets = 0
    for creation in creations:
        if some and (len(some) == AT_ONCE or octets + creation.size > OCTETS_AT_ONCE):
            yield some
            some, octets = [], 0
        some.append(creation)
        octets += creation.size
    yield some


async def _within(slots: asyncio.Semaphore, step: Awaitable[None]) -> None:
    async with slots:
        await step


def _upsert(creation: Creation, message: Message, now: int) -> Upsert:
    id, state = MessageId(message.id), local_of(creation.flags, creation.keywords)
    return Upsert(
        id,
        flags=flags_of(message, state, creation.keywords, expanded=False, known=creation.flags),
        internal_date=creation.date,
        size=creation.size,
        size_exact=True,
        email_id=email_id(id),
        thread_id=thread_id(message.conversation_id) if message.conversation_id else None,
        save_date=now,
        etag=message.etag or None,
        modified=epoch(message.last_modified_date_time),
    )


async def _take_back(ctx: AccountContext, folder: int, ids: Sequence[str]) -> frozenset[str]:
    """Remove messages that must not stay; those that are gone now. Rows they have are expunged."""
    results = dict(zip(ids, await move_all(ctx, ids), strict=True))
    gone = frozenset(
        id for id, result in results.items() if isinstance(result, Message) or is_message_gone(result)
    )
    known = await ctx.store.find(folder, [MessageId(id) for id in gone])
    await leave(ctx, folder, list(known))
    if gone:
        await ctx.store.drop_content(ctx.account, [MessageId(id) for id in gone])
    return gone


async def recover_append(ctx: AccountContext, row: JournalRow) -> None:
    """A message that is whole, with its octets and its row, stays, and what it replaces goes; of any other the client
    was never told: it is taken back."""
    work = payload_of(row, AppendWork)
    if not work.refused and work.id and await _is_whole(ctx, work):
        if work.replaces is not None:
            await replacing.remove(ctx, work.replaces)
    else:
        ids = [work.id] if work.id else [found.id for found in [await find_created(ctx, work)] if found]
        gone = await _take_back(ctx, work.target, ids)
        raise_first([] if gone.issuperset(ids) else await move_all(ctx, ids))
    await done(ctx, row.id)


async def _is_whole(ctx: AccountContext, work: AppendWork) -> bool:
    id = MessageId(work.id)
    return bool(await ctx.store.find(work.target, [id])) and bool(
        await ctx.store.has_originals(ctx.account, [id])
    )
