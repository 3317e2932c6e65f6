"""RENAME in more than one request: whole or not at all, whatever refuses and wherever it is cut off (trap 33)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import GatewayError
from gateway.core.types import Flags
from gateway.graph.errors import GraphError
from gateway.mailbox.account import MailboxAccount
from tests.account_world import Site, account_world, mime


class CrashError(BaseException):
    """The process ends here: nothing of ours may handle it."""


@pytest.fixture
async def s(tmp_path: Path) -> AsyncIterator[Site]:
    async with account_world(tmp_path) as site:
        yield site


async def fresh(account: MailboxAccount) -> set[str]:
    account.hierarchy.forget_age()
    return {info.name for info in await account.folders()}


def cut(account: MailboxAccount, step: int, *names: str, done: bool) -> None:
    """The `step`-th call of these Graph methods does not come back; `done`: it was carried out all the same."""
    graph: Any = account.ctx.graph
    count = 0

    def cutting(call: Callable[..., Any]) -> Callable[..., Any]:
        async def one(*args: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                if done:
                    with contextlib.suppress(GraphError):
                        await call(*args, **more)
                raise CrashError
            return await call(*args, **more)

        return one

    for name in names:
        setattr(graph, name, cutting(getattr(graph, name)))


async def crash_and_come_back(s: Site, account: MailboxAccount, source: str, target: str) -> MailboxAccount:
    with contextlib.suppress(CrashError):
        await account.rename(source, target)
    await s.restart()
    return await s.account()


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("step", [1, 2])
async def test_a_rename_cut_off_anywhere_is_undone_at_the_next_start(s: Site, step: int, done: bool) -> None:
    account = await s.account()
    await account.create("A/Leaf")
    await account.create("B")
    cut(account, step, "move_folder", "rename_folder", done=done)
    account = await crash_and_come_back(s, account, "A/Leaf", "B/Other")
    assert {"A/Leaf"} == {name for name in await fresh(account) if name[:2] in ("A/", "B/")}
    assert await account.ctx.store.journal(account.ctx.account) == []


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("step", range(1, 6))
async def test_a_rename_round_two_neighbours_is_undone_at_every_step(s: Site, step: int, done: bool) -> None:
    """Move, name, name between, move, name: the first two meet neighbours."""
    account = await s.account()
    for name in ("A/x", "A/y", "B/x"):
        await account.create(name)
    mine = (await s.append("A/x", mime("mine"), Flags())).uids[0]
    cut(account, step, "move_folder", "rename_folder", done=done)
    account = await crash_and_come_back(s, account, "A/x", "B/y")
    assert {"A/x", "A/y", "B/x"} == {name for name in await fresh(account) if name[:2] in ("A/", "B/")}
    assert list((await account.open("A/x", read_only=True)).view.uids) == [mine]


async def test_a_rename_round_two_neighbours_is_done(s: Site) -> None:
    account = await s.account()
    for name in ("A/x", "A/y", "B/x"):
        await account.create(name)
    await account.rename("A/x", "B/y")
    assert {"A/y", "B/x", "B/y"} == {name for name in await fresh(account) if name[:2] in ("A/", "B/")}


@pytest.mark.parametrize("mode", ["error", "commit-then-fail"])
async def test_what_graph_refuses_on_the_way_back_is_left_to_the_journal(s: Site, mode: str) -> None:
    account = await s.account()
    await account.create("A/Leaf")
    await account.create("B")
    await s.outlook.fault("PATCH", "/mailFolders/", status=403, count=None)
    await s.outlook.fault("POST", "/mailFolders/.*/move", mode, status=503, count=None)
    with contextlib.suppress(GatewayError):
        await account.rename("A/Leaf", "B/Other")
    await s.outlook.heal()
    await s.restart()
    assert "A/Leaf" in await fresh(await s.account())


# -- INBOX --


async def landed(s: Site, mailbox: str) -> int:
    return (await (await s.account()).open(mailbox, read_only=True)).view.count


@pytest.mark.parametrize("done", [False, True])
async def test_a_rename_of_inbox_cut_off_is_finished_and_later_mail_stays(s: Site, done: bool) -> None:
    for number in range(45):
        await s.outlook.deliver(mime(f"m{number}"))
    account = await s.account()
    cut(account, 1, "move", done=done)
    with contextlib.suppress(CrashError):
        await account.rename("INBOX", "Old")
    await s.outlook.deliver(mime("later"))
    await s.restart()
    assert await landed(s, "Old") == 45
    assert await landed(s, "INBOX") == 1
    assert await (await s.account()).ctx.store.journal((await s.account()).ctx.account) == []


async def test_a_rename_of_inbox_moves_its_messages_in_batches(s: Site) -> None:
    for number in range(45):
        await s.outlook.deliver(mime(f"m{number}"))
    account = await s.account()
    await account.rename("INBOX", "Old")
    assert await s.outlook.calls("POST", r"/messages/[^/]+/move") == 45
    assert await s.outlook.calls("POST", r"/\$batch") == 4
