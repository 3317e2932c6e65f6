"""A long SEARCH ends with its connection: a real socket is closed amid it, and nothing more is asked of Graph."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.graph.mail import GraphMailbox
from gateway.imap import matching
from tests.account_world import SHY, Client, Site, account_world, until

COUNT = 30
FEW = 5  # messages that are read before the socket is closed

Leave = Callable[[asyncio.StreamWriter], None]


class Gate:
    """Lets so many downloads through; counts those that were begun."""

    def __init__(self, open_for: int) -> None:
        self.begun = 0
        self.permits = asyncio.Semaphore(open_for)
        self.real = GraphMailbox.mime

    async def mime(self, mailbox: GraphMailbox, *args: Any, **options: Any) -> bytes:
        self.begun += 1
        await self.permits.acquire()
        return await self.real(mailbox, *args, **options)


@pytest.fixture
async def s(tmp_path: Path) -> AsyncIterator[Site]:
    settings = replace(SHY, search_body="exact")
    async with account_world(tmp_path, settings=settings, messages=COUNT) as site:
        context = site.server.context
        context.settings = replace(context.settings, keepalive=1e4)  # nothing else is said amid a search
        yield site


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(FEW)
    monkeypatch.setattr(GraphMailbox, "mime", lambda *args, **options: gate.mime(*args, **options))
    monkeypatch.setattr(matching, "PROBE", 0.01)
    return gate


def close(writer: asyncio.StreamWriter) -> None:
    """As a program that ends: FIN, and an RST to whatever is sent to it afterwards."""
    writer.close()


def end_own_side(writer: asyncio.StreamWriter) -> None:
    """As `nc` does at the end of its input: FIN, and it goes on reading."""
    writer.get_extra_info("socket").shutdown(socket.SHUT_WR)


async def searching(s: Site, gate: Gate) -> tuple[Client, bytes]:
    """A client amid a search that reads every message."""
    client = await s.client()
    (await client.do("SELECT INBOX")).ok()
    gate.begun = 0
    tag = client.start("SEARCH BODY nowhere-to-be-found")
    await until(lambda: gate.begun > FEW)
    return client, tag


def open_gate(gate: Gate) -> None:
    for _ in range(10 * COUNT):
        gate.permits.release()


async def test_who_closes_ends_the_search(s: Site, gate: Gate) -> None:
    client, _ = await searching(s, gate)
    close(client._writer)
    await until(lambda: s.server.open_connections == 0)
    begun = gate.begun
    open_gate(gate)
    await s.outlook.listing()  # time in which the search would have gone on
    assert gate.begun == begun < COUNT


async def test_who_ends_his_side_is_answered(s: Site, gate: Gate) -> None:
    client, tag = await searching(s, gate)
    end_own_side(client._writer)
    said = await client.response()
    assert said.startswith(b'* OK [INPROGRESS ("%b"' % tag)
    open_gate(gate)
    while not (said := await client.response()).startswith(tag):
        assert said.startswith((b"* OK [INPROGRESS", b"* SEARCH"))
    assert said == tag + b" OK SEARCH completed"
    assert gate.begun >= COUNT
