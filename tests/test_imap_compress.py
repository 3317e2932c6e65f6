"""COMPRESS DEFLATE on a connection: any cut of the octets, bounds on both sides, memory given back; UNAUTHENTICATE."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import replace

import pytest
from imap_support import Client, World, serving

from gateway.core.limits import DEFAULT_LIMITS
from gateway.imap.session import Session


class Compressed:
    """A client that has asked for compression, octet for octet in the test's hands."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pack = zlib.compressobj(wbits=-15)
        self._unpack = zlib.decompressobj(wbits=-15)
        self._plain = b""

    @classmethod
    async def begin(cls, world: World, mailbox: bytes = b"") -> Compressed:
        client = await world.login(mailbox) if mailbox else await world.login()
        assert (await client.command(b"COMPRESS DEFLATE"))[-1] == b"t OK DEFLATE active"
        return cls(client)

    def octets(self, text: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
        return self._pack.compress(text) + self._pack.flush(flush)

    def send(self, data: bytes) -> None:
        self._client.send(data)

    async def until(self, end: bytes) -> bytes:
        """Everything up to a line that begins with `end`."""
        while b"\r\n" + end not in b"\r\n" + self._plain or not self._plain.endswith(b"\r\n"):
            data = await asyncio.wait_for(self._client.reader.read(65536), 5)
            assert data, "closed"
            self._plain += self._unpack.decompress(data)
        plain, self._plain = self._plain, b""
        return plain

    @property
    def ended(self) -> bool:
        return self._unpack.eof


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_PARTIAL_FLUSH, zlib.Z_FULL_FLUSH])
async def test_a_command_byte_by_byte_however_it_is_flushed(flush: int) -> None:
    async with serving(messages=1) as world:
        client = await Compressed.begin(world, b"INBOX")
        for number in range(3):
            for octet in client.octets(b"a%d FETCH 1 UID\r\n" % number, flush):
                client.send(bytes([octet]))
                await world.rest()
            answer = await client.until(b"a%d" % number)
            assert answer == b"* 1 FETCH (UID 1)\r\na%d OK FETCH completed\r\n" % number


async def test_large_answers_arrive_whole() -> None:
    async with serving() as world:
        body = b"Subject: big\r\n\r\n" + bytes(range(256)).replace(b"\0", b"") * 3000
        world.inbox.add(body)
        client = await Compressed.begin(world, b"INBOX")
        client.send(client.octets(b"a FETCH 1 BODY.PEEK[]\r\n"))
        answer = await client.until(b"a OK")
        assert answer == b"* 1 FETCH (BODY[] {%d}\r\n%b)\r\na OK FETCH completed\r\n" % (len(body), body)


async def test_a_bomb_is_not_unpacked_while_a_command_runs() -> None:
    """128 MB of NOOPs in 200 kB: neither read nor inflated beyond what is asked for."""
    async with serving(messages=1) as world:
        client = await Compressed.begin(world, b"INBOX")
        gate = world.alice.gates["search"] = asyncio.Event()
        client.send(client.octets(b"a SEARCH ALL\r\n"))
        await world.rest()
        (connection,) = world.server._connections
        client.send(client.octets(b"b NOOP\r\n" * 16_000_000))
        for _ in range(20):
            await world.rest()
        assert connection.framer.buffered + connection._unread < 1_000_000
        gate.set()
        await client.until(b"a OK")
        client._client.writer.transport.abort()


async def test_places_are_given_back_when_connections_end() -> None:
    async with serving(replace(DEFAULT_LIMITS, compressed_connections=1)) as world:
        for _ in range(3):
            client = await Compressed.begin(world)
            other = await world.login()
            assert (await other.command(b"COMPRESS DEFLATE"))[-1].startswith(b"t NO [LIMIT]")
            await client._client.close()
            await other.close()
            await world.rest()
        assert not world.server.context.census.held


async def test_an_idle_time_out_is_told_compressed() -> None:
    async with serving() as world:
        client = await Compressed.begin(world)
        await world.advance(DEFAULT_LIMITS.idle_timeout + 1)
        assert await client.until(b"* BYE") == b"* BYE Idle for too long\r\n"


@pytest.mark.parametrize("last", [zlib.Z_SYNC_FLUSH, zlib.Z_FINISH])
async def test_unauthenticate_ends_compression_amid_what_was_sent_at_once(last: int) -> None:
    """RFC 8437 section 3: the next login may be pipelined; section 4.1: it is plain."""
    async with serving() as world:
        client = await Compressed.begin(world)
        plain = b"b LOGIN alice@example.com demo\r\nc NOOP\r\n"
        client.send(client.octets(b"a UNAUTHENTICATE\r\n", last) + plain)
        assert await client.until(b"a OK") == b"a OK UNAUTHENTICATE completed\r\n"
        rest = client._unpack.unused_data
        while b"\r\nc OK" not in rest:
            rest += await asyncio.wait_for(client._client.reader.read(1000), 5)
            if not client.ended:
                client._unpack.decompress(rest)
                rest = client._unpack.unused_data
        assert client.ended and rest.startswith(b"b OK ")
        assert not world.server.context.census.held["compressed"]


async def test_unauthenticate_forgets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a session learns about its user is in `vars`; what may stay is named here."""
    sessions: list[Session] = []
    run = Session.run

    async def watched(self: Session) -> None:
        sessions.append(self)
        await run(self)

    monkeypatch.setattr(Session, "run", watched)
    stays = {"channel", "context", "out", "number", "failed_logins", "_ahead", "_heartbeat", "_bad_streak"}
    async with serving(messages=2) as world:
        client = await world.connect()
        fresh = {key: repr(value) for key, value in vars(sessions[0]).items() if key not in stays}
        await client.command(b"LOGIN alice@example.com demo")
        await client.command(b"ENABLE CONDSTORE UTF8=ACCEPT METADATA")
        await client.command(b"SELECT INBOX")
        await client.command(b"FETCH 1:2 FLAGS")
        client.send(b"x STATUS INBOX (MESSAGES)\r\ny UNAUTHENTICATE\r\n")
        await client.until(b"y")
        after = {key: repr(value) for key, value in vars(sessions[0]).items() if key not in stays}
        assert after == fresh
        assert world.server.context.census.held.keys() == {"everyone", "address 127.0.0.1"}
