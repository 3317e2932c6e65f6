"""A submitted message is in Sent Items once, whatever its client files there, and when (trap 21, decision 10)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from crashing import CrashError, mortal
from mailbox_world import ACCOUNT, Held, World, incoming, world

from gateway.core.types import FlagChange, FlagOp, Flags, Uid
from gateway.graph.errors import Throttled, Unreachable
from gateway.mailbox.append import append
from gateway.mailbox.changes import store_flags
from gateway.mailbox.journal import recover
from gateway.mailbox.sending import deliver
from gateway.mailbox.sending.copies import PATIENCE
from gateway.mailbox.sending.courier import Courier
from gateway.mailbox.sending.promise import BOUND, KIND
from gateway.mailbox.values import Envelope
from gateway.mailbox.work import settled
from gateway.store.api import MessageRow

RAW = b"From: a@x.com\r\nTo: b@x.com\r\nDate: Thu, 1 Jan 2026 10:00:00 +0000\r\nMessage-ID: <s@x.com>\r\n\r\nhi\r\n"
OWN = RAW.replace(b"To: b@x.com\r\n", b"To: b@x.com\r\nBcc: c@x.com\r\n")
TO_B = Envelope("a@x.com", ("b@x.com",))
SEEN = Flags.of([b"\\Seen"])


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        made.graph.deliver_sent_copy = False  # it comes when the test says so: `arrive`
        yield made
        await settled()


async def submit(w: World, raw: bytes = RAW) -> None:
    queue_id = await deliver.submit(w.ctx, TO_B, Held(raw))
    await deliver.heard(w.ctx, queue_id)


async def file(w: World, *names: bytes, raw: bytes = RAW) -> Uid:
    (uid,) = await append(w.ctx, w.folder("sentitems"), [incoming(raw, Flags.of(names or (b"\\Seen",)))])
    return uid


async def courier(w: World, after: float = 1.0) -> float | None:
    w.clock.now += after
    return await Courier(w.ctx).round()


async def only(w: World) -> MessageRow:
    (row,) = await w.rows("sentitems")
    return row


def calls(w: World) -> list[str]:
    return [name for name, _ in w.graph.calls]


async def promises(w: World) -> int:
    return sum(row.kind == KIND for row in await w.store.journal(ACCOUNT))


def queue_mode(w: World) -> None:
    w.settings.submission_mode = "queue"


def in_sent(w: World) -> int:
    return len(w.graph.inside("sentitems"))


# -- the copy's id is known --


async def test_an_append_after_the_250_is_no_request_and_the_copy_comes_under_its_uid(w: World) -> None:
    await submit(w)
    del w.graph.calls[:]
    uid = await file(w, raw=OWN)
    assert calls(w) == []
    row = await only(w)
    assert (row.uid, row.flags, row.size, row.size_exact, row.etag) == (uid, SEEN, len(OWN), True, "")
    assert await w.store.original(ACCOUNT, row.id) == OWN
    w.graph.arrive()
    next(iter(w.graph.inside("sentitems"))).read = True
    (after,) = await w.sync("sentitems")
    assert (after.uid, after.id, after.email_id) == (uid, row.id, row.email_id) and after.etag
    assert (after.flags, after.size, after.internal_date) == (row.flags, row.size, row.internal_date)
    assert await w.store.original(ACCOUNT, row.id) == OWN
    await courier(w)
    assert calls(w) == [] and await promises(w) == 0 and in_sent(w) == 1


async def test_a_sync_that_does_not_find_it_yet_takes_nothing_away(w: World) -> None:
    await submit(w)
    uid = await file(w)
    w.clock.now += 60
    assert [row.uid for row in await w.sync("sentitems")] == [uid]
    w.graph.arrive()
    assert [row.uid for row in await w.sync("sentitems")] == [uid]
    w.graph.messages.clear()  # Outlook deletes what has come
    assert await w.sync("sentitems") == []


async def test_a_store_while_it_is_not_to_be_seen_fails_and_takes_nothing_away(w: World) -> None:
    await submit(w)
    uid = await file(w)
    change = FlagChange(FlagOp.ADD, Flags.of([b"\\Flagged"]))
    outcome = await store_flags(w.ctx, await w.stale("sentitems"), [await only(w)], change)
    assert (outcome.failed, outcome.gone) == ([uid], [])
    assert (await only(w)).flags == SEEN


async def test_the_flags_the_client_gave_are_set_when_the_copy_has_come(w: World) -> None:
    await submit(w)
    uid = await file(w, b"\\Seen", b"\\Flagged", b"$label9", b"$MDNSent")
    assert await courier(w) == 1.0
    w.graph.arrive()
    assert [row.flags for row in await w.sync("sentitems")] == [(await only(w)).flags]  # not gone in between
    wanted = Flags.of([b"\\Seen", b"\\Flagged", b"$label9", b"$MDNSent"])
    del w.graph.calls[:]
    await courier(w)
    assert calls(w) == ["get", "patch"]
    row = await only(w)
    assert (row.uid, row.flags) == (uid, wanted) and row.etag
    assert [row.flags for row in await w.sync("sentitems")] == [wanted]
    assert await promises(w) == 0 and await courier(w) != 0


async def test_a_copy_that_was_there_first_and_unread_keeps_its_uid(w: World) -> None:
    await submit(w)
    w.graph.arrive()
    (before,) = await w.sync("sentitems")
    del w.graph.calls[:]
    assert await file(w, raw=OWN) == before.uid and calls(w) == []
    row = await only(w)
    assert row.size == len(OWN) and await w.store.original(ACCOUNT, row.id) == OWN


async def test_a_restart_between_the_250_and_the_append_changes_nothing(w: World) -> None:
    await submit(w)
    await w.restarted()
    await recover(w.ctx)
    del w.graph.calls[:]
    await file(w)
    assert calls(w) == []
    await w.restarted()
    await recover(w.ctx)
    assert await promises(w) == 1
    w.graph.arrive()
    await courier(w, PATIENCE)
    assert (await only(w)).etag and await promises(w) == 0 and in_sent(w) == 1


async def test_two_submissions_of_one_message_id_have_two_copies(w: World) -> None:
    await submit(w)
    await submit(w, RAW + b"other")
    del w.graph.calls[:]
    assert len({await file(w), await file(w)}) == 2 and calls(w) == []
    third = await file(w)  # nobody sent that one
    assert calls(w) == ["create"] and len(await w.rows("sentitems")) == 3
    w.graph.arrive()
    rows = await w.sync("sentitems")
    assert len(rows) == 3 == in_sent(w) and rows[-1].uid == third


# -- it never comes, or goes elsewhere --


async def test_a_copy_that_never_comes_is_replaced_by_the_clients_under_its_uid(w: World) -> None:
    await submit(w)
    uid = await file(w, raw=OWN)
    row = await only(w)
    assert (await courier(w, 300) or PATIENCE) <= PATIENCE - 300
    del w.graph.calls[:]
    await courier(w, PATIENCE)
    assert calls(w) == ["get", "find_by_message_id", "create"] and in_sent(w) == 1
    after = await only(w)
    assert (after.uid, after.email_id, after.modseq, after.flags) == (uid, row.email_id, row.modseq, SEEN)
    assert after.id != row.id and after.etag and await w.store.original(ACCOUNT, after.id) == OWN
    assert await w.store.journal(ACCOUNT) == [] and not w.ctx.holds.left
    assert [row.uid for row in await w.sync("sentitems")] == [uid]


async def test_nothing_is_decided_while_graph_cannot_be_asked(w: World) -> None:
    await submit(w)
    uid = await file(w)
    w.graph.fail("get", Unreachable(""))
    assert await courier(w, PATIENCE + 1) == 30.0
    w.graph.fail("create", Throttled(""), when="after")
    assert await courier(w, 30) == 30.0
    assert [row.uid for row in await w.sync("sentitems")] == [uid] and await promises(w) == 1
    await recover(w.ctx)
    await courier(w, 30)
    assert (await only(w)).etag and in_sent(w) == 1 and await w.store.journal(ACCOUNT) == []


async def test_a_copy_under_another_id_is_found_in_the_end(w: World) -> None:
    await submit(w)
    uid = await file(w)
    w.graph.flying.clear()
    other = w.graph.put("sentitems", RAW, read=True)
    await courier(w, PATIENCE + 1)
    await courier(w)
    row = await only(w)
    assert (row.uid, row.id) == (uid, other.id) and row.etag and in_sent(w) == 1 and await promises(w) == 0


async def test_a_copy_that_somebody_moved_on_is_not_landed_again(w: World) -> None:
    await submit(w)
    await file(w)
    w.graph.arrive()
    (copy,) = w.graph.inside("sentitems")
    copy.folder = "F-inbox"
    await courier(w, PATIENCE + 1)
    assert await w.rows("sentitems") == [] and in_sent(w) == 0 and await promises(w) == 0
    (there,) = await w.sync("inbox")
    assert await w.store.original(ACCOUNT, there.id) == RAW  # with the octets that were shown


async def test_a_message_the_client_removed_is_not_landed_again(w: World) -> None:
    await submit(w)
    await file(w)
    row = await only(w)
    await w.store.apply(w.folder("sentitems").key, (), [row.id])
    await courier(w, PATIENCE + 1)
    assert await promises(w) == 0 and in_sent(w) == 0


async def test_a_message_held_back_until_later_is_waited_for(w: World) -> None:
    await submit(w)
    uid = await file(w)
    w.graph.arrive()
    (copy,) = w.graph.inside("sentitems")
    copy.folder, copy.draft = "F-drafts", True
    assert await courier(w, PATIENCE + 1) == 60.0
    copy.folder, copy.draft = "F-sentitems", False
    await courier(w, 3600)
    assert (await only(w)).uid == uid and in_sent(w) == 1 and await promises(w) == 0


# -- the client's message is there first --


async def test_filed_before_it_was_submitted_it_gives_way_under_its_uid(w: World) -> None:
    uid = await file(w, b"\\Seen", raw=OWN)
    before = await only(w)
    await submit(w)
    w.graph.arrive()
    assert [row.uid for row in await w.sync("sentitems")] == [uid]  # the copy is nobody's new mail
    await courier(w)
    row = await only(w)
    assert (row.uid, row.email_id, row.flags) == (uid, before.email_id, before.flags) and row.id != before.id
    assert await w.store.original(ACCOUNT, row.id) == OWN
    assert w.graph.messages[before.id].folder == "F-recoverableitemsdeletions" and in_sent(w) == 1
    await courier(w, PATIENCE + 1)
    assert [row.uid for row in await w.sync("sentitems")] == [uid] and await promises(w) == 0


async def test_a_crash_amid_the_exchange_is_gone_on_from(w: World) -> None:
    uid = await file(w, b"\\Seen")
    await submit(w)
    w.graph.arrive()
    w.graph.fail("move", Unreachable(""))
    await courier(w)
    await w.restarted()
    w.ctx.holds.left.clear()
    await recover(w.ctx)
    assert [row.uid for row in await w.sync("sentitems")] == [uid] and in_sent(w) == 2
    await courier(w)
    assert [row.uid for row in await w.sync("sentitems")] == [uid] and in_sent(w) == 1


async def test_an_old_message_of_that_id_in_sent_stays(w: World) -> None:
    await file(w)
    w.clock.now += 2000
    await submit(w)
    await courier(w)
    w.graph.arrive()
    assert in_sent(w) == 2 == len(await w.sync("sentitems"))


async def test_what_was_filed_and_moved_away_is_left_alone(w: World) -> None:
    await file(w)
    row = await only(w)
    await w.store.apply(w.folder("sentitems").key, (), [row.id])
    w.graph.messages[row.id].folder = "F-inbox"
    await submit(w)
    await courier(w)
    w.graph.arrive()
    assert len(await w.sync("sentitems")) == 1 == len(w.graph.inside("inbox"))


async def test_what_is_remembered_of_filed_messages_is_bounded(w: World) -> None:
    for number in range(3):
        await file(w, raw=RAW.replace(b"<s@", b"<%d@" % number))
    assert list(w.ctx.outgoing.filed) == [f"<{n}@x.com>" for n in range(3)] and BOUND >= 3


async def test_in_the_queue_what_is_filed_first_gives_way_once_it_is_sent(w: World) -> None:
    queue_mode(w)
    await submit(w)
    uid = await file(w, b"\\Seen", raw=OWN)  # the outbox has not sent for as long as an APPEND waits
    assert in_sent(w) == 1 and await promises(w) == 1
    await w.restarted()
    await recover(w.ctx)
    await courier(w)
    w.graph.arrive()
    await w.sync("sentitems")
    await courier(w)
    row = await only(w)
    assert row.uid == uid and in_sent(w) == 1 and await w.store.original(ACCOUNT, row.id) == OWN
    await courier(w, PATIENCE + 1)
    assert await promises(w) == 0 and [row.uid for row in await w.sync("sentitems")] == [uid]


async def test_in_the_queue_what_was_sent_at_once_is_no_request(w: World) -> None:
    queue_mode(w)
    await submit(w)
    await courier(w)
    del w.graph.calls[:]
    await file(w)
    assert calls(w) == []


async def test_what_the_outbox_gives_up_leaves_the_clients_own(w: World) -> None:
    queue_mode(w)
    await submit(w)
    uid = await file(w)
    (row,) = await w.store.submissions(ACCOUNT)
    await w.store.submission_drop(row.id)
    await courier(w)
    assert await promises(w) == 0 and (await only(w)).uid == uid and in_sent(w) == 1


async def test_by_mime_it_is_looked_for(w: World) -> None:
    w.settings.submission_path = "mime"
    w.graph.deliver_sent_copy = True
    await submit(w)
    del w.graph.calls[:]
    await file(w)
    assert calls(w) == ["find_by_message_id"] and in_sent(w) == 1 == len(await w.sync("sentitems"))


# -- a process that dies --


def _folder(path: Path, number: int) -> Path:
    made = path / str(number)
    made.mkdir()
    return made


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("filed_first", [False, True])
async def test_wherever_it_dies_what_was_told_stays_and_nothing_is_there_twice(
    tmp_path: Path, done: bool, filed_first: bool
) -> None:
    """The submission is accepted and its copy under way; the process dies at each step of the APPEND and of what the
    courier does afterwards; the client that heard nothing files it once more."""
    at, steps, told = 0, 1, None
    while at <= steps:
        at += 1
        async with world(_folder(tmp_path, at)) as w:
            w.graph.deliver_sent_copy = False
            if filed_first:
                told = await file(w)
                filed = w.ctx.outgoing.filed.copy()
            await submit(w)
            if not filed_first:
                told = None
            with mortal(w.graph, w.store) as life:
                life.at, life.done = at, done
                with suppress(CrashError):
                    told = told or await file(w)
                    w.graph.arrive()
                    await Courier(w.ctx).round()
                    w.clock.now += PATIENCE
                    await Courier(w.ctx).round()
                steps = life.steps
            await settled()
            await w.restarted()
            w.ctx.holds.left.clear()
            await recover(w.ctx)
            again = told is None
            told = told or await file(w)
            w.graph.arrive()
            for _ in range(3):
                await courier(w, PATIENCE)
                rows = await w.sync("sentitems")
            assert told in [row.uid for row in rows], at
            assert len(rows) == in_sent(w) <= 1 + again, at
            assert all([await w.store.original(ACCOUNT, row.id) == RAW for row in rows[:1]]), at
            assert await promises(w) == 0 and (filed_first or len(rows) == 1 or again)
    assert at > 5
    assert not filed_first or filed
