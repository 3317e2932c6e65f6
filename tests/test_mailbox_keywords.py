"""How many keywords a client may bring in, how long, and in which spelling (decision 7)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import LimitReached
from gateway.core.limits import DEFAULT_LIMITS
from gateway.core.types import Flags, SystemFlag, one_spelling
from gateway.mailbox.keywords import as_known, check, room
from gateway.mailbox.local import KeywordMap

MAP = KeywordMap(("Important",))
THREE = replace(DEFAULT_LIMITS, keywords_per_mailbox=3)


def test_every_code_point_of_unicode_survives_being_a_keyword() -> None:
    for start in range(1, 0x110000, 200):
        points = [n for n in range(start, min(start + 200, 0x110000)) if not 0xD800 <= n < 0xE000]
        category = "".join(map(chr, points))
        assert MAP.category(MAP.keyword(category)) == category


@given(st.text(min_size=1, max_size=255))
def test_any_category_can_be_sent_back_as_a_keyword(category: str) -> None:
    keyword = MAP.keyword(category)
    assert len(keyword) <= DEFAULT_LIMITS.keyword_octets
    check([keyword], [], MAP, DEFAULT_LIMITS)


def test_one_more_than_there_is_room_for_is_refused_and_known_ones_are_not() -> None:
    check([b"b", b"c"], [b"a"], MAP, THREE)
    with pytest.raises(LimitReached):
        check([b"b", b"c", b"d"], [b"a"], MAP, THREE)
    check([b"A", b"B", b"C", b"D"], [b"a", b"b", b"c", b"d"], MAP, THREE)  # Outlook has made the fourth
    assert room([b"a", b"b"], THREE)
    assert not room([b"a", b"b", b"c"], THREE)


@pytest.mark.parametrize("keyword", [b"x" * 256, b"=E6=97=A5" * 256])
def test_what_no_category_can_hold_is_refused(keyword: bytes) -> None:
    with pytest.raises(LimitReached):
        check([keyword], [], MAP, DEFAULT_LIMITS)


def test_keywords_that_differ_by_case_are_one() -> None:
    assert one_spelling([b"work", b"Work", b"b"]) == [b"Work", b"b"]
    asked = Flags(SystemFlag.SEEN, frozenset({b"WORK", b"new"}))
    assert as_known(asked, [b"work", b"other"]) == Flags(SystemFlag.SEEN, frozenset({b"work", b"new"}))
