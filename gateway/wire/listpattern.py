"""LIST and LSUB patterns (RFC 9051 section 6.3.9): `*` for anything, `%` for anything within one level.

A pattern is run as a set of states in one integer, all at once: every character of a name costs the same few
operations, whatever the wildcards, so there is nothing for a hostile pattern to blow up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

DELIMITER = "/"
INBOX = "INBOX"
_WILDCARDS = re.compile(r"[*%]+")


@dataclass(frozen=True, slots=True)
class ListPattern:
    """A pattern made ready: `ListPattern.of(reference + pattern).matches(name)`.

    Bit n of a state says that the first n characters of the pattern are matched. INBOX, alone or as the first
    level, matches in any case (RFC 9051 section 5.1); names are as in `wire.command`.
    """

    length: int
    literals: dict[str, int] = field(repr=False)  # character -> the positions where the pattern has it
    stars: int  # positions of *
    percents: int  # positions of %

    @classmethod
    def of(cls, pattern: str) -> ListPattern:
        text = _WILDCARDS.sub(_strongest, pattern)
        masks: dict[str, int] = {}
        for position, character in enumerate(text):
            masks[character] = masks.get(character, 0) | 1 << position
        stars, percents = masks.pop("*", 0), masks.pop("%", 0)
        return cls(len(text), masks, stars, percents)

    def matches(self, name: str) -> bool:
        folded = len(INBOX) if _is_inbox(name) else 0
        state = self._skip_wildcards(1)
        for position, character in enumerate(name):
            state = self._step(state, character, folded=position < folded)
            if not state:
                return False
        return bool(state >> self.length & 1)

    def _step(self, state: int, character: str, *, folded: bool) -> int:
        mask = self.literals.get(character, 0)
        if folded:
            mask |= self.literals.get(character.swapcase(), 0)
        stay = self.stars if character == DELIMITER else self.stars | self.percents
        return self._skip_wildcards((state & mask) << 1 | state & stay)

    def _skip_wildcards(self, state: int) -> int:
        """A wildcard may match nothing; two never stand side by side."""
        return state | (state & (self.stars | self.percents)) << 1


def _strongest(match: re.Match[str]) -> str:
    return "*" if "*" in match[0] else "%"


def _is_inbox(name: str) -> bool:
    return name[: len(INBOX)].upper() == INBOX and name[len(INBOX) : len(INBOX) + 1] in ("", DELIMITER)
