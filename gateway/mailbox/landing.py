"""MIME as the JSON that lands a message in a mailbox as if it had been received (contract section 9.2).

No API takes MIME and yields a non-draft, so a landed message is rebuilt: subject, body, recipients,
attachments and the MAPI properties that keep its dates, its header and its state. Its own octets are not
lost by that: they are kept by the store, and served (decision 9). Only whitelisted, writable properties are
posted (trap 4)."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from gateway.core.types import Flags, SystemFlag
from gateway.graph.mail import IMAP_DELETED, MACHINE_KEYWORDS
from gateway.mailbox.local import KeywordMap, graph_time
from gateway.mailbox.patches import extended_properties, machine_text, verb_properties
from gateway.mime.address import NO_HOST, NO_MAILBOX, Address, Group, parse_addresses
from gateway.mime.compose import message_id
from gateway.mime.header import Fields, decoded, header_end
from gateway.mime.params import parameter
from gateway.mime.part import Part, scan
from gateway.mime.text import leaf_text
from gateway.mime.transfer import decode_transfer

# Our mark on what we create: how a message is found again whose creation nobody confirmed.
MARKER = "String {00020329-0000-0000-c000-000000000046} Name x-gateway-append"

_SUBJECT = 255  # characters, contract section 10.5
_ADDRESSES = 1000  # of one field: what is beyond is in the header block
_HEADER = 256 * 1024  # octets of PR_TRANSPORT_MESSAGE_HEADERS
_BODY = 1024 * 1024  # characters: a longer text is an attachment
_ATTACHMENTS = 200  # beyond, the message itself is the one attachment
_RECEIVED, _SENT, _MESSAGE_FLAGS = "SystemTime 0x0E06", "SystemTime 0x0039", "Integer 0x0E07"
_HEADERS, _IN_REPLY_TO, _REFERENCES = "String 0x007D", "String 0x1042", "String 0x1039"


@dataclass(slots=True)
class File:
    """A file attachment: its JSON without the octets, and the octets."""

    json: dict[str, Any]
    data: bytes

    def inline(self) -> dict[str, Any]:
        return {**self.json, "contentBytes": base64.b64encode(self.data).decode()}

    @property
    def octets(self) -> int:
        """As base64 in a request, about."""
        return len(self.data) * 4 // 3 + 512


@dataclass(slots=True)
class Landing:
    """What to create: the JSON of the message, and its attachments."""

    json: dict[str, Any]
    files: list[File] = field(default_factory=list)

    @property
    def octets(self) -> int:
        """Size of one request with everything in it, about."""
        return len(msgspec.json.encode(self.json)) + sum(file.octets for file in self.files)

    def whole(self) -> dict[str, Any]:
        return (
            {**self.json, "attachments": [file.inline() for file in self.files]} if self.files else self.json
        )


@dataclass(frozen=True, slots=True)
class State:
    """What an APPEND says beside the octets. `received` in seconds since 1970."""

    flags: Flags
    received: int
    draft: bool
    marker: str


def landing_of(raw: bytes, state: State, keywords: KeywordMap) -> Landing:
    """The message rebuilt."""
    content = _Content()
    _collect(raw, scan(raw), content, alternative=False)
    if len(content.files) > _ATTACHMENTS:
        return minimal(raw, state, keywords)
    json = _message(raw, state, keywords)
    json["body"] = _body(content)
    return Landing(json, content.files)


def minimal(raw: bytes, state: State, keywords: KeywordMap) -> Landing:
    """For what Exchange does not take otherwise: subject, dates and state, and the message itself
    attached."""
    whole = _message(raw, state, keywords)
    kept = ("subject", "isRead", "flag", "categories", "internetMessageId", "singleValueExtendedProperties")
    json = {name: value for name, value in whole.items() if name in kept}
    json["body"] = {"contentType": "text", "content": ""}
    unsafe = (_HEADERS, _IN_REPLY_TO, _REFERENCES)
    listed = json["singleValueExtendedProperties"]
    json["singleValueExtendedProperties"] = [each for each in listed if each["id"] not in unsafe]
    return Landing(json, [_file("message.eml", "message/rfc822", raw)])


# -- what the header tells --


def _message(raw: bytes, state: State, keywords: KeywordMap) -> dict[str, Any]:
    header = raw[: header_end(raw)]
    fields = Fields(header)
    json: dict[str, Any] = {
        "subject": _clean(decoded(fields.first(b"subject") or b""))[:_SUBJECT],
        "isRead": SystemFlag.SEEN in state.flags.system,
        "internetMessageId": message_id_of(raw, state.marker),
    }
    json |= {name: value for name, value in _recipients(fields).items() if value}
    if SystemFlag.FLAGGED in state.flags.system:
        json["flag"] = {"flagStatus": "flagged"}
    if categories := keywords.categories(state.flags):
        json["categories"] = categories
    json["singleValueExtendedProperties"] = extended_properties(_properties(header, fields, state, keywords))
    return json


def message_id_of(raw: bytes, marker: str) -> str:
    """The Message-ID, or one of ours where there is none: a created message must be findable."""
    found = message_id(raw)
    return _clean(found.decode("utf-8", "replace")) if found else f"<{marker}@append.invalid>"


def _properties(header: bytes, fields: Fields, state: State, keywords: KeywordMap) -> dict[str, str]:
    seen = SystemFlag.SEEN in state.flags.system
    values = {MARKER: state.marker, _RECEIVED: graph_time(state.received)}
    values[_SENT] = graph_time(sent_at(fields, state.received))
    if not state.draft:
        values[_MESSAGE_FLAGS] = "1" if seen else "0"
        values[_HEADERS] = _text(header[:_HEADER])
    if found := fields.first(b"in-reply-to"):
        values[_IN_REPLY_TO] = _clean(_text(found))
    if found := fields.first(b"references"):
        values[_REFERENCES] = _clean(_text(found))
    return values | state_properties(state.flags, keywords, state.received)


def state_properties(flags: Flags, keywords: KeywordMap, when: int) -> dict[str, str]:
    """Flags that are extended properties; none of them is written where it would say nothing."""
    values: dict[str, str] = {}
    verbs = verb_properties(Flags(), flags, when)
    if SystemFlag.ANSWERED in flags.system or flags.has_keyword(b"$Forwarded"):
        values |= verbs
    if SystemFlag.DELETED in flags.system:
        values[IMAP_DELETED] = "1"
    if text := machine_text(flags, keywords):
        values[MACHINE_KEYWORDS] = text
    return values


def sent_at(fields: Fields, default: int) -> int:
    """Date as seconds since 1970; `default` where it is absent, unreadable or beyond what Graph can hold."""
    try:
        when = int(parsedate_to_datetime(_text(fields.first(b"date") or b"")).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return default
    return when if 0 <= when < 2**33 else default


def _recipients(fields: Fields) -> dict[str, Any]:
    author, sender = _listed(fields, b"from"), _listed(fields, b"sender")
    return {
        "from": next(iter(author or sender), None),
        "sender": next(iter(sender or author), None),
        "toRecipients": _listed(fields, b"to"),
        "ccRecipients": _listed(fields, b"cc"),
        "bccRecipients": _listed(fields, b"bcc"),
        "replyTo": _listed(fields, b"reply-to"),
    }


def _listed(fields: Fields, name: bytes) -> list[dict[str, Any]]:
    value = b", ".join(fields.all(name))
    return [_recipient(each) for each in _flat(parse_addresses(value, _ADDRESSES))]


def _flat(items: Sequence[Address | Group]) -> Iterator[Address]:
    for item in items:
        members = item.members if isinstance(item, Group) else (item,)
        yield from (each for each in members if each.mailbox != NO_MAILBOX and each.host != NO_HOST)


def _recipient(address: Address) -> dict[str, Any]:
    spec = _clean(_text(address.mailbox + b"@" + address.host))
    name = _clean(decoded(address.name)) if address.name else ""
    return {"emailAddress": {"name": name or spec, "address": spec}}


# -- what the parts tell --


@dataclass(slots=True)
class _Content:
    html: str | None = None
    plain: str | None = None
    beside: File | None = None  # the plain text, where it is no alternative to an HTML that may follow
    files: list[File] = field(default_factory=list)


def _collect(raw: bytes, part: Part, content: _Content, *, alternative: bool) -> None:
    """The first text of each kind is the body; a second rendering of the same text is left out; all else is
    attached."""
    if part.type == b"multipart":
        for child in part.children:
            _collect(raw, child, content, alternative=part.subtype == b"alternative")
        return
    kind = (part.type, part.subtype)
    shown = part.disposition != b"attachment" and not _filename(part)
    if shown and kind == (b"text", b"html") and content.html is None:
        content.html = leaf_text(raw, part)
    elif shown and kind == (b"text", b"plain") and content.plain is None and _fits(content, alternative):
        content.plain = leaf_text(raw, part)
        content.beside = None if alternative else _attachment(raw, part, 1)
    else:
        content.files.append(_attachment(raw, part, len(content.files) + 1))


def _fits(content: _Content, alternative: bool) -> bool:
    """A text beside, not instead of, an HTML body would not be seen."""
    return content.html is None or alternative


def _body(content: _Content) -> dict[str, str]:
    if content.html is not None and content.beside is not None:
        content.files.insert(0, content.beside)
    kind, text = ("html", content.html) if content.html is not None else ("text", content.plain or "")
    if len(text) > _BODY:
        name = "body.html" if kind == "html" else "body.txt"
        content.files.insert(0, _file(name, "text/" + ("html" if kind == "html" else "plain"), text.encode()))
        return {"contentType": "text", "content": ""}
    return {"contentType": kind, "content": text.replace("\x00", "")}


def _attachment(raw: bytes, part: Part, number: int) -> File:
    kind = _text(part.type + b"/" + part.subtype)
    if part.type == b"message":
        data = raw[part.body : part.end]
    else:
        data = decode_transfer(raw[part.body : part.end], part.encoding)
    name = _filename(part) or ("message.eml" if part.type == b"message" else f"part-{number}")
    file = _file(name, kind, data)
    if part.id is not None:
        file.json["contentId"] = _clean(_text(part.id)).strip("<> ")
        file.json["isInline"] = part.disposition != b"attachment"
    return file


def _file(name: str, kind: str, data: bytes) -> File:
    json = {
        "@odata.type": "#microsoft.graph.fileAttachment",
        "name": name,
        "contentType": kind,
        "isInline": False,
    }
    return File(json, data)


def _filename(part: Part) -> str:
    found = parameter(part.disposition_params, b"filename") or parameter(part.params, b"name")
    return _clean(decoded(found))[:_SUBJECT] if found else ""


def _text(octets: bytes) -> str:
    """UTF-8 if it is that, else Latin-1: raw header octets have no charset of their own."""
    try:
        return octets.decode("utf-8").replace("\x00", "")
    except UnicodeDecodeError:
        return octets.decode("latin-1").replace("\x00", "")


def _clean(text: str) -> str:
    """One line without control characters."""
    return "".join(c if c.isprintable() else " " for c in text).strip()
