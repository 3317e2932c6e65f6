"""uid-sets of COPYUID: in order, and the two sets pair off."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.imap.esearch import number_lines
from gateway.imap.ids import uid_set


def expand(text: bytes) -> list[int]:
    found: list[int] = []
    for piece in text.split(b","):
        low, _, high = piece.partition(b":")
        found.extend(range(int(low), int(high or low) + 1))
    return found


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_a_uid_set_keeps_the_order(uids: list[int]) -> None:
    assert expand(uid_set(uids)) == uids


def test_neighbours_join() -> None:
    assert uid_set([1, 2, 3, 7, 9, 10]) == b"1:3,7,9:10"


@given(st.lists(st.integers(1, 2**32 - 1), max_size=300), st.integers(30, 400))
def test_search_lines_hold_all_numbers_within_the_bound(numbers: list[int], bound: int) -> None:
    """imaplib gives up a line of a million octets; an empty result is one empty line."""
    lines = list(number_lines(b"SEARCH", numbers, bound))
    assert all(line.startswith(b"SEARCH") and len(line) <= bound + len(b"SEARCH") for line in lines)
    assert [int(word) for line in lines for word in line.split()[1:]] == numbers
    assert len(lines) >= 1


def test_a_search_of_150000_messages_stays_readable() -> None:
    lines = list(number_lines(b"SEARCH", range(1, 150_001)))
    assert len(lines) == 2
    assert max(map(len, lines)) < 1_000_000
