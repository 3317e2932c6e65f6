"""Reports in the sender's INBOX: `gateway.mailbox.reporting`, before the emulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path

import aiosmtplib
import pytest
import pytest_asyncio

from gateway.mailbox.reporting import HEADER, KIND, Octets, header_of
from gateway.mailbox.values import Asked, Dsn, Envelope
from gateway.mailbox.work import settled
from tests.account_world import PASSWORD, SHY, Site, account_world
from tests.sync_world import ALICE, eventually

BOB, CAROL = "bob@example.com", "carol@example.com"
MAIL = (
    b"From: alice@example.com\r\nTo: bob@example.com\r\nCc: carol@example.com\r\n"
    b"Subject: hi\r\nMessage-ID: <1@x>\r\n\r\nx\r\n"
)
SUCCESS, NEVER = Asked(frozenset({"SUCCESS"}), "rfc822;bob@example.com"), Asked(frozenset())


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with account_world(tmp_path, settings=replace(SHY, hostname="mx.example.com")) as site:
        yield site


async def submitted(site: Site, dsn: Dsn, sender: str = ALICE) -> str:
    account = await site.account()
    spool = account.spool(len(MAIL))
    await spool.write(MAIL)
    queue_id = await account.submit(Envelope(sender, (BOB, CAROL), dsn), spool)
    await spool.close()
    await settled()
    return queue_id


async def reports(site: Site) -> list[str]:
    return [row["subject"] for row in await site.outlook.listing() if row["subject"] == "Mail was passed on"]


async def test_success_brings_a_report_into_inbox(site: Site) -> None:
    queue_id = await submitted(site, Dsn("HDRS", "E1", ((BOB, SUCCESS), (CAROL, NEVER))))
    (row,) = [row for row in await site.outlook.listing() if row["subject"] == "Mail was passed on"]
    assert row["isRead"] is False and row["isDraft"] is False
    assert row["internetMessageId"] == f"<{queue_id}.relayed@mx.example.com>"
    client = await site.client()
    await client.select("INBOX")
    octets = (await client.do("UID FETCH * (BODY.PEEK[])")).ok().literal()
    found = message_from_bytes(octets, policy=policy.default)
    status = str(list(found.walk())[2])
    assert "Original-Envelope-Id: E1" in status and "Action: relayed" in status
    assert BOB in status and CAROL not in status, "each recipient is asked about for himself"
    assert await site.store.journal((await site.account()).ctx.account) == []


@pytest.mark.parametrize(
    ("dsn", "sender"),
    [(Dsn(), ALICE), (Dsn(asked=((BOB, NEVER), (CAROL, NEVER))), ALICE),
     (Dsn(asked=((BOB, Asked(frozenset({"FAILURE"}))),)), ALICE), (Dsn(asked=((BOB, SUCCESS),)), "")],
)  # fmt: skip
async def test_who_did_not_ask_gets_none(site: Site, dsn: Dsn, sender: str) -> None:
    await submitted(site, dsn, sender)
    assert await reports(site) == []


async def test_a_report_that_cannot_land_now_lands_after_a_restart(site: Site) -> None:
    """The message is sent and acknowledged all the same; the report waits in the journal."""
    account = await site.account()
    inbox = account.ctx.special.pop("inbox")
    await submitted(site, Dsn(asked=((BOB, SUCCESS),)))
    assert await reports(site) == []
    assert [row.kind for row in await site.store.journal(account.ctx.account)] == [KIND]
    account.ctx.special["inbox"] = inbox
    await site.restart()
    await site.account()

    async def landed() -> bool:
        return await reports(site) == ["Mail was passed on"]

    await eventually(landed)


async def test_a_report_that_is_there_is_not_landed_again(site: Site) -> None:
    """A crash between the landing and its end."""
    account = await site.account()
    await submitted(site, Dsn(asked=((BOB, SUCCESS),)))
    (row,) = [row for row in await site.outlook.listing() if row["subject"] == "Mail was passed on"]
    blob = await site.store.put_blob(b"Subject: Mail was passed on\r\n\r\n")
    payload = b'{"message_id":"%b","blob":"%b"}' % (row["internetMessageId"].encode(), blob.hex().encode())
    await site.store.journal_add(account.ctx.account, KIND, payload)
    await site.restart()
    await site.account()
    assert await reports(site) == ["Mail was passed on"]
    assert await site.store.journal(account.ctx.account) == []


async def test_over_the_wire(site: Site) -> None:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=site.smtp_port, use_tls=False, start_tls=False)
    async with client:
        await client.login(ALICE, PASSWORD)
        assert client.supports_extension("dsn")
        await client.mail(ALICE, options=["RET=HDRS", "ENVID=abc"])
        for recipient in (BOB, CAROL):
            await client.rcpt(recipient, options=["NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;{recipient}"])
        assert (await client.data(MAIL)).code == 250
    await settled()
    await asyncio.sleep(0)
    assert await reports(site) == ["Mail was passed on"]


def test_as_much_of_a_header_comes_back_as_is_whole() -> None:
    assert header_of(Octets(MAIL)) == MAIL[:-3]
    assert header_of(Octets(b"")) == b""
    long = b"".join(b"X-%d: y\r\n" % n for n in range(HEADER))
    assert len(header_of(Octets(long))) > HEADER - 20 and header_of(Octets(long)).endswith(b"\r\n")
    assert header_of(Octets(b"x" * 2 * HEADER)) == b""
