"""Sequence sets as sorted runs, never expanded (RFC 9051 section 9: sequence-set, uid-set).

`1:*` of a mailbox with 100,000 messages is one pair of numbers here and two bisections there. Parsing is the
grammar's (`wire.cursor`); this is the value and its arithmetic.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

STAR = 0  # `*`, the largest number in use

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Runs:
    """A sequence-set: sorted, disjoint, inclusive ranges; 0 stands for `*`.

    `2,4:7,9,12:*` is ((2,2),(4,7),(9,9),(12,0)). A range with `*` keeps it as its second number until a
    mailbox is known: `*:5` and `5:*` are the same set; `*` alone is (0, 0). Build one with `of` or `merged`:
    the other methods rely on the order. At most one range holds `*`, and it is the last.
    """

    ranges: tuple[Pair, ...]

    def positions(self, uids: array[int], count: int, *, by_uid: bool) -> list[range]:
        """Zero-based positions in a mailbox of `count` messages, as ascending disjoint ranges, by bisection.

        By UID: `uids` ascending, of which the first `count` are looked at; unknown UIDs are passed over, and
        `n:*` always holds the last message (RFC 9051 6.4.9).
        By sequence number (`uids` is not looked at): ValueError if a number is above `count`. In an empty
        mailbox a range with `*` holds nothing and is no error: clients ask for `1:*` and `*:*` there.
        """
        if by_uid:
            found = (_by_uid(pair, uids, count) for pair in self.ranges)
        else:
            found = (_by_number(pair, count) for pair in self.ranges)
        return _joined(found)

    def contains(self, number: int, largest: int) -> bool:
        """Whether `number` (1..largest) is in the set, where `largest` is what `*` stands for (0: empty)."""
        if not 1 <= number <= largest:
            return False
        at = bisect_right(self.ranges, number, key=_first_or_infinity) - 1
        if at >= 0 and number <= (self.ranges[at][1] or largest):
            return True
        return number == largest and self.has_star

    @property
    def has_star(self) -> bool:
        """Whether the set names `*`, so that what it holds depends on the mailbox."""
        return bool(self.ranges) and self.ranges[-1][1] == STAR

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Runs:
        """The canonical set of these numbers (each at least 1, any order, repetitions allowed)."""
        return cls.merged((number, number) for number in numbers)

    @classmethod
    def merged(cls, pairs: Iterable[Pair]) -> Runs:
        """The canonical set of these ranges, each in either direction, 0 for `*`; neighbours join."""
        finite: list[Pair] = []
        star: int | None = None
        for low, high in pairs:
            if low and high:
                finite.append((low, high) if low <= high else (high, low))
            else:
                bound = low or high or _INFINITY
                star = bound if star is None else min(star, bound)
        return cls(_with_star(_merge(finite), star))

    def size(self) -> int:
        """How many numbers a set without `*` has."""
        return sum(high - low + 1 for low, high in self.ranges)

    def numbers(self) -> Iterator[int]:
        """Every number of a set without `*`, ascending; ValueError where it has one."""
        if self.has_star:
            raise ValueError("a set with * has no numbers before its mailbox is known")
        for low, high in self.ranges:
            yield from range(low, high + 1)

    def format(self) -> bytes:
        """On the wire: `2,4:7,12:*`."""
        return b",".join(map(_format_pair, self.ranges))


@dataclass(frozen=True, slots=True)
class LastResult(Runs):
    """`$`: what the session's last SEARCH RETURN (SAVE) found (RFC 5182). Whoever knows the session puts the real set
    in its place (`imap.ids`); by itself it is the empty one."""

    ranges: tuple[Pair, ...] = ()


_INFINITY = 1 << 64  # above every number of the protocol


def _first_or_infinity(pair: Pair) -> int:
    return pair[0] or _INFINITY


def _merge(pairs: list[Pair]) -> list[Pair]:
    pairs.sort()
    merged: list[Pair] = []
    for low, high in pairs:
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def _with_star(finite: list[Pair], star: int | None) -> tuple[Pair, ...]:
    """`star` is where the range up to `*` begins, _INFINITY for a lone `*`, None for none."""
    if star is None:
        return tuple(finite)
    while finite and finite[-1][1] >= star - 1:
        star = min(star, finite.pop()[0])
    return (*finite, (STAR if star == _INFINITY else star, STAR))


def _by_uid(pair: Pair, uids: array[int], count: int) -> range:
    low, high = pair
    if high:
        return range(bisect_left(uids, low, 0, count), bisect_right(uids, high, 0, count))
    if not count:
        return range(0)
    start = bisect_left(uids, low, 0, count) if low else count
    return range(min(start, count - 1), count)


def _by_number(pair: Pair, count: int) -> range:
    low, high = pair
    if high == STAR and not count:
        return range(0)
    if low > count or high > count:
        raise ValueError(f"message number {max(low, high)} of {count}")
    return range((low or count) - 1, high or count)


def _joined(ranges: Iterable[range]) -> list[range]:
    """Drop empty ranges, join those that touch or overlap; the input ascends by start."""
    joined: list[range] = []
    for found in ranges:
        if not found:
            continue
        if joined and found.start <= joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(joined[-1].stop, found.stop))
        else:
            joined.append(found)
    return joined


def _format_pair(pair: Pair) -> bytes:
    low, high = pair
    if low == high:
        return b"%d" % low if low else b"*"
    return b"%d:%d" % pair if high else b"%d:*" % low
