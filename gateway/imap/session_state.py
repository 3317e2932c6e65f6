"""What a session knows, and what handlers may use of it (RFC 9051 section 3). How it runs: `imap/session.py`."""

from __future__ import annotations

import asyncio
import itertools
from array import array
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from gateway.core.limits import LITERAL_MINUS
from gateway.imap.ahead import Ahead
from gateway.imap.caps import Offer, capabilities
from gateway.imap.context import Channel, Context, Farewell
from gateway.imap.heartbeat import Heartbeat
from gateway.imap.literal import IncomingLiteral
from gateway.imap.notify import BY_DEFAULT, Hearing, Notifications
from gateway.imap.rev2 import speaks_utf8
from gateway.imap.spec import Enabled, State
from gateway.mailbox.api import Account, Folder
from gateway.mailbox.values import MailboxStatus
from gateway.wire.command import Command
from gateway.wire.encode import Out
from gateway.wire.framer import Event, Frame
from gateway.wire.grammar import parse

if TYPE_CHECKING:
    from gateway.imap.contexts import UpdatedSearch

C = TypeVar("C", bound=Command)
_numbers = itertools.count(1)


@dataclass(slots=True)
class Selected:
    """The mailbox a session has open. `keywords`: those the client was told of in FLAGS. `saved`: UIDs of the last
    SEARCH RETURN (SAVE), ascending (RFC 5182); they are forgotten with the mailbox. `contexts`: searches that are
    kept up to date (RFC 5267), by tag."""

    folder: Folder
    keywords: frozenset[bytes] = field(default_factory=frozenset)
    saved: array[int] = field(default_factory=lambda: array("I"))
    contexts: dict[bytes, UpdatedSearch] = field(default_factory=dict)


class SessionState:
    """State of one client, and the verbs of handlers."""

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
        self.number = next(_numbers)  # of this session, in this process
        self.metadata_heard: int | None = None  # changes of entries told so far, once METADATA is enabled
        self.notifications: Notifications | None = None  # once NOTIFY was given (RFC 5465)
        self.mid_response = False  # a response is half in `out`: nothing may be put between
        self._ahead = Ahead(channel, context.limits.pipelined, self._parse)
        self._heartbeat = Heartbeat(self)
        self._farewell: Farewell | None = None
        self._over = False
        self._held: set[str] = set()  # keys of the census
        self._afterwards: Callable[[], Awaitable[None]] | None = None

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
        """The list for this state, this connection and these settings."""
        settings, limits = self.context.settings, self.context.limits
        offer = Offer(
            secure=self.channel.secure,
            starttls=self.context.tls is not None,
            plaintext_ok=settings.allow_plaintext,
            append_limit=self.account.append_limit() if self.account else limits.append_landable,
            quota=self.account is not None and self.account.quota > 0,
            literal_minus=limits.unannounced_literal == LITERAL_MINUS,
            compress=limits.compressed_connections > 0 and not self.channel.compressed,
            scram=self.context.accounts.scram,
            message_limit=settings.message_limit,
        )
        return capabilities(self.state, offer)

    def login(self, account: Account) -> None:
        """The credentials were right: from here on the wider limits hold."""
        self.account = account
        self.channel.authenticated = True
        self.channel.framer.authenticated = True

    def logout(self) -> None:
        """Nobody is logged in any more, and nothing of whoever was is remembered; the mailbox has been left."""
        if self.account is not None:
            self.release(f"user {self.account.name}")
        self.account = None
        self.channel.authenticated = False
        self.channel.framer.authenticated = False
        self.enabled = Enabled.NOTHING
        self.metadata_heard = None
        self.stop_listening()
        self.notifications = None
        self.statuses.clear()
        self.prepared = 0

    @property
    def hearing(self) -> Hearing:
        """What the session is told of its selected mailbox without having asked."""
        return self.notifications.hearing if self.notifications is not None else BY_DEFAULT

    def stop_listening(self) -> None:
        """Nothing is watched for this session any more, but for the mailbox it has open."""
        if self.notifications is not None:
            self.notifications.close()

    def made(self, mailbox: str, uids: Iterable[int]) -> None:
        """The session has put these messages there itself."""
        if (
            self.notifications is not None
            and self.selected is not None
            and self.selected.folder.name == mailbox
        ):
            self.notifications.own.update(uids)

    @property
    def bereft(self) -> Farewell | None:
        """How to part from a client whose open mailbox has been destroyed: it has no state to go on in, and no
        response but BYE that every client understands (RFC 2180 section 3.3)."""
        if self.selected is None or not self.selected.folder.gone:
            return None
        return Farewell("The selected mailbox has been deleted")

    def choose(self, folder: Folder) -> None:
        """This mailbox is the selected one from now on."""
        self.selected = Selected(folder, frozenset(folder.keywords()))

    def progress(self, done: int, goal: int) -> None:
        """Amid a command: so many of so many messages are done (RFC 9585)."""
        self._heartbeat.progress.reach(done, goal)

    def still_working(self) -> None:
        """Amid a command: say so at once."""
        self._heartbeat.speak()

    def hang_up(self, farewell: Farewell | None = None) -> None:
        """End the session once the running command has been answered; `farewell` follows its reply."""
        self._over = True
        self._farewell = farewell

    def afterwards(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do this once the running command has been answered (STARTTLS's handshake)."""
        self._afterwards = action

    def hold(self, key: str, bound: int) -> bool:
        """Take one of `bound` places of this kind in the process; False: there is none left."""
        if not self.context.census.enter(key, bound):
            return False
        self._held.add(key)
        return True

    def release(self, key: str) -> None:
        """Give a place back, if one is held. What is held when the session ends is given back then."""
        if key in self._held:
            self._held.remove(key)
            self.context.census.leave(key)

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
        return self._ahead.upcoming(kind)

    def put_back(self, event: Event) -> None:
        """This event comes next again, behind the running command."""
        self._ahead.put_back(event)

    def _parse(self, frame: Frame) -> Command:
        return parse(
            frame,
            self.context.limits,
            utf8=speaks_utf8(self),
            one_charset=self.enabled is not Enabled.NOTHING and Enabled.UTF8 in self.enabled,
        )
