"""META: header block, ENVELOPE and preview of many messages, pinned by what was seen first (decision 11).

Thousands of headers come with a few pages of the folder's listing (`mailbox.headers`); a handful with one batch. What
is pinned, in this order:
MIME's own header where MIME was seen first; PR_TRANSPORT_MESSAGE_HEADERS if it is whole;
internetMessageHeaders folded in one way; what JSON tells. Fields that Exchange left out of the first ones
(contract section 6.3) and JSON has are added, so that every ENVELOPE has its From."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

from gateway.core.types import MessageId
from gateway.graph.errors import NotFound
from gateway.graph.mail import (
    INDEX_FIELDS,
    META_FIELDS,
    META_PROPERTIES,
    PR_TRANSPORT_HEADERS,
)
from gateway.graph.model import Message, Priority, Recipient
from gateway.graph.props import parse_property, props
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import epoch
from gateway.mailbox.rendering import OFF_LOOP
from gateway.mailbox.values import Meta
from gateway.mime.compose import crlf
from gateway.mime.header import Fields, fold_header, header_end
from gateway.mime.part import scan
from gateway.mime.preview import is_encrypted, preview_of, tidy
from gateway.store.api import Facts, MessageRow
from gateway.wire.structure import bodystructure, envelope

FIELDS = (*INDEX_FIELDS, *META_FIELDS)
_TRANSPORT = parse_property(PR_TRANSPORT_HEADERS)
_ESSENTIAL = ("Date", "From", "To", "Cc", "Subject", "Message-ID")
Bring = Callable[[Sequence[MessageRow]], Awaitable[None]]


async def metas(
    ctx: AccountContext,
    rows: Sequence[MessageRow],
    bring: Bring | None = None,
    *,
    priority: Priority = Priority.INTERACTIVE,
    previews: bool = False,
) -> dict[MessageId, Meta]:
    """The facts of these messages, from the store or, once, from Graph. A message that is gone is left out.
    `bring` (`headers.Reading`) may put facts of those that lack them into the store; what then is missing still is
    asked for by id. `previews`: none is None. Errors: those of Graph."""
    known = await ctx.store.facts(ctx.account, [row.id for row in rows])
    missing = [row for row in rows if row.id not in known]
    if missing:
        known |= await _landed(ctx, missing)
        missing = [row for row in missing if row.id not in known]
    if missing and bring is not None:
        await bring(missing)
        known |= await ctx.store.facts(ctx.account, [row.id for row in missing])
        missing = [row for row in missing if row.id not in known]
    if missing:
        known |= await ctx.store.put_facts(ctx.account, await _fetch(ctx, missing, priority))
    if previews and (unmade := [id for id, facts in known.items() if facts.preview is None]):
        for id, preview in (await _previews(ctx, unmade, priority)).items():
            known[id].preview = preview
    return {id: _meta(facts) for id, facts in known.items()}


async def known_metas(ctx: AccountContext, ids: Sequence[MessageId]) -> dict[MessageId, Meta]:
    """What the store has of these messages' facts: no request."""
    return {id: _meta(facts) for id, facts in (await ctx.store.facts(ctx.account, ids)).items()}


def _meta(facts: Facts) -> Meta:
    return Meta(facts.header, facts.envelope, facts.preview)


async def _previews(
    ctx: AccountContext, ids: Sequence[MessageId], priority: Priority
) -> dict[MessageId, str]:
    """Of messages whose facts were pinned when none was made."""
    found = dict.fromkeys(ids, "")
    for answer in await ctx.graph.get(ids, fields=("id", "bodyPreview"), priority=priority):
        if isinstance(answer, Message):
            found[MessageId(answer.id)] = tidy(answer.body_preview or "")
        elif not isinstance(answer, NotFound):
            raise answer
    await ctx.store.put_previews(ctx.account, found)
    return found


async def _landed(ctx: AccountContext, rows: Sequence[MessageRow]) -> dict[MessageId, Facts]:
    """Of messages whose original octets are ours, without asking Graph."""
    facts = {}
    for id in await ctx.store.has_originals(ctx.account, [row.id for row in rows]):
        raw = await ctx.store.original(ctx.account, id)
        if raw is not None:
            facts[id] = await facts_from(raw)
    return await ctx.store.put_facts(ctx.account, facts) if facts else {}


async def _fetch(
    ctx: AccountContext, rows: Sequence[MessageRow], priority: Priority
) -> dict[MessageId, Facts]:
    found: dict[MessageId, Facts] = {}
    ids = [row.id for row in rows]
    for answer in await ctx.graph.get(ids, fields=FIELDS, properties=META_PROPERTIES, priority=priority):
        if isinstance(answer, Message):
            found[MessageId(answer.id)] = facts_of(answer)
        elif not isinstance(answer, NotFound):
            raise answer
    return found


# -- one message's facts --


async def facts_from(raw: bytes) -> Facts:
    """`facts_of_octets`, in a thread where it would take long."""
    return await asyncio.to_thread(facts_of_octets, raw) if len(raw) >= OFF_LOOP else facts_of_octets(raw)


def facts_of_octets(raw: bytes) -> Facts:
    """Where MIME is seen first, its own header is pinned, and the preview made from its text. With both structures."""
    header, part = _closed(raw[: header_end(raw)]), scan(raw)
    return Facts(
        header,
        envelope(header),
        preview_of(raw, part),
        bodystructure(raw, part, extensible=True),
        bodystructure(raw, part, extensible=False),
    )


def facts_of(message: Message) -> Facts:
    """From a listing or GET with FIELDS and META_PROPERTIES."""
    header = _completed(_told_header(message), message)
    return Facts(header, envelope(header), "" if is_encrypted(header) else tidy(message.body_preview or ""))


def _told_header(message: Message) -> bytes:
    """What Exchange kept of the header that came with the message; empty for drafts and own sent mail."""
    told = [(header.name, header.value) for header in message.internet_message_headers or ()]
    block = props(message).get(_TRANSPORT, "").encode("utf-8", "replace")
    if block and is_whole(block, len(told)):
        return crlf(block)
    return fold_header(told) if told else b""


def is_whole(block: bytes, fields: int) -> bool:
    """Whether a raw header block came untruncated (trap 54): it ends with a line end and has as many fields
    as the list beside it."""
    return block.endswith(b"\n") and len(Fields(block)) == fields


def _completed(header: bytes, message: Message) -> bytes:
    present = Fields(header)
    names = _ESSENTIAL if header else _JSON
    told = ((name, _JSON[name](message)) for name in names if present.first(name.lower().encode()) is None)
    lacking = [(name, value) for name, value in told if value]
    content = header.rstrip(b"\r\n") + b"\r\n" if header.strip() else b""
    return content + fold_header(lacking)


def _closed(header: bytes) -> bytes:
    """CRLF line ends, the empty line at the end."""
    content = crlf(header).rstrip(b"\r\n")
    return content + b"\r\n\r\n" if content else b"\r\n"


def _date(message: Message) -> str:
    when = epoch(message.sent_date_time) or epoch(message.received_date_time)
    return "" if when is None else format_datetime(datetime.fromtimestamp(when, UTC))


def _other_sender(message: Message) -> str:
    sender, author = message.sender, message.from_
    if sender is None or author is None or _address(sender) == _address(author):
        return ""
    return _mailboxes([sender])


# A header as Exchange would write it for mail that never came through transport.
_JSON: dict[str, Callable[[Message], str]] = {
    "Date": _date,
    "From": lambda message: _mailboxes([message.from_ or message.sender]),
    "Sender": _other_sender,
    "Reply-To": lambda message: _mailboxes(message.reply_to or ()),
    "To": lambda message: _mailboxes(message.to_recipients or ()),
    "Cc": lambda message: _mailboxes(message.cc_recipients or ()),
    "Bcc": lambda message: _mailboxes(message.bcc_recipients or ()),
    "Subject": lambda message: encoded(message.subject or ""),
    "Message-ID": lambda message: message.internet_message_id or "",
}


def _mailboxes(recipients: Sequence[Recipient | None]) -> str:
    return ", ".join(_mailbox(each) for each in recipients if each is not None and _address(each))


def _mailbox(recipient: Recipient) -> str:
    name, address = recipient.email_address.name or "", _address(recipient)
    if not name or name == address:
        return address
    if not name.isascii():
        return f"{encoded(name)} <{address}>"
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address}>'


def _address(recipient: Recipient) -> str:
    return recipient.email_address.address or ""


def encoded(text: str) -> str:
    """Text as it may stand in a header: RFC 2047 words of at most 45 octets where it is not ASCII."""
    if text.isascii():
        return text
    return " ".join(f"=?utf-8?B?{base64.b64encode(piece).decode()}?=" for piece in _pieces(text))


def _pieces(text: str) -> Iterator[bytes]:
    piece = b""
    for character in text:
        octets = character.encode("utf-8", "replace")
        if len(piece) + len(octets) > 45:
            yield piece
            piece = b""
        piece += octets
    yield piece
