"""The hierarchy: LIST, LSUB, NAMESPACE, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE
(RFC 9051 section 6.3, RFC 5258, RFC 5819, RFC 6154)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand, CannotDo, NoSuchMailbox, Refused
from gateway.imap.listing import (
    ROOT,
    SUBSCRIBED,
    Entry,
    Selection,
    patterns_of,
    select,
    subscribed_entries,
)
from gateway.imap.spec import State, handles
from gateway.mailbox.api import MailboxInfo, MailboxStatus
from gateway.wire.command import (
    Create,
    Delete,
    List,
    Lsub,
    Namespace,
    Rename,
    Status,
    Subscribe,
    Unsubscribe,
)
from gateway.wire.encode import mailbox
from gateway.wire.listpattern import ListPattern

if TYPE_CHECKING:
    from gateway.imap.session import Session


# -- LIST, LSUB, NAMESPACE --


@handles(List, State.LOGGED_IN)
async def list_mailboxes(s: Session, cmd: List) -> None:
    """Plain and extended. An empty pattern of the plain form asks for the delimiter and the root."""
    _check_items(cmd.status_items)
    if not cmd.extended and cmd.patterns == ("",):
        s.out.untagged(ROOT)
        return
    infos = await s.user.folders()
    ghosts = await _ghosts(s, infos) if SUBSCRIBED in cmd.selection else frozenset()
    show_subscribed = SUBSCRIBED in (*cmd.selection, *cmd.returns)
    selection = Selection(frozenset(cmd.selection), show_subscribed, ghosts)
    entries = list(select(infos, patterns_of(cmd.reference, cmd.patterns), selection))
    statuses = await _statuses(s, entries) if b"STATUS" in cmd.returns else {}
    _tell_entries(s, entries, statuses, cmd.status_items)


def _tell_entries(
    s: Session, entries: Sequence[Entry], statuses: dict[str, MailboxStatus], items: Sequence[bytes]
) -> None:
    for entry in entries:
        s.out.untagged(entry.line())
        if entry.name in statuses:
            s.out.untagged(_status_line(s, statuses[entry.name], items))


async def _ghosts(s: Session, infos: Sequence[MailboxInfo]) -> frozenset[str]:
    return frozenset(await s.user.subscriptions()) - {info.name for info in infos}


async def _statuses(s: Session, entries: Sequence[Entry]) -> dict[str, MailboxStatus]:
    """LIST-STATUS: none for what cannot be selected, nor if a mailbox just went away (RFC 5819 section 2)."""
    names = [entry.name for entry in entries if entry.selectable]
    try:
        found = await s.user.status(names) if names else []
    except NoSuchMailbox:
        found = []
    return {status.name: status for status in found}


@handles(Lsub, State.LOGGED_IN)
async def lsub(s: Session, cmd: Lsub) -> None:
    names, infos = await s.user.subscriptions(), await s.user.folders()
    for entry in subscribed_entries(names, infos, ListPattern.of(cmd.reference + cmd.pattern)):
        s.out.untagged(entry.line(b"LSUB"))


@handles(Namespace, State.LOGGED_IN, quick=True)
async def namespace(s: Session, cmd: Namespace) -> None:
    """RFC 2342: one personal namespace without prefix."""
    s.out.untagged(b'NAMESPACE (("" "/")) NIL NIL')


# -- STATUS --

STATUS_ITEMS: dict[bytes, Callable[[Session, MailboxStatus], int]] = {
    b"MESSAGES": lambda s, status: status.messages,
    b"RECENT": lambda s, status: status.recent,
    b"UIDNEXT": lambda s, status: status.uid_next,
    b"UIDVALIDITY": lambda s, status: status.uid_validity,
    b"UNSEEN": lambda s, status: status.unseen,
    b"APPENDLIMIT": lambda s, status: s.user.append_limit(),
}


@handles(Status, State.LOGGED_IN)
async def status(s: Session, cmd: Status) -> None:
    """STATUS commands side by side in the input are asked for together; each is answered in turn."""
    _check_items(cmd.items)
    if cmd.mailbox not in s.statuses:
        await _ask_together(s, cmd)
    s.out.untagged(_status_line(s, s.statuses.pop(cmd.mailbox), cmd.items))


async def _ask_together(s: Session, cmd: Status) -> None:
    """One name that is unknown or not ours must not spoil the answers of the others: each is asked for alone."""
    names = list(dict.fromkeys([cmd.mailbox, *(later.mailbox for later in s.upcoming(Status))]))
    try:
        found = await s.user.status(names)
    except Refused:
        if len(names) == 1:
            raise
        found = await s.user.status([cmd.mailbox])
    s.statuses = {status.name: status for status in found}


def _check_items(items: Sequence[bytes]) -> None:
    if unknown := [item for item in items if item not in STATUS_ITEMS]:
        raise BadCommand(f"Unknown STATUS item {unknown[0].decode('ascii', 'replace')}")


def _status_line(s: Session, status: MailboxStatus, items: Sequence[bytes]) -> bytes:
    values = b" ".join(b"%b %d" % (item, STATUS_ITEMS[item](s, status)) for item in items)
    return b"STATUS %b (%b)" % (mailbox(status.name), values)


# -- changes --


@handles(Create, State.LOGGED_IN)
async def create(s: Session, cmd: Create) -> None:
    await s.user.create(_named(cmd.mailbox))


@handles(Delete, State.LOGGED_IN)
async def delete(s: Session, cmd: Delete) -> None:
    """A session that has it open keeps nothing open (RFC 9051 section 6.3.5 leaves that to the server)."""
    if cmd.mailbox == "INBOX":
        raise CannotDo("INBOX cannot be deleted")
    await s.user.delete(_named(cmd.mailbox))
    if s.selected is not None and s.folder.name == cmd.mailbox:
        await s.leave()


@handles(Rename, State.LOGGED_IN)
async def rename(s: Session, cmd: Rename) -> None:
    await s.user.rename(_named(cmd.source), _named(cmd.target))


@handles(Subscribe, State.LOGGED_IN)
async def subscribe(s: Session, cmd: Subscribe) -> None:
    await s.user.subscribe(_named(cmd.mailbox), True)


@handles(Unsubscribe, State.LOGGED_IN)
async def unsubscribe(s: Session, cmd: Unsubscribe) -> None:
    await s.user.subscribe(_named(cmd.mailbox), False)


def _named(name: str) -> str:
    if not name:
        raise CannotDo("A mailbox needs a name")
    return name
