"""The short form of the kill test: each kind of work killed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.kill import WORK, run


@pytest.mark.slow
def test_kill_at_any_moment_loses_nothing_and_doubles_nothing(tmp_path: Path):
    kill = run(tmp_path, times=len(WORK), seed=20260)
    assert kill.ledger.promises > 500 and len(kill.ledger.validity) >= 5
    said = (tmp_path / "gateway.log").read_text()
    assert "Traceback" not in said, said[-4000:]
