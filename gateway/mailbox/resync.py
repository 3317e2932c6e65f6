"""Which messages a client that comes back may forget: VANISHED (EARLIER)'s UIDs (RFC 7162 sections 3.2.5, 3.2.6).

Values and functions. UID ranges are pairs, both ends included, ascending and disjoint; nothing here expands one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.core.runs import Pair, Runs


@dataclass(frozen=True, slots=True)
class Known:
    """What the client says it holds. `uids`: None = every UID that was ever given. `match`: message numbers and the
    UIDs it had under them, pairwise, as many of each; of use where the store remembers too little."""

    modseq: int
    uids: Runs | None = None
    match: tuple[Runs, Runs] | None = None

    def ranges(self, last: int) -> list[Pair]:
        """`uids` below or at `last`, the highest UID ever given. `*` is that one: whoever asks for `1:*` means
        every message, the last one that is gone, too."""
        given = Runs(((1, last),)) if self.uids is None else self.uids
        return list(_clipped(given, last))


def vanished(known: Known, expunged: Sequence[int] | None, present: array[int], last: int) -> Runs:
    """UIDs of `known` that the client may forget: of `expunged` (ascending, since `known.modseq`), or, where that is
    None because the store has forgotten it, all that are not there (RFC 7162 section 3.2.6). Never one of `present`:
    of those a view will speak in its turn."""
    ranges = known.ranges(last)
    if expunged is not None:
        return Runs.of(uid for uid in _within(expunged, ranges) if not _holds(present, uid))
    if known.match is not None:
        above = matched(*known.match, present)
        ranges = [(max(low, above + 1), high) for low, high in ranges if high > above]
    return Runs.merged(gap for pair in ranges for gap in _gaps(pair, present))


def matched(numbers: Runs, uids: Runs, present: array[int]) -> int:
    """The highest UID that has the number it had (0: none). No message below it was expunged, for numbers only ever
    fall and UIDs only ever rise (RFC 7162 section 3.2.5.2). ValueError: not as many numbers as UIDs."""
    best = 0
    for number, uid, count in _pairs(numbers, uids):
        same = bisect_left(range(count), True, key=lambda step: not _at(present, number + step, uid + step))
        if same:
            best = uid + same - 1
        if same < count:
            break
    return best


# -- ranges --


def _clipped(given: Runs, last: int) -> Iterator[Pair]:
    for low, high in given.ranges:
        if not high:  # `n:*` is also `*:n`
            low, high = min(low or last, last), last
        if low and low <= last:
            yield low, min(high, last)


def _within(uids: Sequence[int], ranges: Sequence[Pair]) -> Iterator[int]:
    for low, high in ranges:
        yield from uids[bisect_left(uids, low) : bisect_right(uids, high)]


def _holds(present: array[int], uid: int) -> bool:
    at = bisect_left(present, uid)
    return at < len(present) and present[at] == uid


def _gaps(pair: Pair, present: array[int]) -> Iterator[Pair]:
    """The parts of the range that hold no message."""
    start, high = pair
    for uid in present[bisect_left(present, start) : bisect_right(present, high)]:
        if uid > start:
            yield start, uid - 1
        start = uid + 1
    if start <= high:
        yield start, high


# -- message numbers and UIDs, pairwise --


def _pairs(numbers: Runs, uids: Runs) -> Iterator[tuple[int, int, int]]:
    """(number, UID, how many in a row of both), ascending."""
    if numbers.size() != uids.size():
        raise ValueError("not as many numbers as UIDs")
    ours, theirs = [*reversed(numbers.ranges)], [*reversed(uids.ranges)]
    while ours:
        (number, number_end), (uid, uid_end) = ours.pop(), theirs.pop()
        count = min(number_end - number, uid_end - uid) + 1
        yield number, uid, count
        if number + count <= number_end:
            ours.append((number + count, number_end))
        if uid + count <= uid_end:
            theirs.append((uid + count, uid_end))


def _at(present: array[int], number: int, uid: int) -> bool:
    return number <= len(present) and present[number - 1] == uid
