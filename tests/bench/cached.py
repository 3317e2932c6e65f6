"""What is answered from what is here, beside Debian's Dovecot: the same mail, the same commands, one core for each.

Each row is run once unmeasured (its seconds are `first`), then in turns, Dovecot and the gateway, so that both meet the
same machine. Reported are medians; a rate is what a median run comes to.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench import rig
from tests.bench.imap import Client
from tests.bench.local import store_flags
from tests.bench.mail import LARGE, NEEDLE, RARE, SMALL, USER
from tests.bench.report import Figure, Report
from tests.bench.rig import PASSWORD, Server

FIELDS = (
    "DATE FROM SENDER SUBJECT TO CC MESSAGE-ID REFERENCES CONTENT-TYPE CONTENT-DESCRIPTION IN-REPLY-TO REPLY-TO LINES"
    " LIST-POST X-LABEL"
)  # what mutt asks for
CORE = 0  # of the servers; the client has the others


@dataclass(frozen=True, slots=True)
class Sizes:
    small: int = 10_000
    large: int = 1_000
    rounds: int = 7
    noops: int = 2_000
    logins: int = 60

    @property
    def folders(self) -> dict[str, tuple[int, int]]:
        return {SMALL: (self.small, 2_000), LARGE: (self.large, 20_000)}


QUICK = Sizes(small=60, large=12, rounds=1, noops=5, logins=2)
Run = Callable[[Server, Client, Sizes], tuple[float, int]]  # seconds, and how much (octets, or operations)


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    unit: str  # "ms": of one run; "/s": operations per second; "MB/s"
    mailbox: str | None
    run: Run


def _timed(client: Client, commands: Iterable[str]) -> tuple[float, int]:
    octets, began = 0, time.perf_counter()
    for command in commands:
        octets += len(client.run(command))
    return time.perf_counter() - began, octets


def _once(command: str) -> Run:
    return lambda server, client, sizes: _timed(client, [command])


def _one_by_one(server: Server, client: Client, sizes: Sizes) -> tuple[float, int]:
    """Per message."""
    seconds, octets = _timed(client, (f"FETCH {at} BODY.PEEK[]" for at in range(1, sizes.large + 1)))
    return seconds / sizes.large, octets


def _select(server: Server, client: Client, sizes: Sizes) -> tuple[float, int]:
    client.run("UNSELECT")
    return _timed(client, [f"SELECT {SMALL}"])


def _noops(server: Server, client: Client, sizes: Sizes) -> tuple[float, int]:
    return _timed(client, ["NOOP"] * sizes.noops)[0], sizes.noops


def _logins(server: Server, client: Client, sizes: Sizes) -> tuple[float, int]:
    began = time.perf_counter()
    for _ in range(sizes.logins):
        each = Client(server.port)
        each.login(USER, PASSWORD)
        each.run("LOGOUT")
        each.close()
    return time.perf_counter() - began, sizes.logins


def _store(server: Server, client: Client, sizes: Sizes) -> tuple[float, int]:
    """Flags of all the large ones, taken off again unmeasured. Of ours the local part alone: Graph is what it is."""
    if server.name == "gateway":
        return store_flags(sizes.large, 1)[0], sizes.large
    found = _timed(client, ["UID STORE 1:* +FLAGS (\\Flagged)"])
    client.run("UID STORE 1:* -FLAGS.SILENT (\\Flagged)")
    return found


ROWS: dict[str, Row] = {
    "flags": Row("UID FETCH 1:* (FLAGS), 10,000", "ms", SMALL, _once("UID FETCH 1:* (FLAGS)")),
    "envelope": Row(
        "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE), 10,000", "ms", SMALL,
        _once("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)"),
    ),
    "fields": Row(
        "UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (...)]), 10,000", "ms", SMALL,
        _once(f"UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS ({FIELDS})])"),
    ),
    "bodies": Row("UID FETCH 1:* BODY.PEEK[], 1,000 of 20 KB", "MB/s", LARGE, _once("UID FETCH 1:* BODY.PEEK[]")),
    "body": Row("FETCH n BODY.PEEK[], one of 20 KB", "ms", LARGE, _one_by_one),
    "store-local": Row("UID STORE 1:* +FLAGS, 1,000: our part of it", "ms", LARGE, _store),
    "from": Row("UID SEARCH FROM, 10,000", "ms", SMALL, _once(f"UID SEARCH FROM {RARE}")),
    "subject": Row("UID SEARCH SUBJECT, 10,000", "ms", SMALL, _once(f"UID SEARCH SUBJECT {NEEDLE}")),
    "select": Row("SELECT, 10,000", "ms", SMALL, _select),
    "noop": Row("NOOP", "/s", SMALL, _noops),
    "login": Row("connect, LOGIN, LOGOUT", "/s", None, _logins),
}  # fmt: skip


def measure(wanted: Sequence[str], sizes: Sizes, report: Report) -> None:
    """Fills the report with the wanted rows of ROWS."""
    with ExitStack() as stack:
        place = stack.enter_context(rig.folder())
        plan = {"folders": sizes.folders}
        ours, _ = stack.enter_context(rig.before_emulator(place, plan, core=CORE))
        theirs = stack.enter_context(rig.dovecot(place, sizes.folders, core=CORE))
        clients = {server.name: Client(server.port) for server in (theirs, ours)}
        for client in clients.values():
            client.login(USER, PASSWORD)
        for key in wanted:
            _row(key, ROWS[key], (theirs, ours), clients, sizes, report)
        for client in clients.values():
            client.close()


def _row(
    key: str, row: Row, servers: Sequence[Server], clients: Mapping[str, Client], sizes: Sizes, report: Report
) -> None:
    runs: dict[str, list[float]] = {server.name: [] for server in servers}
    cpu: dict[str, float] = dict.fromkeys(runs, 0.0)
    first: dict[str, float] = {}
    amounts: dict[str, int] = {}
    for turn in range(sizes.rounds + 1):
        for server in servers:
            client = clients[server.name]
            if turn == 0 and row.mailbox:
                client.run(f"SELECT {row.mailbox}")
            before = server.cpu()
            seconds, amount = row.run(server, client, sizes)
            if turn == 0:
                first[server.name] = seconds
            else:
                runs[server.name].append(seconds)
                amounts[server.name] = amount
                cpu[server.name] += server.cpu() - before
    for name, seconds in runs.items():
        middle, best = statistics.median(seconds), min(seconds)
        amount = amounts[name]
        figure = Figure(
            group="cached", key=key, title=row.title, who=name, unit=row.unit, value=_in(row.unit, middle, amount),
            best=_in(row.unit, best, amount), first=_in(row.unit, first[name], amount),
            cpu_ms=cpu[name] / sizes.rounds * 1000, count=amount,
        )  # fmt: skip
        report.add(figure)


def _in(unit: str, seconds: float, amount: int) -> float:
    return {"ms": seconds * 1000, "/s": amount / seconds, "MB/s": amount / seconds / 1e6}[unit]
