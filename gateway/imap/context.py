"""What sessions need from outside: time, settings, counters, the count of connections, and the octets'
channel."""

from __future__ import annotations

import ssl
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.limits import Limits
from gateway.mailbox.api import Accounts
from gateway.wire.framer import Event, Framer


class Clock(Protocol):
    """Time as an argument; tests move it."""

    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class ImapSettings:
    """What the administrator chooses for the IMAP ports."""

    allow_plaintext: bool = False  # LOGIN and SASL PLAIN without TLS; otherwise LOGINDISABLED
    product: str = "graph-mail-gateway"  # ID's answer
    version: str = "0.1.0"
    keepalive: float = 10.0  # seconds a command may be silent before `* OK [INPROGRESS ...]`
    idle_keepalive: float = 120.0  # seconds IDLE may be silent: middle boxes forget quiet connections
    refuse_raw_headers: bool = False  # APPEND of 8-bit header fields by who has not enabled UTF-8 (RFC 6855)
    message_limit: int = 0  # messages one command works on (RFC 9738); 0 = any number
    grace: float = 5.0  # seconds a running command gets at shutdown, and a closing socket to take its octets


@dataclass(slots=True)
class Counters:
    """What metrics read. Only counts: nothing here names a user or a message."""

    connections: int = 0  # accepted, ever
    refused: int = 0  # over a cap
    logins: int = 0
    failed_logins: int = 0
    octets_in: int = 0
    octets_out: int = 0
    bugs: int = 0  # commands answered [SERVERBUG]
    commands: Counter[str] = field(default_factory=Counter)  # by command name
    replies: Counter[str] = field(default_factory=Counter)  # OK, NO, BAD


@dataclass(slots=True)
class Census:
    """How many connections each key (an address, a user, the process) holds now."""

    held: Counter[str] = field(default_factory=Counter)

    def enter(self, key: str, bound: int) -> bool:
        """Count one more, unless that would pass `bound`."""
        if self.held[key] >= bound:
            return False
        self.held[key] += 1
        return True

    def leave(self, key: str) -> None:
        self.held[key] -= 1
        if self.held[key] <= 0:
            del self.held[key]


@dataclass(slots=True)
class Context:
    """One per server: everything its sessions share."""

    accounts: Accounts
    settings: ImapSettings
    limits: Limits
    clock: Clock
    counters: Counters = field(default_factory=Counters)
    census: Census = field(default_factory=Census)
    tls: ssl.SSLContext | None = None  # what STARTTLS offers; None: no STARTTLS


class Gone(Exception):  # not a fault: the peer has closed the connection
    """The peer is no longer there; nothing more can be said to it."""


class Farewell(Exception):  # not a fault: the connection ends in good order
    """End this session with `* BYE text`."""

    def __init__(self, text: str, code: bytes = b"") -> None:
        super().__init__(text)
        self.code = code


class Channel(Protocol):
    """A connection as its session sees it."""

    peer: str
    secure: bool
    authenticated: bool  # set by the session: moves the timeout from login's to the idle one
    framer: Framer

    async def next_event(self) -> Event:
        """The framer's next event. Gone: the peer left; Farewell: a timeout, or the server stops."""
        ...

    def ready_event(self) -> Event | None:
        """The next event if it has come already."""
        ...

    def send(self, data: bytes) -> None:
        """Queue octets for the peer. Never blocks; the caller waits in `drained`."""
        ...

    async def drained(self) -> None:
        """Returns when the peer has taken most of what was sent. Gone if it left."""
        ...

    async def lost(self) -> None:
        """Returns when the connection is gone."""
        ...

    async def ended(self) -> None:
        """Returns when the peer will send nothing more. Without TLS it may be reading still: only what is sent finds
        out."""
        ...

    @property
    def silent_since(self) -> float:
        """When octets were last sent (monotonic)."""
        ...

    @property
    def compressed(self) -> bool: ...

    def compress(self) -> None:
        """From the next octet on both directions are compressed (RFC 4978), also what has come and was not read."""
        ...

    def stop_compression(self) -> None:
        """From the next octet on both directions are plain again (RFC 8437 section 4.1). Without effect if they are."""
        ...

    async def start_tls(self) -> None:
        """Forget what came in plain text, then shake hands (RFC 9051 section 6.2.1)."""
        ...
