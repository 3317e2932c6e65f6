"""Sequence sets as sorted runs, never expanded (RFC 9051 section 9: sequence-set, uid-set).

Interface (to be implemented):
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Runs:
    """A sequence-set: sorted, disjoint, inclusive ranges; 0 stands for `*`.

    `2,4:7,9,12:*` is ((2,2),(4,7),(9,9),(12,0)). A range with `*` keeps it as its second number until a
    mailbox is known: `*:5` and `5:*` are the same set; `*` alone is (0, 0).
    """

    ranges: tuple[tuple[int, int], ...]

    def positions(self, uids: array[int], count: int, *, by_uid: bool) -> list[range]:
        """Zero-based positions in a mailbox of `count` messages, as ascending disjoint ranges, by bisection.

        By UID: unknown UIDs are passed over, and `n:*` always holds the last message (RFC 9051 6.4.9).
        By sequence number: raises ValueError if a number is 0 or above `count`.
        """
        raise NotImplementedError

    def contains(self, number: int, largest: int) -> bool:
        raise NotImplementedError

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Runs:
        """The canonical set of these numbers."""
        raise NotImplementedError

    def numbers(self) -> Iterator[int]:
        """Every number of a set without `*`."""
        raise NotImplementedError

    def format(self) -> bytes:
        """On the wire: `2,4:7,12:*`."""
        raise NotImplementedError
