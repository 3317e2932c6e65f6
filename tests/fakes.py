"""An in-memory mailbox behind `mailbox.api`, and a clock that tests move: enough to hold whole IMAP sessions.

Simple and obviously right rather than fast: a message is a record, a view a list of UIDs.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from gateway.core.errors import (
    AuthenticationFailed,
    CannotDo,
    MailboxExists,
    NoSuchMailbox,
    TooBig,
    Unavailable,
)
from gateway.core.objectid import object_id
from gateway.core.types import FlagChange, Flags, ObjectId, SpecialUse, SystemFlag, Uid
from gateway.mailbox.values import (
    AppendResult,
    Change,
    CopyResult,
    Envelope,
    Exists,
    Expunged,
    Flagged,
    Incoming,
    MailboxInfo,
    MailboxStatus,
    Meta,
    Need,
    Row,
    SearchResult,
    StoreResult,
)
from gateway.mime.header import field as header_field
from gateway.mime.header import header_end
from gateway.mime.part import Part, scan
from gateway.wire import searchkey as sk
from gateway.wire.dates import day_of, sent_day
from gateway.wire.scram import Verifier, verifier
from gateway.wire.structure import bodystructure, envelope

NO_ANSWER = "Exchange does not answer, try again"

# -- time --


class VirtualClock:
    """Time that stands still until `advance` moves it."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + max(seconds, 0.0), next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Move on, waking sleepers in the order of their hours and letting each act before the next."""
        end = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._now, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
            await settle()
        self._now = end


async def settle(rounds: int = 20) -> None:
    """Let everything that is ready run."""
    for _ in range(rounds):
        await asyncio.sleep(0)


# -- messages --


@dataclass(slots=True)
class FakeBody:
    data: bytes
    part: Part

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, start: int, end: int) -> bytes:
        return self.data[start:end]


@dataclass(slots=True)
class FakeMessage:
    uid: int
    data: bytes
    flags: Flags
    internal_date: int
    modseq: int
    gone: bool = False  # expunged, but perhaps not yet told everywhere
    lost: bool = False  # vanished in the backend while somebody reads it


@dataclass(slots=True)
class FakeMailbox:
    """One folder: what all sessions share."""

    name: str
    uid_validity: int
    use: SpecialUse | None = None
    messages: list[FakeMessage] = field(default_factory=list)
    uid_next: int = 1
    modseq: int = 1
    recent_from: int = 1
    selectable: bool = True
    wakes: set[asyncio.Event] = field(default_factory=set)

    @property
    def present(self) -> list[FakeMessage]:
        return [message for message in self.messages if not message.gone]

    def touch(self) -> int:
        self.modseq += 1
        for wake in self.wakes:
            wake.set()
        return self.modseq

    def add(self, data: bytes, flags: Flags = Flags(), internal_date: int = 0) -> FakeMessage:  # noqa: B008
        message = FakeMessage(self.uid_next, data, flags, internal_date, 0)
        self.uid_next += 1
        self.messages.append(message)
        message.modseq = self.touch()
        return message

    def remove(self, message: FakeMessage) -> None:
        message.gone = True
        self.touch()

    def set_flags(self, message: FakeMessage, flags: Flags) -> None:
        message.flags = flags
        message.modseq = self.touch()

    def by_uid(self, uid: int) -> FakeMessage:
        return next(message for message in self.messages if message.uid == uid)


# -- views --


class FakeView:
    def __init__(self, mailbox: FakeMailbox, *, read_only: bool) -> None:
        self._mailbox = mailbox
        self._read_only = read_only
        self._uids: list[int] = []
        self._recent: set[int] = set()
        self._rev2 = False
        self._told: dict[int, int] = {}  # UID -> modseq of the flags the client knows
        self.drain(expunge=True)

    @property
    def uids(self) -> array[int]:
        return array("Q", self._uids)

    @property
    def count(self) -> int:
        return len(self._uids)

    @property
    def recent(self) -> int:
        return len(self._recent & set(self._uids))

    def is_recent(self, uid: int) -> bool:
        return uid in self._recent

    def drop_recent(self) -> None:
        self._recent.clear()
        self._rev2 = True

    def seq(self, uid: int) -> int:
        return self._uids.index(uid) + 1 if uid in self._uids else 0

    def tell(self, uids: Sequence[int]) -> None:
        for message in self._mailbox.messages:
            if message.uid in uids:
                self._told[message.uid] = message.modseq

    def drain(self, *, expunge: bool, flags: bool = True) -> list[Change]:
        changes: list[Change] = [*self._expunged()] if expunge else []
        changes += self._arrived()
        if flags:
            changes += self._flagged()
        return changes

    @property
    def told(self) -> int:
        return max(1, self._mailbox.modseq)

    delayed = False

    def _expunged(self) -> list[Expunged]:
        gone = {message.uid for message in self._mailbox.messages if message.gone}
        found = [Expunged(self.seq(uid), Uid(uid)) for uid in reversed(self._uids) if uid in gone]
        self._uids = [uid for uid in self._uids if uid not in gone]
        return found

    def _arrived(self) -> list[Exists]:
        last = self._uids[-1] if self._uids else 0
        new = [m for m in self._mailbox.present if m.uid > last and m.uid not in self._uids]
        for message in new:
            self._uids.append(message.uid)
            self._told[message.uid] = message.modseq
            if message.uid >= self._mailbox.recent_from and not self._rev2:
                self._recent.add(message.uid)
        if new and not self._read_only:
            self._mailbox.recent_from = self._uids[-1] + 1
        return [Exists(self.count, self.recent)] if new else []

    def _flagged(self) -> list[Flagged]:
        found = []
        for message in self._mailbox.messages:
            if message.uid in self._uids and message.modseq > self._told.get(message.uid, 0):
                self._told[message.uid] = message.modseq
                if not message.gone:
                    found.append(flagged(self, message))
        return found

    def pending(self, *, expunge: bool = True, flags: bool = True) -> bool:
        present = {message.uid for message in self._mailbox.present}
        told = set(self._uids)
        if (told != present) if expunge else bool(present - told):
            return True
        return flags and any(m.modseq > self._told.get(m.uid, 0) for m in self._mailbox.present)


def flagged(view: FakeView, message: FakeMessage) -> Flagged:
    return Flagged(
        view.seq(message.uid), Uid(message.uid), message.flags, view.is_recent(message.uid), message.modseq
    )


# -- folders --


class FakeFolder:
    """An open mailbox. `account.faults` may hold an error to raise per operation name."""

    def __init__(self, account: FakeAccount, mailbox: FakeMailbox, *, read_only: bool) -> None:
        self._account = account
        self._mailbox = mailbox
        self.name = mailbox.name
        self.read_only = read_only
        self.gone = False
        self.uid_validity = mailbox.uid_validity
        self.view = FakeView(mailbox, read_only=read_only)
        self.mailbox_id = object_id("F", f"{mailbox.name}/{mailbox.uid_validity}")
        self.closed = False
        self._wake = asyncio.Event()
        mailbox.wakes.add(self._wake)

    @property
    def uid_next(self) -> int:
        return self._mailbox.uid_next

    @property
    def highest_modseq(self) -> int:
        return self._mailbox.modseq

    def keywords(self) -> list[bytes]:
        return sorted({keyword for m in self._mailbox.present for keyword in m.flags.keywords})

    takes_keywords = True

    def first_unseen(self) -> int:
        unseen = (m.uid for m in self._mailbox.present if SystemFlag.SEEN not in m.flags.system)
        return next((self.view.seq(uid) for uid in unseen if self.view.seq(uid)), 0)

    async def rows(self, at: Sequence[range], need: Need) -> AsyncIterator[list[Row]]:
        self._account.step("rows")
        uids = self.view.uids
        batch: list[Row] = []
        for position in itertools.chain.from_iterable(at):
            batch.append(self._row(position + 1, self._mailbox.by_uid(uids[position]), need))
            if len(batch) == self._account.batch:
                yield batch
                await self._account.pause("rows")
                batch = []
        if batch:
            yield batch

    def columns(self, at: Sequence[range], need: Need, derived: Sequence[object]) -> None:
        """There are only rows here: what transcripts show is the same either way."""

    def _row(self, seq: int, message: FakeMessage, need: Need) -> Row:
        row = Row(
            seq, Uid(message.uid), message.flags, self.view.is_recent(message.uid), message.modseq,
            message.internal_date, len(message.data),
            ObjectId(f"E{message.uid}"), ObjectId(f"T{message.uid}"),
        )  # fmt: skip
        if Need.META in need:
            header = message.data[: header_end(message.data)]
            row.meta = Meta(header, envelope(header))
        if Need.MIME in need and not message.lost:
            part = scan(message.data)
            row.body = FakeBody(message.data, part)
            row.structure = bodystructure(message.data, part, extensible=True)
            row.basic_structure = bodystructure(message.data, part, extensible=False)
        return row

    async def search(self, key: sk.SearchKey) -> SearchResult:
        self._account.step("search")
        await self._account.pause("search")
        last = (self.view.count, self.view.uids[-1] if self.view.count else 0)
        return SearchResult(
            position
            for position, uid in enumerate(self.view.uids)
            if found(key, self._mailbox.by_uid(uid), position + 1, last, recent=self.view.is_recent(uid))
        )

    async def store(self, uids: Sequence[Uid], change: FlagChange) -> StoreResult:
        self._account.step("store")
        self._account.stores.append(list(uids))
        await self._account.pause("store")
        result = StoreResult()
        for uid in uids:
            self._store_one(self._mailbox.by_uid(uid), change, result)
        return result

    def _store_one(self, message: FakeMessage, change: FlagChange, result: StoreResult) -> None:
        if message.gone:
            return
        if message.uid in self._account.refused_uids:
            result.failed.append(Uid(message.uid))
            result.error = result.error or Unavailable(NO_ANSWER)
        else:
            changed = _keeping_draft(message.flags, change.apply(message.flags))
            if changed != message.flags:
                self._mailbox.set_flags(message, changed)
        result.rows.append(flagged(self.view, message))

    async def copy(self, uids: Sequence[Uid], target: str) -> CopyResult:
        self._account.step("copy")
        mailbox = self._account.mailbox(target)
        present = [m for uid in uids if not (m := self._mailbox.by_uid(uid)).gone]
        copies = [mailbox.add(m.data, m.flags, m.internal_date) for m in present]
        return CopyResult(
            mailbox.uid_validity, [Uid(m.uid) for m in present], [Uid(copy.uid) for copy in copies]
        )

    async def move(self, uids: Sequence[Uid], target: str) -> CopyResult:
        result = await self.copy(uids, target)
        for uid in result.source:
            self._mailbox.remove(self._mailbox.by_uid(uid))
        return result

    async def expunge(self, uids: Sequence[Uid] | None) -> None:
        self._account.step("expunge")
        for message in self._mailbox.present:
            if SystemFlag.DELETED in message.flags.system and (uids is None or message.uid in uids):
                self._mailbox.remove(message)

    async def poll(self, *, force: bool = False) -> None:
        self._account.step("poll")
        self._account.polls.append(force)
        for message in self._mailbox.present:
            if message.lost and force:
                self._mailbox.remove(message)
        await self._account.pause("poll")

    async def changed(self, *, messages: bool = True, expunge: bool = True, flags: bool = True) -> None:
        while not (messages and self.view.pending(expunge=expunge, flags=flags)):
            self._wake.clear()
            await self._wake.wait()

    async def close(self) -> None:
        self.closed = True
        self._mailbox.wakes.discard(self._wake)


def _keeping_draft(before: Flags, after: Flags) -> Flags:
    """\\Draft is decided at a message's creation: STORE neither sets nor takes it."""
    draft = before.system & SystemFlag.DRAFT
    return Flags(after.system & ~SystemFlag.DRAFT | draft, after.keywords)


# -- searching, naively --

_FIELDS = {
    sk.Field.FROM: b"from",
    sk.Field.TO: b"to",
    sk.Field.CC: b"cc",
    sk.Field.BCC: b"bcc",
    sk.Field.SUBJECT: b"subject",
}


def found(key: sk.SearchKey, message: FakeMessage, seq: int, last: tuple[int, int], *, recent: bool) -> bool:
    def also(other: sk.SearchKey) -> bool:
        return found(other, message, seq, last, recent=recent)

    match key:
        case sk.All():
            return True
        case sk.And(keys):
            return all(map(also, keys))
        case sk.Or(left, right):
            return also(left) or also(right)
        case sk.Not(inner):
            return not also(inner)
        case sk.Recent():
            return recent
        case sk.HasFlag(name):
            return name.lower() in [known.lower() for known in message.flags.names()]
        case sk.Larger(octets):
            return len(message.data) > octets
        case sk.Smaller(octets):
            return len(message.data) < octets
        case sk.SeqSet(ids):
            return ids.contains(seq, last[0])
        case sk.UidSet(ids):
            return ids.contains(message.uid, last[1])
        case sk.DateIs():
            return _dated(key, message)
        case sk.HeaderContains(name, text):
            value = header_field(message.data[: header_end(message.data)], name)
            return value is not None and text.lower().encode() in value.lower()
        case sk.Contains(where, text):
            return text.lower().encode() in _haystack(where, message.data).lower()
    raise AssertionError(key)


def _dated(key: sk.DateIs, message: FakeMessage) -> bool:
    header = message.data[: header_end(message.data)]
    day = sent_day(header_field(header, b"date") or b"") if key.sent else day_of(message.internal_date)
    compare: dict[sk.When, Callable[[tuple[int, int, int]], bool]] = {
        sk.When.BEFORE: lambda found: found < key.date,
        sk.When.ON: lambda found: found == key.date,
        sk.When.SINCE: lambda found: found >= key.date,
    }
    return day is not None and compare[key.when](day)


def _haystack(where: sk.Field, data: bytes) -> bytes:
    if where in _FIELDS:
        return header_field(data[: header_end(data)], _FIELDS[where]) or b""
    return data if where is sk.Field.TEXT else data[header_end(data) :]


# -- accounts --


class FakeSpool:
    def __init__(self) -> None:
        self._data = bytearray()
        self.closed = False

    @property
    def size(self) -> int:
        return len(self._data)

    async def write(self, data: bytes) -> None:
        self._data += data

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        return bytes(self._data[start:end])

    def kept(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def close(self) -> None:
        self.closed = True


class FakeAccount:
    """A user's mailboxes. Tests reach in: `faults` maps an operation to the error it raises next, `gates` to
    an event it waits for; while `down`, every operation is Unavailable."""

    def __init__(self, name: str, *, append_limit: int = 1_000_000) -> None:
        self.name = name
        self.limit = append_limit
        self.batch = 256
        self.down = False
        self.faults: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.refused_uids: set[int] = set()
        self.stores: list[list[int]] = []
        self.polls: list[bool] = []
        self.status_calls: list[list[str]] = []
        self.spools: list[FakeSpool] = []
        self._validity = itertools.count(1_700_000_000)
        self._subscribed: set[str] = set()
        self.mailboxes: dict[str, FakeMailbox] = {}
        for mailbox_name, use in STANDARD:
            self._make(mailbox_name, use)

    def _make(self, name: str, use: SpecialUse | None = None) -> FakeMailbox:
        mailbox = FakeMailbox(name, next(self._validity), use)
        self.mailboxes[name] = mailbox
        self._subscribed.add(name)
        return mailbox

    def mailbox(self, name: str) -> FakeMailbox:
        if name not in self.mailboxes or not self.mailboxes[name].selectable:
            raise NoSuchMailbox("No such mailbox")
        return self.mailboxes[name]

    def step(self, operation: str) -> None:
        if self.down:
            raise Unavailable(NO_ANSWER)
        fault = self.faults.pop(operation, None)
        if fault is not None:
            raise fault

    async def pause(self, operation: str) -> None:
        if operation in self.gates:
            await self.gates[operation].wait()

    async def folders(self) -> list[MailboxInfo]:
        self.step("folders")
        names = sorted(self.mailboxes, key=lambda name: (name != "INBOX", name))
        return [self._info(self.mailboxes[name]) for name in names]

    def _info(self, mailbox: FakeMailbox) -> MailboxInfo:
        has_children = any(name.startswith(mailbox.name + "/") for name in self.mailboxes)
        subscribed = mailbox.name in self._subscribed
        return MailboxInfo(mailbox.name, mailbox.use, has_children, mailbox.selectable, subscribed)

    async def status(self, names: Sequence[str], *, sizes: bool = False) -> list[MailboxStatus]:
        self.step("status")
        self.status_calls.append(list(names))
        return [self._status(self.mailbox(name)) for name in names]

    def _status(self, mailbox: FakeMailbox) -> MailboxStatus:
        present = mailbox.present
        return MailboxStatus(
            mailbox.name, len(present), sum(m.uid >= mailbox.recent_from for m in present), mailbox.uid_next,
            mailbox.uid_validity, sum(SystemFlag.SEEN not in m.flags.system for m in present), mailbox.modseq,
            sum(SystemFlag.DELETED in m.flags.system for m in present), sum(len(m.data) for m in present),
            object_id("F", f"{mailbox.name}/{mailbox.uid_validity}"),
        )  # fmt: skip

    async def open(self, name: str, *, read_only: bool) -> FakeFolder:
        self.step("open")
        mailbox = self.mailbox(name)
        await self.pause("open")
        return FakeFolder(self, mailbox, read_only=read_only)

    quota = 0
    metadata_serial = 0

    async def create(self, name: str, uses: Sequence[bytes] = ()) -> None:
        self.step("create")
        if name in self.mailboxes:
            raise MailboxExists("The mailbox exists")
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            if "/".join(parts[:depth]) not in self.mailboxes:
                self._make("/".join(parts[:depth]))

    async def delete(self, name: str) -> None:
        self.step("delete")
        mailbox = self.mailbox(name)
        if mailbox.use is not None:
            raise CannotDo("This mailbox cannot be deleted")
        del self.mailboxes[name]

    async def rename(self, source: str, target: str) -> None:
        self.step("rename")
        self.mailbox(source)
        if target in self.mailboxes:
            raise MailboxExists("The new name exists")
        for name in [n for n in self.mailboxes if n == source or n.startswith(source + "/")]:
            mailbox = self.mailboxes.pop(name)
            mailbox.name = target + name[len(source) :]
            self.mailboxes[mailbox.name] = mailbox
            self._subscribed.add(mailbox.name)

    async def subscribe(self, name: str, on: bool) -> None:
        if on:
            self.mailbox(name)
            self._subscribed.add(name)
        else:
            self._subscribed.discard(name)

    async def subscriptions(self) -> list[str]:
        return sorted(self._subscribed)

    def append_limit(self) -> int:
        return self.limit

    async def check_append(self, name: str, size: int, keywords: Sequence[bytes] = ()) -> None:
        self.step("check_append")
        self.mailbox(name)
        if size > self.limit:
            raise TooBig("Message too big")

    def spool(self, expected: int, beside: FakeSpool | None = None) -> FakeSpool:
        self.spools.append(FakeSpool())
        return self.spools[-1]

    async def append(self, name: str, messages: Sequence[Incoming]) -> AppendResult:
        self.step("append")
        mailbox = self.mailbox(name)
        await self.pause("append")
        added = [mailbox.add(each.spool.read(), each.flags, each.internal_date or 0) for each in messages]
        return AppendResult(mailbox.uid_validity, tuple(Uid(message.uid) for message in added))

    async def check_sender(self, sender: str) -> None:
        raise AssertionError("nothing submits through IMAP")

    async def check_recipient(self, recipient: str, ahead: object, size: int) -> None:
        raise AssertionError("nothing submits through IMAP")

    async def submit(self, envelope: Envelope, spool: FakeSpool) -> str:
        raise AssertionError("nothing submits through IMAP")

    async def heard(self, queue_id: str) -> None:
        raise AssertionError("nothing submits through IMAP")

    def lost(self, queue_id: str) -> None:
        raise AssertionError("nothing submits through IMAP")


STANDARD: tuple[tuple[str, SpecialUse | None], ...] = (
    ("INBOX", SpecialUse.INBOX),
    ("Archive", SpecialUse.ARCHIVE),
    ("Drafts", SpecialUse.DRAFTS),
    ("Junk Email", SpecialUse.JUNK),
    ("Outbox", None),
    ("Sent Items", SpecialUse.SENT),
    ("Deleted Items", SpecialUse.TRASH),
)


class FakeAccounts:
    """`demo` is everybody's password."""

    def __init__(self, *names: str) -> None:
        self.accounts = {name: FakeAccount(name) for name in (names or ("alice@example.com",))}
        self.attempts: list[tuple[str, str]] = []  # user, peer
        self.fault: Exception | None = None
        self.scram = False
        self.verifiers: dict[str, Verifier] = {}
        self.made_up = verifier("nobody's", b"salt")

    def verifier(self, user: str) -> Verifier:
        return self.verifiers.get(user, self.made_up)

    async def admit(self, user: str, peer: str) -> FakeAccount:
        return await self.authenticate(user, "demo", peer)

    async def authenticate(self, user: str, password: str, peer: str) -> FakeAccount:
        self.attempts.append((user, peer))
        if self.fault is not None:
            raise self.fault
        account = self.accounts.get(user)
        if account is None or password != "demo":
            raise AuthenticationFailed("Wrong user or password")
        return account
