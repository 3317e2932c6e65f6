"""The allocator's threshold is where it should be, and stays there."""

from __future__ import annotations

import ctypes
from typing import Any
from unittest import mock

import pytest

from gateway.allocator import LARGE, keep_large_apart


def test_the_c_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    library: Any = mock.Mock(mallopt=lambda what, value: told.append((what, value)))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    keep_large_apart()
    assert told == [(-3, LARGE)]


def test_one_without_such_a_thing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_large_apart()


def test_the_real_one_takes_it() -> None:
    keep_large_apart()
    assert len(bytes(LARGE * 2)) == LARGE * 2
