"""The messages of one APPEND or REPLACE, taken in one after another: each decided upon before its octets come,
each in a spool of its own, all spools given back when the command ends."""

from __future__ import annotations

from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING

from gateway.core.errors import CannotDo, LimitReached, Refused, TooBig
from gateway.imap.headerrule import HeaderRule
from gateway.imap.literal import IncomingLiteral
from gateway.imap.messagelimit import refuse_above
from gateway.imap.rev2 import speaks_utf8
from gateway.imap.spec import Enabled
from gateway.mailbox.values import Incoming, Spool
from gateway.wire.command import Announcement
from gateway.wire.framer import LiteralHeader
from gateway.wire.grammar_append import command_ends, parse_next

if TYPE_CHECKING:
    from gateway.imap.session import Session


class Receiving:
    """`messages` in the order sent. Leaving the context closes their spools."""

    def __init__(self, session: Session, mailbox: str) -> None:
        if session.literal is None:
            raise AssertionError("a message without a literal")
        self.messages: list[Incoming] = []
        self._session = session
        self._mailbox = mailbox
        self._literal: IncomingLiteral = session.literal
        self._announced: Announcement | None = None
        self._octets = 0
        self._keywords: set[bytes] = set()

    async def __aenter__(self) -> Receiving:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for message in self.messages:
            await message.spool.close()

    async def take(self, announced: Announcement) -> None:
        """One message, if it may come. Refused: it may not, or it is empty, which cancels the command (RFC 3502,
        section 6.3.11); BadCommand; NoSuchMailbox and what else `check_append` raises."""
        self._announced = announced
        self._admit(announced)
        refuse_above(self._session, len(self.messages) + 1)
        self._keywords |= announced.flags.keywords
        await self._session.user.check_append(self._mailbox, announced.size, self._keywords)
        beside = self.messages[0].spool if self.messages else None
        spool = self._session.user.spool(announced.size, beside)
        self.messages.append(Incoming(spool, announced.flags, announced.internal_date))
        self._octets += announced.size
        await self._receive(spool)

    async def another(self) -> Announcement | None:
        """What is announced behind the message just taken; None: the command has ended."""
        if self._announced is None:
            raise AssertionError("no message was taken")
        following = await self._literal.following()
        if isinstance(following, LiteralHeader):
            return parse_next(following, self._session.context.limits, after=self._announced)
        command_ends(following.parts, self._announced)
        return None

    def _admit(self, announced: Announcement) -> None:
        """What can be said of a message from its announcement alone."""
        limits, largest = self._session.context.limits, self._session.user.append_limit()
        if announced.utf8 and Enabled.UTF8 not in self._session.enabled:
            raise CannotDo("UTF8 is for clients that have enabled UTF8=ACCEPT")
        if not announced.size:
            raise Refused("A message without octets cancels the command")
        if announced.size > largest:
            raise TooBig(f"Messages of up to {largest} octets are accepted")
        if len(self.messages) >= limits.append_messages:
            raise LimitReached(f"Up to {limits.append_messages} messages in one command are accepted")
        if self._octets + announced.size > limits.append:
            raise LimitReached(f"Up to {limits.append} octets in one command are accepted")

    async def _receive(self, spool: Spool) -> None:
        header = self._header_rule()
        async with aclosing(self._literal.chunks()) as chunks:
            async for chunk in chunks:
                header.feed(chunk)
                await spool.write(chunk)

    def _header_rule(self) -> HeaderRule:
        """RFC 6855 section 4 is kept where the administrator asks for it (ADR 0025)."""
        strict = self._session.context.settings.refuse_raw_headers
        return HeaderRule(any_octets=not strict or speaks_utf8(self._session))
