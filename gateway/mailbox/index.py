"""A mailbox in memory: five columns, about 28 octets a message; one per process and folder, for all its views.

Only `FolderHub` changes it, and never across an await. The UID column is replaced, not changed: a view keeps
the column it announced from, so its sequence numbers cannot move under it, and two views that have heard the
same share one. (Replacing costs a copy of 400 kB for 100,000 messages, some 20 us, and only when messages
come or go.) Expunged messages leave the columns at once; what a view may still ask of them is kept aside
until every view has drained past them, at most `limits.change_log` of them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakSet

from gateway.core.types import Flags, SystemFlag
from gateway.mailbox.changelog import ChangeLog
from gateway.mailbox.flagtable import FlagTable
from gateway.store.api import MessageRow

LARGEST_SIZE = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index knows of one message. Times in seconds since 1970, size in octets."""

    uid: int
    flags: Flags
    modseq: int
    internal_date: int
    size: int


class Watcher(Protocol):
    @property
    def drained(self) -> int:
        """The mod-sequence up to which expunges were told."""
        ...


class FolderIndex:
    """`rows` ascending by UID, all of them; `modseq` the folder's highest when they were read."""

    def __init__(self, rows: Sequence[MessageRow], modseq: int, *, change_log: int) -> None:
        self.modseq = modseq
        self.table = FlagTable()
        self.uids = array("I", [row.uid for row in rows])
        self.bits = array("I", [self.table.acquire(row.flags) for row in rows])
        self.modseqs = array("Q", [row.modseq for row in rows])
        self.dates = array("q", [row.internal_date for row in rows])
        self.sizes = array("I", [min(row.size, LARGEST_SIZE) for row in rows])
        self.last_uid = self.uids[-1] if rows else 0  # the highest ever in the columns
        self.recent_floor = 0  # UIDs below were \\Recent to a session of this process already
        self._bound = change_log
        self._log = ChangeLog(change_log, modseq)
        self._first_unseen = (-1, 0)  # at which mod-sequence, and which
        self._watchers: WeakSet[Watcher] = WeakSet()
        self._ghosts: dict[int, tuple[int, Entry]] = {}  # uid -> (mod-sequence it went at, what it was)

    def __len__(self) -> int:
        return len(self.uids)

    # -- reading --

    def position(self, uid: int) -> int:
        """Zero-based place in the columns; -1 = not there. O(log n)."""
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else -1

    def entry(self, uid: int) -> Entry | None:
        """A message, or an expunged one that a view may still show; None: gone for good."""
        at = self.position(uid)
        if at >= 0:
            return self.entry_at(at)
        ghost = self._ghosts.get(uid)
        return ghost[1] if ghost else None

    def entry_at(self, at: int) -> Entry:
        flags = self.table.flags(self.bits[at])
        return Entry(self.uids[at], flags, self.modseqs[at], self.dates[at], self.sizes[at])

    def since(self, modseq: int) -> set[int] | None:
        """UIDs that came, went or changed flags after `modseq`; None: the log is too short, compare in
        full."""
        return self._log.since(modseq)

    def changed_since(self, modseq: int) -> Iterator[int]:
        """UIDs of present messages whose mod-sequence is higher, ascending: the comparison in full."""
        return (uid for uid, changed in zip(self.uids, self.modseqs, strict=True) if changed > modseq)

    def unseen(self) -> int:
        return len(self) - self.table.having(SystemFlag.SEEN)

    def first_unseen(self) -> int:
        """UID of the first message without \\Seen, 0 if all have it. Looked for once after each change."""
        if self._first_unseen[0] != self.modseq:
            wanted = self.table.numbers_without(SystemFlag.SEEN)
            places = (self.bits.index(number) for number in wanted)
            self._first_unseen = self.modseq, self.uids[min(places)] if wanted else 0
        return self._first_unseen[1]

    # -- changing: only from the hub --

    def merge(self, modseq: int, rows: Sequence[MessageRow], gone: Iterable[int]) -> bool:
        """Take in changes up to `modseq`: rows ascending by UID, and UIDs that ended. Idempotent.

        Whether any view may have to tell something. Changes that are older than what is known do nothing but
        correct sizes and dates, which no client is told of.
        """
        self.correct(rows)
        if modseq <= self.modseq:
            return False
        known = [(at, row) for row in rows if (at := self.position(row.uid)) >= 0]
        changed: list[tuple[int, int]] = [(row.modseq, row.uid) for at, row in known if self._reflag(at, row)]
        born = [row for row in rows if row.uid > self.last_uid]
        ended = sorted({at for uid in gone if (at := self.position(uid)) >= 0})
        changed += [(row.modseq, row.uid) for row in born] + [(modseq, self.uids[at]) for at in ended]
        self._remove(ended, modseq)
        self._append(born)
        self._log.extend(sorted(changed))
        self.modseq = modseq
        return bool(changed)

    def correct(self, rows: Iterable[MessageRow]) -> None:
        """Take over what no client is told of: sizes and dates, of rows not older than what is known."""
        for row in rows:
            at = self.position(row.uid)
            if at >= 0 and row.modseq >= self.modseqs[at]:
                self.sizes[at] = min(row.size, LARGEST_SIZE)
                self.dates[at] = row.internal_date

    def watch(self, view: Watcher) -> None:
        """Keep expunged messages aside for this view as long as it lives and has not drained past them."""
        self._watchers.add(view)

    def bury(self) -> None:
        """Forget expunged messages that every view has drained past."""
        if self._ghosts:
            drained = min((view.drained for view in self._watchers), default=self.modseq)
            self._ghosts = {uid: ghost for uid, ghost in self._ghosts.items() if ghost[0] > drained}

    @property
    def ghosts(self) -> int:
        """How many expunged messages are kept aside."""
        return len(self._ghosts)

    def _reflag(self, at: int, row: MessageRow) -> bool:
        if row.modseq <= self.modseqs[at]:
            return False
        number = self.table.acquire(row.flags)
        self.table.release(self.bits[at])
        self.bits[at] = number
        self.modseqs[at] = row.modseq
        return True

    def _remove(self, ended: Sequence[int], modseq: int) -> None:
        """These places (ascending) leave all columns."""
        if not ended:
            return
        for at in ended:
            self._ghosts[self.uids[at]] = (modseq, self.entry_at(at))
            self.table.release(self.bits[at])
        self._bound_ghosts()
        self.uids = without(self.uids, ended)
        self.bits = without(self.bits, ended)
        self.modseqs = without(self.modseqs, ended)
        self.dates = without(self.dates, ended)
        self.sizes = without(self.sizes, ended)

    def _bound_ghosts(self) -> None:
        """The oldest go first; without a view there is nobody to keep them for."""
        if not self._watchers:
            self._ghosts.clear()
        for uid in list(self._ghosts)[: max(0, len(self._ghosts) - self._bound)]:
            del self._ghosts[uid]

    def _append(self, rows: Sequence[MessageRow]) -> None:
        if not rows:
            return
        self.uids = self.uids + array("I", [row.uid for row in rows])
        self.bits.extend([self.table.acquire(row.flags) for row in rows])
        self.modseqs.extend([row.modseq for row in rows])
        self.dates.extend([row.internal_date for row in rows])
        self.sizes.extend([min(row.size, LARGEST_SIZE) for row in rows])
        self.last_uid = rows[-1].uid


def without(column: array[int], places: Sequence[int]) -> array[int]:
    """A copy without these places (ascending): whole slices between them, not one removal each."""
    kept: array[int] = array(column.typecode)
    start = 0
    for at in places:
        kept.extend(column[start:at])
        start = at + 1
    kept.extend(column[start:])
    return kept
