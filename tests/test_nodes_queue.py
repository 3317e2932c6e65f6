"""The outbox of several gateways on one database: each message is sent once, by whichever is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.account_world import ALICE, BOB, mime
from tests.nodes_world import Nodes, nodes_world

pytest.importorskip("asyncpg")

QUEUE = {"mode": "queue"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.app.RESUME_EVERY", 0.2)
    monkeypatch.setattr("gateway.mailbox.sending.queue.FIRST_PAUSE", 0.2)
    monkeypatch.setattr("gateway.mailbox.sending.courier.TICK", 0.5)
    monkeypatch.setattr("gateway.mailbox.sending.steps._LOOKS", (0.05, 0.1))


def letter(subject: str) -> bytes:
    return mime(subject, sender=ALICE).replace(b"To: alice@", b"To: bob@")


async def arrived(world: Nodes, count: int) -> list[str]:
    """In bob's inbox, once there are so many; Sent Items hold the same."""
    async with asyncio.timeout(30):
        while len(found := await world.outlook.listing("inbox", BOB)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)  # nothing comes after that
    found = await world.outlook.listing("inbox", BOB)
    subjects = [str(each["subject"]) for each in found]
    assert sorted(subjects) == sorted(str(m["subject"]) for m in await world.outlook.listing("sentitems"))
    return subjects


async def test_what_one_gateway_accepted_another_sends(tmp_path: Path) -> None:
    async with nodes_world(tmp_path) as world:
        a = await world.up(submission=QUEUE)
        await world.outlook.fault("POST", "/messages$", status=503, count=None)
        for n in range(3):
            await a.submit(letter(f"m{n}"))
        await world.up(submission=QUEUE)
        await world.down(a)
        await world.outlook.heal()
        assert await arrived(world, 3) == ["m0", "m1", "m2"]


async def test_two_gateways_share_a_queue(tmp_path: Path) -> None:
    async with nodes_world(tmp_path) as world:
        a, b = await world.up(submission=QUEUE), await world.up(submission=QUEUE)
        subjects = [f"m{n}" for n in range(12)]
        await asyncio.gather(*((a, b)[n % 2].submit(letter(f"m{n}")) for n in range(12)))
        assert sorted(await arrived(world, 12)) == sorted(subjects)
