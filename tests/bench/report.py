"""What a run has found: figures, a table for people, JSON for programs, plots of cost against N."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PACKAGES = ("uvloop", "httpx", "cryptography", "msgspec")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `bound`: what it is compared with, where that can be computed; `n`: of growth rows."""

    group: str
    key: str
    title: str
    who: str
    unit: str
    value: float
    best: float = 0.0
    first: float = 0.0
    cpu_ms: float = 0.0
    count: int = 0
    requests: int = -1
    bound: float = 0.0
    n: int = 0


@dataclass(slots=True)
class Report:
    figures: list[Figure] = field(default_factory=list)
    console: Console = field(default_factory=lambda: Console(highlight=False))

    def add(self, figure: Figure) -> None:
        self.figures.append(figure)
        words = [f"{figure.who:10} {figure.title[:72]:72} {figure.value:10.2f} {figure.unit:4}"]
        if figure.n:
            words.append(f"N={figure.n}")
        if figure.requests >= 0:
            words.append(f"{figure.requests} requests")
        if figure.bound:
            words.append(f"bound {figure.bound:.2f} (x{figure.value / figure.bound:.2f})")
        if figure.first:
            words.append(f"best {figure.best:.2f}, first {figure.first:.1f}, CPU {figure.cpu_ms:.1f} ms")
        self.console.print("  ".join(words), soft_wrap=True)

    def of(self, group: str) -> list[Figure]:
        return [figure for figure in self.figures if figure.group == group]

    def show(self) -> None:
        if cached := self.of("cached"):
            self.console.print(_beside(cached))
        if others := [figure for figure in self.figures if figure.group != "cached"]:
            self.console.print(_plain(others))

    def write(self, path: Path) -> None:
        value = {"machine": machine(), "figures": [asdict(figure) for figure in self.figures]}
        path.write_text(json.dumps(value, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """On what this was measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version(),
        "load": os.getloadavg()[0], "dovecot": _dovecot(), **{name: version(name) for name in PACKAGES},
    }  # fmt: skip


def _dovecot() -> str:
    try:
        return subprocess.run(
            ["dovecot", "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _beside(figures: Sequence[Figure]) -> Table:
    table = Table(title="cached, one core (medians; ratio above 1: the gateway is faster)")
    for column in ("operation", "unit", "Dovecot", "gateway", "ratio", "CPU ratio", "first"):
        table.add_column(column, justify="left" if column in ("operation", "unit") else "right")
    for key in dict.fromkeys(figure.key for figure in figures):
        by = {figure.who: figure for figure in figures if figure.key == key}
        ours, theirs = by.get("gateway"), by.get("Dovecot")
        ratio = cpu = ""
        if ours is not None and theirs is not None:
            faster = theirs.value / ours.value if ours.unit in ("ms", "KiB") else ours.value / theirs.value
            ratio = f"{faster:.2f}"
            cpu = f"{theirs.cpu_ms / ours.cpu_ms:.2f}" if ours.cpu_ms and theirs.cpu_ms else ""
        one = ours or theirs
        assert one is not None
        table.add_row(
            one.title, one.unit, *(f"{each.value:.2f}" if each is not None else "" for each in (theirs, ours)),
            ratio, cpu, f"{ours.first:.1f}" if ours is not None and ours.first else "",
        )  # fmt: skip
    return table


def _plain(figures: Sequence[Figure]) -> Table:
    table = Table(title="the gateway before the emulator")
    for column in ("group", "operation", "N", "value", "unit", "bound", "x", "requests"):
        table.add_column(column, justify="left" if column in ("group", "operation", "unit") else "right")
    for one in figures:
        table.add_row(
            one.group, one.title, f"{one.n:,}" if one.n else "", f"{one.value:.2f}", one.unit,
            f"{one.bound:.2f}" if one.bound else "", f"{one.value / one.bound:.2f}" if one.bound else "",
            str(one.requests) if one.requests >= 0 else "",
        )  # fmt: skip
    return table


def plot(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """One picture per operation of the growth rows: time and requests against N. Needs the extra `bench`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for key in dict.fromkeys(figure.key for figure in figures if figure.n):
        points = sorted((each for each in figures if each.key == key and each.n), key=lambda each: each.n)
        shown, axes = pyplot.subplots(figsize=(6, 4))
        axes.plot([each.n for each in points], [each.value for each in points], "o-")
        axes.set(title=points[0].title, xlabel="messages", ylabel=points[0].unit, xscale="log", yscale="log")
        if any(each.requests >= 0 for each in points):
            other = axes.twinx()
            other.plot(
                [each.n for each in points], [each.requests for each in points], "s--", color="tab:orange"
            )
            other.set_ylabel("Graph requests")
        shown.tight_layout()
        path = folder / f"{key}.png"
        shown.savefig(path, dpi=110)
        pyplot.close(shown)
        made.append(path)
    return made
