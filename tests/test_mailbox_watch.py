"""Polling of open folders: news within the interval, one delta however many sessions watch, nothing for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.types import Uid
from gateway.mailbox.context import Settings
from tests.account_world import Site, account_world, mime, until

INTERVAL = 0.3
DELTA = r"/messages/delta"


@pytest.fixture
async def s(tmp_path: Path) -> AsyncIterator[Site]:
    async with account_world(tmp_path, settings=Settings(poll_interval=INTERVAL)) as site:
        yield site


async def test_new_mail_wakes_an_open_folder_within_the_interval(s: Site) -> None:
    account = await s.account()
    folder = await account.open("INBOX", read_only=True)
    await s.outlook.deliver(mime("new"))
    async with asyncio.timeout(
        INTERVAL * 10
    ):  # the machine may be busy; the interval's length is what counts
        await folder.changed()
    assert folder.view.drain(expunge=True)
    assert folder.view.count == 1
    await folder.close()


async def test_all_sessions_of_a_folder_are_woken(s: Site) -> None:
    account = await s.account()
    folders = [await account.open("INBOX", read_only=True) for _ in range(5)]
    await s.outlook.deliver(mime("new"))
    async with asyncio.timeout(INTERVAL * 10):
        await asyncio.gather(*(folder.changed() for folder in folders))


async def test_many_sessions_cost_no_more_than_one(s: Site) -> None:
    account = await s.account()
    folders = [await account.open("INBOX", read_only=True) for _ in range(10)]
    await s.outlook.forget()
    await asyncio.sleep(INTERVAL * 4)
    assert 1 <= await s.outlook.calls("GET", DELTA) <= 6
    for folder in folders:
        await folder.close()


async def test_nobody_watching_costs_nothing(s: Site) -> None:
    account = await s.account()
    first = await account.open("INBOX", read_only=True)
    second = await account.open("INBOX", read_only=True)
    await first.close()
    await s.outlook.deliver(mime("new"))
    async with asyncio.timeout(INTERVAL * 10):
        await second.changed()  # the other one still watches
    await second.close()
    await s.outlook.forget()
    await asyncio.sleep(INTERVAL * 3)
    assert await s.outlook.calls("GET", DELTA) == 0


async def test_closing_twice_takes_nobody_elses_watch(s: Site) -> None:
    account = await s.account()
    first = await account.open("INBOX", read_only=True)
    second = await account.open("INBOX", read_only=True)
    await first.close()
    await first.close()
    await s.outlook.deliver(mime("new"))
    async with asyncio.timeout(INTERVAL * 10):
        await second.changed()


async def test_polling_goes_on_after_an_outage(s: Site) -> None:
    account = await s.account()
    folder = await account.open("INBOX", read_only=True)
    await s.outlook.down()
    await asyncio.sleep(INTERVAL * 3)
    await s.outlook.heal()
    await s.outlook.deliver(mime("after"))
    async with asyncio.timeout(15):
        await folder.changed()


async def test_a_folder_deleted_while_watched_is_not_asked_for_again_and_again(s: Site) -> None:
    s.outlook.make_folder("Doomed")
    account = await s.account()
    folder = await account.open("Doomed", read_only=True)
    s.outlook.destroy_folder("Doomed")
    await s.outlook.forget()
    await asyncio.sleep(INTERVAL * 5)
    assert len(await s.outlook.lines()) <= 12
    await folder.close()


async def test_two_folders_are_watched_side_by_side(s: Site) -> None:
    account = await s.account()
    inbox = await account.open("INBOX", read_only=True)
    archive = await account.open("Archive", read_only=False)
    await s.outlook.deliver(mime("a"), "archive")
    async with asyncio.timeout(INTERVAL * 10):
        await archive.changed()
    assert not inbox.view.pending()
    archive.view.drain(expunge=True)
    await archive.move([Uid(archive.view.uids[0])], "INBOX")  # our own move needs no poll
    async with asyncio.timeout(5):
        await inbox.changed()


async def test_closing_the_account_ends_its_tasks(s: Site) -> None:
    account = await s.account()
    await account.open("INBOX", read_only=True)
    await account.close()
    await s.outlook.forget()
    await asyncio.sleep(INTERVAL * 3)
    assert await s.outlook.lines() == []


async def test_idle_hears_of_new_mail_and_of_flags(s: Site) -> None:
    """Through the socket: IDLE alone, no command in between."""
    first = await s.outlook.deliver(mime("first"))
    client = await s.client()
    await client.select()
    await client.do("FETCH 1 (UID)")
    tag = await client.idle()
    await s.outlook.deliver(mime("second"))
    assert await client.response(10) == b"* 2 EXISTS"
    await until(lambda: len(client.uids) == 2)
    await s.outlook.patch(first, isRead=True)
    while b"\\Seen" not in (line := await client.response(10)):
        assert b"FETCH" in line or b"RECENT" in line
    assert client.flags[1] == {b"\\Seen"}
    client.send(b"DONE\r\n")
    (await client.finish(tag)).ok()
