"""FUZZY strings: words, beginnings, accents, and how well they fit."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.types import Flags, ObjectId, Uid
from gateway.mailbox.cache import MemoryBody
from gateway.mailbox.fuzzy import BEGINNING, WHOLE, Words, bare, scores
from gateway.mailbox.needles import Seen
from gateway.mailbox.search import Query
from gateway.mailbox.values import Meta, Need, Row
from gateway.mime.text import casefold_text
from gateway.wire.searchkey import And, Contains, Field, Fuzzy, HasFlag, HeaderContains, Not, Or, SearchKey


def fit(text: str, within: str) -> float:
    return Words.of(text).fit(casefold_text(within))


@pytest.mark.parametrize(
    ("text", "within", "expected"),
    [
        ("soup", "The Soup!", WHOLE),
        ("sou", "The Soup!", BEGINNING),
        ("oup", "The Soup!", 0),
        ("day SOUP", "soup of the day", WHOLE),
        ("day soup", "soup of the week", 0),
        ("koln strasse", "Eine Straße in Köln", WHOLE),
        ("Köln", "KOLN", WHOLE),
        ("aa", "aaa aa", WHOLE),
        ("aa", "baa aab", BEGINNING),
        ("soup da", "soup of the day", (WHOLE + BEGINNING) / 2),
        ("", "anything", WHOLE),
    ],
)
def test_words_fit(text: str, within: str, expected: float) -> None:
    assert fit(text, within) == expected


@given(st.text(alphabet="ab é.", max_size=12), st.text(alphabet="ab é.", max_size=40))
def test_a_fit_is_what_the_words_of_the_text_say(text: str, within: str) -> None:
    found = bare(casefold_text(within)).replace(".", " ").split()
    wanted = bare(casefold_text(text)).replace(".", " ").split()
    fits = all(any(word.startswith(each) for word in found) for each in wanted)
    assert bool(fit(text, within)) is fits


def test_a_text_of_one_letter_takes_linear_time() -> None:
    steps = []
    for size in (20_000, 40_000):
        count = 0

        def trace(frame: object, event: str, _: object) -> object:
            nonlocal count
            count += 1
            return trace

        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            fit("aaaa", "a" * size)
        finally:
            sys.settrace(None)
        steps.append(count)
    assert steps[1] <= 2.2 * steps[0]


@given(st.lists(st.floats(min_value=0.01, max_value=1.0), max_size=20))
def test_scores_are_1_to_100_and_the_best_is_100(fits: list[float]) -> None:
    found = scores(fits)
    assert all(1 <= score <= 100 for score in found)
    assert not found or max(found) == 100
    assert sorted(range(len(fits)), key=lambda at: (fits[at], at)) or not fits


MESSAGE = b"From: cook@example.net\r\nSubject: Minestrone today\r\n\r\nSoup with bread\r\n"


def row(message: bytes = MESSAGE) -> Row:
    made = Row(
        seq=1, uid=Uid(1), flags=Flags(), recent=False, modseq=1, internal_date=0, size=1,
        email_id=ObjectId("E"), thread_id=ObjectId("T"),
    )  # fmt: skip
    made.meta = Meta(message[: message.index(b"\r\n\r\n") + 4], b"")
    made.body = MemoryBody(message)
    return made


def judged(key: SearchKey) -> tuple[bool | None, float]:
    query = Query(key, count=1, last_uid=1)
    seen = Seen(Need.META | Need.MIME)
    return query.judge(row(), seen), query.fit(row(), seen)


def text(words: str) -> SearchKey:
    return Fuzzy(Contains(Field.TEXT, words))


def test_the_subject_counts_more_than_a_field_and_a_field_more_than_the_body() -> None:
    fits = [judged(text(words)) for words in ("minestrone", "cook", "bread")]
    assert [verdict for verdict, _ in fits] == [True] * 3
    assert fits[0][1] > fits[1][1] > fits[2][1] > 0


def test_fuzzy_reaches_all_below_it_and_nothing_else() -> None:
    group = Fuzzy(And((Contains(Field.SUBJECT, "today mine"), HeaderContains(b"From", "net cook"))))
    assert judged(group)[0] is True
    assert (
        judged(And((Fuzzy(Contains(Field.SUBJECT, "today mine")), Contains(Field.FROM, "net cook"))))[0]
        is False
    )
    assert judged(Fuzzy(Not(Contains(Field.BODY, "bread soup"))))[0] is False
    assert judged(Fuzzy(Or(HasFlag(b"\\Seen"), Contains(Field.BODY, "bread soup"))))[0] is True


def test_keys_without_strings_have_no_relevancy() -> None:
    assert not Query(Fuzzy(HasFlag(b"\\Seen")), count=1, last_uid=1).fuzzy
    assert not Query(Contains(Field.BODY, "x"), count=1, last_uid=1).fuzzy
    assert Query(Or(Fuzzy(Contains(Field.BODY, "x")), HasFlag(b"\\Seen")), count=1, last_uid=1).fuzzy


def test_a_text_of_signs_alone_is_meant_as_it_is() -> None:
    assert judged(Fuzzy(Contains(Field.SUBJECT, "?!")))[0] is False
    assert judged(Fuzzy(Contains(Field.BODY, "\r\n")))[0] is True
