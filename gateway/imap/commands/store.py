"""STORE, EXPUNGE, UID EXPUNGE (RFC 9051 sections 6.4.6, 6.4.3, 6.4.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand, GatewayError, Unavailable
from gateway.imap.announce import say
from gateway.imap.ids import positions, uids_at
from gateway.imap.spec import State, handles
from gateway.mailbox.api import Flagged, Need, StoreResult
from gateway.wire.command import Expunge, Store, UidExpunge

if TYPE_CHECKING:
    from gateway.imap.session import Session


@handles(Store, State.SELECTED, expunge_ok=False, writes=True)
async def store(s: Session, cmd: Store) -> None:
    """Change flags in Graph, then tell: of every message named, as a FETCH of its flags would. Silent is silent
    only about what went as asked: a message whose change was refused is shown as it is, and the reply is NO."""
    if cmd.change.unchanged_since is not None:
        raise BadCommand("CONDSTORE is not supported")
    at = positions(s, cmd.ids, by_uid=cmd.by_uid)
    uids = uids_at(s, at)
    if not uids:
        return
    result = await s.folder.store(uids, cmd.change)
    if cmd.silent:
        _tell_refused(s, cmd, result)
    else:
        await _tell_all(s, cmd, at)
    if result.error is not None:
        raise _safe(result.error)


def _tell_refused(s: Session, cmd: Store, result: StoreResult) -> None:
    """The view need not repeat what a silent STORE leaves unsaid."""
    s.folder.view.tell([row.uid for row in result.rows])
    failed = frozenset(result.failed)
    say(s, (row for row in result.rows if row.uid in failed), with_uid=cmd.by_uid)


async def _tell_all(s: Session, cmd: Store, at: Sequence[range]) -> None:
    """Also of messages that had these flags already (RFC 9051 section 6.4.6)."""
    async for rows in s.folder.rows(at, Need.INDEX):
        s.folder.view.tell([row.uid for row in rows])
        shown = (Flagged(row.seq, row.uid, row.flags, row.recent, row.modseq) for row in rows)
        say(s, shown, with_uid=cmd.by_uid)
        await s.flush_if_full()


def _safe(error: Exception) -> Exception:
    """An expected error has its own reply; of any other the client learns only that it happened."""
    return error if isinstance(error, GatewayError) else Unavailable("Some messages could not be changed")


@handles(Expunge, State.SELECTED, writes=True)
async def expunge(s: Session, cmd: Expunge) -> None:
    """The EXPUNGE responses come from the view, before the reply."""
    await s.folder.expunge(None)


@handles(UidExpunge, State.SELECTED, name="UID EXPUNGE", writes=True)
async def uid_expunge(s: Session, cmd: UidExpunge) -> None:
    """Only these, and of them only what is marked \\Deleted (RFC 4315 section 2.1)."""
    uids = uids_at(s, positions(s, cmd.ids, by_uid=True))
    if uids:
        await s.folder.expunge(uids)
