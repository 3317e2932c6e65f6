"""The command table: which handler runs a command, in which states, and what may precede its tagged reply.

A handler gets the session and a parsed command, adds untagged data to `session.out`, and returns None
("<NAME> completed"), or a `Reply`; or it raises an error of `core.errors`. It cannot send the tagged reply:
`session.execute` does, on every path (invariant 5).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import TYPE_CHECKING, Any

from gateway.wire.command import Command
from gateway.wire.encode import Kind

if TYPE_CHECKING:
    from gateway.imap.session import Session


class State(Flag):
    """RFC 9051 section 3. A selected session is not in AUTHENTICATED: rows name both."""

    NOT_AUTHENTICATED = auto()
    AUTHENTICATED = auto()
    SELECTED = auto()
    LOGGED_IN = AUTHENTICATED | SELECTED
    ANY = NOT_AUTHENTICATED | AUTHENTICATED | SELECTED


class Enabled(Flag):
    """What the client has switched on: by ENABLE (RFC 5161), or, CONDSTORE, by using it (RFC 7162 section 3.1)."""

    NOTHING = 0
    CONDSTORE = auto()  # RFC 7162: MODSEQ in every FETCH of flags, HIGHESTMODSEQ
    QRESYNC = auto()  # RFC 7162: VANISHED instead of EXPUNGE
    UTF8 = auto()  # RFC 6855: mailbox names and strings in UTF-8
    REV2 = auto()  # RFC 9051: IMAP4rev2's answers
    UIDONLY = auto()  # RFC 9586: no sequence numbers at all
    METADATA = auto()  # RFC 5464: METADATA of what others changed


@dataclass(frozen=True, slots=True)
class Reply:
    """What the tagged reply says. `code` without brackets."""

    text: str
    code: bytes = b""
    kind: Kind = Kind.OK


Handler = Callable[["Session", Any], Awaitable[Reply | None]]


@dataclass(frozen=True, slots=True)
class Spec:
    """A row of the table."""

    run: Handler
    states: State
    name: str  # as the reply's text has it
    expunge_ok: bool = True  # may EXPUNGE precede the tagged reply? RFC 9051 section 7.5.1
    solo: bool = False  # takes over the input lines: nothing is parsed ahead of its end
    writes: bool = False  # refused in a mailbox opened by EXAMINE
    quick: bool = False  # answered without the backend: needs no keep-alive
    missing: bytes = b"NONEXISTENT"  # the code for an unknown mailbox: where CREATE helps, TRYCREATE
    allowed: int = field(init=False)  # `states` as a number: looked at for every command

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed", self.states.value)

    def may_expunge(self, command: Command) -> bool:
        """The UID forms of FETCH, STORE and SEARCH are other commands than those RFC 9051 7.5.1 forbids."""
        return self.expunge_ok or bool(getattr(command, "by_uid", False))

    def title(self, command: Command) -> str:
        return f"UID {self.name}" if getattr(command, "by_uid", False) else self.name


SPECS: dict[type[Command], Spec] = {}


def handles(
    command: type[Command],
    states: State,
    *,
    name: str = "",
    expunge_ok: bool = True,
    solo: bool = False,
    writes: bool = False,
    quick: bool = False,
    missing: bytes = b"NONEXISTENT",
) -> Callable[[Handler], Handler]:
    """Enter the decorated function as the handler of `command`; one handler per command."""

    def enter(run: Handler) -> Handler:
        if command in SPECS:
            raise ValueError(f"{command.__name__} has a handler already")
        title = name or command.__name__.upper()
        SPECS[command] = Spec(run, states, title, expunge_ok, solo, writes, quick, missing)
        return run

    return enter
