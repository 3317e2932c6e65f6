"""Content that changes is a new message; a rendering that changes is one only up to a bound (decision 4,
invariants 7 and 8)."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mailbox_world import ACCOUNT, NOW, PLAIN, Stored, World, world
from structlog.testing import capture_logs

from gateway.core.limits import MIB
from gateway.core.types import MessageId, ModSeq
from gateway.graph.errors import Conflict, GraphError, NotFound, PermanentFailure, Throttled
from gateway.graph.mail import INDEX_FIELDS, INDEX_PROPERTIES
from gateway.graph.model import Priority
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.cache import BodyCache
from gateway.mailbox.facts import metas
from gateway.mailbox.intake import Intake
from gateway.mailbox.rendering import pin_of
from gateway.mailbox.values import Body
from gateway.store.api import MessageRow, Upsert
from tests.store_support import put_original

REST = b"hello\r\n"
HEADER = PLAIN[: -len(REST)]
DAY = 86_400


def other_rendering(raw: bytes, trailer: bytes = b"") -> bytes:
    """The same decoded content in other octets."""
    header, _, rest = raw.partition(b"\r\n\r\n")
    header += b"\r\nContent-Transfer-Encoding: base64"
    return header + b"\r\n\r\n" + base64.encodebytes(rest).replace(b"\n", b"\r\n") + trailer


class Inbox:
    """The inbox of one account as its sync sees it, round for round."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.folder = w.folder("inbox")
        self.intake = Intake(w.ctx, self.folder.key, self.folder.id)
        self.priorities: list[Any] = []
        mime, get = w.graph.mime, w.graph.get

        async def watched_mime(id: str, *, priority: Any = None) -> bytes:
            self.priorities.append(priority)
            return await mime(id, priority=priority)

        async def watched_get(ids: Any, *, priority: Any = None, **more: Any) -> Any:
            self.priorities.append(priority)
            return await get(ids, priority=priority, **more)

        w.graph.mime, w.graph.get = watched_mime, watched_get  # type: ignore[method-assign]

    async def nothing_new(self) -> None:
        """A round in which delta tells nothing."""
        await self.intake.take((), set(), began=self.w.clock.monotonic() + 1e-6, link="L")
        await self.intake.suspects.settled()

    async def round(self) -> list[MessageRow]:
        """What a comparison tells: rows whose etag is known are echoes, and left out."""
        known = {row.id: row.etag for row in await self.rows()}
        news = [
            self.w.graph.show(stored, INDEX_FIELDS, INDEX_PROPERTIES)
            for stored in self.w.graph.inside("inbox")
            if known.get(MessageId(stored.id)) != stored.etag
        ]
        await self.intake.take(news, set(), began=self.w.clock.monotonic() + 1e-6, link="L")
        await self.intake.suspects.settled()
        return await self.rows()

    async def rows(self) -> list[MessageRow]:
        return await self.w.rows("inbox")

    def bodies(self) -> Bodies:
        """With nothing near at hand, as after a restart or when all was evicted."""
        return Bodies(self.w.ctx, BodyCache(memory=10 * MIB, spool_above=MIB))

    async def read(self, row: MessageRow, bodies: Bodies | None = None) -> bytes | None:
        body: Body | None = await (bodies or self.bodies()).body(row, self.folder)
        return None if body is None else body.read(0, body.size)

    async def seen(self, mime: bytes = PLAIN, **facts: Any) -> tuple[Stored, MessageRow]:
        """A message whose octets somebody has read."""
        stored = self.w.graph.put("inbox", mime, **facts)
        row = next(row for row in await self.round() if row.id == stored.id)
        assert await self.read(row) == mime
        self.forget()
        return stored, next(row for row in await self.rows() if row.id == stored.id)

    def forget(self) -> None:
        self.w.graph.calls.clear()
        self.priorities.clear()

    @property
    def calls(self) -> list[str]:
        return [name for name, _ in self.w.graph.calls]


@pytest.fixture
async def inbox(tmp_path: Path) -> AsyncIterator[Inbox]:
    async with world(tmp_path) as w:
        yield Inbox(w)


async def ended(inbox: Inbox, before: MessageRow) -> MessageRow:
    """The message's new generation; asserts all that belongs to one."""
    (after,) = [row for row in await inbox.rows() if row.id == before.id]
    assert after.uid > before.uid and after.email_id not in ("", before.email_id)
    assert (after.flags, after.internal_date, after.thread_id) == (
        before.flags, before.internal_date, before.thread_id,
    )  # fmt: skip
    assert not after.size_exact and after.size > 0
    delta = await inbox.w.store.since(inbox.folder.key, ModSeq(before.modseq))
    assert before.uid in [uid for uid, _ in delta.gone]
    told = [applied for _, applied in inbox.w.hubs.seen if before.uid in applied.gone]
    assert len(told) == 1 and after.uid in [row.uid for row in told[0].rows]
    return after


# -- changes that Graph tells of --


async def test_flags_and_categories_alone_cost_nothing(inbox: Inbox) -> None:
    stored, row = await inbox.seen()
    for change in ({"read": True}, {"flag": "flagged"}, {"categories": ["Red"]}, {"read": False}):
        inbox.w.graph.outlook(stored.id, **change)
        (now,) = await inbox.round()
        assert now.uid == row.uid and now.etag == stored.etag
    assert inbox.calls == []


async def test_what_nobody_has_looked_into_costs_nothing(inbox: Inbox) -> None:
    stored = inbox.w.graph.put("inbox")
    (row,) = await inbox.round()
    inbox.w.graph.outlook(stored.id, mime=HEADER + b"another\r\n")
    (now,) = await inbox.round()
    assert inbox.calls == [] and now.uid == row.uid and now.etag == stored.etag


@pytest.mark.parametrize("mime", [PLAIN, HEADER[:-2] + b"Keywords: Red category\r\n\r\n" + REST])
async def test_another_etag_over_the_same_content_costs_one_request_in_the_background(
    inbox: Inbox, mime: bytes
) -> None:
    stored, row = await inbox.seen()
    inbox.w.graph.outlook(stored.id, mime=mime)
    for _ in range(3):
        (now,) = await inbox.round()
        assert (now.uid, now.email_id, now.etag) == (row.uid, row.email_id, stored.etag)
    assert inbox.calls == ["mime"] and inbox.priorities == [Priority.BACKGROUND]
    assert await inbox.read(row) == PLAIN


@pytest.mark.parametrize(
    "mime",
    [
        HEADER + b"hello you\r\n",
        PLAIN.replace(b"Subject: one", b"Subject: two"),
        PLAIN.replace(b"To: alice", b"To: carol"),
        HEADER[:-2] + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n"
        b"Content-Type: application/pdf\r\n\r\npdf\r\n--b--\r\n",
    ],
    ids=["text", "subject", "recipients", "attachment"],
)
async def test_other_content_is_another_message(inbox: Inbox, mime: bytes) -> None:
    stored, row = await inbox.seen(read=True, categories=["Red"])
    inbox.w.graph.outlook(stored.id, mime=mime)
    await inbox.round()
    after = await ended(inbox, row)
    assert after.etag == stored.etag and inbox.calls == ["mime"]
    assert inbox.priorities == [Priority.BACKGROUND] and inbox.w.ctx.renewals.changed == 1
    assert await inbox.w.store.pinned(ACCOUNT, row.id) is None
    assert await inbox.w.store.facts(ACCOUNT, [row.id]) == {}
    assert await inbox.read(after) == mime
    await inbox.round()
    assert [now.uid for now in await inbox.rows()] == [after.uid]


async def test_headers_seen_without_octets_are_compared_by_a_listing(inbox: Inbox) -> None:
    stored = inbox.w.graph.put("inbox")
    (row,) = await inbox.round()
    before = (await metas(inbox.w.ctx, [row]))[row.id]
    inbox.forget()
    inbox.w.graph.outlook(stored.id)
    (same,) = await inbox.round()
    assert same.uid == row.uid and same.etag == stored.etag and inbox.calls == ["get"]
    inbox.w.graph.outlook(stored.id, mime=PLAIN.replace(b"Subject: one", b"Subject: two"))
    await inbox.round()
    after = await ended(inbox, row)
    assert inbox.calls == ["get", "get"] and set(inbox.priorities) == {Priority.BACKGROUND}
    now = (await metas(inbox.w.ctx, [after]))[row.id]
    assert b"Subject: two" in now.header and b"Subject: one" in before.header


async def test_appended_mail_is_not_verified_for_it_is_served_as_it_came(inbox: Inbox) -> None:
    stored, row = await inbox.seen()
    await put_original(inbox.w.store, ACCOUNT, row.id, b"as it came\r\n")
    inbox.w.graph.outlook(stored.id, mime=HEADER + b"otherwise\r\n")
    (now,) = await inbox.round()
    assert now.uid == row.uid and now.etag == stored.etag and inbox.calls == []


# -- how much, how often, and what goes wrong --


async def test_a_round_verifies_twenty_and_the_next_ones_the_rest(inbox: Inbox) -> None:
    for n in range(45):
        await inbox.seen(PLAIN.replace(b"<1@", b"<%d@" % n), received=NOW + n)
    for stored in inbox.w.graph.inside("inbox"):
        inbox.w.graph.outlook(stored.id)
    inbox.forget()
    await inbox.round()
    for expected in (20, 40, 45, 45):
        assert inbox.calls == ["mime"] * expected
        await inbox.nothing_new()
    etags = {stored.etag for stored in inbox.w.graph.inside("inbox")}
    assert {row.etag for row in await inbox.rows()} == etags


async def test_a_crash_forgets_nobody_who_waits(inbox: Inbox) -> None:
    stored, row = await inbox.seen()
    inbox.w.graph.outlook(stored.id, mime=HEADER + b"changed\r\n")
    inbox.w.graph.fail("mime", Throttled(""))
    assert (await inbox.round())[0].etag == row.etag
    again = Inbox(inbox.w)  # a new process, and the full comparison of the folder
    await again.round()
    await ended(again, row)


async def test_trouble_ends_the_round_and_whom_it_befell_comes_last(inbox: Inbox) -> None:
    first, one = await inbox.seen()
    second, two = await inbox.seen(PLAIN.replace(b"<1@", b"<2@"), received=NOW + 1)
    for stored in (first, second):
        inbox.w.graph.outlook(stored.id)
    inbox.w.graph.fail("mime", Throttled(""))
    await inbox.round()
    assert len(inbox.calls) == 1
    await inbox.nothing_new()
    asked = [id for name, id in inbox.w.graph.calls if name == "mime"]
    assert asked[0] != asked[1] and asked[2] == asked[0]
    assert {row.etag for row in await inbox.rows()} == {first.etag, second.etag}
    assert {row.uid for row in await inbox.rows()} == {one.uid, two.uid}


@pytest.mark.parametrize("error", [NotFound(""), Conflict("")])
async def test_a_message_that_cannot_be_read_is_no_changed_message(inbox: Inbox, error: GraphError) -> None:
    stored, row = await inbox.seen()
    inbox.w.graph.outlook(stored.id, mime=HEADER + b"changed\r\n")
    inbox.w.graph.fail("mime", error)
    assert [now.uid for now in await inbox.round()] == [row.uid]


async def test_what_exchange_cannot_render_any_more_keeps_its_uid(inbox: Inbox) -> None:
    stored, row = await inbox.seen()
    inbox.w.graph.outlook(stored.id)
    inbox.w.graph.fail("mime", PermanentFailure("", status=500))
    (now,) = await inbox.round()
    assert now.uid == row.uid and now.etag == stored.etag


async def test_an_own_write_meanwhile_keeps_its_etag(inbox: Inbox) -> None:
    stored, row = await inbox.seen()
    inbox.w.graph.outlook(stored.id)

    async def mime(id: str, *, priority: Any = None) -> bytes:
        applied = [Upsert(row.id, etag="ours", known_only=True)]
        await inbox.w.store.apply(inbox.folder.key, applied, ())
        return PLAIN

    inbox.w.graph.mime = mime  # type: ignore[method-assign]
    (now,) = await inbox.round()
    assert now.etag == "ours" and now.uid == row.uid


async def test_a_message_expunged_while_it_was_verified_does_not_come_back(inbox: Inbox) -> None:
    stored, row = await inbox.seen()
    inbox.w.graph.outlook(stored.id, mime=HEADER + b"changed\r\n")

    async def mime(id: str, *, priority: Any = None) -> bytes:
        await inbox.w.store.apply(inbox.folder.key, (), [row.id])
        return HEADER + b"changed\r\n"

    inbox.w.graph.mime = mime  # type: ignore[method-assign]
    assert await inbox.round() == []


async def test_a_folder_that_closes_ends_its_verification(inbox: Inbox) -> None:
    stored, row = await inbox.seen()
    inbox.w.graph.outlook(stored.id, mime=HEADER + b"changed\r\n")
    news = [inbox.w.graph.show(stored, INDEX_FIELDS, INDEX_PROPERTIES)]
    await inbox.intake.take(news, set(), began=inbox.w.clock.monotonic() + 1, link="L")
    await inbox.intake.suspects.close()
    await inbox.intake.suspects.settled()
    assert [now.uid for now in await inbox.rows()] == [row.uid]


# -- a change of the renderer --


async def rendered_otherwise(inbox: Inbox, count: int) -> None:
    for n in range(count):
        await inbox.seen(PLAIN.replace(b"<1@", b"<%d@" % n), received=NOW + n)
    for stored in inbox.w.graph.inside("inbox"):
        inbox.w.graph.outlook(stored.id, mime=other_rendering(stored.mime))
    inbox.forget()


async def test_equal_content_in_other_octets_gets_twenty_new_uids_a_day(inbox: Inbox) -> None:
    await rendered_otherwise(inbox, 25)
    before = {row.id: row.uid for row in await inbox.rows()}
    with capture_logs() as logs:
        for _ in range(3):
            await inbox.round()
    after = {row.id: row.uid for row in await inbox.rows()}
    assert sum(before[id] != after[id] for id in before) == 20
    assert [entry["log_level"] for entry in logs if "otherwise" in entry["event"]] == ["error"]
    assert inbox.w.ctx.renewals.rendered == 25 and inbox.w.ctx.renewals.changed == 0


async def test_beyond_them_the_octets_near_at_hand_are_served_on(inbox: Inbox) -> None:
    inbox.w.ctx.renewals.bound = 0
    stored, row = await inbox.seen()
    near = inbox.bodies()
    assert await inbox.read(row, near) == PLAIN
    inbox.w.graph.outlook(stored.id, mime=other_rendering(PLAIN))
    await inbox.round()
    assert await inbox.read(row, near) == PLAIN


async def test_the_next_day_begins_anew_and_is_told_of_anew(inbox: Inbox) -> None:
    inbox.w.ctx.renewals.bound = 1
    first, one = await inbox.seen()
    second, two = await inbox.seen()
    for trailer in (b"", b"\r\n"):
        with capture_logs() as logs:
            first.mime = second.mime = other_rendering(PLAIN, trailer)
            one, two = await inbox.rows()  # the renewed one is the last
            assert await inbox.read(one) is None
            assert await inbox.read(two) == second.mime
            assert await inbox.read(two) == second.mime
        assert [entry["log_level"] for entry in logs if "otherwise" in entry["event"]] == ["error"]
        (_, one) = await inbox.rows()
        assert await inbox.read(one) == first.mime
        inbox.w.clock.now += DAY


# -- octets that were evicted --


async def test_content_that_changed_unheard_is_not_served_under_the_old_uid(inbox: Inbox) -> None:
    stored, row = await inbox.seen()
    stored.mime = HEADER + b"changed\r\n"  # Graph has told nothing yet
    bodies = inbox.bodies()
    assert await inbox.read(row, bodies) is None and bodies.rerendered == 1
    after = await ended(inbox, row)
    assert await inbox.read(after) == stored.mime
    (meta,) = (await metas(inbox.w.ctx, [after])).values()
    assert meta.header == HEADER


async def test_a_rendering_within_the_bound_is_another_message(inbox: Inbox) -> None:
    stored, row = await inbox.seen()
    stored.mime = other_rendering(PLAIN)
    assert await inbox.read(row) is None
    assert await inbox.read(await ended(inbox, row)) == stored.mime


async def test_a_rendering_beyond_it_is_served_under_the_header_facts_of_old(inbox: Inbox) -> None:
    inbox.w.ctx.renewals.bound = 0
    stored, row = await inbox.seen()
    facts = (await inbox.w.store.facts(ACCOUNT, [row.id]))[row.id]
    stored.mime = other_rendering(PLAIN)
    for _ in range(2):  # the second time it is the pinned one
        assert await inbox.read(row) == stored.mime
    (now,) = await inbox.rows()
    assert (now.uid, now.email_id) == (row.uid, row.email_id)
    assert (now.size, now.size_exact) == (len(stored.mime), True)
    assert await inbox.w.store.pinned(ACCOUNT, row.id) == pin_of(stored.mime)
    after = (await inbox.w.store.facts(ACCOUNT, [row.id]))[row.id]
    assert (after.header, after.envelope) == (facts.header, facts.envelope) == (HEADER, facts.envelope)
    assert after.structure is not None and b'"base64"' in after.structure.lower()
    assert inbox.w.ctx.renewals.rendered == 1


async def test_a_fetch_overtaken_by_a_new_generation_gives_nothing(inbox: Inbox) -> None:
    """Never old facts with new octets."""
    stored = inbox.w.graph.put("inbox")
    (row,) = await inbox.round()

    async def mime(id: str, *, priority: Any = None) -> bytes:
        upsert = Upsert(row.id, new_generation=True, known_only=True)
        await inbox.w.store.apply(inbox.folder.key, [upsert], ())
        return stored.mime

    inbox.w.graph.mime = mime  # type: ignore[method-assign]
    assert await inbox.read(row) is None


async def test_two_who_find_it_out_at_once_end_the_uid_once(inbox: Inbox) -> None:
    stored, row = await inbox.seen()
    inbox.w.graph.outlook(stored.id, mime=HEADER + b"changed\r\n")
    news = [inbox.w.graph.show(stored, INDEX_FIELDS, INDEX_PROPERTIES)]
    await inbox.intake.take(news, set(), began=inbox.w.clock.monotonic() + 1, link="L")
    assert await inbox.read(row) is None  # while it is being verified
    await inbox.intake.suspects.settled()
    await ended(inbox, row)
    assert len(await inbox.rows()) == 1


async def test_a_copy_is_not_taken_for_gone_with_the_message_whose_fetch_it_waited_for(inbox: Inbox) -> None:
    """Copies share octets, and one fetch serves both."""
    first, one = await inbox.seen()
    second, two = await inbox.seen(PLAIN)
    two = replace(two, email_id=one.email_id)
    first.mime = HEADER + b"changed\r\n"
    near = inbox.bodies()
    taken = [found async for _, found in near.bodies([one, two], inbox.folder)]
    assert taken[0] is None and taken[1] is not None
    assert taken[1].read(0, taken[1].size) == PLAIN == second.mime
