"""KQL from a person's text: nothing but words gets through."""

from __future__ import annotations

import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.graph.kql import WORDS, containing, quoted, received, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World", ["hello", "world"]),
        ("a b cafe\u0301", ["café"]),  # NFC; single letters say nothing beside a word
        ("x", ["x"]),
        ("x y", ["x"]),
        ("?! -- ()", []),
        ("", []),
        ("NOT body:secret OR *", ["secret", "body", "not", "or"]),
        ('quarter" OR from:"boss', ["quarter", "boss", "from", "or"]),
        ("well-known well", ["known", "well"]),
        ("हिन्दी", ["हिन्दी"]),  # vowel signs belong to the word
        ("naïve_test 42", ["naïve", "test", "42"]),
        ("\ud800x" * 2, ["x"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert sorted(words(text)) == sorted(expected)


def test_clauses() -> None:
    assert containing("Hello") == "(body:hello* OR attachment:hello*)"
    assert containing("two words", ("body",)) == "(body:words*) AND (body:two*)"
    assert containing("...") is None
    assert quoted('a"b\\c') == '"a\\"b\\\\c"'
    ranged = received("body:x*", date(2024, 1, 1), date(2024, 2, 29))
    assert ranged == "(body:x*) AND received:2024-01-01..2024-02-29"


@given(st.text(alphabet="abÄé ANDOR NOT()\":*\\<>=1'&#+%_~^\n\0", max_size=60))
def test_no_text_reaches_beyond_its_words(text: str) -> None:
    query = containing(text)
    if query is None:
        assert not any(character.isalnum() for character in text)
        return
    clauses = query.split(" AND ")
    assert len(clauses) <= WORDS
    for clause in clauses:
        match = re.fullmatch(r"\(body:([^\W_]+)\* OR attachment:([^\W_]+)\*\)", clause)
        assert match is not None
        assert match[1] == match[2]


@given(st.text())
def test_a_query_is_short_whatever_the_text(text: str) -> None:
    assert len((containing(text * 50) or "").encode()) < 3000
