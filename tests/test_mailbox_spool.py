"""Spools: octets in, octets out, nothing readable on disk, one budget that never deadlocks."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import Unavailable
from gateway.mailbox import spool as spools
from gateway.mailbox.sealed import CHUNK, ChunkCipher, new_prefix, sealed_size
from gateway.mailbox.spool import LEAST, Lease, MailSpool, SpoolBudget
from gateway.mailbox.values import Spool
from gateway.store.errors import Damaged

BIG = 10**9
MARKER = b"PLAINTEXT-MARKER"


def octets(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, 256 * 1024, 256 * 1024 + 1, 3 * 256 * 1024 + 17])
@pytest.mark.parametrize("step", [1000, 65_536, 700_000])
async def test_what_was_written_is_read(size: int, step: int) -> None:
    data = octets(size)
    budget = SpoolBudget(BIG)
    spool: Spool = MailSpool(budget, size)
    for start in range(0, size, step):
        await spool.write(data[start : start + step])
        assert spool.size == min(size, start + step)
    assert spool.read() == data
    assert spool.read() == data
    await spool.close()
    await spool.close()
    assert budget.used == 0


async def test_the_file_holds_no_plain_text_and_is_gone_at_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    pwrite = os.pwrite

    def noted(descriptor: int, data: Any, offset: int) -> int:
        written.append(bytes(data[:1000]))
        return pwrite(descriptor, data[:1000], offset)  # a disk that takes little at a time

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(spools.os, "pwrite", noted)
    spool = MailSpool(SpoolBudget(BIG))
    data = MARKER * 40_000
    await spool.write(data)
    assert spool.read() == data
    assert sum(map(len, written)) > 500_000
    assert MARKER not in b"".join(written)
    assert os.listdir(tmp_path) == []  # it never had a name
    await spool.close()


async def test_memory_is_bounded() -> None:
    spool = MailSpool(SpoolBudget(BIG))
    for _ in range(40):
        await spool.write(b"x" * 65_536)
        assert len(spool._tail) <= 256 * 1024
    await spool.close()


async def test_a_closed_spool_takes_and_gives_nothing() -> None:
    budget = SpoolBudget(BIG)
    spool = MailSpool(budget)
    await spool.write(b"x")
    await spool.close()
    with pytest.raises(ValueError):
        await spool.write(b"x")
    with pytest.raises(ValueError):
        spool.read()
    assert budget.used == 0


async def test_a_full_disk_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    spool = MailSpool(SpoolBudget(BIG))
    monkeypatch.setattr(spools.os, "pwrite", full)
    with pytest.raises(Unavailable):
        await spool.write(octets(300_000))
    monkeypatch.undo()
    await spool.close()


async def test_a_cancelled_write_then_close_does_not_touch_the_descriptor_s_next_owner(
    tmp_path: Path,
) -> None:
    for _ in range(20):
        spool = MailSpool(SpoolBudget(BIG))
        writing = asyncio.ensure_future(spool.write(octets(400_000)))
        await turns(2)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await spool.close()
        with (tmp_path / "victim").open("w+b") as victim:
            victim.write(b"mine")
            victim.flush()
            await asyncio.to_thread(lambda: None)
            assert (tmp_path / "victim").read_bytes() == b"mine"


# -- the budget --


async def test_a_spool_waits_before_its_first_octet_for_all_it_announced() -> None:
    budget = SpoolBudget(1_000_000)
    first, second = MailSpool(budget, 700_000), MailSpool(budget, 700_000)
    await first.write(b"x")
    assert budget.used == 700_000
    waiting = asyncio.ensure_future(second.write(b"y"))
    await turns()
    assert not waiting.done()
    await first.write(b"x" * 699_999)  # its own octets were granted
    await first.close()
    await asyncio.wait_for(waiting, 1)
    await second.close()
    assert budget.used == 0


async def test_first_come_first_served() -> None:
    budget, order = SpoolBudget(100), list[int]()
    holder = Lease()
    await budget.take(holder, 100)

    async def come(n: int, size: int) -> None:
        lease = Lease()
        await budget.take(lease, size)
        order.append(n)
        await turns()
        budget.give_back(lease)

    tasks = [asyncio.ensure_future(come(n, size)) for n, size in enumerate((90, 10, 90, 1))]
    await turns()
    budget.give_back(holder)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3]
    assert budget.used == 0


async def test_a_cancelled_waiter_takes_nothing_and_blocks_nobody() -> None:
    budget = SpoolBudget(100)
    holder, large, small = Lease(), Lease(), Lease()
    await budget.take(holder, 60)
    first = asyncio.ensure_future(budget.take(large, 90))
    second = asyncio.ensure_future(budget.take(small, 30))
    await turns()
    assert not second.done()
    first.cancel()
    await asyncio.wait_for(second, 1)
    assert (budget.used, large.octets, small.octets) == (90, 0, 30)


async def test_a_grant_that_crosses_a_cancellation_is_returned() -> None:
    budget = SpoolBudget(100)
    holder, late = Lease(), Lease()
    await budget.take(holder, 100)
    waiting = asyncio.ensure_future(budget.take(late, 50))
    await turns()
    budget.give_back(holder)  # granted now
    waiting.cancel()  # before it could run
    await asyncio.gather(waiting, return_exceptions=True)
    assert (budget.used, late.octets) == (0, 0)


async def test_a_message_larger_than_the_budget_goes_alone() -> None:
    budget = SpoolBudget(100)
    small, huge = Lease(), Lease()
    await budget.take(small, 1)
    waiting = asyncio.ensure_future(budget.take(huge, 500))
    await turns()
    assert not waiting.done()
    budget.give_back(small)
    await asyncio.wait_for(waiting, 1)
    assert budget.used == 500


async def test_spools_of_unknown_size_that_grow_together_all_finish() -> None:
    """Without the one that may go beyond the bound these would wait for each other for ever."""
    size = 600_000
    budget = SpoolBudget(8 * LEAST)
    peak = 0

    async def upload() -> None:
        nonlocal peak
        spool = MailSpool(budget)
        for _ in range(0, size, 20_000):
            await spool.write(b"x" * 20_000)
            peak = max(peak, budget.used)
        assert spool.size == size
        await spool.close()

    await asyncio.wait_for(asyncio.gather(*(upload() for _ in range(12))), 20)
    assert budget.used == 0
    assert peak <= budget.limit + size


async def test_any_mix_of_spools_cancelled_at_any_time_gives_everything_back() -> None:
    rng = random.Random(3)
    budget = SpoolBudget(300_000)

    async def upload() -> None:
        spool = MailSpool(budget, rng.choice([0, 0, 50_000, 250_000]))
        try:
            for _ in range(rng.randrange(12)):
                await spool.write(b"x" * rng.choice([1, 10_000, 40_000]))
                await turns(rng.randrange(3))
        finally:
            await spool.close()

    tasks = [asyncio.ensure_future(upload()) for _ in range(60)]
    for task in rng.sample(tasks, 20):
        await turns(rng.randrange(10))
        task.cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
    assert budget.used == 0
    assert not budget._growing
    assert not budget._coming
    await budget.take(Lease(), budget.limit)


# -- sealed chunks --


def test_chunks_are_read_from_anywhere() -> None:
    data = octets(3 * CHUNK + 100)
    cipher = ChunkCipher(b"k" * 32, new_prefix(), b"here")
    sealed = b"".join(cipher.seal_all(data))
    assert len(sealed) == sealed_size(len(data))

    def read(start: int, end: int) -> bytes:
        return cipher.read(lambda at, n: sealed[at : at + n], len(data), start, end)

    edges = [
        0,
        1,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK,
        3 * CHUNK,
        3 * CHUNK + 99,
        3 * CHUNK + 100,
        4 * CHUNK,
    ]
    for start in edges:
        for end in edges:
            assert read(start, end) == data[start:end]
    assert read(-5, 10) == data[:10]


def test_a_chunk_opens_in_its_own_place_only() -> None:
    prefix = new_prefix()
    cipher = ChunkCipher(b"k" * 32, prefix, b"here")
    sealed = cipher.seal(0, b"octets")
    assert cipher.open(0, sealed) == b"octets"
    for other in (
        lambda: cipher.open(1, sealed),
        lambda: ChunkCipher(b"k" * 32, prefix, b"there").open(0, sealed),
        lambda: cipher.open(0, sealed[:-1]),
        lambda: cipher.open(0, b""),
    ):
        with pytest.raises(Damaged):
            other()


async def test_commands_of_several_messages_cannot_wait_for_each_other() -> None:
    """Each holds one message and wants another: the one that has octets already may go beyond the bound."""
    budget = SpoolBudget(200_000)
    first, second = MailSpool(budget, 100_000), MailSpool(budget, 100_000)
    await first.write(b"x" * 100_000)
    await second.write(b"x" * 100_000)
    more, most = MailSpool(budget, 100_000, beside=first), MailSpool(budget, 100_000, beside=second)
    await asyncio.wait_for(more.write(b"x" * 100_000), 1)
    waiting = asyncio.ensure_future(most.write(b"x"))
    await turns()
    assert not waiting.done() and budget.used == 300_000  # one at a time
    await first.close()
    await more.close()
    await asyncio.wait_for(waiting, 1)
    assert budget.used == 200_000
    await second.close()
    assert budget.used == 100_000
    await most.close()
    await most.close()
    assert budget.used == 0


# -- read in pieces, and kept for who works on --


@given(st.integers(0, 5 * CHUNK), st.data())
@settings(max_examples=30, deadline=None)
def test_any_range_is_that_of_the_whole(size: int, data: st.DataObject) -> None:
    whole = random.Random(size).randbytes(size)
    start = data.draw(st.integers(0, size))
    end = data.draw(st.none() | st.integers(start, size + 10))

    async def run() -> bytes:
        spool = MailSpool(SpoolBudget(10**9), memory=CHUNK)
        for at in range(0, size, 50_000):
            await spool.write(whole[at : at + 50_000])
        assert spool.read() == whole
        return spool.read(start, end)

    assert asyncio.run(run()) == whole[start:end]


async def test_a_spool_that_is_kept_is_closed_when_it_is_kept_no_longer() -> None:
    budget = SpoolBudget(10**9)
    spool = MailSpool(budget)
    await spool.write(b"abc")
    with spool.kept():
        await spool.close()
        assert spool.read() == b"abc" and budget.used
    assert not budget.used
    with pytest.raises(ValueError, match="closed"):
        spool.read()
