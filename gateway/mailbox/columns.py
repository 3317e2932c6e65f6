"""Messages as columns: what FETCH says of thousands and SEARCH asks of all, without an object for each.

The index is columns already; what follows from header facts comes from the shelf (`mailbox/shelf.py`), and is made for
a whole group of messages where it is not there yet. Rows (`mailbox/rows.py`) are for everything else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from itertools import chain, islice
from typing import Any

from gateway.core.types import Flags, Uid
from gateway.graph.errors import GraphError
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.context import AccountContext
from gateway.mailbox.headers import Reading
from gateway.mailbox.hub import FolderHub
from gateway.mailbox.replies import refusal
from gateway.mailbox.values import Columns, Derived
from gateway.mailbox.view import MailboxView
from gateway.mailbox.work import bulk
from gateway.store.api import FolderRow

GROUP = 1024  # messages whose facts are read together
TOLD = 256  # messages in columns that hold derived octets: so many lines are rendered at once


class ColumnReader:
    """One per open folder."""

    def __init__(
        self, ctx: AccountContext, bodies: Bodies, folder: FolderRow, hub: FolderHub, view: MailboxView
    ) -> None:
        self._ctx = ctx
        self._bodies = bodies
        self._folder = folder
        self._hub = hub
        self._view = view

    async def columns(self, at: Sequence[range], wanted: Sequence[Derived]) -> AsyncIterator[Columns]:
        """In order. Messages expunged so long ago that nothing is known of them are left out. What is read of the
        index is of the moment it is yielded. Errors: those of Graph, as refusals."""
        if not wanted:
            for group in _slices(at, GROUP):
                yield self.at(group)
            return
        async with aclosing(self.derived(at, wanted)) as groups:
            async for group, made in groups:
                for start in range(0, len(group), TOLD):
                    piece = slice(start, start + TOLD)
                    yield self.at(group[piece], [column[piece] for column in made])

    async def derived(
        self, at: Sequence[range], wanted: Sequence[Derived]
    ) -> AsyncGenerator[tuple[Sequence[int], list[list[Any]]], None]:
        """These positions in groups, with a column for each of `wanted`; None for what has gone."""
        told = self._view.uids
        reading = self._bodies.headers.reading(
            self._folder, lambda: (told[place] for place in chain.from_iterable(at)),
            priority=bulk(sum(map(len, at))),
        )  # fmt: skip
        try:
            for group in _slices(at, GROUP):
                yield group, await self._made(_pick(told, group), wanted, reading)
        except GraphError as error:
            raise refusal(error) from error
        finally:
            await reading.close()

    async def _made(
        self, uids: Sequence[int], wanted: Sequence[Derived], reading: Reading
    ) -> list[list[Any]]:
        shelf, folder = self._hub.shelf, self._folder.key
        columns = [shelf.get(folder, each.key, uids) for each in wanted]
        missing = (
            [uid for uid, *made in zip(uids, *columns, strict=True) if None in made]
            if any(None in column for column in columns)
            else []
        )
        if not missing:
            return columns
        stored = await self._ctx.store.by_uid(folder, [Uid(uid) for uid in missing])
        metas = await self._bodies.metas(list(stored.values()), reading, priority=reading.priority)
        known = {int(row.uid): metas[row.id] for row in stored.values() if row.id in metas}
        for each, column in zip(wanted, columns, strict=True):
            lacking = [
                (place, uid) for place, uid in enumerate(uids) if column[place] is None and uid in known
            ]
            made = {uid: each.make(known[uid]) for _, uid in lacking}
            shelf.put(folder, each.key, made)
            for place, uid in lacking:
                column[place] = made[uid]
        return columns

    def at(self, group: Sequence[int], made: list[list[Any]] | None = None) -> Columns:
        """These positions (ascending) as the index has them now; those of which nothing is known any more are left
        out."""
        index, view = self._hub.index, self._view
        if view.uids is not index.uids:
            return self._apart(group, made or [])
        uids = _pick(index.uids, group)
        flags = _pick(index.bits, group)
        return Columns(
            seqs=range(group.start + 1, group.stop + 1) if isinstance(group, range) else [at + 1 for at in group],
            uids=uids, flags=flags, flag_sets={number: index.table.flags(number) for number in set(flags)},
            modseqs=_pick(index.modseqs, group), dates=_pick(index.dates, group), sizes=_pick(index.sizes, group),
            recent=view.recent_among(uids), derived=made or [],
        )  # fmt: skip

    def _apart(self, group: Sequence[int], made: list[list[Any]]) -> Columns:
        """Where the client has not heard yet that messages came or went: one by one."""
        told = self._view.uids
        entries = [
            (place, at, entry) for place, at in enumerate(group) if (entry := self._hub.index.entry(told[at]))
        ]
        numbers: dict[Flags, int] = {}
        flags = [numbers.setdefault(entry.flags, len(numbers)) for _, _, entry in entries]
        uids = [entry.uid for _, _, entry in entries]
        return Columns(
            [at + 1 for _, at, _ in entries], uids, flags, {number: each for each, number in numbers.items()},
            [entry.modseq for _, _, entry in entries], [entry.internal_date for _, _, entry in entries],
            [entry.size for _, _, entry in entries], self._view.recent_among(uids),
            [[column[place] for place, _, _ in entries] for column in made],
        )  # fmt: skip


def _slices(at: Sequence[range], size: int) -> Iterator[Sequence[int]]:
    """Positions in order, so many at once: a range where they are neighbours, else a list."""
    if len(at) == 1:
        whole = at[0]
        yield from (whole[start : start + size] for start in range(0, len(whole), size))
        return
    positions = chain.from_iterable(at)
    while batch := list(islice(positions, size)):
        yield batch


def _pick(column: Sequence[int], group: Sequence[int]) -> Sequence[int]:
    if isinstance(group, range):
        return column[group.start : group.stop]
    return [column[at] for at in group]
