"""Request bodies that are made while they are sent, so that no large message is ever held whole."""

from __future__ import annotations

import binascii
from collections.abc import AsyncIterator
from typing import Protocol

from gateway.graph.request import Body

PIECE = 64 * 1024


class Content(Protocol):
    """A file's octets, `len()` of them, readable again and again from anywhere."""

    def __len__(self) -> int: ...
    def pieces(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Octets [start, end) in pieces of moderate size."""
        ...


class Held:
    """`Content` of octets in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    async def pieces(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        stop = len(self._data) if end is None else end
        for at in range(start, stop, PIECE):
            yield self._data[at : min(at + PIECE, stop)]


class Base64:
    """`head`, then a body as base64 without line ends, then `tail`."""

    def __init__(self, body: Body, head: bytes = b"", tail: bytes = b"") -> None:
        self._body = body
        self._head = head
        self._tail = tail

    def __len__(self) -> int:
        return len(self._head) + 4 * -(-len(self._body) // 3) + len(self._tail)

    async def pieces(self) -> AsyncIterator[bytes]:
        if self._head:
            yield self._head
        rest = b""
        async for piece in self._body.pieces():
            octets = rest + piece
            whole = len(octets) - len(octets) % 3
            yield binascii.b2a_base64(octets[:whole], newline=False)
            rest = octets[whole:]
        yield binascii.b2a_base64(rest, newline=False) + self._tail


class Range:
    """Octets [start, end) of a file as a body."""

    def __init__(self, content: Content, start: int, end: int) -> None:
        self._content = content
        self._start = start
        self._end = end

    def __len__(self) -> int:
        return self._end - self._start

    def pieces(self) -> AsyncIterator[bytes]:
        return self._content.pieces(self._start, self._end)
