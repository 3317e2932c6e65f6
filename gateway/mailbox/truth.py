"""What a delta hints at, asked of Graph by name: each message as it is now (contract sections 7 and 12)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from gateway.core.types import FolderId, MessageId
from gateway.graph.errors import NotFound
from gateway.graph.model import Message, Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import epoch
from gateway.mailbox.reconcile import list_folder
from gateway.store.api import MessageRow

MANY_CHANGED = 200  # beyond this a listing by lastModifiedDateTime is cheaper than batches of 20
MANY_REMOVED = 100  # decision 5: beyond this one listing of ids verifies all


@dataclass(slots=True)
class Found:
    """What asking for ids by name gave: messages that are here, ids that are not, and ids nobody can tell yet."""

    messages: list[Message] = field(default_factory=list)
    lost: set[MessageId] = field(default_factory=set)
    open: set[MessageId] = field(default_factory=set)


class Truth:
    """Of one folder. `elsewhere`: messages that were found in another one, till somebody takes them."""

    def __init__(self, ctx: AccountContext, folder: FolderId) -> None:
        self._ctx = ctx
        self._folder = folder
        self.elsewhere: list[Message] = []

    async def of(
        self, news: Sequence[Message], doubtful: Collection[str], again: set[MessageId], priority: Priority
    ) -> Found:
        """The messages as they are now, with the properties that a delta without `$expand` leaves out; `doubtful` and
        `again` are asked for in any case."""
        told = [message for message in news if _is_whole(message) and message.id not in doubtful]
        partial = [message for message in news if not _is_whole(message) or message.id in doubtful]
        wanted = [MessageId(message.id) for message in partial] + sorted(again)
        listed: dict[MessageId, Message] = {}
        if len(partial) > MANY_CHANGED:
            listed = await self._changed_since(partial, priority)
        found = await self.get([key for key in wanted if key not in listed], priority)
        found.messages += [*told, *listed.values()]
        return found

    async def _changed_since(
        self, partial: Sequence[Message], priority: Priority
    ) -> dict[MessageId, Message]:
        since = min(message.last_modified_date_time or "1900-01-01T00:00:00Z" for message in partial)
        listed = await list_folder(
            self._ctx, self._folder, filter=f"lastModifiedDateTime ge {since}", priority=priority
        )
        return {MessageId(message.id): message for message in listed}

    async def get(self, ids: Sequence[MessageId], priority: Priority) -> Found:
        found = Found()
        results = await self._ctx.graph.get(ids, priority=priority) if ids else []
        for key, result in zip(ids, results, strict=True):
            if isinstance(result, Message) and result.parent_folder_id in (None, self._folder):
                found.messages.append(result)
            elif isinstance(result, Message):
                found.lost.add(key)
                self.elsewhere.append(result)
            elif isinstance(result, NotFound):
                found.lost.add(key)
            else:
                found.open.add(key)
        return found

    async def verify(self, suspects: set[MessageId], priority: Priority) -> Found:
        """Which of the removed are gone from here: the A->B->A hole and replays make delta lie (section 7)."""
        if len(suspects) <= MANY_REMOVED:
            return await self.get(sorted(suspects), priority)
        listed = await list_folder(self._ctx, self._folder, priority=priority)
        there = {MessageId(message.id): message for message in listed}
        return Found([there[key] for key in suspects & there.keys()], suspects - there.keys())


def is_echo(message: Message, known: MessageRow | None) -> bool:
    """What we know already, be it our own write coming back (invariant 9) or a replay."""
    return known is not None and bool(message.etag) and message.etag == known.etag


def same_second(message: Message | None, known: MessageRow) -> bool:
    """Times have whole seconds: which of two states of one second is the newer, only a GET tells (invariant 9)."""
    return message is not None and 0 < known.modified == epoch(message.last_modified_date_time)


def _is_whole(message: Message) -> bool:
    """Whether the delta row carries all that a row of ours needs. Every message has a size property, so without
    any property the delta came without `$expand` (refused, or baked into the link before it was known)."""
    return message.single_value_extended_properties is not None and message.received_date_time is not None
