"""Octets to frames: lines and literals are cut here, before anything is parsed.

RFC 9051 sections 2.2 and 4.3, RFC 7888. How a session uses it:

    framer.feed(data)                       # whatever the transport brought
    while (event := framer.next_event()) is not None:
        match event:
            case Frame():                   # a whole command: `parse(event)`; or the line that a SASL
                ...                         #   exchange or IDLE waits for: `event.line`, raw
            case Continue():                # a synchronizing literal of an ordinary command is welcome:
                write(b"+ OK\\r\\n")           #   write the continuation, ask for the next event
            case LiteralHeader():           # APPEND's or REPLACE's message: decide now, by exactly one of
                framer.stream_literal()     #   Chunks follow, then a Frame with the rest of the line (or
                                            #   another LiteralHeader); if `event.sync`, write `+` first
                framer.abandon_literal()    #   sync only: the command ends here, answer tagged NO/BAD
                framer.swallow_literal()    #   non-sync only: its octets and the rest of the command are
                                            #   dropped, then Swallowed comes: answer tagged NO/BAD
                framer.refuse_literal()     #   abandon or swallow, whichever fits; Swallowed in both cases
                framer.accept_literal()     #   collect it into the command as any other literal
            case Chunk():                   # octets of a streamed literal; `last` on the final one
            case TooLong():                 # a command over a limit has been dropped whole: answer it
                ...                         #   BAD/NO [TOOBIG], tagged if `event.tag`; nothing else to do
            case Swallowed():               # the end of a command that was refused
            case Overflow():                # more than we are ready to drop: BYE [TOOBIG] and close

`None` means that more octets are needed. What the session owes: set `framer.authenticated = True` after
login (it widens the limits and lets APPEND stream), so do not ask for events beyond LOGIN or AUTHENTICATE
before those are done; call `framer.reset()` between the OK of STARTTLS and the handshake, for octets that
came in plain text must never be read as commands of the protected session; stop reading while
`framer.buffered` is large.

States, and what moves them:

    state    input                                    event           next
    -------  ---------------------------------------  --------------  -------------------------------
    LINE     a line without literal header            Frame           LINE
             ..{n} or ..{n+}, a message               LiteralHeader   DECIDE
             ..{n} within limits                      Continue        COLLECT
             ..{n+} within limits                     -               COLLECT
             ..{n} over a limit                       TooLong         LINE (the client sends no octets)
             ..{n+} over a limit                      -               DROP n octets, then LINE_END
             ..{n+} above `unannounced_literal`       -               the same; also of a message
             longer than `limits.line`                -               LINE_END
    DECIDE   accept_literal()                         -               COLLECT
             stream_literal()                         -               STREAM
             abandon_literal()                        -               LINE
             swallow_literal()                        -               DROP, then LINE_END
             refuse_literal() of {n}                  Swallowed       LINE
    COLLECT  n octets                                 -               LINE (same command)
    STREAM   1..n octets                              Chunk           STREAM; LINE (same command) after n
    DROP     n octets                                 -               LINE_END
    LINE_END the line's end                           TooLong or      LINE
                                                      Swallowed
             ..{n+} at the line's end                 -               DROP
    any      more to drop than the swallow limit      Overflow        DEAD
    DEAD     anything                                 -               DEAD

A line ends with LF; one CR before it belongs to the end, too (bare LF is accepted). What the line holds is
the grammar's business. The events depend on the octets alone, never on how they were cut into `feed` calls
(but for the borders of Chunks).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.wire.announced import Announced, announced, is_message
from gateway.wire.chars import LITERAL_HEADER_OCTETS
from gateway.wire.frame import (
    Chunk,
    Continue,
    Event,
    Excess,
    Frame,
    LiteralHeader,
    Overflow,
    Swallowed,
    TooLong,
    tag_of,
)

__all__ = [  # the framer's events are its interface
    "Chunk", "Continue", "Event", "Excess", "Frame", "Framer", "LiteralHeader", "Overflow", "Swallowed",
    "TooLong", "tag_of",
]  # fmt: skip

_TAG_OCTETS = 256  # the longest tag and its space


class _State(Enum):
    LINE = auto()
    DECIDE = auto()
    COLLECT = auto()
    STREAM = auto()
    DROP = auto()
    LINE_END = auto()
    OUTCOME = auto()  # the dropped command is over: tell it
    OVERFLOW = auto()
    DEAD = auto()


class _Again(Enum):
    """A reader's answer: the state moved without an event."""

    AGAIN = auto()


_NOTHING = Announced(0, sync=False, binary=False)


class Framer:
    """Cuts one connection's input. Holds at most one command within `limits` plus what was fed and not yet
    asked for (`buffered`): a session that stops asking must stop reading."""

    __slots__ = (
        "_announced", "_buffer", "_dropped", "_left", "_limits", "_line_octets", "_literals", "_outcome",
        "_parts", "_resumed", "_scanned", "_state", "_tag", "_total", "authenticated",
    )  # fmt: skip

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, authenticated: bool = False) -> None:
        self._limits = limits
        self.authenticated = authenticated
        self._buffer = bytearray()
        self._begin()

    def _begin(self) -> None:
        """Expect a new command."""
        self._state = _State.LINE
        self._scanned = 0  # octets of the buffer known to hold no LF
        self._parts: list[bytes] = []
        self._tag: bytes | None = None
        self._resumed = False  # part of the command was streamed
        self._line_octets = 0  # of the command's lines so far
        self._total = 0  # octets of the command so far, collected literals included
        self._literals = 0
        self._left = 0  # octets of the literal still to come
        self._dropped = 0  # octets of this command announced and refused
        self._announced = _NOTHING
        self._outcome: TooLong | Swallowed | None = None  # of a command that is being dropped

    def feed(self, data: bytes) -> None:
        """Take octets from the peer."""
        if self._state is not _State.DEAD:
            self._buffer += data

    def next_event(self) -> Event | None:
        """The next event, or None if more octets are needed.

        RuntimeError while a LiteralHeader is undecided.
        """
        if not self._buffer and self._state is _State.LINE:
            return None
        event = _READERS[self._state](self)
        while event is _Again.AGAIN:
            event = _READERS[self._state](self)
        return event

    @property
    def buffered(self) -> int:
        """Octets fed and not yet part of an event: above a few times 64 KiB, pause reading."""
        return len(self._buffer)

    # -- decisions on a LiteralHeader --

    def accept_literal(self) -> None:
        """Collect the announced literal into the command, under the limits of any other literal: over one of
        them the command is dropped and TooLong comes (so write `+` only for what is within limits)."""
        literal = self._undecided()
        if (excess := self._excess(literal.size)) is not None:
            self._give_up(literal, excess)
        else:
            self._collect(literal.size)

    def stream_literal(self) -> None:
        """Give the announced literal out in Chunks; its size is not limited here."""
        self._left = self._undecided().size
        self._parts = []
        self._line_octets = 0  # of each message anew: how many there are is the session's to bound
        self._resumed = True
        self._state = _State.STREAM

    def abandon_literal(self) -> None:
        """The announced synchronizing literal is refused: the command is over, the next line is a new one."""
        if not self._undecided().sync:
            raise RuntimeError("the octets of this literal come whether or not they are wanted: swallow it")
        self._begin()

    def swallow_literal(self) -> None:
        """Drop the announced non-synchronizing literal and the rest of its command, then say `Swallowed`."""
        if self._undecided().sync:
            raise RuntimeError("the octets of this literal will not come: abandon it")
        self.refuse_literal()

    def refuse_literal(self) -> None:
        """Abandon or swallow, as the announced literal demands; `Swallowed` follows in both cases."""
        literal = self._undecided()
        self._outcome = Swallowed(self._tag)
        self._drop(literal)

    def reset(self) -> int:
        """Forget everything buffered and begun, e.g. after STARTTLS; returns how many octets were dropped."""
        dropped = len(self._buffer) + self._total
        self._buffer.clear()
        self._begin()
        return dropped

    def withdraw(self) -> bytes:
        """Give back what was fed and not yet asked for, e.g. after COMPRESS; between two commands only."""
        unread = bytes(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        return unread

    # -- readers: one per state, each an event, None for "more octets", or AGAIN --

    def _read_line(self) -> Event | _Again | None:
        room = self._limits.line - self._line_octets
        end = self._find_line_end()
        if end < 0 and len(self._buffer) <= room + 1:  # one more: it may be the CR of the line's end
            return None
        if end < 0 or end - self._has_cr(end) > room:
            return self._drop_line(room)
        return self._on_line(self._take_line(end))

    def _read_undecided(self) -> Event | _Again | None:
        raise RuntimeError("decide on the literal first")

    def _read_literal(self) -> Event | _Again | None:
        if len(self._buffer) < self._left:
            return None
        self._parts.append(self._take(self._left))
        self._state = _State.LINE
        return _Again.AGAIN

    def _read_chunk(self) -> Event | _Again | None:
        if self._left and not self._buffer:
            return None
        data = self._take(min(self._left, len(self._buffer)))
        self._left -= len(data)
        if not self._left:
            self._state = _State.LINE
        return Chunk(data, last=not self._left)

    def _read_dropped(self) -> Event | _Again | None:
        count = min(self._left, len(self._buffer))
        del self._buffer[:count]
        self._left -= count
        if self._left:
            return None
        self._state = _State.LINE_END
        return _Again.AGAIN

    def _read_dropped_line(self) -> Event | _Again | None:
        end = self._find_line_end()
        if end < 0:
            del self._buffer[: -(LITERAL_HEADER_OCTETS + 1)]
            self._scanned = len(self._buffer)
            return None
        literal = announced(self._take_line(end))
        if literal is None or literal.sync:
            return self._conclude()
        return self._drop(literal)

    def _read_outcome(self) -> Event | _Again | None:
        return self._conclude()

    def _read_nothing(self) -> Event | _Again | None:
        return None

    def _read_overflow(self) -> Event | _Again | None:
        self._state = _State.DEAD
        self._buffer.clear()
        return Overflow(self._tag, self._dropped)

    # -- what the readers share --

    def _on_line(self, line: bytes) -> Event | _Again:
        """A line within limits has come: it ends the command, or a literal follows."""
        self._parts.append(line)
        self._line_octets += len(line)
        self._total += len(line)
        literal = announced(line)
        if literal is None:
            return self._finish()
        if self._tag is None and not self._resumed:
            self._tag = tag_of(self._parts[0])
        if not literal.sync and literal.size > self._limits.unannounced_literal:
            return self._give_up(literal, Excess.UNANNOUNCED)
        if self._is_message():
            self._announced = literal
            self._state = _State.DECIDE
            return LiteralHeader(tuple(self._parts), literal.size, literal.sync, literal.binary)
        return self._on_literal(literal)

    def _finish(self) -> Frame:
        frame = Frame(tuple(self._parts))
        self._begin()
        return frame

    def _on_literal(self, literal: Announced) -> Event | _Again:
        """An ordinary literal follows."""
        if (excess := self._excess(literal.size)) is not None:
            return self._give_up(literal, excess)
        self._collect(literal.size)
        return Continue(literal.size) if literal.sync else _Again.AGAIN

    def _give_up(self, literal: Announced, excess: Excess) -> _Again:
        self._outcome = TooLong(self._tag, excess)
        return self._drop(literal)

    def _is_message(self) -> bool:
        """Whether the literal just announced is one to stream."""
        if self._resumed:
            return True
        return self.authenticated and is_message(self._parts)

    def _excess(self, size: int) -> Excess | None:
        """The bound that collecting `size` more octets would break."""
        limits = self._limits
        if size > (limits.command_literal if self.authenticated else limits.literal_before_login):
            return Excess.LITERAL
        total = limits.command_total if self.authenticated else limits.line
        if self._total + size > total or self._literals >= limits.literals_per_command:
            return Excess.COMMAND
        return None

    def _collect(self, size: int) -> None:
        self._left = size
        self._total += size
        self._literals += 1
        self._state = _State.COLLECT

    def _undecided(self) -> Announced:
        if self._state is not _State.DECIDE:
            raise RuntimeError("no literal is waiting for a decision")
        return self._announced

    def _drop_line(self, room: int) -> _Again:
        """The line is too long. Its tag is looked for in what every way of cutting the input has shown."""
        if not self._parts and not self._resumed:
            start = bytes(self._buffer[: min(room + 1, _TAG_OCTETS)])
            self._tag = tag_of(start) if b" " in start else None
        self._outcome = TooLong(self._tag, Excess.LINE)
        self._parts = []
        self._state = _State.LINE_END
        return _Again.AGAIN

    def _drop(self, literal: Announced) -> _Again:
        """Give the command up at this literal; of a synchronizing one no octets will come."""
        self._parts = []
        if literal.sync:
            self._state = _State.OUTCOME
            return _Again.AGAIN
        self._dropped += literal.size
        self._left = literal.size
        self._state = _State.OVERFLOW if self._dropped > self._swallow_limit else _State.DROP
        return _Again.AGAIN

    @property
    def _swallow_limit(self) -> int:
        limits = self._limits
        return limits.swallow_factor * limits.append if self.authenticated else limits.command_total

    def _conclude(self) -> Event | None:
        outcome = self._outcome
        self._begin()
        return outcome

    def _find_line_end(self) -> int:
        """Where the LF is, or -1; octets once searched are not searched again."""
        end = self._buffer.find(b"\n", self._scanned)
        self._scanned = len(self._buffer) if end < 0 else end
        return end

    def _has_cr(self, end: int) -> bool:
        return end > 0 and self._buffer[end - 1] == 0x0D

    def _take_line(self, end: int) -> bytes:
        line = bytes(self._buffer[: end - self._has_cr(end)])
        del self._buffer[: end + 1]
        self._scanned = 0
        return line

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data


_Reader = Callable[[Framer], Event | _Again | None]

_READERS: dict[_State, _Reader] = {
    _State.LINE: Framer._read_line,
    _State.DECIDE: Framer._read_undecided,
    _State.COLLECT: Framer._read_literal,
    _State.STREAM: Framer._read_chunk,
    _State.DROP: Framer._read_dropped,
    _State.LINE_END: Framer._read_dropped_line,
    _State.OUTCOME: Framer._read_outcome,
    _State.OVERFLOW: Framer._read_overflow,
    _State.DEAD: Framer._read_nothing,
}
