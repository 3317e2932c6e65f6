"""What must never happen to a session (7, 10), and how it must behave while Graph is away, slow or stern."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from tests.account_world import ALICE, BOB, PASSWORD, Client, Site, account_world, fetched, mime

SECRET = "Zwiebelkuchen"


@pytest.fixture
async def s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr("gateway.graph.client.BACKOFF", (0.02, 0.05))
    async with account_world(tmp_path) as site:
        yield site


async def selected(s: Site, count: int = 2) -> Client:
    for n in range(count):
        await s.outlook.deliver(mime(f"m{n}"), received=f"2026-01-{n + 1:02}T00:00:00Z")
    client = await s.client()
    await client.select()
    return client


# -- 7 --

GARBAGE = [
    b"\r\n", b"\n", b"   \r\n", b"a\r\n", b"a \r\n", b"* OK\r\n", b"\x00\x01\x02\xff\r\n", b"a FETCH\r\n",
    b"a FETCH 0 FLAGS\r\n", b"a FETCH 1 (\r\n", b"a LOGIN {3}\r\nabc\r\n", b"a STORE 1 FLAGS\r\n", b"((((((((((\r\n",
    b"a UID\r\n", b"a SEARCH CHARSET\r\n", b"a SELECT {99999999999999999999}\r\n", b"a " + b"(" * 3000 + b"\r\n",
    b"A" * 70_000 + b"\r\n", b"a APPEND INBOX {4294967295}\r\n", b"a APPEND INBOX (\\Seen\r\n", b"DONE\r\n",
    b"a IDLE\r\nnot done\r\n", b"a FETCH 4294967296 FLAGS\r\n", b"EHLO x\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"a ID (\"x\" {2}\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    b"a SEARCH " + b"NOT " * 5000 + b"ALL\r\n",
]  # fmt: skip


@pytest.mark.parametrize("login", [True, False])
async def test_never_7_input_that_drops_other_peoples_connections(s: Site, login: bool) -> None:
    """Any bytes at all: the sender lives or gets a BYE; the bystander notices nothing."""
    bystander = await selected(s)
    tag = await bystander.idle()
    for garbage in GARBAGE:
        client = await s.client() if login else await s.connect()
        client.send(garbage)
        client.send(b"\r\nzz1 NOOP\r\n")
        async with asyncio.timeout(10):
            while True:
                line = await client.response()
                if not line or line.startswith((b"* BYE", b"zz1 ", b"+")):
                    break
        await client.close()
    await s.outlook.deliver(mime("still here"))
    bystander.send(b"DONE\r\n")
    (await bystander.finish(tag)).ok()
    (await s.look(bystander)).ok()
    assert len(bystander.uids) == 3
    assert s.server.counters.bugs == 0


async def test_never_7_random_octets_end_in_bad_or_bye(s: Site) -> None:
    bystander = await selected(s)
    rng = random.Random(5)
    for _ in range(15):
        client = await s.connect()
        client.send(rng.randbytes(rng.randint(1, 3000)) + b"\r\n\r\nzz1 NOOP\r\nzz2 LOGOUT\r\n")
        async with asyncio.timeout(10):
            try:
                while await client.response():
                    pass
            except (ConnectionError, ValueError, AssertionError):
                pass
        await client.close()
    (await bystander.do("NOOP")).ok()
    assert s.server.counters.bugs == 0


@pytest.mark.parametrize("mode", ["hang", "reset", "cut"])
async def test_never_7_a_command_without_a_tagged_reply(s: Site, mode: str) -> None:
    """Graph hangs or breaks: each command is answered within our patience, and the others' meanwhile too."""
    client, other = await selected(s), await s.client(BOB)
    s.graph.limits = replace(s.limits, graph_timeout=0.2, graph_patience=0.3)
    await s.outlook.fault("*", "alice", mode, count=None)
    started = time.monotonic()
    tags = [
        client.start(command)
        for command in (
            "CHECK", "STORE 1 +FLAGS (\\Flagged)", "FETCH 1 (BODY.PEEK[])", "COPY 1 Archive", "EXPUNGE",
            "STATUS Archive (MESSAGES)", "CREATE Fresh", "NOOP",
        )
    ]  # fmt: skip
    async with asyncio.timeout(2):
        (await other.do("SELECT INBOX")).ok()
        (await other.do("NOOP")).ok()
    for tag in tags:
        answer = await client.finish(tag, 30)
        assert answer.tagged[:2] in (b"OK", b"NO")
    assert time.monotonic() - started < 40


async def test_never_7_the_same_command_a_hundred_times_is_a_poll(s: Site) -> None:
    client = await selected(s)
    for _ in range(3):
        tags = [client.start("NOOP") for _ in range(100)]
        for tag in tags:
            (await client.finish(tag)).ok()
    await s.outlook.forget()
    for _ in range(20):
        (await client.do("STATUS Archive (UIDNEXT)")).ok()
    assert len(await s.outlook.lines()) <= 1


# -- 10 --


async def test_never_10_a_secret_or_content_in_a_log(s: Site, capfd: pytest.CaptureFixture[str]) -> None:
    """Everything that is logged at the finest level, on good and bad paths: no password, token, subject, body,
    address of a message."""
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("gateway")
    logger.addHandler(handler)

    def keep(_logger: object, _name: str, event: structlog.types.EventDict) -> str:
        records.append(repr(event))
        return ""

    structlog.configure(processors=[structlog.processors.format_exc_info, keep])
    try:
        await _eventful(s)
    finally:
        structlog.reset_defaults()
        logger.removeHandler(handler)
    said = "\n".join([*records, *capfd.readouterr()])
    assert records, "nothing was logged at all: this test looks at nothing"
    tokens = [t for t in _tokens(s) if t]
    assert tokens
    for secret in (SECRET, "hunter22", "demo-secret", "mallory@", "Bearer ", "@example.net", *tokens):
        assert secret not in said, secret


def _tokens(s: Site) -> list[str]:
    found = s.outlook.emulator.app
    entra = getattr(found, "entra", None) or getattr(found, "_entra", None)
    access = getattr(entra, "access", None)
    listed = [v for v in vars(access).values() if isinstance(v, dict | set)] if access is not None else []
    return [str(key) for each in listed for key in list(each)[:3]] or ["eyJ"]


async def _eventful(s: Site) -> None:
    raw = mime(SECRET, f"{SECRET} {SECRET}", sender="mallory@example.net")
    await s.outlook.deliver(raw)
    client = await selected(s)
    (await (await s.connect()).do(f'LOGIN "{ALICE}" "hunter22"')).no(b"AUTHENTICATIONFAILED")
    for command in (
        f"SEARCH SUBJECT {SECRET}", f"SEARCH BODY {SECRET}", "FETCH 1:* (ENVELOPE BODY[])", f"CREATE {SECRET}",
        f"STORE 1 +FLAGS ({SECRET})", f"FETCH {SECRET}", f"{SECRET} x", f"SELECT {SECRET}2",
        f"RENAME {SECRET} {SECRET}3",
    ):  # fmt: skip
        await client.do(command)
    await client.do("APPEND INBOX {}", raw)
    await s.smtp(raw.replace(b"mallory@example.net", ALICE.encode()), ["mallory@example.net"])
    s.graph.limits = replace(s.limits, graph_timeout=0.2, graph_patience=0.1)
    for fault in (
        {"status": 503},
        {"mode": "reset"},
        {"status": 400, "body": SECRET},
        {"status": 200, "body": SECRET},
    ):
        await s.outlook.fault("*", "", count=None, **fault)  # type: ignore[arg-type]
        for command in (
            "CHECK",
            f"SEARCH TEXT {SECRET}x",
            "FETCH 2 (BODY[])",
            f"CREATE {SECRET}4",
            "COPY 1 Archive",
        ):
            await client.do(command)
        await client.do("APPEND INBOX {}", raw)
        await s.outlook.heal()
    s.graph.limits = s.limits


# -- how it must behave --


async def test_a_wrong_password_is_delayed_and_locks_nobody_up(tmp_path: Path) -> None:
    async with account_world(tmp_path) as s:
        s.limits = replace(s.limits, login_delay=1.0)
        await s.restart()
        guessers = [await s.connect() for _ in range(5)]
        started = time.monotonic()
        tags = [guesser.start(f'LOGIN "{ALICE}" "wrong"') for guesser in guessers]
        client = await s.connect()
        (await client.do(f'LOGIN "{ALICE}" "{PASSWORD}"')).ok()
        assert time.monotonic() - started < 1.0
        for guesser, tag in zip(guessers, tags, strict=True):
            (await guesser.finish(tag)).no(b"AUTHENTICATIONFAILED")
        assert time.monotonic() - started >= 0.99
        (await guessers[0].do(f'LOGIN "{ALICE}" "{PASSWORD}"')).ok()  # and is forgiven


async def test_unknown_user_and_wrong_password_look_the_same(s: Site) -> None:
    client = await s.connect()
    first = await client.do('LOGIN "nobody@example.com" "demo"')
    second = await client.do(f'LOGIN "{ALICE}" "wrong"')
    assert first.tagged == second.tagged
    first.no(b"AUTHENTICATIONFAILED")


async def test_graph_down_is_unavailable_and_the_session_recovers(s: Site) -> None:
    client = await selected(s)
    raw = await fetched(client, 1)
    s.graph.limits = replace(s.limits, graph_patience=0.5)
    await s.outlook.down()
    (await client.do("NOOP")).ok()
    assert await fetched(client, 1) == raw  # what is known is served
    (await client.do("FETCH 1:* (FLAGS UID INTERNALDATE)")).ok()
    (await client.do("FETCH 2 (BODY.PEEK[])")).no(b"UNAVAILABLE")
    (await client.do("STORE 1 +FLAGS (\\Flagged)")).no(b"UNAVAILABLE")
    (await client.do("COPY 1 Archive")).no(b"UNAVAILABLE")
    (await client.do("MOVE 1 Archive")).no(b"UNAVAILABLE")
    (await client.do("CREATE Fresh")).no(b"UNAVAILABLE")
    (await client.do("APPEND INBOX {}", mime("appended"))).no(b"UNAVAILABLE")
    assert (await s.smtp(mime("x", sender=ALICE), [ALICE]))[0] == 451
    other = await s.connect()
    (await other.do(f'LOGIN "{ALICE}" "{PASSWORD}"')).ok()
    await s.outlook.heal()
    s.graph.limits = s.limits
    (await client.do("STORE 1 +FLAGS (\\Flagged)")).ok()
    (await client.do("FETCH 2 (BODY.PEEK[])")).ok()
    (await other.do("SELECT INBOX")).ok()
    (await client.do("APPEND INBOX {}", mime("appended"))).ok()


async def test_unknown_folders_have_their_codes(s: Site) -> None:
    client = await selected(s)
    for command, code in (
        ("STATUS Nowhere (MESSAGES)", b"NONEXISTENT"), ("DELETE Nowhere", b"NONEXISTENT"),
        ("RENAME Nowhere Somewhere", b"NONEXISTENT"), ("COPY 1 Nowhere", b"TRYCREATE"),
        ("MOVE 1 Nowhere", b"TRYCREATE"), ("UID COPY 1 Nowhere", b"TRYCREATE"), ("EXAMINE Nowhere", b"NONEXISTENT"),
    ):  # fmt: skip
        (await client.do(command)).no(code)
    (await client.do("APPEND Nowhere {}", mime("x"))).no(b"TRYCREATE")
    (await client.do("SELECT Nowhere")).no(b"NONEXISTENT")
    (await client.do("SELECT INBOX")).ok()


@pytest.mark.parametrize("claims", [False, True])
async def test_tokens_that_expire_amid_a_session_are_not_noticed(s: Site, claims: bool) -> None:
    client = await selected(s)
    for command in (
        "CHECK", "FETCH 1 (BODY.PEEK[])", "STORE 1 +FLAGS (\\Flagged)", "COPY 1 Archive", "CREATE Fresh",
        "UID MOVE 2 Archive",
    ):  # fmt: skip
        await s.outlook.http.post("tokens/expire", json={"claims": claims})
        (await client.do(command)).ok()
    await s.outlook.http.post("tokens/expire", json={"claims": claims})
    (await client.do("APPEND INBOX {}", mime("appended"))).ok()
    await s.outlook.http.post("tokens/expire", json={"claims": claims})
    assert (await s.smtp(mime("sent", sender=ALICE), [ALICE]))[0] == 250


async def test_a_storm_of_429_is_not_noticed(s: Site) -> None:
    s.graph.limits = s.limits = replace(s.limits, graph_patience=60.0)
    client = await selected(s, 4)
    await s.outlook.fault("*", "", status=429, retry_after=0.05, count=None, probability=0.4)
    for command in (
        "CHECK", "FETCH 1:* (BODY.PEEK[])", "STORE 1:* +FLAGS (\\Flagged)", "COPY 1:* Archive", "CREATE Fresh",
        "UID MOVE 2 Archive", "STATUS Fresh (MESSAGES)", "SEARCH BODY Hello", "CHECK",
    ):  # fmt: skip
        (await client.do(command, seconds=60)).ok()
    (await client.do("APPEND INBOX {}", mime("appended"), seconds=60)).ok()
    assert (await s.smtp(mime("sent", sender=ALICE), [ALICE]))[0] == 250
    await s.outlook.heal()
    assert [m["flag"] for m in await s.outlook.listing()].count("flagged") == 3
    assert len(await s.outlook.listing("archive")) == 5


async def test_a_short_outage_is_not_noticed(s: Site) -> None:
    client = await selected(s)
    for command in ("CHECK", "FETCH 2 (BODY.PEEK[])", "STORE 2 +FLAGS (\\Flagged)", "UID MOVE 2 Archive"):
        await s.outlook.fault("*", "", status=503, count=2)
        (await client.do(command)).ok()


async def test_a_restart_of_the_server_says_bye_and_loses_nothing(s: Site) -> None:
    client = await selected(s)
    await client.idle()
    (await (other := await s.client()).do("SELECT INBOX")).ok()
    (await other.do("STORE 1 +FLAGS (\\Answered $Forwarded)")).ok()
    before = (await other.select()).number(rb"UIDVALIDITY (\d+)")
    stopping = asyncio.ensure_future(s.server.stop())
    async with asyncio.timeout(10):
        while not (await client.response()).startswith(b"* BYE"):
            pass
    await stopping
    await s.restart()
    again = await s.client()
    assert (await again.select()).number(rb"UIDVALIDITY (\d+)") == before
    (await again.do("FETCH 1:* (UID FLAGS)")).ok()
    assert again.flags[1] == {b"\\Answered", b"$Forwarded"}
    assert again.uids == [1, 2]
