"""Views: RFC 9051 sections 7.4.1 and 7.5.1, one rule at a time, then three simulated clients against the truth."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.types import NO_FLAGS, Flags, MessageId, ModSeq, SystemFlag, Uid
from gateway.mailbox.api import View
from gateway.mailbox.index import FolderIndex
from gateway.mailbox.values import Change, Exists, Expunged, Flagged
from gateway.mailbox.view import MailboxView
from gateway.store.api import MessageRow

SEEN = Flags(SystemFlag.SEEN)


def row(uid: int, modseq: int = 1, flags: Flags = NO_FLAGS) -> MessageRow:
    return MessageRow(Uid(uid), MessageId(f"m{uid}"), ModSeq(modseq), flags, 0, 1, True, "", "", 0, "", 0)


def folder(*uids: int, change_log: int = 100) -> FolderIndex:
    return FolderIndex([row(uid) for uid in uids], 1, change_log=change_log)


def view_of(index: FolderIndex, recent_from: int = 2**32, takes_recent: bool = False) -> MailboxView:
    return MailboxView(index, recent_from=recent_from, takes_recent=takes_recent)


def flagged(seq: int, uid: int, modseq: int, flags: Flags = SEEN) -> Flagged:
    return Flagged(seq, Uid(uid), flags, False, modseq)


def test_a_view_that_dropped_recent_has_none_and_gets_none() -> None:
    index = folder(3, 5)
    view = view_of(index, recent_from=1, takes_recent=True)
    assert (view.recent, view.is_recent(5)) == (2, True)
    view.drop_recent()
    assert (view.recent, view.is_recent(5)) == (0, False)
    index.merge(2, [row(9, 2)], [])
    assert view.drain(expunge=True) == [Exists(3, 0)]
    assert not view.is_recent(9)
    assert index.recent_floor == 10  # this session has been told: no other is the first


def test_a_new_view_has_heard_everything() -> None:
    view: View = view_of(folder(3, 5, 9))
    assert (view.count, list(view.uids), view.seq(5), view.seq(4), view.seq(99)) == (3, [3, 5, 9], 2, 0, 0)
    assert not view.pending()
    assert view.drain(expunge=True) == []


def test_expunges_highest_first_then_exists_then_flags() -> None:
    index = folder(1, 2, 3, 4)
    view = view_of(index)
    index.merge(2, [row(4, 2, SEEN), row(7, 2), row(8, 2, SEEN)], [1, 3])
    assert view.pending()
    assert (view.count, view.seq(4)) == (4, 4)
    assert view.drain(expunge=True) == [
        Expunged(3, Uid(3)), Expunged(1, Uid(1)), Exists(4, 0), flagged(2, 4, 2),
    ]  # fmt: skip
    assert list(view.uids) == [2, 4, 7, 8]
    assert not view.pending()


def test_no_expunge_where_it_is_forbidden_but_new_messages_and_flags() -> None:
    index = folder(1, 2)
    view = view_of(index)
    index.merge(2, [row(2, 2, SEEN), row(3, 2)], [1])
    assert view.drain(expunge=False) == [Exists(3, 0), flagged(2, 2, 2)]
    assert list(view.uids) == [1, 2, 3]
    assert view.pending()
    assert view.drain(expunge=False) == []
    assert view.drain(expunge=True) == [Expunged(1, Uid(1))]
    assert view.uids is index.uids
    assert not view.pending()


def readable(index: FolderIndex, view: MailboxView) -> list[int]:
    """UIDs announced of which something is known."""
    return [entry.uid for uid in view.uids if (entry := index.entry(uid)) is not None]


def test_what_an_expunged_message_was_can_still_be_read() -> None:
    index = folder(1, 2, 3)
    view = view_of(index)
    index.merge(2, [row(2, 2, SEEN)], [])
    index.merge(3, [row(4, 3)], [2])
    assert readable(index, view) == [1, 2, 3]
    assert view.drain(expunge=False) == [Exists(4, 0)]
    assert readable(index, view) == [1, 2, 3, 4]
    view.drain(expunge=True)
    assert readable(index, view) == [1, 3, 4]
    assert index.ghosts == 0


def test_a_message_that_came_and_went_is_never_mentioned() -> None:
    index = folder(1)
    view = view_of(index)
    index.merge(2, [row(2, 2)], [])
    index.merge(3, [], [2])
    assert not view.pending()
    assert view.drain(expunge=True) == []
    index.merge(4, [row(3, 4)], [])
    assert view.drain(expunge=True) == [Exists(2, 0)]


def test_flags_of_a_message_that_went_are_not_told() -> None:
    index = folder(1, 2)
    view = view_of(index)
    index.merge(2, [row(1, 2, SEEN)], [])
    index.merge(3, [], [1])
    assert view.drain(expunge=False) == []
    assert view.drain(expunge=True) == [Expunged(1, Uid(1))]


def test_my_own_change_is_not_echoed_but_the_next_one_of_another_is() -> None:
    index = folder(1, 2)
    mine, other = view_of(index), view_of(index)
    index.merge(2, [row(1, 2, SEEN)], [])
    mine.tell([1, 99])
    assert not mine.pending()
    assert mine.drain(expunge=False) == []
    assert other.drain(expunge=False) == [flagged(1, 1, 2)]
    index.merge(3, [row(1, 3)], [])
    assert mine.drain(expunge=False) == [flagged(1, 1, 3, Flags())]


def test_a_change_between_tell_and_drain_is_told() -> None:
    index = folder(1)
    view = view_of(index)
    index.merge(2, [row(1, 2, SEEN)], [])
    view.tell([1])
    index.merge(3, [row(1, 3)], [])
    assert view.pending()
    assert view.drain(expunge=False) == [flagged(1, 1, 3, Flags())]


def test_tell_covers_one_drain_only() -> None:
    index = folder(1)
    view = view_of(index)
    view.tell([1])
    view.drain(expunge=False)
    assert not view._told, "a session must not gather what it told"
    index.merge(2, [row(1, 2, SEEN)], [])
    assert view.drain(expunge=False) == [flagged(1, 1, 2)]


def test_two_views_that_heard_the_same_share_their_numbers() -> None:
    index = folder(1, 2)
    one, two = view_of(index), view_of(index)
    index.merge(2, [row(3, 2)], [])
    one.drain(expunge=False)
    two.drain(expunge=True)
    assert one.uids is two.uids


@pytest.mark.parametrize("change_log", [1, 2])
def test_a_laggard_beyond_the_log_hears_everything(change_log: int) -> None:
    index = folder(*range(1, 21), change_log=change_log)
    view = view_of(index)
    for modseq, uid in enumerate(range(1, 21, 2), 2):
        index.merge(modseq, [row(uid + 1, modseq, SEEN), row(100 + uid, modseq)], [uid])
    changes = view.drain(expunge=True)
    assert [c.seq for c in changes if isinstance(c, Expunged)] == list(range(19, 0, -2))
    assert [c.uid for c in changes if isinstance(c, Flagged)] == list(range(2, 21, 2))
    assert [c.count for c in changes if isinstance(c, Exists)] == [20]


# -- \Recent --


def test_recent_is_a_range_of_the_view() -> None:
    index = folder(1, 5, 9)
    view = view_of(index, recent_from=5, takes_recent=True)
    assert (view.recent, view.is_recent(1), view.is_recent(9)) == (2, False, True)
    index.merge(2, [row(10, 2)], [])
    index.merge(3, [row(9, 3, SEEN)], [])
    assert view.drain(expunge=True) == [Exists(4, 3), Flagged(3, Uid(9), SEEN, True, 3)]


def test_what_a_read_write_session_announced_is_not_recent_to_later_ones() -> None:
    index = folder(1)
    examining = view_of(index, recent_from=1)
    assert index.recent_floor == 0
    view = view_of(index, recent_from=1, takes_recent=True)
    assert index.recent_floor == 2
    index.merge(2, [row(5, 2)], [])
    examining.drain(expunge=True)
    assert index.recent_floor == 2
    view.drain(expunge=True)
    assert (index.recent_floor, view.recent, examining.recent) == (6, 2, 2)


# -- three clients against the truth --


class Client:
    """What a mail program knows, from what it is told alone."""

    def __init__(self, index: FolderIndex) -> None:
        self.view = view_of(index)
        self.uids = list(index.uids)  # by sequence number, as its FETCH after SELECT would tell
        self.flags = {uid: entry.flags for uid in self.uids if (entry := index.entry(uid))}

    def hear(self, changes: list[Change], index: FolderIndex) -> None:
        stage = 0
        for change in changes:
            order = {Expunged: 0, Exists: 1, Flagged: 2}[type(change)]
            assert order >= stage, "EXPUNGE, then EXISTS, then FETCH"
            stage = order
            if isinstance(change, Expunged):
                assert self.uids.pop(change.seq - 1) == change.uid
                del self.flags[change.uid]
            elif isinstance(change, Exists):
                assert change.count > len(self.uids)
                self.fetch_new(change.count, index)
            else:
                assert self.uids[change.seq - 1] == change.uid
                self.flags[change.uid] = change.flags

    def fetch_new(self, count: int, index: FolderIndex) -> None:
        """UID FETCH of the new sequence numbers, answered at some later moment of the same drain."""
        for uid in self.view.uids[len(self.uids) : count]:
            entry = index.entry(uid)
            assert entry is not None
            self.uids.append(uid)
            self.flags[uid] = entry.flags

    def store(self, uid: int, flags: Flags) -> None:
        """Its own STORE: it hears of it by the command's own answer."""
        self.flags[uid] = flags
        self.view.tell([uid])


STEP = st.one_of(
    st.tuples(st.just("new"), st.integers(1, 3)),
    st.tuples(st.just("expunge"), st.sets(st.integers(0, 30), max_size=3)),
    st.tuples(st.just("flag"), st.tuples(st.sets(st.integers(0, 30), max_size=3), st.integers(0, 31))),
    st.tuples(st.just("store"), st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 31))),
    st.tuples(st.just("drain"), st.tuples(st.integers(0, 2), st.booleans())),
    st.tuples(st.just("select"), st.integers(0, 2)),
)


@settings(max_examples=400, deadline=None)
@given(
    steps=st.lists(STEP, max_size=40), change_log=st.sampled_from([1, 2, 5, 1000]), start=st.integers(0, 6)
)
def test_three_clients_equal_the_server(steps: list[Any], change_log: int, start: int) -> None:
    index = folder(*range(1, start + 1), change_log=change_log)
    truth = {uid: Flags() for uid in range(1, start + 1)}
    clients = [Client(index) for _ in range(3)]
    next_uid = start + 1

    def pick(places: set[int]) -> list[int]:
        return sorted({list(truth)[place % len(truth)] for place in places}) if truth else []

    def reflag(uids: list[int], bits: int) -> None:
        truth.update(dict.fromkeys(uids, Flags(SystemFlag(bits))))
        index.merge(index.modseq + 1, [row(uid, index.modseq + 1, truth[uid]) for uid in uids], [])

    for verb, detail in steps:
        numbers = [list(client.view.uids) for client in clients]
        if verb == "new":
            rows = [row(uid, index.modseq + 1) for uid in range(next_uid, next_uid + detail)]
            next_uid += detail + 1
            truth |= {one.uid: one.flags for one in rows}
            index.merge(index.modseq + 1, rows, [])
        elif verb == "expunge":
            gone = pick(detail)
            for uid in gone:
                del truth[uid]
            index.merge(index.modseq + 1, [], gone)
        elif verb == "flag":
            reflag(pick(detail[0]), detail[1])
        elif verb == "store":
            client = clients[detail[0]]
            uids = [uid for uid in pick({detail[1]}) if client.view.seq(uid)]
            reflag(uids, detail[2])
            for uid in uids:
                client.store(uid, truth[uid])
        elif verb == "select":
            clients[detail] = Client(index)
            continue
        if verb == "drain":
            client = clients[detail[0]]
            pending = client.view.pending()
            changes = client.view.drain(expunge=detail[1])
            client.hear(changes, index)
            assert pending or not changes
            assert all(not isinstance(change, Expunged) for change in changes) or detail[1]
            if detail[1]:
                assert pending == bool(changes)
                assert not client.view.pending()
        else:
            assert numbers == [list(client.view.uids) for client in clients], "numbers moved outside drain"
        for client in clients:
            assert list(client.view.uids) == client.uids
            assert len(set(client.uids)) == len(client.uids)
    for client in clients:
        client.hear(client.view.drain(expunge=True), index)
        assert client.flags == truth
        assert client.uids == sorted(truth)
    index.bury()  # views that went without draining leave theirs until the next change
    assert index.ghosts == 0


# -- mod-sequences (RFC 7162) --


def change(index: FolderIndex, modseq: int, *uids: int, gone: tuple[int, ...] = ()) -> None:
    index.merge(modseq, [row(uid, modseq, SEEN) for uid in uids], gone)


def positions(runs: list[range]) -> list[int]:
    return [at for run in runs for at in run]


def test_what_was_told_waits_for_expunges_and_never_falls() -> None:
    index = folder(1, 2, 3)
    view = view_of(index)
    assert (view.told, view.delayed) == (1, False)
    change(index, 2, gone=(1,))
    change(index, 3, 2)
    assert view.told == 1 and not view.delayed  # nothing was told yet
    view.drain(expunge=False)
    assert (view.told, view.delayed) == (1, True)  # the flags of 3, not the expunge of 2
    view.drain(expunge=True)
    assert (view.told, view.delayed) == (3, False)
    change(index, 4, 3)
    view.drain(expunge=False)
    assert (view.told, view.delayed) == (4, False)  # nothing waits


def test_newer_goes_by_the_columns_or_by_what_this_view_still_shows() -> None:
    index = folder(1, 2, 3, 4)
    view = view_of(index)
    change(index, 2, 2, 4)
    assert positions(view.newer([range(4)], 1)) == [1, 3]
    assert positions(view.newer([range(2)], 1)) == [1] and positions(view.newer([range(4)], 2)) == []
    change(index, 3, gone=(1,))
    change(index, 4, 3)
    assert positions(view.newer([range(4)], 0)) == [0, 1, 2, 3]  # the expunged one has its number still
    assert positions(view.newer([range(4)], 2)) == [2]
    assert view.highest_of([1, 2]) == 4 and view.highest_of([1]) == 2 and view.highest_of([]) == 0
    view.drain(expunge=True)
    assert positions(view.newer([range(3)], 2)) == [1]


def test_changedsince_of_a_large_mailbox_reads_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    index = FolderIndex([row(uid) for uid in range(1, 100_001)], 1, change_log=10)
    view = view_of(index)
    change(index, 2, 7, 8, 99_999)
    monkeypatch.setattr(FolderIndex, "entry", None)
    monkeypatch.setattr(FolderIndex, "entry_at", None)
    assert view.newer([range(100_000)], 1) == [range(6, 8), range(99_998, 99_999)]
