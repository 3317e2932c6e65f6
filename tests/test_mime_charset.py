"""Charset labels and text that never fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mime.charset import codec_of, text_of


@pytest.mark.parametrize(
    ("label", "octets", "text"),
    [
        (b"UTF-8", b"\xc3\xa9", "é"),
        (b"utf8", b"\xc3\xa9", "é"),
        (b"ISO-8859-1", b"\x93q\x94", "“q”"),  # labelled Latin-1, written in Windows-1252
        (b"windows-1251", b"\xcf", "П"),
        (b"KOI8-R", b"\xf0", "П"),
        (b"ISO-2022-JP", b"\x1b$BF|K\\\x1b(B", "日本"),
        (b"Shift_JIS", b"\x93\xfa", "日"),
        (b"GB2312", b"\xc4\xe3", "你"),
        (b"ks_c_5601-1987", b"\xb0\xa1", "가"),
        (b"big5", b"\xa7A", "你"),
        (b"us-ascii", b"caf\xc3\xa9", "café"),
        (b"us-ascii", b"caf\xe9", "café"),
        (b"unicode-1-1-utf-7", b"+AOk-", "é"),
        (b"utf-16le", b"\x2d\x4e", "中"),
        (b'"utf-8"', b"\xc3\xa9", "é"),
        (b"x-never-heard", b"\xe9", "é"),
        (None, b"\xe9", "é"),
        (None, b"\xc3\xa9", "é"),
    ],
)
def test_text_of_what_is_found_in_mail(label: bytes | None, octets: bytes, text: str) -> None:
    assert text_of(octets, label) == text


@pytest.mark.parametrize(
    "label", [b"punycode", b"idna", b"unicode_escape", b"rot13", b"zlib", b"undefined", b""]
)
def test_codecs_that_are_no_charsets_are_not_used(label: bytes) -> None:
    assert codec_of(label) is None


@given(
    st.binary(max_size=100),
    st.sampled_from([b"utf-7", b"hz", b"iso-2022-kr", b"utf-16", b"gb18030", b"johab"]),
)
def test_no_octets_fail(octets: bytes, label: bytes) -> None:
    assert isinstance(text_of(octets, label), str)
