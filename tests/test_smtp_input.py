"""Lines and chunks of what the peer sends: `gateway.smtp.input`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.input import Input
from gateway.smtp.replies import Farewell, Gone, Rejected


def feeding(*pieces: bytes, line_limit: int = 20, junk_limit: int = 100) -> Input:
    waiting = list(pieces)

    async def more() -> bytes:
        if not waiting:
            raise Gone
        return waiting.pop(0)

    return Input(more, line_limit=line_limit, junk_limit=junk_limit)


async def lines_of(source: Input) -> list[bytes | None]:
    """None for a line that was too long."""
    lines: list[bytes | None] = []
    while True:
        try:
            lines.append(await source.line())
        except Rejected as rejected:
            lines.append(None if rejected.reply.code == 500 else b"?")
        except Gone:
            return lines


async def test_crlf_and_lf_end_a_line() -> None:
    assert await lines_of(feeding(b"NOOP\r\nNO", b"OP\n\r", b"\n\n")) == [b"NOOP", b"NOOP", b"", b""]


@given(st.binary(max_size=60), st.data())
async def test_any_split_gives_the_same_lines(octets: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(octets)))
    pieces = [piece for piece in (octets[:at], octets[at:]) if piece]
    whole = await lines_of(feeding(octets or b"\n"))
    assert (await lines_of(feeding(*pieces)) or [b""]) == (whole or [b""])
    assert await lines_of(feeding(*(octets[n : n + 1] for n in range(len(octets))))) == (
        whole if octets else []
    )


async def test_a_line_over_the_limit_is_dropped_and_the_next_is_read() -> None:
    assert await lines_of(feeding(b"x" * 30, b"x" * 30 + b"\r\nNOOP\r\n")) == [None, b"NOOP"]
    assert await lines_of(feeding(b"x" * 18 + b"\r\n" + b"x" * 19 + b"\r\nNOOP\r\n")) == [
        b"x" * 18,
        None,
        b"NOOP",
    ]


async def test_a_line_without_an_end_costs_the_connection() -> None:
    with pytest.raises(Farewell) as caught:
        await lines_of(feeding(*[b"x" * 30] * 10))
    assert caught.value.reply.code == 421


class Watched(bytearray):
    """Counts the octets that searches look at."""

    looked = 0

    def find(self, sub: bytes, start: int = 0) -> int:  # type: ignore[override]
        Watched.looked += len(self) - start
        return super().find(sub, start)


async def test_every_octet_of_a_dribbled_line_is_looked_at_once() -> None:
    source = feeding(*[b"x"] * 5000, b"\n", line_limit=10_000)
    source._held = Watched()
    assert len(await source.line()) == 5000
    assert Watched.looked == 5001


async def test_chunks_and_lines_share_what_has_come() -> None:
    source = feeding(b"DATA\r\nhello", b"world")
    assert await source.line() == b"DATA"
    assert await source.chunk() == b"hello"
    assert await source.chunk() == b"world"
    source.put_back(b"QUIT\r\n")
    assert await source.line() == b"QUIT"


async def test_drop_forgets_exactly_so_many() -> None:
    source = feeding(b"12", b"345", b"67NOOP\r\n")
    await source.drop(7)
    assert await source.line() == b"NOOP"
    await source.drop(0)
    with pytest.raises(Gone):
        await source.line()


async def test_forget() -> None:
    source = feeding(b"STARTTLS\r\nMAIL FROM:<evil@example.com>\r\n", b"EHLO x\r\n", line_limit=100)
    assert await source.line() == b"STARTTLS"
    source.forget()
    assert await source.line() == b"EHLO x"
