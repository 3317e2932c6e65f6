"""The state key: 32 random octets in a file that only its owner can read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gateway.store.errors import StoreError

KEY_OCTETS = 32
KEY_NAME = "key"


def load_or_create_key(path: Path, randbytes: Callable[[int], bytes] = os.urandom) -> bytes:
    """The key in `path`, made on first use (mode 0600, its folder 0700 if it is made too).

    Whole or not at all: it is written beside, synced and linked into place, so two processes that start
    together agree on one key. StoreError if the file is there but holds something else: a new key would
    orphan everything.
    """
    try:
        return _load(path)
    except FileNotFoundError:
        _create(path, randbytes(KEY_OCTETS))
        return _load(path)


def private_folder(path: Path) -> None:
    """`path` as a folder with mode 0700, made if it is missing. One that is there and open to others is narrowed if
    it is empty or holds a state key; StoreError if it is somebody else's (`/tmp`)."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.stat().st_mode & 0o077:
        return
    if any(path.iterdir()) and not (path / KEY_NAME).exists():
        raise StoreError(f"{path} holds other files: name a folder of its own for the state")
    path.chmod(0o700)


def _load(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != KEY_OCTETS:
        raise StoreError(f"{path} is not a key of {KEY_OCTETS} octets")
    path.chmod(0o600)
    return key


def _create(path: Path, key: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, key)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(draft, path)  # fails if another process was first: its key counts
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make names in this folder survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
