"""What Graph told of a folder's messages, taken into the store and shown to its views: the last step of a sync.

Here own writes beat older rows (invariant 9), ids somebody is just creating are held back (decision 9), and a
draft that Outlook changed becomes a new message (decision 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.core.types import FolderId, MessageId
from gateway.graph.model import Message
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import KeywordMap, email_id, epoch, merged_local, upsert_of
from gateway.store.api import MessageRow, Upsert


@dataclass(slots=True)
class Taken:
    """`again`: ids whose row was older than our own write; `complete`: nothing was held back."""

    complete: bool = True
    again: set[MessageId] = field(default_factory=set)


class Intake:
    """One per folder."""

    def __init__(self, ctx: AccountContext, key: int, folder: FolderId) -> None:
        self._ctx = ctx
        self._key = key
        self._id = folder
        self._keywords = KeywordMap(ctx.settings.labels)

    async def upserts(
        self, messages: Sequence[Message], known: Mapping[MessageId, MessageRow] | None = None
    ) -> list[Upsert]:
        """Rows to store, oldest first: UIDs rise with (received, id). What Graph cannot hold is merged and kept
        (invariant 6)."""
        known = known or {}
        ids = [MessageId(message.id) for message in messages]
        local = await self._ctx.store.local(self._ctx.account, ids)
        merged = {
            key: merged_local(message, local.get(key)) for key, message in zip(ids, messages, strict=True)
        }
        learnt = {key: state for key, state in merged.items() if state is not None}
        if learnt:
            await self._ctx.store.put_local(self._ctx.account, learnt)
        local = {**local, **learnt}
        rows: list[tuple[int, Upsert]] = []
        for key, message in zip(ids, messages, strict=True):
            row = upsert_of(message, local.get(key), self._keywords, known=known.get(key))
            rows.append((epoch(message.received_date_time) or 0, row))
        return [row for _, row in sorted(rows, key=lambda pair: (pair[0], pair[1].id))]

    async def take(
        self, messages: Iterable[Message], gone: set[MessageId], *, began: float, link: str | None
    ) -> Taken:
        """Apply. `began`: when the request that told us began, monotonic. While something is held back the old
        delta link is kept, so that the next round, or the one after a crash, tells it again."""
        ctx, taken = self._ctx, Taken()
        latest = {MessageId(message.id): message for message in messages}
        known = await ctx.store.find(self._key, list(latest))
        accepted: list[Message] = []
        for key, message in latest.items():
            if self._held(key, known):
                taken.complete = False
            elif _older(message, known.get(key)) or ctx.writes.after(key, began):
                taken.again.add(key)
            else:
                accepted.append(message)
        written = {key for key in gone if ctx.writes.after(key, began)}
        taken.again |= written
        gone = gone - written
        rows = await self.upserts(accepted, known)
        await self._renew_drafts(accepted, rows, known)
        applied = await ctx.store.apply(self._key, rows, sorted(gone), link=link if taken.complete else None)
        ctx.hubs.refresh(self._key, applied)
        return taken

    def _held(self, key: MessageId, known: Mapping[MessageId, MessageRow]) -> bool:
        holds = self._ctx.holds
        return key in holds.hidden or (key not in known and holds.held(self._id))

    async def _renew_drafts(
        self, messages: Sequence[Message], rows: Sequence[Upsert], known: Mapping[MessageId, MessageRow]
    ) -> None:
        """A draft continued in Outlook is other bytes under one id: a new UID and EMAILID (decision 4)."""
        drafts = {MessageId(message.id): message for message in messages if message.is_draft}
        renewed = [row for row in rows if row.id in drafts and _rewritten(row, known.get(row.id))]
        for row in renewed:
            row.new_generation = True
            row.email_id = email_id(f"{row.id}\n{row.etag}")
            row.internal_date = epoch(drafts[row.id].received_date_time)
        if renewed:
            await self._ctx.store.drop_content(self._ctx.account, [row.id for row in renewed])


def _older(message: Message, known: MessageRow | None) -> bool:
    """Delta rows can lag behind what we wrote or read (trap 55)."""
    return known is not None and 0 < (epoch(message.last_modified_date_time) or 0) < known.modified


def _rewritten(row: Upsert, known: MessageRow | None) -> bool:
    """Another etag without a change of flags: its content was changed by somebody."""
    if known is None or not row.etag or row.etag == known.etag:
        return False
    return row.flags is None or row.flags == known.flags
