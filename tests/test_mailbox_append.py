"""APPEND: what comes back is what was given, and nothing is landed twice or half (decision 9, mission
"never" 9)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from mailbox_world import ACCOUNT, NOW, PLAIN, World, incoming, world

from gateway.core.errors import CannotDo, NoPermission, OverQuota, TooBig, Unavailable
from gateway.core.limits import DEFAULT_LIMITS, KIB
from gateway.core.types import Flags, Uid
from gateway.graph.errors import (
    Denied,
    Invalid,
    NotFound,
    OutcomeUnknown,
    QuotaExceeded,
    TooLarge,
    Unreachable,
)
from gateway.graph.mail import IMAP_DELETED, MACHINE_KEYWORDS
from gateway.mailbox.append import append
from gateway.mailbox.creating import AppendWork
from gateway.mailbox.journal import recover
from gateway.mailbox.landing import MARKER
from gateway.mailbox.local import graph_time
from gateway.mailbox.work import begin
from gateway.store.api import Facts, MessageRow

THEN = 1_600_000_000
SMALL = replace(DEFAULT_LIMITS, request_body=100 * KIB, append_landable=1024 * KIB)
BIG = (
    b"Subject: big\r\nMessage-ID: <big@example.com>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n" + b"x" * 200_000 + b"\r\n"
    b"--b\r\nContent-Type: image/png; name=b.png\r\nContent-ID: <i>\r\n\r\n" + b"y" * 100 + b"\r\n--b--\r\n"
)


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, limits=SMALL) as made:
        yield made


async def put(
    w: World, data: bytes = PLAIN, *names: bytes, folder: str = "inbox", date: int | None = THEN
) -> Uid:
    (uid,) = await append(w.ctx, w.folder(folder), [incoming(data, Flags.of(names), date)])
    return uid


async def only(w: World, folder: str = "inbox") -> MessageRow:
    (row,) = await w.rows(folder)
    return row


def names(w: World) -> list[str]:
    return [name for name, _ in w.graph.calls]


async def kinds(w: World) -> list[str]:
    return [row.kind for row in await w.store.journal(ACCOUNT)]


async def test_an_appended_message_comes_back_as_it_was(w: World) -> None:
    uid = await put(w, PLAIN, b"\\Seen", b"\\Flagged", b"$MDNSent", b"Red=20category")
    row = await only(w)
    assert row.uid == uid and row.internal_date == THEN
    assert row.flags == Flags.of([b"\\Seen", b"\\Flagged", b"$MDNSent", b"Red=20category"])
    assert (row.size, row.size_exact) == (len(PLAIN), True)
    assert await w.store.original(ACCOUNT, row.id) == PLAIN
    (facts,) = (await w.store.facts(ACCOUNT, [row.id])).values()
    assert PLAIN.startswith(facts.header) and facts.structure and facts.basic_structure
    assert names(w) == ["create"] and await kinds(w) == []


async def test_the_landed_message_is_no_draft_and_keeps_its_state(w: World) -> None:
    raw = PLAIN.replace(
        b"\r\n\r\n", b"\r\nDate: Thu, 1 Jan 2026 10:00:00 +0100\r\nReferences: <0@e>\r\n\r\n", 1
    )
    await put(w, raw, b"\\Answered", b"\\Deleted", b"Junk")
    (stored,) = w.graph.inside("inbox")
    assert not stored.draft and not stored.read and stored.prop("Integer 0x0E07") == "0"
    assert stored.prop("SystemTime 0x0E06") == graph_time(THEN)
    assert stored.prop("SystemTime 0x0039") == "2026-01-01T09:00:00Z"
    assert stored.prop("String 0x1039") == "<0@e>"
    assert (stored.prop("String 0x007D") or "").startswith("From: bob@example.com\r\n")
    assert stored.prop("Integer 0x1081") == "102" and stored.prop(IMAP_DELETED) == "1"
    assert stored.prop(MACHINE_KEYWORDS) == "Junk" and stored.internet_message_id == "<1@example.com>"
    w.graph.outlook(stored.id, categories=["new"])
    (row,) = await w.sync("inbox")  # a delta changes nothing that only we know
    assert row.flags == Flags.of([b"\\Answered", b"\\Deleted", b"Junk", b"new"])
    assert row.internal_date == THEN and row.size == len(raw)


async def test_seen_is_landed_read(w: World) -> None:
    await put(w, PLAIN, b"\\Seen")
    (stored,) = w.graph.inside("inbox")
    assert stored.read and stored.prop("Integer 0x0E07") == "1"


async def test_without_a_date_it_is_now(w: World) -> None:
    await put(w, date=None)
    assert (await only(w)).internal_date == NOW


async def test_octets_are_safe_before_graph_is_asked(w: World) -> None:
    seen: list[bool] = []
    w.graph.during["create"] = lambda: seen.append(w.ctx.holds.held(w.folder("inbox").id))
    w.graph.fail("create", QuotaExceeded(""))
    with pytest.raises(OverQuota):
        await put(w)
    assert seen == [True] and await w.rows("inbox") == [] and await kinds(w) == []
    assert not w.ctx.holds.held(w.folder("inbox").id)


@pytest.mark.parametrize(
    "raw", [b"", b"\r\n", b"no header at all", b"Subject: =?x?=\n\n\xff\x00\r", b"\x80" * 3000]
)
async def test_any_octets_at_all_are_landed(w: World, raw: bytes) -> None:
    await put(w, raw)
    row = await only(w)
    assert await w.store.original(ACCOUNT, row.id) == raw and row.size == len(raw)


async def test_too_big_is_refused_before_anything(w: World) -> None:
    with pytest.raises(TooBig):
        await put(w, b"x" * (SMALL.append_landable + 1))
    assert w.graph.calls == []


# -- drafts --


async def test_a_draft_goes_by_mime(w: World) -> None:
    raw = PLAIN.replace(b"\r\n", b"\n")
    await put(w, raw, b"\\Draft", b"\\Seen", folder="drafts")
    (stored,) = w.graph.inside("drafts")
    assert stored.draft and names(w) == ["create_from_mime"]
    row = await only(w, "drafts")
    assert row.flags == Flags.of([b"\\Draft", b"\\Seen"]) and row.internal_date == THEN
    assert await w.store.original(ACCOUNT, row.id) == raw


async def test_whatever_is_put_into_drafts_is_a_draft(w: World) -> None:
    await put(w, PLAIN, b"\\Flagged", folder="drafts")
    (stored,) = w.graph.inside("drafts")
    assert not stored.read and stored.flag == "flagged" and names(w) == ["create_from_mime", "patch"]
    assert (await only(w, "drafts")).flags == Flags.of([b"\\Draft", b"\\Flagged"])


async def test_a_draft_elsewhere_is_moved_into_place(w: World) -> None:
    await put(w, PLAIN, b"\\Draft", b"\\Seen")
    assert names(w) == ["create_from_mime", "move"] and w.graph.inside("drafts") == []
    (stored,) = w.graph.inside("inbox")
    assert stored.draft and (await only(w)).etag == stored.etag


async def test_a_large_draft_is_built_and_stays_a_draft(w: World) -> None:
    await put(w, BIG, b"\\Draft", folder="drafts")
    (stored,) = w.graph.inside("drafts")
    assert stored.draft and stored.prop("Integer 0x0E07") is None and len(stored.attachments) == 2


async def test_a_draft_that_exchange_cannot_read_is_rebuilt(w: World) -> None:
    w.graph.fail("create_from_mime", Invalid(""))
    await put(w, PLAIN, b"\\Draft", folder="drafts")
    assert names(w) == ["create_from_mime", "create"] and (await only(w, "drafts")).size == len(PLAIN)


# -- large ones --


async def test_a_large_message_is_built_where_nobody_sees_it(w: World) -> None:
    await put(w, BIG)
    assert names(w) == ["create_folder", "create", "add_attachment", "add_attachment", "move"]
    (stored,) = w.graph.inside("inbox")
    assert [a["name"] for a in stored.attachments] == ["a.pdf", "b.png"]
    assert stored.attachments[1]["isInline"] and stored.attachments[1]["contentId"] == "i"
    assert not stored.draft and len(w.graph.hidden) == 1
    assert await w.store.original(ACCOUNT, (await only(w)).id) == BIG


async def test_the_hidden_folder_is_made_once_and_found_again(w: World) -> None:
    await put(w, BIG)
    await w.restarted()
    await recover(w.ctx)
    await put(w, BIG)
    assert w.graph.count("create_folder") == 1 and len(w.graph.inside("inbox")) == 2
    w.graph.fail("get_folder", NotFound(""))
    await put(w, BIG)  # somebody removed it: its name is taken here, which must not matter
    assert len(w.graph.hidden) == 2 and await kinds(w) == ["building-folder"]


async def test_a_part_that_cannot_be_attached_undoes_all(w: World) -> None:
    w.graph.fail("add_attachment", Denied(""))
    with pytest.raises(NoPermission):
        await put(w, BIG)
    assert w.graph.inside("inbox") == [] and len(w.graph.inside("recoverableitemsdeletions")) == 1
    assert await w.rows("inbox") == [] and await kinds(w) == ["building-folder"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_attachment_is_never_put_twice(w: World, when: str) -> None:
    w.graph.fail("add_attachment", OutcomeUnknown(""), when=when)
    await put(w, BIG)
    (stored,) = w.graph.inside("inbox")
    assert sorted(a["name"] for a in stored.attachments) == ["a.pdf", "b.png"]


async def test_when_one_request_is_too_large_after_all_it_is_built(w: World) -> None:
    w.graph.fail("create", TooLarge(""))
    await put(w)
    assert names(w) == ["create", "create_folder", "create", "move"]


async def test_what_exchange_does_not_take_is_landed_in_its_simplest_form(w: World) -> None:
    w.graph.fail("create", Invalid(""))
    await put(w)
    (stored,) = w.graph.inside("inbox")
    assert [a["name"] for a in stored.attachments] == ["message.eml"] and stored.attachments[0][
        "data"
    ] == PLAIN
    assert not stored.draft and (await only(w)).internal_date == THEN
    w.graph.fail("create", Invalid(""))
    w.graph.fail("create", Invalid(""))
    with pytest.raises(CannotDo):
        await put(w)


# -- unknown outcomes and crashes --


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", ["create", "create_from_mime"])
async def test_a_create_of_unknown_fate_is_made_once(w: World, method: str, when: str) -> None:
    folder = "drafts" if method == "create_from_mime" else "inbox"
    w.graph.fail(method, OutcomeUnknown(""), when=when)
    await put(w, PLAIN, folder=folder)
    assert len(w.graph.inside(folder)) == 1 and len(await w.rows(folder)) == 1 and await kinds(w) == []


async def test_another_message_of_that_message_id_is_not_taken_for_ours(w: World) -> None:
    await put(w)
    w.graph.put("inbox", PLAIN)  # delivered meanwhile
    w.graph.fail("create", OutcomeUnknown(""))
    await put(w)
    assert len(w.graph.inside("inbox")) == 3 and len(await w.rows("inbox")) == 2


async def test_a_saved_draft_is_not_taken_for_a_lost_one(w: World) -> None:
    await put(w, PLAIN, folder="drafts")
    w.graph.fail("create_from_mime", OutcomeUnknown(""))
    await put(w, PLAIN, folder="drafts")
    assert len(w.graph.inside("drafts")) == 2 and len(await w.rows("drafts")) == 2


async def test_what_nobody_can_look_for_is_nobodys_mail_until_it_is_taken_back(w: World) -> None:
    """The client was told NO: delta must not show it meanwhile, and another APPEND must not be taken for it."""
    w.graph.fail("create", OutcomeUnknown(""), when="after")
    w.graph.fail("find_by_message_id", Unreachable(""))
    with pytest.raises(Unavailable):
        await put(w)
    assert len(w.graph.inside("inbox")) == 1 and w.ctx.holds.held(w.folder("inbox").id)
    await put(w)
    await recover(w.ctx)
    assert [m.id for m in w.graph.inside("inbox")] == [row.id for row in await w.rows("inbox")]
    assert len(w.graph.inside("inbox")) == 1 and not w.ctx.holds.held(w.folder("inbox").id)


async def test_graph_down_leaves_a_journal_row_and_nothing_else(w: World) -> None:
    for _ in range(2):
        w.graph.fail("create", Unreachable(""))
    w.graph.fail("find_by_message_id", Unreachable(""))
    with pytest.raises(Unavailable):
        await put(w)
    assert await w.rows("inbox") == [] and await kinds(w) == ["append"]
    await w.restarted()
    await recover(w.ctx)
    assert await kinds(w) == []


@pytest.mark.parametrize("named", [False, True])
async def test_what_a_crash_cut_short_is_taken_back(w: World, named: bool) -> None:
    marker = "0123"
    properties = [{"id": MARKER, "value": marker}, {"id": "Integer 0x0E07", "value": "1"}]
    made = await w.graph.create(
        "F-inbox", {"internetMessageId": "<1@example.com>", "singleValueExtendedProperties": properties}
    )
    bystander = w.graph.put("inbox", PLAIN)
    inbox, address = w.folder("inbox"), await w.store.put_blob(PLAIN)
    work = AppendWork(inbox.key, inbox.id, address.hex(), marker, "<1@example.com>", NOW, False)
    work.id = made.id if named else ""
    await begin(w.ctx, "append", work)
    await w.restarted()
    await recover(w.ctx)
    assert [m.id for m in w.graph.inside("inbox")] == [bystander.id] and await kinds(w) == []


async def test_what_was_told_to_the_client_survives_the_crash(w: World) -> None:
    await put(w)
    row, inbox = await only(w), w.folder("inbox")
    work = AppendWork(inbox.key, inbox.id, "00", "m", "<1@example.com>", NOW, False, row.id)
    await begin(w.ctx, "append", work)
    await w.restarted()
    await recover(w.ctx)
    assert len(w.graph.inside("inbox")) == 1 and await kinds(w) == []


# -- Sent --


async def test_the_clients_copy_in_sent_takes_over_exchanges(w: World) -> None:
    w.ctx.sent.add("<1@example.com>", w.clock.time())
    stored = w.graph.put("sentitems", b"Message-ID: <1@example.com>\r\n\r\nas Exchange has it\r\n", read=True)
    uid = await put(w, PLAIN, b"\\Seen", b"\\Answered", folder="sentitems")
    row = await only(w, "sentitems")
    assert (row.uid, row.id, row.internal_date, row.size) == (uid, stored.id, THEN, len(PLAIN))
    assert row.flags == Flags.of([b"\\Seen", b"\\Answered"])
    assert await w.store.original(ACCOUNT, row.id) == PLAIN and len(w.graph.inside("sentitems")) == 1


async def test_exchanges_copy_that_was_shown_already_gets_a_new_uid(w: World) -> None:
    w.ctx.sent.add("<1@example.com>", w.clock.time())
    w.graph.put("sentitems", PLAIN + b"other")
    (before,) = await w.sync("sentitems")
    await w.store.put_facts(
        ACCOUNT, {before.id: Facts(b"Subject: other\r\n\r\n", b"()", None)}
    )  # somebody read it
    uid = await put(w, PLAIN, folder="sentitems")
    row = await only(w, "sentitems")
    assert row.uid == uid > before.uid and row.email_id != before.email_id
    assert await w.store.original(ACCOUNT, row.id) == PLAIN and row.size == len(PLAIN)


async def test_exchanges_copy_that_nobody_has_read_keeps_its_uid(w: World) -> None:
    w.ctx.sent.add("<1@example.com>", w.clock.time())
    w.graph.put("sentitems", PLAIN + b"other")
    (before,) = await w.sync("sentitems")
    uid = await put(w, PLAIN, folder="sentitems")
    row = await only(w, "sentitems")
    assert (row.uid, row.email_id, row.internal_date) == (uid, before.email_id, before.internal_date)
    assert uid == before.uid and await w.store.original(ACCOUNT, row.id) == PLAIN and row.size == len(PLAIN)


async def test_mail_that_was_not_sent_here_is_landed_in_sent(w: World) -> None:
    w.graph.put("sentitems", PLAIN)
    await put(w, PLAIN, folder="sentitems")
    assert len(w.graph.inside("sentitems")) == 2 and names(w) == ["create"]


async def test_each_of_several_takes_over_its_own_copy_in_sent(w: World) -> None:
    w.ctx.sent.add("<1@example.com>", w.clock.time())
    w.graph.put("sentitems", PLAIN)
    other = b"Message-ID: <2@example.com>\r\n\r\nanother\r\n"
    messages = [incoming(data, Flags(), THEN) for data in (PLAIN, other, PLAIN)]
    uids = await append(w.ctx, w.folder("sentitems"), messages)
    assert [name for name in names(w) if name != "flag"][:2] == ["find_by_message_id", "create_all"], names(w)
    rows = {row.uid: row for row in await w.rows("sentitems")}
    assert len(uids) == len(set(uids)) == 3 and set(rows) == set(uids)
    assert [await w.store.original(ACCOUNT, rows[uid].id) for uid in uids] == [PLAIN, other, PLAIN]
    assert len(w.graph.inside("sentitems")) == 3  # one was there, two were created


async def test_a_copy_in_sent_is_not_taken_where_another_message_is_refused(w: World) -> None:
    w.ctx.sent.add("<1@example.com>", w.clock.time())
    stored = w.graph.put("sentitems", PLAIN)
    w.graph.fail("create", QuotaExceeded("full"))
    messages = [incoming(data, Flags(), THEN) for data in (PLAIN, b"Subject: x\r\n\r\n")]
    with pytest.raises(OverQuota):
        await append(w.ctx, w.folder("sentitems"), messages)
    assert not await w.store.has_originals(ACCOUNT, [stored.id]) and len(w.graph.inside("sentitems")) == 1


async def test_a_second_append_of_a_sent_message_is_its_own(w: World) -> None:
    w.ctx.sent.add("<1@example.com>", w.clock.time())
    w.graph.put("sentitems", PLAIN)
    first = await put(w, PLAIN, folder="sentitems")
    assert await put(w, PLAIN, folder="sentitems") != first and len(w.graph.inside("sentitems")) == 2
