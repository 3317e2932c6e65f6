"""The scanner over a message that is not in memory finds what it finds in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mime_trees import SHRAPNEL, TREES, parts_of

from gateway.mime.pages import Pages
from gateway.mime.part import Part, scan


class Counted:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.most = 0
        self.total = 0

    def read(self, start: int, end: int) -> bytes:
        self.most = max(self.most, end - start)
        self.total += end - start
        return self.data[start:end]


def without_lines(message: Part) -> Part:
    for part in parts_of(message):
        part.lines = 0
    return message


@given(TREES.map(lambda tree: tree.raw) | SHRAPNEL, st.integers(1, 40))
def test_the_same_tree_whatever_the_window(raw: bytes, window: int) -> None:
    pages = Pages(Counted(raw), len(raw), window=window)
    assert scan(pages) == without_lines(scan(raw))


@given(st.binary(max_size=60), st.binary(min_size=1, max_size=4), st.integers(0, 60), st.integers(1, 20))
def test_find_is_that_of_bytes(data: bytes, needle: bytes, at: int, window: int) -> None:
    assert Pages(Counted(data), len(data), window=window).find(needle, at) == (
        data.find(needle, at) if at < len(data) else -1
    )


def test_a_large_message_is_read_once_and_a_window_at_a_time() -> None:
    line = b"x" * 70 + b"\r\n"
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
        + line * 40_000
        + b"--b\r\n\r\nend\r\n--b--\r\n"
    )
    source = Counted(raw)
    assert len(scan(Pages(source, len(raw))).children) == 2
    assert source.most <= 128 * 1024 and source.total < len(raw) * 1.1


def test_a_message_that_became_shorter_is_noticed() -> None:
    with pytest.raises(EOFError):
        Pages(Counted(b""), 5).find(b"x")
