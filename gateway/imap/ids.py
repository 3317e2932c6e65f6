"""Sequence sets of a command, against what the session was told of its mailbox."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand
from gateway.core.runs import LastResult, Runs
from gateway.core.types import Uid

if TYPE_CHECKING:
    from gateway.imap.session import Session


def positions(session: Session, ids: Runs, *, by_uid: bool) -> list[range]:
    """Zero-based view positions. Unknown UIDs are passed over; an unknown sequence number is BadCommand. `$` is what
    was saved, as far as it is still there (RFC 5182 section 2.1)."""
    view = session.folder.view
    if isinstance(ids, LastResult):
        return saved_runs(session).positions(view.uids, view.count, by_uid=True)
    try:
        return ids.positions(view.uids, view.count, by_uid=by_uid)
    except ValueError:
        raise BadCommand("No such message number") from None


def named_uids(session: Session, ids: Runs) -> Runs:
    """The UIDs a UID command names, whether they are there or not."""
    return saved_runs(session) if isinstance(ids, LastResult) else ids


def saved_runs(session: Session) -> Runs:
    """The UIDs `$` stands for; expunged ones may be among them."""
    return Runs.of(session.selected.saved) if session.selected is not None else Runs(())


def uids_at(session: Session, at: Sequence[range]) -> list[Uid]:
    """The UIDs at these positions. Read before the first await of whoever uses them."""
    uids = session.folder.view.uids
    return [Uid(uid) for uid in chain.from_iterable(uids[run.start : run.stop] for run in at)]


def uid_set(uids: Sequence[int]) -> bytes:
    """A uid-set in the order given, neighbours as ranges: COPYUID's two sets pair off in order
    (RFC 4315 section 3)."""
    runs: list[list[int]] = []
    for uid in uids:
        if runs and runs[-1][1] + 1 == uid:
            runs[-1][1] = uid
        else:
            runs.append([uid, uid])
    return b",".join(b"%d" % low if low == high else b"%d:%d" % (low, high) for low, high in runs)


def some(at: Sequence[range], which: range) -> list[range]:
    """Of these positions, counted through from zero, those at the places `which`."""
    found, before = [], 0
    for run in at:
        piece = run[max(0, which.start - before) : max(0, which.stop - before)]
        if piece:
            found.append(piece)
        before += len(run)
    return found
