"""Sealed token caches."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.graph.seal import Sealed
from gateway.graph.token import new_sealed_file


@given(st.binary(max_size=500))
def test_what_is_saved_is_loaded_and_not_readable(plain: bytes) -> None:
    kept: list[bytes] = []
    sealed = Sealed(b"k" * 32, "alice", lambda: kept[-1], kept.append)
    sealed.save(plain)
    assert sealed.load() == plain
    assert len(plain) < 4 or plain not in kept[0]


@pytest.mark.parametrize(("key", "name"), [(b"o" * 32, "alice"), (b"k" * 32, "bob")])
def test_another_key_or_account_cannot_open_it(key: bytes, name: str) -> None:
    kept: list[bytes] = []
    Sealed(b"k" * 32, "alice", lambda: None, kept.append).save(b"secret")
    with pytest.raises(ValueError):
        Sealed(key, name, lambda: kept[0], kept.append).load()


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:5], lambda b: bytes([b[0] ^ 1]) + b[1:]])
def test_damage_is_noticed(damage: object) -> None:
    kept: list[bytes] = []
    Sealed(b"k" * 32, "a", lambda: None, kept.append).save(b"secret")
    with pytest.raises(ValueError):
        Sealed(b"k" * 32, "a", lambda: damage(kept[0]), kept.append).load()  # type: ignore[operator]


def test_a_file_is_its_owners_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "state" / "alice.cache"
    sealed = new_sealed_file(path, b"k" * 32, "alice")
    assert sealed.load() is None
    sealed.save(b"one")
    sealed.save(b"two")
    assert sealed.load() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["alice.cache"]
