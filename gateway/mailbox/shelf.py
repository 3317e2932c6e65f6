"""What was made of messages' header facts, kept at hand: ENVELOPEs, header fields as they go out, texts to be searched.

Owner: the process, one for all folders. Nothing here is ever invalidated: facts of a UID never change (decision 11:
the header block is pinned; other content is another UID), and a folder's key is never given twice. So an entry only
falls out, by least recent use within a budget of octets, and whoever wants it makes it again.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from cachetools import LRUCache

BLOCK_BITS = 8  # a block holds up to 256 neighbouring UIDs
ENTRY_OCTETS = 120  # what an entry costs besides its octets

Block = dict[int, Any]
Place = tuple[int, Hashable, int]  # folder, name, number of the block

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[int], list[Any]]).decode


class _Hot(LRUCache[Place, Block]):
    """Blocks as they are used. Those that fall out are handed on."""

    def __init__(self, octets: int, fallen: Callable[[Place, Block], None]) -> None:
        super().__init__(octets, getsizeof=_cost)
        self._fallen = fallen

    def popitem(self) -> tuple[Place, Block]:
        place, block = super().popitem()
        self._fallen(place, block)
        return place, block


class Shelf:
    """`octets`: the budget. Half of it holds blocks as they are used, half those that fell out of it, packed: header
    facts are much alike, and a folder of 100,000 messages has room there."""

    def __init__(self, octets: int) -> None:
        self._hot = _Hot(octets // 2, self._pack)
        self._packed: LRUCache[Place, bytes] = LRUCache(octets - octets // 2, getsizeof=len)

    @property
    def octets(self) -> int:
        return int(self._hot.currsize + self._packed.currsize)

    def get(self, folder: int, key: Hashable, uids: Sequence[int]) -> list[Any]:
        """For each of these UIDs (ascending) what is kept; None where nothing is."""
        found: list[Any] = []
        for number, run in _runs(uids):
            block = self._block((folder, key, number))
            found += [None] * len(run) if block is None else map(block.get, run)
        return found

    def put(self, folder: int, key: Hashable, made: Mapping[int, Any]) -> None:
        """By UID."""
        for number, run in _runs(sorted(made)):
            place = (folder, key, number)
            block = (self._block(place) or {}) | {uid: made[uid] for uid in run}
            self._packed.pop(place, None)
            self._keep(place, block)

    def _block(self, place: Place) -> Block | None:
        block = self._hot.get(place)
        if block is None and (packed := self._packed.get(place)) is not None:
            block = dict(zip(*_decode(zlib.decompress(packed)), strict=True))
            self._keep(place, block)
        return block

    def _keep(self, place: Place, block: Block) -> None:
        if _cost(block) <= self._hot.maxsize:
            self._hot[place] = block

    def _pack(self, place: Place, block: Block) -> None:
        """Once for each that has fallen out, unless it grows again."""
        if place in self._packed:
            return
        packed = zlib.compress(_encode((list(block), list(block.values()))), 1)
        if len(packed) <= self._packed.maxsize:
            self._packed[place] = packed


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
