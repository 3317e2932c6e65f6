"""Where Graph posts its change notifications (contract section 13): `/graph/notices` and `/graph/lifecycle`.

The handshake gets its token back as plain text. A notification gets 202 at once, whatever is made of it: work is done
behind it, and an answer must not tell a stranger which subscriptions there are. Nothing of it is logged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.mailbox.notices import Notice, Notices

NOTICES, LIFECYCLE = "/graph/notices", "/graph/lifecycle"
TOKEN_CHARS = 1024  # of a validationToken: 400 beyond
BODY = 1024 * 1024  # octets of one batch of notifications: 413 beyond
PLAIN = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'",
         "Cache-Control": "no-store"}  # fmt: skip


class Board(Protocol):
    def deliver(self, notices: Iterable[Notice]) -> None: ...


def routes(board: Board) -> list[Route]:
    endpoint = _endpoint(board)
    return [Route(path, endpoint, methods=["POST"]) for path in (NOTICES, LIFECYCLE)]


def _endpoint(board: Board) -> Callable[[Request], Awaitable[Response]]:
    decoder = msgspec.json.Decoder(Notices)

    async def hear(request: Request) -> Response:
        token = request.query_params.get("validationToken")
        if token is not None:
            return _echo(token)
        body = await _body(request)
        if body is None:
            return Response(status_code=413)
        try:
            notices = decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Response(status_code=400)
        board.deliver(notices.value)
        return Response(status_code=202)

    return hear


def _echo(token: str) -> Response:
    """The token, and nothing that a browser would take for a page. Graph's own has printable ASCII only."""
    if not token or len(token) > TOKEN_CHARS or not (token.isascii() and token.isprintable()):
        return Response(status_code=400)
    return PlainTextResponse(token, headers=PLAIN)


async def _body(request: Request) -> bytes | None:
    """None: too long. What was announced too long is not read."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > BODY:
        return None
    found = bytearray()
    try:
        async for chunk in request.stream():
            found += chunk
            if len(found) > BODY:
                return None
    except ClientDisconnect:
        return b""
    return bytes(found)
