"""The hierarchy: LIST, LSUB, NAMESPACE, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE
(RFC 9051 section 6.3, RFC 5258, RFC 5819, RFC 6154)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand, CannotDo, NoSuchMailbox, Refused
from gateway.imap import condstore
from gateway.imap.commands.metadata import metadata_line, values_of
from gateway.imap.listing import (
    ROOT,
    SUBSCRIBED,
    Entry,
    Selection,
    patterns_of,
    select,
    subscribed_entries,
)
from gateway.imap.rev2 import is_on, speaks_utf8, tell_mailbox, tell_name
from gateway.imap.spec import Reply, State, handles
from gateway.imap.statusline import STATUS_ITEMS, status_line
from gateway.mailbox.values import MailboxInfo, MailboxStatus
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
from gateway.wire.encode import object_id
from gateway.wire.listpattern import ListPattern
from gateway.wire.mailboxname import supplied

if TYPE_CHECKING:
    from gateway.imap.session import Session


# -- LIST, LSUB, NAMESPACE --


@handles(List, State.LOGGED_IN)
async def list_mailboxes(s: Session, cmd: List) -> None:
    """Plain and extended. An empty pattern of the plain form asks for the delimiter and the root."""
    _check_items(s, cmd.status_items)
    if not cmd.extended and cmd.patterns == ("",):
        s.out.untagged(ROOT)
        return
    infos = await s.user.folders()
    ghosts = await _ghosts(s, infos) if SUBSCRIBED in cmd.selection else frozenset()
    show_subscribed = SUBSCRIBED in (*cmd.selection, *cmd.returns)
    selection = Selection(frozenset(cmd.selection), show_subscribed, ghosts)
    entries = list(select(infos, patterns_of(cmd.reference, cmd.patterns), selection))
    sizes = b"SIZE" in cmd.status_items
    statuses = await _statuses(s, entries, sizes) if b"STATUS" in cmd.returns else {}
    metadata = await _metadata(s, cmd)
    _tell_entries(s, entries, statuses, cmd.status_items, metadata)


async def _metadata(s: Session, cmd: List) -> dict[str, dict[str, bytes | None]]:
    """LIST-METADATA: what was asked for of every mailbox there is, NIL where it is not set (RFC 9590 section 3)."""
    if not cmd.entries:
        return {}
    known = await s.user.metadata_of_all([entry.lower() for entry in cmd.entries])
    return {name: values_of(values, cmd.entries, 0) for name, values in known.items()}


def _tell_entries(
    s: Session,
    entries: Sequence[Entry],
    statuses: dict[str, MailboxStatus],
    items: Sequence[bytes],
    metadata: dict[str, dict[str, bytes | None]],
) -> None:
    for entry in entries:
        s.out.untagged(entry.line(utf8=speaks_utf8(s)))
        if entry.name in statuses:
            s.out.untagged(status_line(s, statuses[entry.name], items))
        if entry.selectable and entry.name in metadata:
            s.out.untagged(metadata_line(s, entry.name, metadata[entry.name]))


async def _ghosts(s: Session, infos: Sequence[MailboxInfo]) -> frozenset[str]:
    return frozenset(await s.user.subscriptions()) - {info.name for info in infos}


async def _statuses(s: Session, entries: Sequence[Entry], sizes: bool) -> dict[str, MailboxStatus]:
    """LIST-STATUS: none for what cannot be selected, nor if a mailbox just went away (RFC 5819 section 2)."""
    names = [entry.name for entry in entries if entry.selectable]
    try:
        found = await s.user.status(names, sizes=sizes) if names else []
    except NoSuchMailbox:
        found = []
    return {status.name: status for status in found}


@handles(Lsub, State.LOGGED_IN)
async def lsub(s: Session, cmd: Lsub) -> None:
    names, infos = await s.user.subscriptions(), await s.user.folders()
    for entry in subscribed_entries(names, infos, ListPattern.of(cmd.reference + cmd.pattern)):
        s.out.untagged(entry.line(b"LSUB", utf8=speaks_utf8(s)))


@handles(Namespace, State.LOGGED_IN, quick=True)
async def namespace(s: Session, cmd: Namespace) -> None:
    """RFC 2342: one personal namespace without prefix."""
    s.out.untagged(b'NAMESPACE (("" "/")) NIL NIL')


# -- STATUS --


@handles(Status, State.LOGGED_IN)
async def status(s: Session, cmd: Status) -> None:
    """STATUS commands side by side in the input are asked for together; each is answered in turn."""
    _check_items(s, cmd.items)
    if cmd.mailbox not in s.statuses:
        await _ask_together(s, cmd)
    s.out.untagged(status_line(s, s.statuses.pop(cmd.mailbox), cmd.items))


async def _ask_together(s: Session, cmd: Status) -> None:
    """One name that is unknown or not ours must not spoil the answers of the others: each is asked for alone."""
    asked = [cmd, *s.upcoming(Status)]
    names = list(dict.fromkeys(each.mailbox for each in asked))
    sizes = any(b"SIZE" in each.items for each in asked)
    try:
        found = await s.user.status(names, sizes=sizes)
    except Refused:
        if len(names) == 1:
            raise
        found = await s.user.status([cmd.mailbox], sizes=b"SIZE" in cmd.items)
    s.statuses = {status.name: status for status in found}


def _check_items(s: Session, items: Sequence[bytes]) -> None:
    """Who asks for HIGHESTMODSEQ is CONDSTORE-aware (RFC 7162 section 3.1); DELETED-STORAGE comes with QUOTA
    (RFC 9208 section 4.1.4)."""
    known = STATUS_ITEMS if s.user.quota else STATUS_ITEMS.keys() - {b"DELETED-STORAGE"}
    if unknown := [item for item in items if item not in known]:
        raise BadCommand(f"Unknown STATUS item {unknown[0].decode('ascii', 'replace')}")
    if b"HIGHESTMODSEQ" in items:
        condstore.switch_on(s)


# -- changes --


@handles(Create, State.LOGGED_IN)
async def create(s: Session, cmd: Create) -> Reply:
    """MAILBOXID is part of every good answer (RFC 8474 section 4.1)."""
    await s.user.create(_named(cmd.mailbox), cmd.uses)
    await tell_name(s, cmd.mailbox)
    (made,) = await s.user.status([cmd.mailbox])
    return Reply("CREATE completed", b"MAILBOXID " + object_id(made.mailbox_id))


@handles(Delete, State.LOGGED_IN)
async def delete(s: Session, cmd: Delete) -> None:
    """A session that has it open keeps nothing open (RFC 9051 section 6.3.5 leaves that to the server)."""
    if cmd.mailbox == "INBOX":
        raise CannotDo("INBOX cannot be deleted")
    await s.user.delete(_named(cmd.mailbox))
    if s.selected is not None and s.folder.name == cmd.mailbox:
        await s.leave()
    await tell_name(s, cmd.mailbox, gone=True)


@handles(Rename, State.LOGGED_IN)
async def rename(s: Session, cmd: Rename) -> None:
    """Under IMAP4rev2 LIST with OLDNAME says how the mailbox is called now (RFC 9051 section 6.3.9.7); INBOX stays."""
    await s.user.rename(_named(cmd.source), _named(cmd.target))
    if cmd.source == "INBOX":
        await tell_name(s, cmd.target)
    elif is_on(s):
        await tell_mailbox(s, cmd.target, old=supplied(cmd.source))


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
