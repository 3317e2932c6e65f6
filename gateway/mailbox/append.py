"""APPEND (decision 9): the octets put safely first, then a message in Graph, then its row here.

```
draft, up to what one request takes     MIME POST to Drafts, PATCH of its flags, move to its folder
other mail that fits one request        one JSON POST into the folder, attachments inline
everything larger                       JSON POST into a hidden folder, attachments one by one, moved last
```
While it is created, unknown ids in the folder are held back. What went wrong is undone, by the journal if
need be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog

from gateway.core.errors import TooBig
from gateway.core.types import Flags, MessageId, SpecialUse, SystemFlag, Uid
from gateway.graph.errors import (
    AlreadyExists,
    GraphError,
    Invalid,
    NotFound,
    OutcomeUnknown,
    TooLarge,
    Unreachable,
)
from gateway.graph.mail import Patch
from gateway.graph.model import Message
from gateway.graph.props import parse_property, props
from gateway.mailbox.arrival import move_all, raise_first
from gateway.mailbox.context import AccountContext
from gateway.mailbox.facts import facts_of_octets
from gateway.mailbox.landing import MARKER, File, Landing, State, landing_of, message_id_of, minimal
from gateway.mailbox.local import KeywordMap, email_id, epoch, flags_of, thread_id
from gateway.mailbox.patches import Change, changed_aspects, local_of, patch_of
from gateway.mailbox.replies import is_message_gone, refusal
from gateway.mailbox.sentcopy import take_sent_copy
from gateway.mailbox.work import begin, done, payload_of, update, whole
from gateway.mime.compose import add_header, crlf, message_id, reencode_qp_leaves
from gateway.store.api import FolderRow, JournalRow, Upsert

BUILDING = "building-folder"  # the journal row that remembers the hidden folder; never done
_BUILDING_NAME = "Gateway (building)"
_LOOKS = (0.5, 1.0, 2.0, 4.0)  # seconds between looks for what may have been created
_SKEW = 120  # seconds Graph's clock may differ from ours
_ENVELOPE = 64 * 1024  # octets of a request beside the parts we count
_MARK = parse_property(MARKER)
_UNKNOWN = (OutcomeUnknown, Unreachable)
log = structlog.get_logger()


class AppendWork(msgspec.Struct):
    """An APPEND under way. `id`: the message, once Graph named it."""

    target: int
    target_id: str
    blob: str  # hex address
    marker: str
    message_id: str
    began: int
    draft: bool
    id: str = ""


class BuildingFolder(msgspec.Struct):
    id: str


async def append(
    ctx: AccountContext, target: FolderRow, data: bytes, flags: Flags, internal_date: int | None
) -> Uid:
    """Put a message into a folder; its UID there. `internal_date` in seconds since 1970, None = now. Its
    octets, date, flags and read state come back as they were given. Raises GatewayError with nothing left
    behind."""
    if len(data) > ctx.limits.append_landable:
        raise TooBig(f"Messages of more than {ctx.limits.append_landable} octets cannot be landed")
    blob = await ctx.store.put_blob(data)
    if target.well_known == SpecialUse.SENT:
        uid = await whole(take_sent_copy(ctx, target, data, flags, internal_date, blob))
        if uid is not None:
            return uid
    return await whole(_Append(ctx, target, data, flags, internal_date, blob).run())


class _Append:
    """One APPEND on its way."""

    def __init__(
        self,
        ctx: AccountContext,
        target: FolderRow,
        data: bytes,
        flags: Flags,
        internal_date: int | None,
        blob: bytes,
    ) -> None:
        self._ctx = ctx
        self._target = target
        self._data = data
        self._keywords = KeywordMap(ctx.settings.labels)
        now = int(ctx.clock.time())
        draft = SystemFlag.DRAFT in flags.system or target.well_known == SpecialUse.DRAFTS
        system = flags.system | SystemFlag.DRAFT if draft else flags.system & ~SystemFlag.DRAFT
        self._flags = Flags(system, self._keywords.canonical_flags(flags).keywords)
        self._date = now if internal_date is None else internal_date
        marker = f"{ctx.rng.getrandbits(128):032x}"
        self._state = State(self._flags, self._date, draft, marker)
        self._work = AppendWork(
            target.key, target.id, blob.hex(), marker, message_id_of(data, marker), now, draft
        )
        self._journal = 0
        self._unsure = False

    async def run(self) -> Uid:
        self._journal = await begin(self._ctx, "append", self._work)
        with self._ctx.holds.hold(self._target.id):
            try:
                message = await self._create()
            except GraphError as error:
                await self._undo()
                raise refusal(error) from error
            uid = await self._land(message)
        await done(self._ctx, self._journal)
        return uid

    async def _undo(self) -> None:
        results = await move_all(self._ctx, [self._work.id] if self._work.id else [])
        if not self._unsure and all(isinstance(each, Message) or is_message_gone(each) for each in results):
            await done(self._ctx, self._journal)

    async def _named(self, message: Message) -> Message:
        self._work.id = message.id
        await update(self._ctx, self._journal, self._work)
        return message

    # -- creating --

    async def _create(self) -> Message:
        """The message in its folder, as Graph last showed it."""
        if self._state.draft and self._fits_mime():
            try:
                return await self._mime_draft()
            except (Invalid, TooLarge):
                if self._work.id:  # it was not the MIME that was refused
                    raise
        try:
            return await self._landed(landing_of(self._data, self._state, self._keywords))
        except Invalid:
            if self._work.id:
                raise
            log.warning("message landed in its simplest form", account=self._ctx.account)
            return await self._landed(minimal(self._data, self._state, self._keywords))

    def _fits_mime(self) -> bool:
        return len(self._data) * 4 // 3 + _ENVELOPE <= self._ctx.limits.request_body

    async def _mime_draft(self) -> Message:
        mime = reencode_qp_leaves(crlf(self._data))
        if message_id(mime) is None:
            mime = add_header(mime, b"Message-ID", self._work.message_id.encode())
        message = await self._named(await self._surely(lambda: self._ctx.graph.create_from_mime(mime)))
        message = await self._flagged(message)
        return await self._placed(message)

    async def _landed(self, landing: Landing) -> Message:
        if landing.octets + _ENVELOPE > self._ctx.limits.request_body:
            return await self._built(landing)
        body = landing.whole()
        try:
            made = await self._surely(lambda: self._ctx.graph.create(self._target.id, body))
        except TooLarge:  # it counts otherwise than we do
            return await self._built(landing)
        return await self._named(made)

    async def _built(self, landing: Landing) -> Message:
        """Where nobody sees it half done."""
        folder = await building_folder(self._ctx)
        message = await self._named(await self._surely(lambda: self._ctx.graph.create(folder, landing.json)))
        for file in landing.files:
            await self._attach(message.id, file)
        return await self._placed(message)

    async def _attach(self, id: str, file: File) -> None:
        """Never blindly twice: looked for by name and size first."""
        try:
            await self._ctx.graph.add_attachment(id, file.json, file.data)
        except _UNKNOWN:
            listed = await self._ctx.graph.attachments(id)
            if not any(_is_that(each, file) for each in listed):
                await self._ctx.graph.add_attachment(id, file.json, file.data)

    async def _flagged(self, message: Message) -> Message:
        """A MIME draft is read and nothing else: one PATCH where the client wants more."""
        current = Flags(SystemFlag.SEEN | SystemFlag.DRAFT)
        aspects = changed_aspects(current, self._flags, self._keywords)
        change = Change(current, self._flags, self._keywords, self._date)
        body = patch_of(change, aspects)
        if body is None:
            return message
        return _message((await self._ctx.graph.patch([Patch(message.id, body)]))[0])

    async def _placed(self, message: Message) -> Message:
        if message.parent_folder_id == self._target.id:
            return message
        return _message((await self._ctx.graph.move([message.id], self._target.id))[0])

    async def _surely(self, create: Callable[[], Awaitable[Message]]) -> Message:
        """Create once: if nobody says whether it was done, look; only if it is not there, create again."""
        for _ in range(2):
            try:
                message = await create()
            except _UNKNOWN as error:
                self._unsure, unknown = True, error
                found = await self._look()
                if found is not None:
                    self._unsure = False
                    return found
            else:
                self._unsure = False
                return message
        raise unknown

    async def _look(self) -> Message | None:
        for pause in _LOOKS:
            await self._ctx.clock.sleep(pause)
            found = await find_created(self._ctx, self._work)
            if found is not None:
                return found
        return None

    # -- taking over --

    async def _land(self, message: Message) -> Uid:
        ctx, id = self._ctx, MessageId(message.id)
        await ctx.store.adopt_blob(ctx.account, id, bytes.fromhex(self._work.blob))
        state = local_of(self._flags, self._keywords)
        await ctx.store.put_local(ctx.account, {id: state})
        await ctx.store.put_facts(ctx.account, {id: facts_of_octets(self._data)})
        flags = flags_of(message, state, self._keywords, expanded=False, known=self._flags)
        upsert = Upsert(
            id,
            flags=flags,
            internal_date=self._date,
            size=len(self._data),
            size_exact=True,
            email_id=email_id(id),
            thread_id=thread_id(message.conversation_id) if message.conversation_id else None,
            save_date=int(ctx.clock.time()),
            etag=message.etag or None,
            modified=epoch(message.last_modified_date_time),
        )
        ctx.writes.ended(id, ctx.clock.monotonic())
        applied = await ctx.store.apply(self._target.key, [upsert], ())
        ctx.hubs.refresh(self._target.key, applied)
        return applied.rows[0].uid


async def find_created(ctx: AccountContext, work: AppendWork) -> Message | None:
    """What an APPEND created without our hearing of it: by our mark, or for a MIME draft, which cannot bear
    one, by Message-ID, age, and that nobody else knows it."""
    found = [m for m in await ctx.graph.find_by_message_id(work.message_id) if _is_young(m, work)]
    if not found:
        return None
    answers = await ctx.graph.get([message.id for message in found], properties=(MARKER,))
    messages = [answer for answer in answers if isinstance(answer, Message)]
    marked = [message for message in messages if props(message).get(_MARK) == work.marker]
    if marked or not work.draft:
        return marked[0] if marked else None
    return await _unknown_draft(ctx, messages)


async def _unknown_draft(ctx: AccountContext, messages: list[Message]) -> Message | None:
    """A MIME draft in Drafts that has no UID yet, nor a mark of another APPEND."""
    drafts = ctx.special.get(SpecialUse.DRAFTS)
    ids = [MessageId(message.id) for message in messages]
    known = await ctx.store.find(drafts.key, ids) if drafts is not None else {}
    originals = await ctx.store.has_originals(ctx.account, ids)
    for message in messages:
        fresh = message.id not in known and message.id not in originals
        if message.is_draft and fresh and _MARK not in props(message):
            return message
    return None


def _is_young(message: Message, work: AppendWork) -> bool:
    return (epoch(message.created_date_time) or 0) >= work.began - _SKEW


def _is_that(listed: Mapping[str, Any], file: File) -> bool:
    size = listed.get("size")
    return listed.get("name") == file.json["name"] and isinstance(size, int) and size >= len(file.data)


def _message(answer: Message | GraphError) -> Message:
    if isinstance(answer, GraphError):
        raise answer
    return answer


async def building_folder(ctx: AccountContext) -> str:
    """The hidden folder in which large messages are put together; made on demand, its id kept by the
    journal (hidden folders are in no listing)."""
    for row in await ctx.store.journal(ctx.account):
        if row.kind == BUILDING:
            id = payload_of(row, BuildingFolder).id
            try:
                await ctx.graph.get_folder(id)
            except NotFound:  # somebody removed it
                await done(ctx, row.id)
            else:
                return id
    name = _BUILDING_NAME
    try:
        folder = await ctx.graph.create_folder("msgfolderroot", name, hidden=True)
    except AlreadyExists:  # of a store that was lost: nobody can tell us its id
        name += f" {ctx.rng.getrandbits(32):08x}"
        folder = await ctx.graph.create_folder("msgfolderroot", name, hidden=True)
    await begin(ctx, BUILDING, BuildingFolder(folder.id))
    return folder.id


async def recover_append(ctx: AccountContext, row: JournalRow) -> None:
    """The client was never told of a UID: take back what was created, unless its row is in the store
    already."""
    work = payload_of(row, AppendWork)
    id = work.id
    if not id:
        found = await find_created(ctx, work)
        id = found.id if found is not None else ""
    if id and not await ctx.store.find(work.target, [MessageId(id)]):
        raise_first(await move_all(ctx, [id]))
    await done(ctx, row.id)
