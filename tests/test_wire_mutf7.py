"""Modified UTF-7: the RFC's example, and that there is one spelling for each name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import mutf7

names = st.text(st.characters(exclude_categories=("Cs",)))


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # RFC 3501 section 5.1.3
        ("Gel&öschte", b"Gel&-&APY-schte"),
        ("Entwürfe", b"Entw&APw-rfe"),
        ("😀", b"&2D3eAA-"),
        ("&", b"&-"),
        ("a,b+c/d", b"a,b+c/d"),
        ("", b""),
    ],
)
def test_examples(name: str, encoded: bytes) -> None:
    assert mutf7.encode(name) == encoded
    assert mutf7.decode(encoded) == name


@given(names)
def test_round_trip(name: str) -> None:
    encoded = mutf7.encode(name)
    assert all(0x20 <= octet < 0x7F for octet in encoded)
    assert mutf7.decode(encoded) == name


@given(st.binary(max_size=20) | st.text("&-+,/ABab12", max_size=20).map(str.encode))
def test_what_is_accepted_is_canonical(name: bytes) -> None:
    try:
        text = mutf7.decode(name)
    except ValueError:
        return
    assert mutf7.encode(text) == name


@pytest.mark.parametrize(
    "name",
    [
        b"&",  # not closed
        b"AT&T",
        b"&Jjo",
        b"&Jjo!-",  # not base64
        b"&AGE-",  # an "a" that can stand for itself
        b"&U,BTFw-&ZeVnLIqe-",  # a null shift between
        b"&2D0-",  # half of a surrogate pair
        b"&3gDYPQ-",  # a pair in the wrong order
        b"&U,BTFx-",  # bits left over
        b"&U/BTFw-",  # "/" is written ","
        b"&A-",
        b"caf\xc3\xa9",
        b"a\tb",
    ],
)
def test_ill_formed(name: bytes) -> None:
    with pytest.raises(ValueError):
        mutf7.decode(name)


def test_a_lone_surrogate_has_no_encoding() -> None:
    with pytest.raises(ValueError):
        mutf7.encode("\ud83d")
