"""Dot-stuffing, the end of data, smuggling, limits: `gateway.smtp.data`."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from fakes import FakeSpool
from hypothesis import example, given
from hypothesis import strategies as st
from smtp_support import FailingSpool

from gateway.core.errors import SubmissionRefused, TooBig, Unavailable
from gateway.smtp.data import Intake, Undotter, receive, receive_chunk
from gateway.smtp.replies import Farewell

# Strings in which line ends, dots and ends of data are frequent.
wire = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"a", b"\r\n.", b"\r\n.\r\n", b"\n..", b"\n.\n", b""])
).map(b"".join)


def reference(octets: bytes) -> tuple[bytes, bytes | None]:
    """Octet by octet: (text, what follows the end or None without an end). At an unfinished end of input the text
    so far is not compared."""
    text, at = bytearray(), 0
    line_start = True
    while at < len(octets):
        if line_start and octets.startswith(b".\r\n", at):
            return bytes(text), octets[at + 3 :]
        bare = not line_start and at > 0 and octets[at - 1 : at] == b"\n"
        if (line_start and octets.startswith(b".", at)) or (bare and octets.startswith(b"..", at)):
            at += 1
        text += octets[at : at + 1]
        at += 1
        line_start = octets[at - 2 : at] == b"\r\n" and at >= 2
    return bytes(text), None


def undotted(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    undotter, text = Undotter(), bytearray()
    for number, piece in enumerate(pieces):
        text += undotter.feed(piece)
        if undotter.ended:
            return bytes(text), undotter.rest + b"".join(pieces[number + 1 :])
    return bytes(text), None


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(octets), *(place % (len(octets) + 1) for place in places)})
    return [octets[a:b] for a, b in pairwise(marks)]


@given(wire, st.lists(st.integers(0, 1000), max_size=8))
@example(b"\r\n..\n..\n.\r\n\n..\r\n.\r\nQUIT\r\n", [])
def test_any_split_equals_the_reference(octets: bytes, places: list[int]) -> None:
    octets += b"\r\n.\r\nrest"
    assert undotted(cut(octets, places)) == reference(octets)


@given(wire)
def test_octet_by_octet_equals_whole(octets: bytes) -> None:
    octets += b"\r\n.\r\n"
    assert undotted([octets[n : n + 1] for n in range(len(octets))]) == undotted([octets])


@given(st.binary(max_size=200) | wire)
def test_stuffed_as_rfc_5321_says_it_comes_out_as_it_was(message: bytes) -> None:
    """4.5.2, for a message of CRLF lines."""
    lines = message.replace(b"\r", b"").split(b"\n")
    stuffed = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines)
    assert undotted([stuffed + b".\r\n"]) == (b"".join(line + b"\r\n" for line in lines), b"")


@pytest.mark.parametrize(
    "false_end",
    [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\n\r.\r\n", b"\r\n.\0\r\n", b"\r\n. \r\n"],
)  # fmt: skip
def test_only_crlf_dot_crlf_ends_data(false_end: bytes) -> None:
    """Smuggling: whatever another program takes for an end, here it is none."""
    smuggled = b"MAIL FROM:<evil@example.com>\r\n"
    text, rest = undotted([b"hello" + false_end + smuggled, b"\r\n.\r\nQUIT\r\n"])
    assert rest == b"QUIT\r\n"
    assert text.endswith(smuggled + b"\r\n")


FALSE = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r.\n",
    b"\n.\r",
    b"\r\n.\n",
    b"\r\n.\rx",
    b"\n\r.\r\n",
]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("false_end", FALSE)
@pytest.mark.parametrize("before", [b"", b"hello", b"hello\r\n..", b"a\r\n"])
def test_a_false_end_is_noticed_however_it_is_cut(before: bytes, false_end: bytes, size: int) -> None:
    assert smuggling(before + false_end + b"text\r\n.\r\n", size)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    "innocent",
    [b"", b"one.\r\ntwo.\r\n", b"..\r\n", b"a\r\n..\r\nb", b"a\n..\nb", b".x\r\n", b"a\r\n.b.\n", b"a.\nb.\rc\r\n",
     b"a\r\n..\r", b"\n.\t\n"],
)  # fmt: skip
def test_other_dots_are_no_false_end(innocent: bytes, size: int) -> None:
    assert not smuggling(innocent + b"\r\n.\r\n", size)
    assert not smuggling(b".\r\n", size)


@given(wire, st.lists(st.integers(0, 1000), max_size=8))
def test_any_false_end_is_noticed_as_a_reference_does(octets: bytes, places: list[int]) -> None:
    octets += b"\r\n.\r\n"
    text = b"\r\n" + octets[: (b"\r\n" + octets).find(b"\r\n.\r\n")]
    undotter = Undotter()
    for piece in cut(octets, places):
        if not undotter.ended:
            undotter.feed(piece)
    assert undotter.smuggling == any(false in text for false in SHORT)


SHORT = [a + b"." + b for a in (b"\r", b"\n") for b in (b"\r", b"\n")]


def smuggling(octets: bytes, size: int) -> bool:
    undotter = Undotter()
    for at in range(0, len(octets), size):
        if not undotter.ended:
            undotter.feed(octets[at : at + size])
    assert undotter.ended
    return undotter.smuggling


def test_a_bare_lf_dot_is_kept_as_it_is() -> None:
    assert undotted([b"a\n.\nb\n.\r\nc\r\n.\r\n"]) == (b"a\n.\nb\n.\r\nc\r\n", b"")


def test_dots_doubled_behind_a_bare_lf_are_halved() -> None:
    """What smtplib makes of octets with LF line ends."""
    assert undotted([b"a\n..b\n.c\n...\r\n.\r\n"]) == (b"a\n.b\n.c\n..\r\n", b"")


def test_an_empty_message() -> None:
    assert undotted([b".\r\nNOOP\r\n"]) == (b"", b"NOOP\r\n")


@given(wire)
def test_little_is_held_back(octets: bytes) -> None:
    undotter, given_out = Undotter(), 0
    for fed in range(1, len(octets) + 1):
        given_out += len(undotter.feed(octets[fed - 1 : fed]))
        if undotter.ended:
            return
        assert fed - given_out <= 4 + octets[:fed].count(b"\n.") + 1


class Counting(bytes):
    """Octets that count how many of them are joined to others."""

    joined = 0

    def __radd__(self, other: bytes) -> bytes:
        Counting.joined += len(other) + len(self)
        return other + bytes(self)


def test_steps_are_linear_however_it_is_dribbled() -> None:
    """20,000 pieces cost a few octets each to join, not all that came before."""
    Counting.joined = 0
    undotter, piece = Undotter(), Counting(b"\r\n.\r")
    for _ in range(20_000):
        undotter.feed(piece)
    assert 0 < Counting.joined <= 20_000 * (len(piece) + 4)


# -- receive --


async def received(source: Pieces, spool: FakeSpool, *, limit: int, patience: int) -> int:
    intake = Intake(spool, limit=limit, patience=patience)
    await receive(source, intake)
    return intake.size


async def test_a_false_end_refuses_the_message_when_everything_was_read() -> None:
    source, spool = Pieces(b"hello\n.\nMAIL FROM:<a@b.c>\r\n", b"x\r\n.\r\nQUIT\r\n"), FakeSpool()
    with pytest.raises(SubmissionRefused) as caught:
        await received(source, spool, limit=100, patience=200)
    assert (caught.value.status, caught.value.enhanced) == (554, "5.6.0")
    assert source.back == b"QUIT\r\n" and spool.closed


async def test_chunks_are_taken_as_they_come() -> None:
    """RFC 3030: no dots are undone, no line end is looked for, and what follows the count is put back."""
    source, spool = Pieces(b"..a\r\n.\r\n", b"bc", b"defNOOP\r\n"), FakeSpool()
    intake = Intake(spool, limit=100, patience=200)
    await receive_chunk(source, 10, intake)
    source.pieces.insert(0, source.back)
    source.back = b""
    await receive_chunk(source, 3, intake)
    await receive_chunk(source, 0, intake)
    assert spool.read() == b"..a\r\n.\r\nbcdef"[:13] and intake.size == 13


async def test_a_chunk_over_the_limit_is_read_to_its_end() -> None:
    source, spool = Pieces(b"x" * 12, b"yNOOP\r\n"), FakeSpool()
    intake = Intake(spool, limit=10, patience=20)
    await receive_chunk(source, 13, intake)
    assert isinstance(intake.fault, TooBig) and source.back == b"NOOP\r\n" and spool.closed
    with pytest.raises(Farewell):
        await receive_chunk(source, 8, intake)


class Pieces:
    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.back = b""

    async def chunk(self) -> bytes:
        return self.pieces.pop(0)

    def put_back(self, octets: bytes) -> None:
        self.back = octets


async def test_the_spool_gets_the_text_and_the_source_what_follows() -> None:
    source, spool = Pieces(b"Subject: x\r", b"\n\r\n..hi\r\n.\r\nQUI"), FakeSpool()
    assert await received(source, spool, limit=100, patience=200) == 19
    assert spool.read() == b"Subject: x\r\n\r\n.hi\r\n"
    assert source.back == b"QUI"


async def test_a_message_of_exactly_the_limit_is_taken() -> None:
    """RFC 1870: dots of transparency and the end do not count."""
    spool = FakeSpool()
    assert await received(Pieces(b"..567890\r\n.\r\n"), spool, limit=9, patience=20) == 9


async def test_over_the_limit_the_rest_is_drained_and_the_spool_freed_at_once() -> None:
    spool = FakeSpool()
    source = Pieces(b"0123456789", b"x" * 10, b"\r\n.\r\nNOOP\r\n")
    with pytest.raises(TooBig):
        await received(source, spool, limit=15, patience=100)
    assert spool.closed and spool.size == 10
    assert source.back == b"NOOP\r\n"


async def test_far_over_the_limit_the_connection_ends() -> None:
    with pytest.raises(Farewell) as caught:
        await received(Pieces(*[b"x" * 10] * 20), FakeSpool(), limit=15, patience=30)
    assert caught.value.reply.code == 552


async def test_a_full_disk_is_told_when_everything_was_read() -> None:
    source = Pieces(b"hello", b"world\r\n.\r\nNOOP\r\n")
    with pytest.raises(Unavailable):
        await received(source, FailingSpool(Unavailable("No room")), limit=15, patience=30)
    assert source.back == b"NOOP\r\n"


async def test_a_peer_that_leaves_has_sent_no_message() -> None:
    source = Pieces(b"half a mess")
    with pytest.raises(IndexError):
        await received(source, FakeSpool(), limit=100, patience=100)
    assert source.back == b""


async def test_a_chunk_costs_the_same_however_many_lines_it_has() -> None:
    """What makes it fast, counted: calls into Python and C for a piece of 64 KiB, not for a line."""
    lines = b"a line of text that ends with a dot.\r\n" * 1600 + b"..dotted\r\n"
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    source, spool = Pieces(*[lines] * 20, b".\r\n"), FakeSpool()
    sys.setprofile(count)
    try:
        await received(source, spool, limit=10**9, patience=10**9)
    finally:
        sys.setprofile(None)
    assert spool.size == 20 * (len(lines) - 1)
    assert calls < 21 * 40
