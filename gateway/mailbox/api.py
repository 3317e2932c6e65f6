"""All that a front end may know of a mailbox (IMAP, SMTP, web): protocols and the values they exchange.

Mailbox names here are text with `/` as hierarchy delimiter; `INBOX` is upper case. Errors are those of
`gateway.core.errors`, with texts that are safe to show.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Protocol

from gateway.core.errors import GatewayError
from gateway.core.runs import Runs
from gateway.core.types import FlagChange, Flags, ObjectId, SpecialUse, Uid
from gateway.mailbox.resync import Known
from gateway.mime.part import Part
from gateway.wire.scram import Verifier
from gateway.wire.searchkey import SearchKey
from gateway.wire.sortkey import Criterion, Threading

NO_OBJECT_ID = ObjectId("")


class Need(IntFlag):
    """What a row must hold: INDEX is memory, META a listing (hundreds per request), SIZE an exact size by decision 3's
    rule, MIME one GET per message. Without any request: STORED, what the store has in the row (object ids, save date);
    FACTS, `meta` where it is known already. PREVIEW, beside META: one that was not kept is made up for."""

    INDEX = 0
    META = 1
    SIZE = 2
    MIME = 4
    FACTS = 8
    STORED = 16
    PREVIEW = 32


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
    save_date: int = 0  # seconds since 1970, UTC; 0 = not known. It and the object ids: with any Need but INDEX
    meta: Meta | None = None
    body: Body | None = None
    structure: bytes | None = None  # rendered BODYSTRUCTURE, with Need.MIME
    basic_structure: bytes | None = None  # rendered BODY, with Need.MIME


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


class View(Protocol):
    """What one session was told of a mailbox: sequence numbers move only in `drain` (invariant 3)."""

    @property
    def uids(self) -> array[int]:
        """UIDs announced, ascending; index + 1 is the sequence number. Not to be changed by the caller."""
        ...

    @property
    def count(self) -> int: ...
    @property
    def recent(self) -> int:
        """How many announced messages are \\Recent in this view."""
        ...

    @property
    def told(self) -> int:
        """The mod-sequence up to which the client was told everything, at least 1: what it may come back with
        (HIGHESTMODSEQ, RFC 7162 section 3.1.2.1). It never falls."""
        ...

    @property
    def delayed(self) -> bool:
        """Whether expunges wait that are older than flags the client was told of."""
        ...

    def drop_recent(self) -> None:
        """No message is \\Recent in this view any more, nor will be (IMAP4rev2 has no such flag)."""
        ...

    def seq(self, uid: int) -> int:
        """0 = not announced. O(log n)."""
        ...

    def tell(self, uids: Sequence[int]) -> None:
        """The session will announce these messages' present flags itself: do not echo them."""
        ...

    def drain(self, *, expunge: bool) -> list[Change]:
        """Everything the client has not heard yet: expunges (highest first; only if allowed), then EXISTS,
        then flags. After it returns the view's numbers are the new ones."""
        ...

    def pending(self) -> bool:
        """Whether `drain(expunge=True)` would say something. O(1) when nothing happened."""
        ...


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


class Folder(Protocol):
    """An open mailbox of one session (SELECT or EXAMINE)."""

    name: str
    read_only: bool
    uid_validity: int

    @property
    def view(self) -> View: ...
    @property
    def gone(self) -> bool:
        """Whether the mailbox has been destroyed while it was open; `changed` returns then."""
        ...

    @property
    def uid_next(self) -> int: ...
    @property
    def highest_modseq(self) -> int: ...
    @property
    def mailbox_id(self) -> ObjectId: ...
    def keywords(self) -> list[bytes]:
        """Keywords in use in this mailbox, sorted, each in one spelling."""
        ...

    @property
    def takes_keywords(self) -> bool:
        """Whether a client may bring in another one (`\\*` in PERMANENTFLAGS)."""
        ...

    def first_unseen(self) -> int:
        """Sequence number of the first message without \\Seen, 0 if none."""
        ...

    def newer(self, at: Sequence[range], modseq: int) -> list[range]:
        """Those of these view positions whose mod-sequence is higher (CHANGEDSINCE). Reads no row; linear."""
        ...

    def highest_of(self, at: Iterable[int]) -> int:
        """The highest mod-sequence of the messages at these view positions, 0 of none."""
        ...

    async def vanished(self, known: Known) -> Runs:
        """Which of the UIDs a client knows it may forget, as far as they are not in the view."""
        ...

    def rows(self, at: Sequence[range], need: Need) -> AsyncIterator[list[Row]]:
        """Messages at these zero-based view positions, in order, in batches of at most `limits.rows_per_batch`.
        Positions stay valid until the next `drain`. Errors: Unavailable, LimitReached."""
        ...

    async def search(self, key: SearchKey) -> SearchResult:
        """The messages that match, exactly (RFC 9051 section 6.4.4) unless a notice says otherwise. Errors:
        Unavailable, LimitReached."""
        ...

    async def sort(
        self, at: Sequence[int], criteria: Sequence[Criterion], relevancy: Mapping[int, int] = ...
    ) -> list[int]:
        """These view positions (ascending) in the order of the criteria, equal ones by number. From stored facts; what
        is not known yet is listed, hundreds of messages a request. `relevancy`: as `SearchResult` has it."""
        ...

    async def thread(self, at: Sequence[int], algorithm: Threading) -> list[Thread]:
        """These view positions (ascending) as threads, in the order of RFC 5256. Costs what SORT costs."""
        ...

    async def store(self, uids: Sequence[Uid], change: FlagChange) -> StoreResult: ...
    async def copy(self, uids: Sequence[Uid], target: str) -> CopyResult:
        """All or nothing. NoSuchMailbox: the caller answers [TRYCREATE]."""
        ...

    async def move(self, uids: Sequence[Uid], target: str) -> CopyResult:
        """What was moved; the source's view reports it as Expunged at the next drain."""
        ...

    async def replace(self, old: Uid, target: str, message: Incoming) -> AppendResult:
        """Put `message` into `target` and remove `old` from here: both or neither (RFC 8508). Expired: it is gone."""
        ...

    async def expunge(self, uids: Sequence[Uid] | None) -> None:
        """Remove messages with \\Deleted (of these UIDs, or all). The views report it at their next drain."""
        ...

    async def poll(self, *, force: bool = False) -> None:
        """Bring the mailbox up to date with Graph if it is older than the poll interval (or `force`)."""
        ...

    async def changed(self) -> None:
        """Returns when `view.drain` would say something. No lost wake-up."""
        ...

    async def close(self) -> None: ...


class Spool(Protocol):
    """Where an incoming message's octets go: memory at first, an encrypted temporary file beyond a bound."""

    @property
    def size(self) -> int: ...
    async def write(self, data: bytes) -> None:
        """Waits while the process-wide budget of octets in flight is used up."""
        ...

    def read(self) -> bytes:
        """All octets, once complete."""
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
class Envelope:
    """An SMTP envelope (RFC 5321 section 2.3.1). Addresses as given, without angle brackets; '' is the null path."""

    sender: str
    recipients: tuple[str, ...]


class Account(Protocol):
    """A mailbox owner's view of his mailbox: one per account and process, shared by its sessions."""

    name: str

    async def folders(self) -> list[MailboxInfo]:
        """The whole hierarchy, sorted, INBOX first."""
        ...

    async def status(self, names: Sequence[str], *, sizes: bool = False) -> list[MailboxStatus]:
        """In the order asked for. NoSuchMailbox for the first unknown one. `sizes`: `size` is asked for; it is at
        least the sum of the messages' sizes, and may be dearer to learn than the rest."""
        ...

    async def open(self, name: str, *, read_only: bool) -> Folder: ...
    async def look(self, name: str, *, flags: bool) -> Folder:
        """Open to be searched once, and closed: up to date as STATUS is, with `flags` as SELECT is. NoSuchMailbox."""
        ...

    async def create(self, name: str, uses: Sequence[bytes] = ()) -> None:
        """With the levels above that are missing. `uses`: special uses it shall have; UseRefused, and nothing is made,
        where it cannot (RFC 6154 section 3)."""
        ...

    async def delete(self, name: str) -> None: ...
    async def rename(self, source: str, target: str) -> None: ...
    async def subscribe(self, name: str, on: bool) -> None: ...
    async def subscriptions(self) -> list[str]:
        """Subscribed names, also of mailboxes that are gone."""
        ...

    async def metadata(self, name: str) -> dict[str, bytes]:
        """All entries of a mailbox, or of the server ("" as name), by name in lower case (RFC 5464)."""
        ...

    async def metadata_of_all(self, entries: Sequence[str]) -> dict[str, dict[str, bytes]]:
        """These entries, in lower case, of every mailbox, by its name; what is not set is left out."""
        ...

    async def set_metadata(self, name: str, changes: Mapping[str, bytes | None], writer: int) -> None:
        """All or none. `writer`: the session's number. TooManyAnnotations, AnnotationTooBig, CannotDo, UseRefused."""
        ...

    @property
    def metadata_serial(self) -> int:
        """Grows with every change of an entry, by whomever."""
        ...

    def metadata_news(self, serial: int, reader: int) -> dict[str, list[str]]:
        """Entries that others than `reader` changed after `serial`, by mailbox ("" is the server)."""
        ...

    async def metadata_changed(self, serial: int) -> None:
        """Returns when an entry was changed after `serial`."""
        ...

    @property
    def quota(self) -> int:
        """Octets the mailbox may hold; 0 where nobody has told, and there is no QUOTA then (RFC 9208)."""
        ...

    async def storage_used(self) -> int:
        """Octets of all messages, by our own sizes; of folders not read yet by their count and the mean size."""
        ...

    def append_limit(self) -> int: ...
    async def check_append(self, name: str, size: int) -> None:
        """Before the literal is accepted: NoSuchMailbox, TooBig, CannotDo."""
        ...

    def spool(self, expected: int, beside: Spool | None = None) -> Spool:
        """For a message of `expected` octets, 0 if unknown. `beside`: another one of the same command, whose share of
        the budget grows, so that commands of several messages cannot wait for each other."""
        ...

    async def append(self, name: str, messages: Sequence[Incoming]) -> AppendResult:
        """All of them or, with an error, none (RFC 3502)."""
        ...

    async def submit(self, envelope: Envelope, spool: Spool) -> str:
        """Send; returns a queue id for the reply. SubmissionRefused or Unavailable otherwise."""
        ...


class Accounts(Protocol):
    """Who may log in, and their mailboxes."""

    async def authenticate(self, user: str, password: str, peer: str) -> Account:
        """AuthenticationFailed after the delay the caller applies; Unavailable if the account cannot be opened.
        argon2 runs off the loop; a verified credential is remembered as a keyed hash (decision 15)."""
        ...

    @property
    def scram(self) -> bool:
        """Whether SCRAM-SHA-256 may be offered: every user has a verifier."""
        ...

    def verifier(self, user: str) -> Verifier:
        """For an exchange of `wire.scram`; of users there are not: one that no proof fits."""
        ...

    async def admit(self, user: str, peer: str) -> Account:
        """The account of a user who has proved by such an exchange who he is. Unavailable as `authenticate`."""
        ...
