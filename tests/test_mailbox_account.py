"""An account before the emulator: its folders, their counts, its background, its restart."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import (
    CannotDo,
    GatewayError,
    HasChildren,
    MailboxExists,
    NoSuchMailbox,
    TooBig,
    Unavailable,
)
from gateway.core.types import Flags, MessageId, SpecialUse, SystemFlag
from gateway.mailbox.account import MailboxAccount
from gateway.mailbox.context import Settings
from gateway.mailbox.values import Need
from gateway.store.api import Upsert
from tests.account_world import ALICE, Site, account_world, mime, until

SEEN = Flags(SystemFlag.SEEN)


@pytest.fixture
async def s(tmp_path: Path) -> AsyncIterator[Site]:
    async with account_world(tmp_path) as site:
        yield site


async def names(account: MailboxAccount) -> list[str]:
    return [info.name for info in await account.folders()]


async def fresh(account: MailboxAccount) -> list[str]:
    """After a look at Graph, as at the next interval."""
    account.hierarchy.forget_age()
    return await names(account)


# -- LIST --


async def test_the_list_begins_with_inbox_and_names_special_folders_by_use(s: Site) -> None:
    account = await s.account()
    infos = await account.folders()
    assert infos[0].name == "INBOX"
    uses = {info.use for info in infos}
    assert {SpecialUse.SENT, SpecialUse.DRAFTS, SpecialUse.TRASH, SpecialUse.JUNK} <= uses
    assert all(info.selectable for info in infos)


async def test_housekeeping_folders_are_not_listed(s: Site) -> None:
    account = await s.account()
    assert not {"Sync Issues", "Conversation History", "Recoverable Items"} & set(await names(account))


async def test_folders_have_their_uses_in_a_mailbox_of_another_language(tmp_path: Path) -> None:
    """Trap 30: names are localised, uses and INBOX are not."""
    async with account_world(tmp_path, language="de") as s:
        account = await s.account()
        infos = {info.use: info.name for info in await account.folders() if info.use}
        assert infos[SpecialUse.SENT] == "Gesendete Elemente"
        assert "Sent Items" not in infos.values()
        assert (await account.folders())[0].name == "INBOX"


async def test_duplicate_siblings_each_have_a_name(s: Site) -> None:
    """Trap 32."""
    s.outlook.make_folder("Twin")
    s.outlook.make_folder("Twin")
    found = [name for name in await names(await s.account()) if name.startswith("Twin")]
    assert len(found) == 2 == len(set(found))


# -- CREATE, DELETE, RENAME --


async def test_create_makes_the_missing_levels_above(s: Site) -> None:
    account = await s.account()
    await account.create("One/Two/Three")
    assert {"One", "One/Two", "One/Two/Three"} <= set(await names(account))
    folders = {f.number: f for f in s.outlook.box.folders.values()}
    three = s.outlook.folder("Three")
    assert folders[three.parent].name == "Two"
    assert folders[folders[three.parent].parent].name == "One"


async def test_create_below_inbox(s: Site) -> None:
    account = await s.account()
    await account.create("inbox/Below")
    assert "INBOX/Below" in await names(account)


async def test_create_of_what_exists_is_refused_in_any_case_of_inbox(s: Site) -> None:
    account = await s.account()
    await account.create("Work")
    for name in ("Work", "InBox"):
        with pytest.raises(MailboxExists):
            await account.create(name)


async def test_create_of_what_outlook_made_a_moment_ago_says_so(s: Site) -> None:
    account = await s.account()
    s.outlook.make_folder("Quick")
    with pytest.raises(MailboxExists):
        await account.create("Quick")


async def test_a_name_with_delimiter_and_percent_goes_there_and_back(s: Site) -> None:
    s.outlook.make_folder("A/B =2F %")
    account = await s.account()
    (name,) = [name for name in await names(account) if name.startswith("A=2FB")]
    assert (await account.status([name]))[0].messages == 0


async def test_a_deleted_mailbox_goes_to_deleted_items_with_its_mail(s: Site) -> None:
    account = await s.account()
    await account.create("Old")
    await s.append("Old", mime("kept"), SEEN)
    await account.delete("Old")
    listed = await names(account)
    assert "Old" not in listed
    assert "Deleted Items/Old" in listed
    assert (await account.status(["Deleted Items/Old"]))[0].messages == 1


async def test_a_mailbox_with_children_is_not_deleted(s: Site) -> None:
    account = await s.account()
    await account.create("Top/Leaf")
    with pytest.raises(HasChildren):
        await account.delete("Top")
    assert "Top/Leaf" in await fresh(account)


@pytest.mark.parametrize("name", ["INBOX", "Sent Items", "Drafts", "Deleted Items"])
async def test_special_folders_are_neither_deleted_nor_renamed(s: Site, name: str) -> None:
    account = await s.account()
    with pytest.raises(CannotDo):
        await account.delete(name)
    if name != "INBOX":
        with pytest.raises(CannotDo):
            await account.rename(name, "Mine")
    assert name in await fresh(account)


async def test_unknown_mailboxes_are_looked_for_once_and_refused(s: Site) -> None:
    account = await s.account()
    for work in (
        account.open("Nowhere", read_only=False), account.status(["Nowhere"]), account.delete("Nowhere"),
        account.rename("Nowhere", "Somewhere"), account.check_append("Nowhere", 10),
    ):  # fmt: skip
        with pytest.raises(NoSuchMailbox):
            await work


async def test_rename_in_place_keeps_uids_and_uidvalidity(s: Site) -> None:
    account = await s.account()
    await account.create("Before")
    uid = (await s.append("Before", mime("one"), SEEN)).uids[0]
    folder = await account.open("Before", read_only=True)
    await account.rename("Before", "After")
    renamed = await account.open("After", read_only=True)
    assert renamed.uid_validity == folder.uid_validity
    assert list(renamed.view.uids) == [uid]
    assert "Before" not in await names(account)


async def test_rename_across_parents_takes_the_children_along(s: Site) -> None:
    account = await s.account()
    await account.create("A/Mid/Leaf")
    await account.rename("A/Mid", "B/New")
    listed = await names(account)
    assert {"A", "B", "B/New", "B/New/Leaf"} <= set(listed)
    assert not {"A/Mid", "A/Mid/Leaf"} & set(listed)


@pytest.mark.parametrize("mode", ["error", "commit-then-fail"])
async def test_a_rename_whose_second_half_fails_is_undone(s: Site, mode: str) -> None:
    """Trap 33: a move and a PATCH are not atomic."""
    account = await s.account()
    await account.create("A/Leaf")
    await account.create("B")
    status = 403 if mode == "error" else 504
    await s.outlook.fault("PATCH", "/mailFolders/", mode, status=status, count=None)
    with contextlib.suppress(GatewayError):
        await account.rename("A/Leaf", "B/Other")
    await s.outlook.heal()
    listed = set(await fresh(account))
    assert ("A/Leaf" in listed) != ("B/Other" in listed)  # wholly done or not at all
    assert "B/Leaf" not in listed and "A/Other" not in listed


async def test_rename_to_an_existing_name_or_below_itself_is_refused(s: Site) -> None:
    account = await s.account()
    await account.create("A")
    await account.create("B")
    with pytest.raises(MailboxExists):
        await account.rename("A", "B")
    with pytest.raises(CannotDo):
        await account.rename("A", "A/C")
    assert {"A", "B"} <= set(await fresh(account))


async def test_rename_by_case_alone_is_possible(s: Site) -> None:
    account = await s.account()
    await account.create("work")
    await account.rename("work", "Work")
    assert "Work" in await names(account) and "work" not in await names(account)


async def test_rename_of_inbox_empties_it_into_a_new_mailbox(s: Site) -> None:
    """RFC 9051 section 6.3.6."""
    for number in range(3):
        await s.outlook.deliver(mime(f"m{number}"))
    account = await s.account()
    await account.rename("INBOX", "Harvest")
    inbox = await account.open("INBOX", read_only=True)
    harvest = await account.open("Harvest", read_only=True)
    assert (inbox.view.count, harvest.view.count) == (0, 3)
    assert len(await s.outlook.listing()) == 0


async def test_rename_of_inbox_that_leaves_messages_behind_says_so(s: Site) -> None:
    for number in range(3):
        await s.outlook.deliver(mime(f"m{number}"))
    account = await s.account()
    await s.outlook.fault("POST", "/messages/[^/]+/move", status=403)
    with pytest.raises(GatewayError):
        await account.rename("INBOX", "Harvest")
    assert len(await s.outlook.listing()) == 1  # what could be moved is in the new mailbox


async def test_a_folder_deleted_and_made_anew_has_another_uidvalidity(s: Site) -> None:
    """Invariant 7, and a fault of a peer: UIDVALIDITY the same after delete and re-create."""
    account = await s.account()
    await account.create("Again")
    first = (await account.status(["Again"]))[0]
    await account.delete("Again")
    await account.create("Again")
    second = (await account.status(["Again"]))[0]
    assert second.uid_validity > first.uid_validity
    assert second.mailbox_id != first.mailbox_id


# -- subscriptions --


async def test_everything_is_subscribed_from_the_start_and_when_made(s: Site) -> None:
    account = await s.account()
    await account.create("New")
    s.outlook.make_folder("ByOutlook")
    assert all(info.subscribed for info in await account.folders())
    assert {"New"} <= set(await account.subscriptions())
    account.hierarchy.forget_age()
    assert all(info.subscribed for info in await account.folders())


async def test_unsubscribing_lasts_and_follows_renames_of_both_sides(s: Site) -> None:
    account = await s.account()
    for name in ("Ours", "Theirs"):
        await account.create(f"{name}/Child")
        await account.subscribe(name, False)
    await account.rename("Ours", "Our new")
    s.outlook.rename_folder("Theirs", "Their new")
    await fresh(account)
    off = {info.name for info in await account.folders() if not info.subscribed}
    assert off == {"Our new", "Their new"}
    assert {"Our new/Child", "Their new/Child"} <= set(await account.subscriptions())
    await s.restart()
    again = await s.account()
    assert {info.name for info in await again.folders() if not info.subscribed} == off


async def test_a_subscription_outlives_its_mailbox(s: Site) -> None:
    """RFC 9051 section 6.3.7."""
    account = await s.account()
    await account.create("Gone")
    await account.delete("Gone")
    assert "Gone" in await account.subscriptions()


# -- STATUS --


async def test_a_cold_status_tells_counts_and_a_uidnext_above_the_reserve(s: Site) -> None:
    """Decision 1: R = total x 1.1 + 1,000; no first sync is needed for it."""
    s.outlook.make_folder("Cold")
    for number in range(10):
        await s.outlook.deliver(mime(f"m{number}"), s.outlook.box.folder_id(s.outlook.folder("Cold").number))
    account = await s.account()
    (status,) = await account.status(["Cold"])
    assert (status.messages, status.unseen) == (10, 10)
    assert status.uid_next == 10 + 1 + 1000 + 1
    folder = await account.open("Cold", read_only=True)
    assert list(folder.view.uids) == list(range(1, 11))
    assert folder.uid_next >= status.uid_next
    assert folder.uid_validity == status.uid_validity


async def test_a_cold_status_tells_at_once_what_was_put_there_from_here(s: Site) -> None:
    """The counts of a mailbox just made are those it was made with; a COPY into it must show in STATUS."""
    await s.append("INBOX", mime("first"), Flags())
    await s.append("INBOX", mime("second"), Flags(SystemFlag.SEEN))
    account = await s.account()
    await account.create("Fresh")
    await account.status(["Fresh"])
    folder = await account.open("INBOX", read_only=False)
    await folder.copy(list(folder.view.uids), "Fresh")
    (status,) = await account.status(["Fresh"])
    assert (status.messages, status.unseen, status.recent) == (2, 1, 2)


async def test_a_warm_status_is_exact_and_free(s: Site) -> None:
    for number in range(3):
        await s.outlook.deliver(mime(f"m{number}"))
    account = await s.account()
    folder = await account.open("INBOX", read_only=False)
    await account.status(["INBOX"])
    await s.outlook.forget()
    (status,) = await account.status(["INBOX"])
    assert (status.messages, status.unseen, status.recent) == (3, 3, 0)
    assert status.uid_next == folder.uid_next
    assert status.size > 0
    assert await s.outlook.lines() == []


async def test_status_hears_of_new_mail_in_a_folder_nobody_has_open(s: Site) -> None:
    account = await s.account()
    before = (await account.status(["INBOX"]))[0]
    await s.outlook.deliver(mime("new"))
    account.hierarchy.forget_age()
    account.sync(account.hierarchy.tree.find("INBOX").row).stale()
    after = (await account.status(["INBOX"]))[0]
    assert after.messages == before.messages + 1
    assert after.uid_next == before.uid_next + 1


async def test_status_of_all_folders_costs_one_request_cold_and_none_again(s: Site) -> None:
    for number in range(12):
        s.outlook.make_folder(f"Folder {number}")
    account = await s.account()
    account.hierarchy.forget_age()
    wanted = [name for name in await names(account) if name.startswith("Folder")]
    assert len(wanted) == 12
    await account.status(wanted)
    assert len(await s.outlook.lines()) <= 1
    await s.outlook.forget()
    await account.status(wanted)
    assert await s.outlook.lines() == []


# -- background, restart --


async def test_inbox_and_special_folders_are_synced_from_sign_in_on(s: Site) -> None:
    await s.outlook.deliver(mime("one"))
    await s.outlook.deliver(mime("two"), "archive")
    account = await s.account()
    for name in ("INBOX", "Sent Items", "Drafts", "Archive", "Deleted Items", "Junk Email"):
        row = await account.row(name)
        assert row.ready, name
    await s.outlook.forget()
    folder = await account.open("Archive", read_only=True)
    assert folder.view.count == 1
    assert len(await s.outlook.lines()) <= 1


async def test_a_login_costs_no_request_and_does_not_wait_for_graph(s: Site) -> None:
    await s.outlook.fault("*", "", "hang", count=None)
    async with asyncio.timeout(0.9):  # shorter than the time-out of one request
        await s.cold()


async def test_the_background_sync_begins_again_after_an_outage(
    s: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.mailbox.account.BACKGROUND_RETRY", 0.1)
    await s.outlook.down()
    account = await s.cold()
    with pytest.raises(Unavailable):
        await account.status(["INBOX"])
    await s.outlook.heal()
    await until(lambda: account.ctx.special)
    assert (await account.status(["INBOX"]))[0].messages == 0


async def test_a_restart_changes_nothing_a_client_can_see_and_costs_one_request(s: Site) -> None:
    ids = [await s.outlook.deliver(mime(f"m{number}")) for number in range(4)]
    account = await s.account()
    folder = await account.open("INBOX", read_only=False)
    await s.outlook.patch(ids[1], isRead=True, categories=["Red category"])
    await s.outlook.delete(ids[2])
    await folder.poll(force=True)
    appended = await s.append("INBOX", mime("appended"), Flags(SystemFlag.ANSWERED))
    await account.open("INBOX", read_only=False)  # takes \\Recent of all
    before = await account.open("INBOX", read_only=True)
    kept = (
        before.uid_validity,
        list(before.view.uids),
        before.uid_next,
        before.view.recent,
        before.keywords(),
    )
    rows = {
        row.uid: row.flags
        async for batch in before.rows([range(before.view.count)], Need.INDEX)
        for row in batch
    }
    assert appended.uids[0] in rows

    await s.restart()
    again = await s.account()
    after = await again.open("INBOX", read_only=True)
    assert len(await s.outlook.lines()) <= 1
    assert kept == (
        after.uid_validity,
        list(after.view.uids),
        after.uid_next,
        after.view.recent,
        after.keywords(),
    )
    assert rows == {
        row.uid: row.flags
        async for batch in after.rows([range(after.view.count)], Need.INDEX)
        for row in batch
    }


async def test_recent_is_taken_once_also_over_a_restart(s: Site) -> None:
    """Decision 14."""
    await s.outlook.deliver(mime("one"))
    account = await s.account()
    looked = await account.open("INBOX", read_only=True)
    assert looked.view.recent == 1
    first = await account.open("INBOX", read_only=False)
    assert first.view.recent == 1
    assert (await account.open("INBOX", read_only=False)).view.recent == 0
    await s.restart()
    again = await s.account()
    assert (await again.open("INBOX", read_only=True)).view.recent == 0
    await s.outlook.deliver(mime("two"))
    again.sync(again.hierarchy.tree.find("INBOX").row).stale()
    assert (await again.open("INBOX", read_only=False)).view.recent == 1


async def test_mail_that_came_while_nobody_ran_is_found_after_the_restart(s: Site) -> None:
    await s.outlook.deliver(mime("one"))
    await s.account()
    await s.down()
    await s.outlook.deliver(mime("two"))
    await s.up()
    account = await s.account()
    assert (await account.open("INBOX", read_only=True)).view.count == 2
    assert (await account.status(["INBOX"]))[0].messages == 2


# -- into folders that were never opened (decision 1) --


async def unsynced(s: Site, count: int = 3) -> tuple[MailboxAccount, list[str]]:
    """An account with a folder `Cold` of `count` messages that no sync has seen, and a message in INBOX."""
    s.outlook.make_folder("Cold")
    identity = s.outlook.box.folder_id(s.outlook.folder("Cold").number)
    ids = [await s.outlook.deliver(mime(f"m{n}"), identity) for n in range(count)]
    await s.outlook.deliver(mime("mover"))
    return await s.account(), ids


@pytest.mark.parametrize("how", ["append", "copy", "move"])
async def test_what_lands_in_an_unsynced_folder_keeps_its_uid_above_the_reserve(s: Site, how: str) -> None:
    account, ids = await unsynced(s)
    row = await account.row("Cold")
    assert not row.ready
    if how == "append":
        uid = (await s.append("Cold", mime("late"), SEEN)).uids[0]
    else:
        inbox = await account.open("INBOX", read_only=False)
        work = inbox.copy if how == "copy" else inbox.move
        (uid,) = (await work([inbox.view.uids[0]], "Cold")).target
    assert uid > row.reserved >= 1000
    folder = await account.open("Cold", read_only=True)
    assert list(folder.view.uids) == [1, 2, 3, uid]
    stored = await s.store.messages(row.key)
    assert {m.id for m in stored} == {m["id"] for m in await s.outlook.listing(row.id)}
    assert [m.uid for m in stored if m.id in ids] == [1, 2, 3]


async def test_more_mail_than_was_reserved_goes_above_all_given_uids(s: Site) -> None:
    account, _ = await unsynced(s, 0)
    row = await account.row("Cold")
    appended = await s.append("Cold", mime("early"), SEEN)
    box, identity = s.outlook.emulator.tenant, row.id
    for number in range(row.reserved + 5):
        box.deliver(ALICE, identity, mime(f"flood {number}"), received=1_700_000_000 + number)
    folder = await account.open("Cold", read_only=True)
    uids = list(folder.view.uids)
    assert len(uids) == len(set(uids)) == row.reserved + 6
    assert appended.uids[0] in uids
    assert folder.uid_next > max(uids)
    assert (await account.status(["Cold"]))[0].uid_next > max(uids)


async def test_a_first_sync_cut_short_leaves_no_ghosts(s: Site) -> None:
    """What was staged before the cut and is gone since must not get a UID."""
    account, ids = await unsynced(s)
    row = await account.row("Cold")
    await s.store.stage(
        row.key, [Upsert(MessageId(id), internal_date=1_700_000_000) for id in ids], link=None
    )
    await s.outlook.delete(ids[1])
    folder = await account.open("Cold", read_only=True)
    assert folder.view.count == 2
    assert {m.id for m in await s.store.messages(row.key)} == {ids[0], ids[2]}


# -- several accounts --


async def test_accounts_do_not_see_each_other(s: Site) -> None:
    await s.outlook.deliver(mime("for alice"))
    alice, bob = await s.account(), await s.account("bob@example.com")
    assert (await alice.status(["INBOX"]))[0].messages == 1
    assert (await bob.status(["INBOX"]))[0].messages == 0
    await alice.create("Private")
    assert "Private" not in await fresh(bob)


async def test_an_append_larger_than_can_be_landed_is_refused_before_it_is_sent(s: Site) -> None:
    account = await s.account()
    with pytest.raises(TooBig):
        await account.check_append("INBOX", account.append_limit() + 1)


async def test_a_full_mailbox_can_still_be_read(s: Site) -> None:
    """Trap 10: delta of folders and of messages is refused, plain reads are not."""
    await s.outlook.deliver(mime("one"))
    await s.outlook.limits(quota_bytes=1)
    account = await s.account()
    folder = await account.open("INBOX", read_only=True)
    assert folder.view.count == 1
    assert SpecialUse.SENT in {info.use for info in await account.folders()}


async def test_polling_settings_bound_how_old_the_list_is(tmp_path: Path) -> None:
    async with account_world(tmp_path, settings=Settings(poll_interval=0.2)) as s:
        account = await s.account()
        s.outlook.make_folder("Later")
        await asyncio.sleep(0.25)
        assert "Later" in await names(account)
