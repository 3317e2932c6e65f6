"""Messages on their way in: each taken or refused exactly once, so that the input never loses its place.

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


class _Stage(Enum):
    UNDECIDED = auto()
    STREAMING = auto()
    TRAILING = auto()  # all octets came; what follows them on the command's line did not
    SETTLED = auto()


class IncomingLiteral:
    """The message literals of one command, one after another (RFC 9051 section 6.3.12, RFC 3502, RFC 7888)."""

    def __init__(self, channel: Channel, out: Out, header: LiteralHeader) -> None:
        self._header = header
        self._channel = channel
        self._out = out
        self._stage = _Stage.UNDECIDED

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Invite the octets of the announced message and give them out as they come."""
        if self._header.sync:
            self._out.continuation("Ready for the message")
            self._channel.send(self._out.take())
        self._channel.framer.stream_literal()
        self._stage = _Stage.STREAMING
        while self._stage is _Stage.STREAMING:
            yield await self._chunk()

    async def following(self) -> LiteralHeader | Frame:
        """What comes behind a message whose chunks have all been taken: the announcement of another one, or the rest
        of the command.

        BadCommand: too long a rest; Farewell: the peer announced more octets than we are ready to drop."""
        event = await self._channel.next_event()
        if isinstance(event, LiteralHeader):
            self._header, self._stage = event, _Stage.UNDECIDED
            return event
        self._stage = _Stage.SETTLED
        if isinstance(event, Frame):
            return event
        _part_from(event)
        raise BadCommand("Command too long", b"TOOBIG")

    async def settle(self) -> None:
        """Leave the input at the start of the next command, whatever was done so far. Idempotent.

        Farewell: the peer announced more octets than we are ready to drop."""
        while self._stage is _Stage.STREAMING:
            await self._chunk()
        if self._stage is _Stage.TRAILING:
            await self._pass_over()
        if self._stage is _Stage.UNDECIDED:
            await self._refuse()

    async def _chunk(self) -> bytes:
        event = await self._channel.next_event()
        if not isinstance(event, Chunk):
            raise AssertionError(f"{type(event).__name__} amid a literal")
        if event.last:
            self._stage = _Stage.TRAILING
        return event.data

    async def _pass_over(self) -> None:
        """The rest of a command that has failed already; UNDECIDED if another message stands in it."""
        try:
            await self.following()
        except BadCommand:
            return

    async def _refuse(self) -> None:
        self._stage = _Stage.SETTLED
        self._channel.framer.refuse_literal()
        event = await self._channel.next_event()
        _part_from(event)
        if not isinstance(event, Swallowed | TooLong):
            raise AssertionError(f"{type(event).__name__} after a refused literal")


def _part_from(event: Event) -> None:
    if isinstance(event, Overflow):
        raise Farewell("Message far too large", b"TOOBIG")
