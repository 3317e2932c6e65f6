"""What the parts of one account share: its Graph mailbox, its store, its open folders, settings and clock.

One `AccountContext` per account and process. It holds no behaviour of its own: sync, changes, transfer,
append, submit and bodies are functions or small classes over it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.limits import Limits
from gateway.core.types import AccountId, FolderId, MessageId
from gateway.graph.mail import MailboxClient
from gateway.mailbox.duty import Always, Duty
from gateway.mailbox.freshness import Freshness
from gateway.mailbox.outgoing import Outgoing
from gateway.mailbox.sending.identity import Refused
from gateway.mailbox.tidings import Tidings
from gateway.store.api import Applied, FolderRow, Store

ALONE = "gateway"  # the name of a process that has its store to itself
TIDINGS_KEPT = 4096  # changes of mailboxes, and of names, that are remembered for sessions that listen


class Clock(Protocol):
    """Time as an argument; tests move it."""

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        ...

    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says of mailbox behaviour (sections `[imap]` and `[submission]`)."""

    rfc822_size: str = "hybrid"  # "exact" | "hybrid" | "estimate", decision 3
    expunge: str = "trash"  # "trash" | "permanent", decision 8
    read_receipts: str = "suppress"  # "suppress" | "send", decision 7
    poll_interval: float = 15.0  # seconds between deltas of a watched folder
    labels: tuple[str, ...] = ()  # category names of $label1..$label5
    header_mismatch: str = "refuse"
    search_body: str = "auto"  # "auto" | "exact" | "index": SEARCH BODY and TEXT of messages not known here
    search_fetch: int = 200  # messages that one SEARCH reads at most, but for "exact"
    admin: str = ""  # URI of the administrator, /shared/admin of RFC 5464
    quota: int = 0  # octets the mailbox may hold, for QUOTA; 0 = not known, and not announced
    submission_mode: str = "direct"  # "direct": 250 after Graph's answer | "queue": after a row in the outbox
    submission_path: str = (
        "draft"  # "draft": created, then sent, decision 51 | "mime": sendMail in one request
    )
    retry_window: float = 7200.0  # seconds in which an unheard reply makes the same submission a retry
    queue_patience: float = 172_800.0  # seconds after which the outbox gives up
    hostname: str = "localhost"  # under which reports are made (RFC 3464)
    prefetch: int = 8  # messages fetched ahead of a client that reads one after the other; 0: none
    senders: tuple[str, ...] = ()  # as whom the account may send, `*@domain` for all of one; none: not known
    mark_answered: bool = True  # \Answered, $Forwarded on what a submission answers or forwards
    mail_tips: bool = False  # whether recipients are asked for before the message comes
    size_share: float = 0.0  # of the request budget, for making sizes exact in the background; 0: none


class Hubs(Protocol):
    """The only door into a folder's index, whoever caused the change (architecture section 4)."""

    def refresh(self, folder: int, applied: Applied) -> None:
        """Show what a `Store.apply` did to every open view of the folder; a folder nobody has open costs
        nothing."""
        ...

    def dissolve(self, folder: int) -> None:
        """The folder has been destroyed: whoever has it open hears that."""
        ...


@dataclass(slots=True)
class WriteLog:
    """When our own writes of a message ended (monotonic): a delta request begun before that is older than the
    write and must not undo it (invariant 9). Bounded; the oldest entries go first."""

    entries: OrderedDict[MessageId, float] = field(default_factory=OrderedDict)
    bound: int = 20_000

    def ended(self, message: MessageId, at: float) -> None:
        self.entries[message] = at
        self.entries.move_to_end(message)
        while len(self.entries) > self.bound:
            self.entries.popitem(last=False)

    def after(self, message: MessageId, began: float) -> bool:
        """Whether we wrote this message after `began`."""
        ended = self.entries.get(message)
        return ended is not None and ended >= began


@dataclass(slots=True)
class Holds:
    """While a create, copy or move into a folder is in flight, unknown ids that delta shows there are held
    back: they may be ours, and their UID is decided by whoever created them (decision 9). So are they while work that
    was given up waits for being undone (`left`, by journal row), or what it made would be somebody's mail by then.
    Drafts of a submission in flight are hidden by id (decision 10)."""

    creating: dict[FolderId, int] = field(default_factory=dict)
    left: dict[int, FolderId] = field(default_factory=dict)
    copying: Counter[tuple[FolderId, str]] = field(
        default_factory=Counter
    )  # target and source of copies in flight
    undoing: asyncio.Lock = field(default_factory=asyncio.Lock)  # one unfinished COPY at a time

    @contextmanager
    def hold(self, folder: FolderId) -> Iterator[None]:
        self.creating[folder] = self.creating.get(folder, 0) + 1
        try:
            yield
        finally:
            self.creating[folder] -= 1
            if not self.creating[folder]:
                del self.creating[folder]

    @contextmanager
    def copies(self, folder: FolderId, sources: Iterable[str]) -> Iterator[None]:
        """These messages are being copied to the folder."""
        pairs = [(folder, source) for source in sources]
        self.copying.update(pairs)
        try:
            yield
        finally:
            self.copying.subtract(pairs)
            self.copying = +self.copying

    def held(self, folder: FolderId) -> bool:
        return folder in self.creating or folder in self.left.values()


@dataclass(slots=True)
class SentLog:
    """When this process sent which Message-ID (seconds since 1970): tells a copy in Sent Items that is
    accounted for from one that is not, and a client's own copy of it. Bounded; the oldest entries go
    first."""

    entries: OrderedDict[str, list[float]] = field(default_factory=OrderedDict)
    bound: int = 2_000

    def add(self, message_id: str, at: float) -> None:
        times = self.entries.setdefault(message_id, [])
        times.append(at)
        del times[:-100]
        self.entries.move_to_end(message_id)
        while len(self.entries) > self.bound:
            self.entries.popitem(last=False)

    def count(self, message_id: str, since: float) -> int:
        return sum(at >= since for at in self.entries.get(message_id, ()))


@dataclass(slots=True)
class Renewals:
    """New UIDs for equal content in other octets: at most `bound` in one mailbox and day, so that a change of
    Exchange's renderer does not make every client download its mailbox again (decision 4). `rendered` and
    `changed` count, since start, messages found rendered otherwise and such whose content was changed."""

    bound: int = 20
    rendered: int = 0
    changed: int = 0
    day: int = 0  # since 1970
    given: int = 0  # of that day
    alerted: bool = False  # that day
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # one new generation at a time

    def grant(self, now: float) -> bool:
        """Whether one more may be given; it is then counted."""
        if (today := int(now // 86_400)) != self.day:
            self.day, self.given, self.alerted = today, 0, False
        if self.given >= self.bound:
            return False
        self.given += 1
        return True

    def alert(self) -> bool:
        """Whether the administrator has yet to be told today."""
        first, self.alerted = not self.alerted, True
        return first


@dataclass(slots=True)
class AccountContext:
    account: AccountId
    graph: MailboxClient
    store: Store
    hubs: Hubs
    settings: Settings
    limits: Limits
    clock: Clock
    rng: random.Random
    writes: WriteLog = field(default_factory=WriteLog)
    holds: Holds = field(default_factory=Holds)
    sent: SentLog = field(default_factory=SentLog)
    known_fields: OrderedDict[str, None] = field(
        default_factory=OrderedDict
    )  # header fields set as properties before
    outgoing: Outgoing = field(default_factory=Outgoing)
    refused: Refused = field(default_factory=Refused)  # as whom Exchange would not send
    node: str = ALONE  # of several processes on one store each has its own name
    renewals: Renewals = field(default_factory=Renewals)
    building_lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # one hidden folder is enough
    working: set[int] = field(default_factory=set)  # journal rows of work under way in this process
    # some of that work ended amid what it did
    tidings: Tidings = field(default_factory=lambda: Tidings(TIDINGS_KEPT))  # what happened, for who listens
    unfinished: asyncio.Event = field(default_factory=asyncio.Event)
    # by well-known name; kept fresh by the hierarchy
    special: dict[str, FolderRow] = field(default_factory=dict)
    # of the folders there are; kept fresh by the hierarchy
    freshness: Freshness = field(default_factory=Freshness)
    duty: Duty = field(default_factory=Always)  # of the background work, among several processes
    folder_keys: set[int] = field(default_factory=set)
