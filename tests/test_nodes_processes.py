"""Several gateways as processes of their own on one PostgreSQL: one is killed, one is stopped and goes on later."""

from __future__ import annotations

import contextlib
import imaplib
import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from cli_support import Program, control, run, settings, started, write_config

from tests import postgres_server

pytest.importorskip("asyncpg")

ALICE = {"user": "alice@example.com"}
LEASE = 2.0
MESSAGE = b"Subject: kept\r\n\r\nx\r\n"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with started(
        tmp_path_factory.mktemp("emulator"), "emulator", "--port", "0", "--messages", "5"
    ) as program:
        yield program


@pytest.fixture(scope="module")
def pair(emulator: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, Program]]:
    """Two gateways with one key; the last test kills one of them."""
    tmp_path = tmp_path_factory.mktemp("gateways")
    url = postgres_server.shared().database()
    with contextlib.ExitStack() as stack:
        programs: list[Program] = []
        for name in ("one", "two"):
            store = {"url": url, "node": name, "lease": LEASE, "connections": 4}
            sections = settings(emulator.facts, tmp_path / name, store=store)
            if programs:
                (tmp_path / name).mkdir(mode=0o700)
                shutil.copy(tmp_path / "one" / "key", tmp_path / name / "key")
            config = write_config(tmp_path / f"{name}.toml", sections, ALICE)
            programs.append(
                stack.enter_context(started(tmp_path / f"run-{name}", "serve", "--config", str(config)))
            )
            programs[-1].facts["config"] = str(config)
        yield programs[0], programs[1]


def append(box: imaplib.IMAP4, mailbox: str = "INBOX") -> int:
    """The UID it was given."""
    status, data = box.append(mailbox, "", imaplib.Time2Internaldate(1_700_000_000), MESSAGE)
    assert status == "OK", data
    assert isinstance(data[0], bytes)
    found = re.search(rb"APPENDUID \d+ (\d+)", data[0])
    assert found is not None
    return int(found[1])


def uids(box: imaplib.IMAP4) -> list[int]:
    assert box.select()[0] == "OK"
    return [int(uid) for uid in box.uid("SEARCH", "ALL")[1][0].split()]


def figure(program: Program, name: str) -> float:
    (line,) = [row for row in program.web("/metrics").text.splitlines() if row.startswith(f"{name} ")]
    return float(line.split()[1])


def soon(check: Callable[[], bool], seconds: float = 25.0) -> None:
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until
        time.sleep(0.1)


def heard(box: imaplib.IMAP4, pattern: bytes, seconds: float = 25.0) -> None:
    assert box.sock is not None
    box.sock.settimeout(seconds)
    while pattern not in box.readline():
        pass


def test_one_is_stopped_loses_its_duty_and_comes_back(
    pair: tuple[Program, Program], emulator: Program
) -> None:
    one, two = pair
    with one.logged_in() as at_one, two.logged_in() as at_two:
        before = [append(at_one), append(at_two)]
        soon(lambda: figure(one, "gateway_duties") + figure(two, "gateway_duties") == 1)
        boxes = {id(one): at_one, id(two): at_two}
        stopped, other = (one, two) if figure(one, "gateway_duties") else (two, one)
        stopped.process.send_signal(signal.SIGSTOP)
        try:
            soon(lambda: figure(other, "gateway_duties") == 1)
            later = append(boxes[id(other)])
        finally:
            stopped.process.send_signal(signal.SIGCONT)
        soon(lambda: figure(stopped, "gateway_deaths_total") == 1 and stopped.web("/readyz").json()["ready"])
        assert figure(stopped, "gateway_duties") == 0 and figure(other, "gateway_duties") == 1
        assert append(boxes[id(stopped)]) > later > max(before)
        soon(lambda: uids(boxes[id(stopped)]) == uids(boxes[id(other)]))
        for program in pair:
            assert "Traceback" not in program.stderr and "SERVERBUG" not in program.stderr


def test_one_is_killed_and_the_other_goes_on(pair: tuple[Program, Program], emulator: Program) -> None:
    one, two = pair
    with contextlib.ExitStack() as stack:
        at_one, at_two = one.logged_in(), two.logged_in()
        for box in (at_one, at_two):
            stack.callback(box.shutdown)
        first = [append(at_one), append(at_two), append(at_one)]
        assert first == sorted(set(first))
        soon(lambda: figure(one, "gateway_nodes") == 2)
        soon(lambda: figure(one, "gateway_duties") + figure(two, "gateway_duties") == 1)
        listed = json.loads(run("nodes", "--config", one.facts["config"], "--json").stdout)["nodes"]
        assert sorted(each["name"] for each in listed) == ["one", "two"]
        assert sum(each["duties"] for each in listed) == 1
        assert all(0 < each["left"] <= LEASE for each in listed)
        assert "one (node " in run("nodes", "--config", one.facts["config"]).stdout
        killed, left, at_left = (one, two, at_two) if figure(one, "gateway_duties") else (two, one, at_one)
        soon(lambda: uids(at_left)[-3:] == first)
        at_left.send(b"idle IDLE\r\n")
        heard(at_left, b"+ ")
        killed.process.kill()
        killed.process.wait(20)
        control(
            emulator, "POST", "users/alice@example.com/messages", params={"folder": "inbox"}, content=MESSAGE
        )
        heard(at_left, b"EXISTS")  # polled by whoever is left, once the lease has run out
        at_left.send(b"DONE\r\n")
        heard(at_left, b"idle OK")
        soon(lambda: figure(left, "gateway_duties") == 1 and figure(left, "gateway_nodes") == 1)
        assert append(at_left) > max(first)
        assert set(first) < set(uids(at_left))
        octets = at_left.uid("FETCH", str(first[0]), "(BODY.PEEK[])")[1][0][1]
        assert octets == MESSAGE
        assert left.web("/readyz").json()["ready"]
