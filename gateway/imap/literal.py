"""APPEND's message on its way in: taken or refused exactly once, so that the input never loses its place.

Whoever got a `LiteralHeader` holds one `IncomingLiteral` and calls `settle()` when the command is over,
however it ended; then the next event is the next command's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from enum import Enum, auto

from gateway.core.errors import BadCommand
from gateway.imap.context import Channel, Farewell
from gateway.wire.encode import Out
from gateway.wire.framer import Chunk, Event, Frame, LiteralHeader, Overflow, Swallowed, TooLong
from gateway.wire.grammar_mailbox import append_ends


class _Stage(Enum):
    UNDECIDED = auto()
    STREAMING = auto()
    TRAILING = auto()  # all octets came; the rest of the command line did not
    SETTLED = auto()


class IncomingLiteral:
    """One announced message literal (RFC 9051 section 6.3.12, RFC 7888)."""

    def __init__(self, channel: Channel, out: Out, header: LiteralHeader) -> None:
        self.size = header.size
        self.binary = header.binary
        self._sync = header.sync
        self._channel = channel
        self._out = out
        self._stage = _Stage.UNDECIDED

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Invite the octets and give them out as they come; afterwards the command line must be at its end.

        BadCommand: something follows the message (MULTIAPPEND and CATENATE are not announced)."""
        if self._sync:
            self._out.continuation("Ready for the message")
            self._channel.send(self._out.take())
        self._channel.framer.stream_literal()
        self._stage = _Stage.STREAMING
        while self._stage is _Stage.STREAMING:
            yield await self._chunk()
        if not await self._line_ends():
            raise BadCommand("APPEND takes one message")

    async def settle(self) -> None:
        """Leave the input at the start of the next command, whatever was done so far. Idempotent.

        Farewell: the peer announced more octets than we are ready to drop."""
        if self._stage is _Stage.UNDECIDED:
            await self._refuse()
        while self._stage is _Stage.STREAMING:
            await self._chunk()
        if self._stage is _Stage.TRAILING:
            await self._line_ends()

    async def _chunk(self) -> bytes:
        event = await self._channel.next_event()
        if not isinstance(event, Chunk):
            raise AssertionError(f"{type(event).__name__} amid a literal")
        if event.last:
            self._stage = _Stage.TRAILING
        return event.data

    async def _line_ends(self) -> bool:
        """Read what follows the message; True if it was nothing but the line's end."""
        event = await self._channel.next_event()
        if isinstance(event, LiteralHeader):
            await self._refuse()
            return False
        self._stage = _Stage.SETTLED
        return _is_line_end(event)

    async def _refuse(self) -> None:
        self._stage = _Stage.SETTLED
        self._channel.framer.refuse_literal()
        event = await self._channel.next_event()
        if isinstance(event, Overflow):
            raise Farewell("Message far too large", b"TOOBIG")
        if not isinstance(event, Swallowed | TooLong):
            raise AssertionError(f"{type(event).__name__} after a refused literal")


def _is_line_end(event: Event) -> bool:
    if isinstance(event, Overflow):
        raise Farewell("Command far too long", b"TOOBIG")
    return isinstance(event, Frame) and append_ends(event.parts)
