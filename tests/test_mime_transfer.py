"""Transfer encodings undone, well-formed or not."""

from __future__ import annotations

import binascii
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mime.transfer import base64_octets, decode_transfer


@pytest.mark.parametrize(
    ("data", "octets"),
    [
        (b"YWJj\r\nZGVm", b"abcdef"),
        (b"YWI", b"ab"),
        (b"YWI=", b"ab"),
        (b"Y", b""),
        (b"YW*Jj", b"abc"),
        (b"YQ==YmM=", b"abc"),  # two blocks glued together
        (b"YQ==\r\n\r\n-- footer", b"a" + binascii.a2b_base64(b"footer==")),
        (b"", b""),
    ],
)
def test_base64_as_mail_has_it(data: bytes, octets: bytes) -> None:
    assert base64_octets(data) == octets


@given(st.binary(max_size=300))
def test_base64_round_trip(octets: bytes) -> None:
    assert decode_transfer(binascii.b2a_base64(octets), b"base64") == octets


@given(st.binary(max_size=300))
def test_quoted_printable_round_trip(octets: bytes) -> None:
    octets = octets.replace(b"\r", b"")
    assert decode_transfer(quopri.encodestring(octets, quotetabs=True), b"quoted-printable") == octets


@given(st.binary(max_size=100), st.sampled_from([b"base64", b"quoted-printable", b"x-uuencode", b"8bit"]))
def test_never_fails(octets: bytes, encoding: bytes) -> None:
    assert isinstance(decode_transfer(octets, encoding), bytes)
