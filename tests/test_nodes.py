"""Several gateways on one database serve one mailbox as one: what a session of one does, those of the other hear; one
does the background work, and another takes over; what the mailbox bears is divided."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gateway.app import Gateway
from gateway.mailbox import subscription
from gateway.mailbox.notices import Board, Notice
from gateway.mailbox.push import Hook
from gateway.web import webhooks
from gateway.web.server import WebServer
from tests.account_world import Client, mime, until
from tests.nodes_world import ONE, hears, holder, nodes_world, shortly, uid_of

pytest.importorskip("asyncpg")

# -- what one does, the other's sessions hear --


async def test_what_a_session_does_reaches_idle_on_another_gateway(tmp_path: Path) -> None:
    async with nodes_world(tmp_path) as world:
        await world.outlook.deliver(mime("one"))
        a, b = await world.up(), await world.up()
        at_a, at_b = await a.client(), await b.client()
        await at_a.select()
        await at_b.select()
        await at_b.idle()
        (await at_a.do("STORE 1 +FLAGS (\\Flagged Project)")).ok()
        assert b"\\Flagged" in (line := await hears(at_b, b"FETCH"))
        assert b"Project" in line
        assert await uid_of(at_a)
        assert b"* 2 EXISTS" in await hears(at_b, b"EXISTS")
        (await at_a.do("STORE 2 +FLAGS.SILENT (\\Deleted)")).ok()
        (await at_a.do("EXPUNGE")).ok()
        assert b"* 2 EXPUNGE" in await hears(at_b, b"EXPUNGE")


async def test_new_mail_reaches_idle_where_nobody_polls(tmp_path: Path) -> None:
    """The holder polls what others watch; their sessions ask Graph nothing."""
    async with nodes_world(tmp_path) as world:
        a, b = await world.up(), await world.up()
        clients = {id(a): await a.client(), id(b): await b.client()}
        first, second = await holder(a, b)
        idle = clients[id(second)]
        await idle.select()
        await idle.idle()
        await world.outlook.deliver(mime("news"))
        assert b"* 1 EXISTS" in await hears(idle, b"EXISTS")
        await world.down(first)  # and goes on with it when that one has gone
        await world.outlook.deliver(mime("more"))
        assert b"* 2 EXISTS" in await hears(idle, b"EXISTS")
        assert await second.holds()


async def test_folders_subscriptions_and_metadata_are_news_on_another_gateway(tmp_path: Path) -> None:
    async with nodes_world(tmp_path) as world:
        a, b = await world.up(), await world.up()
        at_a, at_b = await a.client(), await b.client()
        for node in (a, b):
            await (await node.account()).folders()
        assert await until(lambda: not b.cluster._woken.is_set())
        (await at_b.do("ENABLE METADATA")).ok()
        (await at_b.do("NOTIFY SET (PERSONAL (MessageNew MessageExpunge MailboxName SubscriptionChange"
                       " FlagChange MailboxMetadataChange))")).ok()  # fmt: skip
        (await at_a.do("CREATE Plans")).ok()
        assert b"Plans" in await hears(at_b, b"LIST")
        (await at_a.do("RENAME Plans Projects")).ok()
        assert b"OLDNAME" in (line := await hears(at_b, b"OLDNAME")) and b"Projects" in line
        (await at_a.do("UNSUBSCRIBE Projects")).ok()
        assert b"Subscribed" not in await hears(at_b, b"LIST")
        (await at_a.do('SETMETADATA Projects (/private/comment "mine")')).ok()
        assert b"/private/comment" in await hears(at_b, b"METADATA")
        assert b"mine" in b" ".join((await at_b.do("GETMETADATA Projects /private/comment")).ok().lines)
        (await at_a.do("APPEND Projects {}", ONE)).ok()
        assert b"MESSAGES 1" in await hears(at_b, b"STATUS Projects")
        (await at_a.do("DELETE Projects")).ok()
        assert b"Deleted Items" in await hears(at_b, b'("OLDNAME" (Projects))')
        assert b"NO" in (await at_b.do("SELECT Projects")).tagged


async def test_a_deleted_mailbox_is_gone_for_who_has_it_open_elsewhere(tmp_path: Path) -> None:
    async with nodes_world(tmp_path) as world:
        a, b = await world.up(), await world.up()
        at_a = await a.client()
        (await at_a.do("CREATE Doomed")).ok()
        at_b = await b.client()
        await at_b.select("Doomed")
        (await at_a.do("DELETE Doomed")).ok()
        folder = (await b.account()).hierarchy
        assert await until(lambda: folder.tree.get("Doomed") is None)
        assert b"NO" in (await at_b.do("FETCH 1:* FLAGS")).tagged or not at_b.uids


async def test_an_exact_size_learnt_on_one_is_told_by_the_other(tmp_path: Path) -> None:
    async with nodes_world(tmp_path) as world:
        await world.outlook.deliver(mime("one"))
        a, b = (
            await world.up(imap={"rfc822_size": "estimate"}),
            await world.up(imap={"rfc822_size": "estimate"}),
        )
        at_a, at_b = await a.client(), await b.client()
        await at_a.select()
        await at_b.select()
        before = (await at_b.do("FETCH 1 RFC822.SIZE")).ok().number(rb"RFC822.SIZE (\d+)")
        octets = len((await at_a.do("FETCH 1 BODY.PEEK[]")).ok().literal())
        assert before != octets

        async def told() -> bool:
            return (await at_b.do("FETCH 1 RFC822.SIZE")).ok().number(rb"RFC822.SIZE (\d+)") == octets

        await shortly(told)


# -- both write --


async def test_appends_on_both_at_once_get_uids_of_their_own(tmp_path: Path) -> None:
    async with nodes_world(tmp_path) as world:
        a, b = await world.up(), await world.up()
        clients = [await node.client() for node in (a, b) for _ in range(2)]
        watcher = await b.client()
        await watcher.select()

        async def some(client: Client) -> list[int]:
            return [await uid_of(client) for _ in range(6)]

        given = await asyncio.gather(*map(some, clients))
        uids = [uid for some in given for uid in some]
        assert len(set(uids)) == 24
        assert all(some == sorted(some) for some in given)

        async def all_there() -> bool:
            return bool((await watcher.do("NOOP")).ok()) and len(watcher.uids) == 24

        await shortly(all_there)
        for client in (*clients, watcher):
            await client.select()
            (await client.do("FETCH 1:* (UID RFC822.SIZE)")).ok()
            assert client.uids == sorted(uids)
        originals = {bytes((await client.do(f"UID FETCH {uid} BODY.PEEK[]")).ok().literal())
                     for client in clients[1:3] for uid in uids[:3]}  # fmt: skip
        assert originals == {ONE}
        calls = (await world.outlook.http.get("log")).json()
        assert calls["max_in_flight"] <= 4
        assert not [r for r in calls["requests"] if r["status"] == 429]


async def test_a_folder_is_synced_first_by_one_of_them(tmp_path: Path) -> None:
    async with nodes_world(tmp_path, messages=60) as world:
        a, b = await world.up(), await world.up()
        at_a, at_b = await a.client(), await b.client()
        await asyncio.gather(at_a.select(), at_b.select())
        for client in (at_a, at_b):
            (await client.do("FETCH 1:* UID")).ok()
        assert at_a.uids == at_b.uids and len(at_a.uids) == 60
        listings = [line for line in await world.outlook.lines() if "receivedDateTime asc" in line]
        assert len(listings) <= 6, listings  # one of each folder in the background


async def test_a_message_sent_through_one_and_filed_through_another_is_one(tmp_path: Path) -> None:
    raw = (
        b"From: alice@example.com\r\nTo: bob@example.com\r\nMessage-ID: <once@example.com>\r\n"
        b"Subject: once\r\n\r\nx\r\n"
    )
    async with nodes_world(tmp_path) as world:
        a, b = await world.up(), await world.up()
        client = await b.client()
        await client.select("Sent Items")
        await a.submit(raw)
        answer = (await client.do('APPEND "Sent Items" {}', raw)).ok()
        assert b"APPENDUID" in answer.tagged
        assert len(await world.outlook.listing("sentitems")) == 1
        (await client.do("NOOP")).ok()
        assert (await client.do("FETCH 1:* BODY.PEEK[]")).ok().literal() == raw


# -- what the mailbox bears --


async def test_four_calls_at_once_and_never_more_however_many_gateways(tmp_path: Path) -> None:
    async with nodes_world(tmp_path, messages=45) as world:
        nodes = [await world.up() for _ in range(3)]
        clients = [await node.client() for node in nodes]
        for client in clients:
            await client.select()
        await world.outlook.limits(rtt_ms=20)
        await world.outlook.forget()
        at = [slice(1, 15), slice(16, 30), slice(31, 44)]
        await asyncio.gather(
            *(
                c.do(f"FETCH {s.start}:{s.stop} BODY.PEEK[]", seconds=60)
                for c, s in zip(clients, at, strict=True)
            )
        )
        calls = (await world.outlook.http.get("log")).json()
        assert 2 <= calls["max_in_flight"] <= 4
        assert not [r for r in calls["requests"] if r["status"] == 429]
        shares = [node.gateway._place._shares for node in nodes]  # type: ignore[attr-defined]
        assert sum(share.slots() for share in shares) <= 4
        for node in nodes[1:]:
            await world.down(node)
        (await clients[0].do("NOOP")).ok()
        (await clients[0].do("FETCH 45 BODY.PEEK[]")).ok()
        assert await until(lambda: shares[0].slots() == 4)


# -- notifications --


class Balancer(Board):
    """Where Graph posts to: it comes to one of them."""

    to: Board

    def deliver(self, notices: Iterable[Notice]) -> None:
        self.to.deliver(list(notices))


async def test_a_notification_may_come_to_any_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One keeps the subscription; the other one's sessions hear by it, too, and it goes on where the first ended."""
    monkeypatch.setattr(subscription, "FOLLOW", 0.1)
    balancer = Balancer()
    web = WebServer(CollectorRegistry(), list, nothing, webhooks.routes(balancer))
    base = f"http://127.0.0.1:{await web.start('127.0.0.1', 0)}"
    addresses = subscription.Addresses(base + webhooks.NOTICES, base + webhooks.LIFECYCLE)

    def pushed(gateway: Gateway) -> None:
        gateway._hook = lambda: Hook(addresses, gateway.board)  # type: ignore[method-assign]

    try:
        async with nodes_world(tmp_path, notice_seconds=0.05, notice_retry_seconds=0.1) as world:
            await world.outlook.rules(webhooks_https_only=False)
            nodes = [await world.up(pushed, imap={"poll_interval": 3600.0}) for _ in range(2)]
            clients = {id(node): await node.client() for node in nodes}
            first, second = await holder(*nodes)
            balancer.to = second.gateway.board
            for node in nodes:
                account = await node.account()
                assert await until(lambda account=account: account.ctx.freshness.since is not None)
                await clients[id(node)].select()
                await clients[id(node)].idle()
            active = world.outlook.emulator.app.notices.subscriptions.active
            assert len(active()) == 1
            assert await until(lambda: bool(second.cluster._posts) and first.cluster._others)
            await asyncio.sleep(0.5)  # what each watches is known to the other
            await world.outlook.deliver(mime("news"))
            for client in clients.values():
                assert b"* 1 EXISTS" in await hears(client, b"EXISTS")
            await world.down(first)
            assert await until(lambda: second.cluster.posts == 1)
            await world.outlook.deliver(mime("more"))
            assert b"* 2 EXISTS" in await hears(clients[id(second)], b"EXISTS")
            assert len(active()) == 1
    finally:
        await web.stop()


async def nothing() -> None:
    pass


# -- hints are lost --


async def test_what_no_hint_told_of_is_caught_up_with(tmp_path: Path) -> None:
    async with nodes_world(tmp_path) as world:
        await world.outlook.deliver(mime("one"))
        a, b = await world.up(), await world.up()
        at_a, at_b = await a.client(), await b.client()
        await at_a.select()
        await at_b.select()
        await at_b.idle()
        listener = await b.client()
        (await listener.do("NOTIFY SET (PERSONAL (MessageNew MessageExpunge FlagChange MailboxName))")).ok()
        b.cluster.hint = lambda numbers: None  # what is said now is lost
        (await at_a.do("STORE 1 +FLAGS (\\Answered)")).ok()
        (await at_a.do("CREATE Unheard")).ok()
        await b.deaf()
        assert b"\\Answered" in await hears(at_b, b"FETCH")
        await hears(listener, b"STATUS INBOX")
        await hears(listener, b"Unheard")
        assert b.beat.reconnects == 1 and b.cluster.missed >= 1


async def test_hints_are_numbers_and_nothing_else(tmp_path: Path) -> None:
    async with nodes_world(tmp_path) as world:
        a, b = await world.up(), await world.up()
        said: list[str] = []
        heard = b.beat._heard
        b.beat._heard = lambda *words: (said.append(words[-1]), heard(*words))
        await b.deaf()  # the new connection hears by it
        assert await until(lambda: b.beat.reconnects == 1 and b.beat._db is not None)
        at_a, at_b = await a.client(), await b.client()
        (await at_a.do("CREATE Secret")).ok()
        (await at_a.do('SETMETADATA Secret (/private/comment "mine")')).ok()
        await at_a.select("Secret")
        (await at_a.do("APPEND Secret {}", ONE)).ok()
        (await at_a.do("STORE 1 +FLAGS (Keyword)")).ok()
        await at_b.select("Secret")
        assert await until(lambda: len({payload.split()[0] for payload in said}) >= 4)
        assert all(re.fullmatch(r"\d+( \d+)*", payload) for payload in said)
