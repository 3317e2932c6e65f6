"""One TCP connection: octets in both directions, TLS, time-outs, and the task that runs its session.

Bounded on both sides: what the peer sends ahead stops being read at `READ_AHEAD`, what it does not take
stops the session in `drained`. Nothing here knows a command.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import structlog

from gateway.imap.context import Context, Farewell, Gone
from gateway.imap.session import Session
from gateway.wire.deflate import CorruptError, Deflate
from gateway.wire.framer import Event, Framer

if TYPE_CHECKING:
    from gateway.imap.server import ImapServer

log = structlog.get_logger("gateway.imap")

READ_AHEAD = 128 * 1024  # octets buffered beyond the running command before the socket is no longer read
INFLATE = 64 * 1024  # octets taken out of compressed input at a time
HANDSHAKE = 30.0  # seconds a TLS handshake may take


class Connection(asyncio.Protocol):
    """`imap.context.Channel` over a transport. The server creates one per accepted socket."""

    def __init__(self, server: ImapServer) -> None:
        self.peer = ""
        self.secure = False
        self._authenticated = False
        self.framer = Framer(server.context.limits)
        self.silent_since = 0.0
        self.task: asyncio.Task[None] | None = None
        self._server = server
        self._context: Context = server.context
        self._transport: asyncio.Transport | None = None
        self._deflate: Deflate | None = None  # set while the connection is compressed
        self._farewell: Farewell | None = None
        self._reading = True
        self._eof = False
        self._lost = asyncio.get_running_loop().create_future()
        self._ended = asyncio.get_running_loop().create_future()  # the peer sends nothing more
        self._input: asyncio.Future[None] | None = None  # set while the session waits for octets
        self._room: asyncio.Future[None] | None = None  # set while the peer is slow
        self._waits: list[float] = []  # since when the session waits for the peer: input, room, or both
        self._began = self._now()  # the time to log in
        self._watcher: asyncio.Task[None] | None = None

    # -- asyncio.Protocol --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.secure = transport.get_extra_info("ssl_object") is not None
        address = transport.get_extra_info("peername")
        self.peer = str(address[0]) if address else ""
        self.silent_since = self._now()
        self.task = asyncio.ensure_future(self._live())

    def data_received(self, data: bytes) -> None:
        self._context.counters.octets_in += len(data)
        (self._deflate or self.framer).feed(data)
        if self._unread > READ_AHEAD:
            self._read(False)
        self._wake()

    def eof_received(self) -> bool:
        """What came before the end is still executed and answered; TLS has no half-closed state."""
        self._eof = True
        self._end()
        self._wake()
        return not self.secure

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(None)
        self._end()
        self._wake()
        self.resume_writing()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    # -- Channel --

    @property
    def authenticated(self) -> bool:
        return self._authenticated

    @authenticated.setter
    def authenticated(self, now: bool) -> None:
        """Whoever logs out has the full time for the next login."""
        if self._authenticated and not now:
            self._began = self._now()
            self._watch_anew()
        self._authenticated = now

    async def next_event(self) -> Event:
        while True:
            if self._farewell is not None:
                raise self._farewell
            if (event := self.framer.next_event()) is not None:
                return event
            if self._inflate():
                await asyncio.sleep(0)  # a little input may be a great deal of work
                continue
            if self._eof or self._lost.done():
                raise Gone
            self._read(True)
            self._input = asyncio.get_running_loop().create_future()
            await self._wait(self._input)

    def ready_event(self) -> Event | None:
        event = self.framer.next_event()
        return self.framer.next_event() if event is None and self._inflate() else event

    def send(self, data: bytes) -> None:
        if self._transport is None or self._lost.done():
            return
        if self._deflate is not None:
            data = self._deflate.pack(data)
        self._context.counters.octets_out += len(data)
        self.silent_since = self._now()
        self._transport.write(data)

    async def drained(self) -> None:
        if self._room is not None:
            await self._wait(asyncio.shield(self._room))
            if self._farewell is not None:
                raise Gone  # a peer that takes nothing would not take a farewell, either
        if self._lost.done():
            raise Gone

    async def lost(self) -> None:
        await asyncio.shield(self._lost)

    async def ended(self) -> None:
        await asyncio.shield(self._ended)

    @property
    def compressed(self) -> bool:
        return self._deflate is not None

    def compress(self) -> None:
        self._deflate = Deflate()
        self._deflate.feed(self.framer.withdraw())

    def stop_compression(self) -> None:
        deflate, self._deflate = self._deflate, None
        if deflate is not None:
            self.send(deflate.last())
            self.framer.feed(deflate.rest())

    async def start_tls(self) -> None:
        """No await between the framer's reset and the loop's start_tls, which stops reading at once: every
        octet is read either before, and is forgotten, or by TLS."""
        if self._context.tls is None or self._transport is None:
            raise AssertionError("STARTTLS without a certificate")
        self.framer.reset()
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(
                self._transport, self, self._context.tls, server_side=True, ssl_handshake_timeout=HANDSHAKE
            )
        except OSError:
            raise Gone from None
        if transport is None:
            raise Gone
        self._transport = transport
        self._reading = True
        self.secure = True

    # -- time --

    def say_farewell(self, farewell: Farewell) -> None:
        """End the session with BYE as soon as it waits for the peer."""
        self._farewell = farewell
        self._wake()
        if self._waits:
            self.resume_writing()

    async def _watch(self) -> None:
        """Sleeps until the time-out could be over, looks again: nothing to do per command."""
        while True:
            left = self._deadline() - self._now()
            if left <= 0:
                self.say_farewell(Farewell("Idle for too long" if self.authenticated else "Log in faster"))
                return
            await self._context.clock.sleep(left)

    def _watch_anew(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
        self._watcher = asyncio.ensure_future(self._watch())

    def _deadline(self) -> float:
        """A running command has no deadline; it is looked at again after a full pause."""
        limits = self._context.limits
        if not self._waits:
            return self._now() + (limits.idle_timeout if self.authenticated else limits.login_timeout)
        if self.authenticated:
            return min(self._waits) + limits.idle_timeout
        return self._began + limits.login_timeout

    def _now(self) -> float:
        return self._context.clock.monotonic()

    # -- inside --

    async def _live(self) -> None:
        refusal = self._server.admit(self)
        if refusal is not None:
            self.send(b"* BYE %b\r\n" % refusal.encode())
            await self._close()
            return
        self._watch_anew()
        try:
            await Session(self, self._context).run()
        except Exception as error:
            log.error("imap.session", error=type(error).__name__)
        finally:
            if self._watcher is not None:
                self._watcher.cancel()
            self._server.dismiss(self)
            await self._close()

    async def _close(self) -> None:
        """Let the peer take the last words, and do not wait for ever for that."""
        if self._transport is None:
            return
        self._transport.close()
        grace = asyncio.ensure_future(self._context.clock.sleep(self._context.settings.grace))
        try:
            await asyncio.wait([self._lost, grace], return_when=asyncio.FIRST_COMPLETED)
        finally:
            grace.cancel()
            if not self._lost.done():
                self._transport.abort()

    async def _wait(self, future: asyncio.Future[None]) -> None:
        since = self._now()
        self._waits.append(since)
        try:
            await future
        finally:
            self._waits.remove(since)

    def _wake(self) -> None:
        waiting, self._input = self._input, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    @property
    def _unread(self) -> int:
        """Octets that have come ahead of what the session asked for."""
        return self.framer.buffered + (self._deflate.pending if self._deflate is not None else 0)

    def _inflate(self) -> bool:
        """Give the framer the next piece of compressed input; False if there is none. Farewell: it is broken."""
        if self._deflate is None:
            return False
        try:
            plain = self._deflate.read(INFLATE)
        except CorruptError:
            raise Farewell("Compressed input is broken") from None
        self.framer.feed(plain)
        return bool(plain)

    def _read(self, on: bool) -> None:
        if self._transport is None or self._reading is on or self._transport.is_closing():
            return
        self._reading = on
        if on:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()
