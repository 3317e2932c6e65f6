"""Decoding by windows: the same octets however they are asked for, and what FETCH BINARY must know beforehand."""

from __future__ import annotations

import base64
import quopri
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mime import decoding
from gateway.mime.decoding import UnknownEncoding, can_decode, decoded, survey, whole
from gateway.mime.part import Part, scan
from gateway.mime.transfer import decode_transfer


def message(body: bytes, encoding: bytes, kind: bytes = b"application/octet-stream") -> bytes:
    return b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body


def all_of(raw: bytes, part: Part) -> bytes:
    known = survey(raw, part)
    octets = b"".join(decoded(raw, part, known, 0, known.size))
    assert len(octets) == known.size
    assert known.has_nul == (b"\0" in octets)
    return octets


@pytest.fixture(params=[7, 64, decoding.WINDOW])
def window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(decoding, "WINDOW", request.param)
    size: int = request.param
    return size


@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable", b"7bit", b"8bit", b"binary"])
def test_every_partial_is_that_slice_of_the_whole(encoding: bytes, window: int) -> None:
    octets = random.Random(1).randbytes(400)
    encode = {b"base64": base64.encodebytes, b"quoted-printable": quopri.encodestring}
    raw = message(encode.get(encoding, bytes)(octets), encoding)
    part = scan(raw)
    known = survey(raw, part)
    assert all_of(raw, part) == octets
    for start in range(0, 410, 13):
        for end in (start, start + 1, start + 50, 400):
            piece = b"".join(decoded(raw, part, known, start, min(end, known.size)))
            assert piece == octets[start:end]


@given(
    st.lists(
        st.sampled_from([b"QUJD", b"QQ==", b"Q", b"=", b"\r\n", b" ", b"!", b"QUI=", b"AAAA"]), max_size=60
    ),
    st.sampled_from([3, 8, 50]),
)
def test_damaged_base64_decodes_as_it_does_at_once(pieces: list[bytes], size: int) -> None:
    raw = message(b"".join(pieces), b"base64")
    part, usual = scan(raw), decoding.WINDOW
    try:
        decoding.WINDOW = size
        assert all_of(raw, part) == decode_transfer(raw[part.body :], b"base64")
    finally:
        decoding.WINDOW = usual


@given(
    st.lists(
        st.sampled_from([b"=41", b"=\r\n", b"=", b"a", b"\r\n", b"=4", b"==", b" ", b"=zz"]), max_size=60
    ),
    st.sampled_from([5, 8, 50]),
)
def test_damaged_quoted_printable_keeps_its_escapes_whole(pieces: list[bytes], size: int) -> None:
    raw = message(b"".join(pieces), b"quoted-printable")
    part, usual = scan(raw), decoding.WINDOW
    try:
        decoding.WINDOW = size
        assert all_of(raw, part) == decode_transfer(raw[part.body :], b"quoted-printable")
    finally:
        decoding.WINDOW = usual


@pytest.mark.parametrize(
    ("body", "encoding", "kind", "text"),
    [
        (b"b25lCnR3bwo=", b"base64", b"text/plain", b"one\r\ntwo\r\n"),
        (b"one\ntwo\r\n", b"7bit", b"text/plain", b"one\r\ntwo\r\n"),
        (b"one=0Atwo", b"quoted-printable", b"text/html", b"one\r\ntwo"),
        (b"b25lCnR3bwo=", b"base64", b"application/json", b"one\ntwo\n"),
        (base64.b64encode("a\n".encode("utf-16-le")), b"base64", b"text/plain; charset=utf-16le", b"a\0\n\0"),
    ],
)
def test_lines_of_text_end_in_crlf(
    body: bytes, encoding: bytes, kind: bytes, text: bytes, window: int
) -> None:
    raw = message(body, encoding, kind)
    assert all_of(raw, scan(raw)) == text


def test_a_crlf_across_windows_is_one_line_end(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = message(b"ab\r\ncd\n", b"8bit", b"text/plain")
    for size in range(1, 9):
        monkeypatch.setattr(decoding, "WINDOW", size)
        assert all_of(raw, scan(raw)) == b"ab\r\ncd\r\n"


def test_an_encoding_nobody_knows_is_an_error_and_containers_have_none() -> None:
    raw = message(b"x", b"x-uuencode")
    assert not can_decode(scan(raw))
    with pytest.raises(UnknownEncoding):
        survey(raw, scan(raw))
    inner = message(message(b"QQ==", b"base64"), b"x-strange", b"message/rfc822")
    part = scan(inner)
    assert can_decode(part) and all_of(inner, part) == inner[part.body :]


def test_the_whole_message_is_as_it_is() -> None:
    raw = message(b"QQ==\0", b"base64")
    assert all_of(raw, whole(scan(raw))) == raw


def test_a_survey_is_made_once_and_a_partial_reads_one_window() -> None:
    class Counted:
        def __init__(self, raw: bytes) -> None:
            self.raw, self.read_octets = raw, 0

        def read(self, start: int, end: int) -> bytes:
            piece = self.raw[start:end]
            self.read_octets += len(piece)
            return piece

    raw = message(base64.encodebytes(bytes(3_000_000)), b"base64")
    source, part = Counted(raw), scan(raw)
    known = survey(source, part)
    assert survey(source, part) is known
    assert source.read_octets == part.end - part.body
    source.read_octets = 0
    assert b"".join(decoded(source, part, known, 2_900_000, 2_900_010)) == bytes(10)
    assert source.read_octets <= 2 * decoding.WINDOW
