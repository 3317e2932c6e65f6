"""The short form of the fuzz: every kept input, and a few hundred mutations of them under fixed seeds."""

from __future__ import annotations

import random

import pytest

from .framer import mutate
from .targets import TARGETS, seeds

MUTATIONS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs(name: str) -> None:
    kept = seeds(name)
    assert kept, "a target without seeds tries nothing"
    for data in kept:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name: str) -> None:
    rng, kept = random.Random(1), seeds(name)
    for _ in range(MUTATIONS):
        data = bytearray(rng.choice(kept))
        for _ in range(rng.randint(1, 5)):
            mutate(data, rng)
        try:
            TARGETS[name](bytes(data))
        except BaseException as error:
            error.add_note(f"input: {bytes(data)!r}")
            raise
