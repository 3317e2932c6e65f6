"""One connection's conversation: commands are executed in order, each gets exactly one tagged reply.

Invariants
- `execute` alone writes tagged replies; a handler returns or raises (invariant 5 of the design).
- Sequence numbers move only in `announce`, whose words enter `out` before the next await (invariant 3).
- After every command the input stands at the start of the next one, also when APPEND's message was refused.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import gateway.imap.auth  # noqa: F401  # fills its rows of SPECS
from gateway.core.errors import BadCommand, GatewayError
from gateway.imap import news, uidonly
from gateway.imap.commands import load_handlers
from gateway.imap.context import Farewell, Gone
from gateway.imap.literal import IncomingLiteral
from gateway.imap.replies import reply_to, reply_to_bug
from gateway.imap.rev2 import speaks_utf8
from gateway.imap.session_state import SessionState
from gateway.imap.spec import SPECS, Reply, Spec, State
from gateway.mailbox.origin import act_as
from gateway.wire.command import Command, Fetch, Status
from gateway.wire.encode import Kind
from gateway.wire.framer import (
    Chunk,
    Continue,
    Event,
    Excess,
    Frame,
    LiteralHeader,
    Overflow,
    Swallowed,
    TooLong,
    tag_of,
)
from gateway.wire.grammar_append import parse_append

load_handlers()


class Session(SessionState):
    """One client; `run` is its whole life."""

    _bad_streak = 0  # BAD replies in a row
    _amid = False  # a literal of the next command is on its way

    # -- the life of a session --

    async def run(self) -> None:
        """Greet, execute until logout, time-out or loss, and close the mailbox; the caller closes the connection.

        Raises cancellation, and what is a bug outside of any handler; the client hears BYE of both."""
        try:
            act_as(self.number)
            await self._converse()
        except Farewell as farewell:
            self._say_bye(farewell)
        except Gone:
            return
        except asyncio.CancelledError:
            self._say_bye(Farewell("Server is shutting down"))
            raise
        except Exception:
            self._say_bye(Farewell("Internal error"))
            raise
        finally:
            await self._part()

    async def _converse(self) -> None:
        self.out.status(b"*", Kind.OK, "ready", b"CAPABILITY " + self.capabilities())
        await self.flush()
        for turn in itertools.count(1):
            if self._over:
                break
            await self._react(await self._next())
            if turn % self.context.limits.pipelined == 0:
                await asyncio.sleep(0)  # whoever sends thousands of commands ahead does not hold up others
        if self._farewell is not None:
            self._say_bye(self._farewell)

    async def _next(self) -> Command | Event:
        """What the client sends next. Until then it hears what it asked for by NOTIFY, but not amid its own command:
        a line that ended in a literal's header."""
        amid, self._amid = self._amid, False
        if self.notifications is None or self._ahead or amid:
            event = await self._ahead.next()
        else:
            event = await self._next_or_news()
        self._amid = isinstance(event, Continue)
        return event

    async def _next_or_news(self) -> Command | Event:
        if (event := self.channel.ready_event()) is not None:
            return event
        line = asyncio.ensure_future(self._ahead.next())
        try:
            await news.until_input(self, line)
            return await line
        finally:
            if not line.done():
                await news.stop(line)

    def _say_bye(self, farewell: Farewell) -> None:
        """The last word, unless a response is only half said: then silence is the only truth."""
        if self.mid_response:
            return
        self.out.status(b"*", Kind.BYE, str(farewell), farewell.code)
        self.channel.send(self.out.take())

    async def _part(self) -> None:
        self._heartbeat.stop()
        self.stop_listening()
        for key in tuple(self._held):
            self.release(key)
        with suppress(GatewayError):
            await self.leave()

    async def _react(self, item: Command | Event) -> None:
        if isinstance(item, Command):
            await self.execute(item)
        else:
            await _REACTIONS[type(item)](self, item)

    # -- commands --

    async def execute(self, command: Command) -> None:
        """Run one command and send its one tagged reply."""
        spec = SPECS[type(command)]
        reply = await self._attempt(spec, command)
        if reply.kind is not Kind.BAD:
            by_uid = bool(getattr(command, "by_uid", False))
            await news.tell_selected(self, expunge=spec.may_expunge(command), with_uid=by_uid)
        await news.tell_rest(self, news.named_by(command))
        if (farewell := self.bereft) is not None:
            self.hang_up(farewell)
        await self._answer(command.tag, reply)

    async def _attempt(self, spec: Spec, command: Command) -> Reply:
        """The command's outcome; afterwards the input stands at the next command."""
        self.context.counters.commands[spec.title(command)] += 1
        if not isinstance(command, Status):
            self.statuses.clear()
        if not isinstance(command, Fetch):
            self.prepared = 0
        reply = await self._outcome(spec, command)
        if self.literal is not None:
            await self.literal.settle()
        return reply

    async def _outcome(self, spec: Spec, command: Command) -> Reply:
        """What a command came to, whatever happens in it. Gone and Farewell end the session instead."""
        try:
            self._permit(spec)
            uidonly.check(self, command)
            done = await self._run_alive(spec, command)
            return done or Reply(f"{spec.title(command)} completed")
        except (Gone, Farewell):
            raise
        except GatewayError as error:
            return self._unless_mid_response(reply_to(error, spec))
        except Exception as error:  # invariant 5: a tagged reply on every path
            self.context.counters.bugs += 1
            return self._unless_mid_response(reply_to_bug(error, command))

    def _unless_mid_response(self, reply: Reply) -> Reply:
        """Half a response is out and its end will not come: only closing keeps the client in step."""
        if self.mid_response:
            raise Gone
        return reply

    def _permit(self, spec: Spec) -> None:
        if not self.state.value & spec.allowed:
            raise BadCommand(_wrong_state(self.state, spec))
        if spec.writes and self.folder.read_only:
            raise ReadOnlyError("Mailbox is open read-only")

    async def _run_alive(self, spec: Spec, command: Command) -> Reply | None:
        """Run the handler; a long silence is broken."""
        if spec.quick or spec.solo:
            return await spec.run(self, command)
        self._heartbeat.begin(command.tag)
        try:
            return await spec.run(self, command)
        finally:
            self._heartbeat.end()

    async def _answer(self, tag: bytes, reply: Reply) -> None:
        self.context.counters.replies[reply.kind.name] += 1
        self.out.status(tag, reply.kind, reply.text, reply.code)
        self._bad_streak = self._bad_streak + 1 if reply.kind is Kind.BAD else 0
        if self._bad_streak >= self.context.limits.bad_commands:
            self.hang_up(Farewell("Too many bad commands"))
        await self.flush()
        action, self._afterwards = self._afterwards, None
        if action is not None:
            await action()

    # -- events --

    async def _on_frame(self, frame: Frame) -> None:
        try:
            command = self._parse(frame)
        except GatewayError as error:
            await self._answer(tag_of(frame.line) or b"*", reply_to(error))
        else:
            await self.execute(command)

    async def _on_literal(self, header: LiteralHeader) -> None:
        self.literal = IncomingLiteral(self.channel, self.out, header)
        try:
            await self._append(header)
        finally:
            self.literal = None

    async def _append(self, header: LiteralHeader) -> None:
        """APPEND: its tagged reply waits until the input stands at the next command."""
        literal = self.literal
        if literal is None:
            raise AssertionError("APPEND without a literal")
        try:
            command = parse_append(header, self.context.limits, utf8=speaks_utf8(self))
        except GatewayError as error:
            await literal.settle()
            await self._answer(tag_of(header.parts[0]) or b"*", reply_to(error))
        else:
            await self.execute(command)

    async def _on_continue(self, event: Continue) -> None:
        self.out.continuation()
        await self.flush()

    async def _on_too_long(self, event: TooLong) -> None:
        kind = Kind.NO if event.what is Excess.LITERAL and self.account is not None else Kind.BAD
        await self._answer(event.tag or b"*", Reply("Command too long", b"TOOBIG", kind))

    async def _on_overflow(self, event: Overflow) -> None:
        raise Farewell("Command far too long", b"TOOBIG")

    async def _on_stray(self, event: Chunk | Swallowed) -> None:
        raise AssertionError(f"{type(event).__name__} outside APPEND")


def _wrong_state(state: State, spec: Spec) -> str:
    if state is State.NOT_AUTHENTICATED:
        return "Log in first"
    return "No mailbox is selected" if spec.states is State.SELECTED else "You are logged in already"


class ReadOnlyError(GatewayError):
    """A change was asked for in a mailbox opened by EXAMINE."""

    code = b"READ-ONLY"


_REACTIONS: dict[type, Callable[[Session, Any], Awaitable[None]]] = {
    Frame: Session._on_frame,
    LiteralHeader: Session._on_literal,
    Continue: Session._on_continue,
    TooLong: Session._on_too_long,
    Overflow: Session._on_overflow,
    Chunk: Session._on_stray,
    Swallowed: Session._on_stray,
}
