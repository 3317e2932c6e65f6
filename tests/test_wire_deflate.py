"""Compression of a connection: any cut of the input, bounded output, ends and what stands behind them."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.deflate import CorruptError, Deflate

MOST = 64


def packed(*texts: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return b"".join(stream.compress(text) + stream.flush(flush) for text in texts)


def everything(deflate: Deflate, most: int = MOST) -> bytes:
    whole = b""
    while piece := deflate.read(most):
        assert len(piece) <= most
        whole += piece
    return whole


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.integers(1, 40), st.integers(1, 100))
def test_every_cut_of_the_input_gives_the_same_octets(texts: list[bytes], cut: int, most: int) -> None:
    data, deflate, got = packed(*texts), Deflate(), b""
    for start in range(0, len(data), cut):
        deflate.feed(data[start : start + cut])
        got += everything(deflate, most)
    assert got == b"".join(texts)
    assert deflate.pending == 0


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH])
def test_each_flush_can_be_read_at_once_byte_by_byte(flush: int) -> None:
    stream, deflate = zlib.compressobj(wbits=-15), Deflate()
    for number in range(50):
        text = b"%d UID FETCH %d BODY.PEEK[]\r\n" % (number, number)
        got = b""
        for octet in stream.compress(text) + stream.flush(flush):
            deflate.feed(bytes([octet]))
            got += everything(deflate)
        assert got == text


def test_what_is_packed_can_be_read_at_once() -> None:
    deflate, peer = Deflate(), zlib.decompressobj(wbits=-15)
    for number in range(50):
        text = b"* %d FETCH (UID %d)\r\n" % (number, number) * number
        assert peer.decompress(deflate.pack(text)) == text
    assert peer.decompress(deflate.last()) == b"" and peer.eof


def test_a_bomb_is_unpacked_only_as_far_as_it_is_read() -> None:
    deflate = Deflate()
    bomb = packed(b"\0" * 50_000_000)
    deflate.feed(bomb)
    assert len(bomb) < 60_000
    for _ in range(3):
        assert deflate.read(1000) == b"\0" * 1000
    assert deflate.pending > len(bomb) // 2


def test_a_full_piece_hides_nothing_behind_it() -> None:
    """zlib may hold output back when there is no input left."""
    deflate = Deflate()
    deflate.feed(packed(b"x" * 1000))
    assert [len(deflate.read(250)) for _ in range(5)] == [250, 250, 250, 250, 0]


def test_what_is_not_deflate_is_said() -> None:
    deflate = Deflate()
    deflate.feed(b"\xff\xff\xff\xff")
    with pytest.raises(CorruptError):
        deflate.read(MOST)


def test_input_behind_the_end_mark_is_broken() -> None:
    deflate = Deflate()
    deflate.feed(packed(b"a\r\n", flush=zlib.Z_FINISH))
    assert deflate.read(MOST) == b"a\r\n"
    assert deflate.read(MOST) == b""
    deflate.feed(b"more")
    with pytest.raises(CorruptError):
        deflate.read(MOST)


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH])
@pytest.mark.parametrize("late", range(8))
def test_plain_text_behind_the_last_compressed_octet_is_given_back(flush: int, late: int) -> None:
    """However the end of the last flush came in, before or after the command it flushed was read."""
    last = packed(b"a UNAUTHENTICATE\r\n", flush=flush)
    deflate = Deflate()
    deflate.feed(last[: len(last) - late])
    got = everything(deflate)
    if got != b"a UNAUTHENTICATE\r\n":  # not all of the command yet
        return
    deflate.feed(last[len(last) - late :] + b"b NOOP\r\n")
    assert deflate.rest() == b"b NOOP\r\n"
