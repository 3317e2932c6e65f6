"""The columns, the flag table and the change log."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.types import NO_FLAGS, Flags, MessageId, ModSeq, SystemFlag, Uid
from gateway.mailbox.changelog import ChangeLog
from gateway.mailbox.flagtable import FlagTable
from gateway.mailbox.index import Entry, FolderIndex, without
from gateway.store.api import MessageRow

SEEN = Flags(SystemFlag.SEEN)
WORK = Flags(SystemFlag.FLAGGED, frozenset({b"work"}))


def row(uid: int, modseq: int = 1, flags: Flags = NO_FLAGS, size: int = 10, date: int = 0) -> MessageRow:
    id = MessageId(f"m{uid}")
    return MessageRow(Uid(uid), id, ModSeq(modseq), flags, date, size, True, "E", "T", 0, "", 0)


def index(*rows: MessageRow, modseq: int = 1, change_log: int = 100) -> FolderIndex:
    return FolderIndex(rows, modseq, change_log=change_log)


class Watching:
    def __init__(self, drained: int) -> None:
        self.drained = drained


def test_a_loaded_index_knows_its_messages() -> None:
    one = index(row(3, flags=SEEN, size=7, date=-5), row(9, flags=WORK), modseq=4)
    assert one.entry(3) == Entry(3, SEEN, 1, -5, 7)
    assert one.entry(4) is None
    assert (one.position(9), one.position(10), one.last_uid, len(one)) == (1, -1, 9, 2)
    assert one.since(4) == set()
    assert one.since(3) is None
    assert (one.unseen(), one.first_unseen(), one.table.keywords()) == (1, 9, {b"work"})
    assert index().first_unseen() == 0


def test_merge_appends_reflags_and_removes() -> None:
    one = index(row(1), row(2), row(3))
    assert one.merge(2, [row(2, 2, SEEN), row(4, 2)], [1])
    assert list(one.uids) == [2, 3, 4]
    assert list(one.modseqs) == [2, 1, 2]
    assert one.entry(2) == Entry(2, SEEN, 2, 0, 10)
    assert one.since(1) == {1, 2, 4}
    assert one.modseq == 2


def test_merge_is_idempotent_and_older_news_only_correct_sizes() -> None:
    one = index(row(1), row(2))
    one.merge(2, [row(2, 2, SEEN)], [1])
    assert not one.merge(2, [row(2, 2, SEEN)], [1])
    assert not one.merge(1, [row(2, 1, WORK, size=99)], [2])
    assert one.entry(2) == Entry(2, SEEN, 2, 0, 10)
    assert not one.merge(2, [row(2, 2, SEEN, size=99, date=8)], [])
    assert one.entry(2) == Entry(2, SEEN, 2, 8, 99)


def test_an_expunged_uid_does_not_come_back() -> None:
    one = index(row(1), row(2))
    one.merge(2, [], [2])
    assert not one.merge(3, [row(2, 1)], [])
    assert list(one.uids) == [1]


def test_the_uid_column_is_replaced_so_that_nobody_s_numbers_move() -> None:
    one = index(row(1), row(2))
    announced = one.uids
    one.merge(2, [row(3, 2)], [1])
    assert list(announced) == [1, 2]
    flagged = one.uids
    one.merge(3, [row(3, 3, SEEN)], [])
    assert one.uids is flagged


def test_expunged_messages_stay_for_a_view_until_it_has_drained() -> None:
    one, view = index(row(1, flags=SEEN), row(2)), Watching(drained=1)
    one.watch(view)
    one.merge(2, [], [1])
    one.bury()
    assert one.entry(1) == Entry(1, SEEN, 1, 0, 10)
    view.drained = 2
    one.bury()
    assert one.entry(1) is None
    assert one.ghosts == 0


def test_without_a_view_nothing_is_kept_aside_and_with_a_laggard_it_is_bounded() -> None:
    rows = [row(uid) for uid in range(1, 11)]
    alone = index(*rows)
    alone.merge(2, [], [1, 2, 3])
    assert alone.ghosts == 0
    one, view = index(*rows, change_log=2), Watching(drained=1)
    one.watch(view)
    for modseq in range(2, 8):
        one.merge(modseq, [], [modseq])
    assert one.ghosts == 2
    assert (one.entry(2), one.entry(7)) == (None, Entry(7, Flags(), 1, 0, 10))


def test_a_size_beyond_the_column_is_the_largest() -> None:
    assert index(row(1, size=2**40)).entry(1) == Entry(1, Flags(), 1, 0, 2**32 - 1)


@given(st.lists(st.integers(0, 99), max_size=30), st.sets(st.integers(0, 29)))
def test_without_is_a_filter(values: list[int], places: set[int]) -> None:
    there = sorted(place for place in places if place < len(values))
    expected = [value for place, value in enumerate(values) if place not in there]
    assert list(without(array("I", values), there)) == expected


# -- flag table --


def test_a_combination_nobody_has_gives_its_number_back() -> None:
    table = FlagTable()
    first = table.acquire(SEEN)
    assert table.acquire(SEEN) == first
    table.release(first)
    assert table.flags(first) == SEEN
    table.release(first)
    assert (len(table), table.acquire(WORK)) == (0, first)
    assert table.flags(first) == WORK
    assert (table.having(SystemFlag.FLAGGED), table.having(SystemFlag.SEEN)) == (1, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 31)), max_size=60))
def test_the_table_counts_like_a_list(steps: list[tuple[int, int]]) -> None:
    table = FlagTable()
    messages: dict[int, tuple[int, Flags]] = {}
    for message, bits in steps:
        flags = Flags(SystemFlag(bits))
        number = table.acquire(flags)
        if message in messages:
            table.release(messages[message][0])
        messages[message] = (number, flags)
    held = [flags for _, flags in messages.values()]
    assert set(table) == set(held)
    assert len(table._flags) <= len(messages) + 1
    for flag in SystemFlag:
        assert table.having(flag) == sum(flag in flags.system for flags in held)
    assert all(table.flags(number) == flags for number, flags in messages.values())


# -- change log --


@pytest.mark.parametrize("bound", [1, 2, 3, 50])
def test_the_log_is_right_or_says_that_it_is_too_short(bound: int) -> None:
    log, everything = ChangeLog(bound, 5), []
    for modseq in range(6, 40):
        changes = [(modseq, uid) for uid in range(modseq % 4)]
        everything += changes
        log.extend(changes)
        assert len(log) <= bound
        for since in range(4, modseq + 1):
            answer = log.since(since)
            assert answer is None or answer == {uid for m, uid in everything if m > since}
        assert log.since(modseq) == set()
