"""The write side and the octets against the emulator's strict rules, end to end: Graph client, store,
hubs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import SubmissionRefused
from gateway.core.limits import MIB
from gateway.core.types import FlagChange, FlagOp, Flags, FolderId
from gateway.graph.mail import IMAP_DELETED, INDEX_PROPERTIES
from gateway.graph.model import Message
from gateway.graph.props import parse_property, props
from gateway.mailbox import transfer
from gateway.mailbox.append import append
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.cache import BodyCache
from gateway.mailbox.changes import store_flags
from gateway.mailbox.expunge import expunge
from gateway.mailbox.facts import metas
from gateway.mailbox.headers import HeaderPages
from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.placeholder import MARKER
from gateway.mailbox.sending import deliver
from gateway.mailbox.sync import FolderSync
from gateway.mailbox.values import Body, Envelope
from gateway.store.api import FolderRow, MessageRow
from tests.mailbox_world import Held, incoming
from tests.sync_world import ALICE, World, eventually, mime, world

BOB = "bob@example.com"
QUICK = {"delta_lag_seconds": 0, "counts_lag_seconds": 0, "sent_copy_seconds": 0.1, "fresh_404_seconds": 0.1}


class Box:
    """One account over the emulator, with what these tests say often."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.hierarchy = Hierarchy(w.ctx)
        self._syncs: dict[str, FolderSync] = {}

    def folder(self, name: str) -> FolderRow:
        return self.w.ctx.special[name]

    async def sync(self, name: str) -> list[MessageRow]:
        """Every change Graph has, also one our own write hid for a moment."""
        row = self.folder(name)
        sync = self._syncs.setdefault(name, FolderSync(self.w.ctx, row, lambda _: None))
        await sync.ready()
        for _ in range(2):
            sync.stale()
            await sync.poll(max_age=0)
        return await self.rows(name)

    async def rows(self, name: str) -> list[MessageRow]:
        return await self.w.store.messages(self.folder(name).key)

    async def store(self, name: str, op: FlagOp, *flags: bytes) -> None:
        row = await self.w.store.folder(self.w.ctx.account, FolderId(self.folder(name).id))
        assert row is not None
        outcome = await store_flags(self.w.ctx, row, await self.rows(name), FlagChange(op, Flags.of(flags)))
        assert outcome.failed == outcome.modified == outcome.gone == [] and outcome.error is None

    async def graph(self, id: str) -> Message:
        (answer,) = await self.w.graph.get([id], properties=INDEX_PROPERTIES)
        assert isinstance(answer, Message)
        return answer

    def bodies(self) -> Bodies:
        return Bodies(self.w.ctx, BodyCache(memory=32 * MIB, spool_above=8 * MIB))

    async def octets(self, row: MessageRow) -> bytes:
        body: Body | None = await self.bodies().body(row, self.folder("inbox"))
        assert body is not None
        return body.read(0, body.size)

    async def outlook(self, id: str, **change: Any) -> None:
        answer = await self.w.control.patch(f"users/{ALICE}/messages/{id}", json=change)
        answer.raise_for_status()

    async def fault(self, method: str, path: str, mode: str, **more: Any) -> None:
        body = {"method": method, "path": path, "mode": mode, "count": 1, **more}
        (await self.w.control.post("faults", json=body)).raise_for_status()

    async def faults_left(self) -> list[object]:
        """What is waiting still: a fault that never struck proves nothing."""
        waiting: list[object] = (await self.w.control.get("faults")).json()["faults"]
        return waiting


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with world(tmp_path, **QUICK) as made:
        box = Box(made)
        await box.hierarchy.refresh(max_age=0)
        yield box


# -- STORE --


async def test_flags_go_to_graph_and_come_back_from_nothing_else(box: Box) -> None:
    id = await box.w.deliver(mime("one"))
    await box.sync("inbox")
    names = [
        b"\\Seen",
        b"\\Flagged",
        b"\\Answered",
        b"\\Deleted",
        b"$Forwarded",
        b"$MDNSent",
        b"Red=20category",
    ]
    await box.store("inbox", FlagOp.ADD, *names)
    (row,) = await box.rows("inbox")
    assert row.flags == Flags.of(names) and row.etag == (await box.graph(id)).etag
    assert (await box.sync("inbox"))[0] == row  # its own change is no news
    (listed,) = await box.w.listing()
    assert listed["categories"] == ["Red category"] and listed["isRead"]
    await box.store("inbox", FlagOp.REPLACE, b"\\Seen")
    assert (await box.sync("inbox"))[0].flags == Flags.of([b"\\Seen"])


async def test_a_hundred_messages_take_seven_requests(box: Box) -> None:
    for n in range(100):
        await box.w.deliver(mime(f"m{n}"))
    await box.sync("inbox")
    await box.w.forget()
    await box.store("inbox", FlagOp.ADD, b"\\Seen")
    assert sorted(await box.w.log()) == ["POST /v1.0/$batch [10]"] + ["POST /v1.0/$batch [15]"] * 6
    assert all(listed["isRead"] for listed in await box.w.listing())


async def test_reading_sends_no_receipt(box: Box) -> None:
    raw = mime("ask", sender=BOB, extra=f"Disposition-Notification-To: {BOB}\n")
    await box.w.deliver(raw)
    await box.sync("inbox")
    await box.store("inbox", FlagOp.ADD, b"\\Seen")
    assert await box.w.listing("inbox", BOB) == []


async def test_outlooks_category_survives_ours(box: Box) -> None:
    id = await box.w.deliver(mime("one"))
    await box.sync("inbox")
    await box.outlook(id, categories=["Outlook's"])
    await box.store("inbox", FlagOp.ADD, b"ours")
    (listed,) = await box.w.listing()
    assert sorted(listed["categories"]) == ["Outlook's", "ours"]


# -- COPY, MOVE, EXPUNGE --


async def test_copy_and_move_keep_what_the_message_is(box: Box) -> None:
    await box.w.deliver(mime("one"))
    await box.sync("inbox"), await box.sync("archive")
    await box.store("inbox", FlagOp.ADD, b"\\Flagged", b"\\Answered")
    (row,) = await box.rows("inbox")
    seen = await box.octets(row)
    ((_, uid),) = await transfer.copy(box.w.ctx, box.folder("inbox"), [row], box.folder("archive"))
    (copy,) = await box.sync("archive")
    assert (copy.uid, copy.flags, copy.email_id) == (uid, row.flags, row.email_id)
    assert copy.internal_date == row.internal_date and await box.octets(copy) == seen
    ((_, moved),) = await transfer.move(box.w.ctx, box.folder("inbox"), [row], box.folder("archive"))
    assert await box.sync("inbox") == [] and [r.uid for r in await box.sync("archive")] == [uid, moved]


async def test_a_copy_whose_answer_is_lost_is_made_once(box: Box) -> None:
    await box.w.deliver(mime("one"))
    rows = await box.sync("inbox")
    await box.fault("POST", "/copy", "commit-then-fail", status=504)
    pairs = await transfer.copy(box.w.ctx, box.folder("inbox"), rows, box.folder("archive"))
    assert len(pairs) == 1 and len(await box.w.listing("archive")) == 1
    assert not await box.faults_left()


async def test_expunged_mail_is_in_trash_and_its_mark_is_spent(box: Box) -> None:
    id = await box.w.deliver(mime("one"))
    await box.sync("inbox")
    await box.store("inbox", FlagOp.ADD, b"\\Deleted")
    rows = await box.rows("inbox")
    gone = await expunge(box.w.ctx, box.folder("inbox"), rows, copied_out=frozenset())
    assert gone == [rows[0].uid]
    shown = await box.graph(id)
    assert shown.parent_folder_id == box.folder("deleteditems").id
    assert props(shown)[parse_property(IMAP_DELETED)] == "1"
    (row,) = await box.sync("deleteditems")
    assert row.flags == Flags() and row.email_id == rows[0].email_id
    await expunge(box.w.ctx, box.folder("deleteditems"), [row], copied_out=frozenset())
    assert await box.sync("deleteditems") == [] and await box.w.listing("deleteditems") == []


# -- APPEND --

THEN = 1_500_000_000
LARGE = (
    mime("large", extra="MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n")[: -len(b"Hello.\r\n")]
    + b"--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/x; name=a.bin\r\n\r\n" + b"0123456789abcdef" * 300_000
    + b"\r\n--b\r\nContent-Type: text/plain; name=b.txt\r\n\r\nsmall\r\n--b--\r\n"
)  # fmt: skip


@pytest.mark.parametrize(
    "raw", [mime("small"), mime("lf").replace(b"\r\n", b"\n"), LARGE], ids=["small", "lf", "large"]
)
async def test_an_append_comes_back_the_same(box: Box, raw: bytes) -> None:
    await box.sync("inbox")
    flags = Flags.of([b"\\Seen", b"\\Answered", b"$MDNSent", b"mine"])
    (uid,) = await append(box.w.ctx, box.folder("inbox"), [incoming(raw, flags, THEN)])
    (row,) = await box.sync("inbox")
    assert (row.uid, row.flags, row.internal_date) == (uid, flags, THEN)
    assert (row.size, row.size_exact) == (len(raw), True) and await box.octets(row) == raw
    (listed,) = await box.w.listing()
    assert listed["isRead"] and not listed["isDraft"]
    assert (await box.graph(row.id)).received_date_time == "2017-07-14T02:40:00Z"


async def test_an_append_whose_answer_is_lost_is_made_once(box: Box) -> None:
    await box.sync("inbox"), await box.sync("drafts")
    for folder in ("inbox", "drafts"):
        await box.fault("POST", "/messages$", "commit-then-fail", status=504)
        await append(box.w.ctx, box.folder(folder), [incoming(mime("one"), Flags(), None)])
        assert len(await box.w.listing(folder)) == 1 and len(await box.sync(folder)) == 1
        assert not await box.faults_left()


async def test_a_draft_stays_a_draft_with_its_octets(box: Box) -> None:
    await box.sync("drafts")
    raw = mime("draft", "caf=C3=A9", extra="Content-Transfer-Encoding: quoted-printable\nX-Mine: 1\n")
    await append(box.w.ctx, box.folder("drafts"), [incoming(raw, Flags.of([b"\\Draft"]), THEN)])
    (row,) = await box.sync("drafts")
    assert row.flags == Flags.of([b"\\Draft"]) and row.internal_date == THEN and await box.octets(row) == raw
    (listed,) = await box.w.listing("drafts")
    assert listed["isDraft"] and not listed["isRead"]


# -- octets and facts --


async def test_a_category_does_not_change_the_octets(box: Box) -> None:
    await box.w.deliver(mime("one"))
    await box.sync("inbox")
    (row,) = await box.rows("inbox")
    first = await box.octets(row)
    await box.store("inbox", FlagOp.ADD, b"colour", b"$MDNSent")
    assert await box.octets(row) == first  # a new cache each time: fetched again, pinned


async def test_headers_of_many_messages_cost_a_page(box: Box) -> None:
    raws = [mime(f"m{n}", extra=f"X-Long: {'y' * 60}\nReferences: <{n}@x>\n") for n in range(60)]
    for raw in raws:
        await box.w.deliver(raw)
    rows = await box.sync("inbox")
    await box.w.forget()
    reading = HeaderPages(box.w.ctx).reading(box.folder("inbox"), lambda: [row.uid for row in rows])
    found = await metas(box.w.ctx, rows, reading.bring)
    await reading.close()
    assert len(found) == 60 and len(await box.w.log()) == 1
    (same,) = [meta for meta in found.values() if b"Subject: m7\r\n" in meta.header]
    assert b"References: <7@x>\r\n" in same.header and b"eve@example.net" in same.header
    assert b'"eve" "example.net"' in same.envelope


async def test_opaque_smime_is_shown_and_not_pinned(box: Box) -> None:
    raw = mime("secret", "MIAGCSqGSIb3DQEHA6CA").replace(
        b"Subject:",
        b"MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n"
        b"Content-Transfer-Encoding: base64\r\nSubject:",
    )
    await box.w.deliver(raw)
    (row,) = await box.sync("inbox")
    shown = await box.octets(row)
    assert (
        MARKER.encode() in shown and b"application/pkcs7-mime" in shown and b"MIAGCSqGSIb3DQEHA6CA" in shown
    )
    assert await box.w.store.pinned(box.w.ctx.account, row.id) is None


# -- submission --


async def submit(box: Box, envelope: Envelope, raw: bytes) -> None:
    await deliver.heard(box.w.ctx, await deliver.submit(box.w.ctx, envelope, Held(raw)))


async def test_who_is_addressed_gets_it_and_nobody_else(box: Box) -> None:
    raw = mime("hello", sender=ALICE).replace(b"To: alice@", b"To: bob@")
    await submit(box, Envelope(ALICE, (BOB, "carol@example.com")), raw)
    for user in (BOB, "carol@example.com"):
        assert await eventually(lambda user=user: box.w.listing("inbox", user))
    assert await box.w.listing("inbox") == []
    with pytest.raises(SubmissionRefused):
        await submit(box, Envelope(ALICE, ("carol@example.com",)), raw)


async def test_a_send_whose_answer_is_lost_is_sent_once(box: Box) -> None:
    raw = mime("hello", sender=ALICE).replace(b"To: alice@", b"To: bob@")
    await box.fault("POST", "/messages$", "commit-then-fail", status=504)
    await box.fault("POST", "/send$", "commit-then-fail", status=504)
    await submit(box, Envelope(ALICE, (BOB,)), raw)
    assert len(await eventually(lambda: box.w.listing("inbox", BOB))) == 1
    assert await box.w.listing("drafts") == [] and not await box.faults_left()


async def test_a_submission_is_two_requests_or_three_while_graph_does_not_see_its_own_draft(box: Box) -> None:
    raw = mime("hello", sender=ALICE).replace(b"To: alice@", b"To: bob@")
    await box.w.rules(create_then_404=False)
    await box.w.forget()
    await submit(box, Envelope(ALICE, (BOB,)), raw)
    assert [re.sub(r"messages/[^/]+", "messages/ID", line).split("/", 4)[-1] for line in await box.w.log()] == [
        "messages", "messages/ID/send",
    ]  # fmt: skip


async def test_a_draft_on_its_way_out_is_never_seen_in_drafts(box: Box) -> None:
    """Not while it is there, nor by a delta that lags behind; nor its leaving."""
    await box.sync("drafts")
    raw = mime("hello", sender=ALICE).replace(b"To: alice@", b"To: bob@")
    ctx = box.w.ctx
    seen: list[int] = []
    real = ctx.graph.send_draft

    async def watched(id: str) -> None:
        assert len(await box.w.listing("drafts")) == 1
        seen.append(len(await box.sync("drafts")))
        await real(id)
        seen.append(len(await box.sync("drafts")))

    ctx.graph.send_draft = watched  # type: ignore[method-assign]
    await box.w.limits(delta_lag_seconds=0.3)
    await submit(box, Envelope(ALICE, (BOB,)), raw)
    seen.append(len(await box.sync("drafts")))
    await asyncio.sleep(0.35)
    seen.append(len(await box.sync("drafts")))
    assert seen == [0, 0, 0, 0]
    assert len(await box.w.listing("sentitems")) == 1


async def test_a_first_sync_does_not_see_it_either(box: Box) -> None:
    ctx, real = box.w.ctx, box.w.ctx.graph.send_draft
    await box.w.graph.create_from_mime(mime("a draft of his own"))

    async def watched(id: str) -> None:
        assert len(await box.w.listing("drafts")) == 2
        assert len(await box.sync("drafts")) == 1
        await real(id)

    ctx.graph.send_draft = watched  # type: ignore[method-assign]
    await submit(
        box, Envelope(ALICE, (BOB,)), mime("hello", sender=ALICE).replace(b"To: alice@", b"To: bob@")
    )
    assert len(await box.sync("drafts")) == 1


async def test_the_clients_copy_in_sent_is_exchanges_copy(box: Box) -> None:
    await box.sync("sentitems")
    raw = mime("hello", sender=ALICE).replace(b"To: alice@", b"To: bob@")
    await submit(box, Envelope(ALICE, (BOB,)), raw)
    (uid,) = await append(box.w.ctx, box.folder("sentitems"), [incoming(raw, Flags.of([b"\\Seen"]), None)])
    (row,) = await box.sync("sentitems")
    assert row.uid == uid and await box.octets(row) == raw and row.flags == Flags.of([b"\\Seen"])
    assert len(await eventually(lambda: box.w.listing("sentitems"))) == 1
    (row,) = await box.sync("sentitems")
    assert row.uid == uid and await box.octets(row) == raw


async def test_no_right_to_send_is_a_5_7_60(box: Box) -> None:
    raw = mime("hello", sender="carol@example.com").replace(b"To: alice@", b"To: bob@")
    with pytest.raises(SubmissionRefused) as caught:
        await submit(box, Envelope("carol@example.com", (BOB,)), raw)
    assert (caught.value.status, caught.value.enhanced) == (550, "5.7.60")
