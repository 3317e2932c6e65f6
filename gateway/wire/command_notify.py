"""NOTIFY (RFC 5465 section 3) as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.wire.command import Command
from gateway.wire.command_search import Source
from gateway.wire.fetchatt import FetchItem


class Event(StrEnum):
    """The events there are (RFC 5465 section 5), in the order in which BADEVENT lists them."""

    MESSAGE_NEW = "MessageNew"
    MESSAGE_EXPUNGE = "MessageExpunge"
    FLAG_CHANGE = "FlagChange"
    MAILBOX_NAME = "MailboxName"
    SUBSCRIPTION_CHANGE = "SubscriptionChange"
    MAILBOX_METADATA_CHANGE = "MailboxMetadataChange"
    SERVER_METADATA_CHANGE = "ServerMetadataChange"


MESSAGE_EVENTS = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE, Event.FLAG_CHANGE})


@dataclass(frozen=True, slots=True)
class EventGroup:
    """Which events of which mailboxes; none for NONE. `items`: what to FETCH of new messages in the selected one."""

    source: Source
    events: frozenset[Event]
    items: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Notify(Command):
    """`groups` is None for NOTIFY NONE. At most one of them is of the selected mailbox. `status`: STATUS of the others
    comes with the answer."""

    groups: tuple[EventGroup, ...] | None
    status: bool = False
