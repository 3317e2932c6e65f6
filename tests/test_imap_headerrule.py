"""8-bit octets in the header of an appended message, however it is cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import CannotDo
from gateway.imap.headerrule import HeaderRule


def refused(message: bytes, cuts: list[int], *, any_octets: bool = False) -> bool:
    rule = HeaderRule(any_octets=any_octets)
    edges = [0, *sorted(cut % (len(message) + 1) for cut in cuts), len(message)]
    try:
        for start, end in itertools.pairwise(edges):
            rule.feed(message[start:end])
    except CannotDo:
        return True
    return False


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"Subject: a\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n", False),
        (b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\nx\r\n", True),
        (b"Subject: \xe9\n\nx\n", True),
        (b"Subject: a\n\n\xe9\n", False),
        (b"\r\n\xe9\r\n", False),
        (b"\n\xe9", False),
        (b"Subject: no end \xe9", True),
        (b"A: a\r\n\r\nB: \xe9\r\n\r\n", False),
        (b"", False),
    ],
)
@given(cuts=st.lists(st.integers(0, 60), max_size=6))
def test_only_the_messages_own_header_counts(message: bytes, expected: bool, cuts: list[int]) -> None:
    assert refused(message, cuts) is expected
    assert not refused(message, cuts, any_octets=True)
