"""Flags and keywords to Graph: the body of the one PATCH that says only what changes (decision 7).

The opposite direction, and the table of what is kept where, is `mailbox.local`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Any

from gateway.core.types import FlagChange, FlagOp, Flags, SystemFlag
from gateway.graph.mail import IMAP_DELETED, MACHINE_KEYWORDS, PR_ICON_INDEX, PR_LAST_VERB
from gateway.mailbox.local import FORWARDED, KeywordMap, graph_time, is_forwarded
from gateway.store.api import Local

PR_LAST_VERB_TIME = "SystemTime 0x1082"
PR_RECEIPT_REQUESTED = "Boolean 0x0029"
PR_NON_RECEIPT_REQUESTED = "Boolean 0x0C06"

_VERB_OF = {"answered": ("102", "261"), "forwarded": ("104", "262"), "none": ("0", "256")}  # 0x1081, 0x1080


class Aspect(IntFlag):
    """What one PATCH can change, each alone: only what changes is sent."""

    SEEN = 1
    FLAGGED = 2
    DELETED = 4
    VERBS = 8
    CATEGORIES = 16
    MACHINE = 32


_ASPECT_OF = {
    SystemFlag.SEEN: Aspect.SEEN,
    SystemFlag.FLAGGED: Aspect.FLAGGED,
    SystemFlag.DELETED: Aspect.DELETED,
    SystemFlag.ANSWERED: Aspect.VERBS,
}


def wanted_flags(change: FlagChange, current: Flags, keywords: KeywordMap) -> Flags:
    """What a STORE makes of these flags: keywords in their one spelling, \\Draft as it is (it cannot
    change)."""
    asked = replace(change, flags=keywords.canonical_flags(change.flags))
    wanted = asked.apply(current)
    kept = current.system & SystemFlag.DRAFT
    return Flags(wanted.system & ~SystemFlag.DRAFT | kept, wanted.keywords)


def changed_aspects(current: Flags, wanted: Flags, keywords: KeywordMap) -> Aspect:
    differ = current.system ^ wanted.system
    found = _aspects(differ)
    if current.has_keyword(FORWARDED) != wanted.has_keyword(FORWARDED):
        found |= Aspect.VERBS
    if keywords.machine(current) != keywords.machine(wanted):
        found |= Aspect.MACHINE
    if _folded(keywords.categories(current)) != _folded(keywords.categories(wanted)):
        found |= Aspect.CATEGORIES
    return found


def named_aspects(change: FlagChange, keywords: KeywordMap) -> Aspect:
    """What a STORE speaks of, changed or not: sent in any case if what we know may be stale. A replacement
    that does not name \\Flagged does not count as speaking of it: `notFlagged` would wipe out a completed
    task's dates."""
    found = _aspects(change.flags.system)
    for keyword in change.flags.keywords:
        found |= _keyword_aspect(keyword, keywords)
    if change.op is FlagOp.REPLACE:
        found |= Aspect.SEEN | Aspect.DELETED | Aspect.CATEGORIES
    return found


def _aspects(system: SystemFlag) -> Aspect:
    found = Aspect(0)
    for flag, aspect in _ASPECT_OF.items():
        if flag in system:
            found |= aspect
    return found


def _keyword_aspect(keyword: bytes, keywords: KeywordMap) -> Aspect:
    if is_forwarded(keyword):
        return Aspect.VERBS
    return Aspect.MACHINE if keywords.is_machine(keyword) else Aspect.CATEGORIES


def _folded(categories: Iterable[str]) -> frozenset[str]:
    return frozenset(name.casefold() for name in categories)


@dataclass(frozen=True, slots=True)
class Change:
    """One message's change, as the writers of PATCH members see it."""

    current: Flags
    wanted: Flags
    keywords: KeywordMap
    now: int  # seconds since 1970
    suppress_receipts: bool = True


Members = tuple[dict[str, Any], dict[str, str]]  # PATCH members, and extended properties by id


def patch_of(change: Change, aspects: Aspect) -> dict[str, Any] | None:
    """The body of the PATCH that brings these aspects about, None if there is nothing to say."""
    body: dict[str, Any] = {}
    properties: dict[str, str] = {}
    for aspect, write in _WRITERS.items():
        if aspect in aspects:
            members, extended = write(change)
            body |= members
            properties |= extended
    if properties:
        body["singleValueExtendedProperties"] = extended_properties(properties)
    return body or None


def extended_properties(values: Mapping[str, str]) -> list[dict[str, str]]:
    """As Graph takes them: values are strings (contract section 6.3)."""
    return [{"id": id, "value": value} for id, value in values.items()]


def local_of(wanted: Flags, keywords: KeywordMap) -> Local:
    """The local state of a message that now has these flags."""
    answered = SystemFlag.ANSWERED in wanted.system
    return Local(answered, wanted.has_keyword(FORWARDED), keywords.machine(wanted))


def _write_seen(change: Change) -> Members:
    """Trap 51: marking a message read sends the receipt its sender asked for, unless the request goes with
    it. Whether one was asked for is not known without a request, so it is always cleared; a draft's own
    request stays."""
    read = SystemFlag.SEEN in change.wanted.system
    quiet = read and change.suppress_receipts and SystemFlag.DRAFT not in change.current.system
    silent = {PR_RECEIPT_REQUESTED: "false", PR_NON_RECEIPT_REQUESTED: "false"}
    return {"isRead": read}, silent if quiet else {}


def _write_flagged(change: Change) -> Members:
    flagged = SystemFlag.FLAGGED in change.wanted.system
    return {"flag": {"flagStatus": "flagged" if flagged else "notFlagged"}}, {}


def _write_deleted(change: Change) -> Members:
    return {}, {IMAP_DELETED: "1" if SystemFlag.DELETED in change.wanted.system else "0"}


def _write_verbs(change: Change) -> Members:
    return {}, verb_properties(change.current, change.wanted, change.now)


def _write_categories(change: Change) -> Members:
    return {"categories": change.keywords.categories(change.wanted)}, {}


def _write_machine(change: Change) -> Members:
    return {}, {MACHINE_KEYWORDS: machine_text(change.wanted, change.keywords)}


def machine_text(flags: Flags, keywords: KeywordMap) -> str:
    return b" ".join(sorted(keywords.machine(flags))).decode()


def verb_properties(current: Flags, wanted: Flags, now: int) -> dict[str, str]:
    """The one verb Exchange can hold: the one just set; of two the newer; of what is left, that."""
    verb, icon = _VERB_OF[_verb(current, wanted)]
    return {PR_LAST_VERB: verb, PR_ICON_INDEX: icon, PR_LAST_VERB_TIME: graph_time(now)}


def _verb(current: Flags, wanted: Flags) -> str:
    answered = SystemFlag.ANSWERED in wanted.system
    forwarded = wanted.has_keyword(FORWARDED)
    if answered and forwarded:
        return "forwarded" if not current.has_keyword(FORWARDED) else "answered"
    if answered:
        return "answered"
    return "forwarded" if forwarded else "none"


_WRITERS: dict[Aspect, Callable[[Change], Members]] = {
    Aspect.SEEN: _write_seen,
    Aspect.FLAGGED: _write_flagged,
    Aspect.DELETED: _write_deleted,
    Aspect.VERBS: _write_verbs,
    Aspect.CATEGORIES: _write_categories,
    Aspect.MACHINE: _write_machine,
}
