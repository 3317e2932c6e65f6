"""One SMTP connection: octets, TLS, time-outs, and the loop from a command line to its reply.

It stands on aiosmtpd's `SMTP`, whose stream protocol, naming of commands (`smtp_X`) and `@syntax` it keeps.
Replaced are: the command loop (it logs lines with their addresses, and answers without enhanced status codes),
the timer (time is an argument here), STARTTLS (a private class of asyncio there) and what happens when a peer leaves
(there, a half-closed connection cancels a submission that is being sent).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiosmtpd.smtp import SMTP

from gateway.core.errors import GatewayError
from gateway.smtp.auth import RESPONSE_OCTETS
from gateway.smtp.door import SUBMISSION, Door, Terms
from gateway.smtp.input import Input
from gateway.smtp.replies import (
    LOCAL_ERROR,
    PROTOCOL_ERRORS,
    START_TLS,
    Farewell,
    Gone,
    Rejected,
    Reply,
    reply_to,
)

if TYPE_CHECKING:
    from gateway.smtp.server import SubmissionServer

log = structlog.get_logger("gateway.smtp")

CHUNK = 64 * 1024  # octets read at once
HANDSHAKE = 30.0  # seconds a TLS handshake may take
# Octets of a command line with its end: RFC 5321 section 4.5.3.1.4, and what extensions add for their parameters.
LINE = 512
LINES = {
    "AUTH": RESPONSE_OCTETS + LINE,
    # SIZE (RFC 1870), BODY (6152), SMTPUTF8 (6531), AUTH (4954), RET and ENVID (3461), HOLDUNTIL (4865)
    "MAIL": LINE + 26 + 17 + 10 + 500 + 9 + 107 + 34,
    # An international address of 320 characters has more octets than that; NOTIFY and ORCPT (RFC 3461)
    "RCPT": LINE + 500 + 29 + 507,
}
_WORD = re.compile(r"[A-Za-z0-9]{1,20}")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Connection(SMTP):
    """The server creates one per accepted socket. Commands are the methods of `smtp.handler.Submission`."""

    line_length_limit = CHUNK // 2  # asyncio's reader stops the socket at twice this

    terms: Terms = SUBMISSION

    def __init__(self, server: SubmissionServer, door: Door) -> None:
        self.server = server
        self.door = door
        self.limits = server.limits
        self.peer_address = ""
        self.authenticated = False  # or its address is enough: it may take its time
        self.data_until: float | None = None  # monotonic; while a message comes in
        self.input = Input(
            self._octets, line_limit=max(LINES.values()), junk_limit=server.limits.command_total
        )
        super().__init__(
            object(),
            data_size_limit=server.limits.message,
            enable_SMTPUTF8=True,
            hostname=server.settings.hostname,
            ident="ESMTP graph-mail-gateway",
            tls_context=server.tls,
            loop=asyncio.get_running_loop(),
        )
        self._lost = self.loop.create_future()
        self._errors = 0  # in a row
        self._draining = False
        self._since: float | None = None  # when waiting for the peer began
        self._began = self._now()

    @property
    def secure(self) -> bool:
        """Whether TLS is up."""
        transport: asyncio.BaseTransport | None = self.transport
        return transport is not None and transport.get_extra_info("ssl_object") is not None

    def enter(self, terms: Terms) -> None:
        """The peer may come in, on these terms."""
        self.terms = terms
        self.authenticated = bool(terms.account)

    # -- asyncio.Protocol --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address = transport.get_extra_info("peername")
        self.peer_address = str(address[0]) if address else ""
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The running command goes on: a message on its way to Graph is better sent than half sent."""
        super(SMTP, self).connection_lost(error)
        if not self._lost.done():
            self._lost.set_result(None)

    def eof_received(self) -> bool:
        """What came before the end is still executed and answered; TLS has no half-closed state."""
        super(SMTP, self).eof_received()
        return not self.secure

    # -- both directions --

    async def line(self) -> bytes:
        return await self.input.line()

    async def say(self, reply: Reply) -> None:
        """Returns when the peer has taken most of it. Gone, or the Farewell that is due."""
        self._write(reply)
        self._draining = True
        try:
            with self._waiting():
                await self._writer.drain()
        except OSError:
            raise Gone from None
        finally:
            self._draining = False

    def _write(self, reply: Reply) -> None:
        if self._lost.done() or self._writer.is_closing():
            raise Gone
        self.server.counters.replies[reply.code] += 1
        self._writer.write(reply.wire())

    async def _octets(self) -> bytes:
        try:
            with self._waiting():
                octets = await self._reader.read(CHUNK)
        except OSError:
            raise Gone from None
        if not octets:
            raise Gone
        self.server.counters.octets_in += len(octets)
        return octets

    async def start_tls(self) -> None:
        """Say 220, forget what came in plain text, shake hands (RFC 3207 section 4). No await between the
        forgetting and the loop's start_tls, which stops reading at once: every octet is read either before,
        and is forgotten, or by TLS."""
        await self.say(START_TLS)
        assert self.server.tls is not None
        reader = cast(Any, self._reader)
        self.input.forget()
        reader._buffer.clear()
        try:
            transport = await self.loop.start_tls(
                cast(asyncio.Transport, self.transport), self, self.server.tls, server_side=True,
                ssl_handshake_timeout=HANDSHAKE,
            )  # fmt: skip
        except OSError:
            raise Gone from None
        if transport is None:
            raise Gone
        self._take_over(transport)

    def _take_over(self, transport: asyncio.Transport) -> None:
        """Reader and writer have no public way to change their transport."""
        self.transport = transport
        cast(Any, self._reader)._transport = transport
        cast(Any, self._writer)._transport = transport
        cast(Any, self)._replace_writer(self._writer)

    # -- time --

    def farewell(self, reply: Farewell) -> None:
        """End the connection with `reply` as soon as it waits for the peer."""
        self._reader.set_exception(reply)
        if self._draining and self.transport is not None:
            cast(asyncio.Transport, self.transport).abort()  # who takes nothing will not take this, either

    def _reset_timeout(self, duration: float | None = None) -> None:
        """aiosmtpd's own timer is not used."""

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        self._since = self._now()
        try:
            yield
        finally:
            self._since = None

    async def _watch(self) -> None:
        """Sleeps until the time-out could be over, looks again: nothing to do per command."""
        while (left := self._deadline() - self._now()) > 0:
            await self.server.clock.sleep(left)
        self.farewell(Farewell(421, "4.4.2", "Timeout, closing connection"))

    def _deadline(self) -> float:
        """A running command has no deadline; it is looked at again after a full pause."""
        settings = self.server.settings
        if self._since is None:
            return self._now() + settings.command_timeout
        if not self.authenticated:
            return self._began + self.limits.login_timeout
        until = self._since + settings.command_timeout
        return until if self.data_until is None else min(until, self.data_until)

    def _now(self) -> float:
        return self.server.clock.monotonic()

    # -- the session --

    async def heard(self) -> None:
        """The peer has gone on: whatever was said to it last has arrived."""

    async def ended(self) -> None:
        """Give back what the session holds. Called once, whatever ended it."""

    async def _handle_client(self) -> None:
        """The connection's one task, started by `connection_made`."""
        refusal = self.server.admit(self)
        if refusal is not None:
            await self._leave(refusal)
            return
        watch = asyncio.ensure_future(self._watch())
        last: Reply | None = None
        try:
            await self._converse()
        except Gone:
            pass
        except Farewell as farewell:
            last = farewell.reply
        except Exception as error:
            log.error("smtp.session", error=type(error).__name__)
        finally:
            watch.cancel()
            await self.ended()
            self.server.dismiss(self)
            await self._leave(last)

    async def _converse(self) -> None:
        await self.say(Reply(220, "", f"{self.hostname} {self.__ident__}"))
        while True:
            refusal = await self._one_command()
            if refusal is not None:
                await self.say(refusal)
            self._errors = self._errors + 1 if refusal and refusal.code in PROTOCOL_ERRORS else 0
            if self._errors >= self.limits.bad_commands:
                raise Farewell(421, "4.7.0", "Too many errors")

    async def _one_command(self) -> Reply | None:
        """None: it has been answered."""
        try:
            line = await self.line()
            await self.heard()
            await self._execute(line)
        except Rejected as rejected:
            return rejected.reply
        except GatewayError as error:
            return reply_to(error)
        except (Gone, Farewell):
            raise
        except Exception as error:
            log.error("smtp.command", error=type(error).__name__)
            return LOCAL_ERROR
        return None

    async def _execute(self, line: bytes) -> None:
        text = line.decode("utf-8", "surrogateescape")
        word, _, argument = text.partition(" ")
        if not _WORD.fullmatch(word) or _CONTROLS.search(text):
            raise Rejected(500, "5.5.2", "Syntax error")
        name = word.upper()
        method = self._smtp_methods.get(name)
        if method is None:
            raise Rejected(500, "5.5.2", "Command not recognized")
        if len(line) + 2 > LINES.get(name, LINE):
            raise Rejected(500, "5.5.2", "Line too long")
        await method(argument.strip(" \t"))

    async def _leave(self, last: Reply | None) -> None:
        """Let the peer take the last words, and do not wait for ever for that."""
        if last is not None:
            with suppress(Gone):
                self._write(last)
        transport = cast(asyncio.Transport, self.transport)
        transport.close()
        grace = asyncio.ensure_future(self.server.clock.sleep(self.server.settings.grace))
        try:
            await asyncio.wait([self._lost, grace], return_when=asyncio.FIRST_COMPLETED)
        finally:
            grace.cancel()
            if not self._lost.done():
                transport.abort()
