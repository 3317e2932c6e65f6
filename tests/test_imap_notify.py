"""NOTIFY: which mailboxes groups name, and three clients of different kinds that replay all they are told."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imap_support import serving

from gateway.core.errors import BadCommand, BadEvent, LimitReached
from gateway.core.limits import Limits
from gateway.imap.notify import NO_EVENTS, NOTHING, Notifications, hearing_of, others
from gateway.wire.command_notify import Event, EventGroup, Notify
from gateway.wire.fetchatt import Att
from gateway.wire.frame import Frame
from gateway.wire.grammar import parse
from tests.test_imap_announce import _outside

MESSAGES = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE})


def groups(text: bytes) -> tuple[EventGroup, ...]:
    command = parse(Frame((b"a NOTIFY SET " + text,)))
    assert isinstance(command, Notify) and command.groups is not None
    return command.groups


# -- grammar --


def test_the_forms_of_the_command() -> None:
    assert parse(Frame((b"a notify none",))) == Notify(b"a", None)
    command = parse(
        Frame(
            (
                b"a NOTIFY SET STATUS (Selected-Delayed (messagenew (UID flags) MESSAGEEXPUNGE)) (inboxes NONE)",
            )
        )
    )
    assert isinstance(command, Notify) and command.status and command.groups is not None
    assert [group.events for group in command.groups] == [MESSAGES, NO_EVENTS]
    assert command.groups[0].items == (Att.UID, Att.FLAGS)


@pytest.mark.parametrize(
    "text",
    [
        b"(personal (MessageNew))",
        b"(personal (MessageExpunge))",
        b"(personal (FlagChange))",
        b"(personal (MessageNew (UID) MessageExpunge))",
        b"(selected (SubscriptionChange))",
        b"(selected NONE) (selected NONE)",
        b"(selected ())",
        b"(subtree NONE)",
        b"personal (MailboxName)",
        b"(personal (MailboxName)) ",
        b"(personal (MailboxName)) x",
        b"(personal MailboxName)",
        b"(selected (MessageNew () MessageExpunge))",
        b"(selected (MessageNew (ALL) MessageExpunge))",
    ],
)
def test_what_is_no_notify(text: bytes) -> None:
    if text.endswith(b" "):
        groups(text)  # blanks before the line's end mean nothing, here as elsewhere
        return
    with pytest.raises(BadCommand):
        groups(text)


def test_an_unknown_event_is_refused_with_the_list_of_the_known() -> None:
    with pytest.raises(BadEvent) as raised:
        groups(b"(personal (MessageNew MessageExpunge AnnotationChange))")
    assert raised.value.code.startswith(b"BADEVENT (MessageNew MessageExpunge FlagChange MailboxName ")


def test_bounds() -> None:
    limits = Limits(notify_groups=1, notify_items=1)
    for text in (b"(personal NONE) (personal NONE)", b"(selected (MessageNew (UID FLAGS) MessageExpunge))"):
        with pytest.raises(LimitReached):
            parse(Frame((b"a NOTIFY SET " + text,)), limits)


# -- groups --


def test_the_first_group_that_names_a_mailbox_counts() -> None:
    listening = Notifications(
        groups=groups(
            b"(mailboxes (a b) NONE) (subtree-one a (MailboxName)) (subtree (a c) (SubscriptionChange))"
            b" (subscribed (MessageNew MessageExpunge))"
        )
    )
    found = {
        name: listening.events_of(name, subscribed=name in ("a", "x"))
        for name in ("a", "b", "a/1", "a/1/2", "c", "c/d", "ca", "x", "y")
    }
    assert found == {
        "a": NO_EVENTS, "b": NO_EVENTS, "a/1": {Event.MAILBOX_NAME}, "a/1/2": {Event.SUBSCRIPTION_CHANGE},
        "c": {Event.SUBSCRIPTION_CHANGE}, "c/d": {Event.SUBSCRIPTION_CHANGE}, "ca": NO_EVENTS, "x": MESSAGES,
        "y": NO_EVENTS,
    }  # fmt: skip


def test_the_selected_mailbox_has_its_own_group() -> None:
    given_groups = groups(b"(personal (MailboxName)) (selected (MessageNew MessageExpunge))")
    hearing = hearing_of(given_groups)
    assert (hearing.messages, hearing.flags, hearing.at_once) == (True, False, True)
    assert len(others(given_groups)) == 1
    assert hearing_of(others(given_groups)) == NOTHING


# -- three clients of different kinds --

_EVENT = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH) ?(?:\((.*)\))?")
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
_UID = re.compile(rb"UID (\d+)")
_VANISHED = re.compile(rb"\* VANISHED ([\d,:]+)")


@dataclass
class Replica:
    """UIDs and flags by number, as far as the client has heard of them."""

    uids: list[int | None] = field(default_factory=lambda: [1, 2, 3, 4])
    flags: list[frozenset[bytes] | None] = field(default_factory=lambda: [frozenset()] * 4)

    def hear(self, responses: list[bytes]) -> None:
        for response in responses:
            if vanished := _VANISHED.match(response):
                self._vanish(vanished[1])
            elif event := _EVENT.match(response):
                self._event(int(event[1]), event[2], event[3] or b"")

    def _vanish(self, text: bytes) -> None:
        for part in text.split(b","):
            low, _, high = part.partition(b":")
            for uid in range(int(low), int(high or low) + 1):
                at = self.uids.index(uid) if uid in self.uids else self.uids.index(None)
                del self.uids[at], self.flags[at]

    def _event(self, number: int, word: bytes, items: bytes) -> None:
        if word == b"EXISTS":
            assert number >= len(self.uids), "EXISTS never shrinks a mailbox"
            more = number - len(self.uids)
            self.uids += [None] * more
            self.flags += [None] * more
        elif word == b"EXPUNGE":
            del self.uids[number - 1], self.flags[number - 1]
        else:
            if uid := _UID.search(items):
                assert self.uids[number - 1] in (None, int(uid[1])), "a number has drifted"
                self.uids[number - 1] = int(uid[1])
            if flags := _FLAGS.search(items):
                self.flags[number - 1] = frozenset(flags[1].split()) - {b"\\Recent"}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"NOOP", b"UID FETCH 1:* FLAGS", b"UID STORE 1:2 +FLAGS (\\Seen)", b"UID STORE 3 +FLAGS (\\Deleted)",
             b"EXPUNGE", b"SEARCH ALL", b"deliver", b"delete", b"flag", b"UID MOVE 2 Archive"]
        ),
        st.integers(0, 2),
    ),
    max_size=25,
)  # fmt: skip
SETS = (
    b"NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange))",
    b"NOTIFY SET (selected-delayed (MessageNew MessageExpunge FlagChange))",
    b"NOTIFY SET (selected (MessageNew MessageExpunge))",
    b"NOTIFY SET (selected NONE)",
    b"NOTIFY NONE",
)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.sampled_from(SETS))
def test_whoever_replays_what_he_is_told_has_what_the_server_has(
    steps: list[tuple[bytes, int]], wanted: bytes
) -> None:
    asyncio.run(_play(steps, wanted))


async def _play(steps: list[tuple[bytes, int]], wanted: bytes) -> None:
    async with serving(messages=4) as world:
        clients = [await world.login(b"INBOX") for _ in range(3)]
        replicas = [Replica() for _ in clients]
        await clients[1].command(b"ENABLE QRESYNC")
        await clients[2].command(wanted)
        for step, who in steps:
            if step.islower():
                _outside(world, step)
            else:
                answers = await clients[who].command(step)
                at_once = who == 2 and wanted.startswith(b"NOTIFY SET (selected (")
                expunged = any(b" EXPUNGE" in answer or b" VANISHED" in answer for answer in answers)
                assert at_once or not (step == b"SEARCH ALL" and expunged)  # RFC 9051 section 7.5.1
                replicas[who].hear(answers)
        last = [b"NOOP", b"NOOP", SETS[0]]  # whatever was not wanted before is told now
        for client, replica, word in zip(clients, replicas, last, strict=True):
            replica.hear(await client.command(word))
            present = world.inbox.present
            assert len(replica.uids) == len(present)
            for uid, flags, message in zip(replica.uids, replica.flags, present, strict=True):
                assert uid in (None, message.uid)
                assert flags is None or flags == frozenset(message.flags.names())
