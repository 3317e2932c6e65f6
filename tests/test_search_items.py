"""SEARCH by object id and by save date: grammar (RFC 8474 section 7, RFC 8514 section 5) and verdicts."""

from __future__ import annotations

import pytest

from gateway.core.errors import BadCommand
from gateway.core.types import NO_FLAGS, ObjectId, Uid
from gateway.mailbox.search import Query
from gateway.mailbox.values import Need, Row
from gateway.wire.command import Search
from gateway.wire.framer import Frame
from gateway.wire.grammar import parse
from gateway.wire.searchkey import All, ObjectIs, SavedDate, SearchKey, When

DAY = 86_400


def key(text: bytes) -> SearchKey:
    command = parse(Frame((b"a SEARCH " + text,)))
    assert isinstance(command, Search)
    return command.key


def row(save_date: int, internal_date: int = 0) -> Row:
    return Row(1, Uid(1), NO_FLAGS, False, 1, internal_date, 9, ObjectId("Mabc"), ObjectId("Tabc"), save_date)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"EMAILID Mabc", ObjectIs("Mabc")),
        (b"threadid T-_9", ObjectIs("T-_9", thread=True)),
        (b"EMAILID " + b"x" * 255, ObjectIs("x" * 255)),
        (b"SAVEDATESUPPORTED", All()),
        (b"SAVEDBEFORE 1-Feb-1994", SavedDate(When.BEFORE, (1994, 2, 1))),
        (b'savedon "1-Feb-1994"', SavedDate(When.ON, (1994, 2, 1))),
        (b"SAVEDSINCE 01-Feb-1994", SavedDate(When.SINCE, (1994, 2, 1))),
    ],
)
def test_keys(text: bytes, found: SearchKey) -> None:
    assert key(text) == found


@pytest.mark.parametrize(
    "text",
    [b"EMAILID", b"EMAILID ", b'EMAILID "a"', b"EMAILID a.b", b"THREADID NIL)", b"EMAILID " + b"x" * 256,
     b"SAVEDON", b"SAVEDON x", b"SAVEDBEFORE 30-Feb-2024", b"SAVEDATESUPPORTED x"],
)  # fmt: skip
def test_what_is_no_key(text: bytes) -> None:
    with pytest.raises(BadCommand):
        key(text)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"EMAILID Mabc", True), (b"EMAILID mabc", False), (b"THREADID Tabc", True), (b"THREADID Mabc", False),
        (b"SAVEDON 3-Jan-1970", True), (b"SAVEDSINCE 3-Jan-1970", True), (b"SAVEDBEFORE 3-Jan-1970", False),
        (b"SAVEDBEFORE 4-Jan-1970", True), (b"NOT SAVEDON 3-Jan-1970", False),
    ],
)  # fmt: skip
def test_the_verdict_needs_the_stored_row_and_no_request(text: bytes, match: bool) -> None:
    query = Query(key(text), count=1, last_uid=1)
    assert query.rounds == (Need.INDEX, Need.STORED)
    one = row(3 * DAY - 1)
    assert query.evaluate(one, Need.INDEX) is None
    assert query.evaluate(one, Need.STORED) is match


def test_without_a_save_date_the_internal_date_is_compared() -> None:
    query = Query(key(b"SAVEDON 5-Jan-1970"), count=1, last_uid=1)
    assert query.evaluate(row(0, 4 * DAY), Need.STORED)
