"""Two gateways never share a state folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.store.errors import StoreError
from gateway.store.statelock import StateLock

HOLD = """
import sys
from pathlib import Path
from gateway.store.statelock import StateLock
StateLock(Path(sys.argv[1])).take()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_lock_on_the_folder_is_refused_until_the_first_is_released(tmp_path: Path) -> None:
    first, second = StateLock(tmp_path), StateLock(tmp_path)
    first.take()
    with pytest.raises(StoreError, match="in use by another gateway"):
        second.take()
    first.release()
    second.take()
    second.release()


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError):
            StateLock(tmp_path).take()
        holder.kill()
        holder.wait()
    lock = StateLock(tmp_path)
    lock.take()
    lock.release()
