"""Several gateways on one database: one dies, or is taken for dead; and what that costs the others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.core.errors import Unavailable
from gateway.mailbox.transfer import CopyWork
from gateway.mailbox.work import begin, update
from gateway.store.nodes import bound
from tests.account_world import mime, until
from tests.nodes_world import LEASE, Node, holder, nodes_world, shortly, uid_of

pytest.importorskip("asyncpg")


async def test_the_work_of_a_dead_gateway_is_healed_and_that_of_a_living_one_left_alone(
    tmp_path: Path,
) -> None:
    async with nodes_world(tmp_path) as world:
        await world.outlook.deliver(mime("one"))
        a, b = await world.up(), await world.up()
        at_b = await b.client()
        await at_b.select()
        account = await a.account()
        drafts = await account.entry("Drafts")
        await at_b.select("Drafts")
        work = CopyWork(drafts.row.key, drafts.row.id, [], 0, [])
        row = await begin(account.ctx, "copy", work, into=drafts.row.key)
        work.copies = [await world.outlook.deliver(mime("half a copy"), folder="drafts")]
        await update(account.ctx, row, work)
        await asyncio.sleep(LEASE)
        (await at_b.do("NOOP")).ok()
        assert at_b.uids == []  # held back: whose it is will be seen
        assert [row.elsewhere for row in await b.store.journal(account.ctx.account)] == [True]
        await kill(a)
        assert await until(lambda: b.beat.members == 1)

        async def healed() -> bool:
            return not await b.store.journal(account.ctx.account)

        await shortly(healed)
        assert await world.outlook.listing("drafts") == []
        world.running.remove(a)
        await bury(a)


async def kill(node: Node) -> None:
    """As others see it: no sign of life any more."""
    node.beat._task.cancel()
    await asyncio.gather(node.beat._task, return_exceptions=True)
    node.beat._db.terminate()


async def bury(node: Node) -> None:
    node.beat._db = None
    await node.stop()


async def test_who_was_declared_dead_writes_nothing_and_comes_back_as_another(tmp_path: Path) -> None:
    async with nodes_world(tmp_path) as world:
        a, b = await world.up(), await world.up()
        at_a, at_b = await a.client(), await b.client()
        first, second = await holder(a, b)
        ctx = (await first.account()).ctx
        lease, number = ctx.duty.lease, first.beat.node  # type: ignore[attr-defined]
        first.beat._renew = asyncio.Event().wait  # stopped, as by SIGSTOP: no sign of life
        assert await until(lambda: second.beat.members == 1)
        assert await until(lambda: second.cluster.posts == 1)
        inbox = (await first.account()).hierarchy.tree.find("INBOX").row
        with pytest.raises(Unavailable):
            await first.store.reserve_uids(inbox.key, 1)
        assert not ctx.duty.held
        del first.beat._renew
        first.beat._task.cancel()
        first.beat._task = asyncio.create_task(first.beat._run())
        assert await until(lambda: first.beat.alive and first.beat.node != number)
        assert first.beat.deaths == 1
        with bound(lease), pytest.raises(Unavailable):
            await first.store.reserve_uids(inbox.key, 1)
        await first.store.reserve_uids(inbox.key, 1)
        client = at_a if first is a else at_b
        assert await uid_of(client)  # its sessions go on
        assert await second.holds() and not await first.holds()


async def test_statements_do_not_grow_with_gateways(tmp_path: Path) -> None:
    async with nodes_world(tmp_path) as world:
        await world.outlook.deliver(mime("one"))
        a = await world.up(imap={"poll_interval": 3600.0})
        client = await a.client()
        for name in ("Sent Items", "Drafts", "Archive", "Deleted Items", "Junk Email", "INBOX"):
            await client.select(name)  # what goes on in the background has ended
        store = "STORE 1 {}FLAGS (\\Flagged)"

        async def cost() -> int:
            counted: list[str] = []
            ours = [session for _, session in a.store._engine._writing]
            fetch = type(a.store._engine._writing[0][1]).fetch

            def counting(self: object, sql: str, *more: object) -> object:
                if self in ours:
                    counted.append(sql)
                return fetch(self, sql, *more)  # type: ignore[arg-type]

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(type(a.store._engine._writing[0][1]), "fetch", counting)
                (await client.do(store.format("+"))).ok()
                (await client.do(store.format("-"))).ok()
            return len(counted)

        alone = await cost()
        for _ in range(2):
            await (await world.up()).client()
        await asyncio.sleep(0.3)
        assert await cost() == alone
