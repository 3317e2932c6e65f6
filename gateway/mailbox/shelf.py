"""What was made of messages' header facts, kept at hand: ENVELOPEs, header fields as they go out, texts to be searched.

Owner: the process, one for all folders. Nothing here is ever invalidated: facts of a UID never change (decision 11:
the header block is pinned; other content is another UID), and a folder's key is never given twice. So an entry only
falls out, by least recent use within a budget of octets, and whoever wants it makes it again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from cachetools import LRUCache

BLOCK_BITS = 8  # a block holds up to 256 neighbouring UIDs
ENTRY_OCTETS = 120  # what an entry costs besides its octets

Block = dict[int, Any]


class Shelf:
    """`octets`: the budget."""

    def __init__(self, octets: int) -> None:
        self._blocks: LRUCache[tuple[int, Hashable, int], Block] = LRUCache(octets, getsizeof=_cost)

    @property
    def octets(self) -> int:
        return int(self._blocks.currsize)

    def get(self, folder: int, key: Hashable, uids: Sequence[int]) -> list[Any]:
        """For each of these UIDs (ascending) what is kept; None where nothing is."""
        found: list[Any] = []
        for number, run in _runs(uids):
            block = self._blocks.get((folder, key, number))
            found += [None] * len(run) if block is None else map(block.get, run)
        return found

    def put(self, folder: int, key: Hashable, made: Mapping[int, Any]) -> None:
        """By UID."""
        uids = sorted(made)
        for number, run in _runs(uids):
            place = (folder, key, number)
            block = self._blocks.get(place, {}) | {uid: made[uid] for uid in run}
            if _cost(block) <= self._blocks.maxsize:
                self._blocks[place] = block


def _runs(uids: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """Ascending UIDs cut where blocks end."""
    start = 0
    while start < len(uids):
        number = uids[start] >> BLOCK_BITS
        end = bisect_left(uids, (number + 1) << BLOCK_BITS, start)
        yield number, uids[start:end]
        start = end


def _cost(block: Block) -> int:
    return sum(map(len, block.values())) + ENTRY_OCTETS * (len(block) + 1)
