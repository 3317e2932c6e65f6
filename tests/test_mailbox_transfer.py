"""COPY and MOVE: all or nothing, partial and idempotent, journalled (RFC 9051 6.4.7, 6.4.8; invariants 2
and 10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from mailbox_world import ACCOUNT, FIRST, PLAIN, World, world

from gateway.core.errors import (
    GatewayError,
    InUse,
    NoPermission,
    NoSuchMailbox,
    OverQuota,
    Unavailable,
)
from gateway.core.types import Flags, MessageId
from gateway.graph.errors import Denied, OutcomeUnknown, QuotaExceeded, Unreachable
from gateway.mailbox import transfer
from gateway.mailbox.arrival import RECOVERABLE, Pairs
from gateway.mailbox.expunge import expunge
from gateway.mailbox.journal import recover
from gateway.mailbox.work import settled
from gateway.store.api import Facts, Local, Pin
from tests.store_support import put_original


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def copy(w: World, source: str = "inbox", target: str = "sentitems") -> Pairs:
    return await transfer.copy(w.ctx, w.folder(source), await w.rows(source), w.folder(target))


async def move(w: World, source: str = "inbox", target: str = "sentitems") -> Pairs:
    return await transfer.move(w.ctx, w.folder(source), await w.rows(source), w.folder(target))


async def journal(w: World) -> list[str]:
    return [row.kind for row in await w.store.journal(ACCOUNT)]


# -- COPY --


async def test_a_copy_is_the_same_message(w: World) -> None:
    stored = w.graph.put("inbox", read=True, flag="flagged", categories=["mine"], received=1_700_000_000)
    (row,) = await w.sync("inbox")
    assert await copy(w) == [(row.uid, FIRST)]
    (made,) = await w.rows("sentitems")
    assert made.id != stored.id and made.flags == row.flags
    assert (made.email_id, made.thread_id) == (row.email_id, row.thread_id)
    assert (made.internal_date, made.size) == (row.internal_date, row.size)
    assert [name for name, _ in w.graph.calls] == ["copy"] and await journal(w) == []
    (shown,) = w.graph.inside("sentitems")
    assert made.etag == shown.etag  # its delta row will be no news


async def test_what_belongs_to_the_message_goes_with_the_copy(w: World) -> None:
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    await put_original(w.store, ACCOUNT, row.id, b"octets")
    await w.store.put_facts(ACCOUNT, {row.id: Facts(b"H\r\n", b"(E)", "p")})
    await w.store.pin(ACCOUNT, row.id, Pin(b"H", 3, bytes(32)))
    await w.store.put_local(ACCOUNT, {row.id: Local(answered=True)})
    await copy(w)
    (made,) = await w.rows("sentitems")
    assert await w.store.original(ACCOUNT, made.id) == b"octets"
    assert (await w.store.facts(ACCOUNT, [made.id]))[made.id].envelope == b"(E)"
    assert await w.store.pinned(ACCOUNT, made.id) == Pin(b"H", 3, bytes(32))
    assert (await w.store.local(ACCOUNT, [made.id]))[made.id].answered


async def test_copies_keep_the_order(w: World) -> None:
    for n in range(5):
        w.graph.put("inbox", received=1_700_000_000 - n)
    rows = await w.sync("inbox")
    pairs = await copy(w)
    assert [source for source, _ in pairs] == [row.uid for row in rows]
    assert [target for _, target in pairs] == list(range(FIRST, FIRST + 5))


async def test_vanished_messages_are_left_out(w: World) -> None:
    for _ in range(2):
        w.graph.put("inbox")
    rows = await w.sync("inbox")
    del w.graph.messages[rows[0].id]
    assert await copy(w) == [(rows[1].uid, FIRST)]
    w.graph.messages.clear()
    assert await copy(w) == []


async def test_a_failed_copy_is_undone(w: World) -> None:
    for _ in range(3):
        w.graph.put("inbox")
    rows = await w.sync("inbox")
    w.graph.fail("copy", QuotaExceeded(""), id=rows[2].id)
    with pytest.raises(OverQuota):
        await copy(w)
    assert w.graph.inside("sentitems") == [] and len(w.graph.inside("recoverableitemsdeletions")) == 2
    assert await w.rows("sentitems") == [] and await journal(w) == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_copy_of_unknown_fate_is_made_once(w: World, when: str) -> None:
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    w.graph.fail("copy", OutcomeUnknown(""), when=when, id=row.id)
    assert await copy(w) == [(row.uid, FIRST)]
    assert len(w.graph.inside("sentitems")) == 1


@pytest.mark.parametrize("when", [["before", "after"], ["before", "before", "after"], ["after"]])
async def test_a_copy_of_unknown_fate_is_looked_for_again_and_again(w: World, when: list[str]) -> None:
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    for each in when:
        w.graph.fail("copy", OutcomeUnknown(""), when=each, id=row.id)
    assert await copy(w) == [(row.uid, FIRST)]
    assert len(w.graph.inside("sentitems")) == 1


async def test_where_nobody_can_look_for_a_copy_none_is_made_again(w: World) -> None:
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    w.graph.fail("copy", OutcomeUnknown(""), when="after", id=row.id)
    w.graph.fail("get", Unreachable(""), id=row.id)
    with pytest.raises(Unavailable):
        await copy(w)
    assert len(w.graph.inside("sentitems")) == 1 and await journal(w) == ["copy"]
    assert w.ctx.holds.held(w.folder("sentitems").id)  # it is nobody's mail, and will be gone
    await recover(w.ctx)
    assert w.graph.inside("sentitems") == [] and not w.ctx.holds.held(w.folder("sentitems").id)


async def test_a_copy_done_again_is_not_taken_for_the_one_given_up(w: World) -> None:
    """The client hears NO and tries again before what it left has been mended."""
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    w.graph.fail("copy", OutcomeUnknown(""), when="after", id=row.id)
    w.graph.fail("get", Unreachable(""), id=row.id)
    with pytest.raises(Unavailable):
        await copy(w)
    (stray,) = w.graph.inside("sentitems")
    assert await copy(w) == [(row.uid, FIRST)]
    await recover(w.ctx)
    (made,) = w.graph.inside("sentitems")
    assert made.id != stray.id and stray.folder == "F-recoverableitemsdeletions"
    assert [kept.id for kept in await w.rows("sentitems")] == [made.id] and await journal(w) == []


async def test_mending_waits_for_a_copy_of_the_same_message(w: World) -> None:
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    work = transfer.CopyWork(w.folder("sentitems").key, "F-sentitems", [row.id], int(w.clock.now), [row.id])
    left = await transfer.begin(w.ctx, "copy", work)
    transfer.abandon(w.ctx, left, w.folder("sentitems").id)
    with w.ctx.holds.copies(w.folder("sentitems").id, [row.id]):
        await w.graph.copy([row.id], "F-sentitems")
        await recover(w.ctx)
        assert len(w.graph.inside("sentitems")) == 1 and w.ctx.unfinished.is_set()
        with pytest.raises(InUse):
            await copy(w)
    await recover(w.ctx)
    assert w.graph.inside("sentitems") == [] and await journal(w) == []


async def test_an_earlier_copy_does_not_pass_for_the_lost_one(w: World) -> None:
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    await copy(w)
    w.graph.fail("copy", OutcomeUnknown(""), id=row.id)
    assert await copy(w) == [(row.uid, FIRST + 1)]
    assert len(w.graph.inside("sentitems")) == 2


async def test_a_new_copy_is_held_back_from_the_delta(w: World) -> None:
    w.graph.put("inbox")
    await w.sync("inbox")
    seen: list[bool] = []
    w.graph.during["copy"] = lambda: seen.append(w.ctx.holds.held(w.folder("sentitems").id))
    await copy(w)
    assert seen == [True] and not w.ctx.holds.held(w.folder("sentitems").id)


@pytest.mark.parametrize("known", [False, True])
async def test_a_copy_that_a_crash_cut_short_is_taken_back(w: World, known: bool) -> None:
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    work = transfer.CopyWork(w.folder("sentitems").key, "F-sentitems", [row.id], int(w.clock.now), [row.id])
    (made,) = await w.graph.copy([row.id], "F-sentitems")
    if known:
        work.copies, work.unsure = [made.id], []  # type: ignore[union-attr]
    await transfer.begin(w.ctx, "copy", work)
    await recover(w.ctx)
    assert len(w.graph.inside("sentitems")) == 1  # it is under way in this process
    await w.restarted()
    await recover(w.ctx)
    assert w.graph.inside("sentitems") == [] and len(w.graph.inside("inbox")) == 1
    assert await journal(w) == []


async def test_a_copy_that_got_its_uid_survives_the_crash(w: World) -> None:
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    await copy(w)
    (made,) = await w.rows("sentitems")
    work = transfer.CopyWork(
        w.folder("sentitems").key, "F-sentitems", [row.id], int(w.clock.now), [], [made.id]
    )
    await transfer.begin(w.ctx, "copy", work)
    await w.restarted()
    await recover(w.ctx)
    assert len(w.graph.inside("sentitems")) == 1 and await journal(w) == []


async def test_a_lost_client_does_not_stop_the_work(w: World) -> None:
    w.graph.put("inbox")
    await w.sync("inbox")
    client = asyncio.create_task(copy(w))
    w.graph.during["copy"] = client.cancel  # type: ignore[assignment]
    with pytest.raises(asyncio.CancelledError):
        await client
    await settled()
    assert len(await w.rows("sentitems")) == 1 and await journal(w) == []


# -- MOVE --


async def test_a_moved_message_is_in_one_place(w: World) -> None:
    stored = w.graph.put("inbox", read=True)
    (row,) = await w.sync("inbox")
    await put_original(w.store, ACCOUNT, row.id, b"octets")
    assert await move(w) == [(row.uid, FIRST)]
    assert stored.folder == "F-sentitems" and await w.rows("inbox") == []
    (made,) = await w.rows("sentitems")
    assert (made.id, made.email_id, made.flags) == (row.id, row.email_id, row.flags)
    assert await w.store.original(ACCOUNT, made.id) == b"octets"
    assert [name for name, _ in w.graph.calls] == ["move"] and await journal(w) == []


async def test_an_inherited_email_id_survives_a_move(w: World) -> None:
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    await copy(w)
    await move(w, "sentitems", "drafts")
    (made,) = await w.rows("drafts")
    assert made.email_id == row.email_id


async def test_a_move_may_be_partial(w: World) -> None:
    for _ in range(3):
        w.graph.put("inbox")
    rows = await w.sync("inbox")
    w.graph.fail("move", Denied(""), id=rows[1].id)
    failures: list[GatewayError] = []
    pairs = await transfer.move(w.ctx, w.folder("inbox"), rows, w.folder("sentitems"), failures=failures)
    assert [source for source, _ in pairs] == [rows[0].uid, rows[2].uid]
    assert [type(f) for f in failures] == [NoPermission]
    assert [row.uid for row in await w.rows("inbox")] == [rows[1].uid]


async def test_a_move_that_moved_nothing_is_refused(w: World) -> None:
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    w.graph.fail("move", Denied(""), id=row.id)
    with pytest.raises(NoPermission):
        await move(w)
    assert len(await w.rows("inbox")) == 1


async def test_vanished_messages_are_expunged_not_refused(w: World) -> None:
    w.graph.put("inbox")
    await w.sync("inbox")
    w.graph.messages.clear()
    assert await move(w) == [] and await w.rows("inbox") == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_after_an_unknown_outcome_the_message_says_where_it_is(w: World, when: str) -> None:
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    w.graph.fail("move", Unreachable(""), when=when)
    if when == "before":
        with pytest.raises(GatewayError):
            await move(w)
        assert len(await w.rows("inbox")) == 1
    else:
        assert await move(w) == [(row.uid, FIRST)] and await w.rows("inbox") == []


async def test_moving_into_the_same_folder_renumbers_without_a_request(w: World) -> None:
    w.graph.put("inbox")
    w.graph.put("inbox")
    rows = await w.sync("inbox")
    await put_original(w.store, ACCOUNT, rows[0].id, b"octets")
    pairs = await move(w, "inbox", "inbox")
    assert [s for s, _ in pairs] == [r.uid for r in rows] and all(t > rows[1].uid for _, t in pairs)
    assert w.graph.calls == []
    after = await w.rows("inbox")
    assert [(r.id, r.email_id, r.flags) for r in after] == [(r.id, r.email_id, r.flags) for r in rows]
    assert await w.store.original(ACCOUNT, rows[0].id) == b"octets"


@pytest.mark.parametrize("arrived", [False, True])
async def test_a_move_that_a_crash_cut_short_is_finished(w: World, arrived: bool) -> None:
    w.graph.put("inbox", read=True)
    w.graph.put("inbox")
    rows = await w.sync("inbox")
    inbox, sent = w.folder("inbox"), w.folder("sentitems")
    work = transfer.MoveWork(inbox.key, sent.key, sent.id, [row.id for row in rows])
    await transfer.begin(w.ctx, "move", work)
    await w.graph.move([rows[0].id], sent.id)
    if arrived:
        await w.sync("sentitems")
    await w.restarted()
    await recover(w.ctx)
    assert [row.id for row in await w.rows("inbox")] == [rows[1].id]
    (made,) = await w.rows("sentitems")
    assert made.id == rows[0].id and made.flags == Flags.of([b"\\Seen"]) and made.email_id == rows[0].email_id
    assert await journal(w) == []


async def test_recovery_waits_while_graph_is_away(w: World) -> None:
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    sent = w.folder("sentitems")
    await transfer.begin(w.ctx, "move", transfer.MoveWork(w.folder("inbox").key, sent.key, sent.id, [row.id]))
    await w.restarted()
    w.graph.fail("get", Unreachable(""))
    with pytest.raises(Unreachable):
        await recover(w.ctx)
    assert await journal(w) == ["move"]
    await recover(w.ctx)
    assert await journal(w) == [] and len(await w.rows("inbox")) == 1


async def test_copies_of_large_sets_are_journalled_in_bounded_rows(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "AT_ONCE", 2)
    for _ in range(5):
        w.graph.put("inbox")
    rows = await w.sync("inbox")
    w.graph.fail("copy", Denied(""), id=MessageId(rows[4].id))
    with pytest.raises(NoPermission):
        await copy(w)
    assert w.graph.count("copy") == 3 and w.graph.inside("sentitems") == [] and await journal(w) == []
    assert len(await copy(w)) == 5
    assert PLAIN  # every copy has the same Message-ID, and none was mistaken for another


@pytest.mark.parametrize("how", [copy, move])
async def test_a_target_that_has_just_been_deleted_is_a_refusal_and_nothing_leaves_the_source(
    w: World, how: Callable[[World], Awaitable[Pairs]]
) -> None:
    """Graph answers 404 to each message then, as it does where the message is gone."""
    w.graph.put("inbox")
    w.graph.put("inbox")
    before = await w.sync("inbox")
    for id, well_known in list(w.graph.folders.items()):
        if well_known == "sentitems":
            del w.graph.folders[id]
    with pytest.raises(NoSuchMailbox):
        await how(w)
    assert await w.rows("inbox") == before and await journal(w) == []


async def test_an_expunge_without_the_folder_for_it_removes_nothing(w: World) -> None:
    w.graph.put("drafts")
    rows = await w.sync("drafts")
    for id, well_known in list(w.graph.folders.items()):
        if well_known == RECOVERABLE:
            del w.graph.folders[id]
    with pytest.raises(NoSuchMailbox):
        await expunge(w.ctx, w.folder("drafts"), rows, copied_out=frozenset())
    assert await w.rows("drafts") == rows
