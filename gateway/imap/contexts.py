"""Searches that are kept up to date: RETURN (UPDATE) (RFC 5267 section 4.3).

The client hears REMOVEFROM of an expunged message before its EXPUNGE, while the number is still its own; everything
else once it knows of the messages: behind EXISTS and FETCH. What has changed follows from mod-sequences, so that a
session's own silent STORE counts like anybody's change. Only messages that changed are searched again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from gateway.core.errors import GatewayError
from gateway.core.runs import Runs
from gateway.imap.context import Farewell, Gone
from gateway.imap.esearch import Correlator
from gateway.imap.ids import uid_set, uids_at
from gateway.imap.matching import matching
from gateway.imap.searchkeys import moves_by_itself
from gateway.imap.spec import Enabled
from gateway.mailbox.values import Change, Expunged
from gateway.wire.encode import Kind, quoted
from gateway.wire.fetchatt import FetchItem
from gateway.wire.searchkey import And, SearchKey, UidSet
from gateway.wire.sortkey import Criterion

log = structlog.get_logger()

if TYPE_CHECKING:
    from gateway.imap.session import Session


@dataclass(slots=True)
class UpdatedSearch:
    """One of them. `uids` as the client has them: in SORT's order, where there are criteria, else ascending.

    `modseq`, `last`: messages whose mod-sequence and UID are not higher were looked at."""

    head: Correlator
    by_uid: bool
    key: SearchKey
    criteria: tuple[Criterion, ...]
    uids: list[int]
    modseq: int
    last: int
    members: set[int] = field(default_factory=set)
    items: tuple[FetchItem, ...] = ()  # to fetch of new messages that come into it (RFC 5465 section 7)

    def in_uids(self, s: Session) -> bool:
        """UIDONLY may have been enabled since: from then on no message number is sent (RFC 9586 section 3.4)."""
        return self.by_uid or Enabled.UIDONLY in s.enabled

    def say(self, s: Session, word: bytes, pairs: Iterable[bytes]) -> None:
        uid = b" UID" if self.in_uids(s) else b""
        s.out.untagged(b"ESEARCH ", self.head.text(), uid, b" %b (%b)" % (word, b" ".join(pairs)))


def keep(
    s: Session, head: Correlator, key: SearchKey, at: Sequence[int], *, by_uid: bool, since: int,
    criteria: tuple[Criterion, ...] = (), items: tuple[FetchItem, ...] = (),
) -> None:  # fmt: skip
    """Keep the client informed from now on, or tell it that we shall not (NOUPDATE); the search is answered either
    way. `at`: view positions in the order of the answer; `since`: the mailbox's mod-sequence before it was searched."""
    if s.selected is None:
        return
    limits, contexts = s.context.limits, s.selected.contexts
    held = sum(len(each.uids) for each in contexts.values()) + len(at)
    if moves_by_itself(key):
        _refuse(s, head.tag, "What this search finds changes with time or with message numbers")
    elif len(contexts) >= limits.updated_searches or held > limits.updated_results:
        _refuse(s, head.tag, "Too many searches are kept up to date")
    else:
        view = s.folder.view
        uids = [view.uids[position] for position in at]
        last = view.uids[-1] if view.count else 0
        contexts[head.tag] = UpdatedSearch(head, by_uid, key, criteria, uids, since, last, set(uids), items)


def _refuse(s: Session, tag: bytes, reason: str) -> None:
    s.out.status(b"*", Kind.NO, reason, b"NOUPDATE %b" % quoted(tag))


def forget_expunged(s: Session, changes: Sequence[Change]) -> None:
    """REMOVEFROM of these expunges (highest number first, as `drain` has them): call it before they are told."""
    if s.selected is None or not s.selected.contexts:
        return
    gone = {change.uid: change.seq for change in changes if isinstance(change, Expunged)}
    for context in s.selected.contexts.values():
        _remove(s, context, {uid: seq for uid, seq in gone.items() if uid in context.members})


Fetching = Callable[["Session", Sequence[int], tuple[FetchItem, ...]], Awaitable[None]]


async def refresh_searches(s: Session, fetch: Fetching) -> None:
    """Say what came into, or left, the searches of this session since it was told last. `fetch` tells of new messages
    that came into one what it wants fetched, before it says that they did."""
    if s.selected is None or not s.selected.contexts:
        return
    view = s.folder.view
    modseq, last = s.folder.highest_modseq, view.uids[-1] if view.count else 0
    for tag, context in tuple(s.selected.contexts.items()):
        if modseq > context.modseq or last > context.last:
            try:
                await _refresh(s, context, modseq, last, fetch)
            except (Gone, Farewell):
                raise
            except Exception as error:
                if not isinstance(error, GatewayError):  # ours: it ends this search, not the session
                    log.exception("a search was not kept up to date")
                s.selected.contexts.pop(tag, None)
                _refuse(s, tag, "The search cannot be kept up to date")


async def _refresh(s: Session, context: UpdatedSearch, modseq: int, last: int, fetch: Fetching) -> None:
    view, known = s.folder.view, context.last
    changed: set[int] = set(uids_at(s, s.folder.newer([range(view.count)], context.modseq)))
    changed.update(view.uids[bisect_right(view.uids, context.last) :])
    context.modseq, context.last = modseq, last
    found = {
        view.uids[at] for at in await matching(s, s.folder, And((UidSet(Runs.of(changed)), context.key)))
    }
    left = (changed & context.members) - found
    _remove(s, context, {uid: view.seq(uid) for uid in sorted(left)})
    come = found - context.members
    if come:
        await fetch(s, sorted(uid for uid in come if uid > known), context.items)
        await _add(s, context, come)


def _remove(s: Session, context: UpdatedSearch, gone: dict[int, int]) -> None:
    """`gone`: UIDs and the numbers the client knows them by."""
    if not gone:
        return
    named = {uid: uid if context.in_uids(s) else seq for uid, seq in gone.items()}
    if context.criteria:
        places = [place for place, uid in enumerate(context.uids, 1) if uid in gone]
        pairs = [b"%d %d" % (place, named[context.uids[place - 1]]) for place in reversed(places)]
    else:
        pairs = [b"0 " + uid_set(sorted(named.values()))]
    context.say(s, b"REMOVEFROM", pairs)
    context.members.difference_update(gone)
    context.uids = [uid for uid in context.uids if uid not in gone]


async def _add(s: Session, context: UpdatedSearch, come: set[int]) -> None:
    context.members |= come
    view = s.folder.view
    at = sorted(view.seq(uid) - 1 for uid in context.members if view.seq(uid))
    if context.criteria:
        at = await s.folder.sort(at, context.criteria)
    context.uids = [view.uids[position] for position in at]
    by_uid = context.in_uids(s)
    named = [(uid, uid if by_uid else position + 1) for uid, position in zip(context.uids, at, strict=True)]
    if context.criteria:
        pairs = [b"%d %d" % (place, name) for place, (uid, name) in enumerate(named, 1) if uid in come]
    else:
        pairs = [b"0 " + uid_set([name for uid, name in named if uid in come])]
    context.say(s, b"ADDTO", pairs)
