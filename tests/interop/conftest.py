"""One demo for all clients; a missing client is said aloud, and fails where GATEWAY_REQUIRE_CLIENTS=1; and the
table of what passed, into the file GATEWAY_LAB_TABLE (README.md) or to the terminal."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.lab import CLIENTS, MESSAGES, Demo, missing, start_demo, stop_demo

HERE = Path(__file__).parent
BEGIN, END = "<!-- client lab: begin -->", "<!-- client lab: end -->"
_passed: Counter[str] = Counter()
_failed: Counter[str] = Counter()
_absent: set[str] = set()


def client_of(path: Path) -> str | None:
    """tests/interop/test_mutt.py drives mutt."""
    name = path.stem.removeprefix("test_")
    return name if path.parent == HERE and name in CLIENTS else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if client_of(item.path):
            item.add_marker(pytest.mark.interop)


@pytest.fixture(autouse=True, scope="module")  # before any fixture that starts the client
def _client_is_here(request: pytest.FixtureRequest) -> None:
    name = client_of(request.path)
    if name is None or not missing(name):
        return
    _absent.add(name)
    text = f"the client {CLIENTS[name].program} is not installed"
    if os.environ.get("GATEWAY_REQUIRE_CLIENTS") == "1":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = start_demo(tmp_path_factory.mktemp("demo"), f"--messages={MESSAGES}")
    yield running
    stop_demo(running)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    name = client_of(
        Path(report.fspath) if Path(report.fspath).is_absolute() else HERE / Path(report.fspath).name
    )
    if name is None or f"interop{os.sep}" not in str(report.fspath):
        return
    if report.when == "call" and report.passed:
        _passed[name] += 1
    elif report.failed:
        _failed[name] += 1


def _table() -> list[str]:
    """Markdown, as the README has it."""
    rows = [("client", "version", "scenarios passed", "failed"), ("---",) * 4]
    for name in CLIENTS:
        if _passed[name] or _failed[name]:
            rows.append((name, _version(name), str(_passed[name]), str(_failed[name])))
    return ["| " + " | ".join(row) + " |" for row in rows]


def _put(readme: Path, table: list[str]) -> None:
    """The table between its two marks, instead of the last run's."""
    head, _, rest = readme.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    assert tail, f"{readme} has no {BEGIN} ... {END}"
    readme.write_text("\n".join([head + BEGIN, *table, END]) + tail)


def _version(name: str) -> str:
    if missing(name):
        return "missing"
    said = CLIENTS[name].version()
    number = re.search(r"\d+(?:\.\d+)*\w*", said)
    return number[0] if number else said[:40]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name in sorted(_absent):
        terminalreporter.line(
            f"client lab: {CLIENTS[name].program} is missing: its scenarios were not run", red=True
        )
    if not (_passed or _failed):
        return
    table = _table()
    if target := os.environ.get("GATEWAY_LAB_TABLE"):
        _put(Path(target), table)
    else:
        terminalreporter.section("client lab")
        for line in table:
            terminalreporter.line(line)
