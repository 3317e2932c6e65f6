"""Which UIDs a client may forget, against a model that expands everything (RFC 7162 sections 3.2.5 and 3.2.6)."""

from __future__ import annotations

from array import array
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.runs import Runs
from gateway.mailbox.resync import Known, matched, vanished

LAST = 30
UIDS = st.sets(st.integers(1, LAST))


def column(uids: set[int]) -> array[int]:
    return array("I", sorted(uids))


def numbers(runs: Runs) -> set[int]:
    return set(runs.numbers())


@given(present=UIDS, expunged=UIDS, known=st.none() | UIDS.filter(bool))
def test_of_what_is_known_what_is_remembered_and_not_there(
    present: set[int], expunged: set[int], known: set[int] | None
) -> None:
    asked = Known(5, None if known is None else Runs.of(known))
    found = vanished(asked, sorted(expunged), column(present), LAST)
    assert numbers(found) == (expunged - present) & (set(range(1, LAST + 1)) if known is None else known)


@given(present=UIDS, known=st.none() | UIDS.filter(bool))
def test_what_was_forgotten_is_all_that_is_not_there(present: set[int], known: set[int] | None) -> None:
    asked = Known(5, None if known is None else Runs.of(known))
    found = vanished(asked, None, column(present), LAST)
    assert numbers(found) == (set(range(1, LAST + 1)) if known is None else known) - present


@given(before=UIDS.filter(bool), gone=UIDS, chosen=st.data())
def test_numbers_that_still_fit_narrow_it_down_and_lose_nothing(
    before: set[int], gone: set[int], chosen: st.DataObject
) -> None:
    """The client saw `before`; some of its numbers are shown to the server."""
    held = sorted(before)
    shown = sorted(chosen.draw(st.sets(st.integers(1, len(held)), min_size=1)))
    match = (Runs.of(shown), Runs.of(held[number - 1] for number in shown))
    present = before - gone
    found = vanished(Known(5, Runs.of(held), match), None, column(present), LAST)
    assert numbers(found) == before & gone
    below = matched(*match, column(present))
    assert below == max(
        (held[n - 1] for n in shown if sorted(present)[n - 1 : n] == [held[n - 1]]), default=0
    )


def test_star_means_every_uid_there_ever_was() -> None:
    """Whoever asks for 1:* wants to hear of the last message, too, though it is no longer the last one."""
    present = column({1, 2})
    for star in (Runs(((1, 0),)), Runs(((5, 0),)), Runs(((0, 0),)), Runs(((9, 0),))):
        assert numbers(vanished(Known(1, star), [5], present, 5)) == {5}
    assert not vanished(Known(1, Runs(((1, 4),))), [5], present, 5).ranges
    assert not vanished(Known(1), [], column(set()), 0).ranges


def test_as_many_numbers_as_uids_are_needed() -> None:
    with pytest.raises(ValueError, match="as many"):
        matched(Runs(((1, 3),)), Runs(((1, 4),)), column({1}))


def test_a_match_over_the_largest_ranges_expands_nothing() -> None:
    """4,294,967,295 numbers: a bisection, not a walk."""
    wide = Runs(((1, 2**32 - 1),))
    assert matched(wide, wide, array("I", range(1, 1001))) == 1000
    assert matched(wide, wide, array("I", [2])) == 0


def test_many_single_ranges_pair_off_in_linear_steps() -> None:
    odd = Runs(tuple((n, n) for n in range(1, 40_000, 2)))
    runs = Runs(((1, 20_000),))
    present = array("I", range(1, 40_000, 2))
    assert matched(runs, odd, present) == 39_999


@given(st.lists(st.integers(1, 3), min_size=1, max_size=40))
def test_gaps_are_ranges(steps: list[int]) -> None:
    present = array("I", accumulate(steps))
    found = vanished(Known(1), None, present, present[-1])
    assert len(found.ranges) <= len(steps) and numbers(found).isdisjoint(present)
