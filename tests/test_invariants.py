"""The ten invariants of the design, each against emulator, store and hub as they are."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import GatewayError, Unavailable
from gateway.core.types import FlagChange, FlagOp, Flags, ModSeq, SystemFlag, Uid
from gateway.mailbox.account import MailboxAccount
from gateway.mailbox.folder import OpenFolder
from gateway.mailbox.values import Need
from gateway.mailbox.work import settled
from tests.account_world import ALICE, Client, Site, account_world, fetched, mime

SEEN = FlagChange(FlagOp.ADD, Flags(SystemFlag.SEEN))
UNSEEN = FlagChange(FlagOp.REMOVE, Flags(SystemFlag.SEEN))
DELETED = FlagChange(FlagOp.ADD, Flags(SystemFlag.DELETED))


@pytest.fixture
async def s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr("gateway.mailbox.creating._LOOKS", (0.05, 0.1))
    monkeypatch.setattr("gateway.mailbox.sending.outcome.LOOKS", (0.0, 0.05, 0.1))
    monkeypatch.setattr("gateway.mailbox.sending.steps._LOOKS", (0.05, 0.1))
    async with account_world(tmp_path) as site:
        yield site


async def filled(s: Site, count: int = 4) -> tuple[MailboxAccount, OpenFolder, list[str]]:
    ids = [
        await s.outlook.deliver(mime(f"m{n}"), received=f"2026-01-{n + 1:02}T00:00:00Z") for n in range(count)
    ]
    account = await s.account()
    return account, await account.open("INBOX", read_only=False), ids


async def agrees(s: Site, account: MailboxAccount, name: str = "INBOX") -> bool:
    """After a sync, store and Graph hold the same messages with the same flags, each once."""
    row = await account.row(name)
    await account.sync(row).ready()
    account.sync(row).stale()
    await account.sync(row).poll(max_age=0)
    listed = await s.outlook.listing(row.id)
    local = await s.store.local(account.ctx.account, [m["id"] for m in listed])
    spent = {id for id, state in local.items() if state.undeleted}  # what an EXPUNGE left behind
    theirs = {
        m["id"]: (m["isRead"], m["flag"] == "flagged", m["deleted"] == "1" and m["id"] not in spent)
        for m in listed
    }
    ours = {
        m.id: tuple(
            bit in m.flags.system for bit in (SystemFlag.SEEN, SystemFlag.FLAGGED, SystemFlag.DELETED)
        )
        for m in await s.store.messages(row.key)
    }
    assert theirs == ours
    return True


# -- 1 --


async def test_invariant_1_uids_and_modseqs_become_visible_in_the_order_they_are_allocated(s: Site) -> None:
    """Appends, copies, moves and arrivals at once; a bystander never sees a UID below one it saw before, and what
    it is told piece by piece is all there is."""
    account, inbox, _ = await filled(s, 8)
    archive = await account.row("Archive")
    told: list[Uid] = []

    async def append(number: int) -> None:
        result = await s.append("Archive", mime(f"appended {number}"), Flags(), account=account)
        told.append(result.uids[0])

    async def transfer(uid: Uid, work: Callable[..., Awaitable[Any]]) -> None:
        told.extend((await work([uid], "Archive")).target)

    async def arrive(number: int) -> None:
        await s.outlook.deliver(mime(f"arrived {number}"), "archive")
        account.sync(archive).stale()
        await account.sync(archive).poll(max_age=0)

    work = [*(append(n) for n in range(6)), *(arrive(n) for n in range(4))]
    work += [transfer(Uid(uid), inbox.copy if uid % 2 else inbox.move) for uid in range(1, 9)]
    random.Random(7).shuffle(work)
    folder = await account.open("Archive", read_only=True)
    seen, modseq = list(folder.view.uids), 0
    everything: dict[int, int] = {}
    done = asyncio.ensure_future(asyncio.gather(*work))
    while not done.done() or folder.view.pending():
        folder.view.drain(expunge=True)
        now = list(folder.view.uids)
        assert now[: len(seen)] == seen and now == sorted(now)
        delta = await s.store.since(archive.key, ModSeq(modseq))
        assert delta.modseq >= modseq
        assert all(row.modseq > modseq for row in delta.rows)
        everything |= {row.uid: row.modseq for row in delta.rows}
        seen, modseq = now, delta.modseq
        await asyncio.sleep(0)
    await done
    account.sync(archive).stale()
    await account.sync(archive).poll(max_age=0)
    stored = {row.uid: row.modseq for row in await s.store.messages(archive.key)}
    delta = await s.store.since(archive.key, ModSeq(modseq))
    everything |= {row.uid: row.modseq for row in delta.rows}
    assert everything == stored
    assert len(told) == len(set(told)) == 14 and set(told) <= set(stored)
    assert len(stored) == 18


async def test_invariant_1_a_reserved_uid_that_was_overtaken_is_not_used(
    s: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A MOVE is done in Graph; before its rows get their UIDs, an APPEND becomes visible."""
    account, inbox, _ = await filled(s, 2)
    watcher = await account.open("Archive", read_only=True)
    apply = s.store.apply

    async def overtaken(*words: Any, **more: Any) -> Any:
        monkeypatch.setattr(s.store, "apply", apply)
        await s.append("Archive", mime("quick"), Flags(), account=account)
        watcher.view.drain(expunge=True)
        return await apply(*words, **more)

    monkeypatch.setattr(s.store, "apply", overtaken)
    result = await inbox.move([Uid(1), Uid(2)], "Archive")
    (seen,) = watcher.view.uids
    watcher.view.drain(expunge=True)
    assert list(watcher.view.uids) == [seen, *result.target]
    assert all(uid > seen for uid in result.target)


# -- 2 --


@pytest.mark.parametrize("how", ["append", "copy", "move"])
async def test_invariant_2_what_is_being_created_is_not_shown_before_it_is_whole(
    s: Site, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Delta shows it before Graph's answer was taken in: its UID, octets and flags are its creator's to give."""
    account, inbox, _ = await filled(s, 1)
    watcher = await account.open("Archive", read_only=True)
    sync = account.sync(await account.row("Archive"))
    method = {"append": "create"}.get(how, how)
    original = getattr(account.ctx.graph, method)

    async def watched(*args: Any, **kwargs: Any) -> Any:
        answer = await original(*args, **kwargs)
        sync.stale()
        await sync.poll(max_age=0)
        assert watcher.view.drain(expunge=True) == []
        return answer

    monkeypatch.setattr(account.ctx.graph, method, watched)
    if how == "append":
        uid = (await s.append("Archive", mime("whole"), Flags(SystemFlag.SEEN), account=account)).uids[0]
    else:
        (uid,) = (await getattr(inbox, how)([Uid(1)], "Archive")).target
    watcher.view.drain(expunge=True)
    assert list(watcher.view.uids) == [uid]
    assert await agrees(s, account, "Archive")


async def test_invariant_2_graph_then_store_then_hub_then_client(
    s: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, folder, _ = await filled(s)
    order: list[str] = []

    def spy(owner: Any, name: str, word: str) -> None:
        original = getattr(owner, name)
        if asyncio.iscoroutinefunction(original):

            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                result = await original(*args, **kwargs)
                order.append(word)
                return result
        else:

            def wrapped(*args: Any, **kwargs: Any) -> Any:
                order.append(word)
                return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapped)

    for method in ("patch", "move", "copy", "create"):
        spy(account.ctx.graph, method, "graph")
    spy(account.ctx.store, "apply", "store")
    spy(s.hubs, "refresh", "hub")
    for work in (
        lambda: folder.store([Uid(1)], SEEN),
        lambda: folder.copy([Uid(1)], "Archive"),
        lambda: folder.move([Uid(2)], "Archive"),
        lambda: s.append("INBOX", mime("appended"), Flags(SystemFlag.SEEN), account=account),
    ):
        order.clear()
        await work()
        assert order[0] == "graph" and order[-1] == "hub"
        assert "".join(word[0] for word in order) in ("gsh", "gshsh"), order


CREATORS: dict[str, tuple[str, str, Callable[[Site, MailboxAccount, OpenFolder], Awaitable[Any]]]] = {
    "append": (
        "POST",
        "/mailFolders/[^/]+/messages",
        lambda s, a, f: s.append("Archive", mime("appended"), Flags(SystemFlag.SEEN), account=a),
    ),
    "draft": ("POST", "/messages$", lambda s, a, f: s.append("Drafts", mime("draft"), Flags(), account=a)),
    "copy": ("POST", "/copy", lambda s, a, f: f.copy([Uid(1), Uid(2)], "Archive")),
    "move": ("POST", "/move", lambda s, a, f: f.move([Uid(1), Uid(2)], "Archive")),
    "multiappend": (
        "POST",
        "batch$|/messages$",
        lambda s, a, f: s.append_all("Archive", [mime("several 1"), mime("several 2")], account=a),
    ),
    "replace": ("POST", "/move", lambda s, a, f: s.replace(f, 3, mime("replacement"), account=a)),
    "expunge": ("POST", "/move", lambda s, a, f: f.expunge(None)),
    "send": ("POST", "/send$", lambda s, a, f: s.submit(mime("sent", sender=ALICE), [ALICE], account=a)),
    "rename": ("POST", "/move", lambda s, a, f: a.rename("Tree/Leaf", "Other/New")),
}


async def prepared(s: Site) -> tuple[MailboxAccount, OpenFolder]:
    account, folder, _ = await filled(s)
    await account.create("Tree/Leaf")
    await account.create("Other")
    await folder.store([Uid(1), Uid(2)], DELETED)
    return account, folder


@pytest.mark.parametrize("name", CREATORS)
async def test_invariant_2_what_creates_or_takes_two_calls_has_a_journal_row_first_and_holds_no_lock(
    s: Site, name: str
) -> None:
    account, folder = await prepared(s)
    method, path, work = CREATORS[name]
    s.graph.limits = replace(s.limits, graph_timeout=0.2)
    await s.outlook.fault(method, path, "hang")
    task = asyncio.ensure_future(work(s, account, folder))
    for _ in range(100):
        await asyncio.sleep(0.01)
        rows = [*await s.store.journal(account.ctx.account), *await s.store.submissions(account.ctx.account)]
        if [r for r in await s.outlook.log() if r["method"] == method and re.search(path, r["path"])] or rows:
            break
    assert rows, "Graph was asked before there was a journal row"
    async with asyncio.timeout(0.5):  # Graph is still silent; the store and other sessions are not
        await s.store.subscribe(account.ctx.account, "Elsewhere", True)
        await s.store.apply((await account.row("INBOX")).key, (), ())
    await asyncio.wait([task], timeout=20)
    assert task.done()
    task.exception()


@pytest.mark.parametrize("point", ["graph", "store"])
@pytest.mark.parametrize("name", CREATORS)
async def test_invariant_2_a_crash_in_between_is_healed_by_the_next_start(
    s: Site, name: str, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`graph`: Graph did it and nobody heard of it; `store`: it was heard, and the store never was told."""
    account, folder = await prepared(s)
    method, path, work = CREATORS[name]

    async def dead(*_args: Any, **_kwargs: Any) -> Any:
        raise Unavailable("the process is dead")

    if point == "graph":
        await s.outlook.fault(method, path, "commit-then-fail", status=0)
        for each in ("get", "find_by_message_id", "get_folder", "patch", "rename_folder", "move_folder"):
            if each != "move_folder" or name != "rename":
                monkeypatch.setattr(type(account.ctx.graph), each, dead)
    for each in ("apply", "journal_done", "adopt_blob", "rename_subscriptions"):
        monkeypatch.setattr(s.store, each, dead)
    task = asyncio.ensure_future(work(s, account, folder))
    await asyncio.wait([task], timeout=20)
    assert task.done()
    failed = task.exception()
    assert failed is None or isinstance(failed, GatewayError), failed
    await settled()
    monkeypatch.undo()
    await s.restart()
    account = await s.account()
    for each in ("INBOX", "Archive", "Drafts", "Sent Items", "Deleted Items"):
        assert await agrees(s, account, each), each
    everything = [m["subject"] for f in ("inbox", "archive", "drafts") for m in await s.outlook.listing(f)]
    assert len(everything) == len(set(everything)), everything  # nothing twice
    assert await s.store.journal(account.ctx.account) == []
    assert [row.state for row in await s.store.submissions(account.ctx.account)] in ([], ["sent"])
    account.hierarchy.forget_age()
    listed = {info.name for info in await account.folders()}
    assert ("Tree/Leaf" in listed) != ("Other/New" in listed)
    assert "Other/Leaf" not in listed


# -- 3 --


def no_expunge(lines: list[bytes]) -> None:
    assert not [line for line in lines if line.endswith(b" EXPUNGE")], lines


async def chatter(client: Client, rng: random.Random, steps: int) -> None:
    """Random commands; the client's own book fails where the numbers it is told do not hold."""
    for step in range(steps):
        count = len(client.uids)
        pick = rng.randrange(7)
        if pick == 0 or not count:
            (await client.do("NOOP")).ok()
        elif pick == 1:
            no_expunge((await client.do("FETCH 1:* (UID FLAGS)")).lines)
        elif pick == 2:
            answer = await client.do(f"STORE {rng.randint(1, count)} {rng.choice('+-')}FLAGS (\\Seen)")
            no_expunge(answer.lines)
        elif pick == 3:
            tags = [client.start(f"FETCH {rng.randint(1, count)} (UID)") for _ in range(4)]
            for tag in tags:
                no_expunge((await client.finish(tag)).lines)
        elif pick == 4:
            await client.do(f"STORE {rng.randint(1, count)} +FLAGS.SILENT (\\Deleted)")
            (await client.do("EXPUNGE")).ok()
        elif pick == 5:
            await client.do("APPEND INBOX {}", mime(f"{id(client)}-{step}"))
        else:
            no_expunge((await client.do("SEARCH ALL")).lines)


@pytest.mark.parametrize("seed", [1, 2])
async def test_invariant_3_numbers_move_only_when_the_client_is_told(s: Site, seed: int) -> None:
    """Three clients and Outlook at once. In the end each client's book is what the mailbox is."""
    _, _, ids = await filled(s, 12)
    clients = [await s.client() for _ in range(3)]
    for client in clients:
        await client.select()
        await client.do("FETCH 1:* (UID FLAGS)")

    async def outlook() -> None:
        rng = random.Random(seed)
        for identity in rng.sample(ids, 4):
            await s.outlook.move(identity, "archive")
            await s.outlook.deliver(mime(f"outlook {identity}"))
            await asyncio.sleep(0.05)

    chats = [chatter(client, random.Random(seed * 10 + n), 14) for n, client in enumerate(clients)]
    await asyncio.gather(outlook(), *chats)
    for client in clients:
        (await s.look(client)).ok()
    for client in clients:
        (await client.do("NOOP")).ok()
    account = await s.account()
    row = await account.row("INBOX")
    truth = {m.uid: m.flags.system for m in await s.store.messages(row.key)}
    assert {m["id"] for m in await s.outlook.listing()} == {m.id for m in await s.store.messages(row.key)}
    for client in clients:
        before = dict(client.flags)
        (await client.do("FETCH 1:* (UID FLAGS)")).ok()
        assert client.uids == sorted(truth)
        assert all(client.flags[n] == flags for n, flags in before.items())  # nothing was left untold


async def test_invariant_3_a_laggard_keeps_its_numbers_and_its_messages(s: Site) -> None:
    """Expunged rows stay until every view has drained past them."""
    account, mine, _ = await filled(s, 6)
    laggard = await account.open("INBOX", read_only=True)
    for uid in (2, 4):
        await mine.store([Uid(uid)], DELETED)
        await mine.expunge([Uid(uid)])
        mine.view.drain(expunge=True)
    assert list(laggard.view.uids) == [1, 2, 3, 4, 5, 6]
    shown = [row.uid async for batch in laggard.rows([range(6)], Need.INDEX) for row in batch]
    assert shown == [1, 2, 3, 4, 5, 6]
    laggard.view.drain(expunge=False)
    assert laggard.view.seq(3) == 3
    laggard.view.drain(expunge=True)
    assert laggard.view.seq(3) == 2 and list(laggard.view.uids) == [1, 3, 5, 6]


# -- 4 --


async def test_invariant_4_the_index_shows_only_states_the_store_had(s: Site) -> None:
    """Two messages changed by one write are never seen half changed, however the sessions interleave."""
    account, mine, _ = await filled(s, 4)
    folder = await account.open("INBOX", read_only=False)
    pair = [Uid(1), Uid(2)]
    stop = asyncio.Event()

    async def write() -> None:
        for turn in range(6):
            await folder.store(pair, UNSEEN if turn % 2 else SEEN)
        stop.set()

    async def watch() -> int:
        looks = 0
        while not stop.is_set():
            batch = [row async for rows in mine.rows([range(2)], Need.INDEX) for row in rows]
            assert batch[0].flags == batch[1].flags
            looks += 1
            await asyncio.sleep(0)
        return looks

    _, looks = await asyncio.gather(write(), watch())
    assert looks > 20


async def test_invariant_4_a_client_that_does_not_read_holds_nobody_up(s: Site) -> None:
    """Nobody writes to a socket under the hub's lock."""
    await s.outlook.deliver(mime("big", "x" * 70 + "\n" * 2) + b"y" * 4_000_000)
    slow, quick = await s.client(), await s.client()
    await slow.select()
    await quick.select()
    for _ in range(12):
        slow.start("FETCH 1 (BODY.PEEK[])")
    await asyncio.sleep(0.3)
    for turn in range(3):
        async with asyncio.timeout(5):
            (await quick.do(f"STORE 1 {'+-'[turn % 2]}FLAGS (\\Flagged)")).ok()
    await s.outlook.deliver(mime("news"))
    async with asyncio.timeout(5):
        assert (await s.look(quick)).ok().having(b"2 EXISTS")


# -- 5 --

COMMANDS = [
    "NOOP", 'LIST "" "*"', 'LSUB "" "*"', "STATUS Archive (MESSAGES UIDNEXT)", "CREATE Fresh", "CHECK",
    "FETCH 1 (BODY.PEEK[])", "FETCH 1:* (ENVELOPE)", "UID FETCH 1:* (RFC822.SIZE)", "SEARCH BODY zebra",
    "STORE 1 +FLAGS (\\Flagged)", "STORE 1 +FLAGS.SILENT (Red)", "COPY 1 Archive", "MOVE 1 Archive",
    "STORE 2 +FLAGS (\\Deleted)", "EXPUNGE", "UID EXPUNGE 2", "RENAME Archive2 Archive3", "DELETE Fresh",
    "SELECT Archive", "EXAMINE INBOX", "UNSELECT", "CLOSE", "FETCH 1 (FLAGS)", "XYZZY", "SELECT Nowhere",
]  # fmt: skip
FAILURES: list[dict[str, Any]] = [
    {"mode": "error", "status": 503},
    {"mode": "error", "status": 500, "code": "ErrorInternalServerError"},
    {"mode": "error", "status": 404},
    {"mode": "error", "status": 403},
    {"mode": "error", "status": 400},
    {"mode": "error", "status": 429, "retry_after": 60},
    {"mode": "error", "status": 502, "body": "<html>Bad gateway</html>"},
    {"mode": "error", "status": 200, "body": "<html>Sign in</html>"},
    {"mode": "error", "status": 401},
    {"mode": "reset"},
    {"mode": "cut"},
    {"mode": "commit-then-fail", "status": 0},
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: f"{f['mode']}-{f.get('status', '')}")
async def test_invariant_5_every_command_gets_one_tagged_reply_whatever_graph_does(
    tmp_path: Path, failure: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.mailbox.creating._LOOKS", (0.01,))
    monkeypatch.setattr("gateway.graph.client.BACKOFF", (0.01, 0.02))
    async with account_world(tmp_path) as s:
        await filled(s, 3)
        client = await s.client()
        await client.select()
        s.graph.limits = replace(s.limits, graph_timeout=0.3, graph_patience=0.05)
        await s.outlook.fault("*", "", count=None, **failure)
        for command in COMMANDS:
            answer = await client.do(command)  # reads up to its own tag; a second one would break the next
            assert answer.tagged[:3] in (b"OK ", b"NO ", b"BAD"), answer
        answer = await client.do("APPEND INBOX {}", mime("appended"))
        assert answer.tagged[:3] in (b"OK ", b"NO ")
        await s.outlook.heal()
        s.graph.limits = s.limits
        s.graph.scheduler(ALICE)._paused_until = 0.0  # a Retry-After of a minute need not be sat out
        s.graph.scheduler(ALICE)._dispatch()
        (await client.do("NOOP")).ok()
        (await client.do("SELECT INBOX")).ok()
        assert (await client.do("FETCH 1 (FLAGS)")).ok().lines
        assert s.server.counters.bugs == 0


async def test_invariant_5_a_fault_of_ours_is_answered_too(s: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(s, 1)
    client = await s.client()
    await client.select()

    async def broken(*_args: object) -> None:
        raise ZeroDivisionError("secret text")

    monkeypatch.setattr(OpenFolder, "store", broken)
    answer = (await client.do("STORE 1 +FLAGS (\\Seen)")).no(b"SERVERBUG")
    assert b"secret" not in answer.tagged
    (await client.do("NOOP")).ok()


async def test_invariant_5_pipelined_commands_are_answered_in_order(s: Site) -> None:
    await filled(s, 3)
    client = await s.client()
    await client.select()
    tags = [
        client.start(command) for command in ("NOOP", "FETCH 1 (FLAGS)", "BOGUS", "FETCH 9 (FLAGS)", "CHECK")
    ]
    kinds = [(await client.finish(tag)).tagged.split()[0] for tag in tags]
    assert kinds[:3] == [b"OK", b"OK", b"BAD"] and kinds[4] == b"OK"


# -- 6 --


async def test_invariant_6_what_graph_cannot_hold_survives_a_full_resync(s: Site) -> None:
    """0x1081 holds one verb: \\Answered and $Forwarded at once are ours to keep."""
    account, folder, _ = await filled(s, 2)
    wanted = Flags(SystemFlag.ANSWERED, frozenset({b"$Forwarded", b"$MDNSent"}))
    for flag in (Flags(SystemFlag.ANSWERED), Flags(keywords=frozenset({b"$Forwarded", b"$MDNSent"}))):
        await folder.store([Uid(1)], FlagChange(FlagOp.ADD, flag))
    row = await account.row("INBOX")

    async def flags(name: str = "INBOX") -> set[Flags]:
        key = (await account.row(name)).key
        return {m.flags for m in await s.store.messages(key) if m.flags.keywords}

    assert await flags() == {wanted}
    await s.outlook.expire_delta()
    assert await agrees(s, account)
    assert await flags() == {wanted}
    everything = await s.store.messages(row.key)
    await s.store.apply(row.key, (), [m.id for m in everything])  # the folder's rows are lost
    await s.outlook.expire_delta()
    assert await agrees(s, account)
    assert await flags() == {wanted}
    again = await account.open("INBOX", read_only=False)
    uid = next(m.uid for m in await s.store.messages(row.key) if m.flags == wanted)
    await again.copy([uid], "Archive")
    assert await flags("Archive") == {wanted}
    await again.move([uid], "Junk Email")
    assert await flags("Junk Email") == {wanted}
    (identity,) = [m["id"] for m in await s.outlook.listing("junkemail")]
    await s.outlook.move(identity, "inbox")  # Outlook takes it back
    await s.restart()
    account = await s.account()
    assert await agrees(s, account, "Junk Email")
    assert await agrees(s, account)
    assert await flags() == {wanted}


# -- 7 --


async def test_invariant_7_uidvalidity_and_uids_survive_everything_but_loss(s: Site) -> None:
    _, folder, _ = await filled(s, 5)
    before = (folder.uid_validity, list(folder.view.uids))

    async def now() -> tuple[int, list[int]]:
        account = await s.account()
        account.hierarchy.forget_age()
        row = await account.row("INBOX")
        account.sync(row).stale()
        opened = await account.open("INBOX", read_only=True)
        return opened.uid_validity, list(opened.view.uids)

    for _ in range(4):  # the three dresses of a dead token (trap 11), for folders and messages at once
        await s.outlook.expire_delta()
        assert await now() == before
    await s.outlook.limits(quota_bytes=1)
    await s.outlook.expire_delta()
    assert await now() == before
    await s.outlook.limits(quota_bytes=100 * 1024**3)
    await s.restart()
    assert await now() == before
    await s.outlook.rules(delta_replays=True, delta_empty_pages=True)
    assert await now() == before


async def test_invariant_7_a_uid_once_expunged_is_never_revived(s: Site) -> None:
    account, folder, ids = await filled(s, 3)
    await s.outlook.move(ids[1], "archive")
    await folder.poll(force=True)
    folder.view.drain(expunge=True)
    assert list(folder.view.uids) == [1, 3]
    await s.outlook.move(ids[1], "inbox")
    await folder.poll(force=True)
    folder.view.drain(expunge=True)
    assert list(folder.view.uids)[:2] == [1, 3]
    assert folder.view.uids[2] > 1000
    await folder.move([Uid(1)], "Archive")
    archive = await account.open("Archive", read_only=False)
    await archive.move([Uid(archive.view.uids[-1])], "INBOX")
    await s.outlook.expire_delta()
    await s.restart()
    account = await s.account()
    again = await account.open("INBOX", read_only=True)
    assert 1 not in again.view.uids and 2 not in again.view.uids
    assert again.view.count == 3


# -- 8 --


async def test_invariant_8_octets_of_a_message_agree_for_ever(tmp_path: Path) -> None:
    """Every shape of the corpus: whole = header + text = partials = size; and the same after Exchange renders a
    Keywords header into it (trap 29), the caches are lost and the process is another."""
    async with account_world(tmp_path, messages=100) as s:
        client = await s.client()
        await client.select()
        seen: dict[int, tuple[bytes, bytes, int]] = {}
        for uid in range(1, 101, 2):
            whole = await fetched(client, uid)
            header = await fetched(client, uid, "BODY.PEEK[HEADER]")
            text = await fetched(client, uid, "BODY.PEEK[TEXT]")
            assert header + text == whole, uid
            cut = max(1, len(whole) // 3)
            pieces = [
                await fetched(client, uid, f"BODY.PEEK[]<{at}.{cut}>") for at in range(0, len(whole), cut)
            ]
            assert b"".join(pieces) == whole
            assert len(whole) == (await client.do(f"UID FETCH {uid} (RFC822.SIZE)")).number(rb"SIZE (\d+)")
            fields = await fetched(client, uid, "BODY.PEEK[HEADER.FIELDS (SUBJECT FROM MESSAGE-ID)]")
            assert all(line in header for line in fields.split(b"\r\n"))
            seen[uid] = (whole, fields, len(whole))
        for m in (await s.outlook.listing())[:60]:
            await s.outlook.patch(m["id"], categories=["Blue category"])
        await s.restart()
        client = await s.client()
        await client.select()
        for uid, (whole, fields, size) in seen.items():
            assert (await client.do(f"UID FETCH {uid} (RFC822.SIZE)")).number(rb"SIZE (\d+)") == size
            assert await fetched(client, uid, "BODY.PEEK[HEADER.FIELDS (SUBJECT FROM MESSAGE-ID)]") == fields
            assert await fetched(client, uid) == whole, uid


async def test_invariant_8_what_was_told_from_a_listing_is_not_changed_by_the_octets(s: Site) -> None:
    """HEADER.FIELDS and ENVELOPE were pinned first, from the list; later BODY[] does not move them."""
    await filled(s, 3)
    client = await s.client()
    await client.select()
    ask = "FETCH 1:3 (ENVELOPE BODY.PEEK[HEADER.FIELDS (SUBJECT DATE FROM TO)])"
    before = sorted((await client.do(ask)).ok().lines)
    found = (await client.do("SEARCH SUBJECT m1 FROM eve")).lines
    await client.do("FETCH 1:3 (BODY.PEEK[])")
    assert sorted((await client.do(ask)).ok().lines) == before
    assert (await client.do("SEARCH SUBJECT m1 FROM eve")).lines == found != [b"* SEARCH"]


# -- 9 --


@pytest.mark.parametrize("partial", [True, False])
async def test_invariant_9_an_own_write_beats_an_older_delta_row(tmp_path: Path, partial: bool) -> None:
    """Delta tells the state before our write for a while (trap 55): no session ever sees it flip back."""
    async with account_world(tmp_path, delta_lag_seconds=1.0) as s:
        await s.outlook.rules(
            delta_expand_refused=partial
        )  # whole rows need no second look: they are dangerous
        ids = [await s.outlook.deliver(mime(f"m{n}")) for n in range(3)]
        await asyncio.sleep(1.1)
        account = await s.account()
        folder = await account.open("INBOX", read_only=False)
        other = await account.open("INBOX", read_only=True)
        await s.outlook.patch(ids[0], flag={"flagStatus": "flagged"})  # delta tells of it after a second ...
        await asyncio.sleep(0.5)
        await folder.store([Uid(1), Uid(2)], SEEN)  # ... by a row that does not have this yet
        other.view.drain(expunge=True)
        for _ in range(8):
            await folder.poll(force=True)
            heard = [c.flags.system for c in other.view.drain(expunge=True)]  # type: ignore[union-attr]
            assert all(SystemFlag.SEEN in flags for flags in heard)
            await asyncio.sleep(0.12)
        await asyncio.sleep(1.1)
        await folder.poll(force=True)
        await s.outlook.forget()
        await folder.poll(force=True)
        assert other.view.drain(expunge=True) == []
        lines = await s.outlook.lines()
        assert all("/delta" in line for line in lines), lines
        await s.outlook.patch(ids[0], isRead=False)  # and what is newer than ours is believed
        await asyncio.sleep(1.1)
        await folder.poll(force=True)
        assert [(c.uid, c.flags.system) for c in other.view.drain(expunge=True)] == [(1, SystemFlag.FLAGGED)]  # type: ignore[union-attr]


async def test_invariant_9_the_echo_of_our_own_write_costs_nothing(s: Site) -> None:
    _, folder, _ = await filled(s, 3)
    await folder.store([Uid(1), Uid(2), Uid(3)], SEEN)
    await s.outlook.forget()
    await folder.poll(force=True)
    lines = await s.outlook.lines()
    assert lines and all("/delta" in line for line in lines), lines


# -- 10 --


@pytest.mark.parametrize("mode", ["error", "reset", "commit-then-fail"])
@pytest.mark.parametrize("name", [n for n in CREATORS if n != "rename"])
async def test_invariant_10_what_may_not_be_repeated_is_done_once(s: Site, name: str, mode: str) -> None:
    """After a lost answer the client tries again until it is told OK, as clients do: one effect, not two."""
    account, folder = await prepared(s)
    method, path, work = CREATORS[name]
    await s.outlook.fault(method, path, mode, status={"error": 503, "reset": None}.get(mode, 0), count=1)
    for _ in range(3):
        try:
            await work(s, account, folder)
        except GatewayError:
            continue
        break
    else:
        pytest.fail("never done")
    await s.outlook.heal()
    for each in ("INBOX", "Archive", "Drafts", "Sent Items"):
        assert await agrees(s, account, each), each
    subjects = [m["subject"] for m in await s.outlook.listing("archive")]
    inbox = [m["subject"] for m in await s.outlook.listing()]
    expected = {
        "append": ["appended"], "copy": ["m0", "m1"], "move": ["m0", "m1"], "multiappend": ["several 1", "several 2"],
    }.get(name, [])  # fmt: skip
    assert sorted(subjects) == expected
    assert [m["subject"] for m in await s.outlook.listing("drafts")] == (["draft"] if name == "draft" else [])
    assert inbox.count("sent") == (name == "send")
    assert ("m0" in inbox) == (name not in ("move", "expunge"))
    assert inbox.count("replacement") == (name == "replace") and ("m2" in inbox) == (name != "replace")
    deleted = [m["subject"] for m in await s.outlook.listing("deleteditems")]
    assert sorted(deleted) == {"expunge": ["m0", "m1"], "replace": ["m2"]}.get(name, [])


async def test_invariant_10_reads_patches_and_moves_are_repeated_unseen(
    s: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.graph.client.BACKOFF", (0.02, 0.05))
    _, folder, _ = await filled(s, 3)
    for path in (r"/\$value", r"\$batch", "/delta", "/messages/[^/]+$"):
        await s.outlook.fault("*", path, status=503, count=2)
    (row,) = [row async for rows in folder.rows([range(1)], Need.MIME) for row in rows]
    assert row.body is not None
    assert (await folder.store([Uid(1)], SEEN)).failed == []
    assert len((await folder.move([Uid(1)], "Archive")).target) == 1
    await folder.poll(force=True)


async def test_invariant_10_a_permanent_delete_is_not_repeated_blindly(s: Site) -> None:
    """Committed, answer lost: looked for, found gone, and asked for no second time."""
    s.settings = replace(s.settings, expunge="permanent")
    await s.restart()
    _, folder, ids = await filled(s, 2)
    await folder.store([Uid(1)], DELETED)
    await s.outlook.forget()
    await s.outlook.fault("POST", "/permanentDelete", "commit-then-fail", status=0)
    await folder.expunge(None)
    assert await s.outlook.calls("POST", "/permanentDelete") == 1
    assert await s.outlook.calls("DELETE", "/messages") == 0
    assert {m["id"] for m in await s.outlook.listing()} == {ids[1]}
