"""Which messages changed after a mod-sequence, for as long back as is kept."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable


class ChangeLog:
    """At most `bound` entries, two array columns. Up to the mod-sequence `start` nothing is recorded."""

    def __init__(self, bound: int, start: int) -> None:
        self._bound = bound
        self._floor = start
        self._modseqs = array("Q")
        self._uids = array("I")

    def __len__(self) -> int:
        return len(self._uids)

    def extend(self, changes: Iterable[tuple[int, int]]) -> None:
        """(modseq, uid) pairs, ascending, none below what is there."""
        for modseq, uid in changes:
            self._modseqs.append(modseq)
            self._uids.append(uid)
        if len(self._uids) > self._bound:
            self._cut(len(self._uids) - self._bound // 2)

    def since(self, modseq: int) -> set[int] | None:
        """UIDs changed after `modseq`; None: not recorded that far back, compare in full."""
        if modseq < self._floor:
            return None
        return set(self._uids[bisect_right(self._modseqs, modseq) :])

    def _cut(self, count: int) -> None:
        """Forget the oldest, half the bound at once so that it stays rare."""
        self._floor = self._modseqs[count - 1]
        del self._modseqs[:count]
        del self._uids[:count]
