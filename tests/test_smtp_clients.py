"""Client libraries against the submission server, as scripts use them: smtplib, aiosmtplib; and both event loops."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Callable
from dataclasses import replace
from email.message import EmailMessage

import aiosmtplib
import pytest
import uvloop
from smtp_support import PASSWORD, QUICK, SETTINGS, USER, World, serving

from gateway.core.errors import SubmissionRefused
from gateway.mailbox.values import Envelope

BOB = "bob@example.com"
TLS_ONLY = replace(SETTINGS, allow_plaintext=False)


def message(text: str = "hello\n.dot\n") -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = USER, BOB, "Grüße"
    mail.set_content(text)
    return mail


async def script(work: Callable[[], object]) -> None:
    await asyncio.to_thread(work)


async def test_smtplib_send_message() -> None:
    async with serving(QUICK, real_time=True) as world:

        def run() -> None:
            with smtplib.SMTP("127.0.0.1", world.port) as client:
                client.login(USER, PASSWORD)
                assert client.send_message(message(), to_addrs=[BOB, "hidden@example.com"]) == {}

        await script(run)
        envelope, octets = world.account.sent[0]
        assert envelope == Envelope(USER, (BOB, "hidden@example.com"))
        assert octets.endswith(b"\r\n\r\nhello\r\n.dot\r\n")


async def test_smtplib_octets_with_bare_lf_keep_their_dots() -> None:
    """`sendmail(..., message.as_bytes())`: LF line ends, dots doubled behind them."""
    async with serving(QUICK, real_time=True) as world:

        def run() -> None:
            with smtplib.SMTP("127.0.0.1", world.port) as client:
                client.login(USER, PASSWORD)
                client.sendmail(USER, BOB, message().as_bytes())

        await script(run)
        assert world.account.sent[0][1] == message().as_bytes() + b"\r\n"


async def test_smtplib_every_mechanism_by_hand() -> None:
    async with serving(QUICK, real_time=True) as world:

        def run() -> None:
            for mechanism in ("auth_login", "auth_plain"):
                for initial in (True, False):
                    with smtplib.SMTP("127.0.0.1", world.port) as client:
                        client.ehlo()
                        client.user, client.password = USER, PASSWORD
                        name = mechanism.removeprefix("auth_")
                        client.auth(name, getattr(client, mechanism), initial_response_ok=initial)

        await script(run)
        assert world.server.counters.logins == 4


async def test_smtplib_wrong_password_refused_recipient_refused_message() -> None:
    async with serving(QUICK, real_time=True) as world:

        def run() -> None:
            with smtplib.SMTP("127.0.0.1", world.port) as client:
                with pytest.raises(smtplib.SMTPAuthenticationError) as wrong:
                    client.login(USER, "wrong")
                assert (wrong.value.smtp_code, wrong.value.smtp_error[:5]) == (535, b"5.7.8")
                client.login(USER, PASSWORD)
                refused = client.sendmail(USER, [BOB, "nobody"], "x")
                assert refused["nobody"][0] == 553
                world.account.outcome = SubmissionRefused(
                    550, "5.6.0", "To or Cc names " + "somebody, " * 200
                )
                with pytest.raises(smtplib.SMTPDataError) as no:
                    client.sendmail(USER, BOB, "x")
                assert no.value.smtp_code == 550
                client.noop()

        await script(run)


async def test_smtplib_starttls_and_implicit_tls() -> None:
    async with serving(QUICK, TLS_ONLY, tls=True, real_time=True) as world:
        starttls = world.port
        world.port = await world.server.start("127.0.0.1", 0, world.server.tls, implicit=True)

        def run() -> None:
            with smtplib.SMTP("localhost", starttls) as client:
                client.ehlo()
                assert not client.has_extn("auth")
                client.starttls(context=world.client_tls)
                client.login(USER, PASSWORD)
                client.sendmail(USER, BOB, b"x" * 300_000)
            with smtplib.SMTP_SSL("localhost", world.port, context=world.client_tls) as client:
                client.login(USER, PASSWORD)
                client.sendmail(USER, BOB, b"x" * 300_000)

        await script(run)
        assert [len(text) for _, text in world.account.sent] == [300_002] * 2


async def test_smtplib_international_addresses_and_size() -> None:
    async with serving(replace(QUICK, message=1000), real_time=True) as world:

        def run() -> None:
            with smtplib.SMTP("127.0.0.1", world.port) as client:
                client.login(USER, PASSWORD)
                client.sendmail("жанна@example.com", BOB, b"x", ["SMTPUTF8", "BODY=8BITMIME"])
                with pytest.raises(smtplib.SMTPSenderRefused) as big:
                    client.sendmail(USER, BOB, b"x" * 2000)
                assert big.value.smtp_code == 552

        await script(run)
        assert world.account.sent[0][0].sender == "жанна@example.com"


async def test_aiosmtplib() -> None:
    async with serving(QUICK, TLS_ONLY, tls=True, real_time=True) as world:
        client = aiosmtplib.SMTP(
            hostname="localhost", port=world.port, tls_context=world.client_tls, start_tls=True, username=USER,
            password=PASSWORD,
        )  # fmt: skip
        async with client:
            errors, reply = await client.send_message(message(), recipients=[BOB])
            assert errors == {} and reply.startswith("2.0.0 Ok: queued as q1")
            await client.rset()
            assert (await client.vrfy("bob")).code == 252
        assert len(world.account.sent) == 1


async def exchange_on_any_loop() -> World:
    async with serving(QUICK, TLS_ONLY, tls=True, real_time=True) as world:
        client = await world.connect()
        await client.command(b"EHLO x")
        await client.command(b"STARTTLS")
        assert world.client_tls is not None
        await client.writer.start_tls(world.client_tls, server_hostname="localhost")
        await client.login()
        await client.open_transaction()
        await client.send(b"x" * 1_000_000)
        assert (await client.command(b"\r\n.")).startswith("250 ")
        lost = await world.connect()
        await lost.send(b"EHLO x\r\nSTARTTLS\r\njunk\r\n" * 3)
        lost.close()
        assert await client.command(b"QUIT") == "221 2.0.0 Bye"
        return world


def test_on_uvloop_as_on_asyncio() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        world = runner.run(exchange_on_any_loop())
    assert [len(text) for _, text in world.account.sent] == [1_000_002]
    with asyncio.Runner() as runner:
        world = runner.run(exchange_on_any_loop())
    assert [len(text) for _, text in world.account.sent] == [1_000_002]
