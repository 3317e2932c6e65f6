"""One process per state folder: UIDs are given out by whoever holds the lock, and two would give one twice."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gateway.store.errors import StoreError


class StateLock:
    """An advisory lock on `folder/lock`, held until `release` or the end of the process, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._descriptor = -1

    def take(self) -> None:
        """StoreError if another process has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise StoreError(f"{self._path.parent} is in use by another gateway: stop it first") from error
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
