"""Sync against the emulator's rules: what delta hides, lies about or says too late (contract sections 7 and 12)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.limits import DEFAULT_LIMITS
from gateway.core.types import MessageId, SystemFlag
from gateway.graph.errors import NotFound
from gateway.graph.mail import Patch
from gateway.graph.model import Message, Priority
from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.sync import FolderSync
from gateway.store.api import FolderRow, MessageRow
from tests.sync_world import ALICE, World, mime, world


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, delta_lag_seconds=0, counts_lag_seconds=0, conflict_seconds=0) as made:
        yield made


async def inbox_of(w: World) -> tuple[FolderRow, FolderSync, list[str | None]]:
    hierarchy = Hierarchy(w.ctx)
    await hierarchy.refresh(max_age=0)
    row = hierarchy.tree.find("INBOX").row
    moved: list[str | None] = []

    async def tell(message: Message) -> None:
        moved.append(message.parent_folder_id)

    return row, FolderSync(w.ctx, row, tell), moved


async def synced(w: World) -> tuple[FolderRow, FolderSync, list[str | None]]:
    row, sync, moved = await inbox_of(w)
    await sync.ready()
    await w.forget()
    return row, sync, moved


async def nobody(_: Message) -> None:
    """Nobody needs to hear of moves."""


async def rows(w: World, folder: FolderRow) -> list[MessageRow]:
    return await w.store.messages(folder.key)


async def agree(w: World, folder: FolderRow) -> bool:
    """The store and Graph hold the same messages with the same \\Seen."""
    theirs = {r["id"]: r["isRead"] for r in await w.listing()}
    ours = {r.id: SystemFlag.SEEN in r.flags.system for r in await rows(w, folder)}
    return theirs == ours


async def outlook(w: World, verb: str, message: str, **body: object) -> None:
    path = f"users/{ALICE}/messages/{message}"
    if verb == "move":
        answer = await w.control.post(f"{path}/move", json=body)
    else:
        answer = await w.control.request(verb.upper(), path, json=body or None)
    answer.raise_for_status()


async def test_a_first_sync_gives_uids_from_1_in_order_of_arrival(w: World) -> None:
    for number in range(5):
        await w.deliver(mime(f"m{number}"))
    folder, _, _ = await synced(w)
    found = await rows(w, folder)
    assert [row.uid for row in found] == [1, 2, 3, 4, 5]
    assert found == sorted(found, key=lambda row: (row.internal_date, row.id))
    assert await agree(w, folder)


async def test_a_second_sync_of_the_same_folder_costs_nothing(w: World) -> None:
    await w.deliver(mime("one"))
    _, sync, _ = await synced(w)
    await sync.ready()
    await sync.poll(max_age=60)
    assert await w.log() == []


async def test_nothing_new_costs_one_delta(w: World) -> None:
    _, sync, _ = await synced(w)
    await sync.poll(max_age=0)
    assert len(await w.log()) == 1


async def test_new_mail_gets_the_next_uid_with_all_its_facts(w: World) -> None:
    await w.deliver(mime("one"))
    folder, sync, _ = await synced(w)
    before = (await w.store.folder(w.ctx.account, folder.id)).uid_next  # type: ignore[union-attr]
    await w.deliver(mime("two"))
    await sync.poll(max_age=0)
    new = (await rows(w, folder))[-1]
    assert new.uid == before
    assert new.internal_date > 1_600_000_000
    assert new.size > 0
    assert await agree(w, folder)


async def test_a_flag_set_in_outlook_arrives_and_costs_no_uid(w: World) -> None:
    message = await w.deliver(mime("one"))
    folder, sync, _ = await synced(w)
    await outlook(
        w, "patch", message, isRead=True, flag={"flagStatus": "flagged"}, categories=["Blue category"]
    )
    await sync.poll(max_age=0)
    (row,) = await rows(w, folder)
    assert row.uid == 1
    assert row.flags.system == SystemFlag.SEEN | SystemFlag.FLAGGED
    assert row.flags.keywords


async def test_mail_moved_away_in_outlook_is_gone_and_the_other_folder_is_told(w: World) -> None:
    message = await w.deliver(mime("one"))
    folder, sync, moved = await synced(w)
    await outlook(w, "move", message, folder="archive")
    await sync.poll(max_age=0)
    assert await rows(w, folder) == []
    assert moved


async def test_mail_that_went_away_and_came_back_between_two_polls_is_still_there(w: World) -> None:
    """The A->B->A hole (trap 5): delta says removed, the folder says otherwise."""
    message = await w.deliver(mime("one"))
    folder, sync, _ = await synced(w)
    await outlook(w, "move", message, folder="archive")
    await outlook(w, "move", message, folder="inbox")
    await sync.poll(max_age=0)
    assert [row.id for row in await rows(w, folder)] == [message]
    assert await agree(w, folder)


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_dead_delta_token_changes_no_uid(w: World, times: int) -> None:
    """Trap 11 in its three dresses; what happened meanwhile is found by comparing."""
    kept = await w.deliver(mime("kept"))
    lost = await w.deliver(mime("lost"))
    folder, sync, _ = await synced(w)
    uids = {row.id: row.uid for row in await rows(w, folder)}
    for _ in range(times):
        await w.control.post("delta/expire")
        await sync.poll(max_age=0)
    await w.control.post("delta/expire")
    await outlook(w, "delete", lost)
    new = await w.deliver(mime("new"))
    await sync.poll(max_age=0)
    after = {row.id: row.uid for row in await rows(w, folder)}
    assert after[MessageId(kept)] == uids[MessageId(kept)]
    assert set(after) == {kept, new}
    row = await w.store.folder(w.ctx.account, folder.id)
    assert row is not None
    assert row.uid_validity == folder.uid_validity


async def test_a_full_mailbox_refuses_delta_and_is_listed_instead(w: World) -> None:
    """Trap 10."""
    for number in range(3):
        await w.deliver(mime(f"m{number}"))
    folder, sync, _ = await synced(w)
    await w.limits(quota_bytes=1)
    victim = (await rows(w, folder))[0]
    await outlook(w, "delete", victim.id)
    await sync.poll(max_age=0)
    assert [row.uid for row in await rows(w, folder)] == [2, 3]
    assert await agree(w, folder)


async def test_a_full_mailbox_can_be_opened_for_the_first_time(w: World) -> None:
    await w.deliver(mime("one"))
    await w.limits(quota_bytes=1)
    folder, _, _ = await synced(w)
    assert len(await rows(w, folder)) == 1


async def test_a_delta_with_expand_needs_no_second_request(w: World) -> None:
    await w.rules(delta_expand_refused=False)
    folder, sync, _ = await synced(w)
    await w.deliver(mime("one"))
    await sync.poll(max_age=0)
    assert len(await w.log()) == 1
    assert len(await rows(w, folder)) == 1


async def test_our_own_write_coming_back_costs_nothing(w: World) -> None:
    """Invariant 9: the echo has the etag that the write's answer had."""
    message = await w.deliver(mime("one"))
    folder, sync, _ = await synced(w)
    (answer,) = await w.graph.patch([Patch(message, {"isRead": True})])
    assert isinstance(answer, Message)
    await sync._intake.take([(await w.graph.get([message]))[0]], set(), began=1e18, link="")  # type: ignore[list-item]
    row = await w.store.folder(w.ctx.account, folder.id)
    assert row is not None
    await w.store.set_link(folder.key, row.delta_link)
    await w.forget()
    modseq = (await rows(w, folder))[0].modseq
    await sync.poll(max_age=0)
    assert [line for line in await w.log() if "/delta" not in line] == []
    assert (await rows(w, folder))[0].modseq == modseq


async def test_a_delta_begun_before_our_write_does_not_undo_it(w: World) -> None:
    """Trap 55: the older row is dropped, and read again in the next round."""
    message = await w.deliver(mime("one"))
    folder, sync, _ = await synced(w)
    await outlook(w, "patch", message, isRead=True)
    w.ctx.writes.ended(MessageId(message), 1e18)
    await sync.poll(max_age=0)
    assert SystemFlag.SEEN not in (await rows(w, folder))[0].flags.system
    w.ctx.writes.entries.clear()
    await sync.poll(max_age=0)
    assert SystemFlag.SEEN in (await rows(w, folder))[0].flags.system


async def test_ids_of_a_create_in_flight_are_held_back_and_come_later(w: World) -> None:
    """Decision 9: whoever creates decides the UID."""
    folder, sync, _ = await synced(w)
    with w.ctx.holds.hold(folder.id):
        await w.deliver(mime("one"))
        await sync.poll(max_age=0)
        assert await rows(w, folder) == []
    await sync.poll(max_age=0)
    assert len(await rows(w, folder)) == 1


async def test_a_draft_continued_in_outlook_is_a_new_message(w: World) -> None:
    """Decision 4: other bytes, other UID; flags alone change nothing."""
    hierarchy = Hierarchy(w.ctx)
    await hierarchy.refresh(max_age=0)
    folder = w.ctx.special["drafts"]
    draft = await w.graph.create_from_mime(mime("draft"))
    sync = FolderSync(w.ctx, folder, nobody)
    await asyncio.sleep(0.3)  # an id just minted answers 404 for a moment
    await sync.ready()
    (before,) = await rows(w, folder)
    await outlook(w, "patch", draft.id, subject="continued")
    await sync.poll(max_age=0)
    (after,) = await rows(w, folder)
    assert after.id == before.id
    assert after.uid > before.uid
    assert after.email_id != before.email_id


async def test_a_cut_first_sync_is_taken_up_again(w: World) -> None:
    for number in range(3):
        await w.deliver(mime(f"m{number}"))
    folder, sync, _ = await inbox_of(w)
    await w.control.post(
        "faults",
        json={
            "method": "GET",
            "path": "/messages\\?",
            "mode": "error",
            "status": 404,
            "code": "x",
            "count": 1,
        },
    )
    with pytest.raises(Exception, match="x"):
        await sync.ready()
    await sync.ready()
    assert [row.uid for row in await rows(w, folder)] == [1, 2, 3]


async def test_many_removed_at_once_are_verified_by_one_listing(w: World) -> None:
    for number in range(130):
        await w.deliver(mime(f"m{number}"))
    folder, sync, _ = await synced(w)
    for row in (await rows(w, folder))[:120]:
        await outlook(w, "delete", row.id)
    await sync.poll(max_age=0)
    assert len(await rows(w, folder)) == 10
    assert len(await w.log()) <= 4


async def test_many_changed_at_once_are_read_by_listing(w: World) -> None:
    for number in range(230):
        await w.deliver(mime(f"m{number}"))
    folder, sync, _ = await synced(w)
    await asyncio.sleep(1.1)  # lastModifiedDateTime has whole seconds
    for row in await rows(w, folder):
        await outlook(w, "patch", row.id, isRead=True)
    await w.forget()
    await sync.poll(max_age=0)
    assert await agree(w, folder)
    assert len(await w.log()) <= 5


async def test_a_reconciliation_finds_what_delta_never_said(w: World) -> None:
    kept = await w.deliver(mime("kept"))
    folder, sync, _ = await synced(w)
    await w.store.apply(folder.key, (), [MessageId(kept)])  # as if a round had been lied to
    await sync.compare()
    assert [row.id for row in await rows(w, folder)] == [kept]


async def test_a_504_halves_the_page(tmp_path: Path) -> None:
    async with world(tmp_path, messages=40) as w:
        folder, sync, _ = await inbox_of(w)
        await w.forget()
        fault = {
            "method": "GET",
            "path": "/messages\\?",
            "mode": "error",
            "status": 504,
            "code": "UnknownError",
        }
        (await w.control.post("faults", json={**fault, "count": 2, "retry_after": 0.01})).raise_for_status()
        await sync.ready()
        assert len(await rows(w, folder)) == 40
        assert len([line for line in await w.log() if "/messages?" in line]) == 3


async def test_the_first_sync_of_1500_costs_what_the_pages_force(tmp_path: Path) -> None:
    async with world(tmp_path, messages=1500) as w:
        folder, sync, _ = await inbox_of(w)
        await w.forget()
        await sync.ready()
        assert len(await rows(w, folder)) == 1500
        # two pages of 1,000, three delta pages of 512 and an empty one, one `$expand` refused
        assert len(await w.log()) <= 8


async def test_new_mail_that_is_not_yet_visible_is_not_lost(w: World) -> None:
    """Trap 42: announced by delta, 404 for a moment; the old delta link is kept until it was seen."""
    folder, sync, _ = await synced(w)
    await w.deliver(mime("one"))
    fault = {"method": "GET", "path": "/users/[^/]+/messages/", "mode": "error", "status": 404, "count": 1}
    (await w.control.post("faults", json={**fault, "code": "ErrorItemNotFound"})).raise_for_status()
    await sync.poll(max_age=0)
    assert await rows(w, folder) == []
    await sync.poll(max_age=0)
    assert len(await rows(w, folder)) == 1


async def test_a_message_found_elsewhere_is_taken_in_there(w: World) -> None:
    """Section 7: the move may show as a removal only."""
    message = await w.deliver(mime("one"))
    hierarchy = Hierarchy(w.ctx)
    await hierarchy.refresh(max_age=0)
    archive = w.ctx.special["archive"]
    into = FolderSync(w.ctx, archive, nobody)
    await into.ready()
    before = len(await rows(w, archive))
    source = FolderSync(w.ctx, hierarchy.tree.find("INBOX").row, into.adopt)
    await source.ready()
    await outlook(w, "move", message, folder="archive")
    await source.poll(max_age=0)
    assert len(await rows(w, archive)) == before + 1
    await into.poll(max_age=0)
    assert len(await rows(w, archive)) == before + 1


@pytest.mark.parametrize("everything", [False, True], ids=["folder", "mailbox"])
async def test_a_folder_is_destroyed_only_if_its_mailbox_can_be_reached(w: World, everything: bool) -> None:
    """A mailbox that is moved or has lost its licence answers 404 to everything (contract section 2)."""
    await Hierarchy(w.ctx).refresh(max_age=0)
    archive = w.ctx.special["archive"]
    sync = FolderSync(w.ctx, archive, nobody)
    await sync.ready()
    hub = await w.hubs.open(archive.key)
    path = "" if everything else re.escape(archive.id)
    fault = {"method": "*", "path": path, "mode": "error", "status": 404, "code": "ErrorItemNotFound"}
    (await w.control.post("faults", json={**fault, "count": None})).raise_for_status()
    with pytest.raises(NotFound):
        await sync.poll(max_age=0)
    assert hub.dissolved is not everything


async def test_who_waits_for_a_client_does_not_wait_behind_background_work(tmp_path: Path) -> None:
    """Background work may use half of the budget; where that is spent it waits, and must not hold up a SELECT."""
    tight = replace(DEFAULT_LIMITS, requests_per_10min=100)
    async with world(tmp_path, limits=tight, delta_lag_seconds=0, counts_lag_seconds=0) as w:
        folder, sync, _ = await synced(w)
        for _ in range(55):
            await w.graph.get_folder(folder.id)
        behind = asyncio.create_task(sync.poll(max_age=0, priority=Priority.BACKGROUND))
        compared = asyncio.create_task(sync.compare())
        await asyncio.sleep(0.05)
        assert not behind.done()
        await w.deliver(mime("new"))
        async with asyncio.timeout(5):
            await sync.poll(max_age=0)
            await behind
        assert await agree(w, folder)
        compared.cancel()
        await asyncio.wait({compared})


async def test_what_was_to_be_read_again_is_not_forgotten_by_a_round_that_fails(w: World) -> None:
    """A row older than our own write is read again at the next poll (invariant 9), and if Graph does not tell then,
    at the one behind it."""
    await w.deliver(mime("one"))
    folder, sync, _ = await synced(w)
    [row] = await rows(w, folder)
    sync._again = {row.id}
    fault = {"method": "GET", "path": "/messages/(?!delta)", "mode": "error", "status": 403, "count": 1}
    (await w.control.post("faults", json=fault)).raise_for_status()
    await sync.poll(max_age=0)
    await w.forget()
    await sync.poll(max_age=0)
    assert [line for line in await w.log() if row.id in line]
    await w.forget()
    await sync.poll(max_age=0)
    assert not [line for line in await w.log() if row.id in line]
