"""COPY and MOVE (RFC 9051 sections 6.4.7, 6.4.8; RFC 4315; RFC 6851).

Vanished UIDs are passed over and the reply is OK: the client's aim, that they be elsewhere, needs no error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.imap import messagelimit
from gateway.imap.commands.store import expunged
from gateway.imap.ids import positions, uid_set, uids_at
from gateway.imap.spec import Reply, State, handles
from gateway.mailbox.values import CopyResult
from gateway.wire.command import Copy, Move
from gateway.wire.encode import Kind

if TYPE_CHECKING:
    from gateway.imap.session import Session

NOTHING = "nothing to do, these messages are gone"


@handles(Copy, State.SELECTED, missing=b"TRYCREATE")
async def copy(s: Session, cmd: Copy) -> Reply:
    at = positions(s, cmd.ids, by_uid=cmd.by_uid)
    messagelimit.refuse_more(s, at)
    uids = uids_at(s, at)
    if not uids:
        return Reply(f"COPY completed, {NOTHING}")
    result = await s.folder.copy(uids, cmd.mailbox)
    s.made(cmd.mailbox, result.target)
    return Reply("COPY completed", _copyuid(result)) if result.source else Reply(f"COPY completed, {NOTHING}")


@handles(Move, State.SELECTED, writes=True, missing=b"TRYCREATE")
async def move(s: Session, cmd: Move) -> Reply:
    """COPYUID goes before the EXPUNGEs, while the client still has the messages (RFC 6851 section 4.3); if some
    could not be moved the reply is NO, and COPYUID tells which were."""
    at, limited = messagelimit.cut(s, positions(s, cmd.ids, by_uid=cmd.by_uid))
    uids = uids_at(s, at)
    if not uids:
        return Reply(f"MOVE completed, {NOTHING}")
    result = await s.folder.move(uids, cmd.mailbox)
    s.made(cmd.mailbox, result.target)
    if not result.source:
        return Reply(f"MOVE completed, {NOTHING}")
    s.out.status(b"*", Kind.OK, "Moved", _copyuid(result))
    if result.error is not None:
        raise result.error
    return messagelimit.said(s, expunged(s, "MOVE completed"), limited)


def _copyuid(result: CopyResult) -> bytes:
    return b"COPYUID %d %b %b" % (result.uid_validity, uid_set(result.source), uid_set(result.target))
