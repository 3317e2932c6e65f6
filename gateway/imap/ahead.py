"""What the client has sent ahead of the running command: parsed one by one, executed in order (RFC 9051 5.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gateway.core.errors import GatewayError
from gateway.imap.context import Channel
from gateway.wire.command import Command
from gateway.wire.framer import Event, Frame

C = TypeVar("C", bound=Command)


class Ahead:
    """A queue in front of the channel. `bound`: commands parsed ahead at most; `parse` raises GatewayError."""

    def __init__(self, channel: Channel, bound: int, parse: Callable[[Frame], Command]) -> None:
        self._channel = channel
        self._bound = bound
        self._parse = parse
        self._queue: list[
            Command | Event
        ] = []  # a few at most; an idle session's deque would take 760 octets

    async def next(self) -> Command | Event:
        """What is to be done next. Gone or Farewell: the conversation is over."""
        return self._queue.pop(0) if self._queue else await self._channel.next_event()

    def upcoming(self, kind: type[C]) -> list[C]:
        """Commands of this kind that have come already, right behind the running one. They stay queued."""
        while len(self._queue) < self._bound and all(isinstance(item, kind) for item in self._queue):
            event = self._channel.ready_event()
            if event is None:
                break
            self._queue.append(self._parsed_or_raw(event))
        found: list[C] = []
        for item in self._queue:
            if not isinstance(item, kind):
                break
            found.append(item)
        return found

    def put_back(self, event: Event) -> None:
        """This comes next again."""
        self._queue.insert(0, event)

    def __bool__(self) -> bool:
        return bool(self._queue)

    def _parsed_or_raw(self, event: Event) -> Command | Event:
        """A command parsed ahead; what cannot be parsed stays an event and is answered in its turn."""
        if not isinstance(event, Frame):
            return event
        try:
            return self._parse(event)
        except GatewayError:
            return event
