"""Reading messages: listings, delta, items, MIME and attachments (contract sections 4, 6, 8 and 12)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from gateway.graph.calls import MailboxCalls, message_of, page_size
from gateway.graph.errors import BadId, GraphError, Invalid, Unreachable
from gateway.graph.fields import INDEX_FIELDS, INDEX_PROPERTIES
from gateway.graph.kql import quoted
from gateway.graph.links import walk
from gateway.graph.model import Message, MessagePage, Priority
from gateway.graph.query import expand, literal, ordered_filter, select
from gateway.graph.request import Request, Response

MESSAGES = "/mailFolders/{folder}/messages"
MESSAGE = "/messages/{message}"
ATTACHMENTS = "/messages/{message}/attachments"
ATTACHMENT_FIELDS = ("id", "name", "contentType", "size", "isInline")
CONTENT_ID = "microsoft.graph.fileAttachment/contentId"  # of the derived type only
FOUND_PER_PAGE = 50
MOST_FOUND = 1_000
HITS_PER_PAGE = 500
MIME_GROWTH = 2  # MIME of the largest message in units of what may be appended (base64 and line ends)
_NOT_MIME = ("text/html", "application/json")
_BOUNDARY = re.compile(
    rb"^content-type:[ \t]*(?:\r?\n[ \t]+)*multipart/(?:[^\r\n]|\r?\n[ \t])*?boundary[ \t]*=[ \t]*"
    rb'(?:"([^"\r\n]+)"|([^\s;"]+))',
    re.IGNORECASE | re.MULTILINE,
)


class _Attachments(msgspec.Struct, kw_only=True):
    value: list[dict[str, Any]] = []
    next_link: str | None = msgspec.field(default=None, name="@odata.nextLink")


class Reading(MailboxCalls):
    _delta_expands = True
    _selects_content_id = True

    @property
    def delta_expands(self) -> bool:
        """See `MailboxClient.delta_expands`."""
        return self._delta_expands

    async def list_page(
        self,
        folder: str,
        *,
        link: str | None = None,
        fields: Sequence[str] = INDEX_FIELDS,
        properties: Sequence[str] = INDEX_PROPERTIES,
        order: str | None = "receivedDateTime asc",
        filter: str | None = None,
        skip: int = 0,
        size: int = 500,
        count: bool = False,
        tries_504: int = 1,
        priority: Priority = Priority.BULK,
    ) -> MessagePage:
        """See `MailboxClient.list_page`. A filter beside an order gets the sorted property in front (trap 37)."""
        rest: dict[str, Any] = {
            "prefer": page_size(size), "shape": MessagePage, "priority": priority, "heavy": True,
            "heavy_tries": tries_504,
        }  # fmt: skip
        if link is not None:
            request = self.follow(MESSAGES, link, **rest)
        else:
            options = {
                "$select": select(fields),
                "$expand": expand(properties),
                "$filter": ordered_filter(filter, order),
                "$orderby": order,
                "$skip": str(skip) if skip else None,
                "$count": "true" if count else None,
            }
            request = self.request("GET", MESSAGES, folder, options=options, **rest)
        return await self._page(request)

    async def _page(self, request: Request) -> MessagePage:
        page: MessagePage = (await self.call_fresh(request)).value
        if page.next_link is not None:
            self.pinned(page.next_link)
        return page

    async def delta(
        self,
        folder: str,
        link: str | None,
        *,
        fields: Sequence[str] = INDEX_FIELDS,
        properties: Sequence[str] = INDEX_PROPERTIES,
        size: int = 500,
        priority: Priority = Priority.BACKGROUND,
    ) -> AsyncIterator[MessagePage]:
        """See `MailboxClient.delta`."""

        def first(properties: Sequence[str]) -> Request:
            return self.request(
                "GET",
                MESSAGES + "/delta",
                folder,
                options={"$select": select(fields), "$expand": expand(properties)},
                prefer=page_size(size),
                shape=MessagePage,
                priority=priority,
                heavy=True,
            )

        asked = properties if self._delta_expands else ()
        begun = False
        try:
            async for page in walk(self, first(asked), link):
                begun = True
                yield page
            return
        except BadId:
            raise
        except Invalid as error:
            if begun or link is not None or not asked or error.status != 400:
                raise
        # Sources disagree whether delta takes $expand (contract section 12): this mailbox's does not.
        async for page in walk(self, first(()), None):
            self._delta_expands = False
            yield page

    async def get(
        self,
        ids: Sequence[str],
        *,
        fields: Sequence[str] = INDEX_FIELDS,
        properties: Sequence[str] = INDEX_PROPERTIES,
        priority: Priority = Priority.INTERACTIVE,
    ) -> list[Message | GraphError]:
        """See `MailboxClient.get`. Every error is a result, those of the mailbox as a whole too."""
        options = {"$select": select(fields), "$expand": expand(properties)}

        def build(id: str) -> Request:
            return self.request("GET", MESSAGE, id, options=options, shape=Message, priority=priority)

        return [message_of(answer) for answer in await self.each(ids, build)]

    async def mime(self, id: str, *, priority: Priority = Priority.INTERACTIVE) -> bytes:
        """See `MailboxClient.mime`. Where the last boundary is missing, a second transfer must agree (trap 27)."""
        request = self.request(
            "GET", MESSAGE + "/$value", id, priority=priority, slow=True,
            max_answer=self._client.limits.append * MIME_GROWTH,
        )  # fmt: skip
        seen: bytes | None = None
        for _ in range(3):
            content = _mime_of(await self.call_fresh(request))
            digest = hashlib.sha256(content).digest()
            if ends_well(content) or digest == seen:
                return content
            seen = digest
        raise Unreachable("a message that arrives cut short")

    async def find_by_message_id(self, internet_message_id: str, folder: str | None = None) -> list[Message]:
        """Messages with this Message-ID (with its angle brackets), in a folder or the whole mailbox."""
        options = {
            "$select": select(INDEX_FIELDS),
            "$filter": f"internetMessageId eq {literal(internet_message_id)}",
        }
        template, args = (MESSAGES, (folder,)) if folder is not None else ("/messages", ())
        rest: dict[str, Any] = {"prefer": page_size(FOUND_PER_PAGE), "shape": MessagePage}
        request = self.request("GET", template, *args, options=options, **rest)
        found: list[Message] = []
        while True:
            page: MessagePage = (await self.call(request)).value
            found += page.value
            if page.next_link is None or len(found) > MOST_FOUND:
                return found
            request = self.follow(template, page.next_link, **rest)

    async def search(
        self, folder: str, query: str, *, most: int = MOST_FOUND, priority: Priority = Priority.INTERACTIVE
    ) -> list[str]:
        """See `MailboxClient.search`."""
        rest: dict[str, Any] = {
            "prefer": page_size(min(most, HITS_PER_PAGE)), "shape": MessagePage, "priority": priority, "heavy": True
        }  # fmt: skip
        options = {"$select": "id", "$search": quoted(query)}
        page = await self._page(self.request("GET", MESSAGES, folder, options=options, **rest))
        found = [message.id for message in page.value]
        while page.next_link is not None and len(found) < most:
            page = await self._page(self.follow(MESSAGES, page.next_link, **rest))
            found += [message.id for message in page.value]
        return found

    async def attachments(self, id: str) -> list[dict[str, Any]]:
        """See `MailboxClient.attachments`. `contentId` is None where this Graph does not list it."""
        try:
            return await self._attachments(id, with_content_id=self._selects_content_id)
        except BadId:
            raise
        except Invalid:
            if not self._selects_content_id:
                raise
        found = await self._attachments(id, with_content_id=False)
        self._selects_content_id = False
        return found

    async def _attachments(self, id: str, *, with_content_id: bool) -> list[dict[str, Any]]:
        fields = (*ATTACHMENT_FIELDS, CONTENT_ID) if with_content_id else ATTACHMENT_FIELDS
        rest: dict[str, Any] = {"prefer": page_size(FOUND_PER_PAGE), "shape": _Attachments}
        request = self.request("GET", ATTACHMENTS, id, options={"$select": select(fields)}, **rest)
        found: list[dict[str, Any]] = []
        while True:
            page: _Attachments = (await self.call_fresh(request)).value
            found += ({"contentId": None, **entry} for entry in page.value)
            if page.next_link is None or len(found) > MOST_FOUND:
                return found
            request = self.follow(ATTACHMENTS, page.next_link, **rest)

    async def attachment_value(self, id: str, attachment: str) -> bytes:
        """The raw octets of a file attachment, MIME of an item; Invalid (405) for a reference."""
        request = self.request(
            "GET", ATTACHMENTS + "/{attachment}/$value", id, attachment, slow=True,
            max_answer=self._client.limits.append * MIME_GROWTH,
        )  # fmt: skip
        return (await self.call_fresh(request)).body


def _mime_of(answer: Response) -> bytes:
    """The body, unless what answered was not Exchange: an error page is never a message."""
    if answer.headers.get("content-type", "").lower().startswith(_NOT_MIME):
        raise Unreachable("something else than MIME came", status=answer.status)
    if not answer.body:
        raise Unreachable("an empty message came", status=answer.status)
    return answer.body


def ends_well(content: bytes) -> bool:
    """Whether MIME that says it is multipart has its closing boundary (RFC 2046 section 5.1.1).

    Some mail never had one: False is a reason to look twice, no proof.
    """
    header = content[: content.find(b"\r\n\r\n") + 2] if b"\r\n\r\n" in content else content
    match = _BOUNDARY.search(header)
    if match is None:
        return True
    return content.rfind(b"--" + (match[1] or match[2]) + b"--") > len(header)
