"""Messages put together piece by piece: the same octets however they are cut."""

from __future__ import annotations

import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sending_support import Kept

from gateway.mime.decoding import plain, plain_size
from gateway.mime.lineends import crlf, mended
from gateway.mime.part import scan
from gateway.mime.recipe import Recoded, Span, base64_of, base64_size, in_lines, recipe
from gateway.mime.transfer import decode_transfer

CUTS = st.lists(st.binary(max_size=80), max_size=8)
LINE_ENDS = st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\r\r\n"]), max_size=12)


@given(LINE_ENDS)
def test_line_ends_are_mended_the_same_however_they_come(pieces: list[bytes]) -> None:
    assert b"".join(mended(pieces)) == crlf(b"".join(pieces))


@given(CUTS)
def test_base64_in_lines_and_without(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    lines = b"".join(in_lines(pieces, closed=True))
    assert base64.b64decode(lines) == whole
    assert all(len(line) == 76 for line in lines.split(b"\r\n")[:-2])
    plain = b"".join(base64_of(pieces))
    assert plain == binascii.b2a_base64(whole, newline=False) and len(plain) == base64_size(len(whole))


@given(st.binary(max_size=60), st.data())
def test_what_is_not_edited_stays_and_the_size_is_known_before(raw: bytes, data: st.DataObject) -> None:
    at = sorted(data.draw(st.lists(st.integers(0, len(raw)), min_size=4, max_size=4)))
    edits = [(at[0], at[1], (b"<1>",)), (at[2], at[3], ())]
    bare = data.draw(st.booleans())
    made = recipe(edits, len(raw), bare=bare)
    written = b"".join(made.pieces(Kept(raw)))
    assert made.measure(Kept(raw)) == len(written)
    if not bare and at[1] <= at[2]:
        assert written == raw[: at[0]] + b"<1>" + raw[at[1] : at[2]] + raw[at[3] :]


def test_of_edits_that_overlap_the_first_counts_and_insertions_go_before() -> None:
    source = Kept(b"0123456789")
    made = recipe([(2, 4, (b"b",)), (2, 8, (b"B",)), (2, 2, (b"i",)), (5, 6, (b"x",))], 10, bare=False)
    assert b"".join(made.pieces(source)) == b"01iB89"


def test_a_leaf_is_decoded_and_encoded_anew() -> None:
    raw = b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=\r\nc\r\n"
    part = scan(raw)
    made = recipe([(part.body, part.end, (Recoded(part, closed=True),))], len(raw), bare=False)
    assert made.segments[0] == Span(0, part.body)
    body = b"".join(made.pieces(Kept(raw)))[part.body :]
    assert base64.b64decode(body) == b"a=bc\r\n" and made.measure(Kept(raw)) == part.body + len(body)


BODY = st.lists(
    st.sampled_from([b"QUJD", b"QQ", b"=", b"==", b"\r\n", b"\n", b"!", b"=3D", b"x"]), max_size=14
)


@given(
    BODY, st.sampled_from(["base64", "quoted-printable", "7bit", "x-odd"]), st.booleans(), st.integers(1, 9)
)
def test_what_a_file_is_and_how_large_whatever_is_read_at_once(
    pieces: list[bytes], encoding: str, bare: bool, window: int
) -> None:
    raw = f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode() + b"".join(pieces)
    part = scan(raw)
    body = raw[part.body : part.end]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.mime.decoding.PIECE", window)
        got = b"".join(plain(Kept(raw), part, bare=bare))
        assert plain_size(Kept(raw), part, bare=bare) == len(got)
    assert got == decode_transfer(crlf(body) if bare else body, part.encoding)
