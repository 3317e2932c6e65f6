"""What clients may ask for beside the message, over a socket: DSN, FUTURERELEASE, LIMITS, REQUIRETLS, PIPELINING."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smtp_support import QUICK, SETTINGS, Client, serving
from structlog.testing import capture_logs

from gateway.core.limits import DEFAULT_LIMITS
from gateway.mailbox.values import Asked, Dsn, Envelope

ALICE, BOB, CAROL = "alice@example.com", "bob@example.com", "carol@example.com"
HOLDING = replace(SETTINGS, longest_hold=86_400)


async def sent(client: Client, mail: bytes = b"", *rcpts: bytes) -> None:
    """A message with these parameters of MAIL and these recipients."""
    assert (await client.command(b"MAIL FROM:<alice@example.com>" + mail)).startswith("250 ")
    for rcpt in rcpts or (b"<bob@example.com>",):
        assert (await client.command(b"RCPT TO:" + rcpt)).startswith("250 ")
    await client.command(b"DATA")
    assert (await client.command(b"x\r\n.")).startswith("250 ")


# -- DSN, RFC 3461 --


async def test_what_is_asked_goes_with_the_envelope() -> None:
    async with serving() as world:
        client = await world.session()
        await sent(
            client, b" RET=HDRS ENVID=QQ+20314", b"<bob@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob@example.com",
            b"<carol@example.com> NOTIFY=NEVER", b"<dave@example.com>",
        )  # fmt: skip
        (envelope,) = [envelope for envelope, _ in world.account.sent]
        bob, carol = Asked(frozenset({"SUCCESS", "DELAY"}), "rfc822;Bob@example.com"), Asked(frozenset())
        assert envelope == Envelope(
            ALICE, (BOB, CAROL, "dave@example.com"), Dsn("HDRS", "QQ 314", ((BOB, bob), (CAROL, carol)))
        )
        assert [envelope.dsn.of(recipient).wants("FAILURE") for recipient in envelope.recipients] == [
            False,
            False,
            True,
        ]
        assert msgspec.json.decode(msgspec.json.encode(envelope), type=Envelope) == envelope, (
            "a queue can keep it"
        )


async def test_the_last_word_on_a_recipient_counts() -> None:
    async with serving() as world:
        client = await world.session()
        await sent(client, b"", b"<Bob@example.com> NOTIFY=SUCCESS", b"<bob@EXAMPLE.com> NOTIFY=NEVER")
        envelope = world.account.sent[0][0]
        assert envelope.recipients == ("Bob@example.com",)
        assert envelope.dsn.asked == (("Bob@example.com", Asked(frozenset())),)


async def test_nothing_of_it_is_left_for_the_next_message() -> None:
    async with serving() as world:
        client = await world.session()
        await sent(client, b" RET=FULL ENVID=1", b"<bob@example.com> NOTIFY=NEVER")
        await sent(client)
        assert world.account.sent[1][0] == Envelope(ALICE, (BOB,))


@pytest.mark.parametrize(
    "line", [b"MAIL FROM:<a@b.c> RET=ALL", b"MAIL FROM:<a@b.c> ENVID=", b"MAIL FROM:<a@b.c> NOTIFY=NEVER"]
)
async def test_mail_with_what_is_none(line: bytes) -> None:
    async with serving() as world:
        client = await world.session()
        assert (await client.command(line))[:9] in ("501 5.5.4", "555 5.5.4")
        await sent(client)


async def test_rcpt_with_what_is_none_adds_nobody() -> None:
    async with serving() as world:
        client = await world.session()
        await client.command(b"MAIL FROM:<alice@example.com>")
        assert (await client.command(b"RCPT TO:<eve@example.com> NOTIFY=NEVER,SUCCESS")).startswith(
            "501 5.5.4"
        )
        assert (await client.command(b"RCPT TO:<eve@example.com> RET=FULL")).startswith("555 5.5.4")
        await client.command(b"RCPT TO:<bob@example.com>")
        await client.command(b"DATA")
        await client.command(b".")
        assert world.account.sent[0][0].recipients == (BOB,)


async def test_the_longest_commands_there_can_be() -> None:
    """RFC 3461 section 4: MAIL and RCPT are longer by what it adds."""
    async with serving() as world:
        client = await world.session()
        await sent(
            client, b" SIZE=1 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=" + b"x" * 100 + b" AUTH=" + b"y" * 400,
            b"<" + b"b" * 64 + b"@" + b"c" * 60 + b".example> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;" + b"z" * 500,
        )  # fmt: skip


# -- FUTURERELEASE, RFC 4865 --


async def test_a_message_is_held_where_that_is_allowed() -> None:
    async with serving(settings=HOLDING) as world:  # the virtual clock stands at 1,000,000 seconds
        client = await world.session()
        lines = (await client.command(b"EHLO x")).split("\n")
        assert "FUTURERELEASE 86400 1970-01-13T13:46:40Z" in lines
        await sent(client, b" HOLDFOR=3600")
        await sent(client, b" HOLDUNTIL=1970-01-12T14:00:00Z")
        await sent(client)
        assert [envelope.hold_until for envelope, _ in world.account.sent] == [1_003_600, 1_000_800, 0]
        assert (await client.command(b"MAIL FROM:<a@b.c> HOLDFOR=86401")).startswith("501 5.5.4")
        assert (
            await client.command(b"MAIL FROM:<a@b.c> HOLDFOR=1 HOLDUNTIL=1970-01-12T14:00:00Z")
        ).startswith("501 ")


async def test_nothing_is_held_where_it_is_not() -> None:
    async with serving() as world:
        client = await world.session()
        assert "FUTURERELEASE" not in await client.command(b"EHLO x")
        assert (await client.command(b"MAIL FROM:<a@b.c> HOLDFOR=1")).startswith("555 5.5.4")


# -- LIMITS, RFC 9422 --


async def test_limits_are_those_that_are_enforced() -> None:
    async with serving(replace(DEFAULT_LIMITS, transactions=3, recipients=2)) as world:
        client = await world.session()
        assert "LIMITS MAILMAX=3 RCPTMAX=2" in (await client.command(b"EHLO x")).split("\n")
        await sent(client)
        assert (await client.command(b"MAIL FROM:<nonsense>")).startswith("553 "), "counts as well"
        await sent(client)
        assert (await client.command(b"MAIL FROM:<a@b.c>")).startswith("421 4.5.3")
        assert await client.ended()
        assert world.account.heard_of == ["q1", "q2"]


async def test_two_hundred_senders_at_once() -> None:
    async with serving(QUICK) as world:

        async def one() -> str:
            client = await world.session()
            return (await client.mail(b"x" * 10_000))[:4]

        assert await asyncio.gather(*(one() for _ in range(200))) == ["250 "] * 200
        assert world.server.counters.refused == 0


# -- PIPELINING, RFC 2920 --

STEPS = [
    b"MAIL FROM:<alice@example.com>\r\n", b"RCPT TO:<bob@example.com>\r\n", b"RCPT TO:<nobody>\r\n", b"RSET\r\n",
    b"NOOP\r\n", b"DATA\r\nhi\r\n.\r\n", b"BDAT 4\r\nDATA", b"BDAT 6 LAST\r\nQUIT\r\n", b"BDAT 0 LAST\r\n",
    b"VRFY x\r\n", b"nonsense\r\n", b"EHLO y\r\n",
]  # fmt: skip


async def one_by_one(client: Client, step: bytes) -> tuple[list[str], bytes]:
    """The replies to a step, and what of it is to be sent: no text where DATA was refused."""
    line, end, rest = step.partition(b"\r\n")
    if not line.startswith(b"DATA"):
        await client.send(step)
        return [await client.reply()], step
    replies = [await client.command(line)]
    if not replies[0].startswith("354 "):
        return replies, line + end
    await client.send(rest)
    return [*replies, await client.reply()], step


async def check_pipelined(steps: list[bytes], places: list[int]) -> None:
    async with serving() as world:
        slow, quick = await world.session(), await world.session()
        told = [await one_by_one(slow, step) for step in steps]
        octets = b"".join(step for _, step in told)
        marks = sorted({0, len(octets), *(place % (len(octets) + 1) for place in places)})
        for start, end in pairwise(marks):
            await quick.send(octets[start:end])
        for replies, _ in told:
            for reply in replies:
                assert (await quick.reply())[:9] == reply[:9]
        texts = [text for _, text in world.account.sent]
        assert texts[len(texts) // 2 :] == texts[: len(texts) // 2]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=14), st.lists(st.integers(0, 400), max_size=12))
def test_however_it_is_cut_the_outcome_is_the_same(steps: list[bytes], places: list[int]) -> None:
    """Each command gets exactly one reply, in order, and what is a message is no command."""
    asyncio.run(check_pipelined(steps, places))


VERBS = [
    b"",
    b"MAIL FROM:",
    b"RCPT TO:",
    b"BDAT ",
    b"AUTH ",
    b"EHLO ",
    b"HELP ",
    b"VRFY ",
    b"NOOP ",
    b"DATA",
    b"STARTTLS",
]


async def check_junk(lines: list[tuple[bytes, bytes]]) -> None:
    async with serving(QUICK) as world:
        client = await world.session()
        with capture_logs() as logs:
            for verb, junk in lines:
                await client.send(verb + junk.replace(b"\n", b"") + b"\r\n")
            await client.send(b"\r\n.\r\n*\r\nQUIT\r\n")
            await world.rest()
        client.writer.write_eof()
        while await client.reply():
            pass
        assert {line["event"] for line in logs} <= {"smtp.submission"}, "each ends in a reply that was meant"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(VERBS), st.binary(max_size=60) | st.text(max_size=60).map(str.encode)),
        max_size=8,
    )
)
def test_junk_ends_in_replies_and_in_nothing_else(lines: list[tuple[bytes, bytes]]) -> None:
    asyncio.run(check_junk(lines))
