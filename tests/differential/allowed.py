"""What the two may answer differently, each with its reason; everything else is a fault.

A rule is matched against one fact of one command. `ends`: the difference has led the two apart, the rest of the
sequence is not compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from differential.play import NOTHING, Difference

Test = Callable[[Any, Any], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    reason: str
    fact: str  # the whole of it matches this expression
    test: Test = lambda ours, theirs: True
    command: str = ""  # found in the command, in any case
    ends: bool = False

    def covers(self, difference: Difference) -> bool:
        return (
            re.fullmatch(self.fact, difference.fact) is not None
            and re.search(self.command.encode(), difference.command, re.IGNORECASE | re.DOTALL) is not None
            and self.test(difference.ours, difference.theirs)
        )


def _is(ours: Any, theirs: Any) -> Test:
    return lambda one, other: (one, other) == (ours, theirs)


ALLOWED: tuple[Rule, ...] = (
    Rule(
        "\\Draft cannot be stored: in Graph a message is a draft from its creation or never (isDraft); RFC 3501 7.1",
        r"code PERMANENTFLAGS",
        lambda ours, theirs: theirs != NOTHING and ours != NOTHING and theirs[0] - ours[0] == {"\\Draft"},
    ),
    Rule(
        "STATUS of the selected mailbox is answered by both; [CLIENTBUG] is Dovecot's opinion, RFC 5530",
        r"reply code", _is(NOTHING, ("CLIENTBUG",)), r"STATUS",
    ),
)  # fmt: skip


def reason(difference: Difference) -> Rule | None:
    return next((rule for rule in ALLOWED if rule.covers(difference)), None)
