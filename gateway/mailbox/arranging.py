"""SORT and THREAD of an open folder: what the index knows and what `SortKeys` brings, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.mailbox.hub import FolderHub
from gateway.mailbox.rows import RowReader
from gateway.mailbox.sortcolumns import SortColumns
from gateway.mailbox.sorting import FROM_HEADERS, in_order, sent_dates, text_column
from gateway.mailbox.sortkeys import SortKeys
from gateway.mailbox.threads import Threadables, by_references, by_subject
from gateway.mailbox.values import Need, Thread
from gateway.mailbox.view import MailboxView
from gateway.store.api import FolderRow
from gateway.wire.sortkey import Criterion, SortKey, Threading


class Arranger:
    """One for each command: it holds what the command's messages are sorted by."""

    def __init__(
        self, keys: SortKeys, folder: FolderRow, hub: FolderHub, view: MailboxView, reader: RowReader,
        at: Sequence[int],
    ) -> None:  # fmt: skip
        self._keys = keys
        self._folder = folder
        self._hub = hub
        self._reader = reader
        self._at = at
        self._uids = [view.uids[position] for position in at]

    async def sort(self, criteria: Sequence[Criterion], relevancy: Mapping[int, int]) -> list[int]:
        """View positions in order; by relevancy the highest first (RFC 6203 section 6). Errors: those of Graph."""
        wanted = {criterion.key for criterion in criteria}
        sizes = await self._sizes() if SortKey.SIZE in wanted else []
        columns = await self._columns() if wanted & FROM_HEADERS else SortColumns()
        rows = columns.rows(self._uids)
        fixed: dict[SortKey, Callable[[], Sequence[Any]]] = {
            SortKey.ARRIVAL: self._arrivals,
            SortKey.SIZE: lambda: sizes,
            SortKey.RELEVANCY: lambda: [-relevancy.get(position, 0) for position in self._at],
            SortKey.DATE: lambda: sent_dates(columns, rows, self._arrivals()),
        }

        def column(key: SortKey) -> Sequence[Any]:
            return fixed[key]() if key in fixed else text_column(columns, key, rows)

        return [self._at[number] for number in in_order(len(self._at), criteria, column)]

    async def thread(self, algorithm: Threading) -> list[Thread]:
        """Errors: those of Graph."""
        columns = await self._columns()
        rows = columns.rows(self._uids)
        subjects, answers, ids = columns.texts["subject"], columns.answers, columns.ids
        messages = Threadables(
            self._at,
            sent_dates(columns, rows, self._arrivals()),
            [subjects[row] for row in rows],
            [answers[row] != 0 for row in rows],
            [ids[row] for row in rows],
            [columns.references_of(row) for row in rows],
        )
        return by_subject(messages) if algorithm is Threading.ORDEREDSUBJECT else by_references(messages)

    async def _columns(self) -> SortColumns:
        return await self._keys.columns(self._folder, self._uids, self._hub.index.uids)

    def _arrivals(self) -> list[int]:
        """INTERNALDATE; 0 of a message nothing is known of any more."""
        index = self._hub.index
        places = [index.position(uid) for uid in self._uids]
        dates = index.dates
        return [
            dates[place] if place >= 0 else self._ghost(uid)
            for place, uid in zip(places, self._uids, strict=True)
        ]

    def _ghost(self, uid: int) -> int:
        entry = self._hub.index.entry(uid)
        return entry.internal_date if entry is not None else 0

    async def _sizes(self) -> list[int]:
        """RFC822.SIZE as a FETCH of these messages would tell it (decision 3)."""
        found: dict[int, int] = {}
        runs = [range(at, at + 1) for at in self._at]
        async for batch in self._reader.rows(runs, Need.SIZE):
            found.update((row.uid, row.size) for row in batch)
        return [found.get(uid, 0) for uid in self._uids]
