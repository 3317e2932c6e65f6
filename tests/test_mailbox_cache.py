"""The body cache: fetched once, the same octets from every tier, bounds kept, faults on disk count as absent."""

from __future__ import annotations

import asyncio
import os
import random
import stat
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.mailbox.cache import BodyCache, MemoryBody
from gateway.mailbox.disktier import HEAD, DiskTier, FileBody
from gateway.mailbox.sealed import sealed_size
from gateway.mailbox.values import Body
from gateway.mailbox.work import settled

KEY = b"k" * 32
MESSAGE = b"Subject: x\r\nContent-Type: text/plain\r\n\r\nhello\r\n"


def message(size: int, seed: int = 0) -> bytes:
    head = b"Subject: %d\r\n\r\n" % seed
    return head + random.Random(seed).randbytes(size - len(head))


class Source:
    """Graph, as the cache sees it."""

    def __init__(self, raw: bytes = MESSAGE) -> None:
        self.raw = raw
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = 0
        self.failure: Exception | None = None

    async def __call__(self) -> bytes:
        self.calls += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        return self.raw


def cache(
    folder: Path | None = None, *, memory: int = 10**6, above: int = 10_000, disk: int = 10**7
) -> BodyCache:
    return BodyCache(memory=memory, spool_above=above, folder=folder, disk=disk, key=KEY)


def whole(body: Body) -> bytes:
    return body.read(0, body.size)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_a_body_is_fetched_once() -> None:
    bodies, source = cache(), Source()
    body = await bodies.get_or_fetch("a", source)
    assert (whole(body), body.size, body.part.subtype) == (MESSAGE, len(MESSAGE), b"plain")
    assert await bodies.get_or_fetch("a", source) is body
    assert whole(await bodies.get_or_fetch("b", source)) == MESSAGE
    assert (source.calls, bodies.hits, bodies.misses) == (2, 1, 2)


@pytest.mark.parametrize("size", [5_000, 9_999, 10_000, 10_001, 200_000])
async def test_every_tier_gives_the_same_octets(tmp_path: Path, size: int) -> None:
    raw = message(size)
    folder = tmp_path / "cache"
    first = await cache(folder).get_or_fetch("a", Source(raw))
    again, source = cache(folder), Source(b"other")
    second = await again.get_or_fetch("a", source)
    assert source.calls == 0
    assert again.disk_hits == 1
    assert isinstance(second, FileBody if size > 10_000 else MemoryBody)
    for body in (first, second):
        assert whole(body) == raw
        assert body.part.end == size
        for start, end in [(0, 10), (size - 7, size + 100), (65_530, 65_560), (size, size + 1), (9, 9)]:
            assert body.read(start, end) == raw[start:end]


async def test_those_who_ask_together_share_one_fetch() -> None:
    bodies, source = cache(), Source()
    source.gate.clear()
    waiting = [asyncio.ensure_future(bodies.get_or_fetch("a", source)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    source.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert all(result is results[1] for result in results[1:])
    assert source.calls == 1


async def test_a_fetch_nobody_waits_for_is_cancelled_and_the_next_one_starts_anew() -> None:
    bodies, source = cache(), Source()
    source.gate.clear()
    waiting = [asyncio.ensure_future(bodies.get_or_fetch("a", source)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    again = asyncio.ensure_future(bodies.get_or_fetch("a", source))
    await asyncio.sleep(0)
    source.gate.set()
    assert whole(await again) == MESSAGE
    assert (source.calls, source.cancelled) == (2, 1)
    assert bodies._flights == {}


async def test_an_error_goes_to_all_who_wait_and_is_not_kept() -> None:
    bodies, source = cache(), Source()
    source.gate.clear()
    source.failure = LookupError("gone")
    waiting = [asyncio.ensure_future(bodies.get_or_fetch("a", source)) for _ in range(3)]
    await asyncio.sleep(0)
    source.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [LookupError] * 3
    source.failure = None
    assert whole(await bodies.get_or_fetch("a", source)) == MESSAGE


async def test_what_is_not_to_be_kept_is_given_and_forgotten(tmp_path: Path) -> None:
    bodies, source = cache(tmp_path / "c"), Source()
    for _ in range(2):
        body = await bodies.get_or_fetch("a", source, keep=lambda raw: b"hello" not in raw)
        assert whole(body) == MESSAGE
    assert (source.calls, bodies.memory_octets, bodies.disk_octets) == (2, 0, 0)
    assert files(tmp_path / "c") == []


async def test_memory_stays_within_its_budget_by_least_recent_use() -> None:
    bodies = cache(memory=30_000)
    sources = {name: Source(message(7_000, n)) for n, name in enumerate("abcdef")}
    for name, source in sources.items():
        await bodies.get_or_fetch(name, source)
        await bodies.get_or_fetch("a", sources["a"])
        assert bodies.memory_octets <= 30_000
    await bodies.get_or_fetch("f", sources["f"])
    await bodies.get_or_fetch("b", sources["b"])
    assert [source.calls for source in sources.values()] == [1, 2, 1, 1, 1, 1]


async def test_a_structure_of_many_parts_counts_against_the_budget() -> None:
    parts = b"".join(b"--b\r\n\r\nx\r\n" for _ in range(500))
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n"
    bodies = cache(memory=10**6)
    await bodies.get_or_fetch("a", Source(raw))
    assert bodies.memory_octets > 10 * len(raw)


async def test_without_a_disk_tier_a_large_body_may_take_a_quarter_of_memory() -> None:
    bodies = cache(memory=400_000, above=10_000)
    fits, too_large = Source(message(80_000)), Source(message(120_000))
    for _ in range(2):
        await bodies.get_or_fetch("a", fits)
        assert whole(await bodies.get_or_fetch("b", too_large)) == too_large.raw
    assert (fits.calls, too_large.calls) == (1, 2)


async def test_the_disk_tier_stays_within_its_budget(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    bodies = cache(folder, memory=1, disk=50_000)
    for n in range(10):
        raw = message(12_000, n)
        assert whole(await bodies.get_or_fetch(f"{n}", Source(raw))) == raw
        assert sum(path.stat().st_size for path in files(folder)) == bodies.disk_octets <= 50_000
    assert len(files(folder)) == 4
    huge = message(60_000)
    assert whole(await bodies.get_or_fetch("huge", Source(huge))) == huge
    assert len(files(folder)) == 4


async def test_a_file_whose_reader_left_while_it_was_written_is_in_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, write = threading.Event(), threading.Event(), DiskTier.write

    def slow(tier: DiskTier, name: str, data: bytes) -> FileBody:
        begun.set()
        assert go_on.wait(10)
        return write(tier, name, data)

    monkeypatch.setattr(DiskTier, "write", slow)
    bodies = cache(tmp_path / "disk")
    reader = asyncio.create_task(bodies.get_or_fetch("a", Source()))
    await asyncio.to_thread(begun.wait, 10)
    reader.cancel()
    await asyncio.wait({reader})
    go_on.set()
    await settled()
    assert bodies.disk_octets == sum(file.stat().st_size for file in (tmp_path / "disk").iterdir()) > 0


async def test_a_body_that_is_in_use_outlives_its_file(tmp_path: Path) -> None:
    bodies = cache(tmp_path / "c", disk=50_000)
    raw = message(20_000)
    body = await bodies.get_or_fetch("a", Source(raw))
    for n in range(5):
        await bodies.get_or_fetch(f"{n}", Source(message(20_000, n)))
    for path in files(tmp_path / "c"):
        path.unlink()
    assert whole(body) == raw


async def test_descriptors_are_given_back(tmp_path: Path) -> None:
    bodies = cache(tmp_path / "c", disk=10**8)
    before = len(os.listdir("/proc/self/fd"))
    for n in range(80):
        await bodies.get_or_fetch(f"{n}", Source(message(20_000, n)))
    assert len(os.listdir("/proc/self/fd")) <= before + 34
    del bodies
    assert len(os.listdir("/proc/self/fd")) <= before + 2


async def test_nothing_on_disk_is_readable_or_named_after_anything(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    bodies = cache(folder)
    await bodies.get_or_fetch("alice/M123", Source(b"PLAINTEXT-MARKER" * 100))
    [path] = files(folder)
    assert b"PLAINTEXT" not in path.read_bytes()
    assert "alice" not in path.name
    assert "M123" not in path.name
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)


def flip(path: Path) -> None:
    octets = bytearray(path.read_bytes())
    octets[-1] ^= 1
    path.write_bytes(octets)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def cut_within_the_head(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def claim_another_size(path: Path) -> None:
    octets = bytearray(path.read_bytes())
    octets[HEAD - 1] ^= 1
    path.write_bytes(octets)


def another_version(path: Path) -> None:
    path.write_bytes(b"\2" + path.read_bytes()[1:])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def vanish(path: Path) -> None:
    path.unlink()


FAULTS = [flip, cut, cut_within_the_head, lengthen, claim_another_size, another_version, empty, vanish]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_damaged_file_counts_as_absent(tmp_path: Path, fault: Callable[[Path], None]) -> None:
    folder = tmp_path / "c"
    raw = message(90_000)
    await cache(folder).get_or_fetch("a", Source(raw))
    bodies, source = cache(folder), Source(raw)
    fault(files(folder)[0])
    assert whole(await bodies.get_or_fetch("a", source)) == raw
    assert source.calls == 1
    assert whole(await cache(folder).get_or_fetch("a", Source(b""))) == raw


async def test_a_file_under_another_message_s_name_is_never_served(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    bodies = cache(folder)
    await bodies.get_or_fetch("a", Source(message(5_000, 1)))
    [a] = files(folder)
    await bodies.get_or_fetch("b", Source(message(5_000, 2)))
    [b] = set(files(folder)) - {a}
    a.write_bytes(b.read_bytes())
    right = Source(message(5_000, 1))
    assert whole(await cache(folder).get_or_fetch("a", right)) == right.raw
    assert right.calls == 1


async def test_a_full_disk_costs_only_the_disk_tier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: DiskTier, name: str, data: bytes) -> FileBody:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DiskTier, "write", full)
    bodies, source = cache(tmp_path / "c"), Source()
    for _ in range(2):
        assert whole(await bodies.get_or_fetch("a", source)) == MESSAGE
    assert source.calls == 1


async def test_what_a_killed_process_left_is_cleaned_and_bounded_at_start(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    first = cache(folder)
    for n in range(4):
        await first.get_or_fetch(f"{n}", Source(message(12_000, n)))
        newest = max(files(folder), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (n, n))
    (folder / ".draft-abc").write_bytes(b"half")
    (folder / ("f" * 64)).write_bytes(b"x" * 100_000)
    one = HEAD + sealed_size(12_000)
    again = cache(folder, disk=2 * one)
    assert again.disk_octets == 2 * one
    assert len(files(folder)) == 2
    sources = [Source(message(12_000, n)) for n in range(4)]
    for n in (3, 2):
        await again.get_or_fetch(f"{n}", sources[n])
    assert [source.calls for source in sources] == [0, 0, 0, 0]


async def test_the_shape_of_a_fetch_is_any_awaitable() -> None:
    async def fetch() -> bytes:
        return MESSAGE

    given: Callable[[], Awaitable[bytes]] = fetch
    assert whole(await cache().get_or_fetch("a", given)) == MESSAGE


def test_a_file_that_cannot_be_read_leaves_no_descriptor_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = DiskTier(tmp_path, 10**6, KEY)
    name = tier.name("a")
    tier.write(name, MESSAGE)

    def fails(*_: object) -> bytes:
        raise OSError("the disk is gone")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "pread", fails)
    for _ in range(5):
        with pytest.raises(OSError, match="gone"):
            tier.read(name)
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("disk", [False, True])
async def test_the_structure_of_what_is_large_is_not_looked_for_on_the_loop(
    tmp_path: Path, disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gateway.mailbox.cache as memory_tier
    import gateway.mailbox.disktier as disk_tier

    threads: list[bool] = []
    for module in (memory_tier, disk_tier):
        real = module.scan

        def scan(raw: bytes, real: Callable[[bytes], object] = real) -> object:
            threads.append(threading.current_thread() is threading.main_thread())
            return real(raw)

        monkeypatch.setattr(module, "scan", scan)
    for above in (10_000, 10**8):  # kept as a file, and in memory
        near = cache(tmp_path if disk else None, memory=10**8, above=above)
        body = await near.get_or_fetch(f"{above}", Source(message(2 * 2**20)))
        assert body.part.end == body.size
    assert threads == [False, False]
