"""A client's side of COMPRESS DEFLATE, for the player: a writer and a reader like asyncio's, around theirs."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any


class CompressingWriter:
    """Writes through DEFLATE, flushed every time; everything else is the inner writer's."""

    def __init__(self, inner: asyncio.StreamWriter) -> None:
        self.inner = inner
        self._deflate = zlib.compressobj(wbits=-15)

    def write(self, data: bytes) -> None:
        self.inner.write(self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Inflow:
    """Carries what the server sends from `source` to `reader`, inflated until its end mark, plain behind it."""

    def __init__(self, source: asyncio.StreamReader) -> None:
        self.reader = asyncio.StreamReader(limit=1 << 26)
        self._source = source
        self._inflate: Any = None
        self._task = asyncio.ensure_future(self._run())

    def begin(self) -> None:
        """What comes from now on is compressed."""
        self._inflate = zlib.decompressobj(wbits=-15)

    async def _run(self) -> None:
        try:
            while data := await self._source.read(65536):
                self.reader.feed_data(self._plain(data))
        except ConnectionError:
            pass
        self.reader.feed_eof()

    def _plain(self, data: bytes) -> bytes:
        if self._inflate is None:
            return data
        plain = self._inflate.decompress(data)
        if self._inflate.eof:
            rest, self._inflate = self._inflate.unused_data, None
            return bytes(plain + rest)
        return bytes(plain)
