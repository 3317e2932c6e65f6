"""What Graph told of a folder's messages, taken into the store and shown to its views: the last step of a sync.

Here own writes beat older rows (invariant 9), ids somebody is just creating are held back (decision 9), a draft
that Outlook changed becomes a new message, and other mail whose content may have changed is suspected (decision 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.core.types import FolderId, MessageId
from gateway.graph.mail import PR_MESSAGE_SIZE
from gateway.graph.model import Message
from gateway.graph.props import parse_property, props
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import KeywordMap, epoch, merged_local, upsert_of
from gateway.mailbox.localstate import States, change_local
from gateway.mailbox.renewal import Suspects, Suspicion, watched
from gateway.mailbox.sending.hidden import hidden
from gateway.mailbox.sending.promise import owed, settled_rows
from gateway.mailbox.unmarking import unmark
from gateway.store.api import ABSENT, MessageRow, Upsert

YOUNG = 60.0  # seconds in which Exchange itself may touch a draft that we have just written
BIRTHPLACES = ("inbox", "sentitems", "drafts", "outbox")  # most messages there were never anywhere else
_SIZE = parse_property(PR_MESSAGE_SIZE)
Rows = Mapping[MessageId, MessageRow]


@dataclass(slots=True)
class Taken:
    """`again`: ids whose row was older than our own write; `complete`: nothing was held back; `overtaken`: nothing was
    taken, for another process took in what came after."""

    complete: bool = True
    overtaken: bool = False
    again: set[MessageId] = field(default_factory=set)


class Intake:
    """One per folder."""

    def __init__(self, ctx: AccountContext, key: int, folder: FolderId) -> None:
        self._ctx = ctx
        self._key = key
        self._id = folder
        self._keywords = KeywordMap(ctx.settings.labels)
        self.suspects = Suspects(ctx, key)

    async def upserts(
        self, messages: Sequence[Message], known: Mapping[MessageId, MessageRow] | None = None
    ) -> list[Upsert]:
        """Rows to store, oldest first: UIDs rise with (received, id). What Graph cannot hold is merged and kept
        (invariant 6). `known` is None while all that is there is listed for the first time."""
        born_here = known is None and self._is_born_here()
        if known is None:
            outgoing = await hidden(self._ctx, self._id, messages, ())
            messages = [m for m in messages if MessageId(m.id) not in outgoing.ids | outgoing.perhaps]
        ids = [MessageId(message.id) for message in messages]

        def learnt(local: States) -> States:
            pairs = zip(ids, messages, strict=True)
            merged = {key: merged_local(message, local.get(key)) for key, message in pairs}
            return {key: state for key, state in merged.items() if state is not None}

        local = await change_local(self._ctx, ids, learnt)
        if known is not None:
            unmark(self._ctx, self._key, self._id, messages, local)
        known = known or {}
        rows: list[tuple[int, Upsert]] = []
        for key, message in zip(ids, messages, strict=True):
            row = upsert_of(
                message, local.get(key), self._keywords, known=known.get(key), born_here=born_here
            )
            rows.append((epoch(message.received_date_time) or 0, row))
        return [row for _, row in sorted(rows, key=lambda pair: (pair[0], pair[1].id))]

    def _is_born_here(self) -> bool:
        special = self._ctx.special
        return any(name in special and special[name].id == self._id for name in BIRTHPLACES)

    async def take(
        self,
        messages: Iterable[Message],
        gone: set[MessageId],
        *,
        began: float,
        link: str | None,
        after: str | None = None,
        seen: Rows | None = None,
    ) -> Taken:
        """Apply. `began`: when the request that told us began, monotonic. While something is held back the old
        delta link is kept, so that the next round, or the one after a crash, tells it again. `after`: the link that
        was asked with; another process's round that came between makes this one void. `seen`: the rows as they were
        when it was decided what to ask Graph for; what another process wrote since then may be newer."""
        ctx, taken = self._ctx, Taken()
        latest = {MessageId(message.id): message for message in messages}
        known = await ctx.store.find(self._key, list(latest))
        accepted: list[Message] = []
        outgoing = await hidden(ctx, self._id, list(latest.values()), known)
        for key, message in latest.items():
            if key in outgoing.ids:
                continue
            if key in outgoing.perhaps or self._held(key, known) or _left(key, seen, known):
                taken.complete = False
            elif _older(message, known.get(key)) or _turned(key, seen, known) or ctx.writes.after(key, began):
                taken.again.add(key)
            else:
                accepted.append(message)
        written = {key for key in gone if ctx.writes.after(key, began)}
        taken.again |= written
        gone = gone - written
        gone -= await owed(ctx, self._key, self._id, gone)
        rows = settled_rows(ctx, self._id, await self.upserts(accepted, known), known)
        await self._heed_content(accepted, rows, known)
        for row in rows:  # another process may write the same meanwhile
            row.base = known[row.id].etag if row.id in known else ABSENT
        applied = await ctx.store.apply(
            self._key, rows, sorted(gone), link=link if taken.complete else None, after=after
        )
        if applied.overtaken:
            return Taken(complete=False, overtaken=True)
        ctx.hubs.refresh(self._key, applied)
        if applied.passed:
            taken.complete = False
            taken.again |= known.keys() & set(applied.passed)
        self.suspects.verify()
        return taken

    def _held(self, key: MessageId, known: Mapping[MessageId, MessageRow]) -> bool:
        return key not in known and self._ctx.holds.held(self._id)

    async def _heed_content(
        self, messages: Sequence[Message], rows: Sequence[Upsert], known: Mapping[MessageId, MessageRow]
    ) -> None:
        """Where something else than flags was changed: drafts are renewed, other mail is suspected."""
        rewritten = {row.id: row for row in rows if _rewritten(row, known.get(row.id))}
        if not rewritten:
            return
        fresh = {id: message for message in messages if (id := MessageId(message.id)) in rewritten}
        ours = await self._ours([known[id] for id, message in fresh.items() if message.is_draft])
        drafts = {id for id, message in fresh.items() if message.is_draft and id not in ours}
        for id in drafts:
            _renew(rewritten[id], fresh[id], known[id])
        for id in ours | await watched(self._ctx, list(rewritten.keys() - drafts - ours)):
            self._suspect(rewritten[id], known[id], fresh[id])

    async def _ours(self, drafts: Sequence[MessageRow]) -> set[MessageId]:
        """Drafts that we have just appended or written to: Exchange may have done no more than to bump the change
        key, and the client that saves a draft every few seconds goes by its UID."""
        ctx = self._ctx
        landed = await ctx.store.has_originals(ctx.account, [row.id for row in drafts]) if drafts else set()
        time, since = ctx.clock.time(), ctx.clock.monotonic() - YOUNG
        young = {row.id for row in drafts if time - row.save_date < YOUNG and row.id in landed}
        return young | {row.id for row in drafts if ctx.writes.after(row.id, since)}

    def _suspect(self, row: Upsert, known: MessageRow, message: Message) -> None:
        """Keeps the old etag until it is verified: a full comparison then finds it again after a crash."""
        self.suspects.add(row.id, Suspicion(known.uid, row.etag or "", _size(message) or known.size))
        row.etag = None


def _renew(row: Upsert, message: Message, known: MessageRow) -> None:
    """A draft continued in Outlook is other bytes under one id: a new UID and EMAILID (decision 4)."""
    row.new_generation = True
    row.internal_date = epoch(message.received_date_time)
    row.size = _size(message) or known.size


def _size(message: Message) -> int | None:
    told = props(message).get(_SIZE, "")
    return int(told) if told.isdecimal() else None


def _left(key: MessageId, seen: Rows | None, known: Rows) -> bool:
    """Whether somebody took it away meanwhile."""
    return seen is not None and key in seen and key not in known


def _turned(key: MessageId, seen: Rows | None, known: Rows) -> bool:
    """Whether somebody wrote it meanwhile."""
    if seen is None or key not in known:
        return False
    return key not in seen or seen[key].etag != known[key].etag


def _older(message: Message, known: MessageRow | None) -> bool:
    """Delta rows can lag behind what we wrote or read (trap 55)."""
    return known is not None and 0 < (epoch(message.last_modified_date_time) or 0) < known.modified


def _rewritten(row: Upsert, known: MessageRow | None) -> bool:
    """Another etag without a change of flags: its content was changed by somebody."""
    if known is None or not row.etag or row.etag == known.etag:
        return False
    return row.flags is None or row.flags == known.flags
