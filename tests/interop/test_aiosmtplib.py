"""aiosmtplib: several senders at once."""

from __future__ import annotations

import asyncio
from email.message import EmailMessage

import aiosmtplib
import pytest

from interop.lab import ALICE, BOB, CAROL, HOST, PASSWORD, Demo, eventually


def letter(subject: str, sender: str = ALICE) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, BOB, subject
    message.set_content("Grüße\n")
    return message


async def test_start_tls_and_send(demo: Demo):
    errors, reply = await aiosmtplib.send(
        letter("aiosmtplib by STARTTLS"), hostname=HOST, port=demo.ports["smtp"], username=ALICE,
        password=PASSWORD, start_tls=True, tls_context=demo.tls, timeout=30,
    )  # fmt: skip
    assert errors == {} and reply.startswith("2.0.0")
    await asyncio.to_thread(eventually, lambda: demo.find("aiosmtplib by STARTTLS", user=BOB))


async def test_ten_senders_at_once_each_once(demo: Demo):
    async def send(number: int) -> None:
        user = (ALICE, CAROL)[number % 2]
        await aiosmtplib.send(
            letter(f"aiosmtplib {number} of ten", user), hostname=HOST, port=demo.ports["smtps"], username=user,
            password=PASSWORD, use_tls=True, tls_context=demo.tls, timeout=60,
        )  # fmt: skip

    await asyncio.gather(*(send(number) for number in range(10)))

    def arrived() -> bool:
        subjects = [r["subject"] for r in demo.listing(user=BOB)]
        return all(subjects.count(f"aiosmtplib {n} of ten") == 1 for n in range(10))

    await asyncio.to_thread(eventually, arrived)


async def test_another_senders_address_is_refused_or_sent_as_allowed(demo: Demo):
    client = aiosmtplib.SMTP(hostname=HOST, port=demo.ports["smtps"], use_tls=True, tls_context=demo.tls)
    async with client:
        await client.login(ALICE, PASSWORD)
        with pytest.raises(aiosmtplib.SMTPResponseException) as refused:
            await client.sendmail(CAROL, [BOB], letter("aiosmtplib as carol", CAROL).as_bytes())
        assert refused.value.code == 550 and refused.value.message.startswith("5.7.60")
        assert (await client.noop()).code == 250
    assert not demo.find("aiosmtplib as carol", user=BOB)
