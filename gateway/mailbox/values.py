"""The values that front ends and a mailbox exchange: rows, changes, results, messages on their way in.

Shapes only; who may be asked for them is in `api`. Mailbox names and errors are as it says.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, Protocol

from gateway.core.errors import GatewayError
from gateway.core.types import Flags, ObjectId, SpecialUse, Uid
from gateway.mime.part import Part

NO_OBJECT_ID = ObjectId("")


class Need(IntFlag):
    """What a row must hold: INDEX is memory, META a listing (hundreds per request), SIZE an exact size by decision 3's
    rule, MIME one GET per message. Without any request: STORED, what the store has in the row (object ids, save date);
    FACTS, `meta` where it is known already. PREVIEW, beside META: one that was not kept is made up for. STRUCTURE,
    beside MIME: both of its renderings."""

    INDEX = 0
    META = 1
    SIZE = 2
    MIME = 4
    FACTS = 8
    STORED = 16
    PREVIEW = 32
    STRUCTURE = 64


class Body(Protocol):
    """One message's octets, wherever they are kept. They never change for one UID (invariant 8)."""

    @property
    def size(self) -> int:
        """Octets; equals RFC822.SIZE once known."""
        ...

    @property
    def part(self) -> Part:
        """The MIME tree, offsets into these octets."""
        ...

    def read(self, start: int, end: int) -> bytes:
        """Octets start..end (end exclusive), short at the end of the message. Never blocks on the network."""
        ...


@dataclass(slots=True)
class Meta:
    """Facts that come with a listing and are pinned when first seen (decision 11).

    `header` is the pinned header block, CRLF line ends, with the empty line at its end; `envelope` the
    rendered ENVELOPE list made from it; `preview` as it goes out (`mime.preview`), "" if there is nothing to show,
    None if it is not known, which Need.PREVIEW rules out.
    """

    header: bytes
    envelope: bytes
    preview: str | None = ""


@dataclass(slots=True)
class Row:
    """One message at the moment a command reads it. `meta` and `body` are set where the Need asked for them;
    `body` is None as well if the message went away in Graph meanwhile. The front end leaves such a row out; so it
    treats one that `rows` leaves out. FETCH by number then ends in NO [EXPUNGEISSUED] (RFC 9051 section 7.5.1 forbids
    EXPUNGE there), UID FETCH in OK (section 6.4.9)."""

    seq: int
    uid: Uid
    flags: Flags
    recent: bool
    modseq: int
    internal_date: int  # seconds since 1970, UTC
    size: int  # octets; exact if seen, else the estimate decision 3 allows
    email_id: ObjectId
    thread_id: ObjectId
    # seconds since 1970, UTC; 0 = not known. It and the object ids: with any Need but INDEX
    save_date: int = 0
    meta: Meta | None = None
    body: Body | None = None
    structure: bytes | None = None  # rendered BODYSTRUCTURE, with Need.STRUCTURE
    basic_structure: bytes | None = None  # rendered BODY, with Need.STRUCTURE


@dataclass(frozen=True, slots=True)
class Derived:
    """Something that follows from a message's facts alone. `key` names it for the whole process; `make` gives octets,
    or text in which to look for strings."""

    key: Hashable
    make: Callable[[Meta], bytes | str] = field(compare=False)


@dataclass(slots=True)
class Columns:
    """Messages of a view, ascending, at one moment; every column has one value for each. `flags` are numbers of
    `flag_sets`. The last `recent` of them are \\Recent. `derived`: a column for each that was asked for, None where a
    message's facts are not to be had any more."""

    seqs: Sequence[int]
    uids: Sequence[int]
    flags: Sequence[int]
    flag_sets: dict[int, Flags]
    modseqs: Sequence[int]
    dates: Sequence[int]
    sizes: Sequence[int]
    recent: int
    derived: list[list[Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.uids)


# -- what a view reports; `drain` returns them in wire order --


@dataclass(frozen=True, slots=True)
class Expunged:
    seq: int
    uid: Uid


@dataclass(frozen=True, slots=True)
class Exists:
    count: int
    recent: int


@dataclass(frozen=True, slots=True)
class Flagged:
    seq: int
    uid: Uid
    flags: Flags
    recent: bool
    modseq: int


Change = Expunged | Exists | Flagged


@dataclass(slots=True)
class Thread:
    """A message and its replies (RFC 5256). `at` is its view position, None for a message that is not there but holds
    its replies together: only at the top, with two replies at least."""

    at: int | None
    children: list[Thread] = field(default_factory=list)


class SearchResult(list[int]):
    """Zero-based view positions, ascending. `notice`: what must be said of an answer that may lack something, safe to
    show; "" of an exact one. `relevancy`: 1 to 100 by position, of a search with FUZZY strings (RFC 6203 section 4)."""

    def __init__(
        self, positions: Iterable[int] = (), notice: str = "", relevancy: Mapping[int, int] | None = None
    ) -> None:
        super().__init__(positions)
        self.notice = notice
        self.relevancy: Mapping[int, int] = relevancy or {}


@dataclass(slots=True)
class StoreResult:
    """`rows`: messages whose flags changed or that the client must hear of (seq, uid, flags, modseq as in FETCH);
    `failed`: UIDs Graph refused (their truth is in `rows`); `modified`: UIDs that failed UNCHANGEDSINCE;
    `error`: why the first failed one failed, as a safe text."""

    rows: list[Flagged] = field(default_factory=list)
    failed: list[Uid] = field(default_factory=list)
    modified: list[Uid] = field(default_factory=list)
    error: Exception | None = None


@dataclass(slots=True)
class CopyResult:
    """COPYUID's numbers, pairwise. Empty lists: nothing was there to copy (answered OK). `error`: why some messages
    of a MOVE stayed where they are; COPY is all or nothing and has none."""

    uid_validity: int
    source: list[Uid]
    target: list[Uid]
    error: GatewayError | None = None


@dataclass(frozen=True, slots=True)
class AppendResult:
    """APPENDUID's numbers: `uids` ascending, in the order in which the messages were given."""

    uid_validity: int
    uids: tuple[Uid, ...]


@dataclass(frozen=True, slots=True)
class MailboxInfo:
    """A row of LIST. `use` is None for ordinary mailboxes; INBOX's children may exist."""

    name: str
    use: SpecialUse | None
    has_children: bool
    selectable: bool
    subscribed: bool
    no_inferiors: bool = False
    mailbox_id: ObjectId = NO_OBJECT_ID


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    name: str
    messages: int
    recent: int
    uid_next: int
    uid_validity: int
    unseen: int
    highest_modseq: int
    deleted: int = 0
    size: int = 0
    mailbox_id: ObjectId = NO_OBJECT_ID
    deleted_size: int = 0  # octets of what is marked \\Deleted (RFC 9208)


class Spool(Protocol):
    """Where an incoming message's octets go: memory at first, an encrypted temporary file beyond a bound."""

    @property
    def size(self) -> int: ...
    async def write(self, data: bytes) -> None:
        """Waits while the process-wide budget of octets in flight is used up."""
        ...

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Octets [start, end), once complete; all of them by default. Large ones are read in pieces, off the loop."""
        ...

    def kept(self) -> AbstractContextManager[None]:
        """While it lasts, `close` waits for its end: for work that outlives who received the message."""
        ...

    async def close(self) -> None:
        """Gives the octets and the budget back. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message to append. `internal_date` in seconds since 1970 UTC, None for now."""

    spool: Spool
    flags: Flags
    internal_date: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client wants to hear of one recipient (RFC 3461 section 4). `notify`: some of SUCCESS, FAILURE, DELAY;
    empty means NEVER, None that nothing was said, which stands for FAILURE and DELAY. `orcpt`: `type;address` with the
    address decoded, or ''."""

    notify: frozenset[str] | None = None
    orcpt: str = ""

    def wants(self, event: str) -> bool:
        return event in (("FAILURE", "DELAY") if self.notify is None else self.notify)


UNASKED = Asked()


@dataclass(frozen=True, slots=True)
class Dsn:
    """What a client said about delivery status notifications (RFC 3461). `ret`: FULL, HDRS, or '' if nothing was said;
    `envid` decoded, or ''; `asked` by recipient, as in `Envelope.recipients`, of those that something was said of."""

    ret: str = ""
    envid: str = ""
    asked: tuple[tuple[str, Asked], ...] = ()

    def of(self, recipient: str) -> Asked:
        return next((asked for address, asked in self.asked if address == recipient), UNASKED)


@dataclass(frozen=True, slots=True)
class Envelope:
    """An SMTP envelope (RFC 5321 section 2.3.1). Addresses as given, without angle brackets; '' is the null path.

    `hold_until`: seconds since 1970 before which nobody may get the message (RFC 4865), 0 for at once. `smtputf8`:
    whether the client announced it (RFC 6531): header and addresses may hold UTF-8."""

    sender: str
    recipients: tuple[str, ...]
    dsn: Dsn = Dsn()
    hold_until: int = 0
    smtputf8: bool = False
