"""Octets to frames: lines and literals are cut here, before anything is parsed (RFC 9051 sections 2.2, 4.3; RFC 7888).

How a session uses it:

    framer.feed(data)                            # whatever the transport brought
    while (event := framer.next_event()) is not None:
        match event:
            case Frame():                        # a whole command: `parse(event)`; or the line that a SASL
                ...                              #   exchange or IDLE waits for: `event.line`, raw
            case Continue():                     # a synchronizing literal of an ordinary command is welcome:
                write(b"+ OK\\r\\n")                #   write the continuation, ask for the next event
            case LiteralHeader():                # APPEND's message: decide now, by exactly one of
                framer.stream_literal()          #   Chunks follow; then a Frame with the rest of the line (or
                                                 #   another LiteralHeader). If `event.sync`, write `+` first
                framer.abandon_literal()         #   sync only: the command ends here, answer tagged NO/BAD
                framer.swallow_literal()         #   non-sync only: octets and rest of the command are dropped,
                                                 #   then Swallowed comes: answer tagged NO/BAD
                framer.accept_literal()          #   collect it into the command as for any other literal
                framer.refuse_literal()          #   = abandon or swallow, whichever fits; a Swallowed follows
            case Chunk():                        # octets of a streamed literal; `last` on the final one
            case TooLong():                      # a command over a limit has been dropped whole: answer tagged
                ...                              #   BAD/NO [TOOBIG]; nothing else to do
            case Swallowed():                    # the end of a command that was refused
            case Overflow():                     # more than we are ready to drop: BYE [TOOBIG] and close

`None` means that more octets are needed. Two sessions' worth of care: set `framer.authenticated = True` after
login (it widens the limits and lets APPEND stream); call `framer.reset()` between the OK of STARTTLS and the
handshake, for octets that came in plain text must never be read as commands of the protected session.

States, and what moves them:

    state    input                                    event           next
    -------  ---------------------------------------  --------------  -------------------------------
    LINE     a line without literal header            Frame           LINE
             ..{n} or ..{n+}, APPEND's message        LiteralHeader   DECIDE
             ..{n} within limits                      Continue        COLLECT
             ..{n+} within limits                     -               COLLECT
             ..{n} over a limit                       TooLong         LINE (the client sends no octets)
             ..{n+} over a limit                      -               DROP n octets, then LINE_END
             longer than `limits.line`                -               LINE_END
    DECIDE   accept_literal()                         -               COLLECT
             stream_literal()                         -               STREAM
             abandon_literal()                        -               LINE
             swallow_literal()                        -               DROP, then LINE_END
    COLLECT  n octets                                 -               LINE (same command)
    STREAM   1..n octets                              Chunk           STREAM; LINE (same command) after n
    DROP     n octets                                 -               LINE_END
    LINE_END the line's end                           TooLong or      LINE
                                                      Swallowed
             ..{n+} at the line's end                 -               DROP
    any      more to drop than `swallow_limit`        Overflow        DEAD
    DEAD     anything                                 -               DEAD

A line ends with LF; one CR before it belongs to the end, too (bare LF is accepted). What the line holds is the
grammar's business. The events depend on the octets alone, never on how they were cut into `feed` calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from gateway.core.limits import DEFAULT_LIMITS, Limits

NUMBER64_MAX = 2**63 - 1  # RFC 9051 section 9, number64
_HEADER = re.compile(rb"(~?)\{([0-9]+)(\+?)\}\Z")
_APPEND = re.compile(rb"[^ ]+ APPEND ", re.IGNORECASE)
_TAG = re.compile(rb"([!#$&',-\[\]^-z|}.\-/:;<=>?@A-Za-z0-9_`~]+) ")
_TAIL = 64  # octets kept of a dropped line, enough for any honest literal header


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole command: line, literal, line, ... line. A line that a literal follows keeps its `{n}`."""

    parts: tuple[bytes, ...]

    @property
    def line(self) -> bytes:
        """The first line, raw and without its line end: what a SASL exchange or IDLE reads."""
        return self.parts[0]


@dataclass(frozen=True, slots=True)
class Continue:
    """Write `+ ...`: the client holds back a literal of `size` octets that is within limits."""

    size: int


@dataclass(frozen=True, slots=True)
class LiteralHeader:
    """APPEND's message is about to come. `parts` is the command so far, as in `Frame`, its last line ending in
    the header. `size` in octets; `sync`: the client waits for `+`; `binary`: a literal8 (`~{n}`)."""

    parts: tuple[bytes, ...]
    size: int
    sync: bool
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """Octets of a streamed literal, in order; exactly one Chunk is `last` (empty for an empty literal)."""

    data: bytes
    last: bool


class Excess(Enum):
    """Which bound a dropped command broke."""

    LINE = auto()  # limits.line
    LITERAL = auto()  # limits.command_literal, or limits.literal_before_login
    COMMAND = auto()  # limits.command_total or limits.literals_per_command


@dataclass(frozen=True, slots=True)
class TooLong:
    """A command was dropped to its end. `tag` is None where none was readable: answer `* BAD`."""

    tag: bytes | None
    what: Excess


@dataclass(frozen=True, slots=True)
class Swallowed:
    """The command whose literal the session refused has ended."""

    tag: bytes | None


@dataclass(frozen=True, slots=True)
class Overflow:
    """The peer announced more than we are ready to drop; the framer reads nothing more."""

    tag: bytes | None
    size: int


Event = Frame | Continue | LiteralHeader | Chunk | TooLong | Swallowed | Overflow


class _State(Enum):
    LINE = auto()
    DECIDE = auto()
    COLLECT = auto()
    STREAM = auto()
    DROP = auto()
    LINE_END = auto()
    DEAD = auto()


def tag_of(line: bytes) -> bytes | None:
    """The tag a line begins with (RFC 9051 section 9: tag), or None if there is none to answer to."""
    match = _TAG.match(line)
    return match[1] if match else None


class Framer:
    """Cuts one connection's input. Holds at most one command within `limits` plus what was fed and not yet
    asked for (`buffered`): a session that stops asking must stop reading."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, authenticated: bool = False) -> None:
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Take octets from the peer."""
        raise NotImplementedError

    def next_event(self) -> Event | None:
        """The next event, or None if more octets are needed. RuntimeError while a LiteralHeader is undecided."""
        raise NotImplementedError

    @property
    def buffered(self) -> int:
        """Octets fed and not yet part of an event: above a few times 64 KiB, pause reading."""
        raise NotImplementedError

    def accept_literal(self) -> None:
        """Collect the announced literal into the command, under the limits of any other literal."""
        raise NotImplementedError

    def stream_literal(self) -> None:
        """Give the announced literal out in Chunks; its size is not limited here."""
        raise NotImplementedError

    def abandon_literal(self) -> None:
        """The announced synchronizing literal is refused: the command is over, the next line is a new one."""
        raise NotImplementedError

    def swallow_literal(self) -> None:
        """Drop the announced non-synchronizing literal and the rest of its command; `Swallowed` tells its end."""
        raise NotImplementedError

    def refuse_literal(self) -> None:
        """Abandon or swallow, as the announced literal demands; `Swallowed` follows in both cases."""
        raise NotImplementedError

    def reset(self) -> int:
        """Forget everything buffered and begun, e.g. after STARTTLS; returns how many octets were dropped."""
        raise NotImplementedError


_Reader = Callable[[Framer], Event | None]
