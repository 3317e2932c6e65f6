"""The short form of the fault soak: some seconds in which every fourth request to Graph fails, and everything holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.faults import soak
from tests.soak.reader import LATER


@pytest.mark.slow
async def test_whatever_fails_nothing_acknowledged_is_lost_and_nobody_is_dropped(tmp_path: Path) -> None:
    made = await soak(
        tmp_path, seconds=6, clients=6, seed=2026, think=0.15, pace=0.4, sizes=(600, 1500, 20_000)
    )
    assert sum(book.promises for book in made.books.values()) > 100
    assert made.answers.total() > 50
    assert {key.rpartition(" ")[2] for key in made.answers} <= {"OK", *LATER}
    said = (tmp_path / "gateway.log").read_text()
    assert "Traceback" not in said and "imap.bug" not in said, said[-4000:]
