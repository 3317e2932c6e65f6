"""The `gateway` program as a user runs it: a process with a configuration file, a state folder and a ready file."""

from __future__ import annotations

import imaplib
import io
import json
import os
import smtplib
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import structlog

from gateway.cli import main
from gateway.mailbox.credentials import hash_password

PASSWORD = "correct-horse"
HASH = hash_password(PASSWORD)
START = 30.0  # seconds a program may take until it listens, on a busy machine
END = 20.0

Sections = Mapping[str, Mapping[str, Any]]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Without settings of the machine's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return {**kept, "COLUMNS": "200", "NO_COLOR": "1", **(extra or {})}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *words]


@dataclass
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def spawn(*words: str, text: str | None = None, env: Mapping[str, str] | None = None) -> Done:
    """A process of its own, to its end, with `text` on standard input."""
    ended = subprocess.run(
        command(*words), input=text, capture_output=True, text=True, timeout=60, env=environment(env), check=False
    )  # fmt: skip
    return Done(ended.returncode, ended.stdout, ended.stderr)


def run(*words: str, text: str | None = None, env: Mapping[str, str] | None = None) -> Done:
    """The same by the console script's function, without the second that a new interpreter takes."""
    out, err = io.StringIO(), io.StringIO()
    status: Any = 0
    with (
        mock.patch.dict(os.environ, environment(env), clear=True),
        mock.patch.multiple(sys, argv=["gateway", *words], stdin=io.StringIO(text or "")),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            status = ended.code
        finally:
            structlog.reset_defaults()
    return Done(int(status or 0), out.getvalue(), err.getvalue())


class Program:
    """A running `gateway` and what its ready file says."""

    def __init__(self, folder: Path, words: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._ready, self._out, self._err = (folder / name for name in ("ready.json", "stdout", "stderr"))
        self._ready.unlink(missing_ok=True)
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command(*words, "--ready-file", str(self._ready)),
                stdout=out,
                stderr=err,
                env=environment(env),
            )
        self.facts = self._wait()

    def _wait(self) -> dict[str, Any]:
        until = time.monotonic() + START
        while not self._ready.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise AssertionError(f"did not start: {self.stderr}")
            time.sleep(0.02)
        facts: dict[str, Any] = json.loads(self._ready.read_text())
        return facts

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()

    @property
    def ports(self) -> dict[str, int]:
        ports: dict[str, int] = self.facts["ports"]
        return ports

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(END)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(END)

    # -- as a client --

    def imap(self) -> imaplib.IMAP4:
        return imaplib.IMAP4("127.0.0.1", self.ports["imap"], timeout=30)

    def logged_in(self, user: str = "alice@example.com", password: str = PASSWORD) -> imaplib.IMAP4:
        box = self.imap()
        box.login(user, password)
        return box

    def smtp(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.ports["smtp"], timeout=30)

    def web(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.ports['web']}{path}")


@contextmanager
def started(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> Iterator[Program]:
    """Runs until the block ends; a program that has not ended by then is killed."""
    program = Program(folder, words, env)
    try:
        yield program
    finally:
        program.kill()


def control(emulator: Program, method: str, path: str, **more: Any) -> Any:
    """The emulator's control API; its JSON answer."""
    trust = ssl.create_default_context(cafile=emulator.facts["ca_file"])
    answer = httpx.request(method, f"{emulator.facts['control_url']}/{path}", verify=trust, **more)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def settings(
    emulator: Mapping[str, Any], folder: Path, **changes: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The sections of a configuration in front of this emulator, on free ports of loopback; a value of None takes
    the key out."""
    sections: dict[str, dict[str, Any]] = {
        "graph": {
            "base_url": f"{emulator['base_url']}/v1.0",
            "authority": emulator["authority"],
            "ca_file": emulator["ca_file"],
            "client_id": emulator["client_id"],
            "client_secret": emulator["client_secret"],
        },
        "state": {"dir": str(folder)},
        "imap": {"port": 0, "allow_plaintext": True, "poll_interval": 0.3, "login_delay": 0.1},
        "submission": {"port": 0, "allow_plaintext": True},
        "web": {"port": 0},
    }
    for name, section in changes.items():
        merged = {**sections.get(name, {}), **section}
        sections[name] = merged
    return sections


def write_config(path: Path, sections: Sections, *accounts: Mapping[str, str]) -> Path:
    """As TOML. An account needs no more than its user."""
    lines: list[str] = []
    for name, section in sections.items():
        lines += [
            f"[{name}]",
            *(f"{key} = {json.dumps(value)}" for key, value in section.items() if value is not None),
        ]
    for account in accounts:
        full = {"password_hash": HASH, **account}
        lines += ["[[accounts]]", *(f"{key} = {json.dumps(value)}" for key, value in full.items())]
    path.write_text("\n".join(lines) + "\n")
    return path
