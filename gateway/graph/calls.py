"""What every mail call has in common: the mailbox it is about, how its request is built and its answer typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from gateway.graph import batch
from gateway.graph.client import GraphClient
from gateway.graph.errors import BadId, GraphError, Invalid, NotFound, OutcomeUnknown, ResyncNeeded
from gateway.graph.fresh import WAITS, FreshIds
from gateway.graph.model import Message
from gateway.graph.query import path, query
from gateway.graph.request import Request, Response

K = TypeVar("K")
JSON = {"Content-Type": "application/json"}
REPEATABLE = frozenset({"GET", "PATCH"})  # a move of a message says so itself (invariant 10)
DESTINATION_DONE = frozenset({200, 201})  # sources differ for copy and move (contract sections 5.2 and 11)


class MailboxCalls:
    """Base of `GraphMailbox`. `user` None is `/me`, with a delegated token only (trap 46)."""

    def __init__(self, client: GraphClient, user: str | None) -> None:
        self._client = client
        self._user = user
        self._fresh = FreshIds(client.clock)
        self.root = "/me" if user is None else "/users/{user}"
        self.mailbox = user or "me"

    def request(
        self,
        method: str,
        template: str,
        *args: str,
        options: Mapping[str, str | None] | None = None,
        json: Any = None,
        repeat: bool | None = None,
        **rest: Any,
    ) -> Request:
        """A request below the mailbox. `args` fill the placeholders of `template`, in order; `json` becomes
        the body. Raises BadId for an empty id.
        """
        names = [piece.partition("}")[0] for piece in template.split("{")[1:]]
        values = {**dict(zip(names, args, strict=True)), "user": self._user or ""}
        if json is not None:
            rest["body"], rest["headers"] = msgspec.json.encode(json), {**JSON, **rest.get("headers", {})}
        return Request(
            method=method,
            template=self.root + template,
            path=path(self.root + template, values) + query(options or {}),
            repeat=method in REPEATABLE if repeat is None else repeat,
            mailbox=self.mailbox,
            about=args[0] if args else "",
            **rest,
        )

    def follow(self, template: str, link: str, **rest: Any) -> Request:
        """A GET of a nextLink or deltaLink, once it is known to lead to Graph (trap 41)."""
        return Request(
            method="GET",
            template=self.root + template,
            link=self._client.pinned(link),
            repeat=True,
            mailbox=self.mailbox,
            **rest,
        )

    @property
    def base_url(self) -> str:
        return self._client.base_url

    def pinned(self, link: str) -> str:
        return self._client.pinned(link)

    async def call(self, request: Request) -> Response:
        return await self._client.call(request)

    async def call_fresh(self, request: Request) -> Response:
        """A call about something that may have been made a moment ago (trap 42)."""
        return await self._fresh.patient(request.about, lambda: self.call(request))

    async def call_link(self, request: Request) -> Response:
        """A call by a link that holds a sync state: a 400 means that the state is dead (trap 11)."""
        try:
            return await self.call(request)
        except Invalid as error:
            raise ResyncNeeded("the sync state died", status=error.status, code=error.code) from None

    def _made(self, id: str) -> None:
        """A success that promised something new must name it (trap 24); a 404 for it may be lag now."""
        if not id:
            raise OutcomeUnknown("Graph named nothing that it made")
        self._fresh.add(id)

    async def bulk(self, requests: Sequence[Request]) -> list[Response | GraphError]:
        """One request alone, several in batches; errors are results."""
        if len(requests) != 1:
            return await batch.run(self._client, requests)
        try:
            return [await self.call(requests[0])]
        except GraphError as error:
            return [error]

    async def each(self, keys: Sequence[K], build: Callable[[K], Request]) -> list[Response | GraphError]:
        """`bulk` of a request per key, in order, with patience for messages made a moment ago (trap 42).

        A request that cannot be built (an empty id) is a BadId among the results.
        """
        results: dict[int, Response | GraphError] = {}
        requests: dict[int, Request] = {}
        for at, key in enumerate(keys):
            try:
                requests[at] = build(key)
            except BadId as error:
                results[at] = error
        await self._settle(requests, results)
        for wait in WAITS:
            late = {at: requests[at] for at in requests if self._may_be_late(requests[at], results[at])}
            if not late:
                break
            await self._client.clock.sleep(wait)
            await self._settle(late, results)
        return [results[at] for at in range(len(keys))]

    async def _settle(
        self, requests: Mapping[int, Request], results: dict[int, Response | GraphError]
    ) -> None:
        results.update(zip(requests, await self.bulk(list(requests.values())), strict=True))

    def _may_be_late(self, request: Request, result: Response | GraphError) -> bool:
        return isinstance(result, NotFound) and request.about in self._fresh


def page_size(size: int) -> tuple[str, ...]:
    """`Prefer` for a page; on each page call (trap 13), never `$top` (trap 14)."""
    return (f"odata.maxpagesize={size}",)


def message_of(answer: Response | GraphError) -> Message | GraphError:
    if isinstance(answer, GraphError):
        return answer
    message: Message = answer.value if answer.value is not None else Message()
    return message
