"""A whole answer or none: reads a response's body, bounded, undoing gzip, and knows whether it was complete.

A chunked or counted body that ends early is an error of the HTTP library; one that simply ends with the
connection (neither counted nor chunked) or a gzip stream without its trailer is not, and would pass for the
truth (trap 27).
"""

from __future__ import annotations

import zlib

import httpx

_GZIP = 16 + zlib.MAX_WBITS


class BadBody(Exception):
    """The body is cut short, too large, or in an encoding that was not asked for."""


async def read_body(response: httpx.Response, most: int) -> bytes:
    """The decoded octets, `most` at most; BadBody."""
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding == "gzip":
        return await _gunzip(response, most)
    if encoding != "identity":
        raise BadBody("content encoding")
    pieces, size = [], 0
    async for piece in response.aiter_raw():
        size += len(piece)
        if size > most:
            raise BadBody("too large")
        pieces.append(piece)
    return b"".join(pieces)


async def _gunzip(response: httpx.Response, most: int) -> bytes:
    unzip = zlib.decompressobj(_GZIP)
    out = bytearray()
    empty = True
    try:
        async for piece in response.aiter_raw():
            empty = empty and not piece
            out += unzip.decompress(piece, most + 1 - len(out))
            if len(out) > most:
                raise BadBody("too large")
    except zlib.error:
        raise BadBody("gzip") from None
    if not unzip.eof and not empty:
        raise BadBody("cut short")
    return bytes(out)


def framed(response: httpx.Response) -> bool:
    """Whether the transfer itself tells where the body ends (RFC 9112 section 6.3; HTTP/2 always does).

    A transport that speaks no HTTP (an application called in-process) hands over whole answers.
    """
    if response.extensions.get("http_version") in {None, b"HTTP/2"}:
        return True
    return "content-length" in response.headers or "transfer-encoding" in response.headers
