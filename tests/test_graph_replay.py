"""The Graph client against exchanges written by hand from the contract (see replay/player.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from replay.player import play

FILES = sorted((Path(__file__).parent / "replay" / "exchanges").glob("*.toml"))


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 25


@pytest.mark.parametrize("text", [pytest.param(path.read_text(), id=path.stem) for path in FILES])
async def test_exchange(text: str) -> None:
    await play(text)
