"""Time and requests of each operation against the number of messages, and what a large folder costs in memory.

One emulator, a mailbox of each size; the first sync of each is a row of its own. Memory is that of a gateway that was
started anew (what a first sync passes through is given back to the allocator, not to the system).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx

from tests.bench import rig
from tests.bench.imap import Client
from tests.bench.mail import USER
from tests.bench.report import Figure, Report
from tests.bench.rig import PASSWORD, Server

COUNTS = (1_000, 10_000, 100_000)
QUICK = (20, 50)
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    command: str  # `{box}`: the mailbox
    selected: bool = True
    rounds: int = ROUNDS


ROWS: dict[str, Row] = {
    "g-first-sync": Row("SELECT, first time", "SELECT {box}", selected=False, rounds=1),
    "g-select": Row("SELECT, warm", "SELECT {box}", selected=False),
    "g-status": Row("STATUS, warm", "STATUS {box} (MESSAGES UNSEEN UIDNEXT HIGHESTMODSEQ)", selected=False),
    "g-noop": Row("NOOP", "NOOP", rounds=50),
    "g-fetch-10": Row("FETCH of the last 10: FLAGS", "FETCH *:10 (UID FLAGS)", rounds=50),
    "g-flags": Row("UID FETCH 1:* (FLAGS)", "UID FETCH 1:* (FLAGS)"),
    "g-unseen": Row("UID SEARCH UNSEEN", "UID SEARCH UNSEEN"),
    "g-envelope-first": Row("FETCH 1:* (ENVELOPE), first time", "FETCH 1:* (ENVELOPE)", rounds=1),
    "g-envelope": Row("FETCH 1:* (ENVELOPE), again", "FETCH 1:* (ENVELOPE)"),
    "g-from": Row("UID SEARCH FROM", "UID SEARCH FROM nobody"),
    "g-memory": Row("memory of the open folder", "", rounds=1),
}


def measure(wanted: Sequence[str], counts: Sequence[int], report: Report) -> None:
    boxes = {f"N{count}": count for count in counts}
    with ExitStack() as stack:
        place = stack.enter_context(rig.folder())
        graph = stack.enter_context(rig.emulator(place, {"variants": boxes}))
        config = rig.write_config(place, graph)
        with (
            rig.gateway(place, config) as ours,
            httpx.Client(base_url=graph["control_url"] + "/", timeout=60) as control,
        ):
            for box, count in boxes.items():
                _grow(wanted, box, count, ours, control, report)
        if "g-memory" in wanted:
            with rig.gateway(place, config) as ours:
                _memory(boxes, ours, report)


def _grow(
    wanted: Sequence[str], box: str, count: int, ours: Server, control: httpx.Client, report: Report
) -> None:
    client = Client(ours.port)
    client.login(USER, PASSWORD)
    for key, row in ROWS.items():
        needed = key in wanted or key in ("g-first-sync", "g-envelope-first")
        if row.command and needed:
            _measure(key, row, box, count, client, control, report, told=key in wanted)
    client.close()


def _measure(
    key: str,
    row: Row,
    box: str,
    count: int,
    client: Client,
    control: httpx.Client,
    report: Report,
    *,
    told: bool,
) -> None:
    first = str(max(1, count - 9))
    command = row.command.format(box=box).replace("*:10", f"{first}:*")
    if row.selected:
        client.run(f"SELECT {box}")
    seconds: list[float] = []
    control.delete("log")
    for _ in range(row.rounds):
        if not row.selected:
            client.run("UNSELECT", check=False)
        began = time.perf_counter()
        client.run(command)
        seconds.append(time.perf_counter() - began)
    requests = _requests(control.get("log").json()["requests"])
    if told:
        report.add(
            Figure(
                "growth",
                key,
                row.title,
                "gateway",
                "ms",
                statistics.median(seconds) * 1e3,
                requests=requests,
                n=count,
            )
        )


def _requests(log: Sequence[dict[str, Any]]) -> int:
    return sum("_emulator" not in each["path"] for each in log)


def _memory(boxes: dict[str, int], ours: Server, report: Report) -> None:
    """MB that SELECT and FETCH of all flags add, smallest folder first."""
    client = Client(ours.port)
    client.login(USER, PASSWORD)
    client.run("SELECT INBOX")
    for box, count in boxes.items():
        before = ours.memory()
        client.run(f"SELECT {box}")
        client.run("UID FETCH 1:* (FLAGS)")
        grown = (ours.memory() - before) / 1e6
        report.add(Figure("growth", "g-memory", ROWS["g-memory"].title, "gateway", "MB", grown, n=count))
    client.close()
