"""Drafts that somebody goes on writing (decision 4), and what a new generation takes with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mailbox_world import ACCOUNT, NOW, PLAIN, Stored, World, world

from gateway.core.limits import MIB
from gateway.core.types import MessageId
from gateway.graph.mail import INDEX_FIELDS, INDEX_PROPERTIES
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.cache import BodyCache
from gateway.mailbox.intake import YOUNG, Intake
from gateway.store.api import MessageRow
from tests.store_support import put_original

MINE = b"Subject: mine\r\nTo: bob@example.com\r\n\r\nas I wrote it\r\n"


class Drafts:
    """The Drafts folder of one account."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.folder = w.folder("drafts")
        self.intake = Intake(w.ctx, self.folder.key, self.folder.id)

    async def round(self) -> list[MessageRow]:
        """Everything there is told again, as by a full comparison."""
        shown = [self.w.graph.show(m, INDEX_FIELDS, INDEX_PROPERTIES) for m in self.w.graph.inside("drafts")]
        await self.intake.take(shown, set(), began=self.w.clock.monotonic() + 1e-6, link="L")
        await self.intake.suspects.settled()
        return await self.w.rows("drafts")

    async def outlooks(self, mime: bytes = PLAIN) -> tuple[Stored, MessageRow]:
        """Begun in Outlook."""
        stored = self.w.graph.put("drafts", mime, draft=True)
        (row,) = await self.round()
        return stored, row

    async def landed(self) -> tuple[Stored, MessageRow]:
        """Appended by a client just now: Exchange renders it in its own way."""
        stored, row = await self.outlooks(b"From: alice@example.com\r\n" + MINE.replace(b"wrote", b"w=72ote"))
        await put_original(self.w.store, ACCOUNT, row.id, MINE)
        self.w.graph.calls.clear()
        return stored, row

    async def read(self, row: MessageRow) -> bytes | None:
        body = await Bodies(self.w.ctx, BodyCache(memory=MIB, spool_above=MIB)).body(row, self.folder)
        return None if body is None else body.read(0, body.size)


@pytest.fixture
async def drafts(tmp_path: Path) -> AsyncIterator[Drafts]:
    async with world(tmp_path) as w:
        yield Drafts(w)


def uids(rows: Sequence[MessageRow]) -> list[int]:
    return [row.uid for row in rows]


async def test_a_draft_continued_in_outlook_is_a_new_message_at_once(drafts: Drafts) -> None:
    stored, row = await drafts.outlooks()
    assert await drafts.read(row) == PLAIN
    drafts.w.graph.outlook(stored.id, mime=PLAIN + b"more\r\n", received=NOW + 5)
    (after,) = await drafts.round()
    assert after.uid > row.uid and after.email_id != row.email_id
    assert (after.internal_date, after.etag, after.size_exact) == (NOW + 5, stored.etag, False)
    assert after.size == len(stored.mime) + 1000  # the estimate, never the 0 that clients take for a fault
    assert await drafts.read(after) == stored.mime
    assert await drafts.read(row) is None
    assert uids(await drafts.round()) == [after.uid]


async def test_a_new_generation_of_untold_size_has_the_old_one_at_first(drafts: Drafts) -> None:
    stored, row = await drafts.outlooks()
    drafts.w.graph.outlook(stored.id)
    untold = drafts.w.graph.show(stored)
    assert untold.single_value_extended_properties is None
    await drafts.intake.take([untold], set(), began=drafts.w.clock.monotonic() + 1, link="L")
    (after,) = await drafts.w.rows("drafts")
    assert after.uid > row.uid and after.size == row.size > 0


async def test_flags_of_a_draft_change_nothing_else(drafts: Drafts) -> None:
    stored, row = await drafts.outlooks()
    drafts.w.clock.now += 2 * YOUNG
    drafts.w.graph.outlook(stored.id, flag="flagged", categories=["Red"])
    assert uids(await drafts.round()) == [row.uid]


async def test_the_bump_of_a_draft_just_appended_leaves_its_uid(drafts: Drafts) -> None:
    stored, row = await drafts.landed()
    drafts.w.clock.now += YOUNG - 1
    drafts.w.graph.outlook(stored.id)
    for _ in range(2):
        (now,) = await drafts.round()
        assert (now.uid, now.email_id, now.etag) == (row.uid, row.email_id, stored.etag)
    assert drafts.w.graph.count("mime") == 1 and await drafts.read(now) == MINE


@pytest.mark.parametrize(("before", "after"), [(b"mine", b"ours"), (b"bob@", b"carol@")])
async def test_a_draft_just_appended_and_visibly_continued_is_new(
    drafts: Drafts, before: bytes, after: bytes
) -> None:
    stored, row = await drafts.landed()
    drafts.w.graph.outlook(stored.id, mime=stored.mime.replace(before, after))
    (now,) = await drafts.round()
    assert now.uid > row.uid and await drafts.read(now) == stored.mime


async def test_an_appended_draft_continued_later_is_renewed_and_its_original_no_longer_served(
    drafts: Drafts,
) -> None:
    stored, row = await drafts.landed()
    assert await drafts.read(row) == MINE
    drafts.w.clock.now += YOUNG
    drafts.w.graph.outlook(stored.id, mime=stored.mime + b"and more in Outlook\r\n")
    (after,) = await drafts.round()
    assert after.uid > row.uid and after.email_id != row.email_id and after.size > 0
    assert await drafts.w.store.has_originals(ACCOUNT, [row.id]) == set()
    assert await drafts.read(after) == stored.mime
    assert await drafts.read(row) is None


async def test_the_bump_after_our_own_write_leaves_an_old_draft_its_uid(drafts: Drafts) -> None:
    stored, row = await drafts.outlooks()
    assert await drafts.read(row) == PLAIN
    drafts.w.clock.now += 10 * YOUNG
    drafts.w.ctx.writes.ended(row.id, drafts.w.clock.monotonic())
    drafts.w.clock.now += 1
    drafts.w.graph.outlook(stored.id)
    assert uids(await drafts.round()) == [row.uid]
    drafts.w.graph.outlook(stored.id, mime=PLAIN + b"more\r\n")
    (after,) = await drafts.round()
    assert after.uid > row.uid and await drafts.read(after) == stored.mime


STEPS = st.lists(st.sampled_from(["edit", "flag", "wait", "read", "round", "crash"]), max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, draft=st.booleans())
async def test_one_uid_shows_one_content_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], draft: bool
) -> None:
    """Invariant 8 against every order of edits in Outlook, flags, syncs, reads and crashes."""
    async with world(tmp_path_factory.mktemp("w")) as w:
        drafts = Drafts(w)
        stored, _ = await drafts.outlooks()
        stored.draft, shown = draft, dict[int, bytes]()
        for number, step in enumerate([*steps, "round", "read", "round", "read"]):
            w.clock.now += 1
            if step == "edit":
                w.graph.outlook(stored.id, mime=PLAIN + b"edit %d\r\n" % number)
            elif step == "flag":
                w.graph.outlook(stored.id, read=not stored.read, mime=with_keyword(stored.mime, number))
            elif step == "wait":
                w.clock.now += 2 * YOUNG
            elif step == "crash":
                drafts = Drafts(w)
            elif step == "round":
                await drafts.round()
            else:
                for row in await w.rows("drafts"):
                    octets = await drafts.read(row)
                    assert octets is None or shown.setdefault(row.uid, octets) == octets
        (row,) = await w.rows("drafts")
        assert row.id == MessageId(stored.id)
        assert shown[row.uid].partition(b"\r\n\r\n")[2] == stored.mime.partition(b"\r\n\r\n")[2]


def with_keyword(mime: bytes, number: int) -> bytes:
    """A category adds a header field (trap 29)."""
    return b"Keywords: %d\r\n" % number + mime
