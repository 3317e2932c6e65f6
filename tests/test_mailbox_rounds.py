"""A round of a sync beside what another process writes to the same folder meanwhile: the other one is believed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mailbox_world import ACCOUNT, PLAIN, World, world

from gateway.core.types import Flags, MessageId, SystemFlag
from gateway.graph.mail import INDEX_FIELDS, INDEX_PROPERTIES
from gateway.mailbox.intake import Intake, Taken
from gateway.store.api import ABSENT, Applied, MessageRow, Upsert

SEEN = Flags(SystemFlag.SEEN)


class Inbox:
    """INBOX with one message, which the store has, too."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.folder = w.folder("inbox")
        self.intake = Intake(w.ctx, self.folder.key, self.folder.id)
        self.stored = w.graph.put("inbox", PLAIN)

    async def take(
        self, seen: Mapping[MessageId, MessageRow] | None, shown: list[Any] | None = None
    ) -> Taken:
        shown = shown if shown is not None else self.shown()
        return await self.intake.take(shown, set(), began=self.w.clock.monotonic(), link="new", seen=seen)

    def shown(self) -> list[Any]:
        return [self.w.graph.show(m, INDEX_FIELDS, INDEX_PROPERTIES) for m in self.w.graph.inside("inbox")]

    async def rows(self) -> dict[MessageId, MessageRow]:
        return {row.id: row for row in await self.w.rows("inbox")}

    async def elsewhere(self, *upserts: Upsert, gone: tuple[MessageId, ...] = ()) -> Applied:
        """As another process does it: our write log knows nothing of it."""
        return await self.w.store.apply(self.folder.key, upserts, gone)

    async def link(self) -> str:
        row = await self.w.store.folder(ACCOUNT, self.folder.id)
        assert row is not None
        return row.delta_link


@pytest.fixture
async def inbox(tmp_path: Path) -> AsyncIterator[Inbox]:
    async with world(tmp_path) as w:
        made = Inbox(w)
        await made.intake.take(made.shown(), set(), began=w.clock.monotonic(), link="old")
        yield made


async def test_flags_written_meanwhile_are_not_undone(inbox: Inbox) -> None:
    seen, shown = await inbox.rows(), inbox.shown()
    (id,) = seen
    await inbox.elsewhere(Upsert(id, flags=SEEN, etag="theirs"))
    taken = await inbox.take(seen, shown)
    assert taken.again == {id}
    assert (await inbox.rows())[id].flags == SEEN


async def test_what_was_taken_away_meanwhile_does_not_come_back(inbox: Inbox) -> None:
    seen, shown = await inbox.rows(), inbox.shown()
    await inbox.elsewhere(gone=tuple(seen))
    assert not (await inbox.take(seen, shown)).complete
    assert await inbox.rows() == {} and await inbox.link() == "old"


async def test_what_was_landed_meanwhile_is_as_it_was_landed(inbox: Inbox) -> None:
    stranger = inbox.w.graph.put("inbox", PLAIN)
    seen, shown = await inbox.rows(), inbox.shown()
    landed = Upsert(MessageId(stranger.id), flags=SEEN, internal_date=7, etag="theirs")
    await inbox.elsewhere(landed)
    taken = await inbox.take(seen, shown)
    assert MessageId(stranger.id) in taken.again
    assert (await inbox.rows())[MessageId(stranger.id)].internal_date == 7


async def test_between_the_last_look_and_the_write_the_store_decides(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = inbox.w.store.apply
    seen, shown = await inbox.rows(), inbox.shown()
    (id,) = seen
    told: list[str | None] = []

    async def late(folder: int, upserts: Any, gone: Any, **more: Any) -> Applied:
        told.extend(upsert.base for upsert in upserts)
        await apply(folder, [Upsert(id, flags=SEEN, etag="theirs")], [])
        return await apply(folder, upserts, gone, **more)

    stranger = inbox.w.graph.put("inbox", PLAIN)
    monkeypatch.setattr(inbox.w.store, "apply", late)
    taken = await inbox.take(seen, inbox.shown())
    assert sorted(told, key=str) == sorted([seen[id].etag, ABSENT], key=str)
    assert taken.again == {id} and not taken.complete
    rows = await inbox.rows()
    assert rows[id].flags == SEEN and MessageId(stranger.id) in rows
    assert await inbox.link() == "old" and shown
