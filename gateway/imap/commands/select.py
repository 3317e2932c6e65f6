"""SELECT, EXAMINE, CLOSE, UNSELECT (RFC 3501 sections 6.3.1, 6.3.2, 6.4.2; RFC 3691; RFC 7162 sections 3.1.8, 3.2.5,
3.2.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import GatewayError
from gateway.imap import condstore
from gateway.imap.announce import tell_flags
from gateway.imap.resync import resynchronise
from gateway.imap.rev2 import forget_recent, is_on, other_form, tell_mailbox
from gateway.imap.spec import Enabled, Reply, State, handles
from gateway.mailbox.api import Folder
from gateway.wire.command import Close, Examine, Select, Unselect
from gateway.wire.encode import Kind, object_id

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
    """Removes what is marked \\Deleted, silently; a mailbox opened by EXAMINE keeps everything. The reply has no
    HIGHESTMODSEQ: the client has not heard what is gone (RFC 7162 section 3.2.8)."""
    if not s.folder.read_only:
        await s.folder.expunge(None)
    await s.leave()


@handles(Unselect, State.SELECTED)
async def unselect(s: Session, cmd: Unselect) -> None:
    await s.leave()


async def _open(s: Session, cmd: Select | Examine, *, read_only: bool) -> Reply:
    """If it fails, no mailbox is selected (RFC 9051 section 6.3.2)."""
    if cmd.qresync is not None:
        condstore.need_qresync(s)
    if s.selected is not None:
        await s.leave()
        s.out.status(b"*", Kind.OK, "Previous mailbox is closed", b"CLOSED")
    if cmd.condstore:
        condstore.switch_on(s)
    folder = await s.user.open(cmd.mailbox, read_only=read_only)
    s.choose(folder)
    forget_recent(s)
    _describe(s, folder)
    await _tell_more(s, cmd)
    if folder.read_only:
        return Reply(f"{type(cmd).__name__.upper()} completed", b"READ-ONLY")
    return Reply("SELECT completed", b"READ-WRITE")


async def _tell_more(s: Session, cmd: Select | Examine) -> None:
    """LIST is part of the answer under IMAP4rev2 (RFC 9051 section 6.3.2); what happened since the client was here
    comes last."""
    try:
        if is_on(s):
            await tell_mailbox(s, s.folder.name, old=other_form(cmd.mailbox))
        if cmd.qresync is not None:
            await resynchronise(s, cmd.qresync)
    except GatewayError:
        await s.leave()
        raise


def _describe(s: Session, folder: Folder) -> None:
    """The untagged set RFC 3501 section 6.3.1 requires, from one moment: what was drained now is not news."""
    view = folder.view
    view.drain(expunge=True)
    tell_flags(s)
    s.out.untagged(b"%d EXISTS" % view.count)
    if not is_on(s):
        _describe_as_rev1(s, folder)
    s.out.status(b"*", Kind.OK, "UIDs valid", b"UIDVALIDITY %d" % folder.uid_validity)
    s.out.status(b"*", Kind.OK, "Predicted next UID", b"UIDNEXT %d" % folder.uid_next)
    if folder.mailbox_id:
        s.out.status(b"*", Kind.OK, "Mailbox", b"MAILBOXID " + object_id(folder.mailbox_id))
    if condstore.is_on(s):
        condstore.tell_highest(s)


def _describe_as_rev1(s: Session, folder: Folder) -> None:
    """What IMAP4rev2 has no more (RFC 9051 appendix E, 11 and 12)."""
    s.out.untagged(b"%d RECENT" % folder.view.recent)
    if Enabled.UIDONLY not in s.enabled and (unseen := folder.first_unseen()):
        s.out.status(b"*", Kind.OK, "First unseen message", b"UNSEEN %d" % unseen)
