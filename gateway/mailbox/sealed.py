"""Octets in chunks of one size, each sealed by itself: written in order, read from anywhere.

AES-256-GCM; the nonce is a random prefix per file and the chunk's number, the context binds every chunk to
its file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.store.errors import Damaged

CHUNK = 64 * 1024  # octets before sealing
TAG = 16
PREFIX = 8  # octets; with 4 for the number they make GCM's nonce

ReadAt = Callable[[int, int], bytes]  # (offset, octets) -> sealed octets


def new_prefix() -> bytes:
    return os.urandom(PREFIX)


class ChunkCipher:
    """Seals and opens the chunks of one file. A prefix is used for one file only."""

    def __init__(self, key: bytes, prefix: bytes, context: bytes) -> None:
        self._cipher = AESGCM(key)
        self._prefix = prefix
        self._context = context

    def seal(self, number: int, plain: bytes) -> bytes:
        return self._cipher.encrypt(self._nonce(number), plain, self._context)

    def open(self, number: int, sealed: bytes) -> bytes:
        """Damaged for anything that is not this chunk."""
        try:
            return self._cipher.decrypt(self._nonce(number), sealed, self._context)
        except (InvalidTag, ValueError) as error:
            raise Damaged("a sealed chunk does not open") from error

    def seal_all(self, data: bytes, first: int = 0) -> Iterator[bytes]:
        for number, start in enumerate(range(0, len(data), CHUNK), first):
            yield self.seal(number, data[start : start + CHUNK])

    def read(self, read_at: ReadAt, size: int, start: int, end: int) -> bytes:
        """Octets [start, end) of `size` in all; `read_at` counts from the first sealed chunk."""
        start, end = max(0, start), min(end, size)
        if start >= end:
            return b""
        first, last = start // CHUNK, (end - 1) // CHUNK
        pieces = [self._chunk(read_at, size, number) for number in range(first, last + 1)]
        pieces[-1] = pieces[-1][: end - last * CHUNK]
        pieces[0] = pieces[0][start - first * CHUNK :]
        return b"".join(pieces)

    def _chunk(self, read_at: ReadAt, size: int, number: int) -> bytes:
        plain = min(CHUNK, size - number * CHUNK)
        return self.open(number, read_at(number * (CHUNK + TAG), plain + TAG))

    def _nonce(self, number: int) -> bytes:
        return self._prefix + number.to_bytes(4, "big")


def sealed_size(size: int) -> int:
    """Octets that `size` octets take when sealed."""
    return size + TAG * -(-size // CHUNK)
