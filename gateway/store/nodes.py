"""Several processes ("nodes") on one database: what they tell each other and how they agree who does what
(decision: adr/0050). Contract; `nodejobs.py` is the SQL, `pgbeat.py` what keeps a node alive.

A node lives as long as its row in `node` is there. Every transaction that writes looks at that row under a share
lock, so that nothing of a node can be committed once another has declared it dead; a node that was declared dead
comes back under another number. Leases and shares have no clock of their own: they hold while their node lives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from gateway.core.types import AccountId, ModSeq


class Hint(IntEnum):
    """The first number of what NOTIFY of the database carries; then the node that says it, then what is listed here.
    Numbers only, and never the news itself: that is read from the tables, and found there when the hint is lost."""

    MESSAGES = 1  # folder, mod-sequence, a sum of `Kind`s
    NEWS = 2  # account
    MEMBERS = 3  # nobody in particular: a node came or went, or a lease is free
    WATCHED = 4  # account
    SHARE = 5  # mailbox


class Kind(IntEnum):
    """What became of messages."""

    NEW = 1
    GONE = 2
    FLAGS = 4


class Topic(IntEnum):
    """What a row of news is about."""

    TREE = 1  # folders were made, renamed, removed, or counted anew
    SUBSCRIBED = 2  # `text`: the name, which is subscribed to or not any more
    ANNOTATED = 3  # `text`: the entry, of the folder or (0) of the account


@dataclass(frozen=True, slots=True)
class News:
    """What another node did to an account."""

    id: int
    topic: Topic
    folder: int
    text: str


@dataclass(frozen=True, slots=True)
class Lease:
    """`id` and `number` name one taking of it: the fence."""

    id: int
    number: int


@dataclass(frozen=True, slots=True)
class Portion:
    """What one node may use of a mailbox: calls in flight, requests in 10 minutes, octets uploaded in 5."""

    node: int
    active: bool
    slots: int
    requests: int
    upload: int


# The lease that what is running now depends on: its writes are refused once somebody else has it.
fence: ContextVar[Lease | None] = ContextVar("lease", default=None)


@contextmanager
def bound(lease: Lease) -> Iterator[None]:
    """Writes inside, also of tasks made inside, take place only while this lease is ours (else Unavailable)."""
    token = fence.set(lease)
    try:
        yield
    finally:
        fence.reset(token)


class Nodes(Protocol):
    """What a node asks of the database. Errors: Unavailable, also where this node was declared dead."""

    async def leases(self, names: Sequence[str]) -> dict[str, Lease]:
        """Those of these that are this node's now; it takes those that nobody has who lives."""
        ...

    async def taken(self, name: str) -> bool:
        """Whether another node that lives has this lease."""
        ...

    async def release(self, name: str) -> None:
        """Give it up; what it fenced cannot be written any more."""
        ...

    async def share(
        self, mailbox: int, decide: Callable[[Sequence[Portion]], Portion | None]
    ) -> Sequence[Portion]:
        """Change this node's portion, one node at a time: `decide` sees those of all that live and says what its own
        is from now on (None: nothing). Returns the others'. Pure and quick; it may be run again."""
        ...

    async def shared(self) -> set[int]:
        """Mailboxes of which this node has a portion and another one has, too."""
        ...

    async def watch(self, account: AccountId, folders: Sequence[int]) -> None:
        """What sessions of this node watch (0: the tree), instead of what they did before."""
        ...

    async def watched(self) -> dict[int, set[int]]:
        """What sessions of other nodes that live watch, by account. One statement."""
        ...

    async def enter(self, account: AccountId) -> tuple[int, int]:
        """The account's key, by which hints name it, and where its news end now."""
        ...

    async def news(self, account: int, after: int) -> list[News]:
        """What other nodes did after this place, in order."""
        ...

    async def newest(self, accounts: Sequence[int]) -> dict[int, int]:
        """The last place of each account's news."""
        ...

    async def levels(self, folders: Sequence[int]) -> dict[int, ModSeq]:
        """Of these folders, as far as they are there, the highest mod-sequence. One statement."""
        ...

    async def orphans(self, kept: Sequence[str]) -> list[AccountId]:
        """Accounts in whose journal is work of nodes that are dead; rows of the `kept` kinds are no work."""
        ...
