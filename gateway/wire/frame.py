"""What the framer gives out: whole commands as octets, and what a session has to decide or answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from gateway.wire.chars import TAG


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
    """A message of APPEND or REPLACE is about to come. `parts` is the command since its start or its last message,
    as in `Frame`, its last line ending in the header. `size` in octets; `sync`: the client waits for `+`; `binary`:
    a literal8 (`~{n}`)."""

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
    UNANNOUNCED = auto()  # limits.unannounced_literal, of a {n+}


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


def tag_of(line: bytes) -> bytes | None:
    """The tag a line begins with (RFC 9051 section 9: tag), or None if there is none to answer to."""
    match = TAG.match(line)
    if match is None or line[match.end() : match.end() + 1] not in (b" ", b""):
        return None
    return match[0]
