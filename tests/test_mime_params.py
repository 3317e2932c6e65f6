"""Content-Type and its like: values, parameters, RFC 2231."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mime.params import media_type, parameter, parse_value, token


@pytest.mark.parametrize(
    ("value", "main", "params"),
    [
        (b"text/plain", b"text/plain", ()),
        (b"text/plain; charset=utf-8", b"text/plain", ((b"charset", b"utf-8"),)),
        (b'text/plain; CharSet="utf-8"; x = y ;', b"text/plain", ((b"charset", b"utf-8"), (b"x", b"y"))),
        (b"text/plain; charset=us-ascii (Plain text)", b"text/plain", ((b"charset", b"us-ascii"),)),
        (b'text/plain (a); charset (b) = (c) (d) "utf-8" (e)', b"text/plain", ((b"charset", b"utf-8"),)),
        (b"a/b; name=(1) draft.txt", b"a/b", ((b"name", b"(1) draft.txt"),)),
        (b'a/b; name="a;b=\\"c\\""', b"a/b", ((b"name", b'a;b="c"'),)),
        (b"a/b; name=two words (1).pdf", b"a/b", ((b"name", b"two words (1).pdf"),)),
        (b'a/b; name="open', b"a/b", ((b"name", b"open"),)),
        (b"a/b; boundary=----=_Part_1_2.3", b"a/b", ((b"boundary", b"----=_Part_1_2.3"),)),
        (b"a/b (remark); ;; garbage; x=1", b"a/b", ((b"x", b"1"),)),
        (b"a/b; x=1; x=2", b"a/b", ((b"x", b"1"),)),
        (b"a/b; n*0=ab; n*1=cd; z=1", b"a/b", ((b"n", b"abcd"), (b"z", b"1"))),
        (b"a/b; n*1=cd; n*0=ab", b"a/b", ((b"n", b"abcd"),)),
        (b"a/b; n*=utf-8''%C3%A9", b"a/b", ((b"n*", b"utf-8''%C3%A9"),)),
        (b"a/b; n*0*=utf-8''%C3; n*1=\"%A9 x\"; n*2*=%C3", b"a/b", ((b"n*", b"utf-8''%C3%25A9%20x%C3"),)),
        (b"a/b; n=plain; n*=utf-8''e", b"a/b", ((b"n", b"plain"), (b"n*", b"utf-8''e"))),
        (b"", b"", ()),
    ],
)
def test_values(value: bytes, main: bytes, params: tuple[tuple[bytes, bytes], ...]) -> None:
    assert parse_value(value) == (main, params)


def test_the_meaning_of_an_extended_parameter() -> None:
    assert parameter(((b"n*", b"utf-8'en'%C3%A9x"),), b"n") == b"\xc3\xa9x"
    assert parameter(((b"n", b"plain"), (b"n*", b"x''y")), b"n") == b"plain"
    assert parameter((), b"n") is None


@pytest.mark.parametrize(
    ("main", "kind"),
    [
        (b"TEXT/HTML", (b"text", b"html")),
        (b"text / plain", (b"text", b"plain")),
        (b"text", (b"text", b"plain")),
        (b"multipart", (b"multipart", b"mixed")),
        (b"image", None),
        (b"", None),
        (b"/plain", None),
        (b"\xff\xfe/x", None),
    ],
)
def test_media_types(main: bytes, kind: tuple[bytes, bytes] | None) -> None:
    assert media_type(main) == kind


def test_tokens() -> None:
    assert token(b" Quoted-Printable ; x") == b"quoted-printable"
    assert token(b'"base64"') == b"base64"
    assert token(b"(c) 7BIT") == b"7bit"
    assert token(b"") is None


def test_thousands_of_rfc_2231_pieces_are_bounded_and_linear() -> None:
    began = time.perf_counter()
    for value in (
        b"a/b" + b"".join(b"; n*%d*=x" % number for number in range(9000)),
        b"a/b" + b"; n*0=x" * 20_000,
        b"a/b; " + b"x" * 1_000_000,
        b'a/b; x="' + b'\\"' * 500_000,
        b"a/b; " + b'a"b"' * 250_000,
        b"a/b; " + b"*1" * 500_000 + b"=x",
        b"(" * 1_000_000,
    ):
        _, params = parse_value(value)
        assert len(params) <= 500
        assert sum(len(text) for _, text in params) < 100_000
    assert time.perf_counter() - began < 10


@given(st.binary(max_size=200) | st.text("ab/;=\"\\*0'%() ", max_size=80).map(str.encode))
def test_any_octets_give_a_value(value: bytes) -> None:
    main, params = parse_value(value)
    assert isinstance(main, bytes)
    assert all(name and name == name.lower() for name, _ in params)
