"""Sort facts are worked out once, kept in the store, and never cost a request where header facts are known."""

from __future__ import annotations

from pathlib import Path

from bench.sort import WORK, header, world

from gateway.mailbox import sortkeys
from gateway.mime.header import Fields
from gateway.mime.sortfacts import sort_facts
from gateway.wire.searchkey import All
from gateway.wire.sortkey import Criterion, SortKey, Threading

COUNT = 2500  # more than two blocks


async def test_no_request_and_every_header_read_once(tmp_path: Path) -> None:
    """The Graph of this world fails whoever asks it."""
    store, opened = await world(tmp_path, COUNT)
    account, folder = await opened()
    for work in WORK.values():
        at = await folder.search(All())
        found = await (folder.thread(at, work) if isinstance(work, Threading) else folder.sort(at, work))
        assert found
    assert account.sort_keys.read_headers == COUNT
    again, folder = await opened()  # as after a restart
    order = await folder.sort(range(COUNT), WORK["SORT (SUBJECT)"])
    assert again.sort_keys.read_headers == 0
    assert len(await store.sort_blocks(folder._row.key)) == COUNT // 1024 + 1
    assert sorted(order) == list(range(COUNT))
    await store.close()


async def test_the_order_is_that_of_the_headers(tmp_path: Path) -> None:
    store, opened = await world(tmp_path, 300)
    _, folder = await opened()
    facts = await store.facts(folder._ctx.account, [row.id for row in await store.messages(folder._row.key)])
    rows = await store.messages(folder._row.key)
    subjects = [sort_facts(facts[row.id].header).subject for row in rows]
    criteria = (Criterion(SortKey.SUBJECT, reverse=True), Criterion(SortKey.SIZE))
    expected = sorted(range(300), key=lambda at: rows[at].size)
    expected.sort(key=subjects.__getitem__, reverse=True)
    assert await folder.sort(range(300), criteria) == expected
    some = range(0, 300, 7)
    assert await folder.sort(some, criteria) == [at for at in expected if at % 7 == 0]
    await store.close()


async def test_few_columns_stay_in_memory(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sortkeys, "KEPT", 10)
    store, opened = await world(tmp_path, 50)
    account, folder = await opened()
    await folder.sort(range(50), WORK["SORT (SUBJECT)"])
    keys = account.sort_keys
    keys._keep(-1, sortkeys.SortColumns())
    assert list(keys._columns) == [-1] and list(keys._locks) == []
    await folder.sort(range(50), WORK["SORT (SUBJECT)"])
    assert keys.read_headers == 50  # from the store again
    await store.close()


def test_the_bench_has_honest_headers() -> None:
    import random

    fields = Fields(header(7, random.Random(3)))
    assert fields.first(b"subject") and fields.first(b"message-id") == b"<7@mail.example.com>"
