"""What this process knows of an account's submissions beside their rows in the store: what is under way, and whose
reply is still on its way to a client."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from gateway.core.types import FolderId, MessageId

REPLIES = 10_000  # connections whose last reply was a 250; beyond, the oldest count as lost


# Set by a front end for the submission that its task is about to make: whether the client may wait for the reply still.
peer_alive: ContextVar[Callable[[], bool]] = ContextVar("peer_alive", default=lambda: True)


@dataclass(slots=True)
class Reply:
    """The final reply to one submission, owed or given. `settled`: `heard` or `lost` is known."""

    alive: Callable[[], bool]
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Filed:
    """A message a client put into Sent Items before it was submitted. `at`: seconds since 1970."""

    id: MessageId
    folder: int
    folder_id: FolderId
    at: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A message that was answered or forwarded. `due`: to be marked then, seconds since 1970."""

    message_id: bytes
    forwarded: bool
    due: float


@dataclass(slots=True)
class Outgoing:
    """All by queue id. `working`: under way, each with an event for its end. `replies`: while the connection lives and
    nothing came after the reply. `heard`: those whose row is about to say so. `active`: there may be rows to look
    after now and then. `filed`: messages that clients put into Sent Items of late, by Message-ID. `shown`: promised
    copies that a sync has seen. `answers`: marks to be made soon."""

    working: dict[str, asyncio.Event] = field(default_factory=dict)
    replies: OrderedDict[str, Reply] = field(default_factory=OrderedDict)
    heard: set[str] = field(default_factory=set)
    active: bool = True
    filed: OrderedDict[str, Filed] = field(default_factory=OrderedDict)
    shown: set[MessageId] = field(default_factory=set)
    answers: dict[tuple[bytes, bool], Answer] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)  # there is something to do now

    def owe(self, queue_id: str) -> None:
        """A living connection waits for the reply to this one."""
        self.lose(queue_id)  # of two connections the later one counts
        self.replies[queue_id] = Reply(peer_alive.get())
        while len(self.replies) > REPLIES:
            self.lose(next(iter(self.replies)))

    def settle(self, queue_id: str) -> None:
        """The reply was heard, or does not matter."""
        if (reply := self.replies.pop(queue_id, None)) is not None:
            reply.settled.set()

    def lose(self, queue_id: str) -> None:
        """The connection is gone, and perhaps the reply with it."""
        if (reply := self.replies.get(queue_id)) is not None:
            reply.lost = True
            self.settle(queue_id)

    def begin(self, queue_id: str) -> None:
        self.working[queue_id] = asyncio.Event()

    def end(self, queue_id: str) -> None:
        if (ended := self.working.pop(queue_id, None)) is not None:
            ended.set()

    def left(self) -> None:
        """A row was left that is to be tidied away some day."""
        if not self.active:
            self.active = True
            self.wake.set()
