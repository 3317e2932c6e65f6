"""FETCH plans: needs, labels, partials, and slices of large bodies."""

from __future__ import annotations

import pytest
from fakes import FakeBody
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.types import NO_FLAGS, ObjectId, Uid
from gateway.imap.context import Gone
from gateway.imap.plan import SLICE, Octets, plan_for
from gateway.mailbox.values import Meta, Need, Row
from gateway.mime.part import scan
from gateway.wire.fetchatt import Partial
from gateway.wire.grammar_fetch import parse_items

RAW = b"From: a@example.net\r\nSubject: One\r\n\r\nBody\r\n"


def row(raw: bytes = RAW) -> Row:
    header = raw[: raw.index(b"\r\n\r\n") + 4]
    body = FakeBody(raw, scan(raw))
    meta = Meta(header, b"(envelope)")
    return Row(
        3, Uid(7), NO_FLAGS, False, 1, 0, 99, ObjectId("E"), ObjectId("T"), meta=meta, body=body,
        structure=b"(full)", basic_structure=b"(basic)",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("items", "need"),
    [
        (b"(UID FLAGS INTERNALDATE)", Need.INDEX),
        (b"FAST", Need.SIZE),
        (b"ALL", Need.SIZE | Need.META),
        (b"FULL", Need.SIZE | Need.META | Need.MIME | Need.STRUCTURE),
        (b"(ENVELOPE)", Need.META),
        (b"(BODY.PEEK[HEADER.FIELDS (From)])", Need.META),
        (b"(BODY.PEEK[HEADER.FIELDS.NOT (From)])", Need.META),
        (b"(BODY.PEEK[1.HEADER.FIELDS (From)])", Need.MIME),
        (b"(BODY.PEEK[HEADER])", Need.MIME),
        (b"(BODYSTRUCTURE)", Need.MIME | Need.STRUCTURE),
        (b"RFC822.SIZE", Need.SIZE),
    ],
)
def test_a_plan_asks_for_no_more_than_its_items_need(items: bytes, need: Need) -> None:
    assert plan_for(parse_items(items), False).need == need


@pytest.mark.parametrize(
    ("items", "seen"),
    [
        (b"BODY[]", True),
        (b"BODY[1.MIME]", True),
        (b"RFC822", True),
        (b"RFC822.TEXT", True),
        (b"RFC822.HEADER", False),
        (b"BODY.PEEK[]", False),
        (b"(BODY BODYSTRUCTURE ENVELOPE)", False),
        (b"(BODY.PEEK[1] BODY[2])", True),
    ],
)
def test_what_sets_seen(items: bytes, seen: bool) -> None:
    assert plan_for(parse_items(items), False).marks_seen is seen


def test_a_plan_is_compiled_once() -> None:
    items = parse_items(b"(FLAGS UID BODY.PEEK[TEXT])")
    assert plan_for(items, True) is plan_for(parse_items(b"(FLAGS UID BODY.PEEK[TEXT])"), True)


def test_uid_comes_first_and_items_once() -> None:
    plan = plan_for(parse_items(b"(FLAGS RFC822.SIZE FLAGS UID)"), True)
    assert [render(row()) for render in plan.inline] == [b"UID 7", b"FLAGS ()", b"RFC822.SIZE 43"]


def test_an_exact_size_beats_an_estimate() -> None:
    plan = plan_for(parse_items(b"RFC822.SIZE"), False)
    estimated = row()
    estimated.body = None
    assert [plan.inline[0](one) for one in (row(), estimated)] == [b"RFC822.SIZE 43", b"RFC822.SIZE 99"]


@pytest.mark.parametrize(
    ("item", "label"),
    [
        (b"BODY.PEEK[]", b"BODY[]"),
        (b"BODY[]<3.10>", b"BODY[]<3>"),
        (b"BODY.PEEK[1.2.MIME]", b"BODY[1.2.MIME]"),
        (b"BODY.PEEK[HEADER.FIELDS (From to)]<0.5>", b"BODY[HEADER.FIELDS (From to)]<0>"),
        (b"RFC822.TEXT", b"RFC822.TEXT"),
        (b"BODY.PEEK[HEADER.FIELDS.NOT (X-A)]", b"BODY[HEADER.FIELDS.NOT (X-A)]"),
    ],
)
def test_the_answer_names_the_section_asked_for(item: bytes, label: bytes) -> None:
    assert plan_for(parse_items(item), False).streamed[0][0] == label


def content(items: bytes, raw: bytes = RAW) -> bytes | None:
    octets = plan_for(parse_items(items), False).streamed[0][1](row(raw))
    return None if octets is None else b"".join(octets.slices())


def test_header_and_text_make_up_the_message() -> None:
    assert (content(b"BODY[HEADER]") or b"") + (content(b"BODY[TEXT]") or b"") == RAW == content(b"BODY[]")
    assert content(b"RFC822.HEADER") == content(b"BODY[HEADER]")


def test_a_part_that_is_not_there_is_no_octets() -> None:
    assert content(b"BODY[2]") is None


@given(st.binary(max_size=3 * SLICE), st.integers(0, 4 * SLICE), st.integers(1, 4 * SLICE))
def test_a_partial_is_that_slice_of_the_whole(data: bytes, offset: int, count: int) -> None:
    whole = Octets(FakeBody(data, scan(b"")), [(0, len(data))])
    part = whole.part(Partial(offset, count))
    slices = list(part.slices())
    assert b"".join(slices) == data[offset : offset + count].replace(b"\0", b"\x80")
    assert part.size == len(data[offset : offset + count])
    assert all(0 < len(piece) <= SLICE for piece in slices)


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_partials_put_together_are_the_whole(data: bytes, counts: list[int]) -> None:
    whole = Octets(data, [(0, len(data))])
    offset, pieces = 0, []
    for count in counts:
        pieces.append(b"".join(whole.part(Partial(offset, count)).slices()))
        offset += count
    assert b"".join(pieces) == data[:offset].replace(b"\0", b"\x80")


def test_a_body_shorter_than_promised_is_not_padded() -> None:
    broken = Octets(FakeBody(b"abc", scan(b"")), [(0, 10)])
    with pytest.raises(Gone):
        list(broken.slices())


def test_a_row_without_what_was_needed_is_a_message_that_went_away() -> None:
    plan = plan_for(parse_items(b"(ENVELOPE BODY.PEEK[])"), False)
    without_body, without_meta = row(), row()
    without_body.body = None
    without_meta.meta = None
    assert plan.complete(row())
    assert not plan.complete(without_body)
    assert not plan.complete(without_meta)


ENCODED = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n"
    b"--b\r\nContent-Transfer-Encoding: x-new\r\n\r\nabc\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("items", "form", "octets"),
    [
        (b"BINARY[1]", b"~", b"\0\1\2"),
        (b"BINARY[1]<1.9>", b"", b"\1\2"),
        (b"BINARY.PEEK[1]<0.1>", b"~", b"\0"),
        (b"BINARY[1]<3.1>", b"", b""),
        (b"BINARY[]", b"", ENCODED),
    ],
)
def test_a_literal8_is_used_where_nul_is_in_what_is_sent(items: bytes, form: bytes, octets: bytes) -> None:
    found = plan_for(parse_items(items), False).streamed[0][1](row(ENCODED))
    assert found is not None
    assert (found.form, found.size, b"".join(found.slices())) == (form, len(octets), octets)


@pytest.mark.parametrize(
    ("items", "can"),
    [
        (b"BINARY[1]", True),
        (b"BINARY[2]", False),
        (b"(BINARY[1] BINARY.SIZE[2])", False),
        (b"BINARY[9]", True),
    ],
)
async def test_unknown_encodings_are_found_before_anything_is_said(items: bytes, can: bool) -> None:
    assert await plan_for(parse_items(items), False).can_decode(row(ENCODED)) is can


def test_binary_sets_seen_and_its_size_does_not() -> None:
    assert plan_for(parse_items(b"BINARY[1]"), False).marks_seen
    assert not plan_for(parse_items(b"(BINARY.PEEK[1] BINARY.SIZE[1])"), False).marks_seen


def test_lazy_needs_no_request_and_gives_way_to_a_plain_preview() -> None:
    assert plan_for(parse_items(b"PREVIEW (LAZY)"), False).need == Need.FACTS
    both = plan_for(parse_items(b"(PREVIEW (LAZY) PREVIEW)"), False)
    assert both.need == Need.META | Need.PREVIEW and len(both.inline) == 1
    assert plan_for(parse_items(b"(EMAILID THREADID SAVEDATE)"), False).need == Need.STORED


def test_object_ids_and_dates_not_known_are_nil() -> None:
    bare = row()
    bare.thread_id = ObjectId("")
    plan = plan_for(parse_items(b"(EMAILID THREADID SAVEDATE PREVIEW)"), False)
    bare.meta = None
    assert [render(bare) for render in plan.inline] == [
        b"EMAILID (E)", b"THREADID NIL", b"SAVEDATE NIL", b"PREVIEW NIL",
    ]  # fmt: skip
