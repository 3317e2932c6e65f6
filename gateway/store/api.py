"""The store's contract (architecture decisions 1, 4, 9, 14; invariants 1, 2, 6, 7). Interface; `sqlite.py` is
an engine.

Every method is async and atomic: one short transaction, none open when it returns. Writes to a folder are
serialised by the engine (invariant 1): UIDs and mod-sequences become visible in the order they were
allocated. Ids are compared as bytes (trap 7). All times are integer seconds since 1970 UTC unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.types import AccountId, Flags, FolderId, MessageId, ModSeq, Uid
from gateway.store.outgoing import Submissions
from gateway.store.quotas import Quotas
from gateway.store.syncing import Syncing


@dataclass(slots=True)
class FolderRow:
    """A mailbox as the store knows it. `key` is the store's own number for (account, Graph folder id)."""

    key: int
    account: AccountId
    id: FolderId
    parent: FolderId
    name: str  # Graph's displayName
    well_known: str  # "inbox", ... or ""
    hidden: bool
    total: int  # Graph's totalItemCount, as last heard
    unread: int
    uid_validity: int
    uid_next: int  # R+1 before the first sync is done
    modseq: ModSeq  # highest of this folder
    reserved: int  # R: UIDs 1..R belong to the first sync (decision 1)
    ready: bool  # first sync done: views may open
    delta_link: str
    recent_from: int  # UIDs from here on have not been \\Recent to anybody
    synced_at: int
    mailbox_id: str  # RFC 8474 object id


@dataclass(slots=True)
class FolderUpsert:
    """A folder as Graph told it; None = not told, keep."""

    id: FolderId
    parent: FolderId | None = None
    name: str | None = None
    well_known: str | None = None
    hidden: bool | None = None
    total: int | None = None
    unread: int | None = None


@dataclass(slots=True)
class MessageRow:
    """A message in a folder. `size` is exact if `size_exact`. `etag`, `modified`: invariant 9."""

    uid: Uid
    id: MessageId
    modseq: ModSeq
    flags: Flags
    internal_date: int
    size: int
    size_exact: bool
    email_id: str
    thread_id: str
    save_date: int
    etag: str
    modified: int


ABSENT = "absent"  # no etag is spelt so


@dataclass(slots=True)
class Upsert:
    """A message as it now is in this folder. A new id gets a UID; a known one keeps it.

    `uid` is set only where a UID was reserved beforehand (`reserve_uids`; else ValueError). It is used unless
    a higher UID became visible meanwhile: UIDs appear in ascending order, a late message gets a fresh one, so
    read the answer's row (or `find`, if the id was known already) before naming the UID to anybody.
    `new_generation` ends the old UID (tombstone), gives a new one and forgets facts, pin and original: the
    content changed (decision 4). None keeps what is stored; without `email_id` a new row derives its own.
    An exact size is never replaced by an estimate. `known_only`: nothing is done if the message is not in the
    folder any more; it may have left while Graph was asked about it, and must not come back. `base`: what this was
    decided upon, the etag the row had, or ABSENT; where it is another by now, or somebody is just putting messages
    there, nothing is done either, and the id is in `Applied.passed`.
    """

    id: MessageId
    flags: Flags | None = None
    internal_date: int | None = None
    size: int | None = None
    size_exact: bool = False
    email_id: str | None = None
    thread_id: str | None = None
    save_date: int | None = None
    etag: str | None = None
    modified: int | None = None
    uid: Uid | None = None
    new_generation: bool = False
    known_only: bool = False
    base: str | None = None


@dataclass(slots=True)
class Applied:
    """What one `apply` did: the folder's highest mod-sequence and the rows that changed, tombstones by UID.

    `advanced`: this apply made that mod-sequence, one above the last. Otherwise it was so before: what made
    it is another's `Applied`, which may still be on its way to whoever gathers them. `born`: so many of the rows
    are new. `passed`: ids of upserts that were decided on what is so no more; then no link was stored.
    `overtaken`: nothing was done, for the link was not the one it went on from.
    """

    modseq: ModSeq
    rows: list[MessageRow] = field(default_factory=list)
    gone: list[Uid] = field(default_factory=list)
    advanced: bool = False
    born: int = 0
    passed: list[MessageId] = field(default_factory=list)
    overtaken: bool = False


@dataclass(slots=True)
class Delta:
    """Rows and tombstones after a mod-sequence, ascending by UID. `complete` is False if tombstones that old
    were pruned: compare in full."""

    modseq: ModSeq
    rows: list[MessageRow]
    gone: list[tuple[Uid, ModSeq]]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Counts:
    """What STATUS asks of a folder whose first sync is done."""

    messages: int
    unseen: int
    recent: int
    deleted: int
    size: int  # octets; exact or estimated, row by row
    uid_next: int
    modseq: ModSeq
    deleted_size: int = 0  # octets of what is marked \\Deleted
    estimated: int = 0  # octets of those whose size is not exact
    unseen_by_us: int = 0  # how many those are


@dataclass(slots=True)
class Undescribed:
    """Where header facts are lacking. `dates`: internal dates of all messages of the folder, ascending; `rows`: UID,
    id and internal date of those without facts whose octets are not ours either, by (date, UID)."""

    dates: list[int]
    rows: list[tuple[Uid, MessageId, int]]


@dataclass(slots=True)
class Pin:
    """The first-bytes record (decision 4): the MIME header itself, the rest by length and SHA-256; `content` is
    the digest of the decoded parts, b"" if it was never taken."""

    header: bytes
    rest_length: int
    rest_sha256: bytes
    content: bytes = b""


@dataclass(slots=True)
class Facts:
    """Rendered once and stored: the pinned header block (decision 11), ENVELOPE, preview (None: nobody made one yet),
    structures (None until MIME was seen)."""

    header: bytes
    envelope: bytes
    preview: str | None
    structure: bytes | None = None
    basic_structure: bytes | None = None


@dataclass(slots=True)
class Local:
    """What Graph has no place for, keyed by immutable id, surviving any resync (invariant 6): the union of
    verbs (\\Answered and $Forwarded at once), machine keywords, and whether the mark that Graph has for \\Deleted is
    what an EXPUNGE left behind: then it counts for nothing (`undeleted`)."""

    answered: bool = False
    forwarded: bool = False
    keywords: frozenset[bytes] = frozenset()
    undeleted: bool = False


@dataclass(slots=True)
class JournalRow:
    """Work that creates something or takes more than one Graph call (invariant 2): finished or undone at start."""

    id: int
    account: AccountId
    kind: str
    payload: bytes  # msgpack/JSON, at most 64 KiB; bytes of messages live in blobs
    created: int
    elsewhere: bool = False  # another node's work


class Store(Submissions, Syncing, Quotas, Protocol):
    # -- life --
    async def open(self) -> None:
        """Migrates. An unknown newer schema is a clear error."""
        ...

    async def close(self) -> None: ...

    # -- folders --
    async def folders(self, account: AccountId) -> list[FolderRow]: ...
    async def folder(self, account: AccountId, id: FolderId) -> FolderRow | None: ...
    async def put_folders(
        self,
        account: AccountId,
        upserts: Sequence[FolderUpsert],
        gone: Sequence[FolderId],
        *,
        link: str | None,
    ) -> list[FolderRow]:
        """Create, update, remove; new ones get UIDVALIDITY from the account's counter (seeded by the clock,
        never repeated, also after delete) and a reserved range R = total*1.1+1000. Stores the hierarchy's
        delta link. Returns all folders."""
        ...

    async def hierarchy_link(self, account: AccountId) -> str: ...
    async def subscriptions(self, account: AccountId) -> set[str]: ...
    async def subscribe(self, account: AccountId, name: str, on: bool) -> None: ...
    async def rename_subscriptions(self, account: AccountId, source: str, target: str) -> None: ...

    # -- annotations (RFC 5464): by folder key, None for the account's own; entries in lower case --
    async def annotations(self, account: AccountId, folder: int | None) -> dict[str, bytes]:
        """All of one mailbox, sorted by entry."""
        ...

    async def annotations_of_all(
        self, account: AccountId, entries: Sequence[str]
    ) -> dict[int, dict[str, bytes]]:
        """These entries of every mailbox that has any of them, by folder key."""
        ...

    async def put_annotations(
        self, account: AccountId, folder: int | None, changes: Mapping[str, bytes | None]
    ) -> None:
        """All or none; None takes an entry away. NoSuchMailbox if the folder was removed meanwhile. A folder's
        annotations go with it."""
        ...

    async def annotation_octets(self, account: AccountId) -> int:
        """What all annotations of the account count for, names and values."""
        ...

    async def storage(self, account: AccountId) -> tuple[int, int]:
        """Messages and their octets (exact or estimated) in all folders of the account whose first sync is done."""
        ...

    # -- messages --
    async def messages(self, folder: int) -> list[MessageRow]:
        """All, ascending by UID."""
        ...

    async def counts(self, folder: int) -> Counts:
        """One aggregate query, no rows."""
        ...

    async def find(self, folder: int, ids: Sequence[MessageId]) -> dict[MessageId, MessageRow]: ...
    async def by_uid(self, folder: int, uids: Sequence[Uid]) -> dict[Uid, MessageRow]: ...
    async def ids(self, folder: int) -> dict[MessageId, Uid]: ...
    async def undescribed(self, folder: int) -> Undescribed:
        """Which messages of the folder have no facts yet. NoSuchMailbox."""
        ...

    async def estimated(self, folder: int, below: int, count: int) -> list[MessageRow]:
        """The newest `count` messages under UID `below` whose size is an estimate, by descending UID."""
        ...

    async def apply(
        self, folder: int, upserts: Sequence[Upsert], gone: Sequence[MessageId], *,
        link: str | None = None, after: str | None = None,
    ) -> Applied:  # fmt: skip
        """One transaction: `gone` first, then `upserts` in order. A row that did not change gets no new
        mod-sequence and is not in the answer; new rows and changed flags get the folder's next one; a change
        of anything else (size, etag, dates, object ids) is in the answer under the old one. `link` is stored
        with it: a crash never has rows without the link or a link without its rows. `after`: the link this goes on
        from; if another process has stored another one meanwhile, nothing is done. In a folder that is not
        `ready` this is for what APPEND, COPY and MOVE land; those keep their UIDs when the first sync
        finishes. NoSuchMailbox if the folder was removed meanwhile."""
        ...

    async def newest(self, folder: int, count: int) -> list[MessageRow]:
        """By descending UID."""
        ...

    async def rebind(self, folder: int, old: MessageId, new: MessageId) -> bool:
        """The row of `old` stands for `new` from now on: same UID, mod-sequence, flags, EMAILID, and original, local
        state; without etag, and without facts, which are to be put again. False, and nothing, if `old` has no row
        there, or `new` has one. NoSuchMailbox."""
        ...

    async def since(self, folder: int, modseq: ModSeq) -> Delta: ...
    async def expunged(self, folder: int, modseq: ModSeq) -> list[Uid] | None:
        """UIDs that ended after this mod-sequence, ascending: `since` without its rows. None if tombstones that old
        were pruned. NoSuchMailbox."""
        ...

    async def reserve_uids(self, folder: int, count: int) -> list[Uid]:
        """UIDs above everything announced or reserved (COPY, MOVE, APPEND know their UID before Graph answers)."""
        ...

    async def take_recent(self, folder: int) -> int:
        """The first read-write SELECT takes \\Recent: returns the watermark (UIDs >= it are recent to this
        view) and moves it to UIDNEXT (decision 14)."""
        ...

    # -- first sync (decision 1) --
    async def stage(self, folder: int, upserts: Sequence[Upsert], *, link: str | None) -> int:
        """Keep rows without UIDs; returns how many are staged. Idempotent by id; restart continues."""
        ...

    async def staged(self, folder: int) -> int: ...
    async def staged_ids(self, folder: int) -> set[MessageId]:
        """Also those a first sync staged that was cut short: they may be gone since."""
        ...

    async def unstage(self, folder: int, ids: Sequence[MessageId]) -> None: ...
    async def finish_first_sync(self, folder: int, *, link: str) -> Applied:
        """Assign 1..n in (internal_date, id) order in one transaction, mark ready."""
        ...

    async def set_link(self, folder: int, link: str) -> None: ...

    # -- facts and bytes --
    async def facts(self, account: AccountId, ids: Sequence[MessageId]) -> dict[MessageId, Facts]: ...
    async def put_facts(
        self, account: AccountId, facts: dict[MessageId, Facts], *, told: bool = True
    ) -> dict[MessageId, Facts]:
        """Insert if absent, except that structures are filled in; returns what is stored now (the loser adopts), unless
        nobody wants to be `told`."""
        ...

    async def put_previews(self, account: AccountId, previews: dict[MessageId, str]) -> None:
        """Fill in those that are None; facts that are not there are not made."""
        ...

    async def pin(self, account: AccountId, id: MessageId, pin: Pin) -> Pin:
        """Insert if absent; returns what is stored."""
        ...

    async def pinned(self, account: AccountId, id: MessageId) -> Pin | None: ...
    async def replace_pin(self, account: AccountId, id: MessageId, pin: Pin) -> None:
        """The UID is kept though other octets are served from now on (decision 4): this pin instead of the old one,
        and the structures, which were of the old octets, forgotten. Header block, ENVELOPE and preview stay."""
        ...

    async def drop_content(self, account: AccountId, ids: Sequence[MessageId]) -> None:
        """Forget facts, pins and the reference to an original: content changed (`new_generation` does it
        by itself) or the message is gone everywhere. Local state stays (invariant 6)."""
        ...

    # -- searchable texts: what SEARCH BODY looks at, decoded and folded, by the name of the content (EMAILID) --
    async def texts(self, account: AccountId, contents: Sequence[str]) -> dict[str, str]:
        """Those that are kept; the others must be made from the octets again."""
        ...

    async def put_texts(self, account: AccountId, found: Mapping[str, str]) -> None:
        """Keep them, sealed, within the store's bound: the oldest go first, at any time. The last put counts."""
        ...

    # -- sort facts --
    async def sort_blocks(self, folder: int) -> dict[int, bytes]:
        """What `put_sort_blocks` kept, by number."""
        ...

    async def put_sort_blocks(self, folder: int, blocks: dict[int, bytes]) -> None:
        """Insert or replace, sealed; they go with the folder. Derived: whoever wants them can make them again."""
        ...

    # -- durable originals of APPEND (decision 9): encrypted, content-addressed, referred to by messages --
    async def original(self, account: AccountId, id: MessageId) -> bytes | None: ...
    async def has_originals(self, account: AccountId, ids: Sequence[MessageId]) -> set[MessageId]: ...
    async def share_original(self, account: AccountId, source: MessageId, target: MessageId) -> None: ...
    async def put_blob(self, data: bytes) -> bytes:
        """Keep octets before a message exists (journal); returns the address. Unless adopted they are kept
        for a week, and as long as a journal row is that old."""
        ...

    async def blob(self, address: bytes) -> bytes | None: ...
    async def put_blob_of(self, read: Callable[[int, int], bytes], size: int) -> bytes:
        """`put_blob` of `size` octets that `read` gives in pieces [start, end), not on the loop. If a read fails or
        comes short (EOFError), nothing is left that could be taken for the blob."""
        ...

    async def blob_piece(self, address: bytes, number: int) -> bytes | None:
        """A blob's octets in order, a piece each for 0, 1, ...; None behind the last, and where there is no blob."""
        ...

    async def adopt_blob(self, account: AccountId, id: MessageId, address: bytes) -> None: ...
    async def originals_octets(self) -> int:
        """Of all blobs, every account's, each once: what the administrator must expect to back up."""
        ...

    # -- local state (invariant 6) --
    async def local(self, account: AccountId, ids: Sequence[MessageId]) -> dict[MessageId, Local]: ...
    async def put_local(self, account: AccountId, states: dict[MessageId, Local]) -> None: ...
    async def change_local(
        self,
        account: AccountId,
        ids: Sequence[MessageId],
        change: Callable[[dict[MessageId, Local]], dict[MessageId, Local]],
    ) -> dict[MessageId, Local]:
        """Read, change, write back in one transaction: `change` says what shall be kept instead of some of what is.
        Pure and quick; it may be run again. Returns what is kept then."""
        ...

    # -- journal --
    async def journal_add(self, account: AccountId, kind: str, payload: bytes, folder: int = 0) -> int:
        """`folder`: into which it puts messages, so that no other node takes them in as new meanwhile."""
        ...

    async def journal_update(self, id: int, payload: bytes) -> None: ...
    async def journal_done(self, id: int) -> None: ...
    async def journal(self, account: AccountId) -> list[JournalRow]:
        """All of the account's."""
        ...

    async def journal_claim(self, account: AccountId) -> None:
        """Rows of nodes that are dead are this one's from now on."""
        ...
