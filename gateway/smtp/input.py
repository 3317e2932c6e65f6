"""What the peer sent, as command lines or as chunks of data; every octet looked at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.smtp.replies import Farewell, Rejected


class Input:
    """`more` returns the next octets, never none of them (it raises Gone at the end). What is held is bounded
    by `line_limit` and one answer of `more`."""

    def __init__(self, more: Callable[[], Awaitable[bytes]], *, line_limit: int, junk_limit: int) -> None:
        self._more = more
        self._line_limit = line_limit  # octets of one line with its end
        self._junk_limit = junk_limit  # octets of a longer line that are read and dropped
        self._held = bytearray()

    async def line(self) -> bytes:
        """Without its end, CRLF or LF. A line over the limit is read to its end, then Rejected; Farewell if
        it has none."""
        searched = 0
        while (end := self._held.find(b"\n", searched)) < 0:
            if len(self._held) > self._line_limit:
                await self._drop_line()
                raise _too_long()
            searched = len(self._held)
            self._held += await self._more()
        line = self._take(end + 1)
        if len(line) > self._line_limit:
            raise _too_long()
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]

    async def chunk(self) -> bytes:
        """What has come; at least one octet."""
        return self._take(len(self._held)) if self._held else await self._more()

    def ahead(self) -> bytes:
        """What has come and was not read yet; it stays."""
        return bytes(self._held)

    def put_back(self, octets: bytes) -> None:
        """These come next again."""
        self._held[:0] = octets

    async def drop(self, count: int) -> None:
        """Read and forget so many octets."""
        while count:
            octets = await self.chunk()
            self.put_back(octets[count:])
            count -= min(count, len(octets))

    def forget(self) -> None:
        """Everything held."""
        self._held.clear()

    def _take(self, count: int) -> bytes:
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken

    async def _drop_line(self) -> None:
        dropped = 0
        while (end := self._held.find(b"\n")) < 0:
            dropped += len(self._held)
            if dropped > self._junk_limit:
                raise Farewell(421, "4.7.0", "That is not SMTP")
            self._held.clear()
            self._held += await self._more()
        self._take(end + 1)


def _too_long() -> Rejected:
    return Rejected(500, "5.5.2", "Line too long")
