"""APPEND, of one message and of several (RFC 9051 section 6.3.12; RFC 3502; RFC 4315; RFC 7889), and REPLACE
(RFC 8508).

Mailbox and size are looked at before each `+`, so that a refused message never crosses the wire; octets go to a
spool as they come; however it ends, the input stands at the next command (`IncomingLiteral.settle`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand, NoSuchMessage
from gateway.core.types import Uid
from gateway.imap.commands.store import expunged
from gateway.imap.ids import positions, uid_set, uids_at
from gateway.imap.receiving import Receiving
from gateway.imap.rev2 import tell_name
from gateway.imap.spec import Enabled, Reply, State, handles
from gateway.mailbox.values import AppendResult
from gateway.wire.command import Announcement, AppendStart, ReplaceStart
from gateway.wire.encode import Kind

if TYPE_CHECKING:
    from gateway.imap.session import Session


@handles(AppendStart, State.LOGGED_IN, name="APPEND", missing=b"TRYCREATE")
async def append(s: Session, cmd: AppendStart) -> Reply:
    """All messages or none. If the mailbox is open here, its view has them by now, and EXISTS comes before the
    reply."""
    async with Receiving(s, cmd.mailbox) as received:
        announced: Announcement | None = cmd.first
        while announced is not None:
            await received.take(announced)
            announced = await received.another()
        result = await s.user.append(cmd.mailbox, received.messages)
    s.made(cmd.mailbox, result.uids)
    await tell_name(s, cmd.mailbox)
    return Reply("APPEND completed", _append_uid(result))


@handles(ReplaceStart, State.SELECTED, name="REPLACE", writes=True, missing=b"TRYCREATE")
async def replace(s: Session, cmd: ReplaceStart) -> Reply:
    """The new message's UID is told before the view tells what became of the old one (RFC 8508 section 4.3)."""
    old = _replaced(s, cmd)
    async with Receiving(s, cmd.mailbox) as received:
        await received.take(cmd.first)
        if await received.another() is not None:
            raise BadCommand("REPLACE takes one message")
        result = await s.folder.replace(old, cmd.mailbox, received.messages[0])
    s.made(cmd.mailbox, result.uids)
    await tell_name(s, cmd.mailbox)
    s.out.status(b"*", Kind.OK, "Replacement message ready", _append_uid(result))
    return expunged(s, "UID REPLACE completed" if cmd.by_uid else "REPLACE completed")


def _replaced(s: Session, cmd: ReplaceStart) -> Uid:
    """The UID of the message to replace. BadCommand for a number that no message has, NoSuchMessage for a UID."""
    if not cmd.by_uid and Enabled.UIDONLY in s.enabled:
        raise BadCommand("Message numbers are not used after ENABLE UIDONLY", b"UIDREQUIRED")
    uids = uids_at(s, positions(s, cmd.id, by_uid=cmd.by_uid))
    if not uids:
        raise NoSuchMessage("No such message")
    return uids[0]


def _append_uid(result: AppendResult) -> bytes:
    return b"APPENDUID %d %b" % (result.uid_validity, uid_set(result.uids))
