"""What a session has asked to be notified of (RFC 5465 sections 5 and 6). How it is told: `imap/news.py`.

For a mailbox that is not selected the first event group that names it counts. The selected one has its own group;
where that is missing, its messages have no events at all: the session's view of it stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gateway.mailbox.tidings import Listening
from gateway.mailbox.values import MailboxInfo
from gateway.wire.command_notify import MESSAGE_EVENTS, Event, EventGroup
from gateway.wire.command_search import Source, Where
from gateway.wire.fetchatt import FetchItem
from gateway.wire.grammar_notify import SELECTED
from gateway.wire.listpattern import DELIMITER

NO_EVENTS: frozenset[Event] = frozenset()


@dataclass(frozen=True, slots=True)
class Hearing:
    """What a session hears of the selected mailbox. `at_once`: EXPUNGE may come between commands (SELECTED), not
    only with one (SELECTED-DELAYED). `items`: to FETCH of new messages."""

    messages: bool = True
    flags: bool = True
    at_once: bool = False
    items: tuple[FetchItem, ...] = ()


BY_DEFAULT = Hearing()
NOTHING = Hearing(messages=False, flags=False)


@dataclass(slots=True)
class Notifications:
    """Of one session that has given NOTIFY. `ear` is None after NOTIFY NONE. `entries`: changes of annotations told
    so far. `fresh`: UIDs that were announced and are still to be fetched; `own`: those the session itself made.
    `told`: a hash of the last STATUS of each mailbox, so that the same is not told twice."""

    hearing: Hearing = NOTHING
    groups: tuple[EventGroup, ...] = ()
    ear: Listening | None = None
    entries: int = 0
    fresh: list[int] = field(default_factory=list)
    own: set[int] = field(default_factory=set)
    told: dict[str, int] = field(default_factory=dict)

    def close(self) -> None:
        if self.ear is not None:
            self.ear.close()

    @property
    def hears_entries(self) -> bool:
        return any(
            {Event.MAILBOX_METADATA_CHANGE, Event.SERVER_METADATA_CHANGE} & group.events
            for group in self.groups
        )

    @property
    def hears_server(self) -> bool:
        return any(Event.SERVER_METADATA_CHANGE in group.events for group in self.groups)

    @property
    def follows_names(self) -> bool:
        """Whether changes of the hierarchy matter: as events, or because groups mean what there is."""
        return any(
            Event.MAILBOX_NAME in group.events or (group.events and group.source.where is not Where.MAILBOXES)
            for group in self.groups
        )

    def events_of(self, name: str, subscribed: bool) -> frozenset[Event]:
        """Of a mailbox that is not selected; what a selected one has besides messages' events."""
        for group in self.groups:
            if _TESTS[group.source.where](group.source, name, subscribed):
                return group.events
        return NO_EVENTS

    def watched(self, infos: Iterable[MailboxInfo]) -> list[str]:
        """The mailboxes whose messages have events."""
        return [
            info.name
            for info in infos
            if info.selectable and self.events_of(info.name, info.subscribed) & MESSAGE_EVENTS
        ]


def hearing_of(groups: Sequence[EventGroup]) -> Hearing:
    """Of the selected mailbox (section 6.1)."""
    for group in groups:
        if group.source.where in SELECTED:
            return Hearing(
                messages=Event.MESSAGE_NEW in group.events,
                flags=Event.FLAG_CHANGE in group.events,
                at_once=group.source.where is Where.SELECTED,
                items=group.items,
            )
    return NOTHING


def others(groups: Iterable[EventGroup]) -> tuple[EventGroup, ...]:
    return tuple(group for group in groups if group.source.where not in SELECTED)


def _below(names: Iterable[str], name: str, *, deep: bool) -> bool:
    """Is it one of these, or below one? The empty name is above all."""
    if name in names or ("" in names and (deep or DELIMITER not in name)):
        return True
    above = name.rpartition(DELIMITER)[0]
    return bool(above) and (_below(names, above, deep=True) if deep else above in names)


# Whether a group names a mailbox. Rules move mail into any mailbox, so every one is an inbox (section 6.3).
_TESTS: dict[Where, Callable[[Source, str, bool], bool]] = {
    Where.INBOXES: lambda source, name, subscribed: True,
    Where.PERSONAL: lambda source, name, subscribed: True,
    Where.SUBSCRIBED: lambda source, name, subscribed: subscribed,
    Where.SUBTREE: lambda source, name, subscribed: _below(source.names, name, deep=True),
    Where.SUBTREE_ONE: lambda source, name, subscribed: _below(source.names, name, deep=False),
    Where.MAILBOXES: lambda source, name, subscribed: name in source.names,
}
