"""PARTIAL's range: some of many results, counted from the oldest or from the newest (RFC 9394 section 4).

`UID FETCH 1:* (FLAGS) (PARTIAL -1:-30)` and `SEARCH RETURN (PARTIAL 1:100)` mean the same kind of range.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.core.errors import BadCommand
from gateway.wire.cursor import NUMBER_MAX, Cursor

_RANGE = re.compile(rb"(-?)([1-9][0-9]{0,9}):(-?)([1-9][0-9]{0,9})")


@dataclass(frozen=True, slots=True)
class Page:
    """Results number `first` to `last` (1 <= first <= last), from the newest backwards if `newest`. `text` is the
    range as it was sent, which ESEARCH echoes."""

    first: int
    last: int
    newest: bool = False
    text: bytes = b""

    def of(self, count: int) -> range:
        """Which of `count` results, in mailbox order and counted from zero; empty where none of the range exists."""
        first, last = min(self.first - 1, count), min(self.last, count)
        return range(count - last, count - first) if self.newest else range(first, last)


def parse_page(c: Cursor) -> Page:
    """partial-range; both ends count from the same side, in either order."""
    text = c.match(_RANGE, "a range like 1:100 or -1:-100")
    found = _RANGE.fullmatch(text)
    if found is None or found[1] != found[3]:
        raise BadCommand("A range counts from one side only")
    first, last = sorted((int(found[2]), int(found[4])))
    if last > NUMBER_MAX:
        raise BadCommand("Number too large")
    return Page(first, last, bool(found[1]), text)
