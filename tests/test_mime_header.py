"""Header blocks: fields, unfolding, subsets, encoded words, canonical folding."""

from __future__ import annotations

import time
from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mime.header import (
    Fields,
    decoded,
    field,
    fields_matching,
    fold_field,
    fold_header,
    header_end,
    split,
    unfold,
)

HEADER = (
    b"Received: from a\r\n\tby b\r\nFrom: Bob <b@x>\r\nSUBJECT : two\r\n words\r\nno colon here\r\n"
    b"From: again\r\nX-Empty:\r\n\r\n"
)


def test_the_header_ends_behind_the_empty_line() -> None:
    assert header_end(b"A: 1\r\n\r\nbody") == 8
    assert header_end(b"A: 1\n\nbody") == 6
    assert header_end(b"A: 1\r\n\nbody") == 7
    assert header_end(b"\r\nbody\r\n\r\n") == 2
    assert header_end(b"A: 1\r\n") == 6
    assert header_end(b"A: 1\r\n \r\nB: 2\r\n\r\n") == len(b"A: 1\r\n \r\nB: 2\r\n\r\n")


def test_split_gives_adjacent_spans_and_keeps_lines_that_are_no_fields() -> None:
    fields = split(HEADER)
    names = [found.name for found in fields]
    assert names == [b"received", b"from", b"subject", b"", b"from", b"x-empty"]
    assert b"".join(HEADER[found.start : found.end] for found in fields) + b"\r\n" == HEADER
    assert HEADER[fields[1].value : fields[1].end] == b" Bob <b@x>\r\n"


def test_field_is_found_in_any_case_and_unfolded() -> None:
    assert field(HEADER, b"Subject") == b"two words"
    assert field(HEADER, b"received") == b"from a\tby b"
    assert field(HEADER, b"from") == b"Bob <b@x>"
    assert field(HEADER, b"x-empty") == b""
    assert field(HEADER, b"x-none") is None
    assert Fields(HEADER).all(b"from") == [b"Bob <b@x>", b"again"]


def test_a_continuation_line_that_looks_like_a_field_is_none() -> None:
    assert field(b"A: x\r\n B: y\r\n\r\n", b"b") is None


def test_no_line_end_survives_unfolding() -> None:
    assert unfold(b" a\r\n b\rc\nd\x00 ") == b"a b c d"


def test_header_fields_keep_the_order_of_the_message_and_end_in_an_empty_line() -> None:
    subset = fields_matching(HEADER, (b"subject", b"FROM"), invert=False)
    assert subset == b"From: Bob <b@x>\r\nSUBJECT : two\r\n words\r\nFrom: again\r\n\r\n"


def test_header_fields_not_has_all_the_rest_and_the_empty_line() -> None:
    rest = fields_matching(HEADER, (b"subject", b"FROM"), invert=True)
    assert rest == b"Received: from a\r\n\tby b\r\nno colon here\r\nX-Empty:\r\n\r\n"


def test_a_subset_without_fields_is_the_empty_line() -> None:
    assert fields_matching(HEADER, (b"x-none",), invert=False) == b"\r\n"
    assert fields_matching(b"", (b"a",), invert=True) == b"\r\n"
    assert fields_matching(b"A: 1", (b"a",), invert=False) == b"A: 1\r\n\r\n"


@given(st.binary(max_size=300), st.lists(st.sampled_from([b"a", b"b", b"subject"]), max_size=3))
def test_fields_and_fields_not_share_the_header_out(noise: bytes, names: list[bytes]) -> None:
    header = b"A: 1\r\nB: 2\r\n" + noise + b"\r\n\r\n"
    header = header[: header_end(header)]
    content = header[: split(header)[-1].end]
    kept = fields_matching(header, names, invert=False)
    rest = fields_matching(header, names, invert=True)
    assert sorted(kept + rest) == sorted(content + b"\r\n\r\n")


@given(st.binary(max_size=400))
def test_split_tiles_any_octets(header: bytes) -> None:
    at = 0
    for found in split(header):
        assert found.start == at
        assert found.start <= found.value <= found.end
        at = found.end
    assert header[at:] in (b"", b"\r\n", b"\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?Q?caf=C3=A9_au?= lait", "café au lait"),
        (b"a =?ISO-8859-1?q?=E9?=  =?iso-8859-1?Q?=E8?= b", "a éè b"),
        (b"=?utf-8?b?w6k=?=\r\n =?UTF-8?B?w6g=?=", "éè"),
        (b"=?utf-8?b?4oI=?= =?utf-8?b?rA==?=", "€"),  # a character cut in two by the word's end
        (b"=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?= =?ISO-2022-JP?B?GyRCOGwbKEI=?=", "日本語"),
        (b"=?gb2312?B?xOO6ww==?=", "你好"),
        (b"=?utf-8*en?Q?language?=", "language"),
        (b"=?x-unknown?Q?=E9?=", "é"),
        (b"=?utf-8?B?w6k?=", "é"),  # padding forgotten
        (b"=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        (b"=?utf-8?Q?a?= between =?utf-8?Q?b?=", "a between b"),
        (b'"=?utf-8?Q?in_quotes?=" <a@b>', '"in quotes" <a@b>'),
        (b"=?punycode?Q?abc?=", "abc"),
        (b"=?utf-8?Q??= x", " x"),
        (b"=?utf-8?Q?a=0D=0ABcc:_evil=00?=", "a  Bcc: evil "),
    ],
)
def test_encoded_words_are_read(value: bytes, text: str) -> None:
    assert decoded(value) == text


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=80))
def test_what_the_standard_library_encodes_is_decoded(text: str) -> None:
    from email.header import Header

    value = Header(text.strip(), "utf-8").encode().encode()
    expected = str(make_header(decode_header(value.decode())))
    assert decoded(value) == expected


@given(st.binary(max_size=200))
def test_decoding_never_fails(value: bytes) -> None:
    assert isinstance(decoded(value), str)


def test_folding_is_canonical_and_undone_by_unfolding() -> None:
    subject = "word " * 40 + "end"
    header = fold_header([("Subject", subject), ("Message-ID", "<" + "i" * 120 + "@x>"), ("no name", "x")])
    assert header.endswith(b"\r\n\r\n")
    assert all(len(line) <= 78 for line in header.split(b"\r\n") if not line.startswith(b"Message-ID"))
    assert field(header, b"subject") == subject.encode()
    assert b"Message-ID: <iii" in header
    assert [found.name for found in split(header)] == [b"subject", b"message-id"]


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_folded_field_is_one_field_whatever_its_value(value: str, other: str) -> None:
    header = fold_header([("X-A", value), ("X-B", other)])
    assert [found.name for found in split(header)] == [b"x-a", b"x-b"]
    assert header_end(header) == len(header)
    assert fold_header([("X-A", value)]) == fold_header([("X-A", value)])


def test_a_field_name_must_be_one() -> None:
    with pytest.raises(ValueError, match="name"):
        fold_field(b"Bad name", b"x")


def test_hostile_headers_take_linear_time() -> None:
    million = 1_000_000
    began = time.perf_counter()
    for header in (
        b"a" * million,
        b"a: " + b"x" * million,
        b"a:\r\n" + b" \r\n" * (million // 3),
        b"\r" * million,
        b"a: " + b"=?" * (million // 2),
        b"a: " + b"=?a?q?" * (million // 6),
        b"a: " + b"=?utf-8?q?=41?= " * (million // 16),
        b":" * million,
        b"a:\n" * (million // 3),
    ):
        split(header)
        fields_matching(header, (b"a",), invert=False)
        decoded(field(header, b"a") or b"")
    assert time.perf_counter() - began < 20
