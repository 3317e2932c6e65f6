"""The short form of the framer's fuzz: fixed seeds, a few hundred inputs."""

from __future__ import annotations

import pytest

from .framer import fuzz


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_found(seed: int) -> None:
    assert fuzz(seconds=20, seed=seed, most=300) > 100
