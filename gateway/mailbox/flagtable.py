"""Flags by number: 100,000 messages have a few dozen combinations, so a column of small ints is enough.

Each number counts its messages; a combination nobody has any more gives its number back, so the table never
holds more entries than there are messages. STATUS counts and the keywords in use come from the table alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.types import Flags, SystemFlag


class FlagTable:
    def __init__(self) -> None:
        self._flags: list[Flags] = []
        self._uses: list[int] = []
        self._numbers: dict[Flags, int] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        """Combinations in use."""
        return len(self._numbers)

    def acquire(self, flags: Flags) -> int:
        """The number of this combination, counted for one more message."""
        number = self._numbers.get(flags)
        if number is None:
            number = self._add(flags)
        self._uses[number] += 1
        return number

    def release(self, number: int) -> None:
        """One message fewer has this combination."""
        self._uses[number] -= 1
        if not self._uses[number]:
            del self._numbers[self._flags[number]]
            self._free.append(number)

    def flags(self, number: int) -> Flags:
        return self._flags[number]

    def having(self, flag: SystemFlag) -> int:
        """How many messages have it."""
        return sum(self._uses[number] for flags, number in self._numbers.items() if flag in flags.system)

    def numbers_without(self, flag: SystemFlag) -> frozenset[int]:
        return frozenset(number for flags, number in self._numbers.items() if flag not in flags.system)

    def keywords(self) -> set[bytes]:
        """Keywords that some message has."""
        return {keyword for flags in self for keyword in flags.keywords}

    def __iter__(self) -> Iterator[Flags]:
        return iter(self._numbers)

    def _add(self, flags: Flags) -> int:
        if not self._free:
            self._free.append(len(self._flags))
            self._flags.append(flags)
            self._uses.append(0)
        number = self._free.pop()
        self._flags[number] = flags
        self._numbers[flags] = number
        return number
