"""A message that its sender wants held back, from the SMTP client to the draft that waits in Exchange (RFC 4865)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import aiosmtplib
import pytest

from tests.account_world import PASSWORD, account_world
from tests.sync_world import ALICE

BOB = "bob@example.com"
MAIL = b"From: alice@example.com\r\nTo: bob@example.com\r\nSubject: later\r\n\r\nx\r\n"


@pytest.mark.parametrize(("option", "held"), [("HOLDFOR=3600", True), ("HOLDFOR=0", False)])
async def test_a_message_waits_in_exchange(tmp_path: Path, option: str, held: bool) -> None:
    async with account_world(tmp_path) as site:
        site.submission.settings = replace(site.submission.settings, longest_hold=86_400)
        await site.account()
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=site.smtp_port, use_tls=False, start_tls=False)
        async with client:
            await client.login(ALICE, PASSWORD)
            assert client.supports_extension("futurerelease")
            await client.mail(ALICE, options=[option])
            await client.rcpt(BOB)
            assert (await client.data(MAIL)).code == 250
        drafts = [row["subject"] for row in await site.outlook.listing("drafts")]
        inbox = [row["subject"] for row in await site.outlook.listing("inbox", BOB)]
        assert ("later" in drafts, "later" in inbox) == (held, not held)
