"""A PostgreSQL server of the tests' own: a temporary cluster on a unix socket and a free port of loopback, started once
per run on demand and ended with it. Debian's package, found where Debian puts it, or on the path."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

OPTIONS = (
    "-c fsync=off -c full_page_writes=off -c shared_buffers=32MB -c max_connections=200"
    " -c wal_level=minimal -c max_wal_senders=0 -c autovacuum=off"
)


def binaries() -> Path | None:
    """Where initdb and postgres are."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def require() -> Path:
    """Skips the test where there is no server, by name; fails it where everything must be there."""
    found = binaries()
    if found is None or find_spec("asyncpg") is None:
        message = "PostgreSQL or asyncpg is not installed"
        if os.environ.get("GATEWAY_REQUIRE_CLIENTS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return found


class Server:
    """One cluster. `database()` after `start`; `stop` and `start` again keep the data."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.folder = Path(
            tempfile.mkdtemp(prefix="gateway-pg-", dir="/tmp")
        )  # a socket's path must be short
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._schemas = 0
        self._user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        if self._user:
            shutil.chown(self.folder, self._user)
        subprocess.run(
            [*self._as(), str(programs / "initdb"), "-D", str(self.folder / "data"), "-U", "gateway", "-A", "trust",
             "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def _as(self) -> list[str]:
        return (
            ["setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--clear-groups"]
            if self._user
            else []
        )

    def start(self) -> None:
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder),
                   "-h", "127.0.0.1", "-p", str(self.port), *OPTIONS.split()]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as(), *_ends_with_us(), *command], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def _answers(self) -> bool:
        ready = subprocess.run(
            [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False
        )
        return ready.returncode == 0

    def stop(self) -> None:
        """At once, as a crash: what was committed is there at the next start."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait(20)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self) -> str:
        return f"postgresql://gateway@127.0.0.1:{self.port}/postgres"

    def sql(self, statement: str) -> str:
        """What psql answers, unaligned."""
        command = [str(self._programs / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement]
        return subprocess.run(
            [*command, self.url()], check=True, capture_output=True, text=True
        ).stdout.strip()

    def database(self) -> str:
        """The URL of a new empty schema, which is all a store sees: cheaper than a database."""
        self._schemas += 1
        self.sql(f"CREATE SCHEMA test{self._schemas}")
        return f"{self.url()}?search_path=test{self._schemas}"


@cache
def shared() -> Server:
    """The run's server."""
    server = Server(require())
    atexit.register(server.remove)
    server.start()
    return server


@contextlib.contextmanager
def own() -> Iterator[Server]:
    """A server for one test, which may stop it."""
    server = Server(require())
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _ends_with_us() -> list[str]:
    """The server goes with the run, also one that was killed."""
    return ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
