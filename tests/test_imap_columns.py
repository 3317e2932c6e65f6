"""Lines of many FETCH responses at once: the octets that row by row would have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.types import Flags
from gateway.imap.columns import ENVELOPE, form_of
from gateway.imap.plan import plan_for
from gateway.mailbox.values import Columns, Meta
from gateway.wire.dates import format_date_time, format_date_times
from gateway.wire.grammar_fetch import parse_items

META = Meta(b"From: a\0b\r\nSubject: x\r\nTo: t\r\n\r\n", b"(env)")


def columns(**changes: object) -> Columns:
    plain, seen = Flags.of([]), Flags.of([b"\\Seen", b"$Work"])
    found = Columns(range(2, 4), [7, 9], [0, 3], {0: plain, 3: seen}, [11, 12], [0, 86_400], [100, 200], 1)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def lines(items: bytes, by_uid: bool = False, uid_only: bool = False, **changes: object) -> list[bytes]:
    form = plan_for(parse_items(items), by_uid, uid_only).form
    assert form is not None
    made: list[list[object]] = [[each.make(META), each.make(META)] for each in form.derived]
    return form.lines(columns(derived=made, **changes))[0]


def test_items_of_the_index() -> None:
    assert lines(b"(FLAGS UID RFC822.SIZE MODSEQ INTERNALDATE)") == [
        b'* 2 FETCH (UID 7 FLAGS () RFC822.SIZE 100 MODSEQ (11) INTERNALDATE " 1-Jan-1970 00:00:00 +0000")\r\n',
        b"* 3 FETCH (UID 9 FLAGS (\\Recent \\Seen $Work) RFC822.SIZE 200 MODSEQ (12)"
        b' INTERNALDATE " 2-Jan-1970 00:00:00 +0000")\r\n',
    ]


def test_envelope_and_fields_in_the_order_of_rows() -> None:
    assert lines(b"(BODY.PEEK[HEADER.FIELDS (From)] ENVELOPE FLAGS)", by_uid=True)[0] == (
        b"* 2 FETCH (UID 7 ENVELOPE (env) FLAGS () BODY[HEADER.FIELDS (From)] {13}\r\nFrom: a\x80b\r\n\r\n)\r\n"
    )
    assert lines(b"(BODY.PEEK[HEADER.FIELDS.NOT (From To)])")[0] == (
        b"* 2 FETCH (BODY[HEADER.FIELDS.NOT (From To)] {14}\r\nSubject: x\r\n\r\n)\r\n"
    )


def test_uids_only() -> None:
    assert lines(b"(FLAGS)", by_uid=True, uid_only=True)[0] == b"* 7 UIDFETCH (FLAGS ())\r\n"


def test_what_has_gone_is_left_out() -> None:
    form = form_of(parse_items(b"(ENVELOPE)"), lambda item: b"", uid_only=False)
    assert form is not None and form.derived == (ENVELOPE,)
    told, uids = form.lines(columns(derived=[[None, b"ENVELOPE (x)"]]))
    assert (told, list(uids)) == ([b"* 3 FETCH (ENVELOPE (x))\r\n"], [9])


@pytest.mark.parametrize(
    "items",
    [
        b"(FLAGS BODY[HEADER.FIELDS (From)])",  # sets \\Seen
        b"(BODY.PEEK[HEADER.FIELDS (From)]<0.5>)",
        b"(BODY.PEEK[1.HEADER.FIELDS (From)])",
        b"(BODY.PEEK[HEADER])",
        b"(UID EMAILID)",
        b"(ENVELOPE BODYSTRUCTURE)",
        b"(PREVIEW)",
    ],
)
def test_what_goes_by_rows(items: bytes) -> None:
    assert plan_for(parse_items(items), False).form is None


@given(st.lists(st.integers(-(2**40), 2**40)))
def test_dates_of_many(epochs: list[int]) -> None:
    assert format_date_times(epochs) == [format_date_time(epoch) for epoch in epochs]
