"""Commands and transactions over a socket: `gateway.smtp.handler`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from fakes import settle
from smtp_support import SETTINGS, Client, World, serving
from structlog.testing import capture_logs

from gateway.core.errors import GatewayError, LimitReached, SubmissionRefused, Unavailable
from gateway.core.limits import DEFAULT_LIMITS
from gateway.mailbox.values import Envelope

ALICE, BOB = "alice@example.com", "bob@example.com"
SMALL = replace(DEFAULT_LIMITS, message=1000, recipients=3)


async def test_ehlo_announces_exactly_what_is_whole() -> None:
    async with serving(SMALL) as world:
        client = await world.connect()
        assert (await client.command(b"EHLO x")).split("\n") == [
            "250 mx.example.com", "SIZE 1000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "PIPELINING",
            "CHUNKING", "DSN", "LIMITS MAILMAX=10000 RCPTMAX=3", "AUTH PLAIN LOGIN",
        ]  # fmt: skip


async def test_starttls_is_announced_before_tls_only() -> None:
    async with serving(tls=True) as world:
        client = await world.connect()
        assert "STARTTLS" in (await client.command(b"EHLO x")).split("\n")
    async with serving(tls=True, implicit=True) as world:
        client = await world.connect(world.client_tls)
        assert "STARTTLS" not in (await client.command(b"EHLO x")).split("\n")


async def test_a_message_arrives_as_sent() -> None:
    async with serving() as world:
        client = await world.session()
        assert await client.mail(b"Subject: hi\r\n\r\n..dot\r\ntext") == "250 2.0.0 Ok: queued as q1"
        assert world.account.sent == [(Envelope(ALICE, (BOB,)), b"Subject: hi\r\n\r\n.dot\r\ntext\r\n")]
        assert world.server.counters.submissions[250] == 1


async def test_helo_is_enough() -> None:
    """Printers and UPSs do not know EHLO."""
    async with serving() as world:
        client = await world.session()
        assert await client.command(b"HELO printer") == "250 mx.example.com"
        assert (await client.mail(b"x")).startswith("250 ")


async def test_250_comes_only_after_the_submission() -> None:
    async with serving() as world:
        world.account.gate = asyncio.Event()
        client = await world.session()
        await client.open_transaction()
        await client.send(b"hello\r\n.\r\n")
        answer = asyncio.ensure_future(client.reply())
        await world.rest()
        assert not answer.done() and not world.account.sent
        world.account.gate.set()
        assert (await answer).startswith("250 ")


@pytest.mark.parametrize(
    ("outcome", "reply"),
    [
        (SubmissionRefused(550, "5.7.60", "Not as this sender"), "550 5.7.60 Not as this sender"),
        (SubmissionRefused(451, "4.3.2", "Too many requests"), "451 4.3.2 Too many requests"),
        (SubmissionRefused(250, "2.0.0", "a bug"), "451 4.3.0 Local error, try again later"),
        (Unavailable("Exchange does not answer"), "451 4.3.0 Exchange does not answer"),
        (LimitReached("Slow down"), "451 4.7.0 Slow down"),
        (RuntimeError("internals"), "451 4.3.0 Local error, try again later"),
    ],
)  # fmt: skip
async def test_a_submission_that_fails_is_never_answered_250(outcome: Exception, reply: str) -> None:
    async with serving() as world:
        world.account.outcome = outcome
        client = await world.session()
        assert await client.mail(b"x") == reply
        assert world.server.counters.submissions[int(reply[:3])] == 1
        world.account.outcome = None
        assert (await client.mail(b"x")).startswith("250 "), "the session lives"


async def test_no_room_for_the_message() -> None:
    async with serving() as world:
        world.account.spool_fault = Unavailable("No room for the message, try again later")
        client = await world.session()
        assert (await client.mail(b"x")).startswith("451 4.3.0 No room")
        assert (await client.command(b"NOOP")).startswith("250 ")


async def test_an_unforeseen_fault_of_the_spool_does_not_turn_the_message_into_commands() -> None:
    async with serving() as world:
        world.account.spool_fault = OSError("too many open files")
        client = await world.session()
        await client.open_transaction()
        await client.send(b"a message that quotes SMTP:\r\n")
        await settle()
        await client.send(b"QUIT\r\n.\r\nNOOP\r\n")
        assert await client.reply() == "451 4.3.0 Local error, try again later"
        assert await client.reply() == "250 2.0.0 OK"
        assert world.server.counters.submissions[451] == 1


# -- MAIL and RCPT --


async def test_the_envelope_is_as_given() -> None:
    async with serving() as world:
        client = await world.session()
        await client.command(b"MAIL FROM: <Alice+x@Example.com> BODY=8BITMIME SIZE=10")
        await client.command(b"RCPT TO:Bob@example.com")
        assert (await client.command(b"rcpt to: <BOB@EXAMPLE.COM>")).startswith("250 2.1.5"), "the same again"
        await client.command(b"RCPT TO:<@relay.example:carol@example.com>")
        await client.command(b"DATA")
        await client.command(b".")
        assert world.account.sent[0] == (
            Envelope("Alice+x@Example.com", ("Bob@example.com", "carol@example.com")), b"",
        )  # fmt: skip
        assert world.account.announced == [10]


async def test_the_null_path() -> None:
    async with serving() as world:
        client = await world.session()
        assert (await client.command(b"MAIL FROM:<>")).startswith("250 2.1.0")
        assert (await client.command(b"RCPT TO:<>")).startswith("553 5.1.3")


async def test_smtputf8_only_where_announced_by_the_client() -> None:
    async with serving() as world:
        client = await world.session()
        assert (await client.command("MAIL FROM:<жанна@example.com>".encode())).startswith("553 5.6.7")
        assert (await client.command(b"MAIL FROM:<a@b.c>")).startswith("250 ")
        assert (await client.command("RCPT TO:<жанна@example.com>".encode())).startswith("553 5.6.7")
        await client.command(b"RSET")
        assert (await client.command("MAIL FROM:<жанна@example.com> SMTPUTF8".encode())).startswith("250 ")
        assert (await client.command("RCPT TO:<bob@bücher.example>".encode())).startswith("250 ")
        assert (await client.command(b"RCPT TO:<b\xffb@example.com>")).startswith("553 5.1.3")
        await client.command(b"DATA")
        assert (await client.command(b".")).startswith("250 ")
        assert world.account.sent[0][0] == Envelope(
            "жанна@example.com", ("bob@bücher.example",), smtputf8=True
        )


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"MAIL FROM:<a@b.c> SIZE=1001", "552 5.3.4"),
        (b"MAIL FROM:<a@b.c> SIZE=99999999999999999999", "552 5.3.4"),
        (b"MAIL FROM:<a@b.c> SIZE=x", "501 5.5.4"),
        (b"MAIL FROM:<a@b.c> BODY=BINARYMIME", "501 5.5.4"),
        (b"MAIL FROM:<a@b.c> REQUIRETLS", "550 5.7.30"),
        (b"MAIL FROM:<scanner>", "553 5.1.7"),
        (b"MAIL FROM:<" + b"x" * 400 + b"@b.c>", "553 5.1.7"),
        (b"MAIL FROM:<" + b"x" * 1250 + b"@b.c>", "500 5.5.2"),
        (b"MAIL a@b.c", "501 5.5.2"),
        (b"MAIL", "501 5.5.2"),
        (b"RCPT TO:<a@b.c>", "503 5.5.1"),
        (b"DATA", "503 5.5.1"),
    ],
)
async def test_refused_before_a_transaction(line: bytes, reply: str) -> None:
    async with serving(SMALL) as world:
        client = await world.session()
        assert (await client.command(line)).startswith(reply)
        assert (await client.command(b"MAIL FROM:<a@b.c> SIZE=1000")).startswith("250 ")


async def test_refused_in_a_transaction() -> None:
    async with serving(SMALL) as world:
        client = await world.session()
        await client.command(b"MAIL FROM:<a@b.c>")
        assert (await client.command(b"MAIL FROM:<a@b.c>")).startswith("503 5.5.1")
        assert (await client.command(b"DATA")).startswith("554 5.5.1")
        assert (await client.command(b"RCPT TO:<nobody>")).startswith("553 5.1.3")
        assert (await client.command(b"RCPT TO:<a@b.c> XYZ=NEVER")).startswith("555 5.5.4")
        assert (await client.command(b"RCPT")).startswith("501 5.5.2")
        await client.command(b"RCPT TO:<a@b.c>")
        assert (await client.command(b"DATA now")).startswith("501 5.5.4")
        assert (await client.command(b"DATA")).startswith("354 ")


async def test_recipients_beyond_the_limit_come_later() -> None:
    """RFC 5321 section 4.5.3.1.10: those accepted get the mail, the rest is sent again by the client."""
    async with serving(replace(SMALL, bad_commands=5)) as world:
        client = await world.session()
        await client.command(b"MAIL FROM:<a@b.c>")
        replies = [await client.command(b"RCPT TO:<r%d@b.c>" % n) for n in range(20)]
        assert [reply[:9] for reply in replies] == ["250 2.1.5"] * 3 + ["452 4.5.3"] * 17
        assert (await client.command(b"RCPT TO:<R1@b.c>")).startswith("250 "), "one we have already"
        await client.command(b"DATA")
        await client.command(b".")
        assert world.account.sent[0][0].recipients == ("r0@b.c", "r1@b.c", "r2@b.c")


async def test_rset_and_ehlo_end_a_transaction_and_keep_the_login() -> None:
    async with serving() as world:
        client = await world.session()
        for reset in (b"RSET", b"EHLO x", b"HELO x"):
            await client.command(b"MAIL FROM:<a@b.c>")
            await client.command(b"RCPT TO:<a@b.c>")
            assert (await client.command(reset)).startswith("250 ")
            assert (await client.command(b"DATA")).startswith("503 5.5.1")


async def test_nothing_of_one_transaction_is_left_in_the_next() -> None:
    async with serving() as world:
        client = await world.session()
        await client.mail(b"one")
        assert (await client.command(b"RCPT TO:<eve@example.com>")).startswith("503 5.5.1")
        await client.mail(b"two")
        assert [envelope.recipients for envelope, _ in world.account.sent] == [(BOB,), (BOB,)]


async def test_the_same_message_again_to_another_recipient_is_sent_again() -> None:
    """clients.md: the same Message-ID is no duplicate here."""
    async with serving() as world:
        client = await world.session()
        for recipient in (b"bob@example.com", b"carol@example.com", b"carol@example.com"):
            await client.open_transaction(recipient)
            assert (await client.command(b"Message-ID: <1@x>\r\n\r\nalarm\r\n.")).startswith("250 ")
        assert len(world.account.sent) == 3


# -- DATA --


async def test_over_the_limit_the_message_is_drained_then_refused() -> None:
    async with serving(SMALL) as world:
        client = await world.session()
        assert (await client.mail(b"x" * 1001)).startswith("552 5.3.4")
        assert (await client.mail(b"x" * 998)).startswith("250 "), "the session lives"
        assert world.account.spools[0].closed


async def test_far_over_the_limit_the_connection_ends() -> None:
    async with serving(SMALL) as world:
        client = await world.session()
        await client.open_transaction()
        await client.send(b"x" * 5000)
        assert (await client.reply()).startswith("552 5.3.4")
        assert await client.ended()
        assert not world.account.sent


@pytest.mark.parametrize("false_end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n"])
async def test_smuggling(false_end: bytes) -> None:
    """A second transaction behind a false end is text of the first, and that is refused."""
    async with serving() as world:
        client = await world.session()
        await client.open_transaction()
        evil = b"MAIL FROM:<ceo@example.com>\r\nRCPT TO:<eve@example.com>\r\nDATA\r\nevil"
        assert (await client.command(b"hello" + false_end + evil + b"\r\n.")).startswith("554 5.6.0")
        assert world.account.sent == [] and world.account.spools[0].closed
        assert (await client.command(b"NOOP")).startswith("250 2.0.0")


async def test_bare_lf_and_huge_lines_pass() -> None:
    """Devices: no Date, no Message-ID, no To, LF line ends, lines far over 998."""
    text = b"Subject: scan\n\n" + b"x" * 200_000 + b"\nend\n"
    async with serving() as world:
        client = await world.session()
        assert (await client.mail(text)).startswith("250 ")
        assert world.account.sent[0][1] == text + b"\r\n"


async def test_a_big_message_keeps_its_octets() -> None:
    text = b"".join(b"%08d" % n + b"." * 62 + b"\r\n" for n in range(90_000))  # 6 MB
    async with serving() as world:
        client = await world.session()
        await client.open_transaction()
        await client.send(text)
        assert (await client.command(b".")).startswith("250 ")
        assert world.account.sent[0][1] == text


async def test_data_and_what_follows_in_one_segment() -> None:
    """PIPELINING (RFC 2920), DATA being the last of its group; what follows the end is read as commands."""
    async with serving() as world:
        client = await world.session()
        await client.send(b"MAIL FROM:<a@b.c>\r\nRCPT TO:<x>\r\nRCPT TO:<b@b.c>\r\nDATA\r\n")
        assert [(await client.reply())[:3] for _ in range(4)] == ["250", "553", "250", "354"]
        await client.send(b"one\r\n.\r\nNOOP\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<b@b.c>\r\nDATA\r\n")
        assert [(await client.reply())[:3] for _ in range(5)] == ["250", "250", "250", "250", "354"]
        await client.send(b"two\r\n.\r\nQUIT\r\n")
        assert [(await client.reply())[:3] for _ in range(2)] == ["250", "221"]
        assert [text for _, text in world.account.sent] == [b"one\r\n", b"two\r\n"]


async def test_when_every_recipient_was_refused_pipelined_data_starts_nothing() -> None:
    async with serving() as world:
        client = await world.session()
        await client.send(b"MAIL FROM:<a@b.c>\r\nRCPT TO:<x>\r\nDATA\r\nRSET\r\n")
        assert [(await client.reply())[:3] for _ in range(4)] == ["250", "553", "554", "250"]


@pytest.mark.parametrize("sent", [b"", b"half", b"half\r\n.", b"half\r\n.\r"])
async def test_a_connection_lost_in_data_delivers_nothing(sent: bytes) -> None:
    async with serving() as world:
        client = await world.session()
        await client.open_transaction()
        await client.send(sent)
        await world.rest()
        client.close()
        await world.rest()
        assert world.account.sent == [] and world.server.open_connections == 0
        assert world.account.spools[0].closed


async def test_end_of_stream_in_data_delivers_nothing() -> None:
    async with serving() as world:
        client = await world.session()
        await client.open_transaction()
        await client.send(b"half\r\n.\r")
        client.writer.write_eof()
        assert await client.ended()
        assert world.account.sent == []


async def test_a_client_that_leaves_during_the_submission_does_not_cancel_it() -> None:
    """Half sent would be worse than sent: whether Graph took it would never be known."""
    async with serving() as world:
        world.account.gate = asyncio.Event()
        client = await world.session()
        await client.open_transaction()
        await client.send(b"hello\r\n.\r\n")
        await world.rest()
        client.close()
        await world.rest()
        world.account.gate.set()
        await world.rest()
        assert len(world.account.sent) == 1 and world.account.spools[0].closed


# -- the rest --


REST = {
    b"NOOP": "250 2.0.0 OK",
    b"NOOP with words": "250 2.0.0 OK",
    b"VRFY bob": "252 2.0.0 ",
    b"VRFY": "501 5.5.4 ",
    b"EXPN list": "502 5.5.1 ",
    b"RSET now": "501 5.5.4 ",
    b"EHLO": "501 Syntax",
    b"HELO": "501 Syntax",
    b"STARTTLS": "502 5.5.1 ",
    b"STARTTLS now": "501 5.5.4 ",
    b"HELP mail": "214 2.0.0 MAIL FROM:<address>",
    b"HELP EXPN": "214 2.0.0 AUTH BDAT DATA EHLO HELO HELP MAIL",
    b"XYZZY": "500 5.5.2 ",
    b"SMTP_MAIL": "500 5.5.2 ",
    b"": "500 5.5.2 ",
    b" NOOP": "500 5.5.2 ",
    b"NOOP x\0": "500 5.5.2 ",
    b"NOOP x\rQUIT": "500 5.5.2 ",
    b"NOOP\0": "500 5.5.2 ",
    b"NOOP\rQUIT": "500 5.5.2 ",
    b"\xff\xfe\x00junk": "500 5.5.2 ",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": "500 5.5.2 ",
    b"GET / HTTP/1.1": "500 5.5.2 ",
    b"NOOP " + b"x" * 510: "500 5.5.2 Line too long",
    b"x" * 40_000: "500 5.5.2 Line too long",
}


@pytest.mark.parametrize("line", REST)
async def test_any_line_gets_its_reply_and_the_session_lives(line: bytes) -> None:
    async with serving() as world:
        client = await world.session()
        assert (await client.command(line)).startswith(REST[line])
        assert await client.command(b"NOOP") == "250 2.0.0 OK"


async def test_quit() -> None:
    async with serving() as world:
        client = await world.connect()
        assert await client.command(b"quit") == "221 2.0.0 Bye"
        assert await client.ended()


async def test_every_reply_after_hello_has_an_enhanced_code() -> None:
    """RFC 2034 section 3."""
    async with serving() as world:
        client = await world.session()
        for line in (
            b"MAIL FROM:<a@b.c>",
            b"RCPT TO:<a@b.c>",
            b"RSET",
            b"NOOP",
            b"VRFY x",
            b"HELP",
            b"EXPN x",
            b"?",
            b"DATA",
        ):
            code, status = (await client.command(line)).split(" ")[:2]
            assert status.startswith(f"{code[0]}.") and status.count(".") == 2, line


async def refuse_one(world: World, client: Client, error: GatewayError) -> None:
    world.account.outcome = error
    await client.mail(b"Subject: secret\r\n\r\nbody")


async def test_the_log_names_nobody_and_nothing() -> None:
    async with serving(settings=replace(SETTINGS)) as world:
        with capture_logs() as lines:
            client = await world.session()
            await client.command(b"MAIL FROM:<nonsense alice@example.com>")
            await client.command(b"WHAT bob@example.com")
            await client.mail(b"Subject: secret\r\n\r\nbody")
            await refuse_one(world, client, SubmissionRefused(550, "5.6.0", "Not for bob@example.com"))
        assert [
            (
                line["event"],
                line["queue_id"],
                line["octets"],
                line["recipients"],
                line["status"],
                line["enhanced"],
            )
            for line in lines
        ] == [("smtp.submission", "q1", 25, 1, 250, "2.0.0"), ("smtp.submission", "", 25, 1, 550, "5.6.0")]
        assert not any(word in str(lines) for word in ("alice", "bob", "secret", "body", "demo"))


async def test_the_standard_log_of_the_library_stays_silent(caplog: pytest.LogCaptureFixture) -> None:
    """aiosmtpd would log commands with their addresses."""
    caplog.set_level("DEBUG")
    async with serving() as world:
        client = await world.session()
        await client.mail(b"Subject: secret\r\n\r\nbody")
        await client.command(b"WHAT bob@example.com")
    assert not any(word in caplog.text for word in ("alice", "bob", "secret", "body", "AGFs"))
