"""Which keywords a STORE or APPEND may bring into a mailbox (decision 7; RFC 9051 section 7.1, PERMANENTFLAGS).

What a client can make grow has a bound: keywords of one mailbox stand in every FLAGS response. Those that Outlook has
set are taken as they are, however many, and COPY and MOVE take along what the account has already.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gateway.core.errors import LimitReached
from gateway.core.limits import Limits
from gateway.core.types import Flags, one_spelling
from gateway.mailbox.local import KeywordMap

CATEGORY = 255  # characters of an Outlook category, contract section 6.2


def room(present: Collection[bytes], limits: Limits) -> bool:
    """May a client make one more?"""
    return len(present) < limits.keywords_per_mailbox


def check(asked: Iterable[bytes], present: Collection[bytes], words: KeywordMap, limits: Limits) -> None:
    """LimitReached for a keyword that no category can hold, or one too many. What is there already may be set."""
    known = {keyword.lower() for keyword in present}
    fresh = {keyword.lower() for keyword in map(words.canonical, asked)} - known
    if any(not words.is_machine(keyword) and len(words.category(keyword)) > CATEGORY for keyword in fresh):
        raise LimitReached(f"A keyword stands for at most {CATEGORY} characters")
    if fresh and len(known) + len(fresh) > limits.keywords_per_mailbox:
        raise LimitReached("This mailbox has as many keywords as it may have")


def as_known(flags: Flags, present: Iterable[bytes]) -> Flags:
    """The keywords in the spelling the mailbox has them in: Outlook's categories do not become twins."""
    spelled = {keyword.lower(): keyword for keyword in one_spelling(present)}
    return Flags(flags.system, frozenset(spelled.get(keyword.lower(), keyword) for keyword in flags.keywords))
