"""Several gateways on one database serve one mailbox as one: what a session of one does, those of the other hear."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.account_world import mime, until
from tests.nodes_world import hears, nodes_world

pytest.importorskip("asyncpg")


async def test_a_store_on_one_reaches_idle_on_the_other(tmp_path: Path) -> None:
    async with nodes_world(tmp_path) as world:
        await world.outlook.deliver(mime("one"))
        a, b = await world.up(), await world.up()
        at_a, at_b = await a.client(), await b.client()
        await at_a.select()
        await at_b.select()
        await at_b.idle()
        (await at_a.do("STORE 1 +FLAGS (\\Flagged Project)")).ok()
        assert b"\\Flagged" in (line := await hears(at_b, b"FETCH"))
        assert b"Project" in line
        message = "Subject: two\r\n\r\nx\r\n".encode()
        answer = (await at_a.do("APPEND INBOX {}", message)).ok()
        assert b"APPENDUID" in answer.tagged
        assert b"* 2 EXISTS" in await hears(at_b, b"EXISTS")
        (await at_a.do("STORE 2 +FLAGS.SILENT (\\Deleted)")).ok()
        (await at_a.do("EXPUNGE")).ok()
        assert b"* 2 EXPUNGE" in await hears(at_b, b"EXPUNGE")
