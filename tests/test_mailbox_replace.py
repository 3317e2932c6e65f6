"""REPLACE: the new message and not the old one, or the old one and not the new one, whatever fails and wherever the
process dies (RFC 8508 section 3.4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from crashing import CrashError, mortal
from mailbox_world import ACCOUNT, FIRST, PLAIN, World, incoming, world

from gateway.core.errors import GatewayError, NoPermission, OverQuota, Unavailable
from gateway.core.types import Flags, Uid
from gateway.graph.errors import Denied, OutcomeUnknown, QuotaExceeded, Unreachable
from gateway.mailbox.append import append, replace
from gateway.mailbox.journal import recover
from gateway.mailbox.replacing import Replaced

NEW = b"Subject: new\r\nMessage-ID: <new@example.com>\r\n\r\nnew\r\n"


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def old(w: World, folder: str = "inbox", *flags: bytes) -> str:
    await append(w.ctx, w.folder(folder), [incoming(PLAIN, Flags.of(flags), 1)])
    w.graph.calls.clear()
    return str((await w.rows(folder))[0].id)


async def put(w: World, id: str, *, into: str = "inbox", out_of: str = "inbox", copied: bool = False) -> Uid:
    replaced = Replaced(w.folder(out_of).id, id, copied)
    return await replace(w.ctx, w.folder(into), incoming(NEW), replaced)


async def kinds(w: World) -> list[str]:
    return [row.kind for row in await w.store.journal(ACCOUNT)]


async def contents(w: World, folder: str = "inbox") -> list[bytes | None]:
    """Of all that is in the folder, here and in Graph."""
    rows = await w.rows(folder)
    assert {str(row.id) for row in rows} == {message.id for message in w.graph.inside(folder)}
    return [await w.store.original(ACCOUNT, row.id) for row in rows]


async def test_the_new_one_is_there_before_the_old_one_goes(w: World) -> None:
    id = await old(w)
    seen: list[int] = []
    w.graph.during["move"] = lambda: seen.append(len(w.graph.inside("inbox")))
    assert await put(w, id) == FIRST + 1
    assert await contents(w) == [NEW] and seen == [2] and await kinds(w) == []
    assert [name for name, _ in w.graph.calls] == ["create", "move"]
    assert len(w.graph.inside("deleteditems")) == 1


@pytest.mark.parametrize(
    ("folder", "flags", "copied"),
    [("drafts", (), False), ("inbox", (b"\\Draft",), False), ("inbox", (), True)],
)
async def test_drafts_and_what_was_copied_out_do_not_pile_up_in_trash(
    w: World, folder: str, flags: tuple[bytes, ...], copied: bool
) -> None:
    id = await old(w, folder, *flags)
    await put(w, id, into=folder, out_of=folder, copied=copied)
    assert w.graph.inside("deleteditems") == [] and len(w.graph.inside("recoverableitemsdeletions")) == 1
    assert await contents(w, folder) == [NEW]


async def test_into_another_mailbox(w: World) -> None:
    id = await old(w, "drafts", b"\\Draft")
    assert await put(w, id, into="sentitems", out_of="drafts") == FIRST
    assert await contents(w, "sentitems") == [NEW] and await contents(w, "drafts") == []


async def test_a_draft_that_was_sent_is_replaced_by_exchanges_own_copy(w: World) -> None:
    id = await old(w, "drafts", b"\\Draft")
    w.ctx.sent.add("<new@example.com>", w.clock.time())
    w.graph.put("sentitems", NEW)
    await put(w, id, into="sentitems", out_of="drafts")
    assert len(w.graph.inside("sentitems")) == 1 and await contents(w, "drafts") == []


async def test_one_that_graph_no_longer_has_was_removed(w: World) -> None:
    id = await old(w)
    del w.graph.messages[id]
    await put(w, id)
    assert await contents(w) == [NEW]


async def test_a_new_one_that_is_refused_leaves_the_old_one(w: World) -> None:
    id = await old(w)
    w.graph.fail("create", QuotaExceeded(""))
    with pytest.raises(OverQuota):
        await put(w, id)
    assert await contents(w) == [PLAIN] and await kinds(w) == []


@pytest.mark.parametrize(("error", "told"), [(Denied(""), NoPermission), (Unreachable(""), Unavailable)])
async def test_an_old_one_that_stays_takes_the_new_one_back(
    w: World, error: Exception, told: type[GatewayError]
) -> None:
    id = await old(w)
    w.graph.fail("move", error, id=id)  # type: ignore[arg-type]
    with pytest.raises(told):
        await put(w, id)
    assert await contents(w) == [PLAIN] and await kinds(w) == []


async def test_neither_can_be_removed_now_so_the_new_one_goes_soon(w: World) -> None:
    """The client was told NO: the old one must stay, also when recovery could remove it."""
    id = await old(w)
    w.graph.fail("move", Denied(""), id=id)
    during, fail = w.graph.during, w.graph.fail
    during["move"] = lambda: during.update(move=lambda: fail("move", Unreachable("")))  # the next one
    with pytest.raises(NoPermission):
        await put(w, id)
    assert len(await contents(w)) == 2 and w.ctx.unfinished.is_set()
    await recover(w.ctx)
    assert await contents(w) == [PLAIN] and [kind for kind in await kinds(w) if kind != "move"] == []


async def test_a_folder_that_is_gone_took_the_old_one_along(w: World) -> None:
    await replace(w.ctx, w.folder("inbox"), incoming(NEW), Replaced("F-gone", "AAkA9999"))
    await put(w, "AAkA9999")
    assert await contents(w) == [NEW, NEW]


async def test_a_removal_of_unknown_fate_is_looked_at(w: World) -> None:
    id = await old(w)
    w.graph.fail("move", OutcomeUnknown(""), when="after", id=id)
    await put(w, id)
    assert await contents(w) == [NEW]


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("folder", ["inbox", "drafts"])
async def test_a_crash_at_any_step_leaves_one_of_the_two(tmp_path: Path, folder: str, done: bool) -> None:
    seen: set[bytes | None] = set()
    for at in range(1, 200):
        async with world(tmp_path / str(at)) as w:
            id = await old(w, folder)
            finished = False
            with mortal(w.graph, w.store) as process:
                process.at, process.done = at, done
                try:
                    await put(w, id, into=folder, out_of=folder)
                    finished = True
                except (CrashError, GatewayError):
                    pass
            await w.restarted()
            await recover(w.ctx)
            await recover(w.ctx)
            left = await contents(w, folder)
            assert left in ([PLAIN], [NEW]), at
            assert await kinds(w) == [], at
            seen.update(left)
            if finished:
                assert left == [NEW] and seen == {PLAIN, NEW} and at > 15
                return
    raise AssertionError("it never came to an end")
