"""SELECT, EXAMINE, CLOSE, UNSELECT (RFC 3501 sections 6.3.1, 6.3.2, 6.4.2; RFC 3691)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand
from gateway.imap.announce import tell_flags
from gateway.imap.spec import Reply, State, handles
from gateway.mailbox.api import Folder
from gateway.wire.command import Close, Examine, Select, Unselect
from gateway.wire.encode import Kind

if TYPE_CHECKING:
    from gateway.imap.session import Session


@handles(Select, State.LOGGED_IN)
async def select(s: Session, cmd: Select) -> Reply:
    return await _open(s, cmd, read_only=False)


@handles(Examine, State.LOGGED_IN)
async def examine(s: Session, cmd: Examine) -> Reply:
    return await _open(s, cmd, read_only=True)


@handles(Close, State.SELECTED)
async def close(s: Session, cmd: Close) -> None:
    """Removes what is marked \\Deleted, silently; a mailbox opened by EXAMINE keeps everything."""
    if not s.folder.read_only:
        await s.folder.expunge(None)
    await s.leave()


@handles(Unselect, State.SELECTED)
async def unselect(s: Session, cmd: Unselect) -> None:
    await s.leave()


async def _open(s: Session, cmd: Select | Examine, *, read_only: bool) -> Reply:
    """If it fails, no mailbox is selected (RFC 9051 section 6.3.2)."""
    if cmd.condstore:
        raise BadCommand("CONDSTORE is not supported")
    if s.selected is not None:
        await s.leave()
        s.out.status(b"*", Kind.OK, "Previous mailbox is closed", b"CLOSED")
    folder = await s.user.open(cmd.mailbox, read_only=read_only)
    s.choose(folder)
    _describe(s, folder)
    if folder.read_only:
        return Reply(f"{type(cmd).__name__.upper()} completed", b"READ-ONLY")
    return Reply("SELECT completed", b"READ-WRITE")


def _describe(s: Session, folder: Folder) -> None:
    """The untagged set RFC 3501 section 6.3.1 requires, from one moment: what was drained now is not news."""
    view = folder.view
    view.drain(expunge=True)
    tell_flags(s)
    s.out.untagged(b"%d EXISTS" % view.count)
    s.out.untagged(b"%d RECENT" % view.recent)
    if unseen := folder.first_unseen():
        s.out.status(b"*", Kind.OK, "First unseen message", b"UNSEEN %d" % unseen)
    s.out.status(b"*", Kind.OK, "UIDs valid", b"UIDVALIDITY %d" % folder.uid_validity)
    s.out.status(b"*", Kind.OK, "Predicted next UID", b"UIDNEXT %d" % folder.uid_next)
