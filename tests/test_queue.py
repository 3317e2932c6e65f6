"""`gateway queue`, and the outbox of a whole program: what is accepted survives `kill -9` and is sent once."""

from __future__ import annotations

import asyncio
import json
import smtplib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli_support import PASSWORD, Program, control, run, settings, started, write_config

from gateway.core.types import AccountId
from gateway.mailbox.sending.record import DRAFTING, GIVEN_UP, SENDING, WAITING, Work
from gateway.mailbox.values import Envelope
from gateway.store.keyfile import load_or_create_key
from gateway.store.outgoing import SubmissionRow
from gateway.store.sqlite import SqliteStore
from gateway.store.statelock import StateLock
from tests import postgres_server

ALICE, BOB = "alice@example.com", "bob@example.com"
ACCOUNT = AccountId(ALICE)
GRAPH = {
    "base_url": "https://127.0.0.1:1", "authority": "https://127.0.0.1:1/t", "ca_file": "", "client_id": "c",
    "client_secret": "s",
}  # fmt: skip


def letter(subject: str) -> str:
    return f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.com>\r\n\r\nHello.\r\n"


class State:
    """A state folder that no gateway uses now."""

    def __init__(self, folder: Path) -> None:
        self.dir = folder / "state"
        self.dir.mkdir(mode=0o700)
        sections = settings(GRAPH, self.dir)
        sections["graph"].pop("ca_file")
        self.config = write_config(folder / "gateway.toml", sections, {"user": ALICE})
        self.key = load_or_create_key(self.dir / "key")

    def put(self, queue_id: str, state: str = WAITING, **work: Any) -> None:
        made = Work(f"<{queue_id}@x>", 0, envelope=Envelope(ALICE, (BOB, "c@x.org")), size=1234, **work)

        async def add(store: SqliteStore) -> None:
            blob = await store.put_blob(queue_id.encode())
            row = SubmissionRow(
                ACCOUNT, queue_id, state, msgspec.json.encode(made), True, due=2_000_000_000, blob=blob
            )
            await store.submission_add(row, queue_id.encode())

        self.with_store(add)

    def with_store(self, work: Any) -> Any:
        async def inside() -> Any:
            store = SqliteStore(self.dir / "gateway.db", key=self.key, clock=time.time)
            await store.open()
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(inside())

    def rows(self) -> dict[str, SubmissionRow]:
        return {row.queue_id: row for row in self.with_store(lambda store: store.submissions(ACCOUNT))}

    def queue(self, *words: str) -> Any:
        done = run("queue", *words, "--config", str(self.config), "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, *words: str) -> str:
        done = run("queue", *words, "--config", str(self.config))
        assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
        return done.stderr


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


def test_nothing_has_run_yet(state: State) -> None:
    assert "holds no state" in state.refused("list")


def test_list_and_show(state: State) -> None:
    state.put("one")
    state.put("two", error=(451, "4.4.1", "Exchange does not answer"), attempts=3)
    listed = state.queue("list")["queue"]
    assert [each["queue_id"] for each in listed] == ["one", "two"]
    assert listed[1]["error"] == "451 4.4.1 Exchange does not answer" and listed[1]["attempts"] == 3
    assert (listed[0]["size"], listed[0]["recipients_count"], listed[0]["sender"]) == (1234, 2, ALICE)
    assert listed[0]["next_try"] == "2033-05-18T03:33:20Z"
    shown = state.queue("show", "one")
    assert shown["recipients"] == [BOB, "c@x.org"] and shown["message_id"] == "<one@x>"
    text = run("queue", "list", "--config", str(state.config)).stdout
    assert "one" in text and "1234 octets, 2 recipients, 0 tries" in text and "451 4.4.1" in text


def test_what_is_not_in_the_queue(state: State) -> None:
    state.put("one")
    for words in (["show", "no"], ["retry", "no"], ["drop", "no"]):
        assert "no is not in the queue" in state.refused(*words)


def test_retry_and_flush(state: State) -> None:
    for queue_id in ("one", "two", "three"):
        state.put(queue_id)
    assert state.queue("retry", "two") == {"hastened": 1}
    assert [row.due for row in state.rows().values()] == [2_000_000_000, 0, 2_000_000_000]
    assert state.queue("flush") == {"hastened": 3}
    assert {row.due for row in state.rows().values()} == {0}


def test_drop_leaves_what_is_in_graph_to_the_gateway(state: State) -> None:
    state.put("waits")
    state.put("drafted", DRAFTING)
    state.put("sent perhaps", SENDING, draft="AAkA")
    for queue_id in ("waits", "drafted", "sent perhaps"):
        assert state.queue("drop", queue_id) == {"dropped": queue_id}
    assert {name: row.state for name, row in state.rows().items()} == {
        "drafted": GIVEN_UP,
        "sent perhaps": GIVEN_UP,
    }
    assert state.queue("list") == {"queue": []}
    assert run("queue", "list", "--config", str(state.config)).stdout == "the queue is empty\n"


def test_what_a_running_gateway_is_sending_is_not_dropped(state: State) -> None:
    state.put("one")

    async def claim(store: SqliteStore) -> None:
        (row,) = await store.submissions(ACCOUNT)
        now = int(time.time())
        assert await store.submission_claim(row.id, "gateway", now, now + 10**8)

    state.with_store(claim)
    lock = StateLock(state.dir)
    lock.take()
    assert "being sent" in state.refused("drop", "one")
    assert state.queue("show", "one")["holder"] == "gateway"
    lock.release()
    state.queue("drop", "one")  # the gateway that claimed it is gone


# -- a whole program --


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Program]:
    with started(tmp_path / "emulator", "emulator", "--port", "0", "--messages", "0") as program:
        yield program


def test_accepted_mail_survives_kill_9_and_is_sent_once(emulator: Program, tmp_path: Path) -> None:
    sections = settings(emulator.facts, tmp_path / "state", submission={"mode": "queue"})
    config = write_config(tmp_path / "gateway.toml", sections, {"user": ALICE}, {"user": BOB})
    control(
        emulator,
        "POST",
        "faults",
        json={"method": "POST", "path": "/messages$", "mode": "error", "status": 503},
    )
    with started(tmp_path / "first", "serve", "--config", str(config)) as gateway:
        with smtplib.SMTP("127.0.0.1", gateway.ports["smtp"], timeout=20) as client:
            client.login(ALICE, PASSWORD)
            for subject in ("one", "two", "three"):
                client.sendmail(ALICE, [BOB], letter(subject))
        listed = json.loads(run("queue", "list", "--config", str(config), "--json").stdout)["queue"]
        assert len(listed) == 3
        gateway.kill()
    dropped = listed[1]["queue_id"]
    assert run("queue", "drop", dropped, "--config", str(config)).returncode == 0
    assert run("queue", "flush", "--config", str(config)).returncode == 0
    control(emulator, "DELETE", "faults")
    with started(tmp_path / "second", "serve", "--config", str(config)):
        until = time.monotonic() + 30
        while len(found := control(emulator, "GET", f"users/{BOB}/messages?folder=inbox")) < 2:
            assert time.monotonic() < until, found
            time.sleep(0.1)
    assert [m["subject"] for m in found] == ["one", "three"]
    time.sleep(0.6)  # the emulator files a sent copy half a second later
    copies = control(emulator, "GET", f"users/{ALICE}/messages?folder=sentitems")
    assert [m["subject"] for m in copies] == ["one", "three"]


def test_the_queue_of_a_database(state: State) -> None:
    pytest.importorskip("asyncpg")
    url = postgres_server.shared().database()
    config = state.config.read_text() + f'[store]\nurl = "{url}"\n'
    state.config.write_text(config)

    async def add() -> None:
        from gateway.store.postgres import PostgresStore

        store = PostgresStore(url, key=state.key, clock=time.time)
        await store.open()
        try:
            work = Work("<one@x>", 0, envelope=Envelope(ALICE, (BOB,)))
            row = SubmissionRow(ACCOUNT, "one", WAITING, msgspec.json.encode(work), True, due=2_000_000_000)
            await store.submission_add(row, b"one")
        finally:
            await store.close()

    asyncio.run(add())
    assert [each["queue_id"] for each in state.queue("list")["queue"]] == ["one"]
    assert state.queue("flush") == {"hastened": 1}
    state.queue("drop", "one")
    assert state.queue("list") == {"queue": []}
