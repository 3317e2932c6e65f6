"""TLS, time-outs, junk and errors of one connection: `gateway.smtp.connection`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smtp_support import PLAIN, QUICK, SETTINGS, Client, World, serving

from gateway.core.limits import DEFAULT_LIMITS


async def secured(client: Client, world: World) -> Client:
    assert await client.command(b"STARTTLS") == "220 2.0.0 Ready to start TLS"
    assert world.client_tls is not None
    await client.writer.start_tls(world.client_tls, server_hostname="localhost")
    return client


async def test_starttls_then_everything() -> None:
    async with serving(settings=replace(SETTINGS, allow_plaintext=False), tls=True) as world:
        client = await world.connect()
        await client.command(b"EHLO x")
        await secured(client, world)
        assert (await client.command(b"STARTTLS")).startswith("503 5.5.1")
        await client.login()
        assert (await client.mail(b"x" * 500_000)).startswith("250 ")
        assert len(world.account.sent[0][1]) == 500_002
        assert await client.command(b"QUIT") == "221 2.0.0 Bye"


async def test_tls_makes_the_session_new() -> None:
    """RFC 3207 section 4.2: neither the hello nor the login count."""
    async with serving(tls=True) as world:
        client = await world.session()
        await client.command(b"MAIL FROM:<a@b.c>")
        await secured(client, world)
        assert (await client.command(b"MAIL FROM:<a@b.c>")).startswith("503 5.5.1 Send EHLO")
        await client.command(b"EHLO x")
        assert (await client.command(b"MAIL FROM:<a@b.c>")).startswith("530 ")


@pytest.mark.parametrize("flood", [1, 5000])
async def test_octets_behind_starttls_are_forgotten(flood: int) -> None:
    """Command injection: what came in plain text is not executed under TLS."""
    async with serving(settings=SETTINGS, tls=True) as world:
        client = await world.connect()
        await client.command(b"EHLO x")
        await client.send(b"STARTTLS\r\n" + b"AUTH PLAIN " + PLAIN + b"\r\nMAIL FROM:<evil@b.c>\r\n" * flood)
        await world.rest()
        assert await client.reply() == "220 2.0.0 Ready to start TLS"
        if flood == 1:
            assert world.client_tls is not None
            await client.writer.start_tls(world.client_tls, server_hostname="localhost")
            assert (await client.command(b"EHLO x")).startswith("250 ")
            assert (await client.command(b"DATA")).startswith("530 ")
        await world.rest()
        assert world.server.counters.logins == 0


async def test_octets_read_ahead_of_starttls_are_forgotten() -> None:
    """They came while a message was on its way, so many that the socket was not read any more."""
    async with serving(tls=True) as world:
        world.account.gate = asyncio.Event()
        client = await world.session()
        await client.open_transaction()
        await client.send(b"x\r\n.\r\nSTARTTLS\r\n" + b"MAIL FROM:<evil@b.c>\r\n" * 3000)
        await world.rest()
        world.account.gate.set()
        assert (await client.reply()).startswith("250 ")
        assert (await client.reply()).startswith("220 ")
        assert world.client_tls is not None
        await client.writer.start_tls(world.client_tls, server_hostname="localhost")
        assert (await client.command(b"NOOP")).startswith("250 ")
        assert (await client.command(b"EHLO x")).startswith("250 ")


async def test_a_handshake_that_fails_costs_only_its_connection() -> None:
    async with serving(tls=True) as world:
        client, other = await world.connect(), await world.session()
        await client.command(b"EHLO x")
        await client.command(b"STARTTLS")
        await client.send(b"this is not TLS\r\n" * 10)
        assert b"220" not in await asyncio.wait_for(client.reader.read(), 10)
        assert (await other.mail(b"x")).startswith("250 ")


async def test_implicit_tls() -> None:
    async with serving(settings=replace(SETTINGS, allow_plaintext=False), tls=True, implicit=True) as world:
        client = await world.connect(world.client_tls)
        await client.login()
        assert (await client.command(b"STARTTLS")).startswith("503 5.5.1")
        assert (await client.mail(b"x")).startswith("250 ")
        plain = await world.connect(greeting=False)
        await plain.send(b"EHLO x\r\n")
        assert not (await asyncio.wait_for(plain.reader.read(), 10)).startswith(b"220")


# -- time --


async def test_who_does_not_log_in_in_time_has_to_go() -> None:
    async with serving() as world:
        client = await world.connect()
        for _ in range(3):
            await world.pass_time(DEFAULT_LIMITS.login_timeout / 4)
            await client.command(b"NOOP")
        await world.pass_time(DEFAULT_LIMITS.login_timeout / 4 + 1)
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.ended()


async def test_a_command_time_out() -> None:
    """RFC 5321 section 4.5.3.2.7: at least five minutes."""
    async with serving() as world:
        client = await world.session()
        await world.pass_time(200)
        await client.command(b"NOOP")
        await world.pass_time(299)
        assert (await client.command(b"NOOP")).startswith("250 ")
        await world.pass_time(301)
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.ended()


async def test_a_time_out_in_data_delivers_nothing() -> None:
    async with serving() as world:
        client = await world.session()
        await client.open_transaction()
        await client.send(b"half")
        await world.pass_time(301)
        assert (await client.reply()).startswith("421 4.4.2")
        assert world.account.sent == [] and world.account.spools[0].closed


async def test_a_message_that_only_trickles_ends_as_well() -> None:
    async with serving(settings=replace(SETTINGS, data_timeout=1000.0)) as world:
        client = await world.session()
        await client.open_transaction()
        for _ in range(4):
            await client.send(b"x")
            await world.pass_time(240)
        assert world.server.open_connections == 1
        await client.send(b"x")
        await world.pass_time(240)
        assert (await client.reply()).startswith("421 4.4.2")


async def test_a_slow_submission_has_no_time_out_here() -> None:
    async with serving() as world:
        world.account.gate = asyncio.Event()
        client = await world.session()
        await client.open_transaction()
        await client.send(b"x\r\n.\r\n")
        for _ in range(4):
            await world.pass_time(299)
        world.account.gate.set()
        assert (await client.reply()).startswith("250 ")


async def test_who_takes_no_replies_is_cut_off() -> None:
    async with serving() as world:
        client = await world.session()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(15):
            client.writer.write(b"HELP\r\n" * 20_000)
            await world.rest()
        assert world.server.counters.replies[214] < 300_000, "it stopped before it had answered everything"
        await world.pass_time(301)
        await world.rest()
        assert world.server.open_connections == 0


# -- errors and junk --


async def test_too_many_errors_in_a_row_end_the_connection() -> None:
    async with serving(replace(DEFAULT_LIMITS, bad_commands=3)) as world:
        client = await world.connect()
        for _ in range(5):
            assert (await client.command(b"JUNK")).startswith("500 5.5.2")
            assert (await client.command(b"EXPN x")).startswith("502 ")
            assert (await client.command(b"NOOP")).startswith("250 ")
        assert (await client.command(b"JUNK")).startswith("500 ")
        assert (await client.command(b"JUNK")).startswith("500 ")
        assert (await client.command(b"JUNK")).startswith("500 ")
        assert (await client.reply()).startswith("421 4.7.0 Too many errors")
        assert await client.ended()


async def test_a_line_that_never_ends() -> None:
    async with serving(replace(DEFAULT_LIMITS, command_total=100_000)) as world:
        client = await world.session()
        await client.send(b"x" * 200_000)
        assert (await client.reply()).startswith("421 4.7.0")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from([b"\r\n", b"DATA\r\n", b"AUTH LOGIN\r\n", b"EHLO x\r\n", b"."]),
        max_size=8,
    )
)
def test_any_octets_leave_the_server_standing(junk: list[bytes]) -> None:
    """Every reply is well formed, and others notice nothing."""

    async def run() -> None:
        async with serving(QUICK, real_time=True) as world:
            client, other = await world.connect(), await world.session()
            await client.send(b"".join(junk) + b"\r\nQUIT\r\n*\r\nQUIT\r\n")
            client.writer.write_eof()
            while await client.reply():
                pass
            assert (await other.mail(b"x")).startswith("250 ")
            assert len(world.account.sent) == 1

    asyncio.run(run())


async def test_a_half_closed_connection_gets_its_answers() -> None:
    """`printf ... | nc -N`."""
    async with serving() as world:
        world.account.gate = asyncio.Event()
        client = await world.session()
        await client.open_transaction()
        await client.send(b"hello\r\n.\r\nQUIT\r\n")
        client.writer.write_eof()
        await world.rest()
        world.account.gate.set()
        assert (await client.reply()).startswith("250 ")
        assert (await client.reply()).startswith("221 ")
        assert len(world.account.sent) == 1


async def test_commands_octet_by_octet() -> None:
    async with serving() as world:
        client = await world.session()
        for octet in b"MAIL FROM:<a@b.c>\r\n":
            await client.send(bytes([octet]))
            await asyncio.sleep(0)
        assert (await client.reply()).startswith("250 2.1.0")
