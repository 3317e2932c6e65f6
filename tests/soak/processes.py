"""An emulator and a gateway as processes of their own; the gateway may be killed and started again on its state."""

from __future__ import annotations

import imaplib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from gateway.mailbox.credentials import hash_password

HOST = "127.0.0.1"
ALICE, PASSWORD = "alice@example.com", "demo"
ROOT = Path(__file__).resolve().parents[2]
CONFIG = """\
[graph]
base_url = "{base_url}/v1.0"
authority = "{authority}"
ca_file = "{ca_file}"
client_id = "{client_id}"
client_secret = "{client_secret}"
[state]
dir = "{state}"
cache_mib = 64
[imap]
port = 0
allow_plaintext = true
poll_interval = {poll}
[submission]
port = 0
allow_plaintext = true
[web]
port = 0
{web}[log]
level = "warning"
"""
ACCOUNT = """\
[[accounts]]
user = "{user}"
password_hash = "{password_hash}"
"""


def eventually(check: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The value of `check()` once it is true, or its last value when the time is over."""
    end = time.monotonic() + seconds
    while not (value := check()) and time.monotonic() < end:
        time.sleep(0.1)
    return value


class Process:
    """One `gateway` command that says in a file when it is ready."""

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        self.ready, self.errors = folder / f"{name}.json", folder / f"{name}.log"
        self.argv = [sys.executable, "-m", "gateway", *arguments, "--ready-file", str(self.ready)]
        self.start()

    def start(self) -> None:
        self.ready.unlink(missing_ok=True)
        with self.errors.open("ab") as log:
            self.running = subprocess.Popen(self.argv, stdout=log, stderr=log, cwd=ROOT)
        eventually(lambda: self.ready.exists() or self.running.poll() is not None, 60)
        if not self.ready.exists():
            self.kill()
            raise AssertionError(f"did not start: {self.errors.read_text()[-3000:]}")
        self.told: dict[str, Any] = json.loads(self.ready.read_text())

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.running.poll() is None:
            os.kill(self.running.pid, signal.SIGKILL)
        self.running.wait(30)

    def end(self) -> int:
        self.running.send_signal(signal.SIGTERM)
        try:
            return self.running.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class Mailbox:
    """What the emulator holds of alice, by its control API; and outside changes by Graph itself."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.http = httpx.Client(base_url=f"{told['base_url']}/_emulator/", timeout=60)

    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get(f"users/{ALICE}/messages").raise_for_status().json()
        return found

    def deliver(self, mime: bytes, folder: str = "inbox", user: str = ALICE) -> None:
        where = {"folder": folder}
        self.http.post(f"users/{user}/messages", params=where, content=mime).raise_for_status()

    def make_folder(self, name: str) -> str:
        """As another program would, by Graph; its id."""
        told = self.told
        form = {
            "grant_type": "client_credentials", "client_id": told["client_id"],
            "client_secret": told["client_secret"], "scope": "https://graph.microsoft.com/.default",
        }  # fmt: skip
        with httpx.Client(verify=_trust(told["ca_file"]), timeout=60) as outside:
            token = (
                outside.post(f"{told['authority']}/oauth2/v2.0/token", data=form).raise_for_status().json()
            )
            answer = outside.post(
                f"{told['base_url']}/v1.0/users/{ALICE}/mailFolders", json={"displayName": name},
                headers={"Authorization": f"Bearer {token['access_token']}"},
            )  # fmt: skip
        return str(answer.raise_for_status().json()["id"])


def _trust(ca_file: str) -> Any:
    import ssl

    return ssl.create_default_context(cafile=ca_file)


class Lab:
    """Both processes over one folder. Use as a context manager. `web`: more lines of that section; `trusted`: whose
    certificates the emulator takes where it posts notifications to (PEM)."""

    def __init__(
        self,
        folder: Path,
        *,
        rtt_ms: float,
        service_ms: float,
        users: Sequence[str] = (ALICE,),
        poll: float = 1.0,
        web: str = "",
        trusted: Path | None = None,
    ) -> None:
        self.folder = folder
        self.users = tuple(users)
        self.emulator = Process(
            folder, "emulator", "emulator", "--http", "--port=0", "--messages=0", f"--rtt-ms={rtt_ms}",
            f"--service-ms={service_ms}", "--item-us=300", f"--users={max(3, len(users) + 2)}",
            *((f"--webhook-ca={trusted}",) if trusted is not None else ()),
        )  # fmt: skip
        self.mailbox = Mailbox(self.emulator.told)
        config, secret = folder / "gateway.toml", hash_password(PASSWORD)
        config.write_text(
            CONFIG.format(**self.emulator.told, state=folder / "state", poll=poll, web=web)
            + "".join(ACCOUNT.format(user=user, password_hash=secret) for user in users)
        )
        self.gateway = Process(folder, "gateway", "serve", "--config", str(config))

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *error: object) -> None:
        self.gateway.kill()
        self.emulator.kill()
        self.mailbox.http.close()

    def session(self, user: str = ALICE) -> imaplib.IMAP4:
        box = imaplib.IMAP4(HOST, self.gateway.told["ports"]["imap"], timeout=60)
        box.login(user, PASSWORD)
        return box
