"""Sequence sets against a model that does expand them."""

from __future__ import annotations

from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.runs import Runs

numbers = st.integers(0, 40)
pairs = st.lists(st.tuples(numbers, numbers), max_size=8)
uid_columns = st.sets(st.integers(1, 45)).map(lambda found: array("L", sorted(found)))


def model(ranges: list[tuple[int, int]], largest: int) -> set[int]:
    """What the RFC says: `*` is the largest number in use, and a range may be written either way round."""
    found: set[int] = set()
    for low, high in ranges:
        low, high = sorted((low or largest, high or largest))
        found.update(range(low, high + 1))
    return found


@given(pairs, uid_columns)
def test_positions_by_uid_are_those_of_the_model(ranges: list[tuple[int, int]], uids: array[int]) -> None:
    found = Runs.merged(ranges).positions(uids, len(uids), by_uid=True)
    wanted = model(ranges, uids[-1]) if uids else set()
    assert [uids[i] for run in found for i in run] == [uid for uid in uids if uid in wanted]


@given(pairs, uid_columns)
def test_positions_ascend_and_do_not_touch(ranges: list[tuple[int, int]], uids: array[int]) -> None:
    found = Runs.merged(ranges).positions(uids, len(uids), by_uid=True)
    assert all(run for run in found)
    assert all(a.stop < b.start for a, b in pairwise(found))


@given(pairs, st.integers(40, 60))
def test_positions_by_number_are_those_of_the_model(ranges: list[tuple[int, int]], count: int) -> None:
    found = Runs.merged(ranges).positions(array("L"), count, by_uid=False)
    assert [i + 1 for run in found for i in run] == sorted(model(ranges, count))


@given(pairs, st.integers(1, 50))
def test_contains_is_membership_of_the_model(ranges: list[tuple[int, int]], largest: int) -> None:
    runs, wanted = Runs.merged(ranges), model(ranges, largest)
    assert [n for n in range(largest + 5) if runs.contains(n, largest)] == [
        n for n in range(1, largest + 1) if n in wanted
    ]


@given(st.lists(st.integers(1, 10**6)))
def test_of_and_numbers_are_inverse(found: list[int]) -> None:
    runs = Runs.of(found)
    assert list(runs.numbers()) == sorted(set(found))
    assert all(a[1] + 1 < b[0] for a, b in pairwise(runs.ranges))


@given(pairs)
def test_merged_is_canonical(ranges: list[tuple[int, int]]) -> None:
    runs = Runs.merged(ranges)
    assert Runs.merged(runs.ranges) == runs
    assert sum(high == 0 for _, high in runs.ranges) <= 1


@pytest.mark.parametrize(
    ("ranges", "text"),
    [
        ([(2, 2), (7, 4), (9, 9), (0, 12)], b"2,4:7,9,12:*"),
        ([(0, 0)], b"*"),
        ([(0, 0), (5, 0)], b"5:*"),
        ([(1, 3), (4, 0)], b"1:*"),
        ([(1, 5), (2, 3)], b"1:5"),
        ([(3, 3), (0, 0)], b"3,*"),
        ([], b""),
    ],
)
def test_format(ranges: list[tuple[int, int]], text: bytes) -> None:
    assert Runs.merged(ranges).format() == text


def test_uid_star_always_holds_the_last_message() -> None:
    uids = array("L", [3, 8, 20])
    assert Runs.merged([(99999, 0)]).positions(uids, 3, by_uid=True) == [range(2, 3)]
    assert Runs.merged([(0, 0)]).positions(uids, 3, by_uid=True) == [range(2, 3)]
    assert Runs.merged([(99999, 99999)]).positions(uids, 3, by_uid=True) == []


def test_only_the_first_count_uids_are_looked_at() -> None:
    uids = array("L", [3, 8, 20, 30])
    assert Runs.merged([(1, 0)]).positions(uids, 2, by_uid=True) == [range(2)]
    assert Runs.merged([(20, 30)]).positions(uids, 2, by_uid=True) == []


@pytest.mark.parametrize("by_uid", [True, False])
@pytest.mark.parametrize("pair", [(0, 0), (1, 0), (7, 0)])
def test_star_of_an_empty_mailbox_is_nothing_and_no_error(pair: tuple[int, int], by_uid: bool) -> None:
    assert Runs.merged([pair]).positions(array("L"), 0, by_uid=by_uid) == []
    assert not Runs.merged([pair]).contains(1, 0)


@pytest.mark.parametrize("pair", [(4, 4), (2, 4), (9, 0)])
def test_a_message_number_above_the_count_is_an_error(pair: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="of 3"):
        Runs.merged([pair]).positions(array("L"), 3, by_uid=False)


def test_a_star_has_no_numbers_yet() -> None:
    with pytest.raises(ValueError, match=r"\*"):
        list(Runs.merged([(1, 0)]).numbers())


def test_a_huge_set_is_never_expanded() -> None:
    uids = array("L", range(1, 100_001))
    assert Runs.merged([(1, 2**32 - 1)]).positions(uids, len(uids), by_uid=True) == [range(100_000)]
    assert Runs.merged([(1, 0)]).positions(uids, len(uids), by_uid=False) == [range(100_000)]
