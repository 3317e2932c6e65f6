"""ESEARCH's answers, what SAVE keeps, and lines that no client refuses."""

from __future__ import annotations

import pytest

from gateway.imap.esearch import Correlator, Found, esearch, number_lines, saved_of
from gateway.wire.page import Page

TEN = list(range(1, 11))
PAGE = Page(2, 3, text=b"2:3")
LAST = Page(1, 2, newest=True, text=b"-1:-2")


@pytest.mark.parametrize(
    ("options", "page", "kept"),
    [
        ((b"SAVE",), None, TEN),
        ((b"SAVE", b"CONTEXT"), None, TEN),
        ((b"SAVE", b"MIN"), None, [1]),
        ((b"SAVE", b"MAX"), None, [10]),
        ((b"MAX", b"SAVE", b"MIN"), None, [1, 10]),
        ((b"SAVE", b"ALL"), None, TEN),
        ((b"SAVE", b"COUNT", b"MIN"), None, TEN),
        ((b"SAVE", b"ALL", b"MIN", b"MAX"), None, TEN),
        ((b"SAVE", b"PARTIAL"), PAGE, [2, 3]),
        ((b"SAVE", b"PARTIAL", b"MIN"), PAGE, [1, 2, 3]),
        ((b"SAVE", b"PARTIAL", b"MAX"), LAST, [9, 10]),
        ((b"SAVE", b"PARTIAL", b"COUNT"), PAGE, TEN),
    ],
)
def test_what_is_saved(options: tuple[bytes, ...], page: Page | None, kept: list[int]) -> None:
    """RFC 5182 section 2.4, RFC 9394 section 3.1."""
    assert list(saved_of(options, TEN, page)) == kept
    assert list(saved_of(options, [], page)) == []


def test_an_answer() -> None:
    found = Found([5, 6, 7, 3], PAGE, modseq=9)
    options = (b"COUNT", b"ALL", b"MIN", b"MAX", b"PARTIAL", b"SAVE")
    line = esearch(Correlator(b"a"), options, found, by_uid=True)
    assert line == b'ESEARCH (TAG "a") UID COUNT 4 ALL 5:7,3 MIN 5 MAX 3 PARTIAL (2:3 6:7) MODSEQ 9'


def test_an_answer_of_a_mailbox() -> None:
    head = Correlator(b"a]", b'"a b"', 7)
    line = esearch(head, (b"ALL",), Found([1]), by_uid=True)
    assert line == b'ESEARCH (TAG "a]" MAILBOX "a b" UIDVALIDITY 7) UID ALL 1'


def test_lines_are_bounded() -> None:
    assert list(number_lines(b"SEARCH", [])) == [b"SEARCH"]
    assert list(number_lines(b"SORT", [30, 2, 1], bound=7)) == [b"SORT 30 2", b"SORT 1"]
