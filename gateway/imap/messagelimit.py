"""MESSAGELIMIT (RFC 9738), where the administrator has set one: how many messages one command works on.

FETCH, STORE, SEARCH, MOVE and UID EXPUNGE take those with the highest UIDs and say which was the lowest of them: the
client goes on below. COPY, APPEND, SORT and THREAD, which are whole or nothing, are refused. EXPUNGE and CLOSE are not
limited.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand, LimitReached
from gateway.core.runs import Runs
from gateway.imap.ids import positions
from gateway.imap.spec import Reply
from gateway.wire.encode import Kind
from gateway.wire.searchkey import And, SearchKey, SeqSet, UidSet

if TYPE_CHECKING:
    from gateway.imap.session import Session


class TooManyMessages(LimitReached):
    """A command that cannot be done in part."""

    def __init__(self, code: bytes) -> None:
        super().__init__("Too many messages for one command")
        self.code = code


def cut(s: Session, at: list[range]) -> tuple[list[range], bytes]:
    """The highest of these positions, as many as a command may have, and the response code if there were more."""
    limit = s.context.settings.message_limit
    if not limit or sum(map(len, at)) <= limit:
        return at, b""
    kept = list(_highest(at, limit))[::-1]
    return kept, b"MESSAGELIMIT %d %d" % (limit, s.folder.view.uids[kept[0].start])


def _highest(at: Sequence[range], count: int) -> Iterator[range]:
    """From the last position down."""
    for run in reversed(at):
        yield run[max(0, len(run) - count) :]
        count -= len(run)
        if count <= 0:
            return


def refuse_more(s: Session, at: list[range]) -> None:
    """TooManyMessages if these are more than one command may have."""
    if code := cut(s, at)[1]:
        raise TooManyMessages(code)


def refuse_above(s: Session, count: int) -> None:
    """TooManyMessages if so many messages are more than one command may have; there is no UID to tell."""
    limit = s.context.settings.message_limit
    if limit and count > limit:
        raise TooManyMessages(b"MESSAGELIMIT %d" % limit)


def said(s: Session, reply: Reply, code: bytes) -> Reply:
    """The reply with the code; one that has a code of its own is told after an untagged NO with this one."""
    if not code or reply.kind is not Kind.OK:
        return reply
    if not reply.code:
        return replace(reply, code=code)
    s.out.status(b"*", Kind.NO, "There are more messages than one command may have", code)
    return reply


# -- searches: what counts is how many messages are looked at --


def narrowed(s: Session, key: SearchKey) -> tuple[SearchKey, bytes]:
    """The key for the messages that one SEARCH may look at, and the response code if there were more. Sets of messages
    that must hold narrow down what is looked at."""
    if not s.context.settings.message_limit:
        return key, b""
    at, code = cut(s, candidates(s, key))
    if not code:
        return key, b""
    lowest = s.folder.view.uids[at[0].start]
    return And((UidSet(Runs(((lowest, s.folder.view.uids[-1]),))), key)), code


def candidates(s: Session, key: SearchKey) -> list[range]:
    """The positions a search looks at. A number that no message has finds nothing, so it narrows nothing."""
    at = [range(s.folder.view.count)]
    for part in key.keys if isinstance(key, And) else (key,):
        if isinstance(part, SeqSet | UidSet):
            with suppress(BadCommand):
                at = _common(at, positions(s, part.ids, by_uid=isinstance(part, UidSet)))
    return at


def _common(one: Sequence[range], other: Sequence[range]) -> list[range]:
    """Positions in both; each ascending and disjoint."""
    found: list[range] = []
    left, right = 0, 0
    while left < len(one) and right < len(other):
        both = range(max(one[left].start, other[right].start), min(one[left].stop, other[right].stop))
        if both:
            found.append(both)
        if one[left].stop <= other[right].stop:
            left += 1
        else:
            right += 1
    return found
