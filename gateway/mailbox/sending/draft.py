"""A submission as a draft in Graph: made ready, created, found again, discarded. Nothing here sends.

The seam between what is sent (this module and those it uses) and that it is sent exactly once (`steps`, `deliver`):
`steps` keeps a row with the token before it calls `create_draft`, asks `find_draft` after an answer that was lost, and
never has two drafts sent for one row. A draft that nobody knows of harms nobody: it is found and discarded.

```
POST MIME                    always; with a message's large parts left out if it is larger than one request
PATCH                        if there are fields that Exchange would drop, or a time to send: named properties
POST or session, each file   decoded from the spool while it is sent
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping
from typing import Any

import structlog

from gateway.core.types import MessageId, SpecialUse
from gateway.graph.errors import GraphError, OutcomeUnknown, Unreachable
from gateway.graph.mail import Patch
from gateway.graph.model import Message
from gateway.graph.props import parse_property, props
from gateway.mailbox.arrival import move_all
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import epoch, graph_time
from gateway.mailbox.patches import extended_properties
from gateway.mailbox.replies import is_message_gone
from gateway.mailbox.sending.content import File, Prepared, Terms, content
from gateway.mailbox.sending.headers import properties_of
from gateway.mailbox.values import Envelope, Spool

__all__ = ["MARK", "SKEW", "Prepared", "create_draft", "discard_draft", "find_draft", "prepare"]

SKEW = 30  # seconds Graph's clock may differ from ours
# Ours, where a draft gets properties at all. Not in the set of Internet headers: it must not leave with the message.
MARK = "String {00020329-0000-0000-c000-000000000046} Name x-gateway-submission"
_SEND_AT = "SystemTime 0x3FEF"  # PR_DEFERRED_SEND_TIME
_MARK = parse_property(MARK)
_SMALL = 64 * 1024  # octets of a message that is looked at at once
_KNOWN = 1000  # names of header fields that a mailbox is remembered to know
_NAMED = 20  # fields named in the log
_OVERHEAD = 4096  # octets an attachment may have beside its file's
_LOOKS = (0.5, 2.0)  # seconds before each look for a file whose fate is not known
_UNKNOWN = (OutcomeUnknown, Unreachable)
log = structlog.get_logger()


async def prepare(
    ctx: AccountContext, envelope: Envelope, spool: Spool, *, now: int, message_id: str
) -> Prepared:
    """Plan and content, checked; no request. `now` and `message_id` are used where the message has no Date or
    Message-ID. The spool is read again when the draft is made. SubmissionRefused."""
    sender = ctx.account if "@" in ctx.account else ""
    settings = ctx.settings
    terms = Terms(now, message_id, settings.header_mismatch, ctx.limits, sender, settings.senders)
    if spool.size <= _SMALL:
        prepared = content(spool, spool.size, envelope, terms)
    else:
        prepared = await asyncio.to_thread(content, spool, spool.size, envelope, terms)
    if prepared.lost:
        log.info("header fields that Exchange drops", account=ctx.account, fields=prepared.lost[:_NAMED])
    return prepared


async def create_draft(
    ctx: AccountContext, prepared: Prepared, token: str, found: Message | None = None
) -> Message:
    """The whole draft, ready to be sent. `found`: what `find_draft` told of an earlier try with this token; it is
    finished rather than made anew. GraphError; after OutcomeUnknown or Unreachable there may be a draft, after others
    there is none."""
    draft = found if found is not None else await ctx.graph.create_from_mime(prepared.mime)
    try:
        return await _finished(ctx, prepared, token, draft, resumed=found is not None)
    except _UNKNOWN:
        raise
    except GraphError as error:
        await _given_up(ctx, draft.id, error)
        raise


async def _finished(
    ctx: AccountContext, prepared: Prepared, token: str, draft: Message, *, resumed: bool
) -> Message:
    properties = _properties(ctx, prepared)
    if properties:
        (result,) = await ctx.graph.patch([Patch(draft.id, _body(properties | {MARK: token}))])
        if isinstance(result, GraphError):
            raise result
        draft = result
        _learn(ctx, prepared)
    if prepared.files:
        await _attach_all(ctx, draft.id, prepared.files, resumed=resumed)
    return draft


async def _given_up(ctx: AccountContext, id: str, error: GraphError) -> None:
    """OutcomeUnknown where the draft could not be taken away again."""
    try:
        await discard_draft(ctx, id)
    except GraphError:
        raise OutcomeUnknown(str(error), status=error.status, code=error.code) from error


# -- properties --


def _properties(ctx: AccountContext, prepared: Prepared) -> dict[str, str]:
    """Those the draft needs. Fields the mailbox knows are kept of MIME (trap 52), as long as the draft stays MIME:
    files make Exchange write it anew."""
    fields = dict(prepared.fields)
    if not prepared.files and fields.keys() <= ctx.known_fields.keys():
        fields = {}
    properties = properties_of(fields.items())
    if prepared.hold_until > ctx.clock.time():
        properties[_SEND_AT] = graph_time(prepared.hold_until)
    return properties


def _body(properties: Mapping[str, str]) -> dict[str, Any]:
    return {"singleValueExtendedProperties": extended_properties(properties)}


def _learn(ctx: AccountContext, prepared: Prepared) -> None:
    for name, _ in prepared.fields:
        ctx.known_fields[name] = None
        ctx.known_fields.move_to_end(name)
    while len(ctx.known_fields) > _KNOWN:
        ctx.known_fields.popitem(last=False)


# -- files --


async def _attach_all(ctx: AccountContext, id: str, files: tuple[File, ...], *, resumed: bool) -> None:
    """In the order of the message; of a draft that was found, those that are missing."""
    there = await _there(ctx, id, files) if resumed else ()
    for number in range(len(files)):
        if number not in there:
            await _attach(ctx, id, files, number)


async def _attach(ctx: AccountContext, id: str, files: tuple[File, ...], number: int) -> None:
    """Never blindly twice: looked for first."""
    file = files[number]
    try:
        await ctx.graph.add_attachment(id, file.json, file)
    except _UNKNOWN:
        for pause in _LOOKS:
            await ctx.clock.sleep(pause)
            if number in await _there(ctx, id, files[: number + 1]):
                return
        await ctx.graph.add_attachment(id, file.json, file)


async def _there(ctx: AccountContext, id: str, files: tuple[File, ...]) -> set[int]:
    """Which of the files, by number, the draft has. They were attached in order, so of several with one name it has the
    first; a small attachment that came with the MIME may have the same name, but hardly the size."""
    waiting: dict[str, list[int]] = {}
    for number, file in enumerate(files):
        waiting.setdefault(file.about.name, []).append(number)
    found: set[int] = set()
    for listed in await ctx.graph.attachments(id):
        numbers = waiting.get(str(listed.get("name")))
        if numbers and _is_size_of(listed.get("size"), files[numbers[0]]):
            found.add(numbers.pop(0))
    return found


def _is_size_of(size: object, file: File) -> bool:
    """What Exchange counts as a file's size is some octets more than the file's own (contract section 14)."""
    return isinstance(size, int) and len(file) <= size <= len(file) + len(file) // 20 + _OVERHEAD


# -- found again, and taken away --


async def find_draft(
    ctx: AccountContext, token: str, message_id: str, began: int, claimed: Container[str]
) -> Message | None:
    """What a `create_draft` with this token left behind, whole or not. `began`: when its row was made. `claimed`:
    drafts that are others', by immutable id. GraphError."""
    drafts = ctx.special.get(SpecialUse.DRAFTS)
    listed = await ctx.graph.find_by_message_id(message_id, SpecialUse.DRAFTS)
    young = [m for m in listed if m.is_draft and (epoch(m.created_date_time) or 0) >= began - SKEW]
    ids = [MessageId(message.id) for message in young]
    known = await ctx.store.find(drafts.key, ids) if drafts is not None else {}
    originals = await ctx.store.has_originals(ctx.account, ids)
    ours = [id for id in ids if id not in known and id not in originals and id not in claimed]
    return await _marked(ctx, ours, token) if ours else None


async def _marked(ctx: AccountContext, ids: list[MessageId], token: str) -> Message | None:
    """That with the token, else one without any. GraphError: one of them could not be looked at, which it may be."""
    answers = await ctx.graph.get(ids, properties=(MARK,))
    messages = [answer for answer in answers if isinstance(answer, Message)]
    for mark in (token, None):
        for message in messages:
            if props(message).get(_MARK) == mark:
                return message
    for answer in answers:
        if isinstance(answer, GraphError):
            raise answer
    return None


async def discard_draft(ctx: AccountContext, id: str) -> None:
    """To Recoverable Items: it must not be seen in Deleted Items either. Gone already is fine. GraphError."""
    (result,) = await move_all(ctx, [id])
    if isinstance(result, GraphError) and not is_message_gone(result):
        raise result
