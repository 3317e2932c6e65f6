"""Large attachments: an upload session in chunks (contract section 10.4).

The upload URL is a secret of its own: it is never logged, no bearer token goes there (trap 40), and it must be a host
of Exchange's. Chunks go strictly in order, each read while it is sent. A chunk whose answer was lost is sent again: if
it had come, the range is refused as not the next one, and the session goes on behind it. A session that is gone, or
leads nowhere, is begun anew, unless the chunk was the last one: then the attachment may exist, and the outcome is
unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.graph.errors import (
    Conflict,
    Denied,
    GraphError,
    Invalid,
    NotFound,
    OutcomeUnknown,
    SignInFailed,
    TooLarge,
    Unreachable,
    UploadRefused,
)
from gateway.graph.query import pinned_upload
from gateway.graph.request import UNREADABLE, Request
from gateway.graph.streams import Content, Range

if TYPE_CHECKING:
    from gateway.graph.calls import MailboxCalls

CHUNK = 12 * 320 * 1024  # octets: below 4 MB, and the multiple of 320 KiB that other upload services want
SESSIONS = 3  # tries with a new session
RESENT = 3  # times a chunk is sent whose answers are lost
TEMPLATE = "/messages/{message}/attachments/createUploadSession"
CREATED, STORED = 201, frozenset({200, 201, 202})
_TOO_SMALL = "errorattachmentsizeshouldnotbelessthanminimumsize"


class _Session(msgspec.Struct, rename="camel"):
    upload_url: str


class _Restart(Exception):
    """This session leads nowhere; nothing was attached by it."""


class _NotNext(Exception):
    """The range is not what the session wants, or there is no such session any more."""


async def upload(
    mailbox: MailboxCalls, message: str, attachment: Mapping[str, Any], content: Content
) -> None:
    """Attach `content` to a draft. OutcomeUnknown, and what Graph refuses with; UploadRefused where no session is
    given; Unreachable after three sessions."""
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
    try:
        url: str = (await mailbox.call_fresh(request)).value.upload_url
    except Denied as error:  # a delegated token in somebody else's mailbox
        raise UploadRefused(str(error), status=error.status, code=error.code) from error
    except Invalid as error:
        if (
            error.code.lower() == _TOO_SMALL
        ):  # and yet too large for one request: some hundred octets fit neither
            raise TooLarge("too small for an upload session", status=error.status, code=error.code) from error
        raise
    return pinned_upload(mailbox.base_url, url)


async def _send(mailbox: MailboxCalls, url: str, content: Content) -> None:
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


async def _chunk(mailbox: MailboxCalls, url: str, content: Content, start: int, end: int) -> int | None:
    """Where to go on; None when the attachment exists."""
    last, lost = end == len(content), False
    for _ in range(RESENT):
        try:
            return await _put_chunk(mailbox, url, content, start, end)
        except OutcomeUnknown:
            lost = True
        except _NotNext:
            if not lost:
                raise _Restart from None
            if last:
                raise OutcomeUnknown("the last chunk may have come") from None
            return end  # what was lost was the answer
    if last:
        raise OutcomeUnknown("the last chunk may have come")
    raise _Restart


async def _put_chunk(mailbox: MailboxCalls, url: str, content: Content, start: int, end: int) -> int | None:
    span = {
        "Content-Type": "application/octet-stream",
        "Content-Range": f"bytes {start}-{end - 1}/{len(content)}",
    }
    request = _put(mailbox, url, headers=span, body=Range(content, start, end), expect=STORED)
    try:
        answer = await mailbox.call(request)
    except (Conflict, NotFound, SignInFailed) as error:  # wrong range, or the session has expired
        raise _NotNext from error
    except Invalid as error:
        if error.status != 416:
            raise
        raise _NotNext from error
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
