"""Graph's index asked for candidates, beyond its 1,000 hits by ranges of days (contract section 4, trap 35).

A range with as many hits as the index names at most may have more: it is halved, by the dates of the messages that are
asked about, until it has fewer, or is as short as a day. Ranges overlap by a day on both sides, for nobody says in
which zone the index counts days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from gateway.core.types import MessageId
from gateway.graph import kql
from gateway.mailbox.context import AccountContext
from gateway.store.api import FolderRow

_DAY = timedelta(days=1)


@dataclass(slots=True)
class Hits:
    """UIDs found; `whole` is False where there may be more hits than could be read."""

    uids: set[int] = field(default_factory=set)
    whole: bool = True


class IndexSearch:
    """Of one command. `dates`: INTERNALDATE of the messages asked about, ascending; at most `limits.search_calls`
    ranges are asked for, all strings together."""

    def __init__(self, ctx: AccountContext, folder: FolderRow, dates: Sequence[int]) -> None:
        self._ctx = ctx
        self._folder = folder
        self._dates = dates
        self._calls = ctx.limits.search_calls

    async def hits(self, text: str) -> Hits | None:
        """Where every word of the text begins a word; None if it has no words. Errors: those of Graph."""
        query = kql.containing(text)
        if query is None:
            return None
        found, whole = await self._whole_folder(query)
        known = await self._ctx.store.find(self._folder.key, [MessageId(id) for id in found])
        return Hits({row.uid for row in known.values()}, whole)

    async def _whole_folder(self, query: str) -> tuple[set[str], bool]:
        found, full = await self._ask(query)
        return await self._halves(query, self._dates, found) if full else (found, True)

    async def _halves(self, query: str, dates: Sequence[int], found: set[str]) -> tuple[set[str], bool]:
        """What a range that was too full has in all: `found` and what its halves bring."""
        middle = len(dates) // 2
        whole = True
        for half in (dates[:middle], dates[middle:]):
            if not half or len(half) == len(dates) or self._calls <= 0:
                return found, False
            first, last = _day(half[0]), _day(half[-1])
            some, full = await self._ask(kql.received(query, first - _DAY, last + _DAY))
            if full and first < last:
                some, complete = await self._halves(query, half, some)
            else:
                complete = not full
            found, whole = found | some, whole and complete
        return found, whole

    async def _ask(self, query: str) -> tuple[set[str], bool]:
        """Ids, and whether there may be more."""
        self._calls -= 1
        most = self._ctx.limits.search_hits
        found = await self._ctx.graph.search(self._folder.id, query, most=most)
        return set(found), len(found) >= most


def _day(seconds: int) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()
