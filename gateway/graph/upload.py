"""Large attachments: an upload session in chunks (contract section 10.4).

The upload URL is a secret of its own: it is never logged, and no bearer token goes there (trap 40). Chunks go
strictly in order. What a lost chunk did cannot be asked, so the session is dropped and begun anew, unless it
was the last one: then the attachment may exist, and the outcome is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from gateway.graph.errors import (
    Conflict,
    GraphError,
    Invalid,
    NotFound,
    OutcomeUnknown,
    SignInFailed,
    Unreachable,
)
from gateway.graph.request import UNREADABLE, Request

if TYPE_CHECKING:
    from gateway.graph.calls import MailboxCalls

CHUNK = 12 * 320 * 1024  # octets: below 4 MB, and the multiple of 320 KiB that other upload services want
SESSIONS = 3  # tries with a new session
TEMPLATE = "/messages/{message}/attachments/createUploadSession"
CREATED, STORED = 201, frozenset({200, 201, 202})


class _Session(msgspec.Struct, rename="camel"):
    upload_url: str


class _Restart(Exception):
    """This session leads nowhere; nothing was attached by it."""


async def upload(mailbox: MailboxCalls, message: str, attachment: Mapping[str, Any], content: bytes) -> None:
    """Attach `content` to a draft. OutcomeUnknown, and what Graph refuses with; Unreachable after three sessions."""
    for _ in range(SESSIONS):
        url = await _open(mailbox, message, attachment, len(content))
        try:
            return await _send(mailbox, url, content)
        except _Restart:
            with suppress(GraphError):
                await mailbox.call(_put(mailbox, url, method="DELETE", expect=frozenset({204})))
    raise Unreachable("the attachment could not be uploaded")


async def _open(mailbox: MailboxCalls, message: str, attachment: Mapping[str, Any], size: int) -> str:
    """A session that is never used expires by itself, so opening one may be repeated."""
    item = {"attachmentType": "file", **attachment, "size": size}
    request = mailbox.request(
        "POST", TEMPLATE, message, json={"AttachmentItem": item}, repeat=True,
        shape=_Session, expect=frozenset({CREATED}),
    )  # fmt: skip
    url: str = (await mailbox.call_fresh(request)).value.upload_url
    if urlsplit(url).scheme != urlsplit(mailbox.base_url).scheme:
        raise Invalid("an upload URL of another scheme was not followed", code="ForeignLink")
    return url


async def _send(mailbox: MailboxCalls, url: str, content: bytes) -> None:
    """Chunk after chunk from where the session says; each answer must lead forward."""
    offset = 0
    while True:
        end = min(offset + CHUNK, len(content))
        following = await _chunk(mailbox, url, content, offset, end)
        if following is None:
            return
        if not offset < following < len(content):
            raise _Restart
        offset = following


async def _chunk(mailbox: MailboxCalls, url: str, content: bytes, start: int, end: int) -> int | None:
    """Where to go on; None when the attachment exists."""
    span = {
        "Content-Type": "application/octet-stream",
        "Content-Range": f"bytes {start}-{end - 1}/{len(content)}",
    }
    request = _put(mailbox, url, headers=span, body=content[start:end], expect=STORED)
    last = end == len(content)
    try:
        answer = await mailbox.call(request)
    except OutcomeUnknown:
        if last:
            raise
        raise _Restart from None
    except (Conflict, NotFound, SignInFailed, Invalid) as error:  # wrong range, or the session has expired
        if isinstance(error, Invalid) and error.status != 416:
            raise
        raise _Restart from None
    return None if answer.status == CREATED else next_offset(answer.body)


def _put(mailbox: MailboxCalls, url: str, *, method: str = "PUT", **rest: Any) -> Request:
    return Request(
        method=method,
        template="{uploadUrl}",
        link=url,
        bearer=False,
        slow=True,
        mailbox=mailbox.mailbox,
        **rest,
    )


def next_offset(body: bytes) -> int:
    """The first octet still wanted: both spellings of the member, `"n"`, `"n-"` and `"n-m"`; -1 if it says nothing."""
    try:
        answer = msgspec.json.decode(body)
        ranges = {str(name).lower(): value for name, value in answer.items()}["nextexpectedranges"]
        match = re.match(r"\d+", str(ranges[0]))
    except (*UNREADABLE, AttributeError, KeyError, IndexError, TypeError):
        return -1
    return int(match[0]) if match else -1
