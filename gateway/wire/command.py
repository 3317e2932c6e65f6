"""One frozen class per IMAP command (RFC 3501 section 6, RFC 9051 section 6): parse to a value, then execute.

Mailbox names are decoded text (modified UTF-7 undone) with `/` as hierarchy delimiter, `INBOX` in upper case
whatever its spelling was. A command that fails to parse is `BadCommand` from `core.errors`; `framer.tag_of`
finds its tag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gateway.core.runs import Runs
from gateway.core.types import FlagChange, Flags
from gateway.wire.fetchatt import FetchItem
from gateway.wire.page import Page
from gateway.wire.searchkey import SearchKey


@dataclass(frozen=True, slots=True)
class Command:
    tag: bytes


# -- any state --


@dataclass(frozen=True, slots=True)
class Capability(Command): ...


@dataclass(frozen=True, slots=True)
class Noop(Command): ...


@dataclass(frozen=True, slots=True)
class Logout(Command): ...


@dataclass(frozen=True, slots=True)
class Id(Command):
    """RFC 2971; at most 30 fields, None for NIL."""

    params: tuple[tuple[bytes, bytes | None], ...]


# -- not authenticated --


@dataclass(frozen=True, slots=True)
class StartTls(Command): ...


@dataclass(frozen=True, slots=True)
class Authenticate(Command):
    """`initial` is the raw base64 text of SASL-IR (RFC 4959), b"=" for an empty one, None if absent."""

    mechanism: bytes
    initial: bytes | None


@dataclass(frozen=True, slots=True)
class Login(Command):
    user: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"Login(tag={self.tag!r}, user=..., password=...)"


# -- authenticated --


@dataclass(frozen=True, slots=True)
class Compress(Command):
    """RFC 4978; `algorithm` in upper case."""

    algorithm: bytes


@dataclass(frozen=True, slots=True)
class Unauthenticate(Command):
    """RFC 8437."""


@dataclass(frozen=True, slots=True)
class Enable(Command):
    capabilities: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Resync:
    """QRESYNC's argument (RFC 7162 section 3.2.5): what the client knows of the mailbox. `known`: its UIDs, None for
    all there ever were. `match`: message numbers and the UIDs it had under them, as many of each."""

    uid_validity: int
    modseq: int
    known: Runs | None = None
    match: tuple[Runs, Runs] | None = None


@dataclass(frozen=True, slots=True)
class Select(Command):
    mailbox: str
    condstore: bool = False
    qresync: Resync | None = None


@dataclass(frozen=True, slots=True)
class Examine(Command):
    mailbox: str
    condstore: bool = False
    qresync: Resync | None = None


@dataclass(frozen=True, slots=True)
class Create(Command):
    """`uses`: RFC 6154's attributes, as `\\Archive`, in the case the client wrote."""

    mailbox: str
    uses: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete(Command):
    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename(Command):
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Subscribe(Command):
    mailbox: str


@dataclass(frozen=True, slots=True)
class Unsubscribe(Command):
    mailbox: str


@dataclass(frozen=True, slots=True)
class List(Command):
    """LIST; the extended forms (RFC 5258, RFC 6154, RFC 5819) fill the last three."""

    reference: str
    patterns: tuple[str, ...]
    selection: tuple[bytes, ...] = ()  # upper case: SUBSCRIBED REMOTE RECURSIVEMATCH SPECIAL-USE
    returns: tuple[bytes, ...] = ()  # upper case: SUBSCRIBED CHILDREN SPECIAL-USE STATUS METADATA
    status_items: tuple[bytes, ...] = ()
    extended: bool = False
    entries: tuple[str, ...] = ()  # of METADATA (RFC 9590)


@dataclass(frozen=True, slots=True)
class Lsub(Command):
    reference: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Namespace(Command): ...


@dataclass(frozen=True, slots=True)
class Status(Command):
    """Items in upper case; which there are: `grammar_mailbox.STATUS_ITEMS`."""

    mailbox: str
    items: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Announcement:
    """What precedes a message's octets in APPEND and REPLACE: what to decide on before `+` is sent.

    `internal_date` is seconds since 1970 UTC, None for now. `size` is the literal's octets; `binary`: it is a
    literal8 (RFC 3516); `utf8`: in the form `UTF8 (~{n}` (RFC 6855 section 4), whose parenthesis follows it.
    """

    flags: Flags
    internal_date: int | None
    size: int
    zone_minutes: int = 0
    binary: bool = False
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class GetMetadata(Command):
    """RFC 5464 section 4.2. An empty mailbox is the server. `depth`: levels below each entry, None for all."""

    mailbox: str
    entries: tuple[str, ...]
    max_size: int | None = None
    depth: int | None = 0


@dataclass(frozen=True, slots=True)
class SetMetadata(Command):
    """RFC 5464 section 4.3. Entries in lower case, each once; None takes one away."""

    mailbox: str
    changes: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class GetQuota(Command):
    """RFC 9208 section 4.1.1."""

    root: bytes


@dataclass(frozen=True, slots=True)
class GetQuotaRoot(Command):
    mailbox: str


@dataclass(frozen=True, slots=True)
class SetQuota(Command):
    """Resources in upper case, limits in the resource's unit."""

    root: bytes
    resources: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class AppendStart(Command):
    """APPEND up to its first message's literal. The message's octets follow as chunks, never in a command value;
    after them another `Announcement` (RFC 3502) or the command's end."""

    mailbox: str
    first: Announcement


@dataclass(frozen=True, slots=True)
class ReplaceStart(Command):
    """REPLACE and UID REPLACE up to their message's literal (RFC 8508). `id`: one number, 0 in its range is `*`."""

    by_uid: bool
    id: Runs
    mailbox: str
    first: Announcement


@dataclass(frozen=True, slots=True)
class Idle(Command): ...


# -- selected --


@dataclass(frozen=True, slots=True)
class Check(Command): ...


@dataclass(frozen=True, slots=True)
class Close(Command): ...


@dataclass(frozen=True, slots=True)
class Unselect(Command): ...


@dataclass(frozen=True, slots=True)
class Expunge(Command): ...


@dataclass(frozen=True, slots=True)
class UidExpunge(Command):
    ids: Runs


@dataclass(frozen=True, slots=True)
class Search(Command):
    """`returns` is None for plain SEARCH, else ESEARCH's options in upper case (`grammar_returns.OPTIONS`); `page` is
    PARTIAL's range, `items` what UPDATE is to fetch of new messages (RFC 5465 section 7)."""

    by_uid: bool
    key: SearchKey
    returns: tuple[bytes, ...] | None = None
    page: Page | None = None
    items: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetch(Command):
    by_uid: bool
    ids: Runs
    items: tuple[FetchItem, ...]
    changed_since: int | None = None
    vanished: bool = False
    page: Page | None = None  # RFC 9394, of UID FETCH


@dataclass(frozen=True, slots=True)
class Store(Command):
    by_uid: bool
    ids: Runs
    change: FlagChange
    silent: bool


@dataclass(frozen=True, slots=True)
class Copy(Command):
    by_uid: bool
    ids: Runs
    mailbox: str


@dataclass(frozen=True, slots=True)
class Move(Command):
    by_uid: bool
    ids: Runs
    mailbox: str


class Marker:
    """Continuation lines that are not commands."""

    IDLE_DONE: ClassVar[bytes] = b"DONE"
    SASL_CANCEL: ClassVar[bytes] = b"*"
