"""`python -m tests.bench [rows...] [--json FILE] [--plots DIR] [--quick]`: see tests/bench/README.md."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.bench import cached, cold, growth, idle, startup, submission
from tests.bench.report import Report, plot

Measure = Callable[[Sequence[str], Any, Report], None]
# group -> (its rows, how to measure them, sizes, tiny sizes)
GROUPS: dict[str, tuple[Sequence[str], Measure, Any, Any]] = {
    "cached": (tuple(cached.ROWS), cached.measure, cached.Sizes(), cached.QUICK),
    "cold": (tuple(cold.WORK), cold.measure, cold.Sizes(), cold.QUICK),
    "growth": (tuple(growth.ROWS), growth.measure, growth.COUNTS, growth.QUICK),
    "idle": (tuple(idle.ROWS), idle.measure, idle.Sizes(), idle.QUICK),
    "submission": (tuple(submission.ROWS), submission.measure, submission.Sizes(), submission.QUICK),
    "startup": (tuple(startup.ROWS), startup.measure, startup.Sizes(), startup.QUICK),
}


def run(wanted: Sequence[str], *, quick: bool) -> Report:
    """Rows by name, or groups of them; none means all."""
    report = Report()
    for group, (rows, measure, sizes, tiny) in GROUPS.items():
        chosen = rows if not wanted or group in wanted else [row for row in rows if row in wanted]
        if chosen:
            measure(chosen, tiny if quick else sizes, report)
    return report


def main() -> None:
    names = [name for group, (rows, *_) in GROUPS.items() for name in (group, *rows)]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="row", help=f"rows or groups: {', '.join(names)}")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--plots", type=Path, help="draw cost against N into this folder (extra `bench`)")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: whether it runs, not how fast it is"
    )
    chosen = parser.parse_args()
    unknown = set(chosen.rows) - set(names)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    report = run(chosen.rows, quick=chosen.quick)
    report.show()
    if chosen.json:
        report.write(chosen.json)
    if chosen.plots:
        plot(report.figures, chosen.plots)


if __name__ == "__main__":
    main()
