"""SEARCH keys on rows: exact semantics, and verdicts from as little as possible."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.runs import Runs
from gateway.core.types import Flags, ObjectId, Uid
from gateway.mailbox.search import Query, cheap_first, need_of
from gateway.mailbox.values import Meta, Need, Row
from gateway.mime.header import header_end
from gateway.mime.part import Part, scan
from gateway.wire.searchkey import (
    All,
    And,
    Contains,
    DateIs,
    Field,
    HasFlag,
    HeaderContains,
    Larger,
    ModSeqIs,
    Not,
    Or,
    Recent,
    SearchKey,
    SeqSet,
    Smaller,
    UidSet,
    When,
)

MESSAGE = (
    b'From: "Doe, John" <john.doe@example.com>\r\nTo: =?utf-8?Q?J=C3=B6rg?= <j@x.org>,\r\n'
    b" Ann <ann@y.org>\r\n"
    b"Cc: boss@example.com\r\nSubject: Quarterly =?utf-8?Q?r=C3=A9?= =?utf-8?Q?sum=C3=A9?=\r\n"
    b"Date: Mon, 1 Jan 2024 23:30:00 -0800\r\nX-Empty:\r\nMessage-ID: <id@x>\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"VGhlIG51bWJlcnMgYXJlIGluOiBjYWbDqSA0Mg==\r\n"  # The numbers are in: café 42
)
EVERYTHING = Need.META | Need.SIZE | Need.MIME


@dataclass
class Octets:
    message: bytes
    reads: int = 0

    @property
    def size(self) -> int:
        return len(self.message)

    @property
    def part(self) -> Part:
        return scan(self.message)

    def read(self, start: int, end: int) -> bytes:
        self.reads += 1
        return self.message[start:end]


def a_row(have: Need = EVERYTHING, message: bytes = MESSAGE, **changes: object) -> Row:
    row = Row(
        seq=3,
        uid=Uid(30),
        flags=Flags.of([b"\\Seen", b"$Work"]),
        recent=False,
        modseq=100,
        internal_date=int(datetime(2024, 1, 3, 12, tzinfo=UTC).timestamp()),
        size=len(message),
        email_id=ObjectId("E"),
        thread_id=ObjectId("T"),
    )
    if Need.META in have:
        row.meta = Meta(message[: header_end(message)], b"()")
    if Need.MIME in have:
        row.body = Octets(message)
    for name, value in changes.items():
        setattr(row, name, value)
    return row


def hit(key: SearchKey, row: Row | None = None, count: int = 5, last_uid: int = 50) -> bool:
    query = Query(key, count=count, last_uid=last_uid)
    return query.evaluate(row or a_row(), query.need) is True


SEEN, FLAGGED = HasFlag(b"\\Seen"), HasFlag(b"\\Flagged")


def test_flags_and_keywords() -> None:
    assert hit(SEEN) and hit(HasFlag(b"\\SEEN"))
    assert not hit(FLAGGED) and hit(Not(FLAGGED))
    assert hit(HasFlag(b"$work")) and not hit(HasFlag(b"$Home"))
    assert hit(Not(HasFlag(b"$Home"))) and not hit(Not(HasFlag(b"$WORK")))  # UNKEYWORD
    assert hit(Recent(), a_row(recent=True)) and not hit(Recent())


def test_not_or_and_and() -> None:
    assert hit(All()) and not hit(Not(All()))
    assert hit(Or(FLAGGED, SEEN)) and hit(Or(SEEN, FLAGGED)) and not hit(Or(FLAGGED, Not(SEEN)))
    assert not hit(And((SEEN, FLAGGED))) and hit(And((SEEN, Not(FLAGGED)))) and hit(And(()))


def test_sets() -> None:
    assert hit(SeqSet(Runs(((2, 4),)))) and not hit(SeqSet(Runs(((4, 5),))))
    assert hit(UidSet(Runs(((30, 30),)))) and not hit(UidSet(Runs(((3, 3),))))
    star, beyond = Runs(((0, 0),)), Runs(((999, 0),))
    last = a_row(seq=5, uid=Uid(50))
    assert hit(UidSet(star), last) and hit(SeqSet(star), last)
    assert hit(UidSet(beyond), last)  # n:* always holds the last message
    assert not hit(UidSet(star)) and not hit(UidSet(beyond))


@pytest.mark.parametrize(
    ("when", "day", "expected"),
    [
        (When.BEFORE, (2024, 1, 3), False),
        (When.BEFORE, (2024, 1, 4), True),
        (When.ON, (2024, 1, 3), True),
        (When.ON, (2024, 1, 2), False),
        (When.SINCE, (2024, 1, 3), True),
        (When.SINCE, (2024, 1, 4), False),
    ],
)
def test_dates_are_the_day_of_internaldate(when: When, day: tuple[int, int, int], expected: bool) -> None:
    assert hit(DateIs(when, day)) is expected
    midnight = int(datetime(2024, 1, 3, tzinfo=UTC).timestamp())
    assert hit(DateIs(when, day), a_row(internal_date=midnight)) is expected
    assert hit(DateIs(when, day), a_row(internal_date=midnight + 86_399)) is expected


def test_dates_before_1970() -> None:
    row = a_row(internal_date=-1)
    assert hit(DateIs(When.ON, (1969, 12, 31)), row) and hit(DateIs(When.BEFORE, (1970, 1, 1)), row)


@pytest.mark.parametrize(
    ("when", "day", "expected"),
    [
        (When.ON, (2024, 1, 1), True),  # in its own zone, though it is the 2nd in UTC
        (When.ON, (2024, 1, 2), False),
        (When.BEFORE, (2024, 1, 2), True),
        (When.SINCE, (2024, 1, 1), True),
        (When.SINCE, (2024, 1, 2), False),
    ],
)
def test_sent_dates_are_the_day_the_date_field_names(
    when: When, day: tuple[int, int, int], expected: bool
) -> None:
    assert hit(DateIs(when, day, sent=True)) is expected


@pytest.mark.parametrize("when", When)
def test_without_a_readable_date_no_sent_key_matches(when: When) -> None:
    for message in (b"Subject: x\r\n\r\n", b"Date: soon\r\n\r\n"):
        assert not hit(DateIs(when, (2024, 1, 1), sent=True), a_row(message=message))


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        (Field.FROM, "doe", True),  # anywhere in the value
        (Field.FROM, "example.com", True),
        (Field.FROM, "DOE, JOHN", True),
        (Field.FROM, "j@x.org", False),
        (Field.TO, "jörg", True),
        (Field.TO, "ann@y", True),
        (Field.TO, "utf-8", False),
        (Field.CC, "boss", True),
        (Field.BCC, "boss", False),
        (Field.BCC, "", False),
        (Field.CC, "", True),
        (Field.SUBJECT, "résumé", True),  # joined over two encoded words
        (Field.SUBJECT, "RÉSUMÉ", True),
        (Field.SUBJECT, "quarterly résumé", True),
        (Field.SUBJECT, "numbers", False),
        (Field.BODY, "CAFÉ 42", True),
        (Field.BODY, "quarterly", False),
        (Field.BODY, "VGhlIG51", False),
        (Field.TEXT, "quarterly", True),
        (Field.TEXT, "numbers are", True),
        (Field.TEXT, "nowhere", False),
    ],
)
def test_strings(field: Field, text: str, expected: bool) -> None:
    assert hit(Contains(field, text)) is expected
    assert hit(Not(Contains(field, text))) is not expected


def test_header() -> None:
    assert hit(HeaderContains(b"Message-ID", "<id@x>")) and hit(HeaderContains(b"message-id", "ID@"))
    assert hit(HeaderContains(b"X-Empty", "")) and not hit(HeaderContains(b"X-Empty", "a"))
    assert not hit(HeaderContains(b"X-None", "")) and hit(Not(HeaderContains(b"X-None", "")))


def test_sizes_and_mod_sequences() -> None:
    size = len(MESSAGE)
    assert hit(Larger(size - 1)) and not hit(Larger(size))
    assert hit(Smaller(size + 1)) and not hit(Smaller(size))
    assert hit(ModSeqIs(100)) and not hit(ModSeqIs(101))


def test_a_key_needs_no_more_than_it_looks_at() -> None:
    assert need_of(And((SEEN, DateIs(When.ON, (2024, 1, 1)), UidSet(Runs(()))))) == Need.INDEX
    assert need_of(Not(Contains(Field.FROM, "x"))) == Need.META
    assert need_of(DateIs(When.ON, (2024, 1, 1), sent=True)) == Need.META
    assert need_of(Or(Larger(5), Contains(Field.SUBJECT, "x"))) == Need.SIZE | Need.META
    assert need_of(Contains(Field.BODY, "x")) == Need.MIME
    assert need_of(And((SEEN, Contains(Field.TEXT, "x")))) == Need.META | Need.MIME


def test_cheap_keys_come_first() -> None:
    body, subject = Contains(Field.BODY, "x"), Contains(Field.SUBJECT, "x")
    assert cheap_first(And((body, subject, SEEN))) == And((SEEN, subject, body))
    assert cheap_first(Not(Or(body, SEEN))) == Not(Or(SEEN, body))


def verdict(key: SearchKey, have: Need) -> bool | None:
    return Query(key, count=5, last_uid=50).evaluate(a_row(have), have)


def test_what_is_decided_early_asks_for_no_more() -> None:
    body, subject = Contains(Field.BODY, "café"), Contains(Field.SUBJECT, "résumé")
    assert verdict(And((body, FLAGGED)), Need.INDEX) is False
    assert verdict(Or(body, SEEN), Need.INDEX) is True
    assert verdict(And((body, SEEN)), Need.INDEX) is None
    assert verdict(Not(And((body, FLAGGED))), Need.INDEX) is True
    assert verdict(Or(subject, body), Need.META) is True
    assert verdict(Contains(Field.TEXT, "résumé"), Need.META) is True
    assert verdict(Contains(Field.TEXT, "numbers"), Need.META) is None
    assert verdict(Larger(1), Need.META) is None  # the size may be an estimate
    assert verdict(Larger(1), Need.SIZE) is True


def test_rounds_go_from_cheap_to_dear() -> None:
    key = And((Contains(Field.TEXT, "x"), Larger(5), SEEN))
    rounds = Query(key, count=5, last_uid=50).rounds
    assert rounds == (Need.INDEX, Need.META, Need.META | Need.SIZE, EVERYTHING)
    assert Query(SEEN, count=5, last_uid=50).rounds == (Need.INDEX,)


def test_a_message_that_is_gone_matches_nothing_not_even_under_not() -> None:
    gone = a_row(Need.META)
    body = Contains(Field.BODY, "nowhere")
    assert not hit(body, gone) and not hit(Not(body), gone)
    assert not hit(Not(Contains(Field.TEXT, "nowhere")), gone)
    assert hit(Or(Not(body), SEEN), gone)


def test_a_body_is_read_once_for_all_keys() -> None:
    row = a_row()
    one = Query(Contains(Field.BODY, "nowhere"), count=5, last_uid=50)
    assert one.evaluate(row, EVERYTHING) is False
    assert isinstance(row.body, Octets)
    once = row.body.reads
    row = a_row()
    many = Query(
        And(tuple(Not(Contains(Field.BODY, f"nowhere {n}")) for n in range(50))), count=5, last_uid=50
    )
    assert many.evaluate(row, EVERYTHING) is True
    assert isinstance(row.body, Octets)
    assert row.body.reads == once


def test_one_query_serves_many_rows() -> None:
    query = Query(Contains(Field.BODY, "café"), count=5, last_uid=50)
    rows = [a_row(), a_row(message=b"\r\nnothing"), a_row()]
    assert [query.evaluate(row, EVERYTHING) for row in rows] == [True, False, True]


LEAVES: st.SearchStrategy[SearchKey] = st.sampled_from(
    [
        All(),
        SEEN,
        FLAGGED,
        Recent(),
        Larger(10),
        Smaller(10),
        ModSeqIs(5),
        DateIs(When.ON, (2024, 1, 1), sent=True),
        Contains(Field.FROM, "doe"),
        Contains(Field.BODY, "café"),
        Contains(Field.TEXT, "résumé"),
        Contains(Field.TEXT, "nowhere"),
        HeaderContains(b"x-none", ""),
    ]
)
KEYS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(Or, inner, inner)
        | st.lists(inner, max_size=3).map(lambda keys: And(tuple(keys)))
    ),
    max_leaves=8,
)


def naive(key: SearchKey) -> bool:
    """The key's truth by its definition, leaf by leaf."""
    match key:
        case And(keys):
            return all(map(naive, keys))
        case Or(left, right):
            return naive(left) or naive(right)
        case Not(inner):
            return not naive(inner)
    return hit(key)


@given(KEYS)
def test_early_verdicts_never_differ_from_the_last(key: SearchKey) -> None:
    query = Query(key, count=5, last_uid=50)
    expected = naive(key)
    verdicts = [query.evaluate(a_row(have), have) for have in query.rounds]
    assert verdicts[-1] is expected
    assert all(early in (None, expected) for early in verdicts)
