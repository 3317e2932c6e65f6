"""One folder: its sorted members, counts, and the log of changes that delta reads.

Members are kept in one sorted array of keys, so that a page is a slice and no request costs O(N).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections import deque
from typing import Any


class ChangeLog:
    """What happened to the messages of a folder, in order. A position is an absolute count of entries."""

    __slots__ = ("base", "masks", "numbers", "serials", "times")

    def __init__(self) -> None:
        self.base = 0
        self.numbers = array("q")
        self.serials = array("q")
        self.masks = bytearray()
        self.times = array("d")

    def add(self, number: int, mask: int, time: float, serial: int, cap: int) -> None:
        """Append; beyond `cap` entries the older half is forgotten and tokens into it are dead."""
        if len(self.numbers) >= cap:
            half = cap // 2
            self.base += half
            del self.numbers[:half], self.serials[:half], self.masks[:half], self.times[:half]
        self.numbers.append(number)
        self.serials.append(serial)
        self.masks.append(mask)
        self.times.append(max(time, self.times[-1]) if self.times else time)

    def end(self, until: float) -> int:
        """The position behind the last entry that is not younger than `until`."""
        return self.base + bisect_right(self.times, until)

    def between(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """(number, mask, serial) of the entries from position `start` to `end`."""
        low, high = start - self.base, end - self.base
        return list(zip(self.numbers[low:high], self.masks[low:high], self.serials[low:high], strict=True))

    def at(self, position: int) -> tuple[int, int, int]:
        index = position - self.base
        return self.numbers[index], self.masks[index], self.serials[index]


class Keys:
    """A sorted column of sort keys."""

    __slots__ = ("column",)

    def __init__(self) -> None:
        self.column = array("q")

    def __len__(self) -> int:
        return len(self.column)

    def add(self, key: int) -> None:
        if not self.column or key > self.column[-1]:
            self.column.append(key)
        else:
            insort(self.column, key)

    def discard(self, key: int) -> None:
        at = bisect_left(self.column, key)
        if at < len(self.column) and self.column[at] == key:
            del self.column[at]

    def newest(self, skip: int, count: int) -> list[int]:
        """`count` keys, newest first, after the `skip` newest."""
        stop = max(len(self.column) - skip, 0)
        return list(reversed(self.column[max(stop - count, 0) : stop]))

    def below(self, key: int, count: int, *, inclusive: bool = False) -> list[int]:
        """Up to `count` keys, newest first, that sort before `key`."""
        stop = (bisect_right if inclusive else bisect_left)(self.column, key)
        return list(reversed(self.column[max(stop - count, 0) : stop]))

    def window(self, low: int, high: int) -> array[int]:
        """The keys with low <= key < high, oldest first."""
        return self.column[bisect_left(self.column, low) : bisect_left(self.column, high)]


class Folder:
    """A mail folder. `number` is its identity, `seq` the mailbox's folder sequence at its last change."""

    __slots__ = (
        "article", "committed", "created", "hidden", "history", "items", "kind", "log", "modified", "name", "non_mail",
        "number", "parent", "search", "seq", "unread", "wellknown",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        parent: int,
        name: str,
        *,
        wellknown: str | None = None,
        hidden: bool = False,
        kind: str = "IPF.Note",
        created: int = 0,
    ) -> None:
        self.number = number
        self.parent = parent
        self.name = name
        self.wellknown = wellknown
        self.hidden = hidden
        self.kind = kind
        self.non_mail = 0
        self.items = Keys()
        self.unread = 0
        self.log = ChangeLog()
        self.article = 1
        self.created = created
        self.modified = created
        self.committed = created  # the last change of any message in it (0x670A)
        self.seq = 0
        self.search: dict[str, Any] | None = None
        self.history: deque[tuple[float, int, int]] = deque(maxlen=1024)

    def recount(self, now: float) -> None:
        """Note the counts that hold from `now` on; `counts` answers with those of a moment ago."""
        if self.history and self.history[-1][0] >= now:
            self.history.pop()
        self.history.append((now, len(self.items), self.unread))

    def counts(self, until: float) -> tuple[int, int]:
        """(total, unread) as they were at `until`; the oldest known where that is too long ago."""
        while len(self.history) > 1 and self.history[1][0] <= until:
            self.history.popleft()
        return (self.history[0][1], self.history[0][2]) if self.history else (0, 0)
