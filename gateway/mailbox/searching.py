"""One SEARCH of an open folder: what decides a message, and where it comes from, cheapest first.

1. Columns (`mailbox/sifting.py`), as far as the key allows, then rows in rounds (`search.Query`): index, store,
   listing facts, sizes.
2. What is looked for in bodies: the kept texts, then octets at hand (cache, originals). No request.
3. What is left is not known here. `search.body` says what to do:
   - "exact": every such message is read.
   - "auto": they are read if they are at most `search.fetch_at_most`; else Graph's index names candidates, of which
     as many are read. What is beyond counts as the index has it.
   - "index": the index decides; nothing is read.
   The index is believed only above an even number of NOTs; below an odd one messages are read, if they are few, or
   the search ends in LimitReached. What it cannot know yet, fresh mail and drafts, is always a candidate.

An answer that may lack something says so (`SearchResult.notice`), except of FUZZY, whose meaning is up to us
(RFC 6203 section 3): strings below it are the index's wherever it is asked at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from itertools import chain

from gateway.core.errors import LimitReached
from gateway.core.progress import advance, expect
from gateway.core.types import SystemFlag, Uid
from gateway.graph.model import Priority
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.columns import ColumnReader
from gateway.mailbox.context import AccountContext
from gateway.mailbox.fuzzy import scores
from gateway.mailbox.indexsearch import IndexSearch
from gateway.mailbox.needles import Needle, Seen, Verdict
from gateway.mailbox.rendering import OFF_LOOP
from gateway.mailbox.rows import RowReader
from gateway.mailbox.search import Query
from gateway.mailbox.sifting import Sifting, UnknownFacts, runs, split
from gateway.mailbox.values import Body, Need, Row, SearchResult
from gateway.store.api import FolderRow, MessageRow

FRESH = (
    15 * 60.0
)  # seconds in which the index may not know a message yet (contract section 4: seconds to minutes)
TOO_MANY = "Too many messages would have to be read for this search, narrow it by date or other keys"
GUESSED = "Messages searched through the index of Exchange, which finds words by their beginning only: %d"
MORE = "it has more hits than it tells"


class Searching:
    """One search; `run` once."""

    def __init__(
        self, ctx: AccountContext, bodies: Bodies, folder: FolderRow, reader: RowReader, query: Query,
        columns: ColumnReader | None = None,
    ) -> None:  # fmt: skip
        """Without `columns` all is done by rows."""
        self._ctx = ctx
        self._bodies = bodies
        self._folder = folder
        self._reader = reader
        self._query = query
        self._columns = columns
        self._light = query.need & ~Need.MIME  # all but octets
        if Need.MIME in query.need:
            self._light |= Need.STORED  # the names of contents
        self._found: dict[int, float] = {}  # positions, and how well they fit
        self._guessed = 0  # messages that the index alone was asked about
        self._notices: list[str] = []

    async def run(self, at: Sequence[range]) -> SearchResult:
        """`at`: the view positions to be looked at. Errors: those of Graph; LimitReached."""
        expect(sum(map(len, at)))
        left = await self._by_rows(await self._by_columns(at))
        if left and Need.MIME in self._query.need:
            left = await self._by_texts(left)
            if left:
                await self._by_graph(left)
        if self._guessed and not self._all_fuzzy:
            self._notices.insert(0, GUESSED % self._guessed)
        return SearchResult(sorted(self._found), "; ".join(self._notices), self._relevancy())

    def _relevancy(self) -> dict[int, int]:
        if not self._query.fuzzy:
            return {}
        return dict(zip(self._found, scores(list(self._found.values())), strict=True))

    # -- by columns --

    async def _by_columns(self, at: Sequence[range]) -> Sequence[range]:
        """What is left undecided. FUZZY is more than a yes or no."""
        if self._columns is None or self._query.fuzzy:
            return at
        key, whole = split(self._query.key, exact_sizes=self._reader.exact(at, Need.SIZE))
        if key is None:
            return at
        count = sum(map(len, at))
        places = at[0] if len(at) == 1 else list(chain.from_iterable(at))
        try:
            found = await Sifting(self._columns, self._query).select(key, places)
        except UnknownFacts:
            return at
        if not whole:
            advance(count - len(found))
            return runs(found)
        advance(count)
        self._found = dict.fromkeys(found, 1.0)
        return ()

    # -- without octets --

    async def _by_rows(self, undecided: Sequence[range]) -> Sequence[range]:
        for need in self._query.rounds:
            if Need.MIME in need or not undecided:
                break
            left = [row.seq - 1 async for row in self._undecided(undecided, need, Seen(need))]
            undecided = runs(left)
        return undecided

    async def _undecided(self, at: Sequence[range], need: Need, seen: Seen) -> AsyncIterator[Row]:
        async for batch in self._reader.rows(at, need):
            for row in batch:
                if self._judge(row, seen) is None:
                    yield row

    def _judge(self, row: Row, seen: Seen) -> Verdict:
        verdict = self._query.judge(row, seen)
        if verdict is not None:
            advance(1)
        if verdict:
            self._found[row.seq - 1] = self._query.fit(row, seen) if self._query.fuzzy else 1.0
        return verdict

    # -- from what is kept here --

    async def _by_texts(self, undecided: Sequence[range]) -> Sequence[range]:
        left: list[int] = []
        async for batch in self._reader.rows(undecided, self._light):
            left += [row.seq - 1 for row in await self._unknown(batch)]
        return runs(left)

    async def _unknown(self, batch: Sequence[Row]) -> Sequence[Row]:
        """Those of a batch that nothing here decides."""
        texts = await self._bodies.texts([row.email_id for row in batch])
        left = [row for row in batch if self._judge(row, Seen(self._light, texts.get(row.email_id))) is None]
        if not left:
            return left
        stored = await self._stored(left)
        near = await self._bodies.at_hand(list(stored.values()))
        await self._read(left, [message for message in stored.values() if message.id in near])
        return [row for row in left if row.uid in stored and stored[row.uid].id not in near]

    async def _stored(self, rows: Iterable[Row]) -> Mapping[Uid, MessageRow]:
        return await self._ctx.store.by_uid(self._folder.key, [row.uid for row in rows])

    async def _read(
        self, rows: Iterable[Row], messages: Sequence[MessageRow], priority: Priority = Priority.INTERACTIVE
    ) -> None:
        """Decide by octets. A message that has gone matches nothing."""
        by_uid = {row.uid: row for row in rows}
        async with aclosing(self._bodies.bodies(messages, self._folder, priority=priority)) as bodies:
            async for message, body in bodies:
                if body is not None:
                    await self._decide(by_uid[message.uid], body)

    async def _decide(self, row: Row, body: Body) -> None:
        row.body, seen = body, Seen(self._light | Need.MIME)
        if body.size >= OFF_LOOP:
            await asyncio.to_thread(self._judge, row, seen)
        else:
            self._judge(row, seen)
        row.body = None

    # -- through Graph --

    async def _by_graph(self, left: Sequence[range]) -> None:
        mode, most, count = (
            self._ctx.settings.search_body,
            self._ctx.settings.search_fetch,
            sum(map(len, left)),
        )
        few = count <= most and not self._all_fuzzy
        if mode == "exact" or (mode == "auto" and few):
            await self._fetch(left)
        else:
            await self._by_index(left, careful=mode == "auto")

    @property
    def _all_fuzzy(self) -> bool:
        finder = self._query.finder
        return not finder.negative and all(needle.fuzzy for needle in finder.positive)

    async def _fetch(self, at: Sequence[range]) -> None:
        count = sum(map(len, at))
        bulk = count > self._ctx.settings.search_fetch
        async for batch in self._reader.rows(at, self._light):
            stored = await self._stored(batch)
            await self._read(batch, list(stored.values()), Priority.BULK if bulk else Priority.INTERACTIVE)

    async def _by_index(self, unknown: Sequence[range], *, careful: bool) -> None:
        """`careful`: candidates are read, as many as may be."""
        most = self._ctx.settings.search_fetch
        hits = await self._hits(unknown)
        left = await self._sift(unknown, hits, trust=not careful)
        if careful and sum(map(len, left)) > most:
            left = await self._sift(left, hits, trust=True)
        if sum(map(len, left)) > most:
            raise LimitReached(TOO_MANY)
        await self._fetch(left)

    async def _hits(self, unknown: Sequence[range]) -> dict[Needle, set[int]]:
        needles = list(self._query.finder.positive)
        if len(needles) > self._ctx.limits.search_strings:
            raise LimitReached(TOO_MANY)
        index = IndexSearch(self._ctx, self._folder, await self._dates(unknown))
        found: dict[Needle, set[int]] = {}
        for needle in needles:
            hits = await index.hits(needle.text)
            if hits is not None:
                found[needle] = hits.uids
                if not hits.whole and MORE not in self._notices:
                    self._notices.append(MORE)
        return found

    async def _dates(self, at: Sequence[range]) -> list[int]:
        return sorted(
            [row.internal_date async for batch in self._reader.rows(at, Need.INDEX) for row in batch]
        )

    async def _sift(
        self, at: Sequence[range], hits: Mapping[Needle, set[int]], *, trust: bool
    ) -> Sequence[range]:
        """Those that the index leaves undecided, and, unless it is trusted, those it cannot know."""
        since = self._ctx.clock.time() - FRESH
        left: list[int] = []
        async for batch in self._reader.rows(at, self._light):
            for row in batch:
                fresh = not trust and is_fresh(row, since)
                seen = Seen(self._light) if fresh else Seen(self._light, None, hits, trust)
                if self._judge(row, seen) is None:
                    left.append(row.seq - 1)
                else:
                    self._guessed += 1
        return runs(left)


def is_fresh(row: Row, since: float) -> bool:
    """Whether the index may not know it: it came just now, or is a draft."""
    return max(row.internal_date, row.save_date) >= since or SystemFlag.DRAFT in row.flags.system
