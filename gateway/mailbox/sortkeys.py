"""Sort facts of a folder's messages: in memory, else from the store, else from header facts, once (decision 11).

50,000 messages are 50 sealed blocks: that is read in the time of one disk access and some decompression. A message
that has no facts yet gets them as FETCH ENVELOPE would, by pages of the listing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import groupby

from gateway.core.types import Uid
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.context import AccountContext
from gateway.mailbox.headers import Reading
from gateway.mailbox.sortcolumns import SortColumns, block_of
from gateway.mime.sortfacts import sort_facts
from gateway.store.api import FolderRow

KEPT = 200_000  # messages of one account whose columns stay in memory, about 400 octets each
AT_ONCE = 1000  # messages whose facts are asked for together: two or three pages
BREATH = 100  # headers read before others have their turn


class SortKeys:
    """One per account. `read_headers` counts messages whose header had to be read, ever."""

    def __init__(self, ctx: AccountContext, bodies: Bodies) -> None:
        self._ctx = ctx
        self._bodies = bodies
        self._columns: OrderedDict[int, SortColumns] = OrderedDict()
        self._locks: dict[int, asyncio.Lock] = {}
        self.read_headers = 0

    async def columns(self, folder: FolderRow, uids: Sequence[int], present: Sequence[int]) -> SortColumns:
        """Columns in which all of `uids` have a row, but those that have gone. `present`: the folder's UIDs, of which
        alone something is kept. Errors: those of Graph; what was found out until then is not lost."""
        async with self._locks.setdefault(folder.key, asyncio.Lock()):
            columns = self._columns.get(folder.key) or await self._load(folder.key)
            self._keep(folder.key, columns)
            missing = [uid for uid in uids if uid not in columns.place]
            if missing:
                await self._add(folder, columns, missing, present)
            return columns

    async def _load(self, folder: int) -> SortColumns:
        columns = SortColumns()
        for block in (await self._ctx.store.sort_blocks(folder)).values():
            columns.unpack(block)
            await asyncio.sleep(0)
        return columns

    def _keep(self, folder: int, columns: SortColumns) -> None:
        """The folders sorted last, as many as fit; the present one in any case."""
        self._columns[folder] = columns
        self._columns.move_to_end(folder)
        total = sum(map(len, self._columns.values()))
        while len(self._columns) > 1 and total > KEPT:
            coldest, dropped = self._columns.popitem(last=False)
            self._locks.pop(coldest, None)
            total -= len(dropped)

    async def _add(
        self, folder: FolderRow, columns: SortColumns, missing: Sequence[int], present: Sequence[int]
    ) -> None:
        reading = self._bodies.headers.reading(folder, lambda: missing)
        try:
            for start in range(0, len(missing), AT_ONCE):
                batch = missing[start : start + AT_ONCE]
                await self._read(folder, columns, batch, reading)
                await self._write(folder.key, columns, batch, present)
        finally:
            await reading.close()

    async def _read(
        self, folder: FolderRow, columns: SortColumns, uids: Sequence[int], reading: Reading
    ) -> None:
        stored = await self._ctx.store.by_uid(folder.key, [Uid(uid) for uid in uids])
        metas = await self._bodies.metas(list(stored.values()), reading)
        for number, row in enumerate(stored.values(), 1):
            if row.id in metas:
                columns.add({row.uid: sort_facts(metas[row.id].header)})
                self.read_headers += 1
            if number % BREATH == 0:
                await asyncio.sleep(0)

    async def _write(
        self, folder: int, columns: SortColumns, changed: Iterable[int], present: Sequence[int]
    ) -> None:
        touched = {block_of(uid) for uid in changed}
        known = (uid for uid in present if block_of(uid) in touched and uid in columns.place)
        blocks = {number: columns.pack(uids) for number, uids in groupby(known, block_of)}
        if blocks:
            await self._ctx.store.put_sort_blocks(folder, blocks)
