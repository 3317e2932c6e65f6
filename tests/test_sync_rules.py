"""The sync engine against each thing Graph does to it, delta and counts lagging behind all the while: what happened is
heard in the end, nothing else, and UIDs stay (contract sections 5, 7 and 12; invariants 6, 7 and 9)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.limits import DEFAULT_LIMITS
from gateway.core.types import FlagChange, FlagOp, Flags, MessageId, SystemFlag, Uid
from gateway.graph.errors import NotFound
from gateway.graph.model import Message, MessagePage
from gateway.mailbox.changes import store_flags
from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.sync import COMPARE_EVERY, FolderSync
from gateway.mailbox.syncs import Syncs
from tests.account_world import Client, Site, account_world
from tests.sync_world import ALICE, World, eventually, mime, world
from tests.ticking import ticking

LAGS = {"delta_lag_seconds": 0.1, "counts_lag_seconds": 0.1}
FLAGGED = Flags(SystemFlag.FLAGGED)


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, conflict_seconds=0, fresh_404_seconds=0, **LAGS) as made:
        yield made


class Folder:
    """A folder of the world, its sync, and what must hold between the two sides."""

    def __init__(self, w: World, name: str = "INBOX") -> None:
        self.w = w
        self.name = name

    async def open(self) -> Folder:
        self.hierarchy = Hierarchy(self.w.ctx)
        await self.hierarchy.refresh(max_age=0)
        self.syncs = Syncs(self.w.ctx, self.hierarchy)
        self.row = self.hierarchy.tree.find(self.name).row
        self.sync = self.syncs.of(self.row)
        await self.sync.ready()
        await self.sync.walked()
        return self

    async def uids(self) -> dict[MessageId, Uid]:
        return await self.w.store.ids(self.row.key)

    async def agrees(self) -> bool:
        """Messages, \\Seen and \\Flagged are Graph's, after one more look."""
        await self.sync.poll(max_age=0)
        theirs = {r["id"]: (r["isRead"], r["flag"] == "flagged") for r in await self.w.listing(self.row.id)}
        ours = {
            row.id: (SystemFlag.SEEN in row.flags.system, SystemFlag.FLAGGED in row.flags.system)
            for row in await self.w.store.messages(self.row.key)
        }
        return theirs == ours


async def outlook(w: World, verb: str, message: str, **body: object) -> None:
    path = f"users/{ALICE}/messages/{message}"
    if verb == "move":
        answer = await w.control.post(f"{path}/move", json=body)
    else:
        answer = await w.control.request(verb.upper(), path, json=body or None)
    answer.raise_for_status()


async def many(w: World, count: int, folder: str = "inbox") -> list[str]:
    return [await w.deliver(mime(f"m{number} {folder}"), folder) for number in range(count)]


async def busy(w: World, ids: list[str]) -> None:
    """A bit of everything that Outlook does, in one go."""
    await outlook(w, "patch", ids[0], isRead=True)
    await outlook(w, "patch", ids[1], flag={"flagStatus": "flagged"}, categories=["Red category"])
    await outlook(w, "delete", ids[2])
    await outlook(w, "move", ids[3], folder="archive")
    await w.deliver(mime("new"))


@pytest.mark.parametrize("expand_refused", [True, False])
async def test_what_happens_is_heard_and_uids_stay(w: World, expand_refused: bool) -> None:
    await w.rules(delta_expand_refused=expand_refused)
    ids = await many(w, 6)
    inbox = await Folder(w).open()
    before = await inbox.uids()
    await busy(w, ids)
    assert await eventually(inbox.agrees)
    after = await inbox.uids()
    assert {id: uid for id, uid in after.items() if id in before}.items() <= before.items()
    assert max(after.values()) > max(before.values())


@pytest.mark.parametrize("deaths", [1, 2])
@pytest.mark.parametrize("expand_refused", [True, False])
async def test_a_dead_token_is_a_comparison(w: World, deaths: int, expand_refused: bool) -> None:
    await w.rules(delta_expand_refused=expand_refused)
    ids = await many(w, 6)
    inbox = await Folder(w).open()
    before = await inbox.uids()
    for _ in range(deaths):
        await w.control.post("delta/expire")
        await inbox.sync.poll(max_age=0)
    await busy(w, ids)
    await w.control.post("delta/expire")
    assert await eventually(inbox.agrees)
    assert {id: uid for id, uid in (await inbox.uids()).items() if id in before}.items() <= before.items()
    assert (await w.store.walk(inbox.row.key)).began == 0


async def test_a_comparison_that_was_cut_goes_on(w: World) -> None:
    """The walk from the beginning keeps each page: the next poll asks for the rest."""
    await w.limits(page_delta=4)
    ids = await many(w, 20)
    inbox = await Folder(w).open()
    await busy(w, ids)
    await asyncio.sleep(0.15)
    await w.control.post("delta/expire")
    fault = {
        "method": "GET",
        "path": "skiptoken",
        "mode": "error",
        "status": 403,
        "code": "ErrorAccessDenied",
    }
    await inbox_walked(w, inbox, 3)
    (await w.control.post("faults", json={**fault, "count": 1})).raise_for_status()
    with pytest.raises(Exception, match="ErrorAccessDenied"):
        await inbox.sync.poll(max_age=0)
    assert (await w.store.walk(inbox.row.key)).link
    await w.forget()
    await inbox.sync.poll(max_age=0)
    pages = [line for line in await w.log() if "/messages/delta" in line]
    assert len(pages) <= 6 and "$deltatoken" in pages[0] and "$skiptoken" in pages[1]
    assert await eventually(inbox.agrees)


async def inbox_walked(w: World, inbox: Folder, pages: int) -> None:
    """Let the first pages of a walk through, in a first go that is cut."""
    graph, seen = inbox.w.graph, 0
    whole = graph.delta

    async def cut(folder: str, link: str | None, **rest: Any) -> AsyncIterator[MessagePage]:
        nonlocal seen
        async for page in whole(folder, link, **rest):
            yield page
            seen += 1
            if seen == pages:
                raise NotFound("cut", status=404)

    graph.delta = cut  # type: ignore[method-assign]
    try:
        with pytest.raises(NotFound):
            await inbox.sync.poll(max_age=0)
    finally:
        graph.delta = whole  # type: ignore[method-assign]


async def test_the_hourly_comparison_finds_what_delta_never_said(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await many(w, 4)
    inbox = await Folder(w).open()
    await w.store.apply(inbox.row.key, (), [MessageId(ids[0])])  # a round was lied to
    await inbox.sync.compare_if_due()
    assert len(await inbox.uids()) == 3
    inbox.sync._compared -= COMPARE_EVERY
    await w.forget()
    await inbox.sync.compare_if_due()
    assert await inbox.agrees()
    await inbox.sync.compare_if_due()
    assert len(await w.log()) <= 3  # the listing, the message, and the poll just made


async def test_a_full_mailbox_is_listed_till_there_is_room(w: World) -> None:
    ids = await many(w, 6)
    await w.limits(quota_bytes=1)
    inbox = await Folder(w).open()
    before = await inbox.uids()
    assert len(before) == 6
    await outlook(w, "patch", ids[0], isRead=True)
    await outlook(w, "delete", ids[1])
    assert await eventually(inbox.agrees)
    await w.limits(quota_bytes=1 << 40)
    await outlook(w, "patch", ids[2], isRead=True)
    await outlook(w, "delete", ids[3])
    assert await eventually(inbox.agrees)
    row = await w.store.folder(w.ctx.account, inbox.row.id)
    assert row is not None and row.delta_link
    await w.forget()
    await inbox.sync.poll(max_age=0)
    assert len(await w.log()) == 1
    assert (await inbox.uids()).items() <= before.items()


@pytest.mark.parametrize("unseen", [True, False])
async def test_away_and_back_and_moves_nobody_tells_of(w: World, unseen: bool) -> None:
    """A to B to A between two looks; and a move that shows as a removal alone, never at its target."""
    await w.rules(immutable_move_unseen=unseen)
    ids = await many(w, 3)
    inbox = await Folder(w).open()
    before = await inbox.uids()
    archive = inbox.syncs.of(inbox.hierarchy.tree.find("Archive").row)
    await archive.ready()
    await outlook(w, "move", ids[0], folder="archive")
    await outlook(w, "move", ids[0], folder="inbox")
    await outlook(w, "move", ids[1], folder="archive")
    assert await eventually(inbox.agrees)
    assert (await inbox.uids()).items() <= before.items()

    async def arrived() -> bool:
        await inbox.sync.poll(max_age=0)
        key = inbox.hierarchy.tree.find("Archive").row.key
        return MessageId(ids[1]) in await w.store.ids(key)

    assert await eventually(arrived)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("expand_refused", [True, False])
async def test_rows_that_come_twice_and_in_any_order(w: World, seed: int, expand_refused: bool) -> None:
    """No order is promised but that of one message's own rows, and any may come again."""
    await w.rules(delta_expand_refused=expand_refused)
    await w.limits(page_delta=5)
    rng, whole = random.Random(seed), w.graph.delta

    async def shuffled(folder: str, link: str | None, **rest: Any) -> AsyncIterator[MessagePage]:
        pages = [page async for page in whole(folder, link, **rest)]
        of: dict[str, list[Message]] = {}
        for page in pages:
            for row in page.value:
                of.setdefault(row.id, []).extend([row] * rng.choice([1, 1, 2]))
        order = [id for id, rows in of.items() for _ in rows]
        rng.shuffle(order)
        told = [of[id].pop(0) for id in order]
        for number, page in enumerate(pages):
            page.value = told[number * 5 : (number + 1) * 5] if page is not pages[-1] else told[number * 5 :]
            yield page

    w.graph.delta = shuffled  # type: ignore[method-assign]
    ids = await many(w, 24)
    inbox = await Folder(w).open()
    before = await inbox.uids()
    await busy(w, ids)
    await outlook(w, "move", ids[5], folder="archive")
    await outlook(w, "move", ids[5], folder="inbox")
    await outlook(w, "patch", ids[5], isRead=True)
    assert await eventually(inbox.agrees)
    assert {id: uid for id, uid in (await inbox.uids()).items() if id in before}.items() <= before.items()


@pytest.mark.parametrize("seed", range(2))
async def test_own_writes_beside_outlooks_are_never_undone(w: World, seed: int) -> None:
    """Invariant 9: what was stored last from here is never seen to flip back, and in the end both sides agree."""
    await w.rules(delta_expand_refused=False)  # whole rows need no second look: they are dangerous
    rng = random.Random(seed)
    ids = await many(w, 5)
    inbox = await Folder(w).open()
    for _ in range(4):
        message = MessageId(rng.choice(ids))
        await outlook(w, "patch", message, isRead=rng.random() < 0.5)
        await asyncio.sleep(0.03)
        [row] = (await w.store.find(inbox.row.key, [message])).values()
        change = FlagChange(rng.choice([FlagOp.ADD, FlagOp.REMOVE]), FLAGGED)
        await store_flags(w.ctx, inbox.row, [row], change)
        for _ in range(8):  # first nothing, then Outlook's change without ours, then both
            await inbox.sync.poll(max_age=0)
            [now] = (await w.store.find(inbox.row.key, [message])).values()
            assert (SystemFlag.FLAGGED in now.flags.system) is (change.op is FlagOp.ADD)
            await asyncio.sleep(0.02)
    assert await eventually(inbox.agrees)


# -- folders that change while they are synced --


@pytest.fixture
async def s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    async def nothing(_: object) -> None:
        return None

    monkeypatch.setattr("gateway.mailbox.account.MailboxAccount._keep_warm", nothing)
    async with account_world(tmp_path, language="de", limits=DEFAULT_LIMITS, **LAGS) as site:
        yield site


async def a_folder(s: Site, count: int, name: str = "Ablage") -> str:
    identity = s.outlook.make_folder(name)
    for number in range(count):
        await s.outlook.deliver(mime(f"{name} {number}"), identity)
    return identity


async def login(s: Site) -> Client:
    client = await s.connect()
    (await client.do(f'LOGIN "{ALICE}" "demo"')).ok()
    (await client.do('LIST "" "*"')).ok()
    return client


@pytest.mark.parametrize("tick", [0, 1, 2])
async def test_a_folder_renamed_and_moved_while_it_is_synced(s: Site, tick: int) -> None:
    await a_folder(s, 3)
    client = await login(s)
    async with ticking(s) as ticks:
        select = asyncio.ensure_future(client.do("SELECT Ablage"))
        await asyncio.sleep(0.05)
        await ticks.times(tick)
        s.outlook.rename_folder("Ablage", "Anderswo")
        s.outlook.move_folder("Anderswo", "archive")
        answer = (await ticks.until(select)).ok()
    assert answer.having(b"3 EXISTS")
    validity = answer.number(rb"UIDVALIDITY (\d+)")
    (await s.cold()).hierarchy.forget_age()
    again = (await client.do("SELECT Archiv/Anderswo")).ok()
    assert again.number(rb"UIDVALIDITY (\d+)") == validity
    assert again.having(b"3 EXISTS")


@pytest.mark.parametrize("tick", [0, 1, 2])
@pytest.mark.parametrize("anew", [False, True])
async def test_a_folder_destroyed_while_it_is_synced(s: Site, tick: int, anew: bool) -> None:
    """Nobody waits for ever, nobody is shown what is gone; one of the same name made anew is another mailbox."""
    await a_folder(s, 3)
    client = await login(s)
    account = await s.cold()
    before = account.hierarchy.tree.find("Ablage").row.uid_validity
    async with ticking(s) as ticks:
        select = asyncio.ensure_future(client.do("SELECT Ablage"))
        await asyncio.sleep(0.05)
        await ticks.times(tick)
        s.outlook.destroy_folder("Ablage")
        if anew:
            s.outlook.make_folder("Ablage")
        answer = await ticks.until(select)
    if not answer.tagged.startswith(b"OK"):
        assert answer.tagged.startswith(b"NO") and not anew
    elif not client.closed:
        account.hierarchy.forget_age()
        again = await client.do("SELECT Ablage")
        if anew:
            assert again.ok().having(b"0 EXISTS") and again.number(rb"UIDVALIDITY (\d+)") > before
        else:
            again.no(b"NONEXISTENT")
    await account._fresh(0.0)
    keys = {row.key for row in account.hierarchy.rows.values()}
    assert {sync._key for sync in account._syncs.values()} <= keys


async def test_a_mailbox_in_another_language(s: Site) -> None:
    """Special folders are known by what they are; a name somebody gave one of them is just a name."""
    await s.outlook.deliver(mime("eins"))
    client = await login(s)
    assert (await client.do("SELECT INBOX")).ok().having(b"1 EXISTS")
    s.outlook.rename_folder("inbox", "Eingang")
    s.outlook.rename_folder("sentitems", "Raus")
    (await s.cold()).hierarchy.forget_age()
    listed = b"\n".join((await client.do('LIST "" "*"')).ok().lines)
    assert b"Eingang" not in listed and b'\\Sent) "/" Raus' in listed
    await s.outlook.deliver(mime("zwei"))
    await asyncio.sleep(0.15)
    assert (await s.look(client)).ok().having(b"2 EXISTS")


async def test_a_change_between_the_listing_and_the_walk_beside_it(s: Site) -> None:
    """The walk's first request was refused (`$expand`), so that it began a round trip behind the listing."""
    await a_folder(s, 3)
    client = await login(s)
    async with ticking(s) as ticks:
        select = asyncio.ensure_future(client.do("SELECT Ablage"))
        await asyncio.sleep(0.05)
        await ticks.times(1)
        [_, row, _] = await s.outlook.listing(s.outlook.box.folder_id(s.outlook.folder("Ablage").number))
        await s.outlook.patch(row["id"], isRead=True)
        await asyncio.sleep(0.15)  # long enough ago for the walk to know, and the next delta not to say
        (await ticks.until(select)).ok()
    assert b"Seen" in b"".join((await client.do("FETCH 1:* (FLAGS)")).ok().lines)


# -- the first sync of many, while mail comes and goes --


@pytest.mark.parametrize("seed", [0])
async def test_mail_that_comes_and_goes_amid_a_first_sync(tmp_path: Path, seed: int) -> None:
    """Pages by number shift; the walk beside them is the truth; no message is lost, doubled, or shown that is gone."""
    rng = random.Random(seed)
    async with account_world(tmp_path, messages=2_300, limits=DEFAULT_LIMITS, **LAGS) as s:
        account = await s.cold()
        assert account._background is not None
        account._background.cancel()
        await account.hierarchy.refresh(max_age=0)
        sync = account.sync(account.hierarchy.tree.find("INBOX").row)
        async with ticking(s) as ticks:
            ready = asyncio.ensure_future(sync.ready())
            for _ in range(9):
                await ticks.times(1)
                for row in rng.sample(await s.outlook.listing(), 5):
                    await s.outlook.delete(row["id"])
                await s.outlook.deliver(mime(f"new {rng.random()}"))
            await ticks.until(ready)
            first = await s.store.ids(await key_of(s))
            await ticks.until(sync.walked())

        async def agrees() -> bool:
            await sync.poll(max_age=0)
            return set(await s.store.ids(await key_of(s))) == {row["id"] for row in await s.outlook.listing()}

        assert await eventually(agrees)
        after = await s.store.ids(await key_of(s))
        assert {id: uid for id, uid in after.items() if id in first}.items() <= first.items()
        assert len(set(after.values())) == len(after)


async def key_of(s: Site) -> int:
    return (await (await s.cold()).row("INBOX")).key


async def test_a_large_folder_is_open_before_its_walk_has_ended(tmp_path: Path) -> None:
    """Its messages can be read, marked and expunged meanwhile; what came in the meantime is heard at the end."""
    async with account_world(tmp_path, messages=2_300, limits=DEFAULT_LIMITS, **LAGS) as s:
        await s.outlook.limits(page_delta=100)
        client = await login(s)
        (await client.do("SELECT INBOX")).ok()
        account = await s.cold()
        sync = account.sync(await account.row("INBOX"))
        assert sync._walking
        await s.outlook.deliver(mime("in the meantime"))
        (await client.do("STORE 1 +FLAGS.SILENT (\\Flagged \\Deleted)")).ok()
        (await client.do("NOOP")).ok()
        (await client.do("EXPUNGE")).ok()
        assert not sync._walking
        assert len(client.uids) >= 2_299

        async def heard() -> bool:
            (await s.look(client)).ok()
            ours = await s.store.ids(await key_of(s))
            return set(ours) == {row["id"] for row in await s.outlook.listing()}

        assert await eventually(heard)
        assert len(client.uids) == 2_300


async def test_a_folder_that_is_gone_leaves_no_sync_behind(w: World) -> None:
    inbox = await Folder(w).open()
    archive = inbox.hierarchy.tree.find("Archive").row
    held: FolderSync = inbox.syncs.of(archive)
    w.ctx.folder_keys.discard(archive.key)
    await inbox.syncs.prune()
    assert held not in inbox.syncs.values()
    assert inbox.sync in inbox.syncs.values()


async def test_a_hierarchy_that_was_cut_before_special_folders_were_named_is_read_again(w: World) -> None:
    """Another process, or the next start, does not take it for whole: INBOX would be missing for ever."""
    fault = {"method": "POST", "path": "batch", "mode": "error", "status": 403, "count": 1}
    (await w.control.post("faults", json=fault)).raise_for_status()
    with pytest.raises(Exception, match="403"):
        await Hierarchy(w.ctx).refresh(max_age=0)
    again = Hierarchy(w.ctx)
    await again.load()
    await again.refresh(max_age=60)
    assert again.tree.get("INBOX") is not None
