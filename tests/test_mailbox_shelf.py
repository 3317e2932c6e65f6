"""What is kept of header facts: by folder, name and UID, within a budget."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.mailbox.shelf import BLOCK_BITS, ENTRY_OCTETS, Shelf

BLOCK = 1 << BLOCK_BITS


def test_what_was_put_is_there_and_nothing_else_is() -> None:
    shelf = Shelf(100_000)
    shelf.put(1, "envelope", {3: b"three", BLOCK + 1: b"next"})
    assert shelf.get(1, "envelope", [2, 3, BLOCK + 1]) == [None, b"three", b"next"]
    assert shelf.get(2, "envelope", [3]) == [None]
    assert shelf.get(1, "fields", [3]) == [None]
    assert shelf.get(1, "envelope", []) == []


def test_a_block_grows_and_an_empty_text_counts_as_kept() -> None:
    shelf = Shelf(100_000)
    shelf.put(1, "words", {3: "x"})
    shelf.put(1, "words", {4: ""})
    assert shelf.get(1, "words", [3, 4, 5]) == ["x", "", None]


def noise(number: int) -> bytes:
    return random.Random(number).randbytes(1000)


def test_the_budget_holds_and_the_least_used_go_first() -> None:
    """Each half holds three blocks."""
    shelf = Shelf(6 * (1000 + 2 * ENTRY_OCTETS))
    for number in range(8):
        shelf.put(1, "e", {number * BLOCK: noise(number)})
    assert shelf.octets <= 6 * (1000 + 2 * ENTRY_OCTETS)
    kept = [shelf.get(1, "e", [number * BLOCK])[0] for number in range(8)]
    assert kept[0] is None
    assert kept[4:] == [noise(number) for number in range(4, 8)]


def test_what_falls_out_is_packed_and_comes_back_as_it_was() -> None:
    shelf = Shelf(2 * (1004 + 3 * ENTRY_OCTETS))
    shelf.put(1, "e", {1: b"x" * 1000})
    shelf.put(1, "t", {1: "text" * 200, 2: ""})
    assert shelf.get(1, "e", [1, 2]) == [b"x" * 1000, None]
    assert shelf.get(1, "t", [1, 2]) == ["text" * 200, ""]
    shelf.put(1, "e", {2: b"more"})
    shelf.get(1, "t", [1])
    assert shelf.get(1, "e", [1, 2]) == [b"x" * 1000, b"more"]


def test_what_is_larger_than_the_budget_is_not_kept() -> None:
    shelf = Shelf(1000)
    shelf.put(1, "e", {1: b"x" * 2000})
    assert shelf.get(1, "e", [1]) == [None]
    assert shelf.octets == 0


@given(
    st.dictionaries(st.integers(1, 2**32 - 1), st.binary(max_size=5), max_size=20),
    st.sets(st.integers(1, 2**32 - 1), max_size=20),
)
def test_it_is_a_dictionary(made: dict[int, bytes], others: set[int]) -> None:
    shelf = Shelf(1 << 20)
    shelf.put(7, "k", made)
    uids = sorted({*made, *others})
    assert shelf.get(7, "k", uids) == [made.get(uid) for uid in uids]
