"""What reading and writing messages may cost in requests to Graph, by the emulator's log, at N = 5,000, delta
lagging. The number of requests inside batches is asserted beside them where it has a bound of its own.

One account of 5,000 messages serves all tests of this module: each takes its own stretch of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.account_world import Client, Site, account_world

MANY = 5_000
FIELDS = "UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT FROM TO DATE MESSAGE-ID)]"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def s(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder: Path = tmp_path_factory.mktemp("budgets")
    async with account_world(folder, messages=MANY, delta_lag_seconds=0.2) as site:
        yield site


async def selected(s: Site, folder: str = "INBOX") -> Client:
    client = await s.client()
    await client.select(folder)
    await s.outlook.forget()
    return client


async def cost(s: Site, client: Client, *commands: str) -> tuple[int, int]:
    """Requests, and requests in batches, that these commands cost."""
    await s.outlook.forget()
    for command in commands:
        (await client.do(command, seconds=60)).ok()
    return await spent(s)


async def spent(s: Site) -> tuple[int, int]:
    log = await s.outlook.log()
    return len(log), sum(len(request["inner"]) for request in log)


async def most_in_flight(s: Site) -> int:
    return max(request["in_flight"] for request in await s.outlook.log())


# -- header fields --


async def test_headers_of_two_hundred_and_of_all_and_again_after_a_restart(s: Site) -> None:
    await s.outlook.rules(truncate_long_properties=True)
    client = await selected(s)
    assert (await cost(s, client, f"FETCH 1:200 ({FIELDS})"))[0] <= 3
    assert await cost(s, client, "FETCH 1:200 (ENVELOPE)") == (0, 0)
    await s.outlook.limits(rtt_ms=20)  # so that they overlap
    requests, inner = await cost(s, client, f"FETCH 1:* ({FIELDS})")
    await s.outlook.limits(rtt_ms=0)
    assert requests <= 24 and inner <= 40
    assert await most_in_flight(s) == 4
    print(requests, inner)
