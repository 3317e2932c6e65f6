"""The short form of `tests.soak.sending`: every kind of fault at the first requests, a death at each of the first
steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.faultywire import FAULTS
from tests.soak.sending import runs


@pytest.mark.parametrize(("mode", "count"), [("direct", 33), ("queue", 22)])
async def test_each_accepted_message_is_sent_once(tmp_path: Path, mode: str, count: int) -> None:
    seen = await runs(tmp_path, seed=3, first=0, count=count, mode=mode)
    assert seen["accepted"] >= count and all(seen[fault.name] for fault in FAULTS), seen
