"""How far sessions were told: numbers in any order, and what is missing between them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.mailbox.levels import EARLY, Levels


def test_what_nobody_told_of_is_behind() -> None:
    levels = Levels()
    levels.begin({1: 5})
    levels.told(1, 6)
    assert levels.behind({1: 6}) == {}
    levels.told(1, 8)
    assert levels.behind({1: 8}) == {1: 6}
    levels.told(1, 7)
    assert levels.behind({1: 8}) == {}


def test_folders_nobody_has_are_nobodys() -> None:
    levels = Levels()
    levels.told(3, 9)
    assert levels.behind({3: 9}) == {}
    levels.begin({3: 9})
    levels.begin({3: 20})  # known already
    assert levels.behind({3: 20}) == {3: 9}
    levels.keep([])
    assert levels.behind({3: 20}) == {}


def test_catching_up_forgets_what_came_early() -> None:
    levels = Levels()
    levels.begin({1: 0})
    levels.told(1, 3)
    levels.told(1, 9)
    levels.caught_up(1, 8)
    assert levels.behind({1: 9}) == {}


def test_what_comes_early_is_bounded() -> None:
    levels = Levels()
    levels.begin({1: 0})
    for modseq in range(2, EARLY + 100):
        levels.told(1, modseq)
    assert len(levels._levels[1].early) == EARLY
    assert levels.behind({1: 2000}) == {1: 0}


@given(st.permutations(range(1, 40)))
def test_any_order_will_do(order: list[int]) -> None:
    levels = Levels()
    levels.begin({1: 0})
    for modseq in order:
        levels.told(1, modseq)
    assert levels.behind({1: 39}) == {}
