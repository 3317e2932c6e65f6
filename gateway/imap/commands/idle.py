"""IDLE (RFC 2177; RFC 9051 section 6.3.13): news of the open mailbox as it comes, until DONE."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand
from gateway.imap.context import Farewell
from gateway.imap.news import stirred, stop, tell
from gateway.imap.spec import State, handles
from gateway.wire.command import Idle, Marker
from gateway.wire.encode import Kind
from gateway.wire.framer import Continue, Event, Frame, LiteralHeader, Overflow

if TYPE_CHECKING:
    from gateway.imap.session import Session


@handles(Idle, State.LOGGED_IN, solo=True)
async def idle(s: Session, cmd: Idle) -> None:
    """Nothing queues up for a slow client: the view is asked when the client has taken what it was sent."""
    s.out.continuation("idling")
    line = asyncio.ensure_future(s.channel.next_event())
    try:
        while not line.done():
            await tell(s, expunge=True)
            if (farewell := s.bereft) is not None:
                raise farewell
            await s.flush()
            await _something(s, line)
    finally:
        await stop(line)
    _expect_done(s, line.result())


async def _something(s: Session, line: asyncio.Task[Event]) -> None:
    """Wait for the client, for news, or for so long that the connection needs a sign of life."""
    quiet = asyncio.ensure_future(s.context.clock.sleep(_quiet(s)))
    waits = stirred(s, expunge=True)
    try:
        await asyncio.wait([line, quiet, *waits], return_when=asyncio.FIRST_COMPLETED)
        if quiet.done() and not line.done():
            s.out.status(b"*", Kind.OK, "Still here")
        for news in waits:
            if news.done():
                news.result()  # a fault of the backend ends IDLE: waiting on would be a busy loop
    finally:
        for task in (quiet, *waits):
            await stop(task)


def _quiet(s: Session) -> float:
    return s.context.settings.idle_keepalive


def _expect_done(s: Session, event: Event) -> None:
    """What announces a literal is a command whose rest is still to come: it is executed in its turn, for the
    framer stands in the middle of it."""
    if isinstance(event, Overflow):
        raise Farewell("Line far too long", b"TOOBIG")
    if isinstance(event, Continue | LiteralHeader):
        s.put_back(event)
    if not isinstance(event, Frame) or event.line.strip().upper() != Marker.IDLE_DONE:
        raise BadCommand("Expected DONE")
