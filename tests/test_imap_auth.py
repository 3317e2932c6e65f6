"""Logging in: what reaches the accounts, what a failure costs, what is never said in the clear."""

from __future__ import annotations

from base64 import b64encode

import pytest
from imap_support import ALICE, serving
from structlog.testing import capture_logs

from gateway.core.errors import Unavailable
from gateway.core.limits import DEFAULT_LIMITS
from gateway.imap.context import ImapSettings


async def test_a_failure_is_delayed_and_others_are_not() -> None:
    async with serving() as world:
        slow, quick = await world.connect(), await world.connect()
        slow.send(b"a LOGIN alice@example.com wrong\r\n")
        await world.rest()
        assert (await quick.command(b"LOGIN alice@example.com demo"))[-1].startswith(b"t OK")
        await world.advance(DEFAULT_LIMITS.login_delay - 0.1)
        assert not slow.reader._buffer  # type: ignore[attr-defined]
        await world.advance(0.1)
        assert await slow.response() == b"a NO [AUTHENTICATIONFAILED] Authentication failed"
        assert world.server.counters.failed_logins == 1


async def test_five_failures_end_the_connection_however_they_were_tried() -> None:
    plain = b64encode(b"\0alice@example.com\0wrong")
    attempts = [b"LOGIN alice@example.com wrong", b"AUTHENTICATE PLAIN " + plain] * 3
    async with serving() as world:
        client = await world.connect()
        for attempt in attempts[:5]:
            client.send(b"a " + attempt + b"\r\n")
            await world.advance(2)
            assert (await client.response()).startswith(b"a NO [AUTHENTICATIONFAILED]")
        assert await client.response() == b"* BYE Too many failed logins"
        assert await client.response() == b""
        assert len(world.accounts.attempts) == 5


async def test_nothing_of_a_login_is_logged() -> None:
    async with serving() as world:
        client = await world.connect()
        with capture_logs() as logs:
            client.send(b"a LOGIN alice@example.com wrong\r\n")
            await world.advance(2)
            world.accounts.fault = RuntimeError("password hunter2 of alice")
            await client.until(b"a")
            await client.command(b"LOGIN alice@example.com hunter2")
        assert "hunter2" not in repr(logs) and "wrong" not in repr(logs) and "alice" not in repr(logs)


async def test_a_backend_that_is_down_is_no_wrong_password() -> None:
    async with serving() as world:
        client = await world.connect()
        world.accounts.fault = Unavailable()
        assert (await client.command(b"LOGIN alice@example.com demo"))[-1].startswith(b"t NO [UNAVAILABLE]")
        assert world.server.counters.failed_logins == 0
        world.accounts.fault = None
        assert (await client.command(b"LOGIN alice@example.com demo"))[-1].startswith(b"t OK")


@pytest.mark.parametrize(
    "command", [b"LOGIN alice@example.com demo", b"AUTHENTICATE PLAIN", b"AUTHENTICATE LOGIN"]
)
async def test_without_tls_no_password_is_asked_for(command: bytes) -> None:
    async with serving(settings=ImapSettings()) as world:
        client = await world.connect()
        assert (await client.command(command))[-1].startswith(b"t NO [PRIVACYREQUIRED]")
        assert world.accounts.attempts == []


@pytest.mark.parametrize(
    "message",
    [b"", b"alice", b"\0alice", b"\0alice\0demo\0more", b"\0\xff\xfe\0demo"],
    ids=["empty", "no-nul", "one-nul", "three-nuls", "no-utf8"],
)
async def test_malformed_plain_is_refused_and_never_tried(message: bytes) -> None:
    async with serving() as world:
        client = await world.connect()
        client.send(b"a AUTHENTICATE PLAIN\r\n")
        assert await client.response() == b"+ "
        client.send(b64encode(message) + b"\r\n")
        await world.advance(2)
        assert (await client.response()).startswith((b"a BAD", b"a NO"))
        assert world.accounts.attempts == []


async def test_a_response_beyond_the_bound_is_bad() -> None:
    async with serving() as world:
        client = await world.connect()
        client.send(b"a AUTHENTICATE PLAIN\r\n")
        await client.response()
        client.send(b"A" * 100_000 + b"\r\nb NOOP\r\n")
        assert (await client.response()).startswith(b"a BAD [TOOBIG]")
        assert await client.response() == b"b OK NOOP completed"


async def test_the_peer_address_reaches_the_accounts() -> None:
    async with serving() as world:
        await world.login()
        assert world.accounts.attempts == [(ALICE, "127.0.0.1")]
