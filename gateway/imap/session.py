"""One connection's conversation: commands are executed in order, each gets exactly one tagged reply.

Invariants
- `execute` alone writes tagged replies; a handler returns or raises (invariant 5 of the design).
- Sequence numbers move only in `announce`, whose words enter `out` before the next await (invariant 3).
- After every command the input stands at the start of the next one, also when APPEND's message was refused.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import gateway.imap.auth
import gateway.imap.commands.append
import gateway.imap.commands.basic
import gateway.imap.commands.copy
import gateway.imap.commands.fetch
import gateway.imap.commands.folders
import gateway.imap.commands.idle
import gateway.imap.commands.search
import gateway.imap.commands.select
import gateway.imap.commands.store  # noqa: F401  # each import fills its rows of SPECS
from gateway.core.errors import BadCommand, GatewayError
from gateway.imap.announce import announce
from gateway.imap.caps import capabilities
from gateway.imap.context import Channel, Context, Farewell, Gone
from gateway.imap.literal import IncomingLiteral
from gateway.imap.replies import reply_to, reply_to_bug
from gateway.imap.spec import SPECS, Enabled, Reply, Spec, State
from gateway.mailbox.api import Account, Folder, MailboxStatus
from gateway.wire.command import Command, Fetch, Status
from gateway.wire.encode import Kind, Out
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
from gateway.wire.grammar import parse
from gateway.wire.grammar_mailbox import parse_append

C = TypeVar("C", bound=Command)


@dataclass(slots=True)
class Selected:
    """The mailbox a session has open. `keywords`: those the client was told of in FLAGS."""

    folder: Folder
    keywords: frozenset[bytes] = field(default_factory=frozenset)


class Session:
    """State of one client (RFC 9051 section 3); `run` is its whole life."""

    def __init__(self, channel: Channel, context: Context) -> None:
        self.channel = channel
        self.context = context
        self.out = Out()
        self.account: Account | None = None
        self.selected: Selected | None = None
        self.enabled = Enabled.NOTHING
        self.literal: IncomingLiteral | None = None  # APPEND's, while that command runs
        self.statuses: dict[str, MailboxStatus] = {}  # asked for together with an earlier, adjacent STATUS
        self.prepared = 0  # FETCHes next in line that were made ready together with an earlier one
        self.failed_logins = 0
        self.mid_response = False  # a response is half in `out`: nothing may be put between
        self._ahead: deque[Command | Event] = deque()
        self._bad_streak = 0
        self._farewell: Farewell | None = None
        self._over = False
        self._busy_since: float | None = None  # when the running command began, if it may take long
        self._heartbeat: asyncio.Task[None] | None = None
        self._afterwards: Callable[[], Awaitable[None]] | None = None

    # -- what handlers use --

    @property
    def state(self) -> State:
        if self.account is None:
            return State.NOT_AUTHENTICATED
        return State.SELECTED if self.selected is not None else State.AUTHENTICATED

    @property
    def user(self) -> Account:
        """The account; only handlers of logged-in states may ask."""
        if self.account is None:
            raise AssertionError("not logged in")
        return self.account

    @property
    def folder(self) -> Folder:
        """The open mailbox; only handlers of the selected state may ask."""
        if self.selected is None:
            raise AssertionError("no mailbox selected")
        return self.selected.folder

    def capabilities(self) -> bytes:
        limits = self.context.limits
        return capabilities(
            self.state,
            secure=self.channel.secure,
            starttls=self.context.tls is not None,
            plaintext_ok=self.context.settings.allow_plaintext,
            append_limit=self.account.append_limit() if self.account else limits.append_landable,
        )

    def login(self, account: Account) -> None:
        """The credentials were right: from here on the wider limits hold."""
        self.account = account
        self.channel.authenticated = True
        self.channel.framer.authenticated = True

    def choose(self, folder: Folder) -> None:
        """This mailbox is the selected one from now on."""
        self.selected = Selected(folder, frozenset(folder.keywords()))

    def hang_up(self, farewell: Farewell | None = None) -> None:
        """End the session once the running command has been answered; `farewell` follows its reply."""
        self._over = True
        self._farewell = farewell

    def afterwards(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do this once the running command has been answered (STARTTLS's handshake)."""
        self._afterwards = action

    async def flush(self) -> None:
        """Hand what is gathered to the connection and wait until the peer keeps up. Gone if it left."""
        if self.out.size:
            self.channel.send(self.out.take())
        await self.channel.drained()

    async def flush_if_full(self) -> None:
        """Amid a long answer: hand on what is gathered, and let other sessions have their turn."""
        if self.out.size >= self.context.limits.flush:
            await self.flush()
            await asyncio.sleep(0)

    async def leave(self) -> None:
        """Close the open mailbox, expunging nothing."""
        selected, self.selected = self.selected, None
        if selected is not None:
            await selected.folder.close()

    def upcoming(self, kind: type[C]) -> list[C]:
        """Commands of this kind that the client has sent already, right behind the running one.

        They stay queued; at most `limits.pipelined` are parsed ahead."""
        while len(self._ahead) < self.context.limits.pipelined and self._all_ahead_are(kind):
            event = self.channel.ready_event()
            if event is None:
                break
            self._ahead.append(self._parsed_or_raw(event))
        found: list[C] = []
        for item in self._ahead:
            if not isinstance(item, kind):
                break
            found.append(item)
        return found

    def put_back(self, event: Event) -> None:
        """This event comes next again, behind the running command."""
        self._ahead.appendleft(event)

    # -- the life of a session --

    async def run(self) -> None:
        """Greet, execute until logout, time-out or loss, and close the mailbox; the caller closes the connection.

        Raises cancellation, and what is a bug outside of any handler; the client hears BYE of both."""
        try:
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
            await self._react(self._ahead.popleft() if self._ahead else await self.channel.next_event())
            if turn % self.context.limits.pipelined == 0:
                await asyncio.sleep(0)  # whoever sends thousands of commands ahead does not hold up others
        if self._farewell is not None:
            self._say_bye(self._farewell)

    def _say_bye(self, farewell: Farewell) -> None:
        """The last word, unless a response is only half said: then silence is the only truth."""
        if self.mid_response:
            return
        self.out.status(b"*", Kind.BYE, str(farewell), farewell.code)
        self.channel.send(self.out.take())

    async def _part(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        if self.account is not None:
            self.context.census.leave(f"user {self.account.name}")
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
        if self.selected is not None and reply.kind is not Kind.BAD:
            announce(
                self, expunge=spec.may_expunge(command), with_uid=bool(getattr(command, "by_uid", False))
            )
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
        if self.state not in spec.states:
            raise BadCommand(_wrong_state(self.state, spec))
        if spec.writes and self.folder.read_only:
            raise ReadOnlyError("Mailbox is open read-only")

    async def _run_alive(self, spec: Spec, command: Command) -> Reply | None:
        """Run the handler; a long silence is broken between responses, never inside one."""
        if spec.quick or spec.solo:
            return await spec.run(self, command)
        self._busy_since = self.context.clock.monotonic()
        if self._heartbeat is None or self._heartbeat.done():
            self._heartbeat = asyncio.ensure_future(self._beat())
        try:
            return await spec.run(self, command)
        finally:
            self._busy_since = None

    async def _beat(self) -> None:
        """Signs of life while commands run. One task for many commands; it ends when it finds none running."""
        clock, pause = self.context.clock, self.context.settings.keepalive
        while self._busy_since is not None:
            quiet = clock.monotonic() - max(self._busy_since, self.channel.silent_since)
            if quiet >= pause and not self.mid_response:
                self.out.status(b"*", Kind.OK, "Still working", b"INPROGRESS")
                self.channel.send(self.out.take())
                quiet = 0.0
            await clock.sleep(pause - quiet if quiet < pause else pause)

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

    def _parse(self, frame: Frame) -> Command:
        return parse(frame, self.context.limits, utf8=bool(self.enabled & (Enabled.UTF8 | Enabled.REV2)))

    def _parsed_or_raw(self, event: Event) -> Command | Event:
        """A command parsed ahead; what cannot be parsed stays an event and is answered in its turn."""
        if not isinstance(event, Frame):
            return event
        try:
            return self._parse(event)
        except GatewayError:
            return event

    def _all_ahead_are(self, kind: type[Command]) -> bool:
        return all(isinstance(item, kind) for item in self._ahead)

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
            command = parse_append(header, self.context.limits)
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
