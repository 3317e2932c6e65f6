"""NOTIFY (RFC 5465 section 8, with its errata; SUBTREE-ONE is RFC 7377's).

An event of a kind that is not known here is no error of syntax: the rest is read, then the command is refused with the
list of those that are.
"""

from __future__ import annotations

from gateway.core.errors import BadCommand, BadEvent, LimitReached
from gateway.wire.command import Command
from gateway.wire.command_notify import MESSAGE_EVENTS, Event, EventGroup, Notify
from gateway.wire.command_search import Source, Where
from gateway.wire.cursor import Cursor
from gateway.wire.fetchatt import FetchItem
from gateway.wire.grammar_fetch import parse_attributes
from gateway.wire.grammar_sort import parse_source

SELECTED = frozenset({Where.SELECTED, Where.SELECTED_DELAYED})
EVENTS = {event.value.upper().encode(): event for event in Event}
_BOTH = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE})


def parse_notify(c: Cursor, tag: bytes) -> Command:
    if c.known_word("NOTIFY", (b"SET", b"NONE")) == b"NONE":
        return Notify(tag, None)
    c.space()
    status = c.accept_word(b"STATUS")
    if status:
        c.space()
    groups, known = _groups(c)
    c.end()
    if not known:
        raise BadEvent([event.value for event in Event])
    return Notify(tag, groups, status)


def _groups(c: Cursor) -> tuple[tuple[EventGroup, ...], bool]:
    """Them, and whether all their events are known."""
    groups: list[EventGroup] = []
    all_known = True
    while True:
        group, known = _group(c)
        groups.append(group)
        all_known &= known
        if len(groups) > c.limits.notify_groups:
            raise LimitReached("Too many event groups")
        if not c.accept(b" "):
            break
    if sum(group.source.where in SELECTED for group in groups) > 1:
        raise BadCommand("The selected mailbox can be named once")
    return tuple(groups), all_known


def _group(c: Cursor) -> tuple[EventGroup, bool]:
    c.expect(b"(", "an event group")
    source = parse_source(c)
    c.space()
    if not c.accept(b"("):
        c.known_word("a list of events, or NONE:", (b"NONE",))
        found: dict[Event | None, tuple[FetchItem, ...]] = {}
    else:
        found = _events(c)
    c.expect(b")", "the end of the event group")
    events = frozenset(event for event in found if event is not None)
    items = found.get(Event.MESSAGE_NEW, ())
    if None not in found:
        _check(source, events, items)
    return EventGroup(source, events, items), None not in found


def _events(c: Cursor) -> dict[Event | None, tuple[FetchItem, ...]]:
    """By event what to fetch; None stands for one that is not known."""
    found: dict[Event | None, tuple[FetchItem, ...]] = {}
    while True:
        event = EVENTS.get(c.word("an event"))
        found[event] = _items(c) if event is Event.MESSAGE_NEW and c.accept(b" (") else found.get(event, ())
        if c.accept(b")"):
            return found
        c.space()


def _items(c: Cursor) -> tuple[FetchItem, ...]:
    items = parse_attributes(c)
    if len(items) > c.limits.notify_items:
        raise LimitReached("Too many FETCH items in one event")
    return items


def _check(source: Source, events: frozenset[Event], items: tuple[FetchItem, ...]) -> None:
    """Which events go together (section 5), and with the selected mailbox (section 6.1)."""
    if events & _BOTH and not events >= _BOTH:
        raise BadCommand("MessageNew and MessageExpunge are asked for together")
    if Event.FLAG_CHANGE in events and not events >= _BOTH:
        raise BadCommand("FlagChange needs MessageNew and MessageExpunge")
    if source.where in SELECTED and events - MESSAGE_EVENTS:
        raise BadCommand("Of the selected mailbox only messages have events")
    if items and source.where not in SELECTED:
        raise BadCommand("What to fetch can be named for the selected mailbox alone")
