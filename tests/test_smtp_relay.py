"""Devices that send through a relay port, over a socket: `gateway.smtp.door`, `gateway.smtp.rewriting`."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from fakes import FakeAccounts
from smtp_support import SETTINGS, Client, Sender, World, serving

from gateway.core.errors import AuthenticationFailed, SubmissionRefused, Unavailable
from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.mailbox.values import Envelope
from gateway.smtp.door import DAY, HOUR, Door, Network, Patterns, Quota, Terms

ALICE, BOB = "alice@example.com", "bob@example.com"
CLEAR_ONLY_THERE = replace(SETTINGS, allow_plaintext=False)
DEVICES = Terms(account=ALICE, login=False)


class Counted:
    """Quotas in memory, of one hour and one day."""

    def __init__(self) -> None:
        self.used = 0
        self.asked: list[int] = []
        self.fault: Exception | None = None

    async def take_quota(self, key: str, spans: Sequence[tuple[int, int]], count: int) -> bool:
        if self.fault is not None:
            raise self.fault
        self.asked.append(count)
        if count >= 0 and any(self.used + max(count, 1) > most for _, most in spans):
            return False
        self.used += count
        return True


def network(text: str) -> Network:
    return ipaddress.ip_network(text)


@asynccontextmanager
async def relaying(
    terms: Terms | Mapping[Network, Terms] = DEVICES, limits: Limits = DEFAULT_LIMITS, *, tls: bool = False
) -> AsyncIterator[tuple[World, Counted]]:
    async with serving(limits, CLEAR_ONLY_THERE, tls=tls) as world:
        found = {network("127.0.0.0/8"): terms} if isinstance(terms, Terms) else terms
        world.server.quotas = counted = Counted()
        world.port = await world.server.start("127.0.0.1", 0, world.server.tls, door=Door(found))
        yield world, counted


async def device(world: World, *, hello: bytes = b"HELO printer") -> Client:
    client = await world.connect()
    assert (await client.command(hello)).startswith("250 ")
    return client


async def test_a_device_sends_without_a_login() -> None:
    async with relaying() as (world, _):
        client = await device(world)
        assert await client.mail(b"Subject: toner\r\n\r\nlow") == "250 2.0.0 Ok: queued as q1"
        assert world.account.sent == [(Envelope(ALICE, (BOB,)), b"Subject: toner\r\n\r\nlow\r\n")]


async def test_a_device_without_a_name() -> None:
    async with relaying() as (world, _):
        client = await device(world, hello=b"HELO")
        assert (await client.mail(b"x")).startswith("250 ")


async def test_auth_is_not_offered_where_it_is_not_needed() -> None:
    async with relaying(tls=True) as (world, _):
        client = await world.connect()
        offered = (await client.command(b"EHLO printer")).split("\n")
        assert "STARTTLS" in offered and not any(line.startswith("AUTH") for line in offered)
        assert (await client.command(b"AUTH PLAIN =")).startswith("502 5.5.1")


async def test_starttls_is_not_offered_to_those_it_would_break() -> None:
    async with relaying(replace(DEVICES, starttls=False), tls=True) as (world, _):
        client = await world.connect()
        assert "STARTTLS" not in await client.command(b"EHLO printer")
        assert (await client.command(b"STARTTLS")).startswith("502 5.5.1")
        assert (await client.mail(b"x")).startswith("250 ")


async def test_who_is_in_no_network_is_turned_away() -> None:
    async with relaying({network("10.0.0.0/8"): DEVICES}) as (world, _):
        client = await world.connect(greeting=False)
        assert await client.reply() == "554 5.7.1 Your address has no business here"
        assert await client.ended()
        assert world.server.counters.refused == 1 and world.server.open_connections == 0


async def test_the_narrowest_network_counts() -> None:
    both = {network("127.0.0.0/8"): replace(DEVICES, recipients=Patterns()), network("127.0.0.1/32"): DEVICES}
    async with relaying(both) as (world, _):
        assert (await (await device(world)).mail(b"x")).startswith("250 ")


async def test_senders_and_recipients_are_those_of_the_network() -> None:
    terms = replace(
        DEVICES, senders=Patterns("*@example.com"), recipients=Patterns("*@example.com", "help@x.org")
    )
    async with relaying(terms) as (world, _):
        client = await device(world)
        assert (await client.command(b"MAIL FROM:<eve@evil.org>")).startswith("550 5.7.1 Sender")
        assert (await client.command(b"MAIL FROM:<eve@example.com.evil.org>")).startswith("550 5.7.1 Sender")
        assert (await client.command(b"MAIL FROM:<Scan@EXAMPLE.com>")).startswith("250 ")
        assert (await client.command(b"RCPT TO:<eve@evil.org>")).startswith("550 5.7.1 Recipient")
        assert (await client.command(b"RCPT TO:<help@xxorg>")).startswith("550 5.7.1 Recipient")
        assert (await client.command(b"RCPT TO:<@example.com:eve@evil.org>")).startswith("550 5.7.1"), (
            "no route around"
        )
        assert (await client.command(b"RCPT TO:<HELP@X.ORG>")).startswith("250 ")
        assert (await client.command(b"RCPT TO:<bob@example.com>")).startswith("250 ")
        await client.command(b"RSET")
        assert (await client.command(b"MAIL FROM:<>")).startswith("250 "), "devices have no address to name"


# -- quotas --

LIMITED = replace(DEVICES, quota=Quota("devices", per_hour=2, per_day=3))


async def test_a_quota_is_told_before_the_message_comes() -> None:
    async with relaying(LIMITED) as (world, counted):
        client = await device(world)
        for _ in range(2):
            assert (await client.mail(b"x")).startswith("250 ")
        assert (await client.command(b"MAIL FROM:<a@b.c>")).startswith("452 4.7.1 The quota")
        assert len(world.account.sent) == 2 and counted.used == 2


async def test_two_at_once_do_not_share_the_last_place() -> None:
    async with relaying(replace(DEVICES, quota=Quota("devices", per_hour=1))) as (world, counted):
        one, two = await device(world), await device(world)
        await one.open_transaction()
        await two.open_transaction()
        assert (await one.command(b"x\r\n.")).startswith("250 ")
        assert (await two.command(b"x\r\n.")).startswith("452 4.7.1")
        assert len(world.account.sent) == 1 and counted.used == 1


async def test_what_was_not_sent_does_not_count() -> None:
    async with relaying(LIMITED) as (world, counted):
        world.account.outcome = SubmissionRefused(550, "5.6.0", "No")
        client = await device(world)
        for _ in range(4):
            assert (await client.mail(b"x")).startswith("550 ")
        assert counted.used == 0 and counted.asked == [0, 1, -1] * 4


async def test_without_the_store_nothing_is_sent() -> None:
    async with relaying(LIMITED) as (world, counted):
        counted.fault = Unavailable("The store does not answer")
        client = await device(world)
        assert (await client.command(b"MAIL FROM:<a@b.c>")).startswith("451 4.3.0")
        assert world.account.sent == []


async def test_quotas_are_by_the_hour_and_the_day() -> None:
    seen: list[tuple[int, int]] = []

    class Spans(Counted):
        async def take_quota(self, key: str, spans: Sequence[tuple[int, int]], count: int) -> bool:
            seen.extend(spans)
            return True

    await Quota("k", 2, 3).take(Spans(), 1)
    await Quota("k", 0, 3).take(Spans(), 1)
    assert seen == [(HOUR, 2), (DAY, 3), (DAY, 3)]


# -- logins --

NAMED = Terms(login_in_clear=True, users={"scan": ALICE})


async def test_auth_in_clear_with_a_short_name_and_blind() -> None:
    """A scanner that says HELO, then AUTH LOGIN with a name of four letters, without TLS."""
    async with relaying(NAMED) as (world, _):
        client = await device(world)
        assert (await client.command(b"MAIL FROM:<a@b.c>")).startswith("530 5.7.0")
        assert await client.command(b"auth login") == "334 VXNlcm5hbWU6"
        assert await client.command(b"U0NBTg==") == "334 UGFzc3dvcmQ6"
        assert (await client.command(b"ZGVtbw==")).startswith("235 ")
        assert (await client.mail(b"x")).startswith("250 ")
        assert world.account.sent[0][0].sender == ALICE


async def test_auth_in_clear_only_where_the_configuration_says_so() -> None:
    async with relaying(replace(NAMED, login_in_clear=False), tls=True) as (world, _):
        client = await world.connect()
        assert "AUTH" not in await client.command(b"EHLO scanner")
        assert (await client.command(b"AUTH LOGIN")).startswith("538 5.7.11")


async def test_a_login_that_fails_costs_time_as_ever() -> None:
    async with relaying(NAMED) as (world, _):
        client = await device(world)
        await client.send(b"AUTH LOGIN c2Nhbg==\r\nd3Jvbmc=\r\n")
        await world.pass_time(DEFAULT_LIMITS.login_delay)
        assert [(await client.reply())[:3] for _ in range(2)] == ["334", "535"]


async def test_after_starttls_the_network_still_counts() -> None:
    async with relaying(tls=True) as (world, _):
        client = await device(world, hello=b"EHLO printer")
        assert (await client.command(b"STARTTLS")).startswith("220 ")
        assert world.client_tls is not None
        await client.writer.start_tls(world.client_tls, server_hostname="localhost")
        await client.command(b"EHLO printer")
        assert (await client.mail(b"x")).startswith("250 ")


async def test_a_device_may_take_its_time() -> None:
    """A scanner opens the connection, then scans: the time-out is that of commands, not of logins."""
    async with relaying() as (world, _):
        client = await device(world)
        await world.pass_time(DEFAULT_LIMITS.login_timeout + 60)
        assert (await client.mail(b"x")).startswith("250 ")


async def test_an_account_that_cannot_be_opened_is_for_later() -> None:
    async with relaying() as (world, _):
        accounts = world.server.accounts
        assert isinstance(accounts, FakeAccounts)
        accounts.fault = Unavailable("Not now")
        client = await device(world)
        assert (await client.command(b"MAIL FROM:<a@b.c>")).startswith("451 4.3.0")
        accounts.fault = AuthenticationFailed("never")
        assert (await client.command(b"MAIL FROM:<a@b.c>")).startswith("535 ")
        accounts.fault = None
        assert (await client.mail(b"x")).startswith("250 ")


# -- what devices write --

SENT_AS = replace(DEVICES, send_as="printers@example.com")


@pytest.mark.parametrize(
    "path", [b"<scanner>", b"scanner", b" <scanner@printer.local>", b"<KM C458@192.168.1.7>", b"<@>"]
)
async def test_who_sends_as_somebody_else_may_call_himself_anything(path: bytes) -> None:
    async with relaying(SENT_AS) as (world, _):
        client = await device(world)
        assert (await client.command(b"MAIL FROM:" + path)).startswith("250 ")
        await client.command(b"RCPT TO: bob@example.com")
        await client.command(b"DATA")
        assert (await client.command(b"x\r\n.")).startswith("250 ")
        assert world.account.sent[0][0] == Envelope("printers@example.com", (BOB,))


async def test_the_header_says_who_sends() -> None:
    async with relaying(SENT_AS) as (world, _):
        client = await device(world)
        text = b'From: "Scan 3" <scan@printer.local>\r\nSender: x@y.z\r\nSubject: s\r\n\r\nFrom: body'
        assert (await client.mail(text)).startswith("250 ")
        assert world.account.sent[0][1] == (
            b'From: "Scan 3" <printers@example.com>\r\nSubject: s\r\n\r\nFrom: body\r\n'
        )


async def test_the_header_is_made_right_in_chunks_too() -> None:
    async with relaying(SENT_AS) as (world, _):
        client = await device(world, hello=b"EHLO x")
        await client.send(
            b"MAIL FROM:<>\r\nRCPT TO:<bob@example.com>\r\nBDAT 7\r\nFrom: aBDAT 8 LAST\r\n@b.c\r\n\r\n"
        )
        assert [(await client.reply())[:3] for _ in range(4)] == ["250"] * 4
        assert world.account.sent[0] == (
            Envelope("", (BOB,)), b"Reply-To: a@b.c\r\nFrom: <printers@example.com>\r\n\r\n",
        )  # fmt: skip


async def test_everything_a_printer_does_at_once() -> None:
    """HELO, blanks and missing brackets, bare LF, no Date, no Message-ID, no To, 8-bit without BODY, a line of 100,000
    octets, and gone behind the 250."""
    async with relaying(SENT_AS) as (world, _):
        client = await world.connect()
        await client.send(b"HELO 192.168.1.7\nMAIL FROM: scanner \nRCPT TO: <bob@example.com> \nDATA\n")
        assert [(await client.reply())[:3] for _ in range(4)] == ["250", "250", "250", "354"]
        body = b"Subject: gr\xfc\xdfe\n\n" + b"x" * 100_000 + b"\n"
        assert (await client.command(body + b"\r\n.")).startswith("250 ")
        client.close()
        await world.rest()
        assert world.account.sent[0][1].endswith(b"x" * 100_000 + b"\n\r\n")
        assert (world.account.heard_of, world.account.lost_of) == ([], ["q1"]), (
            "nothing shows that it arrived"
        )


async def test_a_following_command_shows_that_the_reply_arrived() -> None:
    async with relaying() as (world, _):
        client = await device(world)
        for command in (b"QUIT", b"NOOP", b"nonsense", b"MAIL FROM:<a@b.c>"):
            client = await device(world)
            await client.mail(b"alarm")
            await client.command(command)
        assert world.account.heard_of == ["q1", "q2", "q3", "q4"]


async def test_it_is_told_once_and_only_of_what_was_sent() -> None:
    async with relaying() as (world, _):
        client = await device(world)
        world.account.outcome = SubmissionRefused(451, "4.3.0", "Later")
        await client.mail(b"x")
        await client.command(b"NOOP")
        world.account.outcome = None
        await client.mail(b"x")
        await client.command(b"NOOP")
        await client.command(b"NOOP")
        assert (world.account.heard_of, world.account.lost_of) == (["q1"], [])


async def test_what_cannot_be_noted_is_no_fault_of_the_next_command() -> None:
    async with relaying() as (world, _):
        world.account.deaf = Unavailable("The store does not answer")
        client = await device(world)
        await client.mail(b"x")
        assert await client.command(b"NOOP") == "250 2.0.0 OK"


async def test_a_connection_that_times_out_has_shown_nothing() -> None:
    async with relaying() as (world, _):
        client = await device(world)
        await client.mail(b"x")
        await world.pass_time(SETTINGS.command_timeout + 1)
        assert (await client.reply()).startswith("421 4.4.2")
        await world.rest()
        assert (world.account.heard_of, world.account.lost_of) == ([], ["q1"])


async def test_two_hundred_devices_at_once() -> None:
    async with relaying() as (world, _):

        async def one() -> str:
            client = await device(world)
            return (await client.mail(b"x" * 1000))[:4]

        assert await asyncio.gather(*(one() for _ in range(200))) == ["250 "] * 200
        assert isinstance(world.account, Sender) and len(world.account.sent) == 200
        assert world.server.counters.refused == 0
