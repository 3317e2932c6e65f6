"""Graph's times: whole seconds, UTC, written with a Z (contract trap 48)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d(?::\d\d)?)(\.\d{1,7})?(Z|[+-]\d\d:\d\d)?)?\Z", re.IGNORECASE
)


@lru_cache(maxsize=65536)
def iso(seconds: int) -> str:
    """`2026-01-02T03:04:05Z`."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")
    except (ValueError, OverflowError, OSError):
        return "0001-01-01T00:00:00Z"


def parse(text: str) -> float | None:
    """Seconds since 1970 of an ISO time (UTC unless it says otherwise), None where it is none."""
    match = _ISO.match(text.strip())
    if not match:
        return None
    day, clock, fraction, zone = match.groups()
    clock = clock or "00:00:00"
    if len(clock) == 5:
        clock += ":00"
    zone = "+00:00" if not zone or zone in "Zz" else zone
    try:
        whole = datetime.fromisoformat(f"{day}T{clock}{zone}").timestamp()
    except (ValueError, OverflowError):
        return None
    return whole + float(fraction or 0)
