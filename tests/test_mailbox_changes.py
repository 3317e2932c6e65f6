"""STORE through Graph: what is asked, what is taken over, what a conflict or an outage leaves (decision
7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from mailbox_world import FIRST, World, world

from gateway.core.errors import InUse, NoPermission, Unavailable
from gateway.core.types import FlagChange, FlagOp, Flags, MessageId, ModSeq
from gateway.graph.errors import Conflict, Denied, Unreachable
from gateway.graph.mail import MACHINE_KEYWORDS
from gateway.mailbox.changes import Outcome, store_flags
from gateway.store.api import MessageRow


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def change(op: FlagOp, *names: bytes, since: int | None = None) -> FlagChange:
    return FlagChange(op, Flags.of(names), None if since is None else ModSeq(since))


def add(*names: bytes) -> FlagChange:
    return change(FlagOp.ADD, *names)


def remove(*names: bytes) -> FlagChange:
    return change(FlagOp.REMOVE, *names)


async def store(w: World, asked: FlagChange, rows: list[MessageRow] | None = None) -> Outcome:
    rows = await w.rows("inbox") if rows is None else rows
    return await store_flags(w.ctx, await w.fresh("inbox"), rows, asked)


async def test_a_hundred_messages_are_one_bulk_call_one_apply(w: World) -> None:
    for _ in range(100):
        w.graph.put("inbox")
    rows = await w.sync("inbox")
    modseq, heard = rows[0].modseq, len(w.hubs.seen)
    outcome = await store(w, add(b"\\Seen", b"\\Flagged"))
    assert len(outcome.changed) == 100 and outcome.failed == outcome.modified == []
    assert w.graph.calls == [("patch", w.graph.calls[0][1])]
    assert all(m.read and m.flag == "flagged" for m in w.graph.inside("inbox"))
    rows = await w.rows("inbox")
    assert {r.modseq for r in rows} == {modseq + 1} and len(w.hubs.seen) == heard + 1
    assert {r.etag for r in rows} == {m.etag for m in w.graph.inside("inbox")}  # its own change is no news


async def test_only_what_changes_is_patched(w: World) -> None:
    w.graph.put("inbox", flag="complete", categories=["mine"])
    await w.sync("inbox")
    await store(w, add(b"\\Seen"))
    ((_, (patch,)),) = w.graph.calls
    assert set(patch.body) == {"isRead", "singleValueExtendedProperties"}  # and the receipt's suppression
    assert patch.if_match is None
    (message,) = w.graph.inside("inbox")
    assert message.flag == "complete" and message.categories == ["mine"]


async def test_a_noop_costs_nothing_while_the_folder_is_fresh(w: World) -> None:
    w.graph.put("inbox", read=True)
    await w.sync("inbox")
    outcome = await store(w, add(b"\\Seen"))
    assert len(outcome.changed) == 1 and w.graph.calls == []


async def test_a_noop_is_said_again_when_the_folder_is_stale(w: World) -> None:
    stored = w.graph.put("inbox", read=True)
    await w.sync("inbox")
    w.graph.outlook(stored.id, read=False)  # and we have not heard of it
    await store_flags(w.ctx, await w.stale("inbox"), await w.rows("inbox"), add(b"\\Seen"))
    assert stored.read is True and w.graph.count("patch") == 1


async def test_a_completed_task_survives_a_stale_replacement(w: World) -> None:
    stored = w.graph.put("inbox", flag="complete")
    await w.sync("inbox")
    asked = change(FlagOp.REPLACE, b"\\Seen")
    await store_flags(w.ctx, await w.stale("inbox"), await w.rows("inbox"), asked)
    assert stored.flag == "complete" and stored.read


async def test_a_stale_array_does_not_erase_outlooks_category(w: World) -> None:
    stored = w.graph.put("inbox", categories=["old"])
    await w.sync("inbox")
    w.graph.outlook(stored.id, categories=["old", "Red category"])
    outcome = await store(w, add(b"mine"))
    assert sorted(stored.categories) == ["Red category", "mine", "old"]
    assert await w.flags("inbox") == [Flags.of([b"old", b"Red=20category", b"mine"])]
    assert len(outcome.changed) == 1 and [name for name, _ in w.graph.calls] == ["patch", "get", "patch"]


async def test_a_second_conflict_fails_and_leaves_the_truth(w: World) -> None:
    stored = w.graph.put("inbox", categories=["old"])
    await w.sync("inbox")
    w.graph.outlook(stored.id, categories=["new"])
    stale = Conflict("", status=412)
    w.graph.fail("patch", stale, id=stored.id)
    w.graph.fail("patch", stale, id=stored.id)
    outcome = await store(w, add(b"mine"))
    assert outcome.failed == [FIRST] and isinstance(outcome.error, InUse)
    assert await w.flags("inbox") == [Flags.of([b"new"])]


async def test_unchangedsince_by_what_we_know_costs_nothing(w: World) -> None:
    w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    outcome = await store(w, change(FlagOp.ADD, b"\\Seen", since=row.modseq - 1))
    assert outcome.modified == [row.uid] and outcome.changed == [] and w.graph.calls == []


async def test_unchangedsince_holds_against_outlook_too(w: World) -> None:
    stored = w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    w.graph.outlook(stored.id, flag="flagged")
    outcome = await store(w, change(FlagOp.ADD, b"\\Seen", since=row.modseq))
    assert outcome.modified == [row.uid] and not stored.read
    assert await w.flags("inbox") == [Flags.of([b"\\Flagged"])]  # the client will be told


async def test_unchangedsince_without_a_known_etag_looks_first(w: World) -> None:
    """As after a COPY whose answer never came: without If-Match the condition would be none."""
    changed, same = w.graph.put("inbox"), w.graph.put("inbox")
    rows = await w.sync("inbox")
    w.graph.outlook(changed.id, flag="flagged")
    blind = [replace(row, etag="") for row in rows]
    outcome = await store(w, change(FlagOp.ADD, b"\\Seen", since=rows[0].modseq), blind)
    by_id = {row.id: row.uid for row in rows}
    assert outcome.modified == [by_id[MessageId(changed.id)]] and outcome.changed == [
        by_id[MessageId(same.id)]
    ]
    assert not changed.read and same.read
    assert [name for name, _ in w.graph.calls] == ["get", "patch"]
    assert [patch.if_match for patch in w.graph.calls[1][1]] == [rows[1].etag]
    flags = {row.id: row.flags for row in await w.rows("inbox")}
    assert flags[MessageId(changed.id)] == Flags.of([b"\\Flagged"])


async def test_unchangedsince_passes_over_changes_that_are_no_flags(w: World) -> None:
    stored = w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    w.graph.outlook(stored.id, mime=b"")
    outcome = await store(w, change(FlagOp.ADD, b"\\Seen", since=row.modseq))
    assert outcome.changed == [row.uid] and stored.read


async def test_a_refusal_is_told_and_changes_nothing(w: World) -> None:
    good, bad = w.graph.put("inbox"), w.graph.put("inbox")
    rows = await w.sync("inbox")
    w.graph.fail("patch", Denied("", status=403), id=bad.id)
    outcome = await store(w, add(b"\\Seen"))
    by_id = {row.id: row.uid for row in rows}
    assert outcome.changed == [by_id[MessageId(good.id)]] and outcome.failed == [by_id[MessageId(bad.id)]]
    assert isinstance(outcome.error, NoPermission)
    assert {r.uid: r.flags for r in await w.rows("inbox")}[outcome.failed[0]] == Flags()


async def test_what_is_gone_is_no_failure(w: World) -> None:
    stored = w.graph.put("inbox")
    rows = await w.sync("inbox")
    del w.graph.messages[stored.id]
    outcome = await store(w, add(b"\\Seen"), rows)
    assert outcome.gone == [FIRST] and outcome.failed == [] and outcome.error is None
    assert len(await w.rows("inbox")) == 1  # the next delta expunges it


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_unknown_outcome_is_read_again(w: World, when: str) -> None:
    w.graph.put("inbox")
    await w.sync("inbox")
    w.graph.fail("patch", Unreachable(""), when=when)
    outcome = await store(w, add(b"\\Seen"))
    done = when == "after"
    assert (outcome.changed, outcome.failed) == (([FIRST], []) if done else ([], [FIRST]))
    assert await w.flags("inbox") == [Flags.of([b"\\Seen"]) if done else Flags()]


async def test_graph_down_fails_every_message_and_loses_nothing(w: World) -> None:
    for _ in range(3):
        w.graph.put("inbox")
    await w.sync("inbox")
    w.graph.fail("patch", Unreachable(""))
    w.graph.fail("get", Unreachable(""))
    outcome = await store(w, add(b"\\Seen"))
    assert len(outcome.failed) == 3 and isinstance(outcome.error, Unavailable)


async def test_both_verbs_live_together_though_exchange_holds_one(w: World) -> None:
    stored = w.graph.put("inbox")
    await w.sync("inbox")
    await store(w, add(b"\\Answered"))
    await store(w, add(b"$Forwarded"))
    assert stored.prop("Integer 0x1081") == "104"
    assert await w.flags("inbox") == [Flags.of([b"\\Answered", b"$Forwarded"])]
    await store(w, remove(b"$Forwarded"))
    assert stored.prop("Integer 0x1081") == "102"
    w.graph.outlook(stored.id, read=True)
    await w.sync("inbox")  # the delta brings one verb, the store keeps what a client said
    assert await w.flags("inbox") == [Flags.of([b"\\Answered", b"\\Seen"])]
    await store(w, remove(b"\\Answered"))
    w.graph.outlook(stored.id, read=False)
    await w.sync("inbox")
    assert await w.flags("inbox") == [Flags()]


async def test_machine_keywords_survive_a_sync_and_colour_nothing(w: World) -> None:
    stored = w.graph.put("inbox")
    await w.sync("inbox")
    await store(w, add(b"$mdnsent", b"NonJunk"))
    assert stored.categories == [] and stored.prop(MACHINE_KEYWORDS) == "$MDNSent NonJunk"
    w.graph.outlook(stored.id, read=True)
    await w.sync("inbox")
    await store(w, remove(b"NONJUNK"))
    assert await w.flags("inbox") == [Flags.of([b"$MDNSent", b"\\Seen"])]


async def test_labels_are_the_configured_categories(w: World) -> None:
    stored = w.graph.put("inbox", categories=["Work"])
    await w.sync("inbox")
    assert await w.flags("inbox") == [Flags.of([b"$label2"])]
    await store(w, add(b"$Label1"))
    assert stored.categories == ["Important", "Work"]


async def test_a_store_that_overlapped_with_another_reads_the_message_again(w: World) -> None:
    stored = w.graph.put("inbox")
    await w.sync("inbox")

    def another_session() -> None:
        w.clock.now += 1
        stored.flag = "flagged"
        w.ctx.writes.ended(MessageId(stored.id), w.clock.monotonic())

    w.graph.during["patch"] = another_session
    await store(w, add(b"\\Seen"))
    assert await w.flags("inbox") == [Flags.of([b"\\Seen", b"\\Flagged"])] and w.graph.count("get") == 1


async def test_reading_with_receipts_allowed_says_only_seen(w: World) -> None:
    w.graph.put("inbox")
    await w.sync("inbox")
    w.settings.read_receipts = "send"
    await store(w, add(b"\\Seen"))
    assert w.graph.calls[0][1][0].body == {"isRead": True}


async def test_own_writes_beat_older_delta_rows(w: World) -> None:
    w.graph.put("inbox")
    await w.sync("inbox")
    began = w.clock.monotonic()
    w.clock.now += 1
    (row,) = await w.rows("inbox")
    await store(w, add(b"\\Seen"))
    assert w.ctx.writes.after(row.id, began)


async def test_a_message_that_left_while_graph_was_asked_does_not_come_back(w: World) -> None:
    stored = w.graph.put("inbox")
    (row,) = await w.sync("inbox")
    w.graph.outlook(stored.id, folder="F-sentitems")
    outcome = await store(w, add(b"\\Seen"), [row])
    assert outcome.gone == [row.uid] and outcome.changed == outcome.failed == []
    stored.folder = "F-inbox"
    await w.store.apply(w.folder("inbox").key, (), [row.id])  # the delta's expunge, meanwhile
    await store(w, add(b"\\Flagged"), [row])
    assert await w.rows("inbox") == []


async def test_a_verb_removed_right_before_a_crash_is_not_kept_by_the_union(w: World) -> None:
    w.graph.put("inbox")
    await w.sync("inbox")
    await store(w, add(b"\\Answered", b"$Forwarded"))
    w.graph.fail("patch", asyncio.CancelledError(), when="after")  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await store(w, remove(b"\\Answered", b"$Forwarded"))
    await w.restarted()
    w.clock.now += 1
    assert [row.flags for row in await w.sync("inbox")] == [Flags()]


async def test_a_refused_removal_keeps_both_verbs(w: World) -> None:
    stored = w.graph.put("inbox")
    await w.sync("inbox")
    await store(w, add(b"\\Answered", b"$Forwarded"))
    w.graph.fail("patch", Denied("", status=403), id=stored.id)
    outcome = await store(w, remove(b"\\Answered"))
    assert len(outcome.failed) == 1
    w.graph.outlook(stored.id, read=True)
    w.clock.now += 1
    assert [row.flags for row in await w.sync("inbox")] == [
        Flags.of([b"\\Answered", b"$Forwarded", b"\\Seen"])
    ]
