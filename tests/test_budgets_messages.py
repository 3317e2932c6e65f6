"""What reading and writing messages may cost in requests to Graph, by the emulator's log, at N = 5,000, delta
lagging. The number of requests inside batches is asserted beside them where it has a bound of its own.

One account of 5,000 messages serves all tests of this module: each takes its own stretch of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.core.limits import DEFAULT_LIMITS
from tests.account_world import Client, Site, account_world

MANY = 5_000
PATIENT = replace(DEFAULT_LIMITS, login_delay=0.2)  # counts must not depend on how busy the machine is
FIELDS = "UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT FROM TO DATE MESSAGE-ID)]"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def s(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder: Path = tmp_path_factory.mktemp("budgets")
    async with account_world(folder, messages=MANY, limits=PATIENT, delta_lag_seconds=0.2) as site:
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
        (await client.do(command, seconds=120)).ok()
    return await spent(s)


async def spent(s: Site) -> tuple[int, int]:
    log = await s.outlook.log()
    return len(log), sum(len(request["inner"]) for request in log)


async def most_in_flight(s: Site) -> int:
    return max(request["in_flight"] for request in await s.outlook.log())


# -- header fields --


@pytest.mark.parametrize("truncated", [True, False])
async def test_headers_of_two_hundred_and_of_all(s: Site, truncated: bool) -> None:
    await s.outlook.rules(truncate_long_properties=truncated)
    await forget_facts(s)
    client = await selected(s)
    assert (await cost(s, client, f"FETCH 1:200 ({FIELDS})"))[0] <= 3
    assert await cost(s, client, "FETCH 1:200 (ENVELOPE)") == (0, 0)
    await s.outlook.limits(rtt_ms=20)  # so that they overlap
    requests, inner = await cost(s, client, f"FETCH 1:* ({FIELDS})")
    await s.outlook.limits(rtt_ms=0)
    assert requests <= 24 and inner <= 40
    assert await most_in_flight(s) == 4
    assert await cost(s, client, f"FETCH 1:* ({FIELDS})", "FETCH 1:* (ENVELOPE)") == (0, 0)


async def test_the_same_again_after_a_restart(s: Site) -> None:
    await s.restart()
    client = await selected(s)
    assert await cost(s, client, f"FETCH 1:* ({FIELDS})", "FETCH 1:* (ENVELOPE)") == (0, 0)


SEARCHES = (
    "UNSEEN", "DELETED", "KEYWORD Projekt", "SINCE 1-Jan-2020", "SENTBEFORE 1-Jan-2030", "LARGER 2000", "UID 1:100",
    "FROM a", "SUBJECT re", "HEADER MESSAGE-ID example", "OR FROM a (NOT TO b CC c)",
)  # fmt: skip


async def test_searching_what_is_known_costs_nothing(s: Site) -> None:
    client = await selected(s)
    assert await cost(s, client, *(f"SEARCH {query}" for query in SEARCHES)) == (0, 0)
    assert await cost(s, client, "SORT (SUBJECT REVERSE DATE) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL") == (
        0,
        0,
    )


async def forget_facts(s: Site) -> None:
    """As before anybody looked at a header."""
    account = (await s.account()).ctx.account
    row = await (await s.account()).row("INBOX")
    await s.store.drop_content(account, list(await s.store.ids(row.key)))
    await s.restart()


# -- octets --


async def values(s: Site) -> int:
    return await s.outlook.calls("GET", r"/messages/[^/]+/\$value")


async def test_bodies_cost_one_each_four_at_once_and_nothing_again(s: Site) -> None:
    client = await selected(s)
    await s.outlook.limits(rtt_ms=20)
    await s.outlook.forget()
    (await client.do("FETCH 1001:1040 (BODY.PEEK[])", seconds=120)).ok()
    assert await values(s) == 40 and await most_in_flight(s) == 4
    await s.outlook.limits(rtt_ms=0)
    await s.outlook.forget()
    (await client.do("FETCH 1001:1040 (BODY.PEEK[])", seconds=120)).ok()
    (await client.do("FETCH 1001:1040 (BODYSTRUCTURE RFC822.SIZE)", seconds=120)).ok()
    assert await values(s) <= 2  # but for placeholders of what Exchange cannot render


async def test_a_walk_through_a_folder_costs_what_its_messages_cost(s: Site) -> None:
    client = await selected(s)
    for number in range(1101, 1131):
        (await client.do(f"FETCH {number} (BODY.PEEK[])")).ok()
    assert 30 <= await values(s) <= 30 + 8
    await client.do("FETCH 1131:1138 (BODY.PEEK[])")
    assert await values(s) == 38


async def test_what_is_on_disk_costs_nothing_after_a_restart(s: Site) -> None:
    s.disk = s.folder / "cache"
    await s.restart()
    client = await selected(s)
    (await client.do("FETCH 1201:1220 (BODY.PEEK[])", seconds=120)).ok()
    assert await values(s) == 20
    await s.restart()
    client = await selected(s)
    (await client.do("FETCH 1201:1220 (BODY.PEEK[])", seconds=120)).ok()
    assert await values(s) <= 1
    s.disk = None
    await s.restart()


# -- writing --


async def test_store_of_a_hundred_and_its_echo(s: Site) -> None:
    client = await selected(s)
    requests, inner = await cost(s, client, "STORE 2001:2100 +FLAGS.SILENT (Budget)")
    assert requests <= 8 and inner == 100
    await s.outlook.forget()
    await asyncio.sleep(0.25)  # the emulator's delta lag is over
    await (await s.account()).sync(await (await s.account()).row("INBOX")).poll(max_age=0)
    lines = await s.outlook.lines()
    assert all("/delta" in line for line in lines), lines


async def test_copy_move_and_expunge_of_a_hundred(s: Site) -> None:
    client = await selected(s)
    requests, inner = await cost(s, client, "COPY 2101:2200 Archive")
    assert requests <= 8 and inner == 100
    requests, inner = await cost(s, client, "MOVE 2101:2200 Archive")
    assert requests <= 8 and inner == 100
    await asyncio.sleep(0.25)
    (await client.do("STORE 2101:2200 +FLAGS.SILENT (\\Deleted)", seconds=120)).ok()
    account = await s.account()
    account.sync(await account.row("INBOX")).stale()  # decision 8: EXPUNGE asks for a delta first
    requests, inner = await cost(s, client, "EXPUNGE")
    assert requests <= 8 and inner == 100
    assert len(client.uids) == MANY - 200


async def test_fifty_clients_of_one_mailbox_see_no_429(s: Site) -> None:
    clients = [await s.client() for _ in range(50)]
    for client in clients:
        await client.select()
    await s.outlook.forget()

    async def work(number: int, client: Client) -> None:
        first = 3001 + 3 * number
        (await client.do(f"FETCH {first}:{first + 2} (BODY.PEEK[])", seconds=120)).ok()
        (await client.do(f"STORE {first} +FLAGS (\\Answered)", seconds=120)).ok()

    await s.outlook.limits(rtt_ms=5)
    await asyncio.gather(*(work(number, client) for number, client in enumerate(clients)))
    await s.outlook.limits(rtt_ms=0)
    log = await s.outlook.log()
    assert not [r for r in log if r["status"] == 429] and max(r["in_flight"] for r in log) == 4
    for client in clients:
        await client.close()
