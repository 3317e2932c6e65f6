"""PARTIAL's range (RFC 9394 section 4) against a slow reading of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import BadCommand
from gateway.core.limits import DEFAULT_LIMITS
from gateway.imap.ids import some
from gateway.wire.cursor import Cursor
from gateway.wire.page import Page, parse_page


def page(text: bytes) -> Page:
    return parse_page(Cursor((text,), DEFAULT_LIMITS))


@given(st.integers(1, 30), st.integers(1, 30), st.booleans(), st.integers(0, 25))
def test_a_page_is_the_results_with_these_numbers(one: int, other: int, newest: bool, count: int) -> None:
    sign = "-" if newest else ""
    found = page(f"{sign}{one}:{sign}{other}".encode())
    numbered = list(range(count))[:: -1 if newest else 1]
    wanted = {
        place for number, place in enumerate(numbered, 1) if min(one, other) <= number <= max(one, other)
    }
    assert set(found.of(count)) == wanted
    assert list(found.of(count)) == sorted(wanted)


@pytest.mark.parametrize(
    "text",
    [b"", b"1", b"1:", b":1", b"0:1", b"1:0", b"1:*", b"*:1", b"-1:1", b"1:-1", b"1:4294967296", b"01:2"],
)
def test_what_is_no_range(text: bytes) -> None:
    with pytest.raises(BadCommand):
        page(text)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), max_size=5),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_some_of_the_positions(gaps: list[tuple[int, int]], start: int, size: int) -> None:
    at, end = list[range](), 0
    for gap, length in gaps:
        at.append(range(end + gap, end + gap + length))
        end += gap + length
    everything = [place for run in at for place in run]
    found = [place for run in some(at, range(start, start + size)) for place in run]
    assert found == everything[start : start + size]
