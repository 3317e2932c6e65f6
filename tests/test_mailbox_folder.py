"""An open mailbox before the emulator: two sessions of it, Outlook beside them, and what is gone meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import Expired, NoPermission, NoSuchMailbox
from gateway.core.types import FlagChange, FlagOp, Flags, MessageId, SystemFlag, Uid
from gateway.mailbox.account import MailboxAccount
from gateway.mailbox.folder import OpenFolder
from gateway.mailbox.values import Exists, Expunged, Flagged, Need, Row
from gateway.store.api import Upsert
from tests.account_world import Site, account_world, mime

DELETED = FlagChange(FlagOp.ADD, Flags(SystemFlag.DELETED))
SEEN = FlagChange(FlagOp.ADD, Flags(SystemFlag.SEEN))


@pytest.fixture
async def s(tmp_path: Path) -> AsyncIterator[Site]:
    async with account_world(tmp_path) as site:
        yield site


async def filled(s: Site, count: int = 3) -> tuple[MailboxAccount, OpenFolder, list[str]]:
    ids = [
        await s.outlook.deliver(mime(f"m{n}"), received=f"2026-01-0{n + 1}T00:00:00Z") for n in range(count)
    ]
    account = await s.account()
    folder = await account.open("INBOX", read_only=False)
    assert folder.view.count == count
    return account, folder, ids


async def rows(folder: OpenFolder, need: Need = Need.INDEX) -> list[Row]:
    return [row async for batch in folder.rows([range(folder.view.count)], need) for row in batch]


def uids(folder: OpenFolder) -> list[Uid]:
    return [Uid(uid) for uid in folder.view.uids]


# -- two sessions --


async def test_a_flag_set_in_one_session_is_heard_by_the_other(s: Site) -> None:
    account, mine, ids = await filled(s)
    theirs = await account.open("INBOX", read_only=False)
    result = await mine.store([Uid(2)], SEEN)
    assert [change.uid for change in result.rows] == [2]
    async with asyncio.timeout(5):
        await theirs.changed()
    (change,) = theirs.view.drain(expunge=False)
    assert isinstance(change, Flagged)
    assert (change.seq, change.uid, change.flags.system) == (2, 2, SystemFlag.SEEN)
    shown = {m["id"]: m["isRead"] for m in await s.outlook.listing()}
    assert shown == {ids[0]: False, ids[1]: True, ids[2]: False}


async def test_a_silent_session_does_not_hear_its_own_change(s: Site) -> None:
    _, mine, _ = await filled(s)
    result = await mine.store([Uid(2)], SEEN)
    mine.view.tell([change.uid for change in result.rows])
    assert mine.view.drain(expunge=True) == []


async def test_an_expunge_reaches_the_other_session_only_when_it_may(s: Site) -> None:
    account, mine, _ = await filled(s)
    theirs = await account.open("INBOX", read_only=False)
    await mine.store([Uid(1), Uid(3)], DELETED)
    await mine.expunge(None)
    theirs.view.drain(expunge=False)
    assert uids(theirs) == [1, 2, 3]
    assert [c.seq for c in theirs.view.drain(expunge=True) if isinstance(c, Expunged)] == [3, 1]
    assert uids(theirs) == [2]
    assert [c.seq for c in mine.view.drain(expunge=True) if isinstance(c, Expunged)] == [3, 1]


async def test_an_append_is_announced_to_everybody(s: Site) -> None:
    account, mine, _ = await filled(s)
    theirs = await account.open("INBOX", read_only=True)
    appended = await s.append("INBOX", mime("appended"), Flags(), account=account)
    for folder in (mine, theirs):
        (change,) = [c for c in folder.view.drain(expunge=False) if isinstance(c, Exists)]
        assert change.count == 4
        assert folder.view.uids[-1] == appended.uids[0]
        assert folder.uid_next > appended.uids[0]


# -- Outlook beside it --


async def test_what_outlook_did_is_told_after_a_poll(s: Site) -> None:
    _, folder, ids = await filled(s)
    await s.outlook.patch(ids[0], flag={"flagStatus": "flagged"})
    await s.outlook.delete(ids[1])
    await s.outlook.deliver(mime("new"))
    await folder.poll(force=True)
    changes = folder.view.drain(expunge=True)
    assert [c.seq for c in changes if isinstance(c, Expunged)] == [2]
    assert [c.count for c in changes if isinstance(c, Exists)] == [3]
    assert [c.flags.system for c in changes if isinstance(c, Flagged)] == [SystemFlag.FLAGGED]


async def test_a_deleted_mark_taken_back_in_another_program_saves_the_message(s: Site) -> None:
    """Decision 8: EXPUNGE asks first if what it knows is over two seconds old."""
    _, folder, ids = await filled(s)
    await folder.store([Uid(1), Uid(2)], DELETED)
    s.outlook.undelete(ids[0])
    folder._sync.stale()
    await folder.expunge(None)
    folder.view.drain(expunge=True)
    assert uids(folder) == [1, 3]


async def test_a_message_that_went_away_in_graph_is_left_out_of_bodies(s: Site) -> None:
    """EXPUNGE may not be sent in FETCH (RFC 9051 section 7.5.1): the row has no body."""
    _, folder, ids = await filled(s)
    s.outlook.box.destroy(s.outlook.emulator.tenant._item("alice@example.com", ids[1])[1])
    found = await rows(folder, Need.MIME)
    assert [row.uid for row in found] == [1, 2, 3]
    assert [row.body is None for row in found] == [False, True, False]


async def test_a_message_that_moved_away_is_still_readable_until_it_is_expunged(s: Site) -> None:
    """Its immutable id is as good as before; the client is told at the next poll."""
    _, folder, ids = await filled(s)
    await s.outlook.move(ids[1], "archive")
    found = await rows(folder, Need.MIME)
    assert all(row.body is not None for row in found)
    await folder.poll(force=True)
    assert uids(folder) == [1, 2, 3]
    assert [row.uid for row in await rows(folder)] == [1, 2, 3]
    folder.view.drain(expunge=True)
    assert uids(folder) == [1, 3]


async def test_a_folder_deleted_by_outlook_says_so_and_keeps_what_it_shows(s: Site) -> None:
    s.outlook.make_folder("Doomed")
    identity = s.outlook.box.folder_id(s.outlook.folder("Doomed").number)
    await s.outlook.deliver(mime("one"), identity)
    account = await s.account()
    folder = await account.open("Doomed", read_only=False)
    s.outlook.destroy_folder("Doomed")
    with pytest.raises(NoSuchMailbox):
        await folder.poll(force=True)
    assert uids(folder) == [1]
    assert [row.uid for row in await rows(folder)] == [1]
    account.hierarchy.forget_age()
    with pytest.raises(NoSuchMailbox):
        await account.open("Doomed", read_only=False)
    for work in (
        folder.store([Uid(1)], SEEN), folder.poll(force=True), folder.expunge(None),
        folder.copy([Uid(1)], "Archive"), folder.move([Uid(1)], "Archive"),
    ):  # fmt: skip
        try:
            await work
        except (NoSuchMailbox, Expired):
            pass
    assert await rows(folder, Need.META) is not None
    await folder.close()


async def test_a_folder_renamed_by_outlook_stays_open(s: Site) -> None:
    s.outlook.make_folder("Before")
    identity = s.outlook.box.folder_id(s.outlook.folder("Before").number)
    await s.outlook.deliver(mime("one"), identity)
    account = await s.account()
    folder = await account.open("Before", read_only=False)
    s.outlook.rename_folder("Before", "After")
    account.hierarchy.forget_age()
    assert "After" in [info.name for info in await account.folders()]
    result = await folder.store([Uid(1)], SEEN)
    assert [change.uid for change in result.rows] == [1]
    await s.outlook.deliver(mime("two"), identity)
    await folder.poll(force=True)
    folder.view.drain(expunge=True)
    assert folder.view.count == 2


# -- refusals and vanished messages --


async def test_an_examined_mailbox_changes_nothing(s: Site) -> None:
    account, _, ids = await filled(s)
    folder = await account.open("INBOX", read_only=True)
    for work in (
        folder.store([Uid(1)], SEEN), folder.expunge(None), folder.move([Uid(1)], "Archive")
    ):  # fmt: skip
        with pytest.raises(NoPermission):
            await work
    await rows(folder, Need.MIME | Need.META | Need.SIZE)
    assert [m["isRead"] for m in await s.outlook.listing()] == [False] * len(ids)
    assert len((await folder.copy([Uid(1)], "Archive")).target) == 1  # reading is allowed


async def test_writes_of_vanished_uids_do_nothing_and_fail_nothing(s: Site) -> None:
    """`UID MOVE` and `UID COPY` of what is gone must be OK (a fault of peers)."""
    _, folder, _ = await filled(s)
    gone = [Uid(77), Uid(4_000_000_000)]
    assert (await folder.store(gone, SEEN)).rows == []
    for work in (folder.copy, folder.move):
        result = await work(gone, "Archive")
        assert (result.source, result.target) == ([], [])
    await folder.expunge(gone)
    assert uids(folder) == [1, 2, 3]


async def test_copy_and_move_to_an_unknown_mailbox_leave_everything(s: Site) -> None:
    _, folder, _ = await filled(s)
    for work in (folder.copy, folder.move):
        with pytest.raises(NoSuchMailbox):
            await work([Uid(1)], "Nowhere")
    assert len(await s.outlook.listing()) == 3


async def test_copyuid_names_the_messages_where_they_are(s: Site) -> None:
    account, folder, ids = await filled(s)
    result = await folder.move([Uid(3), Uid(1)], "Archive")
    archive = await account.open("Archive", read_only=True)
    assert result.uid_validity == archive.uid_validity
    stored = await s.store.messages((await account.row("Archive")).key)
    assert {row.uid: row.id for row in stored} == {
        copy: ids[uid - 1] for uid, copy in zip(result.source, result.target, strict=True)
    }
    folder.view.drain(expunge=True)
    assert uids(folder) == [2]


async def test_only_what_was_announced_to_this_session_is_expunged(s: Site) -> None:
    """RFC 9051 section 6.4.3 and common sense: a client cannot mean what it was never told of."""
    account, folder, _ = await filled(s)
    other = await account.open("INBOX", read_only=False)
    appended = await s.append("INBOX", mime("late"), Flags(SystemFlag.DELETED), account=account)
    await folder.expunge(None)
    assert len(await s.outlook.listing()) == 4
    other.view.drain(expunge=True)
    await other.expunge([appended.uids[0]])
    assert len(await s.outlook.listing()) == 3


# -- reading --


async def test_rows_hold_what_was_asked_for(s: Site) -> None:
    _, folder, ids = await filled(s)
    theirs = {m["id"]: m for m in await s.outlook.listing()}
    found = await rows(folder, Need.MIME | Need.STRUCTURE | Need.META | Need.SIZE)
    assert [row.seq for row in found] == [1, 2, 3]
    for row, identity in zip(found, ids, strict=True):
        assert row.body is not None and row.meta is not None
        assert row.size == row.body.size == theirs[identity]["size"]
        assert row.meta.header.endswith(b"\r\n\r\n")
        assert row.structure and row.basic_structure


async def test_sizes_are_exact_for_few_and_stay_so(s: Site) -> None:
    """Decision 3, invariant 8."""
    account, folder, ids = await filled(s)
    lengths = {m["id"]: m["size"] for m in await s.outlook.listing()}
    sizes = [row.size for row in await rows(folder, Need.SIZE)]
    assert sizes == [lengths[identity] for identity in ids]
    await folder.close()
    again = await account.open("INBOX", read_only=True)
    assert [row.size for row in await rows(again, Need.INDEX)] == sizes


async def test_first_unseen_and_keywords_follow_the_mailbox(s: Site) -> None:
    _, folder, ids = await filled(s)
    assert folder.first_unseen() == 1
    await folder.store([Uid(1)], SEEN)
    await s.outlook.patch(ids[2], categories=["Red category"])
    await folder.poll(force=True)
    assert folder.first_unseen() == 2
    assert folder.keywords() == [b"Red=20category"]
    before = folder.highest_modseq
    await folder.store([Uid(2)], SEEN)
    assert folder.highest_modseq > before


async def test_changed_returns_at_once_when_something_waits(s: Site) -> None:
    account, folder, _ = await filled(s)
    other = await account.open("INBOX", read_only=False)
    await other.store([Uid(1)], SEEN)
    async with asyncio.timeout(1):
        await folder.changed()
    folder.view.drain(expunge=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await folder.changed()


async def test_a_name_that_passed_to_another_folder_does_not_mislead_an_open_one(s: Site) -> None:
    """What is open goes by its id: a STORE must not land in the rows of whoever has the name now."""
    s.outlook.make_folder("Name")
    first = s.outlook.box.folder_id(s.outlook.folder("Name").number)
    mine = await s.outlook.deliver(mime("one"), first)
    account = await s.account()
    folder = await account.open("Name", read_only=False)
    s.outlook.rename_folder("Name", "Other")
    second = s.outlook.make_folder("Name")
    await s.outlook.deliver(mime("not mine"), second)
    account.hierarchy.forget_age()
    await account.folders()
    await folder.store([Uid(1)], DELETED)
    await folder.expunge(None)
    folder.view.drain(expunge=True)
    assert folder.view.count == 0
    assert mine not in {m["id"] for m in await s.outlook.listing(first)}
    assert len(await s.outlook.listing(second)) == 1
    assert (await account.open("Name", read_only=True)).view.count == 1


# -- UIDNEXT --


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("step", ["folder", "take_recent"])
async def test_nothing_below_the_uidnext_of_select_comes_later(
    s: Site, monkeypatch: pytest.MonkeyPatch, step: str, read_only: bool
) -> None:
    """A message that a sync writes while a session opens the mailbox is in its view, or not below its UIDNEXT: who asks
    for `UIDNEXT:*` the next time must not miss it."""
    account, _, _ = await filled(s)
    key = (await account.entry("INBOX")).row.key
    inner, late = getattr(account.ctx.store, step), 0

    async def written(*given: object) -> object:
        nonlocal late
        late += 1
        await account.ctx.store.apply(
            key, [Upsert(MessageId(f"late-{late}"))], ()
        )  # and the hub has not heard of it
        return await inner(*given)

    monkeypatch.setattr(account.ctx.store, step, written)
    folder = await account.open("INBOX", read_only=read_only)
    monkeypatch.undo()
    told, seen = folder.uid_next, set(folder.view.uids)
    present = {row.uid for row in await account.ctx.store.messages(key)}
    assert {uid for uid in present if uid < told} == seen
