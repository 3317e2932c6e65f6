"""Signs of life: when, and with which of the forms of RFC 9585."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fakes import VirtualClock

from gateway.core import progress
from gateway.imap.context import ImapSettings
from gateway.imap.heartbeat import Heartbeat
from gateway.wire.encode import Out


class Peer:
    """The channel, as far as a heartbeat knows it."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.silent_since = clock.monotonic()
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.silent_since = self._clock.monotonic()
        self.sent.append(data)


@pytest.fixture
def session() -> Any:
    clock = VirtualClock()
    context = SimpleNamespace(clock=clock, settings=ImapSettings())
    return SimpleNamespace(context=context, channel=Peer(clock), out=Out(), mid_response=False, clock=clock)


@pytest.mark.parametrize(
    ("done", "goal", "form"),
    [(None, None, b"NIL NIL"), (175, None, b"175 NIL"), (175, 1000, b"175 1000"), (1000, 1000, b"999 1000")],
)
async def test_the_forms_of_section_5(session: Any, done: int | None, goal: int | None, form: bytes) -> None:
    heartbeat = Heartbeat(session)
    heartbeat.begin(b"A1")
    heartbeat.progress.done, heartbeat.progress.goal = done, goal
    await session.clock.advance(10)
    heartbeat.stop()
    assert session.channel.sent == [b'* OK [INPROGRESS ("A1" %b)] Still working\r\n' % form]


async def test_a_tag_that_would_end_the_code_is_not_named(session: Any) -> None:
    heartbeat = Heartbeat(session)
    heartbeat.begin(b"A]1")
    await session.clock.advance(10)
    heartbeat.stop()
    assert session.channel.sent == [b"* OK [INPROGRESS (NIL NIL NIL)] Still working\r\n"]


async def test_every_ten_seconds_of_silence(session: Any) -> None:
    heartbeat = Heartbeat(session)
    heartbeat.begin(b"a")
    progress.expect(4)
    for second in range(35):
        await session.clock.advance(1)
        if second == 17:
            session.channel.send(b"data")
    heartbeat.stop()
    beats = [line for line in session.channel.sent if line != b"data"]
    assert len(beats) == 2 and beats[0].startswith(b'* OK [INPROGRESS ("a" 0 4)]')


async def test_none_inside_a_response_and_none_after_the_command(session: Any) -> None:
    heartbeat = Heartbeat(session)
    heartbeat.begin(b"a")
    session.mid_response = True
    await session.clock.advance(60)
    session.mid_response = False
    heartbeat.end()
    await session.clock.advance(60)
    assert session.channel.sent == []
