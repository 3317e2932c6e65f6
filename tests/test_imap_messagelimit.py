"""How many messages a command works on, and which (RFC 9738)."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.runs import Runs
from gateway.imap.messagelimit import (
    TooManyMessages,
    candidates,
    cut,
    narrowed,
    refuse_above,
    refuse_more,
    said,
)
from gateway.imap.spec import Reply
from gateway.wire.encode import Kind, Out
from gateway.wire.searchkey import All, And, HasFlag, Not, SearchKey, SeqSet, UidSet

UIDS = array("I", range(10, 30, 2))  # ten messages


def session(limit: int) -> Any:
    view = SimpleNamespace(uids=UIDS, count=len(UIDS))
    settings = SimpleNamespace(message_limit=limit)
    selected = SimpleNamespace(saved=())
    return SimpleNamespace(
        context=SimpleNamespace(settings=settings),
        folder=SimpleNamespace(view=view),
        selected=selected,
        out=Out(),
    )


def ranges(positions: set[int]) -> list[range]:
    return [range(at, at + 1) for at in sorted(positions)]


POSITIONS = st.sets(st.integers(0, 9))


@given(POSITIONS, st.integers(1, 12))
def test_the_highest_are_kept_and_the_lowest_of_them_is_named(positions: set[int], limit: int) -> None:
    at, code = cut(session(limit), ranges(positions))
    kept = [position for run in at for position in run]
    assert kept == sorted(positions)[-limit:]
    assert code == (b"MESSAGELIMIT %d %d" % (limit, UIDS[kept[0]]) if len(positions) > limit else b"")


def test_a_range_is_cut_within() -> None:
    assert cut(session(4), [range(3), range(5, 10)]) == ([range(6, 10)], b"MESSAGELIMIT 4 22")
    assert cut(session(6), [range(3), range(5, 10)]) == ([range(2, 3), range(5, 10)], b"MESSAGELIMIT 6 14")


def test_no_limit_cuts_nothing() -> None:
    assert cut(session(0), [range(10)]) == ([range(10)], b"")
    refuse_more(session(0), [range(10)])
    refuse_above(session(0), 10)
    assert narrowed(session(0), All()) == (All(), b"")


def test_what_cannot_be_done_in_part_is_refused() -> None:
    with pytest.raises(TooManyMessages) as found:
        refuse_more(session(3), [range(4)])
    assert found.value.code == b"MESSAGELIMIT 3 12"
    with pytest.raises(TooManyMessages) as above:
        refuse_above(session(3), 4)
    assert above.value.code == b"MESSAGELIMIT 3"
    refuse_more(session(3), [range(3)])
    refuse_above(session(3), 3)


def test_the_code_stands_in_the_reply_or_before_it() -> None:
    code = b"MESSAGELIMIT 3 12"
    s = session(3)
    assert said(s, Reply("done"), code) == Reply("done", code)
    assert said(s, Reply("done"), b"") == Reply("done")
    assert said(s, Reply("no", b"", Kind.NO), code) == Reply("no", b"", Kind.NO)
    assert s.out.take() == b""
    assert said(s, Reply("done", b"MODIFIED 1"), code) == Reply("done", b"MODIFIED 1")
    assert s.out.take().startswith(b"* NO [MESSAGELIMIT 3 12] ")


@pytest.mark.parametrize(
    ("key", "looked_at"),
    [
        (All(), set(range(10))),
        (UidSet(Runs(((12, 16),))), {1, 2, 3}),
        (SeqSet(Runs(((2, 3),))), {1, 2}),
        (And((UidSet(Runs(((12, 20),))), HasFlag(b"x"), SeqSet(Runs(((1, 3), (6, 9)))))), {1, 2, 5}),
        (Not(UidSet(Runs(((12, 16),)))), set(range(10))),
    ],
)
def test_sets_that_must_hold_narrow_down_what_is_looked_at(key: SearchKey, looked_at: set[int]) -> None:
    assert {position for run in candidates(session(3), key) for position in run} == looked_at


def test_a_search_of_more_looks_at_the_highest() -> None:
    key, code = narrowed(session(3), HasFlag(b"x"))
    assert key == And((UidSet(Runs(((24, 28),))), HasFlag(b"x"))) and code == b"MESSAGELIMIT 3 24"
    assert narrowed(session(3), UidSet(Runs(((12, 16),)))) == (UidSet(Runs(((12, 16),))), b"")
