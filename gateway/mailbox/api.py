"""All that a front end may ask of a mailbox (IMAP, SMTP, web): protocols; the values they exchange are in `values`.

Mailbox names here are text with `/` as hierarchy delimiter; `INBOX` is upper case. Errors are those of
`gateway.core.errors`, with texts that are safe to show.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from gateway.core.runs import Runs
from gateway.core.types import FlagChange, ObjectId, Uid
from gateway.mailbox.resync import Known
from gateway.mailbox.tidings import Listening
from gateway.mailbox.values import (
    AppendResult,
    Change,
    Columns,
    CopyResult,
    Derived,
    Envelope,
    Incoming,
    MailboxInfo,
    MailboxStatus,
    Need,
    Row,
    SearchResult,
    Spool,
    StoreResult,
    Thread,
)
from gateway.wire.scram import Verifier
from gateway.wire.searchkey import SearchKey
from gateway.wire.sortkey import Criterion, Threading


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

    def drain(self, *, expunge: bool, flags: bool = True) -> list[Change]:
        """Everything the client has not heard yet: expunges (highest first; only if allowed), then EXISTS,
        then flags (only if wanted; they are not lost). After it returns the view's numbers are the new ones."""
        ...

    def pending(self, *, expunge: bool = True, flags: bool = True) -> bool:
        """Whether such a `drain` would say something. O(1) when nothing happened."""
        ...


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

    def columns(
        self, at: Sequence[range], need: Need, derived: Sequence[Derived]
    ) -> AsyncIterator[Columns] | None:
        """The same messages as columns, with those derived from their header facts. `need`: INDEX, SIZE, META. None
        where they must be read row by row: sizes that have to be made exact. Errors: Unavailable, LimitReached."""
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

    async def changed(self, *, messages: bool = True, expunge: bool = True, flags: bool = True) -> None:
        """Returns when such a `view.drain` would say something, or the mailbox is gone; without `messages`, only
        then. No lost wake-up."""
        ...

    async def close(self) -> None: ...


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

    async def known_folders(self) -> list[MailboxInfo]:
        """The hierarchy as it is known, without asking Graph."""
        ...

    async def known_status(self, names: Sequence[str]) -> list[MailboxStatus]:
        """What is known of these mailboxes, without asking Graph. Those that are gone are left out."""
        ...

    def listen(self, reader: int) -> Listening:
        """An ear for what happens from now on. `reader`: the session's number."""
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
    async def check_append(self, name: str, size: int, keywords: Collection[bytes] = ()) -> None:
        """Before the literal is accepted; `keywords` of all messages of the command so far. NoSuchMailbox, TooBig,
        CannotDo, LimitReached."""
        ...

    def spool(self, expected: int, beside: Spool | None = None) -> Spool:
        """For a message of `expected` octets, 0 if unknown. `beside`: another one of the same command, whose share of
        the budget grows, so that commands of several messages cannot wait for each other."""
        ...

    async def append(self, name: str, messages: Sequence[Incoming]) -> AppendResult:
        """All of them or, with an error, none (RFC 3502)."""
        ...

    async def check_sender(self, sender: str) -> None:
        """Before a message from `sender` comes, '' being the null path: SubmissionRefused if it is known that the
        account may not send as him (RFC 5321 section 3.3)."""
        ...

    async def check_recipient(self, recipient: str, ahead: Callable[[], Sequence[str]], size: int) -> None:
        """Before a message of `size` octets (0: not told) comes: SubmissionRefused if `recipient` is known not to get
        it. `ahead` tells whom the client will name next: one question to Graph is enough for all."""
        ...

    async def submit(self, envelope: Envelope, spool: Spool) -> str:
        """Send; returns a queue id for the reply. SubmissionRefused or Unavailable otherwise."""
        ...

    async def heard(self, queue_id: str) -> None:
        """The client went on after it was told so: the same submission from now on is another one."""
        ...

    def lost(self, queue_id: str) -> None:
        """The connection ended after the 250, and no command had come: the same submission may be the client's retry.
        Exactly one of `heard` and `lost` follows each queue id, unless `submit` was cancelled."""
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
