"""Subscriptions to change notifications of one mailbox (contract section 13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.graph.calls import JSON, MailboxCalls
from gateway.graph.errors import Denied, NotFound, OutcomeUnknown
from gateway.graph.model import Priority
from gateway.graph.query import path
from gateway.graph.request import Request, Response

CREATED = frozenset({201})
GONE = frozenset({204})


class Subscription(msgspec.Struct, rename="camel", kw_only=True):
    """What Graph says of one; `expiration_date_time` may be another than the one asked for."""

    id: str = ""
    expiration_date_time: str = ""


class Subscribing(MailboxCalls):
    """Immutable ids are asked for at creation, and cannot be later (contract section 7)."""

    async def subscribe(self, url: str, lifecycle_url: str, secret: str, until: str) -> Subscription:
        """Be told of every message of the mailbox that is created, updated or deleted, until then (ISO, UTC). Graph
        asks both addresses before it answers: Invalid if one did not prove itself; Denied (no subscriptions on shared
        mailboxes, too many); OutcomeUnknown: there may be one, which nobody knows of and which expires by itself."""
        body = {
            "changeType": "created,updated,deleted", "notificationUrl": url, "lifecycleNotificationUrl": lifecycle_url,
            "resource": path(self.root, {"user": self._user or ""}).lstrip("/") + "/messages",
            "expirationDateTime": until, "clientState": secret,
        }  # fmt: skip
        made: Subscription = (
            await self._call("POST", "", body, expect=CREATED, shape=Subscription, slow=True)
        ).value
        if not made.id:
            raise OutcomeUnknown("Graph named nothing that it made")
        return made

    async def renew_subscription(self, id: str, until: str) -> Subscription:
        """Another expiry, and authorised again. NotFound: it is no more."""
        body = {"expirationDateTime": until}
        answer = await self._call("PATCH", id, body, shape=Subscription, repeat=True)
        renewed: Subscription = answer.value
        return renewed

    async def unsubscribe(self, id: str) -> None:
        """NotFound: it was no more. An id is never given anew: this may be repeated."""
        await self._call("DELETE", id, None, expect=GONE, repeat=True)

    async def _call(self, method: str, id: str, body: Mapping[str, Any] | None, **rest: Any) -> Response:
        template = "/subscriptions/{subscription}" if id else "/subscriptions"
        request = Request(
            method=method, template=template, path=path(template, {"subscription": id}) if id else template,
            body=b"" if body is None else msgspec.json.encode(body), headers={} if body is None else JSON,
            mailbox=self.mailbox, about=id, priority=Priority.BACKGROUND, **rest,
        )  # fmt: skip
        try:
            return await self.call(request)
        except Denied as error:  # `ResourceNotFound` means elsewhere that the mailbox is not there
            if error.status != 404 or not id:
                raise
            raise NotFound("The subscription is no more", status=404, code=error.code) from None
