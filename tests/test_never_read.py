"""What must never happen while mail is read, filed and searched (2, 3, 4, 5, 8, 9, 11, 12, 13)."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.types import Flags, SystemFlag
from tests.account_world import ALICE, BOB, Client, Site, account_world, fetched, mime

SEEN = Flags(SystemFlag.SEEN)


@pytest.fixture
async def s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr("gateway.graph.client.BACKOFF", (0.02, 0.05))
    monkeypatch.setattr("gateway.mailbox.creating._LOOKS", (0.05, 0.1))
    async with account_world(tmp_path) as site:
        yield site


async def filled(s: Site, count: int = 3) -> tuple[Client, list[str]]:
    ids = [
        await s.outlook.deliver(mime(f"m{n}"), received=f"2026-01-{n + 1:02}T00:00:00Z") for n in range(count)
    ]
    client = await s.client()
    await client.select()
    return client, ids


async def state(s: Site, folder: str = "inbox") -> dict[str, tuple[object, ...]]:
    return {
        m["id"]: (m["isRead"], m["flag"], tuple(m["categories"]), m["deleted"], m["verb"])
        for m in await s.outlook.listing(folder)
    }


def search(lines: list[bytes]) -> set[int]:
    (line,) = [line for line in lines if line.startswith(b"* SEARCH")]
    return set(map(int, line.split()[2:]))


# -- 2 --

PAGES = [
    {"status": 200, "body": "<html><body>Sign in to your account</body></html>"},
    {"status": 200, "body": "", "content_type": "text/plain"},
    {"status": 200, "body": '{"error":{"code":"X","message":"y"}}', "content_type": "application/json"},
    {"status": 404, "body": "<html>Not found</html>"},
    {"status": 403, "body": "<html>Forbidden</html>"},
    {"status": 500, "body": "<html>Oops</html>"},
    {"status": 503, "body": "<html>Service Unavailable</html>"},
    {"status": 302, "body": "<html>Moved</html>"},
    {"status": 204},
    {"mode": "cut"},
]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: f"{p.get('status', p.get('mode'))}")
@pytest.mark.parametrize("item", ["BODY.PEEK[]", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]"])
async def test_never_2_an_error_page_is_delivered_as_a_message(
    s: Site, page: dict[str, object], item: str
) -> None:
    """Not once, not later from a cache, and not as an ENVELOPE."""
    client, _ = await filled(s, 2)
    whole = dict(enumerate(await s.outlook.listing(), 1))
    s.graph.limits = s.graph.limits.__class__(graph_timeout=0.5, graph_patience=0.1)
    await s.outlook.fault("GET", "/messages", **{"mode": "error", "count": None, **page})  # type: ignore[arg-type]
    answer = await client.do(f"FETCH 1:2 ({item})")
    assert b"html" not in b"".join(answer.lines).lower() and b'"error"' not in b"".join(answer.lines)
    if not answer.tagged.startswith(b"NO"):
        assert all(b"{0}" not in line for line in answer.lines)
        assert b"m0" in b"".join(answer.lines)
    await s.outlook.heal()
    s.graph.limits = s.limits
    answer = (await client.do(f"FETCH 1:2 ({item})")).ok()
    assert len(answer.having(b"FETCH")) == 2
    assert [b"m0" in answer.lines[0], b"m1" in answer.lines[1]] == [True, True]
    raw = [await fetched(client, uid) for uid in whole]
    assert [len(each) for each in raw] == [m["size"] for m in whole.values()]


# -- 3 --


async def test_never_3_reading_changes_a_flag(s: Site) -> None:
    client, ids = await filled(s, 4)
    await s.outlook.patch(ids[3], categories=["Red category"], flag={"flagStatus": "flagged"})
    before = await state(s)
    for item in (
        "FLAGS", "ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "INTERNALDATE", "BODY.PEEK[]", "BODY.PEEK[HEADER]",
        "BODY.PEEK[TEXT]<0.10>", "BODY.PEEK[1]", "RFC822.HEADER", "FAST", "ALL", "FULL", "BODY",
    ):  # fmt: skip
        (await client.do(f"FETCH 1:* {item}")).ok()
    for query in ("BODY Hello", "TEXT m1", "FROM eve", "SUBJECT m2", "UNSEEN", "KEYWORD Red"):
        (await client.do(f"SEARCH {query}")).ok()
    await client.do("COPY 1:* Archive")
    assert await state(s) == before
    examined = await s.client()
    (await examined.do("EXAMINE INBOX")).ok()
    for item in ("BODY[]", "RFC822", "RFC822.TEXT", "BODY[1]"):
        (await examined.do(f"FETCH 1:* ({item})")).ok()
    assert await state(s) == before


@pytest.mark.parametrize("item", ["BODY[]", "RFC822", "RFC822.TEXT", "BODY[TEXT]", "BODY[1]<0.5>"])
async def test_never_3_reading_changes_more_than_seen(s: Site, item: str) -> None:
    client, ids = await filled(s, 2)
    await s.outlook.patch(ids[0], categories=["Red category"], flag={"flagStatus": "flagged"})
    (await s.look(client)).ok()
    before = await state(s)
    (await client.do(f"FETCH 1 ({item})")).ok()
    after = await state(s)
    assert after[ids[0]] == (True, *before[ids[0]][1:])
    assert after[ids[1]] == before[ids[1]]


@pytest.mark.parametrize("status", [403, 404, 400, 500, 412])
@pytest.mark.parametrize("silent", ["", ".SILENT"])
async def test_never_3_a_failed_store_looks_done(s: Site, status: int, silent: str) -> None:
    """NO, and what the client is told of the flags, now or later, is what they are."""
    client, ids = await filled(s, 3)
    await client.do("FETCH 1:* (UID FLAGS)")
    s.graph.limits = s.graph.limits.__class__(graph_timeout=0.5, graph_patience=0.1)
    await s.outlook.fault("PATCH", f"/messages/{ids[1]}", status=status, count=None)
    answer = await client.do(f"STORE 1:3 +FLAGS{silent} (\\Flagged)")
    assert not answer.tagged.startswith(b"OK"), answer
    await s.outlook.heal()
    s.graph.limits = s.limits
    (await s.look(client)).ok()
    truth = {n: m["flag"] == "flagged" for n, m in enumerate(await s.outlook.listing(), 1)}
    shown = (await client.do("FETCH 1:* (FLAGS)")).ok()
    assert {n: b"\\Flagged" in client.flags[n] for n in client.flags} == truth, shown
    assert truth[2] is False


async def test_never_3_a_store_of_unknown_outcome_is_settled_by_looking(s: Site) -> None:
    client, ids = await filled(s, 2)
    s.graph.limits = s.graph.limits.__class__(graph_timeout=0.5, graph_patience=0.1)
    await s.outlook.fault("PATCH", f"/messages/{ids[0]}", "commit-then-fail", status=500, count=None)
    answer = await client.do("STORE 1 +FLAGS (\\Flagged)")
    await s.outlook.heal()
    s.graph.limits = s.limits
    (await s.look(client)).ok()
    (await client.do("FETCH 1 (FLAGS)")).ok()
    assert (await state(s))[ids[0]][1] == "flagged"
    assert b"\\Flagged" in client.flags[1], answer


# -- 4 --


async def test_never_4_a_flag_change_by_one_client_that_another_never_hears_of(s: Site) -> None:
    first, ids = await filled(s)
    second, third = await s.client(), await s.client()
    for other in (second, third):
        await other.select()
        await other.do("FETCH 1:* (FLAGS)")
    (await first.do("STORE 2 +FLAGS.SILENT (\\Answered Work)")).ok()
    (await second.do("STORE 2 +FLAGS (\\Flagged)")).ok()
    await s.outlook.patch(ids[2], isRead=True)
    (await s.look(third)).ok()
    for client in (first, second, third):
        (await client.do("NOOP")).ok()
        assert client.flags[2] >= {b"\\Answered", b"Work", b"\\Flagged"} or client is first
        assert b"\\Seen" in client.flags[3]
    assert b"\\Flagged" in first.flags[2]


async def test_never_4_numbers_that_move_without_an_expunge(s: Site) -> None:
    """Outlook takes mail away while a client fetches by number: numbers stay until it is told."""
    client, ids = await filled(s, 5)
    await client.do("FETCH 1:* (UID)")
    await s.outlook.delete(ids[0])
    await s.outlook.move(ids[2], "archive")
    account = await s.account()
    row = await account.row("INBOX")
    account.sync(row).stale()
    await account.sync(row).poll(max_age=0)
    answer = (await client.do("FETCH 2 (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")).ok()
    assert b"Subject: m1" in b"".join(answer.lines)
    assert not answer.having(b"EXPUNGE")
    assert not (await client.do("STORE 5 +FLAGS (\\Flagged)")).having(b"EXPUNGE")
    assert (await state(s))[ids[4]][1] == "flagged"
    assert len((await client.do("NOOP")).having(b"EXPUNGE")) == 2
    assert client.uids == [2, 4, 5]


# -- 5 --


@pytest.mark.parametrize("deaths", [1, 2, 3])
async def test_never_5_a_dead_delta_token_hurts_a_folder(s: Site, deaths: int) -> None:
    client, ids = await filled(s)
    before = (await client.select()).number(rb"UIDVALIDITY (\d+)")
    await client.do("FETCH 1:* (UID)")
    for turn in range(deaths):
        await s.outlook.expire_delta()
        await s.outlook.deliver(mime(f"new {turn}"))
        (await s.look(client)).ok()
    assert len(client.uids) == 3 + deaths
    await s.outlook.expire_delta()
    await s.outlook.delete(ids[1])
    assert b"* 2 EXPUNGE" in (await s.look(client)).ok().lines
    assert (await client.select()).number(rb"UIDVALIDITY (\d+)") == before
    assert len((await client.do("FETCH 1:* (UID)")).lines) == 2 + deaths


# -- 8: the corpus is in test_invariants; here what another session and a copy see --


async def test_never_8_octets_differ_between_copies_sessions_and_caches(s: Site) -> None:
    await s.outlook.deliver(mime("one", "Text with =\n.dots\n\n", extra="X-Odd:  two  blanks \n"))
    client = await s.client()
    await client.select()
    raw = await fetched(client, 1)
    (await client.do("COPY 1 Archive")).ok()
    (await client.do('MOVE 1 "Junk Email"')).ok()
    other = await s.client()
    for folder in ("Archive", "Junk Email"):
        await other.select(folder)
        await other.do("FETCH 1:* (UID)")
        assert await fetched(other, other.uids[0] or 0) == raw


# -- 9 --

ODD = (
    b"From: =?utf-8?q?J=C3=B6rg?= <j@example.net>\r\nTo: undisclosed-recipients:;\r\nSubject:  two  blanks \r\n"
    b"X-TUID: AbCdEfGhIjKl\r\nMessage-ID: <odd@example.net>\r\nDate: Thu, 01 Jan 1970 00:00:01 +0000\r\n"
    b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nK\xe4se \t\r\n.\r\n\r\n"
)


@pytest.mark.parametrize("folder", ["INBOX", "Archive", "Drafts", "Sent Items", "Deleted Items", "Own"])
async def test_never_9_an_appended_message_comes_back_changed(s: Site, folder: str) -> None:
    """Octets, date, flags and read state, now, after a restart, and after a full comparison with Graph."""
    client = await s.client()
    (await client.do("CREATE Own")).ok()
    date = "07-Feb-2011 22:43:04 +0100"
    flags = "(\\Flagged \\Answered Work $MDNSent)"
    answer = (await client.do(f'APPEND "{folder}" {flags} "{date}" {{}}', ODD)).ok()
    uid = answer.number(rb"APPENDUID \d+ (\d+)")

    async def check(client: Client) -> None:
        await client.select(folder)
        answer = (await client.do(f"UID FETCH {uid} (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")).ok()
        assert answer.literal() == ODD
        assert answer.number(rb"RFC822.SIZE (\d+)") == len(ODD)
        line = answer.lines[0]
        assert b'INTERNALDATE " 7-Feb-2011 21:43:04 +0000"' in line
        match = re.search(rb"FLAGS \(([^)]*)\)", line)
        assert match is not None
        found = set(match[1].split()) - {b"\\Recent"}
        expected = {b"\\Flagged", b"\\Answered", b"Work", b"$MDNSent"}
        assert found == expected | ({b"\\Draft"} if folder == "Drafts" else set())

    await check(client)
    (await s.look(client)).ok()
    await check(client)
    await s.outlook.expire_delta()
    await s.restart()
    await check(await s.client())
    known = next(f for f in s.outlook.box.folders.values() if f.name.upper() == folder.upper())
    (there,) = await s.outlook.listing(s.outlook.box.folder_id(known.number))
    assert (there["isRead"], there["isDraft"]) == (False, folder == "Drafts")
    assert there["receivedDateTime"].startswith("2011-02-07T21:43:04") or folder == "Drafts"


async def test_never_9_a_seen_flag_is_lost_or_invented(s: Site) -> None:
    client = await s.client()
    for flags, read in (("(\\Seen) ", True), ("() ", False), ("", False)):
        subject = f"with{len(flags)}"
        (await client.do(f"APPEND Archive {flags}{{}}", mime(subject))).ok()
        found = [m["isRead"] for m in await s.outlook.listing("archive") if m["subject"] == subject]
        assert found == [read]


async def test_never_9_two_appends_of_the_same_octets_become_one(s: Site) -> None:
    client = await s.client()
    uids = [
        (await client.do("APPEND Archive {}", ODD)).ok().number(rb"APPENDUID \d+ (\d+)") for _ in range(3)
    ]
    assert len(set(uids)) == 3
    assert len(await s.outlook.listing("archive")) == 3


# -- 11 --


@pytest.mark.parametrize("mode", ["commit-then-fail", "reset", "error"])
async def test_never_11_an_expunge_repeated_destroys(s: Site, mode: str) -> None:
    """The answer is lost, the client tries again: what was expunged is in Deleted Items, the rest is untouched."""
    client, ids = await filled(s)
    await client.do("STORE 1:2 +FLAGS (\\Deleted)")
    await s.outlook.fault("*", r"batch|/move", mode, status={"error": 503}.get(mode, 0), count=2)
    for _ in range(3):
        await client.do("EXPUNGE")
    await s.outlook.heal()
    assert {m["id"] for m in await s.outlook.listing("deleteditems")} == set(ids[:2])
    assert {m["id"] for m in await s.outlook.listing()} == {ids[2]}
    assert await s.outlook.calls("DELETE", "/messages") == 0
    assert await s.outlook.calls("POST", "/permanentDelete") == 0


async def test_never_11_expunge_of_what_outlook_filed_away_destroys_it(s: Site) -> None:
    """\\Deleted is set, then Outlook moves it to Deleted Items or elsewhere: it stays there."""
    client, ids = await filled(s)
    await client.do("STORE 1:2 +FLAGS (\\Deleted)")
    await s.outlook.delete(ids[0])
    await s.outlook.move(ids[1], "archive")
    (await client.do("EXPUNGE")).ok()
    assert ids[0] in {m["id"] for m in await s.outlook.listing("deleteditems")}
    everywhere = {m["id"] for f in ("inbox", "archive", "deleteditems") for m in await s.outlook.listing(f)}
    assert set(ids) <= everywhere
    assert await s.outlook.calls("DELETE", "") == 0


@pytest.mark.parametrize("mode", ["commit-then-fail", "reset", "error"])
async def test_never_11_a_repeated_delete_of_a_mailbox_destroys_it(s: Site, mode: str) -> None:
    """DELETE of a folder in Deleted Items is for good: a client that was told NO and repeats must not get there."""
    client = await s.client()
    (await client.do("CREATE Precious")).ok()
    (await client.do("APPEND Precious {}", mime("precious"))).ok()
    await s.outlook.fault("DELETE", "/mailFolders/", mode, status={"error": 503}.get(mode, 0))
    for _ in range(3):
        await client.do("DELETE Precious")
    await s.outlook.heal()
    assert "Precious" in s.outlook.names()
    folder = s.outlook.folder("Precious")
    assert len(await s.outlook.listing(s.outlook.box.folder_id(folder.number))) == 1
    assert (await client.do("DELETE Precious")).no(b"NONEXISTENT")
    assert "Precious" in s.outlook.names()


async def test_never_11_a_delete_of_what_outlook_deleted_meanwhile_destroys_it(s: Site) -> None:
    client = await s.client()
    (await client.do("CREATE Precious")).ok()
    s.outlook.move_folder("Precious", "deleteditems")
    (await client.do("DELETE Precious")).no(b"NONEXISTENT")
    assert "Precious" in s.outlook.names()


# -- 12 --


async def test_never_12_reading_sends_a_read_receipt(s: Site) -> None:
    """Trap 51: isRead = true sends the receipt that the sender asked for, unless it is suppressed."""
    asking = mime("asks", sender=f"Bob <{BOB}>", extra=f"Disposition-Notification-To: {BOB}\n")
    for _ in range(3):
        await s.outlook.deliver(asking)
    client = await s.client()
    await client.select()
    (await client.do("FETCH 1 (BODY[])")).ok()
    (await client.do("STORE 2 +FLAGS (\\Seen)")).ok()
    (await client.do("STORE 3 +FLAGS.SILENT (\\Seen \\Flagged)")).ok()
    await asyncio.sleep(0.3)
    assert [m["isRead"] for m in await s.outlook.listing()] == [True] * 3
    assert await s.outlook.listing("inbox", BOB) == []
    assert (await s.outlook.http.get("outside")).json() == []


# -- 13 --


def encoded(subject: str, body: bytes, kind: str, cte: str) -> bytes:
    return (
        f"From: eve@example.net\r\nTo: {ALICE}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@x>\r\n"
        f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {cte}\r\n\r\n"
    ).encode() + body


async def test_never_13_a_negated_search_hits_what_an_index_missed(s: Site) -> None:
    """`NOT BODY x` must see every message that has x: within words, encoded, in HTML, in parts, and just arrived
    (the service's index follows after seconds and knows words only, trap 35)."""
    needle = "ein wenig unverzichtbar heute"
    await s.outlook.limits(search_lag_seconds=60)
    b64 = base64.encodebytes(needle.encode()).replace(b"\n", b"\r\n")
    utf16 = base64.encodebytes(needle.encode("utf-16")).replace(b"\n", b"\r\n")
    both = (
        b"--b\r\nContent-Type: text/plain\r\n\r\nnothing here\r\n--b\r\nContent-Type: text/html\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>un=\r\nverzicht<b>bar</b>lich</p>\r\n--b--\r\n"
    )
    mails = [
        encoded("plain", needle.encode(), "text/plain", "7bit"),
        encoded("base64", b64, "text/plain; charset=utf-8", "base64"),
        encoded("utf16", utf16, "text/plain; charset=utf-16", "base64"),
        encoded("qp", b"un=76erzicht=62ar", "text/plain; charset=iso-8859-1", "quoted-printable"),
        encoded("html", both, "multipart/alternative; boundary=b", "7bit"),
        encoded("upper", b"UNVERZICHTBARES", "text/plain", "7bit"),
        encoded("innocent", b"nothing to see", "text/plain", "7bit"),
    ]
    for number, each in enumerate(mails):
        await s.outlook.deliver(each, received=f"2026-01-0{number + 1}T00:00:00Z")
    client = await s.client()
    await client.select()
    assert search((await client.do("SEARCH NOT BODY verzichtbar")).ok().lines) == {7}
    assert search((await client.do("SEARCH BODY verzichtbar")).ok().lines) == {1, 2, 3, 4, 5, 6}
    assert search((await client.do("SEARCH NOT TEXT verzichtbar")).ok().lines) == {7}
    assert await s.outlook.calls("GET", r"\$search") == 0


@pytest.mark.parametrize("mode", ["error", "reset", "cut"])
async def test_never_13_a_search_that_could_not_read_everything_answers_at_all(s: Site, mode: str) -> None:
    """Better NO than a list from which a script deletes."""
    client, ids = await filled(s)
    s.graph.limits = s.graph.limits.__class__(graph_timeout=0.5, graph_patience=0.1)
    await s.outlook.fault(
        "GET", f"/messages/{ids[1]}/", mode, status=503 if mode == "error" else None, count=None
    )
    answer = await client.do("SEARCH NOT BODY Hello")
    assert answer.tagged.startswith(b"NO") and not answer.having(b"SEARCH ")
    await s.outlook.heal()
    s.graph.limits = s.limits
    assert search((await client.do("SEARCH NOT BODY Hello")).ok().lines) == set()
