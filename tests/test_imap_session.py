"""One tagged reply per command, on every path; nothing between the halves of a response."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from fakes import settle
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from imap_support import MESSAGE, serving
from structlog.testing import capture_logs

from gateway.core.errors import LimitReached, NoPermission, OverQuota, Unavailable
from gateway.core.limits import DEFAULT_LIMITS


class SecretError(Exception):
    """An error whose text quotes a message."""


@pytest.mark.parametrize(
    ("operation", "command"),
    [
        ("rows", b"FETCH 1 FLAGS"),
        ("store", b"STORE 1 +FLAGS (\\Seen)"),
        ("search", b"SEARCH ALL"),
        ("copy", b"COPY 1 Archive"),
        ("copy", b"MOVE 1 Archive"),
        ("expunge", b"EXPUNGE"),
        ("expunge", b"CLOSE"),
        ("poll", b"CHECK"),
        ("open", b"SELECT Archive"),
        ("folders", b'LIST "" *'),
        ("status", b"STATUS INBOX (MESSAGES)"),
        ("create", b"CREATE x"),
        ("delete", b"DELETE Archive"),
        ("rename", b"RENAME Archive x"),
    ],
)
@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (Unavailable(), b"t NO [UNAVAILABLE] "),
        (LimitReached("Slow down"), b"t NO [LIMIT] Slow down"),
        (OverQuota("Full"), b"t NO [OVERQUOTA] Full"),
        (SecretError("Subject: private"), b"t NO [SERVERBUG] Internal error"),
    ],
    ids=["unavailable", "limit", "quota", "bug"],
)
async def test_every_error_has_its_tagged_reply_and_the_session_lives(
    operation: str, command: bytes, error: Exception, reply: bytes
) -> None:
    async with serving(messages=1) as world:
        client = await world.login(b"INBOX")
        world.alice.faults[operation] = error
        answers = await client.command(command)
        assert answers[-1].startswith(reply)
        assert (await client.command(b"NOOP"))[-1] == b"t OK NOOP completed"


async def test_a_bug_is_logged_without_content() -> None:
    async with serving(messages=1) as world:
        client = await world.login(b"INBOX")
        world.alice.faults["search"] = SecretError("Subject: private")
        with capture_logs() as logs:
            await client.command(b"SEARCH SUBJECT private")
        assert [entry["error"] for entry in logs] == ["SecretError"]
        assert "private" not in repr(logs) and "alice" not in repr(logs)
        assert world.server.counters.bugs == 1


async def test_pipelined_commands_run_one_at_a_time_and_are_answered_in_order() -> None:
    async with serving(messages=2) as world:
        client = await world.login(b"INBOX")
        gate = world.alice.gates["search"] = asyncio.Event()
        client.send(b"a SEARCH ALL\r\nb NOOP\r\nc FETCH 1 UID\r\nd LOGOUT\r\n")
        await world.rest()
        assert world.server.counters.commands["FETCH"] == 0
        gate.set()
        answers = await client.until(b"d")
        assert [answer[:4] for answer in answers if not answer.startswith(b"*")] == [
            b"a OK", b"b OK", b"c OK", b"d OK",
        ]  # fmt: skip


async def test_adjacent_status_commands_are_one_question() -> None:
    async with serving() as world:
        client = await world.login()
        client.send(
            b"a STATUS INBOX (MESSAGES)\r\nb STATUS Archive (MESSAGES)\r\nc STATUS INBOX (UNSEEN)\r\n"
            b"d NOOP\r\ne STATUS INBOX (MESSAGES)\r\n"
        )
        await client.until(b"e")
        assert world.alice.status_calls == [["INBOX", "Archive"], ["INBOX"], ["INBOX"]]


async def test_no_more_than_the_bound_is_parsed_ahead() -> None:
    limits = replace(DEFAULT_LIMITS, pipelined=2)
    async with serving(limits) as world:
        client = await world.login()
        names = [b"A%d" % n for n in range(6)]
        for name in names:
            await client.command(b"CREATE " + name)
        client.send(b"".join(b"%b STATUS %b (MESSAGES)\r\n" % (name, name) for name in names))
        await client.until(b"A5")
        assert max(map(len, world.alice.status_calls)) <= 3


async def test_a_long_command_gives_signs_of_life_between_responses() -> None:
    """After ten seconds, and every ten (RFC 9585), the tag in quotes; the next command counts anew."""
    async with serving() as world:
        client = await world.login()
        gate = world.alice.gates["open"] = asyncio.Event()
        client.send(b"a SELECT INBOX\r\nb NOOP\r\n")
        for _ in range(3):
            await world.advance(9)
            await world.advance(1)
            assert await client.response() == b'* OK [INPROGRESS ("a" NIL NIL)] Still working'
        gate.set()
        assert (await client.until(b"a"))[-1] == b"a OK [READ-WRITE] SELECT completed"
        assert await client.until(b"b") == [b"b OK NOOP completed"]


async def test_no_sign_of_life_inside_a_literal() -> None:
    """Seen in a peer: keep-alive octets inside FETCH."""
    big = b"Subject: big\r\n\r\n" + b"x" * 5_000_000
    async with serving() as world:
        world.inbox.add(big)
        client = await world.login(b"INBOX")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
        await world.advance(60)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        answers = await client.until(b"a")
        assert answers == [b"* 1 FETCH (BODY[] {%d}\r\n%b)" % (len(big), big), b"a OK FETCH completed"]


async def test_a_body_that_breaks_off_closes_rather_than_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a literal cannot be taken back: anything said after it would be read as the message."""
    async with serving(messages=1) as world:
        client = await world.login(b"INBOX")
        monkeypatch.setattr("fakes.FakeBody.read", lambda self, start, end: b"short")
        client.send(b"a FETCH 1 BODY.PEEK[]\r\nb NOOP\r\n")
        rest = await asyncio.wait_for(client.reader.read(), 5)
        assert b" OK " not in rest and b" NO " not in rest and b"BYE" not in rest


async def test_a_client_that_leaves_amid_a_fetch_ends_its_session() -> None:
    async with serving() as world:
        for _ in range(50):
            world.inbox.add(b"\r\n" + b"x" * 1_000_000)
        client = await world.login(b"INBOX")
        client.send(b"a FETCH 1:* BODY.PEEK[]\r\n")
        await client.reader.read(1000)
        client.writer.transport.abort()
        for _ in range(20):
            await world.advance(1)
        assert world.server.open_connections == 0
        assert not world.inbox.wakes  # the folder was closed


async def test_the_open_folder_is_closed_when_the_session_ends() -> None:
    async with serving() as world:
        client = await world.login(b"INBOX")
        assert len(world.inbox.wakes) == 1
        await client.command(b"LOGOUT")
        await world.rest()
        assert not world.inbox.wakes


async def test_counters_count_and_name_nobody() -> None:
    async with serving(messages=1) as world:
        client = await world.login(b"INBOX")
        await client.command(b"UID FETCH 1 FLAGS")
        await client.command(b"NOSUCH")
        counters = world.server.counters
        assert (counters.connections, counters.logins, world.server.open_connections) == (1, 1, 1)
        assert counters.commands["UID FETCH"] == 1
        assert counters.replies == {"OK": 3, "BAD": 1}
        assert counters.octets_in > 0 and counters.octets_out > 0
        assert "alice" not in repr(counters)


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [b"a FETCH 1 BODY[]\r\n", b"a APPEND INBOX {3+}\r\nabc\r\n", b"a IDLE\r\n", b"DONE\r\n",
                 b"a AUTHENTICATE PLAIN\r\n", b"a LOGIN {3}\r\n", b"a SELECT INBOX\r\n", b"(((((\r\n",
                 b'a SEARCH SUBJECT "\r\n', b"a UID STORE 1:* FLAGS ()\r\n", b"\r\n", b"{99999999999999+}\r\n"]
            ),
        ),
        max_size=8,
    )
)  # fmt: skip
def test_any_octets_at_all_get_a_bad_or_a_bye_and_harm_nobody_else(pieces: list[bytes]) -> None:
    asyncio.run(_hold_against(pieces))


async def _hold_against(pieces: list[bytes]) -> None:
    async with serving(messages=1) as world:
        other = await world.login(b"INBOX")
        client = await world.login()
        for piece in pieces:
            client.send(piece)
        client.send(b"\r\nDONE\r\n*\r\n" + b"z" * 70_000 + b"\r\n")
        client.send(b"\r\nzz NOOP\r\nDONE\r\n\r\nzy LOGOUT\r\n")
        client.writer.write_eof()
        heard = await asyncio.wait_for(client.reader.read(), 5)
        assert b"SERVERBUG" not in heard
        assert world.server.counters.bugs == 0
        assert (await other.command(b"FETCH 1 UID"))[-1] == b"t OK FETCH completed"


async def test_news_waits_for_the_reply_not_for_the_next_command() -> None:
    async with serving(messages=1) as world:
        client = await world.login(b"INBOX")
        other = await world.login(b"INBOX")
        world.inbox.add(MESSAGE)
        await settle()
        for one in (client, other):
            assert b"* 2 EXISTS" in await one.command(b"NOOP")
            assert await one.command(b"NOOP") == [b"t OK NOOP completed"]


async def test_a_command_with_a_literal_instead_of_done_ends_idle_and_is_executed() -> None:
    async with serving(messages=1) as world:
        client = await world.login(b"INBOX")
        client.send(b"i IDLE\r\n")
        await client.response()
        client.send(b"a APPEND INBOX {3}\r\n")
        assert (await client.until(b"i"))[-1] == b"i BAD Expected DONE"
        assert (await client.response()).startswith(b"+ ")
        client.send(b"abc\r\n")
        assert (await client.until(b"a"))[-1].startswith(b"a OK [APPENDUID ")


async def test_a_synchronizing_literal_instead_of_done_gets_its_continuation() -> None:
    async with serving(messages=1) as world:
        client = await world.login(b"INBOX")
        client.send(b"i IDLE\r\n")
        await client.response()
        client.send(b"a STATUS {5}\r\n")
        assert (await client.until(b"i"))[-1] == b"i BAD Expected DONE"
        assert (await client.response()).startswith(b"+ ")
        client.send(b"INBOX (MESSAGES)\r\n")
        assert (await client.until(b"a"))[-1] == b"a OK STATUS completed"


async def test_a_bug_outside_of_any_handler_ends_with_bye(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise SecretError("Subject: private")

    async with serving(messages=1) as world:
        client = await world.login(b"INBOX")
        monkeypatch.setattr("gateway.imap.news.announce", broken)
        with capture_logs() as logs:
            client.send(b"a NOOP\r\n")
            assert await client.response() == b"* BYE Internal error"
            assert await client.response() == b""
        assert "private" not in str(logs) and logs[0]["error"] == "SecretError"


async def test_a_status_refused_among_others_spoils_none_of_them() -> None:
    async with serving(messages=1) as world:
        client = await world.login()
        world.alice.faults["status"] = NoPermission("One of these is not yours")
        client.send(b"a STATUS INBOX (MESSAGES)\r\nb STATUS Archive (MESSAGES)\r\n")
        assert (await client.until(b"a"))[-1] == b"a OK STATUS completed"
        assert (await client.until(b"b"))[-1] == b"b OK STATUS completed"
