"""NOTIFY SET and NOTIFY NONE (RFC 5465 section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.core.errors import GatewayError, NoSuchMailbox, NotificationOverflow
from gateway.imap.announce import announce
from gateway.imap.news import silence, status_items
from gateway.imap.notify import Notifications, hearing_of, others
from gateway.imap.spec import State, handles
from gateway.imap.statusline import status_line
from gateway.mailbox.values import MailboxInfo, MailboxStatus
from gateway.wire.command_notify import MESSAGE_EVENTS, EventGroup, Notify

if TYPE_CHECKING:
    from gateway.imap.session import Session


@handles(Notify, State.LOGGED_IN)
async def notify(s: Session, cmd: Notify) -> None:
    """Replaces what was asked for before; if it is refused, that stays. SET tells first what has happened in the
    selected mailbox so far, as NOOP does."""
    if cmd.groups is None:
        silence(s)
        return
    _check(s, cmd.groups)
    made = Notifications(hearing_of(cmd.groups), others(cmd.groups))
    if made.groups:
        await _listen(s, made, status=cmd.status)
    if s.selected is not None:
        announce(s, expunge=True, wanted=True)
    s.stop_listening()
    s.notifications = made


def _check(s: Session, groups: Sequence[EventGroup]) -> None:
    if sum(len(group.source.names) for group in groups) > s.context.limits.notify_mailboxes:
        raise NotificationOverflow("There are too many mailboxes to listen to")


async def _listen(s: Session, made: Notifications, *, status: bool) -> None:
    """From here on nothing is missed: what happens before STATUS is told may be told again."""
    infos = await s.user.folders()
    names = made.watched(infos)
    if len(names) > s.context.limits.notify_mailboxes:
        raise NotificationOverflow("There are too many mailboxes to listen to")
    made.ear = s.user.listen(s.number)
    made.entries = s.user.metadata_serial
    made.ear.watch(names, tree=made.follows_names)
    if not status:
        return
    try:
        await _tell_status(s, made, infos, names)
    except GatewayError:
        made.close()
        raise


async def _tell_status(
    s: Session, made: Notifications, infos: Sequence[MailboxInfo], names: Sequence[str]
) -> None:
    """Of every mailbox whose messages have events, but the selected one."""
    selected = s.folder.name if s.selected is not None else None
    subscribed = {info.name: info.subscribed for info in infos}
    for status in await _statuses(s, [name for name in names if name != selected]):
        events = made.events_of(status.name, subscribed[status.name]) & MESSAGE_EVENTS
        line = status_line(s, status, status_items(s, events))
        made.told[status.name] = hash(line)
        s.out.untagged(line)


async def _statuses(s: Session, names: Sequence[str]) -> list[MailboxStatus]:
    """One that goes away meanwhile is passed over (section 3.1)."""
    try:
        return await s.user.status(names)
    except NoSuchMailbox:
        return await s.user.known_status(names)
