"""The other end of one HTTP exchange: its body read under a bound, its answer sent, cut, or never sent.

The transport comes in `scope["state"]["transport"]` (see `serve`); without one, as under an in-process ASGI
client, breaking the connection is a ConnectionResetError.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from gateway.emulator.api import Response

GZIP_FROM: Final = 1024
HANG_SECONDS: Final = 300.0
FLUSH_TRIES: Final = 200
BODILESS: Final = frozenset({204, 304})


class ClientLeftError(Exception):
    """The client closed the connection before its request was complete."""


class BodyTooLargeError(Exception):
    """The request body is over the bound."""


class Peer:
    """One request and the way back. `closing` is set when the emulator stops: it ends every hang."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, closing: asyncio.Event) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._closing = closing
        self.headers: list[tuple[str, str]] = [
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]
        ]

    def header(self, name: str) -> str:
        """The last value of a header, "" if absent."""
        return next((v for n, v in reversed(self.headers) if n == name), "")

    async def body(self, limit: int) -> bytes:
        """All of the request body. Raises BodyTooLargeError beyond `limit` octets, without keeping them."""
        chunks: list[bytes] = []
        size = 0
        while True:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise ClientLeftError
            size += len(event.get("body", b""))
            if size > limit:
                raise BodyTooLargeError
            chunks.append(event.get("body", b""))
            if not event.get("more_body"):
                return b"".join(chunks)

    async def answer(
        self,
        response: Response,
        headers: dict[str, str],
        *,
        cut: bool = False,
        before_end: Callable[[], None] = lambda: None,
        pause: Callable[[], Awaitable[None]] | None = None,
    ) -> int:
        """Send a response, chunked unless it is empty (contract section 2); how many octets of body went out.

        `before_end` is called right before the last octet can leave. With `cut`, half of the body is sent
        and the connection aborted. `pause` is awaited before each chunk of a streamed body.
        """
        zipped = self._zip(response, headers)
        if cut:
            return await self._cut(response, headers, b"".join(zipped))
        if isinstance(response.body, bytes):
            body = b"".join(zipped)
            before_end()
            if not body and response.status not in BODILESS:
                headers = {**headers, "Content-Length": "0"}
            await self._start(response.status, headers)
            await self._send({"type": "http.response.body", "body": body})
            return len(body)
        await self._start(response.status, headers)
        sent = 0
        for chunk in zipped:
            if pause is not None:
                await pause()
            sent += len(chunk)
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        before_end()
        await self._send({"type": "http.response.body", "body": b""})
        return sent

    async def fail(self, mode: str) -> None:
        """No answer: `hang` until the client leaves, 300 seconds pass or the emulator stops; then, and for
        `reset` at once, abort the connection."""
        if mode == "hang":
            await self._hang()
        self.abort()

    def abort(self) -> None:
        """Break the connection with a TCP reset where the transport allows it."""
        transport: Any = self._scope.get("state", {}).get("transport")
        if transport is None:
            raise ConnectionResetError("a fault broke the connection")
        sock = transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError, AttributeError, NotImplementedError, TypeError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    # -- inside --

    def _zip(self, response: Response, headers: dict[str, str]) -> Iterator[bytes]:
        """The body's chunks, compressed if the client asked and it is worth it; marks `headers` if so."""
        chunks = iter([response.body]) if isinstance(response.body, bytes) else iter(response.body)
        small = isinstance(response.body, bytes) and len(response.body) < GZIP_FROM
        if small or "gzip" not in self.header("accept-encoding"):
            return chunks
        headers["Content-Encoding"] = "gzip"
        headers["Vary"] = "Accept-Encoding"
        return _gzip(chunks)

    async def _start(self, status: int, headers: dict[str, str]) -> None:
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _cut(self, response: Response, headers: dict[str, str], body: bytes) -> int:
        half = body[: len(body) // 2]
        await self._start(response.status, headers)
        await self._send({"type": "http.response.body", "body": half, "more_body": True})
        await self._flush()
        self.abort()
        return len(half)

    async def _flush(self) -> None:
        transport: Any = self._scope.get("state", {}).get("transport")
        for _ in range(FLUSH_TRIES if transport is not None else 0):
            await asyncio.sleep(0.002)
            if transport.is_closing() or transport.get_write_buffer_size() == 0:
                return

    async def _hang(self) -> None:
        waits = [asyncio.ensure_future(self._left()), asyncio.ensure_future(self._closing.wait())]
        await asyncio.wait(waits, timeout=HANG_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _gzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()
