"""Listeners, caps and the orderly end: `gateway.smtp.server`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from fakes import VirtualClock
from smtp_support import PLAIN, serving

from gateway.core.limits import DEFAULT_LIMITS


async def test_connections_per_address_are_capped_and_given_back() -> None:
    async with serving(replace(DEFAULT_LIMITS, connections_per_address=2)) as world:
        first, _second = await world.connect(), await world.connect()
        third = await world.connect(greeting=False)
        assert await third.reply() == "421 4.7.0 Too many connections from your address"
        assert await third.ended()
        await first.command(b"QUIT")
        await world.rest()
        assert await world.connect()
        assert world.server.counters.refused == 1
        world.abandon()
        await world.rest()
        assert not world.server._addresses, "an address that left is forgotten"


async def test_connections_of_the_process_are_capped() -> None:
    async with serving(replace(DEFAULT_LIMITS, connections=1)) as world:
        _first = await world.connect()
        second = await world.connect(greeting=False)
        assert await second.reply() == "421 4.7.0 Too many connections"


async def test_connections_of_a_user_are_capped_and_given_back() -> None:
    async with serving(replace(DEFAULT_LIMITS, connections_per_user=1)) as world:
        first, second = await world.connect(), await world.connect()
        await first.login()
        await second.command(b"EHLO client.example.com")
        assert await second.command(b"AUTH PLAIN " + PLAIN) == "421 4.7.0 Too many connections of this user"
        await first.command(b"QUIT")
        await world.rest()
        third = await world.connect()
        await third.login()


async def test_several_ports_share_one_server() -> None:
    async with serving(tls=True) as world:
        context = world.server.tls
        assert context is not None
        plain = world.port
        world.port = await world.server.start("127.0.0.1", 0, context, implicit=True)
        over_tls = await world.connect(world.client_tls)
        world.port = plain
        both = [over_tls, await world.connect()]
        for client in both:
            await client.login()
            assert (await client.mail(b"x")).startswith("250 ")
        assert world.server.open_connections == 2


async def test_many_senders_at_once() -> None:
    async with serving() as world:

        async def one() -> str:
            client = await world.session()
            return await client.mail(b"x" * 10_000)

        replies = await asyncio.gather(*(one() for _ in range(100)))
        assert all(reply.startswith("250 ") for reply in replies)
        assert len(world.account.sent) == 100


async def test_at_the_end_idle_sessions_hear_421() -> None:
    async with serving() as world:
        client = await world.session()
        stopping = asyncio.ensure_future(world.server.stop())
        assert (await client.reply()).startswith("421 4.3.2")
        assert await client.ended()
        await stopping


async def test_at_the_end_a_running_submission_is_finished_first() -> None:
    async with serving() as world:
        world.account.gate = asyncio.Event()
        client = await world.session()
        await client.open_transaction()
        await client.send(b"x\r\n.\r\n")
        await world.rest()
        stopping = asyncio.ensure_future(world.server.stop())
        await world.rest()
        assert not stopping.done()
        world.account.gate.set()
        assert (await client.reply()).startswith("250 ")
        assert (await client.reply()).startswith("421 4.3.2")
        await stopping


async def test_the_end_does_not_wait_for_ever() -> None:
    async with serving() as world:
        assert isinstance(world.clock, VirtualClock)
        world.account.gate = asyncio.Event()
        client = await world.session()
        await client.open_transaction()
        await client.send(b"x\r\n.\r\n")
        await world.rest()
        stopping = asyncio.ensure_future(world.server.stop())
        await world.pass_time(5.1)
        assert await client.ended()
        await stopping


async def test_new_connections_at_the_end_are_refused() -> None:
    async with serving() as world:
        await world.server.stop()
        try:
            client = await world.connect(greeting=False)
        except OSError:
            return
        assert await client.reply() in ("", "421 4.3.2 Server is shutting down")
