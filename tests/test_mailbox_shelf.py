"""What is kept of header facts: by folder, name and UID, within a budget."""

from __future__ import annotations

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


def test_the_budget_holds_and_the_least_used_go_first() -> None:
    shelf = Shelf(3 * (1000 + 2 * ENTRY_OCTETS))
    for number in range(3):
        shelf.put(1, "e", {number * BLOCK: b"x" * 1000})
    shelf.get(1, "e", [0])
    shelf.put(1, "e", {3 * BLOCK: b"x" * 1000})
    assert shelf.octets <= 3 * (1000 + 2 * ENTRY_OCTETS)
    assert [each is None for each in shelf.get(1, "e", [0, BLOCK, 2 * BLOCK, 3 * BLOCK])] == [
        False,
        True,
        False,
        False,
    ]


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
