"""STORE, EXPUNGE, UID EXPUNGE (RFC 9051 sections 6.4.6, 6.4.3, 6.4.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand, GatewayError, Unavailable
from gateway.core.types import Flags, Uid
from gateway.imap.announce import announce, say
from gateway.imap.ids import positions, uids_at
from gateway.imap.spec import State, handles
from gateway.mailbox.api import Flagged, Need, StoreResult
from gateway.wire.command import Expunge, Store, UidExpunge

if TYPE_CHECKING:
    from gateway.imap.session import Session


@handles(Store, State.SELECTED, expunge_ok=False, writes=True)
async def store(s: Session, cmd: Store) -> None:
    """Change flags in Graph, then tell: of every message named, as a FETCH of its flags would. Silent is silent
    only about what went as asked: a message whose change was refused, or that others have changed as well, is
    shown as it is."""
    if cmd.change.unchanged_since is not None:
        raise BadCommand("CONDSTORE is not supported")
    at = positions(s, cmd.ids, by_uid=cmd.by_uid)
    uids = uids_at(s, at)
    if not uids:
        return
    heard = await _heard(s, cmd, at) if cmd.silent else {}
    result = await s.folder.store(uids, cmd.change)
    if cmd.silent:
        _tell_unexpected(s, cmd, result, heard)
    else:
        await _tell_all(s, cmd, at)
    if result.error is not None:
        raise _safe(result.error)


async def _heard(s: Session, cmd: Store, at: Sequence[range]) -> dict[Uid, Flags]:
    """The flags the client knows of: what others have done so far is told first."""
    announce(s, expunge=False, with_uid=cmd.by_uid)
    return {row.uid: row.flags async for rows in s.folder.rows(at, Need.INDEX) for row in rows}


def _tell_unexpected(s: Session, cmd: Store, result: StoreResult, heard: Mapping[Uid, Flags]) -> None:
    """The view need not repeat what a silent STORE leaves unsaid."""
    s.folder.view.tell([row.uid for row in result.rows])
    unexpected = (row for row in result.rows if row.flags != cmd.change.apply(heard.get(row.uid, row.flags)))
    say(s, unexpected, with_uid=cmd.by_uid)


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
