"""What the end of a command's line announces: a literal, and whether it is a message to stream."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.wire.chars import LITERAL_HEADER, LITERAL_HEADER_OCTETS, TAG_CHAR_CLASS

# Commands with a message. A literal where their mailbox stands is the mailbox; any other is the message.
_MESSAGE = re.compile(
    rb"[%b]+ (?:APPEND|(?:UID )?REPLACE (?:[0-9]{1,20}|\*)) (~?\{[0-9]+\+?\}\Z)?" % TAG_CHAR_CLASS,
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Announced:
    """A literal header, read and not yet decided upon. `size` in octets; `binary`: literal8."""

    size: int
    sync: bool
    binary: bool


def announced(line: bytes) -> Announced | None:
    """The literal header a line ends in."""
    match = LITERAL_HEADER.search(line[-LITERAL_HEADER_OCTETS:])
    if match is None:
        return None
    return Announced(int(match[2]), sync=not match[3], binary=bool(match[1]))


def is_message(parts: list[bytes]) -> bool:
    """Whether the literal that the last of these parts announces is APPEND's or REPLACE's message (RFC 9051
    section 6.3.12, RFC 8508 section 5)."""
    match = _MESSAGE.match(parts[0])
    return match is not None and (len(parts) > 1 or match[1] is None)
