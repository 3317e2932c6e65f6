"""AUTH in every form a client was seen to use (clients.md): `gateway.smtp.auth` behind a socket."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from dataclasses import replace

import pytest
from golden.scram import ScramClient
from smtp_support import PASSWORD, PLAIN, QUICK, SETTINGS, USER, Client, World, serving

from gateway.core.errors import Unavailable
from gateway.core.limits import DEFAULT_LIMITS
from gateway.wire.scram import verifier

USER64, PASSWORD64 = b64encode(USER.encode()), b64encode(PASSWORD.encode())
SUCCESS = "235 2.7.0 Authentication successful"
WRONG = b64encode(b"\0alice@example.com\0wrong")


async def greeted(world: World, hello: bytes = b"EHLO x") -> Client:
    client = await world.connect()
    assert (await client.command(hello)).startswith("250 ")
    return client


FORMS = {
    "PLAIN with initial response": [(b"AUTH PLAIN " + PLAIN, SUCCESS)],
    "PLAIN in lower case": [(b"auth plain " + PLAIN, SUCCESS)],
    "PLAIN without initial response": [(b"AUTH PLAIN", "334 "), (PLAIN, SUCCESS)],
    "PLAIN with authzid": [(b"AUTH PLAIN " + b64encode(b"ALICE@example.com\0alice@example.com\0demo"), SUCCESS)],
    "LOGIN": [(b"AUTH LOGIN", "334 VXNlcm5hbWU6"), (USER64, "334 UGFzc3dvcmQ6"), (PASSWORD64, SUCCESS)],
    "LOGIN with inline user": [(b"AUTH LOGIN " + USER64, "334 UGFzc3dvcmQ6"), (PASSWORD64, SUCCESS)],
    ".NET": [(b"AUTH login " + USER64, "334 UGFzc3dvcmQ6"), (PASSWORD64, SUCCESS)],
    "blanks": [(b"AUTH  LOGIN ", "334 VXNlcm5hbWU6"), (USER64 + b" ", "334 UGFzc3dvcmQ6"), (PASSWORD64, SUCCESS)],
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
async def test_every_form(form: str) -> None:
    async with serving() as world:
        client = await greeted(world)
        for line, answer in FORMS[form]:
            assert await client.command(line) == answer
        assert (await client.command(b"MAIL FROM:<a@b.c>")).startswith("250 ")


async def test_after_helo_too() -> None:
    """Printers say HELO and log in all the same."""
    async with serving() as world:
        client = await greeted(world, b"HELO printer")
        assert await client.command(b"AUTH PLAIN " + PLAIN) == SUCCESS


REFUSED = {
    b"AUTH": "501 5.5.4",
    b"AUTH PLAIN a b": "501 5.5.4",
    b"AUTH CRAM-MD5": "504 5.5.4",
    b"AUTH XOAUTH2 abc": "504 5.5.4",
    b"AUTH PLAIN !!!": "501 5.5.2",
    b"AUTH PLAIN AGFsaWNl": "501 5.5.2",
    b"AUTH PLAIN =": "501 5.5.2",
    b"AUTH PLAIN \xff\xff": "501 5.5.2",
    b"AUTH LOGIN abc": "501 5.5.2",
}


@pytest.mark.parametrize("line", REFUSED)
async def test_bad_forms_cost_nothing_but_a_reply(line: bytes) -> None:
    async with serving() as world:
        client = await greeted(world)
        assert (await client.command(line)).startswith(REFUSED[line])
        assert await client.command(b"AUTH PLAIN " + PLAIN) == SUCCESS


@pytest.mark.parametrize(
    ("answer", "reply"),
    [(b"*", "501 5.7.0"), (b"no base64", "501 5.5.2"), (b"QQ", "501 5.5.2"), (b"\xff\0", "501 5.5.2"),
     (b"A" * 12292, "500 5.5.6"), (b"A" * 30_000, "500 5.5.2")],
)  # fmt: skip
async def test_an_exchange_that_goes_wrong(answer: bytes, reply: str) -> None:
    async with serving() as world:
        client = await greeted(world)
        for start in (b"AUTH PLAIN", b"AUTH LOGIN", b"AUTH LOGIN " + USER64):
            assert (await client.command(start)).startswith("334 ")
            assert (await client.command(answer)).startswith(reply)
        assert await client.command(b"AUTH PLAIN " + PLAIN) == SUCCESS


async def test_a_long_password_is_read_whole() -> None:
    async with serving(QUICK, real_time=True) as world:
        client = await greeted(world)
        long = b64encode(b"\0alice@example.com\0" + b"x" * 8000)
        assert (await client.command(b"AUTH PLAIN " + long)).startswith("535 5.7.8")


async def test_it_must_come_before_mail() -> None:
    async with serving() as world:
        client = await greeted(world)
        for line in (b"MAIL FROM:<a@b.c>", b"RCPT TO:<a@b.c>", b"DATA"):
            assert await client.command(line) == "530 5.7.0 Authentication required"


async def test_hello_must_come_before_it() -> None:
    async with serving() as world:
        client = await world.connect()
        assert (await client.command(b"AUTH PLAIN " + PLAIN)).startswith("503 5.5.1")


async def test_once_only_and_not_during_a_transaction() -> None:
    async with serving() as world:
        client = await world.session()
        assert (await client.command(b"AUTH PLAIN " + PLAIN)).startswith("503 5.5.1")
        await client.command(b"MAIL FROM:<a@b.c>")
        assert (await client.command(b"AUTH PLAIN " + PLAIN)).startswith("503 5.5.1")
        await client.command(b"EHLO again")
        assert (await client.command(b"MAIL FROM:<a@b.c>")).startswith("250 ")


async def test_only_mechanisms_that_work_are_offered() -> None:
    """CRAM-MD5 would be smtplib's first choice, and we cannot verify it."""
    async with serving() as world:
        client = await world.connect()
        assert "\nAUTH PLAIN LOGIN" in await client.command(b"EHLO x")


async def test_without_tls_it_is_neither_offered_nor_accepted() -> None:
    async with serving(settings=replace(SETTINGS, allow_plaintext=False), tls=True) as world:
        client = await world.connect()
        assert "AUTH" not in await client.command(b"EHLO x")
        assert (await client.command(b"AUTH PLAIN " + PLAIN)).startswith("538 5.7.11")
        assert await client.command(b"MAIL FROM:<a@b.c>") == "530 5.7.0 Must issue a STARTTLS command first"
        assert world.account.sent == [] and world.server.counters.failed_logins == 0


async def test_a_wrong_password_is_answered_late_and_holds_up_nobody_else() -> None:
    async with serving() as world:
        wrong, other = await greeted(world), await greeted(world)
        await wrong.send(b"AUTH PLAIN " + WRONG + b"\r\n")
        answer = asyncio.ensure_future(wrong.reply())
        await world.rest()
        assert not answer.done()
        assert await other.command(b"AUTH PLAIN " + PLAIN) == SUCCESS
        await world.pass_time(DEFAULT_LIMITS.login_delay - 0.1)
        await world.rest()
        assert not answer.done()
        await world.pass_time(0.2)
        assert (await answer).startswith("535 5.7.8")
        assert await wrong.command(b"AUTH PLAIN " + PLAIN) == SUCCESS
        assert (world.server.counters.logins, world.server.counters.failed_logins) == (2, 1)


@pytest.mark.parametrize(
    "attempt", [WRONG, b64encode(b"bob\0alice@example.com\0demo"), b64encode(b"\0\xff\0demo")]
)
async def test_all_wrong_credentials_look_alike(attempt: bytes) -> None:
    async with serving(QUICK, real_time=True) as world:
        client = await greeted(world)
        assert (await client.command(b"AUTH PLAIN " + attempt)).startswith("535 5.7.8 ")


async def test_after_too_many_the_connection_ends() -> None:
    async with serving(replace(QUICK, login_attempts=3), real_time=True) as world:
        client = await greeted(world)
        for _ in range(2):
            assert (await client.command(b"AUTH PLAIN " + WRONG)).startswith("535 5.7.8")
        assert (await client.command(b"AUTH PLAIN " + WRONG)).startswith("421 4.7.0")
        assert await client.ended()


async def test_a_backend_that_does_not_answer_is_no_wrong_password() -> None:
    async with serving() as world:
        world.server.accounts.fault = Unavailable()  # type: ignore[attr-defined]
        client = await greeted(world)
        assert (await client.command(b"AUTH PLAIN " + PLAIN)).startswith("454 4.7.0")
        world.server.accounts.fault = None  # type: ignore[attr-defined]
        assert await client.command(b"AUTH PLAIN " + PLAIN) == SUCCESS
        assert world.server.counters.failed_logins == 0


async def scram(world: World, password: str, *, initial: bool = True) -> tuple[Client, str]:
    """An exchange; the last reply."""
    world.server.accounts.scram = True
    world.server.accounts.verifiers[USER] = verifier(PASSWORD, b"salt", 4096)
    peer, client = ScramClient(USER, password), await greeted(world)
    first = b64encode(peer.first())
    if initial:
        answer = await client.command(b"AUTH SCRAM-SHA-256 " + first)
    else:
        assert await client.command(b"AUTH SCRAM-SHA-256") == "334 "
        answer = await client.command(first)
    answer = await client.command(b64encode(peer.final(b64decode(answer.removeprefix("334 ")))))
    if answer.startswith("334 "):
        assert b64decode(answer.removeprefix("334 ")) == peer.signature
        answer = await client.command(b"")
    return client, answer


@pytest.mark.parametrize("initial", [True, False])
async def test_scram(initial: bool) -> None:
    async with serving() as world:
        client, answer = await scram(world, PASSWORD, initial=initial)
        assert answer == SUCCESS
        assert (await client.command(b"MAIL FROM:<a@b.c>")).startswith("250 ")


async def test_scram_with_another_password() -> None:
    async with serving(limits=QUICK, real_time=True) as world:
        _, answer = await scram(world, "wrong")
        assert answer.startswith("535 ")


async def test_scram_is_announced_and_known_where_everybody_has_a_verifier() -> None:
    async with serving() as world:
        client = await greeted(world)
        assert (await client.command(b"AUTH SCRAM-SHA-256")).startswith("504 5.5.4")
        assert "SCRAM" not in await client.command(b"EHLO x")
        world.server.accounts.scram = True
        assert "AUTH PLAIN LOGIN SCRAM-SHA-256" in (await client.command(b"EHLO x")).splitlines()
        assert (await client.command(b"AUTH SCRAM-SHA-256 biws")).startswith("501 5.5.2")
