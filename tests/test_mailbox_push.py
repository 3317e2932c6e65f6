"""Notifications from the emulator to the sessions: within a second, for the least that Graph can be asked, whatever
is lost, doubled, late or forged on the way."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.core.types import MessageId
from gateway.mailbox.account import MailboxAccount
from gateway.mailbox.notices import Board, Data, Inbox, Notice, Poke
from gateway.mailbox.push import Hook, merge, planned, shown
from gateway.mailbox.subscription import Addresses
from gateway.web import webhooks
from gateway.web.server import WebServer
from tests.account_world import ALICE, BOB, SHY, Client, Outlook, Site, mime, outlook_world, until

DELTA = r"/messages/delta"
SUBSCRIPTIONS = r"/subscriptions"


async def nothing() -> None:
    pass


async def heard(client: Client, seconds: float = 5.0) -> bytes:
    """The next response that is no RECENT."""
    while (line := await client.response(seconds)).endswith(b" RECENT"):
        pass
    return line


@dataclass
class Pushed:
    """A site that Graph can reach, with the emulator's notifications swift and plain; nothing is polled."""

    site: Site
    board: Board
    web: WebServer
    port: int
    folder: Path
    sessions: list[Client] = field(default_factory=list)

    @property
    def outlook(self) -> Outlook:
        return self.site.outlook

    @property
    def subscriptions(self) -> list[Any]:
        return self.outlook.emulator.app.notices.subscriptions.active()

    async def account(self, user: str = ALICE) -> MailboxAccount:
        """The account, synced and subscribed; the log is empty."""
        account = await self.site.account(user)
        await self.alive(account)
        await self.quiet()
        await self.outlook.forget()
        return account

    async def alive(self, account: MailboxAccount) -> None:
        await until(lambda: account.ctx.freshness.since is not None, 5)

    async def client(self, *names: str) -> list[Client]:
        """One session for each mailbox, which is selected; then the log is empty."""
        await self.account()
        made = [await self.site.client() for _ in names]
        for client, name in zip(made, names, strict=True):
            await client.select(name)
        await self.quiet()
        await self.outlook.forget()
        return made

    async def quiet(self) -> None:
        """Longer than a notification and its first repetition take."""
        await asyncio.sleep(0.8)

    async def event(self, event: str) -> None:
        (await self.outlook.http.post("subscriptions/lifecycle", json={"event": event})).raise_for_status()

    async def lines(self) -> list[str]:
        """The requests without their queries."""
        return [line.partition("?")[0].replace("/v1.0/", "/") for line in await self.outlook.lines()]

    async def post(self, **notice: Any) -> int:
        """As a stranger would."""
        body = {"value": [{"changeType": "created", "resourceData": {"id": "x"}, **notice}]}
        url = f"http://127.0.0.1:{self.port}{webhooks.NOTICES}"
        return (await self.outlook.http.post(url, json=body)).status_code


@contextlib.asynccontextmanager
async def pushed(folder: Path, **lag: float) -> AsyncIterator[Pushed]:
    board = Board()
    web = WebServer(CollectorRegistry(), list, nothing, webhooks.routes(board))
    port = await web.start("127.0.0.1", 0)
    base = f"http://127.0.0.1:{port}"
    hook = Hook(Addresses(base + webhooks.NOTICES, base + webhooks.LIFECYCLE), board)
    try:
        async with outlook_world(folder, notice_seconds=0.05, notice_retry_seconds=0.1, **lag) as outlook:
            await outlook.rules(webhooks_https_only=False)
            site = Site(folder, outlook, settings=SHY, hook=hook)
            await site.up()
            try:
                yield Pushed(site, board, web, port, folder)
            finally:
                await site.down()
    finally:
        await web.stop()


@pytest.fixture
async def p(tmp_path: Path) -> AsyncIterator[Pushed]:
    async with pushed(tmp_path) as made:
        yield made


# -- from Graph to the client --


async def test_idle_hears_of_new_mail_within_a_second_for_one_delta(p: Pushed) -> None:
    (client,) = await p.client("INBOX")
    await client.idle()
    began = time.monotonic()
    await p.outlook.deliver(mime("new"))
    assert await heard(client) == b"* 1 EXISTS"
    assert time.monotonic() - began < 1.0
    await p.quiet()
    lines = await p.lines()
    assert [line.rpartition("/")[2] for line in lines if DELTA[1:] in line] == ["delta"]


async def test_a_read_mark_and_a_removal_are_heard(p: Pushed) -> None:
    message = await p.outlook.deliver(mime("one"))
    (client,) = await p.client("INBOX")
    await client.idle()
    await p.outlook.patch(message, isRead=True)
    assert b"\\Seen" in await heard(client)
    await p.outlook.delete(message)
    assert await heard(client) == b"* 1 EXPUNGE"


async def test_several_folders_are_each_told_what_is_theirs(p: Pushed) -> None:
    inbox, archive = await p.client("INBOX", "Archive")
    await inbox.idle()
    await archive.idle()
    await p.outlook.deliver(mime("a"), "archive")
    assert await heard(archive, 2) == b"* 1 EXISTS"
    message = await p.outlook.deliver(mime("b"))
    assert await heard(inbox, 2) == b"* 1 EXISTS"
    await p.quiet()
    await p.outlook.forget()
    await p.outlook.move(message, "archive")
    assert await heard(inbox, 2) == b"* 1 EXPUNGE"
    assert await heard(archive, 2) == b"* 2 EXISTS"
    assert all(r.startswith("GET") for r in await p.lines())


async def test_all_sessions_of_a_folder_cost_one_delta(p: Pushed) -> None:
    clients = await p.client("INBOX", "INBOX", "INBOX")
    for client in clients:
        await client.idle()
    await p.outlook.deliver(mime("new"))
    assert [await heard(client, 2) for client in clients] == [b"* 1 EXISTS"] * 3
    assert await p.outlook.calls("GET", DELTA) == 1


async def test_many_changes_at_once_are_one_or_two_deltas(p: Pushed) -> None:
    (client,) = await p.client("INBOX")
    await client.idle()
    for n in range(20):
        await p.outlook.deliver(mime(f"m{n}"))
    while len(client.uids) < 20:
        await heard(client, 3)
    assert await p.outlook.calls("GET", DELTA) <= 8


# -- what it costs when nothing happens --


async def test_noop_check_and_idle_cost_nothing(p: Pushed) -> None:
    (client,) = await p.client("INBOX")
    for command in ("NOOP", "CHECK", "NOOP"):
        (await client.do(command)).ok()
    tag = await client.idle()
    await p.quiet()
    client.send(b"DONE\r\n")
    await client.finish(tag)
    assert await p.lines() == []


async def test_our_own_writes_come_back_and_cost_nothing(p: Pushed) -> None:
    await p.outlook.limits(notice_seconds=0.4)  # a busy machine must not take the echo for news
    for n in range(3):
        await p.outlook.deliver(mime(f"m{n}"))
    (client,) = await p.client("INBOX")
    taken = p.board.taken
    (await client.do("STORE 1:3 +FLAGS (\\Seen \\Flagged)")).ok()
    await until(lambda: p.board.taken >= taken + 3)
    await p.quiet()
    assert await p.lines() == ["POST /$batch [3]"]


async def test_a_change_in_a_folder_nobody_watches_costs_nothing_and_is_there_when_opened(p: Pushed) -> None:
    await p.account()
    await p.outlook.deliver(mime("new"))
    await until(lambda: p.board.taken >= 1)
    await p.quiet()
    assert await p.lines() == []
    client = await p.site.client()
    await client.select()
    assert len(client.uids) == 1


# -- what Graph does to notifications --


async def test_a_delta_that_lags_behind_its_notification_is_asked_again(tmp_path: Path) -> None:
    async with pushed(tmp_path, delta_lag_seconds=0.3) as p:
        message = await p.outlook.deliver(mime("one"))
        (client,) = await p.client("INBOX")
        await p.outlook.rules(delta_lag=True)
        await client.idle()
        began = time.monotonic()
        await p.outlook.patch(message, isRead=True)
        assert b"\\Seen" in await heard(client, 5)
        assert time.monotonic() - began < 1.0
        assert await p.outlook.calls("GET", DELTA) == 2


async def test_missed_means_a_delta_of_what_is_watched(p: Pushed) -> None:
    (client,) = await p.client("INBOX")
    await client.idle()
    box = p.outlook.box
    told, box.heard = box.heard, None
    await p.outlook.deliver(mime("unheard"))
    box.heard = told
    await p.event("missed")
    assert await heard(client, 3) == b"* 1 EXISTS"
    assert await p.outlook.calls("POST", SUBSCRIPTIONS) == 0


async def test_a_removed_subscription_is_made_anew_and_what_happened_meanwhile_found(p: Pushed) -> None:
    (client,) = await p.client("INBOX")
    first = p.subscriptions[0].id
    await client.idle()
    p.outlook.box.heard = None
    await p.outlook.deliver(mime("unheard"))
    await p.event("subscriptionRemoved")
    assert await heard(client, 3) == b"* 1 EXISTS"
    await until(lambda: [s.id for s in p.subscriptions] not in ([], [first]))
    await p.outlook.deliver(mime("heard"))
    assert await heard(client, 3) == b"* 2 EXISTS"


async def test_authorisation_is_given_again_when_asked_for(p: Pushed) -> None:
    await p.account()
    before = p.subscriptions[0].renewed
    await p.event("reauthorizationRequired")
    await until(lambda: p.subscriptions[0].renewed > before)
    assert await p.lines() == [f"PATCH /subscriptions/{p.subscriptions[0].id}"]


async def test_repeated_and_reordered_notifications_change_nothing_twice(p: Pushed) -> None:
    (client,) = await p.client("INBOX")
    await client.idle()
    for n in range(6):
        await p.outlook.deliver(mime(f"m{n}"))
    while len(client.uids) < 6:
        await heard(client, 3)
    await p.quiet()
    await p.outlook.forget()
    await p.quiet()
    assert await p.lines() == [] and p.board.taken > 6


# -- the subscription --


async def test_one_subscription_for_the_whole_mailbox(p: Pushed) -> None:
    await p.client("INBOX", "Archive")
    (made,) = p.subscriptions
    assert made.folder is None and made.immutable and made.resource == f"users/{ALICE}/messages"
    assert made.lifecycle_url is not None and len(made.client_state or "") > 40


async def test_a_restart_goes_on_with_the_subscription(p: Pushed) -> None:
    await p.account()
    (made,) = p.subscriptions
    await p.site.restart()
    await p.outlook.forget()
    await p.alive(await p.site.cold())
    assert [s.id for s in p.subscriptions] == [made.id]
    assert f"PATCH /subscriptions/{made.id}" in await p.lines()
    (client,) = await p.client("INBOX")
    await client.idle()
    await p.outlook.deliver(mime("new"))
    assert await heard(client, 3) == b"* 1 EXISTS"


async def test_another_address_means_another_subscription(p: Pushed) -> None:
    await p.account()
    (made,) = p.subscriptions
    hook = p.site.hook
    assert hook is not None
    other = hook.addresses.notices + "?other"
    p.site.hook = replace(hook, addresses=replace(hook.addresses, notices=other))
    await p.site.restart()
    await p.alive(await p.site.cold())
    assert [s.url for s in p.subscriptions] == [other] and p.subscriptions[0].id != made.id


async def test_the_secret_is_nobody_elses_and_not_in_the_clear(p: Pushed) -> None:
    await p.account()
    await p.account(BOB)
    secrets = {s.client_state for s in p.subscriptions}
    assert len(secrets) == 2
    stored = b"".join(path.read_bytes() for path in p.folder.glob("gateway.db*"))
    assert not any((secret or "").encode() in stored for secret in secrets)


async def test_where_subscribing_fails_folders_are_polled(tmp_path: Path) -> None:
    async with pushed(tmp_path) as p:
        await p.outlook.fault("POST", SUBSCRIPTIONS, status=403, count=None)
        p.site.settings = replace(SHY, poll_interval=0.3)
        account = await p.site.account()
        folder = await account.open("INBOX", read_only=True)
        await p.outlook.deliver(mime("new"))
        async with asyncio.timeout(5):
            await folder.changed()
        assert account.ctx.freshness.since is None
        await folder.close()


async def test_polling_takes_over_when_notifications_end(p: Pushed) -> None:
    p.site.settings = replace(SHY, poll_interval=0.3)
    await p.site.restart()
    account = await p.account()
    folder = await account.open("INBOX", read_only=True)
    p.outlook.box.heard = None
    await p.outlook.deliver(mime("new"))
    await p.quiet()
    assert not folder.view.pending()
    account.ctx.freshness.end()
    async with asyncio.timeout(5):
        await folder.changed()
    await folder.close()


async def test_notifications_that_stop_are_missed_and_polling_takes_over(
    p: Pushed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.mailbox.deafness.LOOK", 0.05)
    monkeypatch.setattr("gateway.mailbox.deafness.PATIENCE", 0.3)
    await p.site.restart()
    account = await p.account()
    folder = await account.open("INBOX", read_only=False)
    await asyncio.sleep(0.6)
    assert account.ctx.freshness.since is not None  # that nothing happens is no reason
    told, p.outlook.box.heard = p.outlook.box.heard, None
    await p.outlook.deliver(mime("unheard"))
    await account.sync((await account.entry("INBOX")).row).poll(max_age=0.0)
    await until(lambda: account.ctx.freshness.since is None, 3)
    p.outlook.box.heard = told
    await p.outlook.deliver(mime("heard"))
    await until(lambda: account.ctx.freshness.since is not None, 3)
    await folder.close()


# -- strangers --


async def test_a_stranger_gets_the_same_answer_and_no_work_is_done(p: Pushed) -> None:
    await p.client("INBOX")
    made = p.subscriptions[0].id
    assert await p.post(subscriptionId="nobody", clientState="x") == 202
    assert await p.post(subscriptionId=made, clientState="wrong") == 202
    assert await p.post(subscriptionId=made) == 202
    await p.quiet()
    assert p.board.refused == 3 and await p.lines() == []


# -- the parts --


@dataclass
class Row:
    etag: str


def test_what_is_known_needs_nothing() -> None:
    known: Any = {1: {MessageId("a"): Row("1"), MessageId("b"): Row("1")}, 2: {MessageId("c"): Row("1")}}
    plan = planned(known, {
        "a": Poke({"1"}), "b": Poke({"2"}), "c": Poke({"1"}, deleted=True), "d": Poke({"1"}), "e": Poke(deleted=True),
    })  # fmt: skip
    assert plan.due == {1: {"b"}, 2: {"c"}} and plan.unknown == {"d"}


def test_what_has_shown() -> None:
    old: Any
    old, new = Row("1"), Row("2")
    assert shown(Poke({"2"}), old, new) and shown(Poke({"3"}), old, new) and shown(Poke({"2"}), None, new)
    assert not shown(Poke({"2"}), old, old) and not shown(Poke({"2"}), None, None)
    assert shown(Poke(deleted=True), old, None) and shown(Poke(deleted=True), None, None)
    assert not shown(Poke(deleted=True), old, old)


def test_merging_keeps_all_that_was_said() -> None:
    pokes = {"a": Poke({"2"})}
    merge(pokes, "a", Poke({"1"}, deleted=True, tries=3))
    assert pokes["a"] == Poke({"1", "2"}, deleted=True)


def test_an_inbox_that_overflows_remembers_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.mailbox.notices.WAITING", 3)
    inbox = Inbox()
    for n in random.Random(1).sample(range(4), 4):
        inbox.hear(Notice(change_type="created", resource_data=Data(id=str(n), etag="1")))
    pokes, missed = inbox.take()
    assert missed and len(pokes) == 1 and inbox.take() == ({}, False)
