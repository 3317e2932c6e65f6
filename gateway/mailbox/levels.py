"""How far the sessions of this process were told of each folder, whoever changed it: the safety net below hints.

Mod-sequences of a folder rise by one with each change that clients hear of. Ours and those that others tell of come in
any order; what is missing between them when the store is looked at was said in a hint that was lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

EARLY = 256  # numbers of one folder that came before their turn; beyond, the store is looked at


@dataclass(slots=True)
class _Level:
    upto: int
    early: set[int] = field(default_factory=set)

    def told(self, modseq: int) -> None:
        if modseq > self.upto and len(self.early) < EARLY:
            self.early.add(modseq)
        self._close_up()

    def caught_up(self, modseq: int) -> None:
        self.upto = max(self.upto, modseq)
        self.early = {number for number in self.early if number > self.upto}
        self._close_up()

    def _close_up(self) -> None:
        while self.upto + 1 in self.early:
            self.upto += 1
            self.early.discard(self.upto)


class Levels:
    """Of the folders of all accounts that are up, by folder key."""

    def __init__(self) -> None:
        self._levels: dict[int, _Level] = {}

    def begin(self, folders: Mapping[int, int]) -> None:
        """So far everything is known. Folders known already stay as they are."""
        for folder, modseq in folders.items():
            self._levels.setdefault(folder, _Level(modseq))

    def told(self, folder: int, modseq: int) -> None:
        """Who listens has heard of the change that made this mod-sequence."""
        if folder in self._levels:
            self._levels[folder].told(modseq)

    def behind(self, stored: Mapping[int, int]) -> dict[int, int]:
        """The folders of which the store has more than was told, and up to where everything was."""
        return {
            folder: self._levels[folder].upto
            for folder, modseq in stored.items()
            if folder in self._levels and modseq > self._levels[folder].upto
        }

    def caught_up(self, folder: int, modseq: int) -> None:
        """It has now."""
        self._levels[folder].caught_up(modseq)

    def keep(self, folders: Iterable[int]) -> None:
        """Forget all others."""
        wanted = set(folders)
        for folder in self._levels.keys() - wanted:
            del self._levels[folder]
