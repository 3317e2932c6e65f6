"""Annotations of an account before the emulator, and the news of them (RFC 5464, RFC 6154 section 4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.errors import AnnotationTooBig, CannotDo, TooManyAnnotations, UseRefused
from gateway.mailbox.annotations import ADMIN, OURS, USE, News
from gateway.mailbox.context import Settings
from tests.account_world import Site, account_world

NOTE = "/private/comment"


@pytest.fixture
async def s(tmp_path: Path) -> AsyncIterator[Site]:
    async with account_world(tmp_path) as site:
        yield site


# -- news --


def test_news_are_of_others_and_told_once() -> None:
    news = News(10)
    news.add(1, ["/private/a"], writer=7)
    news.add(None, ["/shared/b"], writer=8)
    assert news.since(0, reader=7) == {None: ["/shared/b"]}
    assert news.since(0, reader=9) == {1: ["/private/a"], None: ["/shared/b"]}
    assert news.since(news.serial, reader=9) == {}


def test_an_entry_changed_again_is_news_of_who_changed_it_last() -> None:
    news = News(10)
    news.add(1, ["/private/a", "/private/b"], writer=7)
    news.add(1, ["/private/a"], writer=8)
    assert news.since(0, reader=8) == {1: ["/private/b"]}
    assert news.since(0, reader=7) == {1: ["/private/a"]}


def test_what_is_remembered_has_a_bound() -> None:
    news = News(3)
    for number in range(100):
        news.add(1, [f"/private/{number}"], writer=1)
    assert news.since(0, reader=2) == {1: ["/private/97", "/private/98", "/private/99"]}


async def test_who_waits_is_woken_and_no_wake_up_is_lost() -> None:
    news = News(3)
    waiting = asyncio.ensure_future(news.changed(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    news.add(1, ["/private/a"], writer=1)
    await asyncio.wait_for(waiting, 1)
    await asyncio.wait_for(news.changed(0), 1)


# -- an account's --


async def test_they_outlive_a_restart_and_cost_no_request(s: Site) -> None:
    account = await s.account()
    await account.set_metadata("INBOX", {NOTE: b"kept"}, 1)
    await account.set_metadata("", {"/shared/comment": b"server"}, 1)
    assert await s.outlook.lines() == []
    await s.restart()
    account = await s.account()
    assert (await account.metadata("INBOX"))[NOTE] == b"kept"
    assert await account.metadata("") == {"/shared/comment": b"server"}
    every = await account.metadata_of_all([NOTE, USE])
    assert every.keys() == {info.name for info in await account.folders()}
    assert every["INBOX"] == {NOTE: b"kept"}
    assert every["Drafts"] == {USE: b"\\Drafts"}
    assert every["Outbox"] == {}
    assert await s.outlook.lines() == []


async def test_what_the_gateway_tells_cannot_be_changed(tmp_path: Path) -> None:
    settings = Settings(poll_interval=3600.0, admin="mailto:root@example.com")
    async with account_world(tmp_path) as s:
        s.settings = settings
        await s.restart()
        account = await s.account()
        assert (await account.metadata(""))[ADMIN] == b"mailto:root@example.com"
        told = await account.metadata("Drafts")
        assert told[f"{OURS}/well-known-name"] == b"drafts"
        assert told[f"{OURS}/display-name"] == b"Drafts"
        for name, entry in (("", ADMIN), ("Drafts", f"{OURS}/folder-id"), ("Drafts", OURS)):
            with pytest.raises(CannotDo):
                await account.set_metadata(name, {entry: b"mine", NOTE: b"x"}, 1)
        assert NOTE not in await account.metadata("Drafts")


async def test_bounds_are_kept_and_what_is_refused_changes_nothing(s: Site) -> None:
    s.limits = replace(s.limits, metadata_value=4, metadata_entries=2, metadata_total=50)
    await s.restart()
    account = await s.account()
    with pytest.raises(AnnotationTooBig) as refused:
        await account.set_metadata("INBOX", {NOTE: b"12345"}, 1)
    assert refused.value.code == b"METADATA MAXSIZE 4"
    await account.set_metadata("INBOX", {"/private/a": b"1", "/private/b": b"2"}, 1)
    with pytest.raises(TooManyAnnotations):
        await account.set_metadata("INBOX", {"/private/a": b"9", "/private/c": b"3"}, 1)
    assert (await account.metadata("INBOX"))["/private/a"] == b"1"
    await account.set_metadata("INBOX", {"/private/a": None, "/private/c": b"3"}, 1)
    await account.set_metadata("Drafts", {"/private/a": b"1", "/private/b": b"2"}, 1)  # 44 octets by now
    with pytest.raises(TooManyAnnotations):
        await account.set_metadata("", {"/shared/a": b"1"}, 1)
    serial = account.metadata_serial
    await account.set_metadata("Drafts", {"/private/a": b"1"}, 1)
    assert account.metadata_serial == serial  # nothing was changed


async def test_many_writers_at_once_keep_the_bound(s: Site) -> None:
    s.limits = replace(s.limits, metadata_entries=5)
    await s.restart()
    account = await s.account()
    writes = [account.set_metadata("INBOX", {f"/private/{n}": b"x"}, n) for n in range(20)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 5


# -- special uses --


async def test_a_use_is_given_where_exchange_has_no_folder_for_it(s: Site) -> None:
    s.outlook.box.destroy_folder(s.outlook.box.special.pop("archive"))
    account = await s.account()
    await account.create("Keep", [b"\\ARCHIVE"])
    with pytest.raises(UseRefused):
        await account.create("More", [b"\\Archive"])
    assert "More" not in {info.name for info in await account.folders()}
    await s.restart()
    account = await s.account()
    uses = {info.name: info.use for info in await account.folders()}
    assert uses["Keep"] == "archive"
    await account.rename("Keep", "Kept")
    assert (await account.metadata("Kept"))[USE] == b"\\Archive"


async def test_the_folder_that_exchange_makes_later_has_the_use(s: Site) -> None:
    archive = s.outlook.box.special.pop("archive")
    s.outlook.box.destroy_folder(archive)
    account = await s.account()
    await account.create("Keep", [b"\\Archive"])
    made = s.outlook.make_folder("Archive")
    box = s.outlook.box
    folder = box.folder_by_id(made)
    folder.wellknown, box.special["archive"] = "archive", folder
    await s.outlook.expire_delta()
    account.hierarchy.forget_age()
    uses = {info.name: info.use for info in await account.folders()}
    assert uses["Archive"] == "archive"
    assert uses["Keep"] is None
