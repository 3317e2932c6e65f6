"""The log that sessions listen to: own doings are not told, names once, the bound is; whose turn it is to be polled."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.types import NO_FLAGS, MessageId, ModSeq, Uid
from gateway.mailbox.origin import act_as, author, nobody
from gateway.mailbox.tidings import NameChange, Tidings, What, in_one, whats
from gateway.mailbox.watch import FEW, in_turn
from gateway.store.api import Applied, MessageRow


def row(uid: int, modseq: int) -> MessageRow:
    return MessageRow(Uid(uid), MessageId(f"m{uid}"), ModSeq(modseq), NO_FLAGS, 0, 1, True, "", "", 0, "", 0)


def test_what_a_write_did() -> None:
    assert whats(Applied(ModSeq(5), [row(1, 5)], [], True, 1)) == [What.NEW]
    assert whats(Applied(ModSeq(5), [row(1, 5), row(2, 5)], [Uid(3)], True, 1)) == [
        What.NEW,
        What.GONE,
        What.FLAGS,
    ]
    assert whats(Applied(ModSeq(5), [row(1, 4)], [Uid(3)], True)) == [What.GONE]  # a size that became exact
    assert whats(Applied(ModSeq(5), [row(1, 4)])) == []


def test_nobody_hears_of_his_own_doings() -> None:
    async def play() -> None:
        tidings = Tidings(100)
        act_as(7)
        tidings.changed(1, [What.NEW])
        tidings.subscribed("a")
        with nobody():
            assert author() == 0
            tidings.changed(2, [What.FLAGS])
        mine, others = tidings.since(0, 7), tidings.since(0, 8)
        assert mine is not None and others is not None
        assert (mine.changed, mine.subscriptions) == ({2: {What.FLAGS}}, [])
        assert (others.changed, others.subscriptions) == ({1: {What.NEW}, 2: {What.FLAGS}}, ["a"])

    asyncio.run(play())


def test_who_is_too_far_behind_is_told_so() -> None:
    tidings = Tidings(2)
    for folder in (1, 2):
        tidings.changed(folder, [What.NEW])
    at = tidings.serial
    assert tidings.since(0, 1) is not None
    tidings.changed(3, [What.NEW])
    assert tidings.since(0, 1) is None
    found = tidings.since(at, 1)
    assert found is not None and found.changed == {3: {What.NEW}}


def test_a_mailbox_that_changes_again_and_again_takes_one_place() -> None:
    tidings = Tidings(2)
    for _ in range(100):
        tidings.changed(1, [What.NEW])
    assert tidings.since(0, 1) is not None


def test_names_are_told_from_the_first_to_the_last() -> None:
    changes = [
        NameChange(1, "a", "b"), NameChange(2, None, "c"), NameChange(1, "b", "d"), NameChange(2, "c", None),
        NameChange(3, "x", "y"), NameChange(3, "y", "x"), NameChange(4, "gone", None),
    ]  # fmt: skip
    assert in_one(changes) == [NameChange(1, "a", "d"), NameChange(4, "gone", None)]


def test_waiting_ends_with_the_next_tidings() -> None:
    async def play() -> None:
        tidings = Tidings(10)
        waiting = asyncio.ensure_future(tidings.after(tidings.serial))
        await asyncio.sleep(0)
        assert not waiting.done()
        tidings.named(NameChange(1, None, "a"))
        await asyncio.wait_for(waiting, 1)

    asyncio.run(play())


@given(st.dictionaries(st.integers(0, 60), st.floats(0, 1000), max_size=40), st.sets(st.integers(0, 60)))
def test_turns(ages: dict[int, float], opened: set[int]) -> None:
    """Never more than the slots, nobody twice, all slots used, and neither kind starves."""
    turn = in_turn(ages, opened)
    assert len(turn) == len(set(turn)) == min(FEW, len(ages))
    for kind in (ages.keys() & opened, ages.keys() - opened):
        if kind:
            oldest = max(ages[key] for key in kind)
            assert any(ages[key] == oldest for key in turn if key in kind)
