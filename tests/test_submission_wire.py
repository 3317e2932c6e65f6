"""Submission from the socket to the mailboxes: what of one message and the next depends on the connection."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from smtp_support import Client

from tests.account_world import PASSWORD, Site, account_world
from tests.sync_world import ALICE, eventually

BOB = "bob@example.com"
MAIL = b"From: alice@example.com\r\nTo: bob@example.com\r\nSubject: alarm\r\n\r\ndoor 3\r\n"
RCPT = b"RCPT TO:<bob@example.com>\r\n"


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with account_world(tmp_path) as site:
        site.submission.settings = replace(site.submission.settings, longest_hold=86_400)
        await site.account()
        yield site


async def session(site: Site) -> Client:
    client = Client(*await asyncio.open_connection("127.0.0.1", site.smtp_port))
    await client.reply()
    assert (await client.command(b"EHLO device")).startswith("250 ")
    word = b64encode(f"\0{ALICE}\0{PASSWORD}".encode())
    assert (await client.command(b"AUTH PLAIN " + word)).startswith("235 ")
    return client


async def sent(client: Client, options: bytes = b"") -> str:
    """The reply to DATA with the message."""
    await client.send(b"MAIL FROM:<alice@example.com>" + options + b"\r\n" + RCPT + b"DATA\r\n")
    assert [(await client.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
    return await client.command(MAIL + b".")


async def alarms(site: Site, folder: str = "inbox", user: str = BOB) -> int:
    return [row["subject"] for row in await site.outlook.listing(folder, user)].count("alarm")


@pytest.mark.parametrize("goodbye", [b"QUIT", b"RSET", b"NOOP"])
async def test_the_same_alarm_twice_is_two_alarms(site: Site, goodbye: bytes) -> None:
    """Whatever command followed shows that the first 250 arrived."""
    ids = set()
    for _ in range(2):
        client = await session(site)
        ids.add(await sent(client))
        await client.command(goodbye)
        client.close()
    assert len(ids) == 2 and await alarms(site) == 2


async def test_a_client_that_never_heard_the_250_sends_once(site: Site) -> None:
    client = await session(site)
    first = await sent(client)
    client.close()

    async def gone() -> bool:
        return site.submission.open_connections == 0

    await eventually(gone)
    again = await session(site)
    assert await sent(again) == first
    assert await alarms(site) == 1
    assert await sent(again) != first, "it has gone on: this is another alarm"
    assert await alarms(site) == 2


async def test_chunks_arrive_as_a_message(site: Site) -> None:
    client = await session(site)
    await client.send(b"MAIL FROM:<alice@example.com>\r\n" + RCPT)
    await client.send(b"BDAT %d\r\n%bBDAT %d LAST\r\n%b" % (30, MAIL[:30], len(MAIL) - 30, MAIL[30:]))
    assert [(await client.reply())[:3] for _ in range(4)] == ["250"] * 4
    assert await alarms(site) == 1


async def test_a_smuggled_message_and_its_cover_go_nowhere(site: Site) -> None:
    client = await session(site)
    await client.send(b"MAIL FROM:<alice@example.com>\r\n" + RCPT + b"DATA\r\n")
    assert [(await client.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
    cover = MAIL + b"\n.\r\nMAIL FROM:<alice@example.com>\r\n" + RCPT + b"DATA\r\n" + MAIL
    assert (await client.command(cover + b".")).startswith("554 5.6.0")
    assert (await client.command(b"NOOP")).startswith("250 ")
    assert await alarms(site) == await alarms(site, "sentitems", ALICE) == 0


@pytest.mark.parametrize(("option", "held"), [(b" HOLDFOR=3600", True), (b" HOLDFOR=0", False)])
async def test_a_held_message_waits_in_exchange(site: Site, option: bytes, held: bool) -> None:
    client = await session(site)
    assert "FUTURERELEASE 86400 " in await client.command(b"EHLO x")
    assert (await sent(client, option)).startswith("250 ")
    assert (await alarms(site, "drafts", ALICE), await alarms(site)) == (int(held), int(not held))
