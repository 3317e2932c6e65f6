"""What a search can reach: the sets among its keys, intersected, against plain sets of numbers."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.runs import Runs
from gateway.mailbox.reach import reach
from gateway.wire.searchkey import All, And, HasFlag, Not, Or, SearchKey, SeqSet, UidSet

UIDS = array("I", range(10, 60, 3))
PAIRS = st.lists(st.tuples(st.integers(0, 17), st.integers(0, 17)), min_size=1, max_size=3)
SEEN = HasFlag(b"\\Seen")
KEYS = st.recursive(
    st.one_of(
        PAIRS.map(lambda pairs: SeqSet(Runs.merged(pairs))),
        PAIRS.map(lambda pairs: UidSet(Runs.merged((3 * a, 3 * b) for a, b in pairs))),
        st.sampled_from([All(), SEEN]),
    ),
    lambda keys: st.one_of(
        st.lists(keys, min_size=1, max_size=3).map(lambda inner: And(tuple(inner))),
        keys.map(Not),
        st.tuples(keys, keys).map(lambda pair: Or(*pair)),
    ),
    max_leaves=6,
)


def may_match(key: SearchKey, at: int) -> bool:
    """As a search has it, where nothing is known of flags."""
    match key:
        case And(keys):
            return all(may_match(each, at) for each in keys)
        case SeqSet(ids):
            return ids.contains(at + 1, len(UIDS))
        case UidSet(ids):
            return ids.contains(UIDS[at], UIDS[-1])
    return True


@given(KEYS)
def test_nothing_that_matches_is_out_of_reach(key: SearchKey) -> None:
    reached = [at for run in reach(key, UIDS) for at in run]
    assert reached == sorted(set(reached))
    assert {at for at in range(len(UIDS)) if may_match(key, at)} <= set(reached)


def test_it_narrows() -> None:
    key = And((UidSet(Runs(((10, 20),))), And((SeqSet(Runs(((2, 2), (4, 9)))), SEEN))))
    assert reach(key, UIDS) == [range(1, 2), range(3, 4)]
    assert reach(UidSet(Runs(((1000, 1000),))), UIDS) == []
    assert reach(SEEN, array("I")) == [range(0)]
