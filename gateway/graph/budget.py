"""A sliding-window budget: never more than `limit` units in any `span` seconds (contract section 3)."""

from __future__ import annotations

import math
from collections import deque


class Budget:
    """Units are counted in cells of a sixtieth of the span: exact to one cell, on the safe side, 61 numbers at most."""

    def __init__(self, limit: int, span: float) -> None:
        self.limit = limit
        self._cell = span / 60
        self._cells: deque[tuple[int, int]] = deque()  # (cell number, units), oldest first
        self._used = 0

    def used(self, now: float) -> int:
        """Units of the last `span` seconds."""
        oldest = math.floor(now / self._cell) - 60
        while self._cells and self._cells[0][0] < oldest:
            self._used -= self._cells.popleft()[1]
        return self._used

    def fits(self, units: int, share: float, now: float) -> bool:
        """Whether `units` more stay within `share` (0..1) of the limit; an empty budget takes anything."""
        used = self.used(now)
        return not units or not used or used + units <= self.limit * share

    def spend(self, units: int, now: float) -> None:
        if not units:
            return
        cell = math.floor(now / self._cell)
        self._used += units
        if self._cells and self._cells[-1][0] == cell:
            self._cells[-1] = (cell, self._cells[-1][1] + units)
        else:
            self._cells.append((cell, units))

    def when(self, units: int, share: float, now: float) -> float:
        """The earliest time at which `fits` can become true, if nothing else is spent."""
        left = self.used(now)
        if self.fits(units, share, now):
            return now
        for cell, spent in self._cells:
            left -= spent
            if not left or left + units <= self.limit * share:
                return (cell + 61) * self._cell
        return now
