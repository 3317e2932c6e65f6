"""BDAT over a socket (RFC 3030): `gateway.smtp.mailing`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from smtp_support import Client, serving

from gateway.core.errors import Unavailable
from gateway.core.limits import DEFAULT_LIMITS

SMALL = replace(DEFAULT_LIMITS, message=100)
OPENING = b"MAIL FROM:<a@b.c>\r\nRCPT TO:<b@b.c>\r\n"


async def replies(client: Client, count: int) -> list[str]:
    return [(await client.reply())[:9] for _ in range(count)]


async def test_a_message_in_one_chunk() -> None:
    async with serving() as world:
        client = await world.session()
        await client.send(OPENING + b"BDAT 14 LAST\r\n..dots\r\n.\r\nx\r\nNOOP\r\n")
        assert await replies(client, 4) == ["250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0"]
        assert world.account.sent[0][1] == b"..dots\r\n.\r\nx\r\n"[:14]


async def test_chunks_pipelined_and_dribbled() -> None:
    async with serving() as world:
        client = await world.session()
        octets = (
            OPENING + b"BDAT 5\r\nhelloBDAT 0\r\nBDAT 3\r\n\r\n\r" + b"bdat 7   last\r\n\nQUIT\r\nNOOP\r\n"
        )
        for at in range(0, len(octets), 3):
            await client.send(octets[at : at + 3])
        assert await replies(client, 7) == ["250 2.1.0", "250 2.1.5", *["250 2.0.0"] * 5]
        assert world.account.sent[0][1] == b"hello\r\n\r\nQUIT\r\n"
        assert world.account.heard_of == ["q1"]


async def test_an_empty_last_chunk_ends_the_message() -> None:
    async with serving() as world:
        client = await world.session()
        await client.send(OPENING + b"BDAT 2\r\nhi")
        await replies(client, 3)
        assert world.account.sent == []
        assert (await client.command(b"BDAT 0 LAST")).startswith("250 2.0.0 Ok: queued as q1")
        assert world.account.sent[0][1] == b"hi"
        assert (await client.command(b"BDAT 0 LAST")).startswith("503 5.5.1"), (
            "behind LAST it is out of place"
        )


async def test_no_message_at_all() -> None:
    async with serving() as world:
        client = await world.session()
        await client.send(OPENING + b"BDAT 0 LAST\r\n")
        assert (await replies(client, 3))[-1] == "250 2.0.0"
        assert world.account.sent[0][1] == b""


@pytest.mark.parametrize("line", [b"DATA", b"MAIL FROM:<a@b.c>", b"RCPT TO:<a@b.c>", b"AUTH PLAIN"])
async def test_between_chunks_nothing_else_has_a_place(line: bytes) -> None:
    async with serving() as world:
        client = await world.session()
        await client.send(OPENING + b"BDAT 2\r\nhi")
        await replies(client, 3)
        assert (await client.command(line)).startswith("503 5.5.1")
        assert (await client.command(b"NOOP")).startswith("250 ")
        await client.send(b"BDAT 4 LAST\r\n you")
        assert (await client.reply()).startswith("250 ")
        assert world.account.sent[0][1] == b"hi you"


@pytest.mark.parametrize("reset", [b"RSET", b"EHLO x"])
async def test_a_reset_forgets_the_chunks(reset: bytes) -> None:
    async with serving() as world:
        client = await world.session()
        await client.send(OPENING + b"BDAT 5\r\nwrong" + reset + b"\r\n")
        await replies(client, 4)
        assert world.account.spools[0].closed
        await client.send(OPENING + b"BDAT 5 LAST\r\nright")
        assert (await replies(client, 3))[-1] == "250 2.0.0"
        assert [text for _, text in world.account.sent] == [b"right"]


async def test_over_the_limit_each_chunk_is_swallowed() -> None:
    """RFC 3030 section 2: a chunk is read before it is refused, and so are those pipelined behind it."""
    async with serving(SMALL) as world:
        client = await world.session()
        await client.send(
            OPENING + b"BDAT 90\r\n" + b"x" * 90 + b"BDAT 11\r\nQUIT\r\n.....BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"
        )
        assert await replies(client, 6) == [
            "250 2.1.0", "250 2.1.5", "250 2.0.0", "552 5.3.4", "503 5.5.1", "250 2.0.0",
        ]  # fmt: skip
        assert world.account.sent == [] and world.account.spools[0].closed
        assert world.server.counters.submissions[552] == 1


async def test_far_over_the_limit_the_connection_ends() -> None:
    async with serving(SMALL) as world:
        for opening in (OPENING, b""):
            client = await world.session()
            await client.send(opening + b"BDAT 201 LAST\r\nx")
            if opening:
                await replies(client, 2)
            assert (await client.reply()).startswith("552 5.3.4")
            assert await client.ended()


@pytest.mark.parametrize("opening", [b"", b"MAIL FROM:<a@b.c>\r\n", b"MAIL FROM:<a@b.c>\r\nRCPT TO:<x>\r\n"])
async def test_a_chunk_out_of_place_is_no_commands(opening: bytes) -> None:
    async with serving() as world:
        client = await world.session()
        await client.send(opening + b"BDAT 19 LAST\r\nMAIL FROM:<e@x.y>\r\nNOOP\r\n")
        await replies(client, opening.count(b"\n"))
        assert (await client.reply())[:9] == ("554 5.5.1" if opening else "503 5.5.1")
        assert await client.reply() == "250 2.0.0 OK"
        assert world.account.spools == []


async def test_a_chunk_before_the_login_is_no_commands() -> None:
    async with serving() as world:
        client = await world.connect()
        await client.command(b"EHLO x")
        await client.send(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
        assert await replies(client, 2) == ["530 5.7.0", "250 2.0.0"]


@pytest.mark.parametrize("argument", [b"", b"x", b"-1", b"5 FIRST", b"5LAST", b"1e3", b"5 LAST now"])
async def test_a_size_that_is_none_ends_the_connection(argument: bytes) -> None:
    """Nobody knows where the next command would begin."""
    async with serving() as world:
        client = await world.session()
        await client.send(OPENING + b"BDAT " + argument + b"\r\nMAIL FROM:<e@x.y>\r\n")
        await replies(client, 2)
        assert (await client.reply()).startswith("421 4.7.0")
        assert await client.ended()


async def test_binarymime_is_not_offered() -> None:
    async with serving() as world:
        client = await world.session()
        assert (await client.command(b"MAIL FROM:<a@b.c> BODY=BINARYMIME")).startswith("501 5.5.4")


async def test_no_room_for_a_chunk() -> None:
    async with serving() as world:
        world.account.spool_fault = Unavailable("No room for the message, try again later")
        client = await world.session()
        await client.send(OPENING + b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
        assert (await replies(client, 5))[2:] == ["451 4.3.0", "503 5.5.1", "250 2.0.0"]


async def test_a_connection_lost_between_chunks_leaves_nothing() -> None:
    async with serving() as world:
        client = await world.session()
        await client.send(OPENING + b"BDAT 5\r\nhello")
        await replies(client, 3)
        client.close()
        await world.rest()
        assert world.account.sent == [] and world.account.spools[0].closed


async def test_chunks_that_never_end_run_out_of_time() -> None:
    async with serving() as world:
        client = await world.session()
        await client.send(OPENING + b"BDAT 5\r\nhello")
        await replies(client, 3)
        for _ in range(12):
            await world.pass_time(299.0)
            assert (await client.command(b"NOOP")).startswith("250 ")
        await world.pass_time(299.0)
        assert (await client.reply()).startswith("421 4.4.2")
        assert world.account.spools[0].closed
