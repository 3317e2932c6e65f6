"""APPEND of several messages: all of them or none, whatever fails and wherever the process dies (RFC 3502)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from crashing import CrashError, mortal
from mailbox_world import ACCOUNT, FIRST, World, incoming, world

from gateway.core.errors import GatewayError, NoPermission, OverQuota, TooBig, Unavailable
from gateway.core.limits import DEFAULT_LIMITS, KIB
from gateway.core.types import Flags, Uid
from gateway.graph.errors import Denied, Invalid, OutcomeUnknown, QuotaExceeded, TooLarge, Unreachable
from gateway.mailbox import append as appending
from gateway.mailbox.append import append
from gateway.mailbox.journal import recover

SMALL = replace(DEFAULT_LIMITS, request_body=100 * KIB, append_landable=1024 * KIB)


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, limits=SMALL) as made:
        yield made


def mail(number: int, size: int = 0) -> bytes:
    head = f"Subject: {number}\r\nMessage-ID: <m{number}@example.com>\r\n\r\n"
    return head.encode() + b"x" * size + b"\r\n"


THREE = [mail(1), mail(2), mail(3)]


async def put(w: World, data: Sequence[bytes] = THREE, folder: str = "inbox", *flags: bytes) -> list[Uid]:
    return await append(w.ctx, w.folder(folder), [incoming(each, Flags.of(flags), 1) for each in data])


async def kinds(w: World) -> list[str]:
    return [row.kind for row in await w.store.journal(ACCOUNT)]


def names(w: World) -> list[str]:
    return [name for name, _ in w.graph.calls]


async def nothing_is_left(w: World, folder: str = "inbox") -> bool:
    return not w.graph.inside(folder) and not await w.rows(folder) and await kinds(w) == []


async def test_they_come_back_as_they_were_in_one_batch_and_in_one_change(w: World) -> None:
    uids = await put(w)
    rows = await w.rows("inbox")
    assert uids == [row.uid for row in rows] == [FIRST, FIRST + 1, FIRST + 2]
    assert [await w.store.original(ACCOUNT, row.id) for row in rows] == THREE
    assert len({row.modseq for row in rows}) == 1 and names(w) == ["create_all"] and await kinds(w) == []
    assert len(w.hubs.seen) == 1 and w.ctx.working == set()


async def test_what_does_not_fit_the_batch_goes_beside_it(w: World) -> None:
    data = [mail(1), mail(2, 200_000), mail(3)]
    uids = await put(w, data)
    assert sorted(uids) == uids and "add_attachment" not in names(w)
    assert [await w.store.original(ACCOUNT, row.id) for row in await w.rows("inbox")] == data
    assert w.graph.count("create_all") == 1 and w.graph.count("create_folder") == 1


async def test_drafts_go_by_mime_each(w: World) -> None:
    uids = await put(w, THREE, "drafts", b"\\Seen")
    assert uids == [FIRST, FIRST + 1, FIRST + 2] and names(w) == ["create_from_mime"] * 3
    assert [await w.store.original(ACCOUNT, row.id) for row in await w.rows("drafts")] == THREE


async def test_many_are_not_in_memory_together(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appending, "OCTETS_AT_ONCE", 150)
    await put(w, [mail(n) for n in range(7)])
    sizes = [detail for name, detail in w.graph.calls if name == "create_all"]
    assert sizes == [3, 3] and names(w)[-1] == "create"
    monkeypatch.setattr(appending, "AT_ONCE", 2)
    await put(w, [mail(n) for n in range(10, 14)])
    assert [detail for name, detail in w.graph.calls if name == "create_all"][2:] == [2, 2]


async def test_one_too_big_means_none(w: World) -> None:
    with pytest.raises(TooBig):
        await put(w, [mail(1), b"x" * (SMALL.append_landable + 1)])
    assert w.graph.calls == [] and await nothing_is_left(w)


@pytest.mark.parametrize(("error", "told"), [(QuotaExceeded(""), OverQuota), (Denied(""), NoPermission)])
@pytest.mark.parametrize("nth", [0, 1, 2])
async def test_a_failure_undoes_those_that_were_made(
    w: World, nth: int, error: Exception, told: type[GatewayError]
) -> None:
    _fail_at(w, nth, error)
    with pytest.raises(told):
        await put(w)
    assert await nothing_is_left(w) and len(w.graph.inside("recoverableitemsdeletions")) == 2
    assert not w.ctx.unfinished.is_set()


def _fail_at(w: World, nth: int, error: Exception) -> None:
    """The nth message from zero cannot be created."""
    create, seen = w.graph.create, iter(range(100))

    async def failing(folder: str, body: object) -> object:
        if next(seen) == nth:
            raise error
        return await create(folder, body)  # type: ignore[arg-type]

    w.graph.create = failing  # type: ignore[method-assign, assignment]


async def test_what_exchange_does_not_take_is_landed_in_its_simplest_form_beside_the_others(w: World) -> None:
    _fail_at(w, 1, Invalid(""))
    assert len(await put(w)) == 3
    assert [bool(each.attachments) for each in w.graph.inside("inbox")].count(True) == 1


async def test_one_that_is_too_large_after_all_is_built(w: World) -> None:
    _fail_at(w, 1, TooLarge(""))
    assert len(await put(w)) == 3 and len(w.graph.inside("inbox")) == 3


@pytest.mark.parametrize("when", ["before", "after"])
async def test_one_of_unknown_fate_is_made_once(w: World, when: str) -> None:
    w.graph.fail("create", OutcomeUnknown(""), when=when)
    uids = await put(w)
    assert len(w.graph.inside("inbox")) == 3 and uids == sorted(uids) and await kinds(w) == []


async def test_what_cannot_be_undone_now_is_undone_soon_in_the_same_process(w: World) -> None:
    _fail_at(w, 2, QuotaExceeded(""))
    w.graph.fail("move", Unreachable(""))
    with pytest.raises(OverQuota):
        await put(w)
    assert w.ctx.unfinished.is_set() and w.ctx.working == set() and len(w.graph.inside("inbox")) == 2
    await w.sync("inbox")  # a delta that comes first shows them; they go all the same
    await recover(w.ctx)
    assert await nothing_is_left(w)


async def test_what_nobody_can_tell_is_looked_for_again(w: World) -> None:
    w.graph.fail("create", OutcomeUnknown(""), when="after")
    w.graph.fail("find_by_message_id", Unreachable(""))
    with pytest.raises(Unavailable):
        await put(w)
    assert w.ctx.unfinished.is_set() and len(w.graph.inside("inbox")) == 1
    await recover(w.ctx)
    assert await nothing_is_left(w)


@pytest.mark.parametrize("method", ["apply", "put_facts", "adopt_blob"])
async def test_a_store_that_fails_after_graph_is_mended_soon(
    w: World, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(w.store, method, broken)
        with pytest.raises(RuntimeError):
            await put(w)
    assert w.ctx.unfinished.is_set() and w.ctx.working == set()
    await recover(w.ctx)
    assert await nothing_is_left(w)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("folder", ["inbox", "drafts"])
async def test_a_crash_at_any_step_leaves_all_or_none(tmp_path: Path, folder: str, done: bool) -> None:
    for at in range(1, 200):
        async with world(tmp_path / str(at), limits=SMALL) as w:
            finished = False
            with mortal(w.graph, w.store) as process:
                process.at, process.done = at, done
                try:
                    await put(w, THREE[:2], folder)
                    finished = True
                except (CrashError, GatewayError):
                    pass
            await w.restarted()
            await recover(w.ctx)
            rows = await w.rows(folder)
            assert len(w.graph.inside(folder)) == len(rows), at
            assert len(rows) in ((2,) if finished else (0, 2)) and await kinds(w) == [], at
            assert [await w.store.original(ACCOUNT, row.id) for row in rows] in ([], THREE[:2]), at
            if finished:
                assert at > 10
                return
    raise AssertionError("it never came to an end")
