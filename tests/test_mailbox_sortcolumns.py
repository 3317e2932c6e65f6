"""Columns of sort facts: there and back through the store's blocks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.mailbox.sortcolumns import UNKNOWN_DATE, SortColumns, block_of
from gateway.mime.sortfacts import SortFacts

FACTS = st.builds(
    SortFacts,
    subject=st.text(max_size=8), answers=st.booleans(), sender=st.text(max_size=4), to=st.text(max_size=4),
    cc=st.text(max_size=4), shown_sender=st.text(max_size=4), shown_to=st.text(max_size=4),
    date=st.sampled_from([b"", b"1 Jan 2024 10:00:00 +0100", b"nonsense"]),
    message_id=st.integers(0, 2**64 - 1),
    references=st.lists(st.integers(1, 2**64 - 1), max_size=4).map(tuple),
)  # fmt: skip


def row(columns: SortColumns, uid: int) -> tuple[object, ...]:
    at = columns.place[uid]
    texts = tuple(texts[at] for texts in columns.texts.values())
    return (
        columns.uids[at], columns.dates[at], columns.answers[at], columns.ids[at], tuple(columns.references_of(at)),
        texts,
    )  # fmt: skip


@given(st.dictionaries(st.integers(1, 2**32 - 1), FACTS, max_size=20))
def test_packed_and_unpacked(facts: dict[int, SortFacts]) -> None:
    columns, again = SortColumns(), SortColumns()
    columns.add(facts)
    half = sorted(facts)[::2]
    again.unpack(columns.pack(half))
    again.unpack(columns.pack(sorted(set(facts) - set(half))))
    assert again.place.keys() == facts.keys()
    assert [row(again, uid) for uid in facts] == [row(columns, uid) for uid in facts]


def test_a_message_nothing_is_known_of() -> None:
    columns = SortColumns()
    assert columns.rows([5]) == [0]
    assert columns.dates[0] == UNKNOWN_DATE and columns.texts["subject"][0] == ""
    assert not columns.references_of(0)


def test_blocks_of_another_version_or_broken_are_passed_over() -> None:
    columns, again = SortColumns(), SortColumns()
    columns.add({7: SortFacts("S", True, "", "", "", "", "", b"", 3, (4, 5))})
    block = columns.pack([7])
    again.unpack(b"\x9a" + block)
    again.unpack(block.replace(b"\x98\x01", b"\x98\x02", 1))
    again.unpack(b"")
    assert len(again) == 1
    again.unpack(block)
    again.unpack(block)  # a second time adds nothing
    assert len(again) == 2 and row(again, 7) == row(columns, 7)


def test_dates_are_in_utc() -> None:
    columns = SortColumns()
    columns.add({1: SortFacts("", False, "", "", "", "", "", b"1 Jan 1970 02:00:00 +0100", 0, ())})
    assert columns.dates[columns.place[1]] == 3600


def test_blocks_are_stretches_of_uids() -> None:
    assert block_of(1) == block_of(1023) == 0 and block_of(1024) == 1
