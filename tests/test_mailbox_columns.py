"""Messages as columns, and what SEARCH decides by them: the same as row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.runs import Runs
from gateway.core.types import Flags, MessageId, ModSeq, ObjectId, Uid
from gateway.mailbox.columns import GROUP, TOLD, ColumnReader
from gateway.mailbox.index import FolderIndex
from gateway.mailbox.search import Query
from gateway.mailbox.shelf import Shelf
from gateway.mailbox.sifting import Sifting, UnknownFacts, by_columns, split, without
from gateway.mailbox.values import Columns, Derived, Meta, Need, Row
from gateway.mailbox.view import MailboxView
from gateway.store.api import MessageRow
from gateway.wire.searchkey import (
    All,
    And,
    Contains,
    DateIs,
    Field,
    Fuzzy,
    HasFlag,
    HeaderContains,
    Larger,
    ModSeqIs,
    Not,
    ObjectIs,
    Or,
    Recent,
    SearchKey,
    SeqSet,
    Smaller,
    UidSet,
    When,
    Within,
)  # fmt: skip

DAY = 86_400
SUBJECT = Derived("subject", lambda meta: meta.header)


def stored(
    uid: int, modseq: int = 1, flags: tuple[bytes, ...] = (), size: int = 100, date: int = 0
) -> MessageRow:
    return MessageRow(
        Uid(uid), MessageId(f"M{uid}"), ModSeq(modseq), Flags.of(flags), date, size, False, "E", "T", 0, "", 0
    )


@dataclass
class World:
    """A folder whose header facts are read by fakes that count. `gone`: UIDs whose facts are not to be had."""

    rows: list[MessageRow]
    headers: dict[int, bytes] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    read: list[list[int]] = field(default_factory=list)
    closed: int = 0
    priority: int = 0

    def __post_init__(self) -> None:
        self.index = FolderIndex(self.rows, 5, change_log=100)
        self.view = MailboxView(self.index, recent_from=2**32, takes_recent=False)
        self.shelf = Shelf(1 << 20)
        pages = SimpleNamespace(reading=lambda folder, uids, priority: self)
        ctx: Any = SimpleNamespace(store=self)
        bodies: Any = SimpleNamespace(headers=pages, metas=self.metas)
        folder: Any = SimpleNamespace(key=1)
        hub: Any = SimpleNamespace(index=self.index, shelf=self.shelf)
        self.reader = ColumnReader(ctx, bodies, folder, hub, self.view)

    async def by_uid(self, folder: int, uids: Sequence[Uid]) -> dict[Uid, MessageRow]:
        self.read.append(list(uids))
        return {row.uid: row for row in self.rows if row.uid in set(uids) and row.uid not in self.gone}

    async def metas(
        self, rows: Sequence[MessageRow], reading: object, priority: object
    ) -> dict[MessageId, Meta]:
        return {
            row.id: Meta(self.headers.get(row.uid, b"Subject: %d\r\n\r\n" % row.uid), b"()") for row in rows
        }

    async def close(self) -> None:
        self.closed += 1

    async def columns(self, at: Sequence[range], wanted: Sequence[Derived] = ()) -> list[Columns]:
        return [each async for each in self.reader.columns(at, wanted)]


async def test_columns_are_the_index() -> None:
    world = World(
        [
            stored(uid, modseq=uid, flags=(b"\\Seen",) if uid % 2 else (), size=uid, date=9)
            for uid in (3, 5, 8, 9)
        ]
    )
    (columns,) = await world.columns([range(1, 3)])
    assert (list(columns.seqs), list(columns.uids), list(columns.modseqs)) == ([2, 3], [5, 8], [5, 8])
    assert [columns.flag_sets[number].names() for number in columns.flags] == [[b"\\Seen"], []]
    assert (list(columns.sizes), list(columns.dates), columns.recent) == ([5, 8], [9, 9], 0)
    (columns,) = await world.columns([range(1), range(2, 4)])
    assert (list(columns.seqs), list(columns.uids)) == ([1, 3, 4], [3, 8, 9])


async def test_groups_are_bounded() -> None:
    world = World([stored(uid) for uid in range(1, GROUP + 11)])
    assert [len(each) for each in await world.columns([range(GROUP + 10)])] == [GROUP, 10]
    told = await world.columns([range(GROUP + 10)], [SUBJECT])
    assert max(map(len, told)) == TOLD
    assert [uid for each in told for uid in each.uids] == list(range(1, GROUP + 11))
    assert [len(each) for each in world.read] == [GROUP, 10]


async def test_facts_are_read_once_and_what_has_gone_is_none() -> None:
    world = World([stored(uid) for uid in (1, 2, 3)], gone={2})
    for _ in range(2):
        (columns,) = await world.columns([range(3)], [SUBJECT])
        assert columns.derived == [[b"Subject: 1\r\n\r\n", None, b"Subject: 3\r\n\r\n"]]
    assert world.read == [[1, 2, 3], [2]]
    assert world.closed == 2


async def test_a_view_that_lags_behind_shows_what_it_announced() -> None:
    """Message 2 is expunged, 4 is new, the client has heard of neither."""
    world = World([stored(uid, flags=(b"\\Flagged",)) for uid in (1, 2, 3)])
    world.index.merge(6, [stored(4, modseq=6)], [2])
    (columns,) = await world.columns([range(3)], [SUBJECT])
    assert (list(columns.seqs), list(columns.uids)) == ([1, 2, 3], [1, 2, 3])
    assert {columns.flag_sets[number].names()[0] for number in columns.flags} == {b"\\Flagged"}
    assert len(columns.derived[0]) == 3


async def test_recent_are_the_last_ones() -> None:
    world = World([stored(uid) for uid in (1, 2, 3)])
    world.view._recent_from = 3
    (columns,) = await world.columns([range(3)])
    assert columns.recent == 1


# -- search --

HEADERS = {
    1: b"From: Ann <ann@x.org>\r\nSubject: Caf=?utf-8?q?=C3=A9?=\r\nDate: Mon, 1 Jan 2024 23:30:00 -0800\r\n\r\n",
    2: b"From: Bob <bob@x.org>\r\nFrom: Ann again\r\nX-Empty:\r\n\r\n",
    3: b"Subject: plain\r\n folded\r\nTo: ann@x.org\r\nDate: nonsense\r\n\r\n",
    4: b"\r\n",
}
ROWS = [
    stored(1, 3, (b"\\Seen", b"$Work"), 50, 19_723 * DAY), stored(2, 4, (b"\\Flagged",), 500, 19_724 * DAY),
    stored(3, 5, (), 5_000, 19_724 * DAY + 5), stored(4, 5, (b"\\Seen",), 50_000, 19_800 * DAY),
]  # fmt: skip
NOW = 19_724.0 * DAY + 100
LEAVES: st.SearchStrategy[SearchKey] = st.sampled_from(
    [
        All(), HasFlag(b"\\Seen"), HasFlag(b"$work"), Recent(), Larger(500), Smaller(500), ModSeqIs(4),
        SeqSet(Runs(((2, 3),))), UidSet(Runs(((4, 0),))), Within(101, older=True), Within(100, older=False),
        *(DateIs(when, (2024, 1, 2), sent) for when in When for sent in (False, True)),
        *(DateIs(when, (2024, 1, 1), sent=True) for when in When),
        Contains(Field.FROM, "ANN"), Contains(Field.SUBJECT, "café"), Contains(Field.SUBJECT, "plain folded"),
        Contains(Field.CC, ""), Contains(Field.TO, ""), HeaderContains(b"x-empty", ""), HeaderContains(b"From", "bob"),
    ]
)  # fmt: skip
KEYS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(Or, inner, inner)
        | st.lists(inner, max_size=3).map(lambda keys: And(tuple(keys)))
    ),
    max_leaves=8,
)


def row(message: MessageRow) -> Row:
    meta = Meta(HEADERS[message.uid], b"()")
    return Row(
        message.uid, message.uid, message.flags, message.uid >= 4, message.modseq, message.internal_date,
        message.size, ObjectId("E"), ObjectId("T"), meta=meta,
    )  # fmt: skip


@given(KEYS, st.sets(st.integers(0, 3)))
async def test_columns_decide_as_rows_do(key: SearchKey, at: set[int]) -> None:
    world = World(ROWS, HEADERS)
    world.view._recent_from = 4
    query = Query(key, count=4, last_uid=4, now=NOW)
    expected = [place for place in sorted(at) if query.evaluate(row(ROWS[place]), Need.META | Need.SIZE)]
    assert by_columns(key, exact_sizes=False)
    assert list(await Sifting(world.reader, query).select(query.key, sorted(at))) == expected


async def test_facts_are_read_of_those_only_that_are_still_in_question() -> None:
    world = World(ROWS, HEADERS)
    key = And((Contains(Field.FROM, "ann"), HasFlag(b"\\Seen")))
    query = Query(key, count=4, last_uid=4)
    assert list(await Sifting(world.reader, query).select(query.key, range(4))) == [0]
    assert world.read == [[1, 4]]


async def test_what_cannot_be_known_is_left_to_the_rows() -> None:
    world = World(ROWS, HEADERS, gone={2})
    query = Query(Not(Contains(Field.FROM, "ann")), count=4, last_uid=4)
    with pytest.raises(UnknownFacts):
        await Sifting(world.reader, query).select(query.key, range(4))


@pytest.mark.parametrize(
    ("key", "part", "whole"),
    [
        (HasFlag(b"\\Seen"), HasFlag(b"\\Seen"), True),
        (Contains(Field.BODY, "x"), None, False),
        (Contains(Field.SUBJECT, "two\nlines"), None, False),
        (And((HasFlag(b"\\Seen"), Contains(Field.BODY, "x"))), And((HasFlag(b"\\Seen"),)), False),
        (And((Fuzzy(Contains(Field.SUBJECT, "x")), ObjectIs("E"))), None, False),
        (Or(HasFlag(b"\\Seen"), Contains(Field.TEXT, "x")), None, False),
    ],
)
def test_which_part_of_a_key_columns_decide(key: SearchKey, part: SearchKey | None, whole: bool) -> None:
    assert split(key, exact_sizes=False) == (part, whole)


def test_exact_sizes_are_for_rows() -> None:
    assert not by_columns(Larger(5), exact_sizes=True)
    assert by_columns(Larger(5), exact_sizes=False)


def test_without() -> None:
    assert without([1, 2, 3], [2]) == [1, 3]
    assert without(range(3), []) == range(3)
