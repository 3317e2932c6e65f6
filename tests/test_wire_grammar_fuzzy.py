"""FUZZY and RELEVANCY in the grammar (RFC 6203 section 7)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.errors import BadCommand, LimitReached
from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.wire.command import Command, Search
from gateway.wire.command_search import Sort
from gateway.wire.framer import Frame
from gateway.wire.grammar import parse
from gateway.wire.searchkey import All, And, Contains, Field, Fuzzy, HasFlag, HeaderContains, Not, Or
from gateway.wire.sortkey import Criterion, SortKey


def command(text: bytes, limits: Limits = DEFAULT_LIMITS) -> Command:
    return parse(Frame((b"a " + text,)), limits)


SUBJECT, FROM = Contains(Field.SUBJECT, "x"), Contains(Field.FROM, "y")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b"FUZZY SUBJECT x", Fuzzy(SUBJECT)),
        (b"fuzzy subject x FROM y", And((Fuzzy(SUBJECT), FROM))),  # one key is its argument
        (b"FUZZY (SUBJECT x FROM y)", Fuzzy(And((SUBJECT, FROM)))),
        (b"NOT FUZZY SUBJECT x", Not(Fuzzy(SUBJECT))),
        (b"FUZZY NOT SUBJECT x", Fuzzy(Not(SUBJECT))),
        (b"OR FUZZY SUBJECT x FROM y", Or(Fuzzy(SUBJECT), FROM)),
        (b"FUZZY FUZZY ALL", Fuzzy(Fuzzy(All()))),
        (b"FUZZY UNSEEN", Fuzzy(Not(HasFlag(b"\\Seen")))),
        (b'FUZZY HEADER X-A "b c"', Fuzzy(HeaderContains(b"X-A", "b c"))),
    ],
)
def test_fuzzy_takes_one_key(text: bytes, key: object) -> None:
    parsed = command(b"SEARCH " + text)
    assert isinstance(parsed, Search) and parsed.key == key


@pytest.mark.parametrize(
    "text", [b"FUZZY", b"FUZZY ", b"FUZZY  ALL", b"FUZZY()", b"FUZZY ()", b"FUZZYALL", b"FUZZY x"]
)
def test_bad(text: bytes) -> None:
    with pytest.raises(BadCommand):
        command(b"SEARCH " + text)


def test_nesting_is_bounded() -> None:
    deep = replace(DEFAULT_LIMITS, search_depth=5)
    command(b"SEARCH " + b"FUZZY " * 5 + b"ALL", deep)
    with pytest.raises(LimitReached):
        command(b"SEARCH " + b"FUZZY " * 6 + b"ALL", deep)


def test_relevancy_is_returned_and_sorted_by() -> None:
    parsed = command(b"SEARCH RETURN (relevancy ALL) FUZZY TEXT x")
    assert isinstance(parsed, Search) and parsed.returns == (b"RELEVANCY", b"ALL")
    ordered = command(b"UID SORT RETURN (RELEVANCY) (REVERSE RELEVANCY SUBJECT) UTF-8 FUZZY TEXT x")
    assert isinstance(ordered, Sort) and ordered.returns == (b"RELEVANCY",)
    assert ordered.criteria == (Criterion(SortKey.RELEVANCY, True), Criterion(SortKey.SUBJECT))
