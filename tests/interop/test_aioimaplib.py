"""aioimaplib: an asyncio client with its own parser of answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest_asyncio
from aioimaplib import IMAP4_SSL

from interop.lab import ALICE, BOB, HOST, PASSWORD, Demo, digest, mail

FOLDER = "Through aioimaplib"


async def signed_in(demo: Demo, user: str) -> IMAP4_SSL:
    client = IMAP4_SSL(HOST, demo.ports["imaps"], timeout=60, ssl_context=demo.tls)
    await client.wait_hello_from_server()
    await ok(client.login(user, PASSWORD))
    return client


@pytest_asyncio.fixture
async def client(demo: Demo) -> AsyncIterator[IMAP4_SSL]:
    made = await signed_in(demo, ALICE)
    yield made
    await made.logout()


async def ok(answer: Awaitable[Any]) -> list[bytes]:
    said = await answer
    assert said.result == "OK", said
    return [bytes(line) for line in said.lines]


async def soon(check: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(20):
        while not (value := await check()):  # noqa: ASYNC110  (another process is asked)
            await asyncio.sleep(0.1)
        return value


async def uid_of(client: IMAP4_SSL, subject: str) -> str:
    async def found() -> list[str]:
        await ok(client.noop())
        return (await ok(client.uid_search(f'SUBJECT "{subject}"', charset=None)))[0].decode().split()

    [uid] = await soon(found)
    return str(uid)


async def test_capabilities_namespace_and_list(client: IMAP4_SSL):
    for name in ("IDLE", "UIDPLUS", "MOVE", "NAMESPACE", "ID"):
        assert client.has_capability(name), name
    assert (await ok(client.namespace()))[0].startswith(b'(("" "/"))')
    listed = b"\n".join(await ok(client.list('""', "*")))
    assert b"INBOX" in listed and b"\\Sent" in listed


async def test_a_message_is_fetched_whole(demo: Demo, client: IMAP4_SSL):
    demo.deliver(mail("aioimaplib fetches this", "Ünïcode and a { brace }.\n" * 50))
    await ok(client.select("INBOX"))
    uid = await uid_of(client, "aioimaplib fetches this")
    lines = await ok(client.uid("fetch", uid, "(UID RFC822.SIZE BODY.PEEK[])"))
    [row] = demo.find("aioimaplib fetches this")
    assert digest(lines[1]) == row["sha256"] and f"RFC822.SIZE {row['size']}".encode() in lines[0]
    assert not row["isRead"], "BODY.PEEK read it"


async def test_flags_move_and_expunge(demo: Demo, client: IMAP4_SSL):
    await ok(client.create(f'"{FOLDER}"'))
    for each in ("flags", "moves", "deletes"):
        demo.deliver(mail(f"aioimaplib {each} this"))
    await ok(client.select("INBOX"))
    uids = {each: await uid_of(client, f"aioimaplib {each} this") for each in ("flags", "moves", "deletes")}
    await ok(client.uid("store", uids["flags"], "+FLAGS", r"(\Flagged \Seen)"))
    await ok(client.uid("move", uids["moves"], f'"{FOLDER}"'))
    await ok(client.uid("store", uids["deletes"], "+FLAGS", r"(\Deleted)"))
    await ok(client.uid("expunge", uids["deletes"]))
    [flagged] = demo.find("aioimaplib flags this")
    assert flagged["flag"] == "flagged" and flagged["isRead"]
    assert not demo.find("aioimaplib moves this") and len(demo.find("aioimaplib moves this", FOLDER)) == 1
    assert not demo.find("aioimaplib deletes this")
    assert len(demo.find("aioimaplib deletes this", "deleteditems")) == 1


async def test_append_says_where(demo: Demo, client: IMAP4_SSL):
    await client.create("aioimaplib-appended")
    lines = await ok(client.append(mail("aioimaplib appends this"), "aioimaplib-appended", r"\Seen"))
    [_, uid] = re.findall(rb"APPENDUID (\d+) (\d+)", lines[-1])[0]
    await ok(client.select("aioimaplib-appended"))
    fetched = await ok(client.uid("fetch", uid.decode(), "(FLAGS BODY.PEEK[])"))
    assert fetched[1] == mail("aioimaplib appends this") and rb"\Seen" in fetched[0]
    [row] = demo.listing("aioimaplib-appended")
    assert row["isRead"] and not row["isDraft"]


async def test_idle_hears_of_new_mail(demo: Demo):
    client = await signed_in(demo, BOB)
    lines = await ok(client.select("INBOX"))
    [before] = [int(m[1]) for line in lines if (m := re.match(rb"(\d+) EXISTS", line))]
    idling = await client.idle_start(timeout=30)
    await asyncio.to_thread(demo.deliver, mail("aioimaplib hears of this"), "inbox", BOB)
    told: list[bytes] = []

    async def heard() -> bool:
        told.extend(await client.wait_server_push(20))
        return b"%d EXISTS" % (before + 1) in told

    await soon(heard)
    client.idle_done()
    await asyncio.wait_for(idling, 20)
    await client.logout()


async def test_five_connections_at_once_see_the_same(demo: Demo):
    clients = await asyncio.gather(*(signed_in(demo, ALICE) for _ in range(5)))
    answers = await asyncio.gather(*(ok(each.select("INBOX")) for each in clients))
    assert len({next(line for line in lines if line.endswith(b"EXISTS")) for lines in answers}) == 1
    bodies = await asyncio.gather(*(ok(each.fetch("1:20", "(UID BODY.PEEK[])")) for each in clients))
    assert len({b"\0".join(lines[:-1]) for lines in bodies}) == 1
    await asyncio.gather(*(each.logout() for each in clients))
