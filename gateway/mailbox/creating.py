"""One message on its way into Graph (decision 9).

```
draft, up to what one request takes     MIME POST to Drafts, PATCH of its flags, move to its folder
other mail that fits one request        one JSON POST into the folder, attachments inline; several in a batch
everything larger                       JSON POST into a hidden folder, attachments one by one, moved last
```
What a create of unknown fate did is looked for before anything is created again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog

from gateway.core.errors import Unavailable
from gateway.core.limits import KIB
from gateway.core.types import Flags, MessageId, SpecialUse, SystemFlag
from gateway.graph.errors import GraphError, Invalid, OutcomeUnknown, TooLarge, Unreachable
from gateway.graph.mail import Patch, Result
from gateway.graph.model import Message
from gateway.graph.props import parse_property, props
from gateway.mailbox.arrival import raise_first
from gateway.mailbox.building import building_folder
from gateway.mailbox.context import AccountContext
from gateway.mailbox.landing import MARKER, File, Landing, State, landing_of, message_id_of, minimal
from gateway.mailbox.local import KeywordMap, epoch
from gateway.mailbox.patches import Change, changed_aspects, patch_of
from gateway.mailbox.replacing import Replaced
from gateway.mailbox.values import Incoming
from gateway.mailbox.work import begin, update
from gateway.mime.compose import add_header, crlf, message_id, reencode_qp_leaves
from gateway.store.api import FolderRow

_LOOKS = (0.5, 1.0, 2.0, 4.0)  # seconds between looks for what may have been created
_SKEW = 120  # seconds Graph's clock may differ from ours
_ENVELOPE = 64 * KIB  # octets of a request beside the parts we count
_KEPT = 64 * KIB  # octets of a message that stay in memory; larger ones are read again where they are needed
_MARK = parse_property(MARKER)
_UNKNOWN = (OutcomeUnknown, Unreachable)
log = structlog.get_logger()


class AppendWork(msgspec.Struct):
    """A message being put into a folder. `id`: what Graph named it, once it did; `replaces`: the message that goes
    when this one has come (RFC 8508); `refused`: the client was told NO, so it must not stay."""

    target: int
    target_id: str
    blob: str  # hex address
    marker: str
    message_id: str
    began: int
    draft: bool
    id: str = ""
    replaces: Replaced | None = None
    refused: bool = False


class Creation:
    """A message that is to be in `target`, with its journal row. `made`: as Graph showed it last."""

    def __init__(self, ctx: AccountContext, target: FolderRow, message: Incoming) -> None:
        self._ctx = ctx
        self._target = target
        self._spool = message.spool
        self.size = message.spool.size
        self._kept: bytes | None = None
        self.keywords = KeywordMap(ctx.settings.labels)
        flags = message.flags
        draft = SystemFlag.DRAFT in flags.system or target.well_known == SpecialUse.DRAFTS
        system = flags.system | SystemFlag.DRAFT if draft else flags.system & ~SystemFlag.DRAFT
        self.flags = Flags(system, self.keywords.canonical_flags(flags).keywords)
        self.date = int(ctx.clock.time()) if message.internal_date is None else message.internal_date
        self.state = State(self.flags, self.date, draft, f"{ctx.rng.getrandbits(128):032x}")
        self.journal = 0
        self.unsure = False  # whether something may exist that we know nothing of
        self.made: Message | None = None
        self.work: AppendWork

    async def octets(self) -> bytes:
        """After `begin`; the client, and with it the spool, may be gone by now."""
        if self._kept is not None:
            return self._kept
        data = await self._ctx.store.blob(bytes.fromhex(self.work.blob))
        if data is None:
            raise Unavailable("The message was lost on its way, try again")
        return data

    async def begin(self, replaces: Replaced | None = None) -> None:
        """The octets safe, and a journal row, before the first effect."""
        data = self._spool.read()
        self._kept = data if self.size <= _KEPT else None
        blob = await self._ctx.store.put_blob(data)
        marker, target = self.state.marker, self._target
        self.work = AppendWork(
            target.key, target.id, blob.hex(), marker, message_id_of(data, marker),
            int(self._ctx.clock.time()), self.state.draft, replaces=replaces,
        )  # fmt: skip
        self.journal = await begin(self._ctx, "append", self.work, into=target.key)

    async def save(self) -> None:
        await update(self._ctx, self.journal, self.work)

    # -- alone --

    async def create(self) -> None:
        """Put it into its folder. GraphError: `work.id` and `unsure` say what may be there."""
        if self.state.draft and self._fits_mime():
            try:
                self.made = await self._mime_draft()
            except (Invalid, TooLarge):
                if self.work.id:  # it was not the MIME that was refused
                    raise
            else:
                return
        await self._otherwise()

    async def _otherwise(self) -> None:
        try:
            self.made = await self._landed(await self._landing())
        except Invalid:
            if self.work.id:
                raise
            await self._simplest()

    async def _simplest(self) -> None:
        log.warning("message landed in its simplest form", account=self._ctx.account)
        self.made = await self._landed(minimal(await self.octets(), self.state, self.keywords))

    async def _landing(self) -> Landing:
        return landing_of(await self.octets(), self.state, self.keywords)

    # -- together with others --

    async def body(self) -> dict[str, Any] | None:
        """The one POST that creates it, for a batch; None if it takes another way."""
        if self.state.draft and self._fits_mime():
            return None
        landing = await self._landing()
        return landing.whole() if self._fits_json(landing) else None

    async def take(self, result: Result) -> None:
        """What became of `body` in a batch; what did not succeed there is tried alone, where that may help."""
        if isinstance(result, Message):
            self.made = await self._named(result)
        elif isinstance(result, _UNKNOWN):
            self.unsure = True
            found = await self._look()
            self.unsure = False
            if found is not None:
                self.made = await self._named(found)
            else:
                await self._otherwise()
        elif isinstance(result, Invalid):
            await self._simplest()
        elif isinstance(result, TooLarge):
            self.made = await self._built(await self._landing())
        else:
            raise result

    # -- ways --

    def _fits_mime(self) -> bool:
        return self.size * 4 // 3 + _ENVELOPE <= self._ctx.limits.request_body

    def _fits_json(self, landing: Landing) -> bool:
        return landing.octets + _ENVELOPE <= self._ctx.limits.request_body

    async def _mime_draft(self) -> Message:
        mime = reencode_qp_leaves(crlf(await self.octets()))
        if message_id(mime) is None:
            mime = add_header(mime, b"Message-ID", self.work.message_id.encode())
        message = await self._named(await self._surely(lambda: self._ctx.graph.create_from_mime(mime)))
        message = await self._flagged(message)
        return await self._placed(message)

    async def _landed(self, landing: Landing) -> Message:
        if not self._fits_json(landing):
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

    # -- steps --

    async def _named(self, message: Message) -> Message:
        self.work.id = message.id
        await self.save()
        return message

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
        aspects = changed_aspects(current, self.flags, self.keywords)
        change = Change(current, self.flags, self.keywords, self.date)
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
                self.unsure, unknown = True, error
                found = await self._look()
                if found is not None:
                    self.unsure = False
                    return found
            else:
                self.unsure = False
                return message
        raise unknown

    async def _look(self) -> Message | None:
        for pause in _LOOKS:
            await self._ctx.clock.sleep(pause)
            found = await find_created(self._ctx, self.work)
            if found is not None:
                return found
        return None


async def find_created(ctx: AccountContext, work: AppendWork) -> Message | None:
    """What an APPEND created without our hearing of it: by our mark, or for a MIME draft, which cannot bear
    one, by Message-ID, age, and that nobody else knows it."""
    found = [m for m in await ctx.graph.find_by_message_id(work.message_id) if _is_young(m, work)]
    if not found:
        return None
    answers = await ctx.graph.get([message.id for message in found], properties=(MARKER,))
    raise_first(answers)  # what cannot be seen now may be it
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
