"""What one session was told of a mailbox (invariant 3, RFC 9051 sections 7.4.1 and 7.5.1).

A view is three watermarks and a UID column that it shares with whoever heard the same. It holds no queue:
what the client has not heard follows from comparing the watermarks with the index, so a slow client costs
nothing.

`drain` reports expunges highest first: each number is then the one the client knows, with nothing to
renumber.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from gateway.core.types import Uid
from gateway.mailbox.index import FolderIndex
from gateway.mailbox.values import Change, Exists, Expunged, Flagged

NEVER = 2**32  # above every UID


class MailboxView:
    """Implements `api.View`. A new view has been told everything the index holds now (SELECT's EXISTS).

    UIDs from `recent_from` on are \\Recent here. `takes_recent`: a read-write session; what it announces is
    not recent to a session that selects later (decision 14).
    """

    def __init__(self, index: FolderIndex, *, recent_from: int, takes_recent: bool) -> None:
        self._index = index
        self._uids = index.uids
        self._last = index.last_uid  # the highest UID announced, or gone before it could be
        self._flags_at = index.modseq  # flags are told up to here
        self._expunged_at = index.modseq  # expunges are told up to here
        self._told: dict[int, int] = {}  # UID -> mod-sequence of flags that the session announces itself
        self._recent_from = recent_from
        self._takes_recent = takes_recent
        self._claim_recent()
        index.watch(self)

    # -- what was announced --

    @property
    def uids(self) -> array[int]:
        return self._uids

    @property
    def count(self) -> int:
        return len(self._uids)

    @property
    def recent(self) -> int:
        return len(self._uids) - bisect_left(self._uids, self._recent_from)

    @property
    def drained(self) -> int:
        """The mod-sequence up to which this view has been told of expunges."""
        return self._expunged_at

    @property
    def told(self) -> int:
        return max(1, min(self._flags_at, self._expunged_at))

    @property
    def delayed(self) -> bool:
        return self._expunged_at < self._flags_at

    def seq(self, uid: int) -> int:
        return self._place(uid) + 1

    def is_recent(self, uid: int) -> bool:
        return uid >= self._recent_from

    def recent_among(self, uids: Sequence[int]) -> int:
        """How many of these UIDs (ascending) are \\Recent here: the last ones."""
        return len(uids) - bisect_left(uids, self._recent_from)

    def drop_recent(self) -> None:
        self._recent_from = NEVER

    # -- mod-sequences --

    def newer(self, at: Sequence[range], modseq: int) -> list[range]:
        """Those of these positions whose mod-sequence is higher; expunged ones, which the client does not know of,
        by the last one they had."""
        if self._uids is self._index.uids:
            modseqs: Sequence[int] = self._index.modseqs
        else:
            modseqs = [self._modseq(uid) for uid in self._uids]
        return [run for part in at for run in _above(modseqs, part, modseq)]

    def highest_of(self, at: Iterable[int]) -> int:
        """The highest mod-sequence at these positions, 0 of none."""
        return max((self._modseq(self._uids[position]) for position in at), default=0)

    def _modseq(self, uid: int) -> int:
        entry = self._index.entry(uid)
        return entry.modseq if entry is not None else 0

    # -- what was not --

    def tell(self, uids: Sequence[int]) -> None:
        modseqs, position = self._index.modseqs, self._index.position
        self._told.update((uid, modseqs[at]) for uid in uids if (at := position(uid)) >= 0)

    def pending(self, *, expunge: bool = True, flags: bool = True) -> bool:
        if self._current():
            return False
        return bool((expunge and self._gone()) or self._fresh() or (flags and self._flagged()))

    def drain(self, *, expunge: bool, flags: bool = True) -> list[Change]:
        changes: list[Change] = []
        if not self._current():
            flagged, fresh = self._flagged() if flags else [], self._fresh()
            if expunge:
                changes += [Expunged(self.seq(uid), Uid(uid)) for uid in reversed(self._gone())]
            self._renumber(fresh, expunge=expunge)
            if flags:
                self._flags_at = self._index.modseq
            if fresh:
                changes.append(Exists(self.count, self.recent))
            changes += [self._told_now(uid) for uid in flagged]
            self._index.bury()
        if flags:
            self._told.clear()
        return changes

    def _current(self) -> bool:
        """Nothing happened since the last drain that told everything."""
        modseq = self._index.modseq
        return self._flags_at == modseq and self._expunged_at == modseq and self._uids is self._index.uids

    def _gone(self) -> list[int]:
        """Announced UIDs that are no longer there, ascending."""
        if self._uids is self._index.uids:
            return []
        changed = self._index.since(self._expunged_at)
        if changed is None:
            return sorted(set(self._uids).difference(self._index.uids))
        return sorted(uid for uid in changed if self._place(uid) >= 0 and self._index.position(uid) < 0)

    def _fresh(self) -> array[int]:
        """UIDs to announce: all above the highest announced, for UIDs appear in ascending order."""
        uids = self._index.uids
        return uids[bisect_left(uids, self._last + 1) :]

    def _flagged(self) -> list[int]:
        """UIDs whose flags the client has not heard, ascending; new and expunged ones left out."""
        modseqs, position = self._index.modseqs, self._index.position
        changed: Iterable[int] | None = self._index.since(self._flags_at)
        if changed is None:
            changed = self._index.changed_since(self._flags_at)
        found = [
            uid
            for uid in changed
            if uid <= self._last
            and (at := position(uid)) >= 0
            and modseqs[at] > self._told.get(uid, self._flags_at)
        ]
        return sorted(found)

    def _renumber(self, fresh: array[int], *, expunge: bool) -> None:
        """The only place where sequence numbers move. Without expunges the new UIDs go behind a private
        column; if there is nothing to expunge, the index's own column is the same and is shared."""
        uids = self._index.uids
        if expunge or len(self._uids) + len(fresh) == len(uids):
            self._uids = uids
            self._expunged_at = self._index.modseq
        elif fresh:
            self._uids = self._uids + fresh
        self._last = self._index.last_uid
        if fresh:
            self._claim_recent()

    def _told_now(self, uid: int) -> Flagged:
        entry = self._index.entry_at(self._index.position(uid))
        return Flagged(self.seq(uid), Uid(uid), entry.flags, self.is_recent(uid), entry.modseq)

    def _place(self, uid: int) -> int:
        at = bisect_left(self._uids, uid)
        return at if at < len(self._uids) and self._uids[at] == uid else -1

    def _claim_recent(self) -> None:
        if self._takes_recent:
            self._index.recent_floor = max(self._index.recent_floor, self._last + 1)


def _above(modseqs: Sequence[int], part: range, bound: int) -> list[range]:
    """The runs of positions in `part` whose value is above `bound`."""
    found: list[range] = []
    for at, value in enumerate(modseqs[part.start : part.stop], part.start):
        if value <= bound:
            continue
        if found and found[-1].stop == at:
            found[-1] = range(found[-1].start, at + 1)
        else:
            found.append(range(at, at + 1))
    return found
