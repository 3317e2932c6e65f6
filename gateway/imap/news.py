"""What a session is told unasked, all of it and in one order: of the selected mailbox, of its new messages, of searches
that are kept up to date, of annotations, of other mailboxes (RFC 5465; RFC 9051 section 5.2).

It is told at the end of a command, in IDLE, and, where NOTIFY asked for that, between commands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gateway.core.errors import GatewayError
from gateway.imap import condstore
from gateway.imap.announce import announce
from gateway.imap.commands.metadata import tell_changed_entries
from gateway.imap.contexts import refresh_searches
from gateway.imap.fetchnew import fetch_new
from gateway.imap.listing import Entry, Selection, entry_of
from gateway.imap.notify import Notifications
from gateway.imap.rev2 import GONE, name_octets, speaks_utf8
from gateway.imap.statusline import status_line
from gateway.mailbox.tidings import Heard, NameChange, What
from gateway.mailbox.values import MailboxInfo
from gateway.wire.command import Command, Create, Delete, Rename
from gateway.wire.command_notify import MESSAGE_EVENTS, Event
from gateway.wire.encode import Kind, astring
from gateway.wire.listpattern import DELIMITER

if TYPE_CHECKING:
    from gateway.imap.session import Session


async def tell(s: Session, *, expunge: bool, with_uid: bool = False, mine: Collection[str] = ()) -> None:
    """Everything there is to tell now. `mine`: mailboxes whose names this session has just changed itself."""
    await tell_selected(s, expunge=expunge, with_uid=with_uid)
    await tell_rest(s, mine)


async def tell_selected(s: Session, *, expunge: bool, with_uid: bool = False) -> None:
    if s.selected is not None:
        announce(s, expunge=expunge, with_uid=with_uid)
        if s.notifications is not None:
            await _tell_new(s)
        if s.selected.contexts:
            await refresh_searches(s, fetch_new)


async def tell_rest(s: Session, mine: Collection[str] = ()) -> None:
    tell_changed_entries(s)
    if s.notifications is not None:
        with suppress(GatewayError):
            await _tell_others(s, mine)


def named_by(command: Command) -> tuple[str, ...]:
    """The mailboxes whose names a command changes: its client needs not be told (RFC 5465 section 5)."""
    match command:
        case Create(mailbox=name) | Delete(mailbox=name):
            return (name.rstrip(DELIMITER),)
        case Rename(source=source, target=target):
            return (source, target.rstrip(DELIMITER))
    return ()


# -- new messages --


async def _tell_new(s: Session) -> None:
    """FETCH of new messages, behind their EXISTS, but of those the session itself put there (section 5.2)."""
    notify = s.notifications
    if notify is None:
        return
    uids, notify.fresh = [uid for uid in notify.fresh if uid not in notify.own], []
    notify.own.clear()
    await fetch_new(s, uids, notify.hearing.items)


# -- other mailboxes --


async def _tell_others(s: Session, mine: Collection[str]) -> None:
    notify = s.notifications
    if notify is None or notify.ear is None or s.account is None:
        return
    heard = notify.ear.hear()
    entries = _changed_entries(s, notify)
    if heard is None:
        silence(s)
        s.out.status(b"*", Kind.OK, "Too much has happened to tell it all", b"NOTIFICATIONOVERFLOW")
        return
    if not (heard.changed or heard.names or heard.subscriptions or entries):
        return
    infos = {info.name: info for info in await s.user.known_folders()}
    if heard.names or heard.subscriptions:
        if not watch(s, notify, list(infos.values())):
            return
        notify.told = {name: told for name, told in notify.told.items() if name in infos}
        subscriptions = frozenset(await s.user.subscriptions())
        _tell_names(s, notify, heard, infos, subscriptions, mine)
    await _tell_status(s, notify, heard, infos)
    _tell_entries(s, notify, entries, infos)


def watch(s: Session, notify: Notifications, infos: Sequence[MailboxInfo]) -> bool:
    """Watch what the groups mean by now. False: it has become too much, and all is over (section 5.8)."""
    names = notify.watched(infos)
    if len(names) > s.context.limits.notify_mailboxes:
        silence(s)
        s.out.status(b"*", Kind.OK, "There are too many mailboxes to listen to", b"NOTIFICATIONOVERFLOW")
        return False
    if notify.ear is not None:
        notify.ear.watch(names, tree=notify.follows_names)
    return True


def silence(s: Session) -> None:
    """As NOTIFY NONE."""
    s.stop_listening()
    s.notifications = Notifications()


def _tell_names(
    s: Session, notify: Notifications, heard: Heard, infos: dict[str, MailboxInfo],
    subscriptions: Collection[str], mine: Collection[str],
) -> None:  # fmt: skip
    """LIST of each, as it is now (sections 5.4 and 5.5)."""
    told: set[str] = set()
    for change in heard.names:
        names = [name for name in (change.old, change.new) if name is not None]
        wanted = any(Event.MAILBOX_NAME in notify.events_of(name, name in subscriptions) for name in names)
        if wanted and not _is_mine(change, mine):
            told.add(change.new or "")
            _list(
                s, infos, subscriptions, change.new or change.old or "", old=change.old if change.new else ""
            )
    for name in heard.subscriptions:
        if Event.SUBSCRIPTION_CHANGE in notify.events_of(name, True) and name not in told:
            _list(s, infos, subscriptions, name)


def _is_mine(change: NameChange, mine: Collection[str]) -> bool:
    """With the levels above that were made, and those below that were renamed."""
    names = [name for name in (change.old, change.new) if name is not None]
    return any(
        name == own or own.startswith(name + DELIMITER) or name.startswith(own + DELIMITER)
        for name in names
        for own in mine
    )


def _list(
    s: Session, infos: dict[str, MailboxInfo], subscriptions: Collection[str], name: str, *,
    old: str | None = "",
) -> None:  # fmt: skip
    info = infos.get(name)
    if info is None:
        attributes = (*GONE, b"\\Subscribed") if name in subscriptions else GONE
        entry = Entry(name, attributes, selectable=False)
    else:
        entry = entry_of(info, Selection(show_subscribed=True))
    s.out.untagged(entry.line(utf8=speaks_utf8(s), old=old or ""))


async def _tell_status(
    s: Session, notify: Notifications, heard: Heard, infos: dict[str, MailboxInfo]
) -> None:
    """STATUS of what is not selected (sections 5.1 to 5.3)."""
    wanted: dict[str, frozenset[Event]] = {}
    for name, whats in heard.changed.items():
        if name not in infos or (s.selected is not None and s.folder.name == name):
            continue
        events = notify.events_of(name, infos[name].subscribed) & MESSAGE_EVENTS
        if events and (whats != {What.FLAGS} or Event.FLAG_CHANGE in events):
            wanted[name] = events
    for status in await s.user.known_status(list(wanted)) if wanted else ():
        line = status_line(s, status, status_items(s, wanted[status.name]))
        if notify.told.get(status.name) != hash(line):
            notify.told[status.name] = hash(line)
            s.out.untagged(line)


def status_items(s: Session, events: frozenset[Event]) -> tuple[bytes, ...]:
    """What is told of a mailbox that is not selected: what sections 3.1 and 5.1 to 5.3 demand, and UNSEEN, which
    programs show."""
    items = [b"MESSAGES", b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN"]
    if Event.FLAG_CHANGE in events or condstore.is_on(s):
        items.append(b"HIGHESTMODSEQ")
    return tuple(items)


# -- annotations --


def _changed_entries(s: Session, notify: Notifications) -> dict[str, list[str]]:
    """By mailbox; none where ENABLE METADATA has the session told of all (RFC 5464 section 4.4)."""
    if s.account is None or not notify.hears_entries or s.account.metadata_serial == notify.entries:
        return {}
    news = s.account.metadata_news(notify.entries, s.number)
    notify.entries = s.account.metadata_serial
    return {} if s.metadata_heard is not None else news


def _tell_entries(
    s: Session, notify: Notifications, entries: dict[str, list[str]], infos: dict[str, MailboxInfo]
) -> None:
    """METADATA without values (RFC 5465 sections 5.6 and 5.7)."""
    for name, changed in entries.items():
        if name:
            info = infos.get(name)
            events = notify.events_of(name, info.subscribed) if info is not None else frozenset[Event]()
            wanted = Event.MAILBOX_METADATA_CHANGE in events
        else:
            wanted = notify.hears_server
        if wanted:
            words = b" ".join(astring(entry.encode()) for entry in changed)
            s.out.untagged(b"METADATA %b %b" % (name_octets(s, name), words))


# -- waiting --


def stirred(s: Session, *, expunge: bool) -> list[asyncio.Task[Any]]:
    """Tasks of which one ends when there is something to tell. The caller ends them."""
    waits: list[asyncio.Task[Any]] = []
    notify, hearing = s.notifications, s.hearing
    if s.selected is not None:
        changed = s.folder.changed(messages=hearing.messages, expunge=expunge, flags=hearing.flags)
        waits.append(asyncio.ensure_future(changed))
    if s.metadata_heard is not None:
        waits.append(asyncio.ensure_future(s.user.metadata_changed(s.metadata_heard)))
    if notify is not None and notify.ear is not None:
        waits.append(asyncio.ensure_future(notify.ear.stirred()))
        if notify.hears_entries:
            waits.append(asyncio.ensure_future(s.user.metadata_changed(notify.entries)))
    return waits


async def stop(task: asyncio.Task[Any]) -> None:
    """End a task of ours; what it had to say is read by `result` where it matters."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


async def until_input(s: Session, line: asyncio.Task[Any]) -> None:
    """Between commands: tell what NOTIFY asked for, until the client has sent something. An open mailbox that was
    destroyed ends the session."""
    await asyncio.sleep(0)  # what has come already goes first
    while not line.done():
        expunge = s.hearing.at_once
        await tell(s, expunge=expunge)
        if (farewell := s.bereft) is not None:
            raise farewell
        await s.flush()
        waits = stirred(s, expunge=expunge)
        try:
            await asyncio.wait([line, *waits], return_when=asyncio.FIRST_COMPLETED)
            for news in waits:
                if news.done():
                    news.result()
        finally:
            for task in waits:
                await stop(task)
