"""Which messages a search can find at all, before any is looked at: the sets it names narrow it by bisection."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from gateway.wire.searchkey import And, SearchKey, SeqSet, UidSet


def reach(key: SearchKey, uids: array[int]) -> Sequence[range]:
    """Positions outside of which nothing matches, ascending. `uids` are the view's."""
    wanted = key.keys if isinstance(key, And) else (key,)
    found: list[range] = [range(len(uids))]
    for each in wanted:
        if isinstance(each, UidSet | SeqSet):
            found = _both(found, _positions(each, uids))
        elif isinstance(each, And):
            found = _both(found, reach(each, uids))
    return found


def _positions(key: UidSet | SeqSet, uids: array[int]) -> list[range]:
    """A number beyond the last message finds nothing; here it narrows nothing."""
    try:
        return key.ids.positions(uids, len(uids), by_uid=isinstance(key, UidSet))
    except ValueError:
        return [range(len(uids))]


def _both(one: Sequence[range], other: Sequence[range]) -> list[range]:
    """What is in both, each ascending and disjoint."""
    found: list[range] = []
    left = right = 0
    while left < len(one) and right < len(other):
        start = max(one[left].start, other[right].start)
        stop = min(one[left].stop, other[right].stop)
        if start < stop:
            found.append(range(start, stop))
        if one[left].stop < other[right].stop:
            left += 1
        else:
            right += 1
    return found
