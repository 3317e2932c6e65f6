"""What a client hears at MAIL and RCPT, before its message comes, and at DATA of From and Sender."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from smtp_support import Client

from gateway.core.errors import SubmissionRefused
from gateway.graph.errors import Denied, Invalid
from gateway.mailbox.sending import identity
from tests.account_world import SHY, Site, account_world
from tests.sync_world import ALICE
from tests.test_submission_wire import session

BOB = "bob@example.com"
ALLOWED = (ALICE, "sales@example.com", "*@events.example.com")


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with account_world(tmp_path, settings=replace(SHY, mail_tips=True)) as site:
        await site.account()
        yield site


def mail(author: str, more: str = "") -> bytes:
    return f"From: {author}\r\nTo: {BOB}\r\n{more}Subject: x\r\n\r\nhi\r\n.".encode()


async def replies(client: Client, *lines: str) -> list[str]:
    """All sent at once."""
    await client.send("".join(f"{line}\r\n" for line in lines).encode())
    return [(await client.reply()).rstrip() for _ in lines]


# -- as whom --


@pytest.mark.parametrize(
    "sender", ["", ALICE, "Alice@EXAMPLE.com", "sales@example.com", "x@events.example.com"]
)
def test_own_addresses_may_be_used(sender: str):
    identity.check_sender(sender, ALLOWED)


@pytest.mark.parametrize(
    "sender", [BOB, "x@example.com", "x@sub.events.example.com", "sales@example.com.evil.net"]
)
def test_others_may_not(sender: str):
    with pytest.raises(SubmissionRefused) as refused:
        identity.check_sender(sender, ALLOWED)
    assert (refused.value.status, refused.value.enhanced) == (550, "5.7.60")


def test_nothing_is_refused_where_nothing_is_known():
    identity.check_sender(BOB, ())
    identity.check_authors(b"From: bob@example.com\r\n\r\n", ())


@pytest.mark.parametrize(
    "header",
    [b"From: a <bob@example.com>\r\n\r\n", b"From: alice@example.com\r\nSender: bob@example.com\r\n\r\n"],
)
def test_from_and_sender_are_looked_at(header: bytes):
    with pytest.raises(SubmissionRefused):
        identity.check_authors(header, ALLOWED)


def test_what_exchange_refused_is_known_for_a_while():
    refused = identity.Refused()
    refused.learn("Bob@example.com", Denied("", status=403, code="ErrorSendAsDenied"), 100.0)
    refused.learn("zoe@example.com", Denied("", status=403, code="ErrorAccessDenied"), 100.0)
    refused.learn("max@example.com", Invalid("", status=400, code="ErrorSendAsDenied"), 100.0)
    with pytest.raises(SubmissionRefused):
        refused.check(BOB, 100.0 + identity.AGE - 1)
    refused.check(BOB, 100.0 + identity.AGE)
    refused.check("zoe@example.com", 100.0)
    refused.check("max@example.com", 100.0)


def test_what_is_remembered_is_bounded():
    refused = identity.Refused()
    for number in range(identity.KEPT + 10):
        refused.learn(f"u{number}@x.com", Denied("", status=403, code="ErrorSendAsDenied"), 1.0)
    assert len(refused.until) == identity.KEPT
    refused.check("u0@x.com", 1.0)


async def test_mail_from_is_refused_where_the_configuration_knows(tmp_path: Path):
    async with account_world(tmp_path, settings=replace(SHY, senders=ALLOWED)) as site:
        await site.account()
        client = await session(site)
        assert (await client.command(b"MAIL FROM:<bob@example.com>")).startswith("550 5.7.60")
        assert (await client.command(b"MAIL FROM:<sales@example.com>")).startswith("250")
        assert (await client.command(b"RCPT TO:<bob@example.com>")).startswith("250")
        assert (await client.command(b"DATA")).startswith("354")
        assert (await client.command(mail(BOB))).startswith("550 5.7.60")
        assert await site.outlook.lines() == []


async def test_exchange_is_asked_once_about_a_sender_it_refuses(site: Site):
    client = await session(site)
    first = await replies(client, "MAIL FROM:<carol@example.com>", f"RCPT TO:<{BOB}>", "DATA")
    assert [each[:3] for each in first] == ["250", "250", "354"]
    assert (await client.command(mail("carol@example.com"))).startswith("550 5.7.60")
    await site.outlook.forget()
    assert (await client.command(b"MAIL FROM:<carol@example.com>")).startswith("550 5.7.60")
    assert await site.outlook.lines() == []


async def test_a_refused_author_says_nothing_of_the_envelope(site: Site):
    """Who sends as himself with somebody else's From may go on to send as himself."""
    client = await session(site)
    await replies(client, f"MAIL FROM:<{ALICE}>", f"RCPT TO:<{BOB}>", "DATA")
    assert (await client.command(mail("carol@example.com"))).startswith("550 5.7.60")
    assert (await client.command(f"MAIL FROM:<{ALICE}>".encode())).startswith("250")


# -- to whom --


async def test_one_question_for_recipients_named_together(site: Site):
    site.outlook.emulator.tenant.post.restricted.add("carol@example.com")
    client = await session(site)
    said = await replies(
        client, f"MAIL FROM:<{ALICE}>", f"RCPT TO:<{BOB}>", "RCPT TO:<nobody@example.com>",
        "RCPT TO:<carol@example.com>", "RCPT TO:<zoe@example.net>", "RSET",
    )  # fmt: skip
    assert [each[:9] for each in said[1:5]] == ["250 2.1.5", "550 5.1.1", "550 5.7.1", "250 2.1.5"]
    assert await site.outlook.calls("POST", "getMailTips") == 1
    again = await replies(client, f"MAIL FROM:<{ALICE}>", "RCPT TO:<nobody@example.com>")
    assert again[1].startswith("550 5.1.1")
    assert await site.outlook.calls("POST", "getMailTips") == 1


async def test_a_full_mailbox_is_a_matter_of_time(site: Site):
    await site.outlook.limits(quota_bytes=-1)
    client = await session(site)
    said = await replies(client, f"MAIL FROM:<{ALICE}>", f"RCPT TO:<{BOB}>")
    assert said[1].startswith("452 4.2.2")


async def test_the_size_that_was_told_counts_at_the_recipient(site: Site):
    client = await session(site)
    said = await replies(
        client, f"MAIL FROM:<{ALICE}> SIZE=30000000", f"RCPT TO:<{BOB}>", "RCPT TO:<zoe@example.net>"
    )
    assert said[1].startswith("250") and said[2].startswith("552 5.2.3")


@pytest.mark.parametrize("status", [400, 403, 503])
async def test_without_an_answer_everybody_passes(site: Site, status: int):
    await site.outlook.fault("POST", "getMailTips", status=status, code="x", count=100)
    client = await session(site)
    said = await replies(client, f"MAIL FROM:<{ALICE}>", "RCPT TO:<nobody@example.com>")
    assert said[1].startswith("250")


async def test_nothing_is_asked_unless_told_to(tmp_path: Path):
    async with account_world(tmp_path) as site:
        await site.account()
        client = await session(site)
        said = await replies(client, f"MAIL FROM:<{ALICE}>", "RCPT TO:<nobody@example.com>")
        assert said[1].startswith("250") and await site.outlook.lines() == []
