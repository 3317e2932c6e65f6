"""Searchable texts: bounded, oldest first, nothing readable on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.types import AccountId
from gateway.store import texts
from gateway.store.sqlite import SqliteStore

ALICE = AccountId("alice")
BOUND = 20_000


def incompressible(number: int) -> str:
    return "".join(chr(0x4E00 + (number * 7919 + place * place * 31) % 20_000) for place in range(1000))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store.db", key=b"k" * 32, clock=lambda: 0.0, text_octets=BOUND)
    await made.open()
    yield made
    await made.close()


def octets(tmp_path: Path) -> int:
    with sqlite3.connect(tmp_path / "store.db") as db:
        return int(db.execute("SELECT COALESCE(SUM(octets), 0) FROM body_text").fetchone()[0])


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())


async def test_the_oldest_go_when_the_bound_is_reached(store: SqliteStore, tmp_path: Path) -> None:
    for number in range(30):
        await store.put_texts(ALICE, {f"M{number}": incompressible(number)})
        assert octets(tmp_path) <= BOUND
    kept = await store.texts(ALICE, [f"M{number}" for number in range(30)])
    newest = [f"M{number}" for number in range(30 - len(kept), 30)]
    assert sorted(kept, key=lambda name: int(name[1:])) == newest
    assert len(kept) >= 4
    assert kept["M29"] == incompressible(29)


async def test_what_is_put_again_is_not_counted_twice(store: SqliteStore) -> None:
    await store.put_texts(ALICE, {"first": incompressible(1)})
    for _ in range(50):
        await store.put_texts(ALICE, {"again": incompressible(2)})
    assert set(await store.texts(ALICE, ["first", "again"])) == {"first", "again"}


async def test_a_bound_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db", key=b"k" * 32, clock=lambda: 0.0, text_octets=0)
    await store.open()
    await store.put_texts(ALICE, {"M1": "TEXT"})
    assert await store.texts(ALICE, ["M1"]) == {}
    await store.close()


async def test_a_text_of_another_version_is_no_text(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put_texts(ALICE, {"M1": "TEXT"})
    monkeypatch.setattr(texts, "VERSION", b"\2")
    assert await store.texts(ALICE, ["M1"]) == {}


async def test_no_word_of_a_text_is_on_disk(store: SqliteStore, tmp_path: Path) -> None:
    await store.put_texts(ALICE, {"M1": "CONFIDENTIAL"})
    await store.close()
    assert b"CONFIDENTIAL" not in on_disk(tmp_path)
