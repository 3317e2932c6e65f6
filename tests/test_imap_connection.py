"""Connections: caps, time-outs, TLS, backpressure, an orderly end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from golden.options import certificates
from imap_support import Client, serving

from gateway.core.limits import DEFAULT_LIMITS


async def test_connections_per_address_are_capped_and_given_back() -> None:
    async with serving(replace(DEFAULT_LIMITS, connections_per_address=2)) as world:
        first, _second = await world.connect(), await world.connect()
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        assert await reader.read() == b"* BYE Too many connections from your address\r\n"
        writer.close()
        await first.command(b"LOGOUT")
        await world.rest()
        third = await world.connect()
        assert (await third.command(b"NOOP"))[-1].startswith(b"t OK")
        assert world.server.counters.refused == 1


async def test_connections_of_the_process_are_capped() -> None:
    async with serving(replace(DEFAULT_LIMITS, connections=1)) as world:
        _first = await world.connect()
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        assert await reader.read() == b"* BYE Too many connections\r\n"
        writer.close()


async def test_connections_per_user_are_capped_and_given_back() -> None:
    async with serving(replace(DEFAULT_LIMITS, connections_per_user=1)) as world:
        first = await world.login()
        second = await world.connect()
        assert (await second.command(b"LOGIN alice@example.com demo"))[-1].startswith(b"t NO [LIMIT]")
        assert (await second.command(b"LOGIN bob@example.com demo"))[-1].startswith(b"t OK")
        await first.command(b"LOGOUT")
        await world.rest()
        assert await world.login()


async def test_implicit_tls_offers_login_and_no_starttls() -> None:
    server_tls, client_tls = certificates()
    async with serving(tls=server_tls, implicit=True) as world:
        client = await world.connect(client_tls)
        answers = await client.command(b"CAPABILITY")
        assert b"AUTH=PLAIN" in answers[0] and b"STARTTLS" not in answers[0]
        assert (await client.command(b"LOGIN alice@example.com demo"))[-1].startswith(b"t OK")
        await client.command(b"LOGOUT")
        assert await client.response() == b""


async def test_octets_behind_starttls_are_forgotten() -> None:
    """Command injection: what came in plain text is not executed under TLS (RFC 9051 section 11.3)."""
    server_tls, client_tls = certificates()
    async with serving(tls=server_tls) as world:
        client = await world.connect()
        client.send(b"a STARTTLS\r\n")
        assert await client.response() == b"a OK Begin TLS negotiation now"
        await client.writer.start_tls(client_tls, server_hostname="localhost")
        assert (await client.command(b"LOGIN alice@example.com demo"))[-1].startswith(b"t OK")

        injected = await world.connect()
        injected.send(b"a STARTTLS\r\nb LOGIN alice@example.com demo\r\nc LOGOUT\r\n")
        assert await injected.response() == b"a OK Begin TLS negotiation now"
        await injected.writer.start_tls(client_tls, server_hostname="localhost")
        assert await injected.command(b"SELECT INBOX") == [b"t BAD Log in first"]
        assert world.server.counters.logins == 1


async def test_a_failed_handshake_ends_only_its_own_connection() -> None:
    server_tls, _ = certificates()
    async with serving(tls=server_tls) as world:
        other = await world.connect()
        client = await world.connect()
        await client.command(b"STARTTLS")
        client.send(b"this is no handshake\r\n" * 10)
        await asyncio.wait_for(client.reader.read(), 5)
        await world.rest()
        assert (await other.command(b"NOOP"))[-1] == b"t OK NOOP completed"
        assert world.server.open_connections == 1


async def test_what_is_sent_ahead_is_not_read_without_bound() -> None:
    """While a command runs, the kernel's buffers hold the client back, not our memory."""
    async with serving(messages=1) as world:
        client = await world.login(b"INBOX")
        gate = world.alice.gates["search"] = asyncio.Event()
        client.send(b"a SEARCH ALL\r\n")
        await world.rest()
        before = world.server.counters.octets_in
        client.send(b"b NOOP\r\n" * 300_000)
        await world.rest()
        assert world.server.counters.octets_in - before < 1_000_000
        gate.set()
        assert (await client.until(b"a"))[-1] == b"a OK SEARCH completed"
        client.writer.transport.abort()


async def test_what_the_peer_does_not_take_stops_the_session() -> None:
    async with serving() as world:
        for _ in range(200):
            world.inbox.add(b"\r\n" + b"x" * 1_000_000)
        client = await world.login(b"INBOX")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"a FETCH 1:* BODY.PEEK[]\r\n")
        for _ in range(20):
            await world.rest()
        sent = world.server.counters.octets_out
        await world.rest()
        assert sent == world.server.counters.octets_out < 50_000_000
        client.writer.transport.abort()


async def test_a_peer_that_takes_nothing_for_the_idle_time_is_cut_off() -> None:
    async with serving() as world:
        for _ in range(50):
            world.inbox.add(b"\r\n" + b"x" * 1_000_000)
        client = await world.login(b"INBOX")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"a FETCH 1:* BODY.PEEK[]\r\n")
        for _ in range(10):
            await world.rest()
        for _ in range(3):
            await world.advance(DEFAULT_LIMITS.idle_timeout)
        await world.advance(60)
        assert world.server.open_connections == 0


async def test_idle_is_ended_after_half_an_hour_with_bye() -> None:
    async with serving(messages=1) as world:
        client = await world.login(b"INBOX")
        client.send(b"a IDLE\r\n")
        assert await client.response() == b"+ idling"
        await world.advance(DEFAULT_LIMITS.idle_timeout - 1)
        await world.advance(1)
        heard = (await asyncio.wait_for(client.reader.read(), 5)).splitlines()
        assert heard[-1] == b"* BYE Idle for too long"
        assert set(heard[:-1]) == {b"* OK Still here"}


async def test_a_running_command_is_not_timed_out() -> None:
    async with serving(messages=1) as world:
        client = await world.login(b"INBOX")
        gate = world.alice.gates["search"] = asyncio.Event()
        client.send(b"a SEARCH ALL\r\n")
        await world.advance(3 * DEFAULT_LIMITS.idle_timeout)
        gate.set()
        assert (await client.until(b"a"))[-1] == b"a OK SEARCH completed"


async def test_stop_says_bye_to_the_idle_and_lets_the_busy_finish() -> None:
    async with serving(messages=1) as world:
        idle, busy, waiting = (
            await world.login(),
            await world.login(b"INBOX"),
            await world.login(b"INBOX"),
        )
        waiting.send(b"a IDLE\r\n")
        await waiting.response()
        gate = world.alice.gates["search"] = asyncio.Event()
        busy.send(b"a SEARCH ALL\r\nb NOOP\r\n")
        await world.rest()
        stopping = asyncio.ensure_future(world.server.stop())
        await world.rest()
        for client in (idle, waiting):
            assert await client.response() == b"* BYE Server is shutting down"
        gate.set()
        assert await busy.response() == b"* SEARCH 1"
        assert await busy.response() == b"a OK SEARCH completed"
        assert await busy.response() == b"* BYE Server is shutting down"
        await asyncio.wait_for(stopping, 5)
        assert world.server.open_connections == 0


async def test_stop_does_not_wait_for_ever() -> None:
    async with serving(messages=1) as world:
        busy = await world.login(b"INBOX")
        world.alice.gates["search"] = asyncio.Event()
        busy.send(b"a SEARCH ALL\r\n")
        await world.rest()
        stopping = asyncio.ensure_future(world.server.stop())
        for _ in range(12):
            await world.advance(1)
        await asyncio.wait_for(stopping, 5)
        assert await busy.response() == b"* BYE Server is shutting down"


async def test_octets_one_by_one() -> None:
    async with serving(messages=1) as world:
        client: Client = await world.login(b"INBOX")
        for octet in b"a FETCH 1 (UID FLAGS)\r\nb NOOP\r\n":
            client.send(bytes([octet]))
            await asyncio.sleep(0)
        answers = await client.until(b"b")
        assert answers[0] == b"* 1 FETCH (UID 1 FLAGS (\\Recent))"
