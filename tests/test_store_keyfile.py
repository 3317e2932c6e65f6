"""The state key's file: made once, private, never replaced."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.store.errors import StoreError
from gateway.store.keyfile import load_or_create_key, private_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "state" / "key"
    key = load_or_create_key(path)
    assert len(key) == 32
    assert load_or_create_key(path) == key
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert [p.name for p in path.parent.iterdir()] == ["key"]


def test_a_key_that_became_readable_is_narrowed(tmp_path: Path) -> None:
    path = tmp_path / "key"
    load_or_create_key(path)
    path.chmod(0o644)
    load_or_create_key(path)
    assert mode(path) == 0o600


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_file_that_is_no_key_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(StoreError):
        load_or_create_key(path)
    assert path.read_bytes() == content


def test_the_first_of_two_starts_decides(tmp_path: Path) -> None:
    """Another process makes the file between our look and our link: its key counts."""
    path = tmp_path / "key"

    def racing(count: int) -> bytes:
        path.write_bytes(b"w" * 32)
        return b"l" * count

    assert load_or_create_key(path, racing) == b"w" * 32


def test_starts_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda n: load_or_create_key(tmp_path / f"{n % 5}" / "key"), [0, 1, 2, 3, 4]))
    assert len(keys) == 5


def test_a_private_folder_is_narrowed(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir(mode=0o755)
    private_folder(folder)
    assert mode(folder) == 0o700


def test_a_folder_of_others_is_not_narrowed(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    (shared / "letter").write_text("mine")
    with pytest.raises(StoreError, match="other files"):
        private_folder(shared)
    assert shared.stat().st_mode & 0o777 == 0o755
