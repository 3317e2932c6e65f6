"""A message that is not in memory, looked at through one window: what the scanner asks of `bytes`, and no more held.

Searches go forward, so the window does; a slice elsewhere is read for itself.
"""

from __future__ import annotations

import re
from typing import Protocol

from gateway.core.limits import KIB

WINDOW = 128 * KIB
_OVERLAP = 8  # more than any pattern that is searched for matches


class Octets(Protocol):
    """A message's octets, wherever they are kept."""

    def read(self, start: int, end: int) -> bytes:
        """Octets start..end (end exclusive), short at the end of the message."""
        ...


class Pages:
    """`size` octets of `source`. Patterns given to `search` match at most eight octets."""

    __slots__ = ("_at", "_size", "_source", "_text", "_window")

    def __init__(self, source: Octets, size: int, *, window: int = WINDOW) -> None:
        self._source = source
        self._size = size
        self._window = max(window, 2 * _OVERLAP)
        self._at = 0
        self._text = b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, wanted: slice) -> bytes:
        start, end, _ = wanted.indices(self._size)
        first = start - self._at
        if first >= 0 and end <= self._at + len(self._text):
            return self._text[first : end - self._at]
        return self._source.read(start, end) if start < end else b""

    def startswith(self, prefixes: tuple[bytes, ...], at: int = 0) -> bool:
        return self[at : at + _OVERLAP].startswith(prefixes)

    def index(self, needle: bytes) -> int:
        found = self.find(needle)
        if found < 0:
            raise ValueError("not found")
        return found

    def find(self, needle: bytes, at: int = 0) -> int:
        while at < self._size:
            self._show(at)
            found = self._text.find(needle, at - self._at)
            if found >= 0:
                return self._at + found
            at = self._beyond(at, len(needle) - 1)
        return -1

    def search(self, pattern: re.Pattern[bytes], at: int) -> tuple[int, int] | None:
        """Where `pattern` matches first from `at` on."""
        while at < self._size:
            self._show(at)
            match = pattern.search(self._text, at - self._at)
            if match is not None:
                return self._at + match.start(), self._at + match.end()
            at = self._beyond(at, _OVERLAP - 1)
        return None

    def _show(self, at: int) -> None:
        """Have the window hold `at`, and some octets behind it if there are any."""
        behind = self._at + len(self._text) - at
        if at < self._at or behind < min(_OVERLAP, self._size - at):
            self._at = at
            self._text = self._source.read(at, min(at + self._window, self._size))
            if not self._text:
                raise EOFError("the message is shorter than it was")

    def _beyond(self, at: int, overlap: int) -> int:
        """Where to go on when nothing was found in the window from `at`."""
        end = self._at + len(self._text)
        return self._size if end >= self._size else max(at + 1, end - overlap)
