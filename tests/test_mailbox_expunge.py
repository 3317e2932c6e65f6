"""EXPUNGE: by move, never by DELETE; where what goes (decision 8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mailbox_world import ACCOUNT, World, world

from gateway.core.errors import NoPermission, Unavailable
from gateway.core.types import Flags, MessageId, Uid
from gateway.graph.errors import Denied, OutcomeUnknown, Throttled, Unreachable
from gateway.graph.mail import IMAP_DELETED
from gateway.graph.props import parse_property
from gateway.mailbox import transfer
from gateway.mailbox.expunge import expunge
from gateway.mailbox.journal import recover

MARKED = {parse_property(IMAP_DELETED): "1"}


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def run(w: World, folder: str = "inbox", copied_out: frozenset[MessageId] = frozenset()) -> list[Uid]:
    return await expunge(w.ctx, w.folder(folder), await w.rows(folder), copied_out=copied_out)


async def test_to_deleted_items_without_the_mark(w: World) -> None:
    stored = w.graph.put("inbox", props=dict(MARKED), read=True)
    (row,) = await w.sync("inbox")
    assert await run(w) == [row.uid]
    assert stored.folder == "F-deleteditems" and stored.prop(IMAP_DELETED) == "0"
    (there,) = await w.rows("deleteditems")
    assert there.flags == Flags.of([b"\\Seen"]) and there.email_id == row.email_id
    assert there.etag == stored.etag and await w.rows("inbox") == []
    assert [name for name, _ in w.graph.calls] == ["move", "patch"]
    assert await w.store.journal(ACCOUNT) == []


async def test_in_trash_to_recoverable_items(w: World) -> None:
    stored = w.graph.put("deleteditems", props=dict(MARKED))
    await w.sync("deleteditems")
    assert len(await run(w, "deleteditems")) == 1
    assert stored.folder == "F-recoverableitemsdeletions" and await w.rows("deleteditems") == []
    assert [name for name, _ in w.graph.calls] == ["move"]


async def test_drafts_and_copied_messages_do_not_flood_trash(w: World) -> None:
    draft = w.graph.put("inbox", draft=True)
    copied, other = w.graph.put("inbox"), w.graph.put("inbox")
    await w.sync("inbox")
    assert len(await run(w, copied_out=frozenset({MessageId(copied.id)}))) == 3
    assert draft.folder == copied.folder == "F-recoverableitemsdeletions"
    assert other.folder == "F-deleteditems"


async def test_permanent_by_setting_only(w: World) -> None:
    w.settings.expunge = "permanent"
    w.graph.put("inbox")
    await w.sync("inbox")
    assert len(await run(w)) == 1
    assert w.graph.messages == {} and await w.rows("inbox") == []
    assert [name for name, _ in w.graph.calls] == ["permanent_delete"]


async def test_a_repeated_expunge_does_not_destroy(w: World) -> None:
    """Trap 53: Outlook filed it in Deleted Items, and our delta has not said so yet."""
    stored = w.graph.put("inbox")
    rows = await w.sync("inbox")
    w.graph.outlook(stored.id, folder="F-deleteditems")
    gone = await expunge(w.ctx, w.folder("inbox"), rows, copied_out=frozenset())
    assert gone == [rows[0].uid] and stored.folder == "F-deleteditems"


async def test_what_is_gone_counts_as_done(w: World) -> None:
    w.graph.put("inbox")
    await w.sync("inbox")
    w.graph.messages.clear()
    assert len(await run(w)) == 1 and await w.rows("inbox") == []


@pytest.mark.parametrize("folder", ["inbox", "deleteditems"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_after_an_unknown_outcome_the_message_is_looked_for(w: World, folder: str, when: str) -> None:
    w.graph.put(folder)
    await w.sync(folder)
    w.graph.fail("move", Unreachable(""), when=when)
    if when == "before":
        with pytest.raises(Unavailable):
            await run(w, folder)
        assert len(await w.rows(folder)) == 1
    else:
        assert len(await run(w, folder)) == 1 and await w.rows(folder) == []


async def test_an_unknown_permanent_delete_is_not_repeated(w: World) -> None:
    w.settings.expunge = "permanent"
    w.graph.put("inbox")
    await w.sync("inbox")
    w.graph.fail("permanent_delete", OutcomeUnknown(""), when="after")
    assert len(await run(w)) == 1 and w.graph.count("permanent_delete") == 1


async def test_a_refused_message_stays(w: World) -> None:
    stays, goes = w.graph.put("inbox"), w.graph.put("inbox")
    await w.sync("inbox")
    w.graph.fail("move", Denied(""), id=stays.id)
    assert len(await run(w)) == 1
    assert [row.id for row in await w.rows("inbox")] == [stays.id] and goes.folder == "F-deleteditems"
    w.graph.fail("move", Denied(""), id=stays.id)
    with pytest.raises(NoPermission):
        await run(w)


async def test_the_mark_is_taken_off_at_the_next_start_if_it_could_not_be(w: World) -> None:
    stored = w.graph.put("inbox", props=dict(MARKED))
    await w.sync("inbox")
    w.graph.fail("patch", Throttled(""))
    assert len(await run(w)) == 1 and stored.prop(IMAP_DELETED) == "1"
    assert await w.flags("deleteditems") == [Flags()]
    await w.restarted()
    await recover(w.ctx)
    assert stored.prop(IMAP_DELETED) == "0" and await w.store.journal(ACCOUNT) == []


async def test_an_expunge_that_a_crash_cut_short_is_finished(w: World) -> None:
    stored = w.graph.put("inbox", props=dict(MARKED))
    (row,) = await w.sync("inbox")
    inbox, trash = w.folder("inbox"), w.folder("deleteditems")
    work = transfer.MoveWork(inbox.key, trash.key, trash.id, [row.id], undelete=True)
    await transfer.begin(w.ctx, "move", work)
    await w.graph.move([row.id], trash.id)
    await w.restarted()
    await recover(w.ctx)
    assert stored.prop(IMAP_DELETED) == "0" and await w.rows("inbox") == []
    assert await w.flags("deleteditems") == [Flags()]
