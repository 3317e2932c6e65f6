"""Signs of life while a command runs: `* OK [INPROGRESS ("tag" done goal)]` after a while, and again (RFC 9585).

They stand between responses, never inside one: whoever gives a response in pieces says so in `mid_response`. While
responses flow they are enough, so the pause is counted from the last octet sent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.core import progress
from gateway.wire.encode import Kind, quoted

if TYPE_CHECKING:
    from gateway.imap.session_state import SessionState


class Heartbeat:
    """Of one session. One task serves many commands; it ends when it finds none running."""

    def __init__(self, session: SessionState) -> None:
        self._session = session
        self._since: float | None = None  # when the running command began, if it may take long
        self._tag = b""
        self._task: asyncio.Task[None] | None = None
        self.progress = progress.Progress()  # of the running command

    def begin(self, tag: bytes) -> None:
        """A command runs from now on."""
        self._tag = tag
        self.progress = progress.begin()
        self._since = self._session.context.clock.monotonic()
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._beat())

    def end(self) -> None:
        """It is over."""
        self._since = None

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _beat(self) -> None:
        session = self._session
        clock, pause = session.context.clock, session.context.settings.keepalive
        await clock.sleep(pause)  # first: a task for each short command would cost more than the command
        while self._since is not None:
            quiet = clock.monotonic() - max(self._since, session.channel.silent_since)
            if quiet >= pause and self.speak():
                quiet = 0.0
            await clock.sleep(pause - quiet if quiet < pause else pause)

    def speak(self) -> bool:
        """Say so now; False amid a response."""
        session = self._session
        if session.mid_response:
            return False
        session.out.status(b"*", Kind.OK, "Still working", self._code())
        session.channel.send(session.out.take())
        return True

    def _code(self) -> bytes:
        """RFC 9585 section 5: both NIL, counting towards an unknown goal, or towards a known one. A tag that a
        response code cannot hold is not named."""
        tag = b"NIL" if b"]" in self._tag else quoted(self._tag)
        done, goal = (b"NIL" if number is None else b"%d" % number for number in self.progress.seen())
        return b"INPROGRESS (%b %b %b)" % (tag, done, goal)
