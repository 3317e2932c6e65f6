"""MIME to message content, as Exchange's converter would: body, attachments, people, class, thread."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache

from gateway.emulator.items import Address, Attachment, Content
from gateway.emulator.mime_parts import Part, addresses, decoded, parse
from gateway.emulator.skeleton import Skeleton

_TAGS = re.compile(r"(?is)<(script|style|head|title)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>")
_WORDS = re.compile(r"\w+")
_REPLY = re.compile(r"^\s*(?:(?:re|fw|fwd|aw|wg|sv|vs|antw|tr)\s*(?:\[\d+\])?:\s*)+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A message read from MIME: the content and what an item keeps beside it."""

    content: Content
    subject: str
    message_id: str | None
    date: int | None
    importance: str


@dataclass(slots=True)
class _Found:
    """What the walk over the parts collects."""

    html: Part | None = None
    plain: Part | None = None
    attachments: list[Attachment] = field(default_factory=list)


def crlf(raw: bytes) -> bytes:
    """Every bare LF made CRLF; a bare CR stays."""
    return _BARE.sub(b"\r\n", raw) if has_bare_lf(raw) else raw


def has_bare_lf(raw: bytes) -> bool:
    return raw.count(b"\n") != raw.count(b"\r\n")


_BARE = re.compile(rb"(?<!\r)\n")


def read(raw: bytes, *, transported: bool) -> Parsed:
    """Parse CRLF bytes. `transported` mail shows its header list; a draft or sent copy does not."""
    part = parse(raw)
    skeleton = Skeleton(raw)
    found = _collect(part)
    body_type, body = _body(found)
    subject = one_line(decoded(part.value("subject")))
    author = _first(part, "from")
    references = part.value("references") or None
    in_reply_to = part.value("in-reply-to") or None
    index = part.value("thread-index") or None
    plain_text = strip_html(body) if body_type == "html" else body
    kind, odata_type = _class(part)
    content = Content(
        sender=(_first(part, "sender") if author or transported else None) or author,
        author=author or (_first(part, "sender") if transported else None),
        to=_all(part, "to"),
        cc=_all(part, "cc"),
        bcc=_all(part, "bcc"),
        reply_to=_all(part, "reply-to"),
        body_type=body_type,
        body=body,
        preview=preview_of(plain_text),
        attachments=tuple(found.attachments),
        skeleton=skeleton,
        transported=transported,
        message_class=kind,
        odata_type=odata_type,
        conversation=conversation_of(references, in_reply_to, part.value("message-id"), subject),
        conversation_index=index,
        in_reply_to=in_reply_to,
        references=references,
        read_receipt=bool(part.value("disposition-notification-to")),
        words=words(plain_text),
    )
    return Parsed(
        content, subject, part.value("message-id") or None, date_of(part.value("date")), _importance(part)
    )


def words(value: str) -> frozenset[str]:
    """The words an index holds: accents and case folded."""
    return frozenset(fold(value[:200_000]))


def fold(value: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", value.casefold())
    return _WORDS.findall("".join(c for c in plain if not unicodedata.combining(c)))


def preview_of(value: str) -> str:
    """The first 255 characters, white space collapsed."""
    return " ".join(value[:4000].split())[:255]


def strip_html(value: str) -> str:
    return html.unescape(_TAGS.sub(" ", value))


def one_line(value: str) -> str:
    """A property holds no line break, whatever an encoded word hid."""
    return " ".join(value.splitlines()) if "\n" in value or "\r" in value else value


def date_of(value: str) -> int | None:
    try:
        return int(parsedate_to_datetime(value).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        return None


def conversation_of(references: str | None, in_reply_to: str | None, message_id: str, subject: str) -> bytes:
    """A 16-byte key of a thread: the first reference, else the Message-ID, else the bare subject."""
    ids = re.findall(r"<[^<>\s]+>", f"{references or ''} {in_reply_to or ''} {message_id}")
    seed = ids[0] if ids else _REPLY.sub("", subject)
    return hashlib.blake2b(seed.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def attachment_key(position: str, data: bytes) -> bytes:
    """16 bytes that change with the content."""
    return hashlib.blake2b(position.encode() + b"\0" + data, digest_size=16).digest()


def _all(part: Part, name: str) -> tuple[Address, ...]:
    return addresses(part.value(name))


def _first(part: Part, name: str) -> Address | None:
    found = _all(part, name)
    return found[0] if found else None


def _importance(part: Part) -> str:
    named = part.value("importance").strip().lower() or part.value("x-priority").strip()[:1]
    return {"high": "high", "low": "low", "1": "high", "2": "high", "4": "low", "5": "low"}.get(
        named, "normal"
    )


def _class(part: Part) -> tuple[str, str | None]:
    """(PR_MESSAGE_CLASS, @odata.type where it is not a plain message)."""
    kind = part.type
    if kind in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        return "IPM.Note.SMIME", None
    if kind == "multipart/signed" and "pkcs7" in part.param("protocol"):
        return "IPM.Note.SMIME.MultipartSigned", None
    if kind == "multipart/report":
        report = {"delivery-status": "NDR", "disposition-notification": "IPNRN"}
        return "REPORT.IPM.Note." + report.get(part.param("report-type").lower(), "DR"), None
    for each in (part, *part.parts):
        if each.type == "text/calendar":
            return _MEETINGS.get(each.param("method").upper(), ("IPM.Note", None))
    return "IPM.Note", None


_MEETINGS: dict[str, tuple[str, str | None]] = {
    "REQUEST": ("IPM.Schedule.Meeting.Request", "#microsoft.graph.eventMessageRequest"),
    "REPLY": ("IPM.Schedule.Meeting.Resp.Pos", "#microsoft.graph.eventMessageResponse"),
    "CANCEL": ("IPM.Schedule.Meeting.Canceled", "#microsoft.graph.eventMessage"),
}


def _body(found: _Found) -> tuple[str, str]:
    if found.html is not None:
        return "html", found.html.text()
    return "text", found.plain.text() if found.plain is not None else ""


def _collect(root: Part) -> _Found:
    found = _Found()
    if root.type in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        data = root.content()
        name = root.filename or "smime.p7m"
        found.attachments.append(Attachment(attachment_key("0", data), "file", name, root.type, data))
        return found
    for position, part in enumerate(_leaves(root)):
        _sort(found, part, position)
    return found


def _leaves(part: Part) -> Iterator[Part]:
    if part.parts:
        for child in part.parts:
            yield from _leaves(child)
    else:
        yield part


def _sort(found: _Found, part: Part, position: int) -> None:
    attached = part.disposition == "attachment" or bool(part.filename)
    if part.type == "text/html" and not attached and found.html is None:
        found.html = part
    elif part.type == "text/plain" and not attached and found.plain is None and found.html is None:
        found.plain = part
    elif not part.type.startswith("multipart/"):
        found.attachments.append(_attachment(part, position))


def _attachment(part: Part, position: int) -> Attachment:
    data = part.content()
    key = attachment_key(str(position), data)
    cid = part.value("content-id").strip("<> \t") or None
    if part.type in ("message/rfc822", "message/global"):
        name = decoded(parse(data).value("subject")) or part.filename or "message"
        return Attachment(key, "item", name, "message/rfc822", data)
    name = part.filename.replace("\\", "/").rsplit("/", 1)[-1] or _default_name(part, position)
    inline = part.disposition != "attachment" and cid is not None and part.type.startswith("image/")
    return Attachment(key, "file", name, part.type, data, inline, cid, part.value("content-location") or None)


def _default_name(part: Part, position: int) -> str:
    return f"ATT{position:05d}.{_EXTENSIONS.get(part.type, 'bin' if '/' not in part.type else 'dat')}"


_EXTENSIONS = {"text/plain": "txt", "text/html": "htm", "text/calendar": "ics", "image/png": "png",
               "image/jpeg": "jpg", "message/delivery-status": "dat", "application/pdf": "pdf"}  # fmt: skip


@lru_cache(maxsize=512)
def _read_base(raw: bytes) -> Parsed:
    return read(raw, transported=True)


def read_base(raw: bytes) -> Parsed:
    """`read` of received mail, parsed once for all variants of the same bytes object."""
    return _read_base(raw)
