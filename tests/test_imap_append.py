"""APPEND: decided before the octets come, in step whatever happens, nothing kept of what failed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from imap_support import World, serving

from gateway.core.errors import GatewayError, OverQuota, TooBig, Unavailable
from gateway.core.limits import DEFAULT_LIMITS


async def test_a_refused_message_never_crosses_the_wire() -> None:
    async with serving() as world:
        client = await world.login()
        world.alice.faults["check_append"] = TooBig("Message too big")
        client.send(b"a APPEND INBOX {5}\r\n")
        assert await client.response() == b"a NO [TOOBIG] Message too big"
        assert world.alice.spools == []


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (Unavailable(), b"a NO [UNAVAILABLE]"),
        (OverQuota("Full"), b"a NO [OVERQUOTA]"),
        (RuntimeError("x"), b"a NO [SERVERBUG]"),
    ],
    ids=["unavailable", "quota", "bug"],
)
@pytest.mark.parametrize("plus", [b"", b"+"])
async def test_a_failure_after_the_octets_came(error: Exception, reply: bytes, plus: bytes) -> None:
    async with serving() as world:
        client = await world.login()
        world.alice.faults["append"] = error
        client.send(b"a APPEND INBOX {5%b}\r\n" % plus)
        if not plus:
            assert (await client.response()).startswith(b"+ ")
        client.send(b"12345\r\nb NOOP\r\n")
        assert (await client.response()).startswith(reply)
        assert await client.response() == b"b OK NOOP completed"
        assert [spool.closed for spool in world.alice.spools] == [True]
        assert world.inbox.messages == []


async def test_a_spool_that_fails_midway_swallows_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(self: object, data: bytes) -> None:
        raise OverQuota("No room")

    async with serving() as world:
        client = await world.login()
        monkeypatch.setattr("fakes.FakeSpool.write", full)
        client.send(b"a APPEND INBOX {300000+}\r\n" + b"x NOOP\r\n" * 37_500 + b"\r\nb NOOP\r\n")
        assert await client.response() == b"a NO [OVERQUOTA] No room"
        assert await client.response() == b"b OK NOOP completed"


async def test_a_client_that_leaves_amid_its_message_leaves_nothing() -> None:
    async with serving() as world:
        client = await world.login()
        client.send(b"a APPEND INBOX {1000+}\r\n" + b"x" * 500)
        await world.rest()
        client.writer.transport.abort()
        await world.rest()
        assert world.inbox.messages == []
        assert [spool.closed for spool in world.alice.spools] == [True]


async def test_oversize_is_swallowed_up_to_twice_the_limit() -> None:
    limits = replace(DEFAULT_LIMITS, append=1000, append_landable=1000)
    async with serving(limits) as world:
        world.alice.limit = 1000
        client = await world.login()
        client.send(b"a APPEND INBOX {1001+}\r\n" + b"x" * 1001 + b"\r\nb NOOP\r\n")
        assert (await client.response()).startswith(b"a NO [TOOBIG]")
        assert await client.response() == b"b OK NOOP completed"
        client.send(b"c APPEND INBOX {2001+}\r\n")
        assert (await client.response()).startswith(b"* BYE [TOOBIG]")
        assert await client.response() == b""


async def test_the_mailbox_name_may_be_a_literal_too() -> None:
    async with serving() as world:
        client = await world.login()
        client.send(b"a APPEND {5+}\r\nINBOX (\\Seen) {3+}\r\nabc\r\n")
        assert (await client.response()).startswith(b"a OK [APPENDUID ")
        client.send(b"b APPEND {5}\r\n")
        assert (await client.response()).startswith(b"+ ")
        client.send(b"INBOX {3}\r\n")
        assert (await client.response()).startswith(b"+ ")
        client.send(b"abc\r\n")
        assert (await client.response()).startswith(b"b OK [APPENDUID ")


@pytest.mark.parametrize("form", [b"{%d+}", b"~{%d+}"])
async def test_every_octet_arrives(form: bytes) -> None:
    async with serving() as world:
        client = await world.login()
        data = bytes(range(256)) * 1000
        client.send(b"a APPEND INBOX " + form % len(data) + b"\r\n%b\r\n" % data)
        assert (await client.response()).startswith(b"a OK")
        assert world.inbox.messages[-1].data == data


ERRORS = st.sampled_from([None, Unavailable(), OverQuota("Full")])
LITERALS = st.binary(min_size=1, max_size=40) | st.sampled_from([b"x NOOP\r\n", b"a LOGOUT\r\n{3}\r\n"])


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(LITERALS, ERRORS, ERRORS, st.integers(1, 9)), max_size=5))
def test_append_never_loses_its_place(
    appends: list[tuple[bytes, GatewayError | None, GatewayError | None, int]],
) -> None:
    import asyncio

    asyncio.run(_append_all(appends))


async def _append_all(
    appends: list[tuple[bytes, GatewayError | None, GatewayError | None, int]],
) -> None:
    async with serving() as world:
        client = await world.login()
        for data, early, late, cut in appends:
            _faults(world, early, late)
            octets = b"a APPEND INBOX {%d+}\r\n%b\r\nb NOOP\r\n" % (len(data), data)
            for start in range(0, len(octets), cut):
                client.send(octets[start : start + cut])
            ok = early is None and late is None
            assert (await client.response()).startswith(b"a OK" if ok else b"a NO")
            assert await client.response() == b"b OK NOOP completed"


def _faults(world: World, early: GatewayError | None, late: GatewayError | None) -> None:
    world.alice.faults.clear()
    for operation, error in (("check_append", early), ("append", late)):
        if error is not None:
            world.alice.faults[operation] = error


SEPARATORS = st.sampled_from([b" ", b" (\\Seen) ", b' "17-Jul-1996 02:44:25 -0700" ', b" x ", b"", b"  "])
FORM = st.sampled_from([b"{%d+}", b"~{%d+}"])


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(SEPARATORS, FORM, st.binary(max_size=40)), min_size=1, max_size=5),
    ERRORS,
    st.integers(1, 9),
)
def test_several_messages_never_lose_their_place(
    messages: list[tuple[bytes, bytes, bytes]], late: GatewayError | None, cut: int
) -> None:
    import asyncio

    asyncio.run(_append_several(messages, late, cut))


async def _append_several(
    messages: list[tuple[bytes, bytes, bytes]], late: GatewayError | None, cut: int
) -> None:
    """All or none: one bad announcement, one empty message, or a failure, and nothing is there."""
    async with serving() as world:
        client = await world.login()
        _faults(world, None, late)
        pieces = [separator + form % len(data) + b"\r\n" + data for separator, form, data in messages]
        octets = b"a APPEND INBOX" + b"".join(pieces) + b"\r\nb NOOP\r\n"
        for start in range(0, len(octets), cut):
            client.send(octets[start : start + cut])
        good = all(
            separator.strip() != b"x" and separator not in (b"", b"  ") and data
            for separator, _, data in messages
        )
        reply = await client.response()
        assert (
            reply.startswith(b"a OK [APPENDUID ")
            if good and late is None
            else reply[:4] in (b"a NO", b"a BA")
        )
        assert await client.response() == b"b OK NOOP completed"
        landed = [message.data for message in world.inbox.messages]
        assert landed == ([data for _, _, data in messages] if reply.startswith(b"a OK") else [])
        assert all(spool.closed for spool in world.alice.spools)
