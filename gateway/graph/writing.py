"""Changing, creating, moving, sending and deleting messages (contract sections 9-11; invariant 10)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.graph.calls import DESTINATION_DONE, JSON, MailboxCalls, message_of
from gateway.graph.errors import Conflict, GraphError, OutcomeUnknown, TooLarge
from gateway.graph.model import Message, Priority
from gateway.graph.reading import ATTACHMENTS, MESSAGE
from gateway.graph.request import Body, Request
from gateway.graph.streams import Base64, Content, Held
from gateway.graph.upload import upload

CREATED = frozenset({201})
ACCEPTED = frozenset({202})
GONE = frozenset({204})
MIME_TYPE = {"Content-Type": "text/plain"}
FILE = "#microsoft.graph.fileAttachment"
SLOW = 1024 * 1024  # octets of a body that may take minutes


@dataclass(frozen=True, slots=True)
class Patch:
    """One PATCH of a message. `if_match` is an etag or None."""

    id: str
    body: Mapping[str, Any]
    if_match: str | None = None


class Writing(MailboxCalls):
    async def patch(
        self, patches: Sequence[Patch], *, priority: Priority = Priority.INTERACTIVE
    ) -> list[Message | GraphError]:
        """See `MailboxClient.patch`. Errors are results. Ids must differ: batches run side by side."""

        def build(patch: Patch) -> Request:
            headers = {"If-Match": patch.if_match} if patch.if_match else {}
            return self.request(
                "PATCH",
                MESSAGE,
                patch.id,
                json=dict(patch.body),
                headers=headers,
                shape=Message,
                priority=priority,
            )

        results = await self.each(patches, build)
        # A change-key race without If-Match (trap 9): the change is absolute, so it may go again, once.
        again = [n for n, p in enumerate(patches) if p.if_match is None and isinstance(results[n], Conflict)]
        if again:
            second = await self.each([patches[n] for n in again], build)
            for n, result in zip(again, second, strict=True):
                results[n] = result
        return [message_of(result) for result in results]

    async def move(
        self, ids: Sequence[str], folder: str, *, priority: Priority = Priority.INTERACTIVE
    ) -> list[Message | GraphError]:
        """See `MailboxClient.move`. Errors are results."""
        return await self._transfer("/move", ids, folder, priority, repeat=True)

    async def copy(
        self, ids: Sequence[str], folder: str, *, priority: Priority = Priority.INTERACTIVE
    ) -> list[Message | GraphError]:
        """See `MailboxClient.copy`. Errors are results."""
        return await self._transfer("/copy", ids, folder, priority, repeat=False)

    async def _transfer(
        self, verb: str, ids: Sequence[str], folder: str, priority: Priority, *, repeat: bool
    ) -> list[Message | GraphError]:
        def build(id: str) -> Request:
            return self.request(
                "POST", MESSAGE + verb, id, json={"destinationId": folder}, repeat=repeat,
                shape=Message, expect=DESTINATION_DONE, priority=priority,
            )  # fmt: skip

        results = [message_of(answer) for answer in await self.each(ids, build)]
        return [self._named(result) for result in results]

    def _named(self, result: Message | GraphError) -> Message | GraphError:
        if isinstance(result, GraphError):
            return result
        try:
            self._made(result.id)
        except OutcomeUnknown as error:
            return error
        return result

    async def create_from_mime(self, mime: bytes | Body) -> Message:
        """See `MailboxClient.create_from_mime`. `mime` has CRLF line ends (trap 23); TooLarge before
        anything is sent if its base64 exceeds what Graph takes in one request.
        """
        return await self._create(
            self.request(
                "POST",
                "/messages",
                body=self._base64(mime),
                headers=MIME_TYPE,
                shape=Message,
                expect=CREATED,
                slow=len(mime) > SLOW,
            )
        )

    async def create(self, folder: str, body: Mapping[str, Any]) -> Message:
        """See `MailboxClient.create`. TooLarge as above."""
        request = self.request(
            "POST", "/mailFolders/{folder}/messages", folder, json=dict(body), shape=Message, expect=CREATED
        )
        self._must_fit(len(request.body))
        return await self._create(request)

    async def create_all(
        self, folder: str, bodies: Sequence[Mapping[str, Any]]
    ) -> list[Message | GraphError]:
        """See `MailboxClient.create_all`. Errors are results."""

        def build(body: Mapping[str, Any]) -> Request:
            return self.request(
                "POST",
                "/mailFolders/{folder}/messages",
                folder,
                json=dict(body),
                shape=Message,
                expect=CREATED,
            )

        return [self._named(message_of(answer)) for answer in await self.each(bodies, build)]

    async def _create(self, request: Request) -> Message:
        """A folder made a moment ago may answer 404, which says that nothing was created."""
        answer = await self.call_fresh(request)
        message: Message = answer.value
        self._made(message.id)
        return message

    async def add_attachment(self, id: str, attachment: Mapping[str, Any], content: bytes | Content) -> None:
        """See `MailboxClient.add_attachment`. `attachment` holds name, contentType, isInline and contentId as
        Graph names them. OutcomeUnknown where it may have been attached: look at `attachments`."""
        held = Held(content) if isinstance(content, bytes) else content
        described = msgspec.json.encode({"@odata.type": FILE, **attachment})
        body = Base64(held, described[:-1] + b',"contentBytes":"', b'"}')
        if len(held) >= self._client.limits.inline_attachment or len(body) > self._client.limits.request_body:
            return await upload(self, id, attachment, held)
        request = self.request(
            "POST",
            ATTACHMENTS,
            id,
            body=body,
            headers=JSON,
            shape=None,
            expect=CREATED,
            slow=len(body) > SLOW,
        )
        await self.call_fresh(request)
        return None

    async def send_mime(self, mime: bytes | Body) -> None:
        """See `MailboxClient.send_mime`. The envelope is in the header: To, Cc and Bcc (contract section 10.1)."""
        await self.call(
            self.request(
                "POST", "/sendMail", body=self._base64(mime), headers=MIME_TYPE, expect=ACCEPTED, slow=True
            )
        )

    async def send_draft(self, id: str) -> None:
        """See `MailboxClient.send_draft`. The copy in Sent Items comes later, under the same id."""
        request = self.request("POST", MESSAGE + "/send", id, expect=ACCEPTED, slow=True)
        await self.call_fresh(request)
        self._fresh.add(id)

    async def delete(self, id: str) -> None:
        """See `MailboxClient.delete`. NotFound: it was gone already (trap 43)."""
        await self.call_fresh(self.request("DELETE", MESSAGE, id, expect=GONE))

    async def permanent_delete(self, id: str) -> None:
        """To Purges, out of its owner's reach. Global cloud only. OutcomeUnknown possible."""
        await self.call_fresh(self.request("POST", MESSAGE + "/permanentDelete", id, expect=GONE))

    def _base64(self, mime: bytes | Body) -> bytes | Body:
        self._must_fit(4 * -(-len(mime) // 3))
        return base64.b64encode(mime) if isinstance(mime, bytes) else Base64(mime)

    def _must_fit(self, octets: int) -> None:
        """Graph has answered larger requests with a success that did nothing (trap 24): they are not sent."""
        if octets > self._client.limits.request_body:
            raise TooLarge("larger than one request to Graph may be", code="RequestEntityTooLarge")
