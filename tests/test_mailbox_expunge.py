"""EXPUNGE: by move, never by DELETE; where what goes (decision 8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mailbox_world import ACCOUNT, World, world

from gateway.core.errors import NoPermission, Unavailable
from gateway.core.types import FlagChange, FlagOp, Flags, MessageId, ModSeq, SystemFlag, Uid
from gateway.graph.errors import Denied, NotFound, OutcomeUnknown, Unreachable
from gateway.graph.mail import IMAP_DELETED
from gateway.graph.props import parse_property
from gateway.mailbox import transfer
from gateway.mailbox.changes import store_flags
from gateway.mailbox.expunge import expunge
from gateway.mailbox.journal import recover
from gateway.mailbox.work import settled

MARKED = {parse_property(IMAP_DELETED): "1"}


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def run(w: World, folder: str = "inbox", copied_out: frozenset[MessageId] = frozenset()) -> list[Uid]:
    return await expunge(w.ctx, w.folder(folder), await w.rows(folder), copied_out=copied_out)


async def test_to_deleted_items_where_the_mark_is_spent(w: World) -> None:
    stored = w.graph.put("inbox", props=dict(MARKED), read=True)
    (row,) = await w.sync("inbox")
    assert await run(w) == [row.uid]
    assert stored.folder == "F-deleteditems" and stored.prop(IMAP_DELETED) == "1"
    (there,) = await w.rows("deleteditems")
    assert there.flags == Flags.of([b"\\Seen"]) and there.email_id == row.email_id
    assert there.etag == stored.etag and await w.rows("inbox") == []
    assert [name for name, _ in w.graph.calls] == ["move"]
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


async def test_an_expunge_that_a_crash_cut_short_is_finished(w: World) -> None:
    stored = w.graph.put("inbox", props=dict(MARKED))
    (row,) = await w.sync("inbox")
    inbox, trash = w.folder("inbox"), w.folder("deleteditems")
    work = transfer.MoveWork(inbox.key, trash.key, trash.id, [row.id], undelete=True)
    await transfer.begin(w.ctx, "move", work)
    await w.graph.move([row.id], trash.id)
    await w.restarted()
    await recover(w.ctx)
    assert stored.folder == "F-deleteditems" and await w.rows("inbox") == []
    assert await w.flags("deleteditems") == [Flags()]
    await w.sync("deleteditems")
    assert await w.flags("deleteditems") == [Flags()]


# -- the mark that is left behind --


async def trashed(w: World) -> MessageId:
    w.graph.put("inbox", props=dict(MARKED))
    (row,) = await w.sync("inbox")
    await run(w)
    return row.id


async def test_the_mark_left_in_graph_counts_for_nothing_also_after_a_resync(w: World) -> None:
    id = await trashed(w)
    w.clock.now += 10
    w.graph.outlook(id, read=True)
    assert [f.system for f in await w.flags("deleteditems")] == [SystemFlag(0)]
    await w.sync("deleteditems")
    assert await w.flags("deleteditems") == [Flags.of([b"\\Seen"])]
    assert await expunge(w.ctx, w.folder("deleteditems"), [], copied_out=frozenset()) == []


async def test_a_store_in_trash_makes_it_count_again(w: World) -> None:
    await trashed(w)
    trash = await w.fresh("deleteditems")
    rows = await w.rows("deleteditems")
    await store_flags(w.ctx, trash, rows, FlagChange(FlagOp.ADD, Flags.of([b"\\Seen"])))
    assert await w.flags("deleteditems") == [Flags.of([b"\\Seen"])]
    rows = await w.rows("deleteditems")
    await store_flags(w.ctx, trash, rows, FlagChange(FlagOp.ADD, Flags.of([b"\\Deleted"])))
    w.clock.now += 10
    await w.sync("deleteditems")
    assert await w.flags("deleteditems") == [Flags.of([b"\\Seen", b"\\Deleted"])]


@pytest.mark.parametrize("bound", [None, 10**9])
async def test_a_conflict_in_trash_does_not_bring_it_back(w: World, bound: int | None) -> None:
    id = await trashed(w)
    w.clock.now += 10
    w.graph.outlook(id, categories=["theirs"])  # the etag we know is old: the PATCH meets a conflict
    change = FlagChange(FlagOp.ADD, Flags.of([b"mine"]), unchanged_since=bound and ModSeq(bound))
    outcome = await store_flags(w.ctx, await w.fresh("deleteditems"), await w.rows("deleteditems"), change)
    assert outcome.error is None
    (flags,) = await w.flags("deleteditems")
    assert SystemFlag.DELETED not in flags.system
    if bound is None:
        assert flags.keywords == {b"mine", b"theirs"}


async def test_what_is_restored_is_not_deleted_and_loses_the_mark(w: World) -> None:
    id = await trashed(w)
    w.clock.now += 10
    w.graph.outlook(id, folder="F-inbox")
    await w.sync("deleteditems")
    await w.sync("inbox")
    assert await w.flags("inbox") == [Flags()]
    await settled()
    stored = w.graph.messages[id]
    assert stored.prop(IMAP_DELETED) == "0"
    ((_, (patch,)),) = [call for call in w.graph.calls if call[0] == "patch"]
    assert patch.if_match  # nobody's change in between is undone
    (row,) = await w.rows("inbox")
    assert row.etag == stored.etag  # our own writing: no suspicion


async def test_a_mark_set_meanwhile_is_not_taken_off(w: World) -> None:
    id = await trashed(w)
    w.clock.now += 10
    w.graph.outlook(id, folder="F-inbox")
    w.graph.during["patch"] = lambda: w.graph.outlook(id, read=True)
    await w.sync("deleteditems")
    await w.sync("inbox")
    await settled()
    assert w.graph.messages[id].prop(IMAP_DELETED) == "1"


async def test_a_client_that_moves_it_out_of_trash_finds_it_undeleted_there(w: World) -> None:
    await trashed(w)
    rows = await w.rows("deleteditems")
    await transfer.move(w.ctx, w.folder("deleteditems"), rows, w.folder("sentitems"))
    assert await w.flags("sentitems") == [Flags()]
    await transfer.copy(w.ctx, w.folder("sentitems"), await w.rows("sentitems"), w.folder("inbox"))
    w.clock.now += 200
    await w.sync("inbox")
    assert await w.flags("inbox") == [Flags()]


# -- a 404 that passes --


@pytest.mark.parametrize("folder", ["inbox", "deleteditems"])
async def test_a_passing_404_does_not_make_a_message_disappear(w: World, folder: str) -> None:
    stored = w.graph.put(folder, props=dict(MARKED))
    await w.sync(folder)
    w.graph.fail("move", NotFound("", status=404, code="ErrorItemNotFound"), id=stored.id)
    assert len(await run(w, folder)) == 1  # tried once more, and then it went
    assert stored.folder != f"F-{folder}" and await w.rows(folder) == []


@pytest.mark.parametrize("folder", ["inbox", "deleteditems"])
async def test_a_404_that_does_not_pass_is_an_error_while_the_message_is_there(w: World, folder: str) -> None:
    stored = w.graph.put(folder, props=dict(MARKED))
    await w.sync(folder)
    for _ in range(2):
        w.graph.fail("move", NotFound("", status=404, code="ErrorItemNotFound"), id=stored.id)
    with pytest.raises(Unavailable):
        await run(w, folder)
    assert len(await w.rows(folder)) == 1 and w.graph.count("move") == 2
