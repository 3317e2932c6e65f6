"""Both directions of a compressed connection (RFC 4978): raw DEFLATE (RFC 1951), flushed per send. No I/O.

What a session costs: 64 KiB of window and 32 KiB of tables for what is sent (`WINDOW`, `MEMORY`), 40 KiB for what
is read: about 140 KB. A full window would cost twice as much and saves 2 % on mail.

A peer can make kilobytes of input into megabytes of output, so input is kept as it came, and inflated in pieces
when somebody has read the piece before.
"""

from __future__ import annotations

import zlib

WINDOW = 14  # log2 of the octets looked back at when sending
MEMORY = 6  # zlib's memLevel: 2 ** (MEMORY + 9) octets
LEVEL = 5  # of 9
WIDEST = 15  # log2 of the octets a peer may look back: DEFLATE's bound
_FLUSHED = b"\0\0\xff\xff"  # how a sync or full flush ends
# What may still come of a peer's last flush or end mark when what it flushed has been read. No command begins so.
_REMAINS = b"\0\1\3\xff"
_REMAINS_OCTETS = 7


class CorruptError(ValueError):
    """The input is not DEFLATE; nothing after it can be read."""


class Deflate:
    """One connection's compression."""

    def __init__(self) -> None:
        self._out = zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW, MEMORY)
        self._in = zlib.decompressobj(-WIDEST)
        self._waiting = bytearray()  # input not yet given to zlib
        self._tail = b""  # input that zlib gave back because the piece was full
        self._more = False  # the last piece was full: there may be output without further input

    # -- sending --

    def pack(self, data: bytes) -> bytes:
        """Octets that let the peer read all of `data`."""
        return self._out.compress(data) + self._out.flush(zlib.Z_SYNC_FLUSH)

    def last(self) -> bytes:
        """The end mark; nothing can be packed after it."""
        return self._out.flush(zlib.Z_FINISH)

    # -- reading --

    @property
    def pending(self) -> int:
        """Octets of input not yet inflated."""
        return len(self._waiting) + len(self._tail)

    def feed(self, data: bytes) -> None:
        self._waiting += data

    def read(self, most: int) -> bytes:
        """The next octets in plain, at most `most`; empty: more input is needed. CorruptError: there is no next.

        A piece ends where the peer flushed: who stops compressing does so there (RFC 8437 section 4.1)."""
        while self._tail or self._waiting or self._more:
            if self._in.eof:
                raise CorruptError("input after the end")
            plain = self._inflate(self._tail or self._next_flush(), most)
            if plain:
                return plain
        return b""

    def rest(self) -> bytes:
        """Compression is over: the input behind the peer's last compressed octet."""
        rest = self._tail + bytes(self._waiting)
        head = rest[:_REMAINS_OCTETS].lstrip(_REMAINS)
        return head + rest[_REMAINS_OCTETS:]

    def _next_flush(self) -> bytes:
        found = self._waiting.find(_FLUSHED)
        end = len(self._waiting) if found < 0 else found + len(_FLUSHED)
        piece = bytes(self._waiting[:end])
        del self._waiting[:end]
        return piece

    def _inflate(self, data: bytes, most: int) -> bytes:
        try:
            plain = self._in.decompress(data, most)
        except zlib.error as error:
            raise CorruptError("not DEFLATE") from error
        self._tail = self._in.unconsumed_tail
        self._more = len(plain) == most and not self._in.eof
        self._waiting[:0] = self._in.unused_data  # behind the end mark, if that has come
        return plain
