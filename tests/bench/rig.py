"""What a run needs around it: processes of the emulator, the gateway and Dovecot, and what they have used."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from gateway.mailbox.credentials import hash_password
from tests.bench.mail import USER, letters
from tests.differential import dovecot as differential

PASSWORD = "demo"
START = 900.0  # seconds until a process must be up; 100,000 messages take a while to make
ROOT = Path(__file__).parents[2]


@dataclass
class Server:
    """Something that speaks IMAP. Time and memory are those of its process and all its children."""

    name: str
    pid: int
    port: int
    tls_port: int = 0
    folder: Path = Path()
    facts: dict[str, Any] = field(default_factory=dict)

    def processes(self) -> list[psutil.Process]:
        me = psutil.Process(self.pid)
        return [me, *me.children(recursive=True)]

    def cpu(self) -> float:
        """Seconds of CPU so far, children that have ended included."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                used = process.cpu_times()
                total += used.user + used.system + used.children_user + used.children_system
        return total

    def memory(self) -> int:
        """Octets of memory that are its own (PSS where the kernel tells, else RSS)."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                info = process.memory_full_info()
                total += getattr(info, "pss", 0) or info.rss
        return total


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Where other users may look: Dovecot's processes run as such."""
    made = Path(tempfile.mkdtemp(prefix="bench-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def _process(words: list[str], ready: Path, core: int | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Its pid and what its ready file says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    log = ready.with_suffix(".log").open("wb")
    pin = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None
    process = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=environment, stdout=log, stderr=log, preexec_fn=pin
    )
    try:
        until = time.monotonic() + START
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{words} did not start:\n{ready.with_suffix('.log').read_text()[-2000:]}")
            time.sleep(0.02)
        yield process.pid, json.loads(ready.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@contextlib.contextmanager
def emulator(place: Path, plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Its own description of itself (the ready file)."""
    ready = place / "emulator.json"
    ready.unlink(missing_ok=True)
    with _process(["-m", "tests.bench.emulator", json.dumps(plan), str(ready)], ready) as (_, facts):
        yield facts


CONFIG = """\
[graph]
base_url = "{base_url}/v1.0"
authority = "{authority}"
ca_file = "{ca_file}"
client_id = "{client_id}"
client_secret_file = "{place}/secret"
[state]
dir = "{place}/state"
[tls]
certificate = "{chain}"
key = "{key}"
[imap]
host = "127.0.0.1"
port = 0
tls_port = 0
allow_plaintext = true
login_delay = 0.0
poll_interval = {poll}
size_share = 0
connections_per_address = 100000
connections_per_user = 100000
[submission]
host = "127.0.0.1"
port = 0
tls_port = 0
[web]
host = "127.0.0.1"
port = 0
[log]
level = "warning"
"""


def write_config(place: Path, graph: Mapping[str, Any], *, poll: float = 3600.0, more: str = "") -> Path:
    """A configuration before this emulator, for its users; the state folder is `place/state`."""
    certificates = Path(graph["ca_file"]).parent
    (place / "secret").write_text(graph["client_secret"])
    text = CONFIG.format(
        **graph,
        place=place,
        poll=poll,
        chain=certificates / "graph-server.pem",
        key=certificates / "graph-server.key",
    )
    hashed = hash_password(PASSWORD, scram=False)
    for user in graph["users"]:
        text += f'[[accounts]]\nuser = "{user}"\npassword_hash = "{hashed}"\nmailbox = "{user}"\n'
    config = place / "gateway.toml"
    config.write_text(text + more)
    config.chmod(0o600)
    (place / "secret").chmod(0o600)
    return config


@contextlib.contextmanager
def gateway(place: Path, config: Path, *, core: int | None = None) -> Iterator[Server]:
    ready = place / "gateway.json"
    ready.unlink(missing_ok=True)
    words = ["-m", "gateway", "serve", "--config", str(config), "--ready-file", str(ready)]
    with _process(words, ready, core) as (pid, facts):
        ports = facts["ports"]
        yield Server("gateway", pid, ports["imap"], ports["imaps"], place, facts)


DOVECOT = """\
protocols = imap
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
ssl = no
disable_plaintext_auth = no
default_login_user = {login}
default_internal_user = {internal}
default_internal_group = {group}
first_valid_uid = 1
mail_location = maildir:{folder}/mail/%u
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  chroot =
  service_count = 0
  client_limit = 5000
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service imap {{
  process_limit = 500
}}
service auth {{
  client_limit = 10000
}}
service anvil {{
  chroot =
  client_limit = 10000
}}
service stats {{
  chroot =
}}
protocol imap {{
  mail_max_userip_connections = 1000
}}
"""


def _owners() -> dict[str, Any]:
    """Whose processes and mail: ours, or where root runs this, those of Debian's package."""
    import grp
    import pwd

    me = pwd.getpwuid(os.getuid())
    mail = me if me.pw_uid else pwd.getpwnam("dovecot")
    login = me if me.pw_uid else pwd.getpwnam("dovenull")
    return {
        "uid": mail.pw_uid, "gid": mail.pw_gid, "login": login.pw_name, "internal": mail.pw_name,
        "group": grp.getgrgid(mail.pw_gid).gr_name,
    }  # fmt: skip


def _write_maildir(box: Path, count: int, size: int) -> None:
    for child in ("cur", "new", "tmp"):
        (box / child).mkdir(parents=True)
    for number, letter in enumerate(letters(count, size)):
        flags = "S" if letter.seen else ""
        path = box / "cur" / f"{letter.received}.M{number:06d}.bench,S={len(letter.octets)}:2,{flags}"
        path.write_bytes(letter.octets)
        os.utime(path, (letter.received, letter.received))


@contextlib.contextmanager
def dovecot(
    place: Path, folders: Mapping[str, tuple[int, int]], *, core: int | None = None
) -> Iterator[Server]:
    """With these mailboxes as Maildir."""
    home = place / "dovecot"
    home.mkdir()
    home.chmod(0o755)
    owners, port = _owners(), differential._port()
    for child in ("mail", "home"):
        (home / child).mkdir()
    for name, (count, size) in folders.items():
        root = home / "mail" / USER
        _write_maildir(root if name == "INBOX" else root / f".{name}", count, size)
    for path in [home / "mail", home / "home", *(home / "mail").rglob("*"), *(home / "home").rglob("*")]:
        os.chown(path, owners["uid"], owners["gid"])
    config = home / "dovecot.conf"
    config.write_text(DOVECOT.format(folder=home, port=port, password=PASSWORD, **owners))
    pin = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None
    process = subprocess.Popen(
        [differential.PROGRAM, "-F", "-c", str(config)],
        stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=pin,
    )  # fmt: skip
    try:
        differential._wait(process, port, home / "log")
        yield Server("Dovecot", process.pid, port, folder=home)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@contextlib.contextmanager
def before_emulator(
    place: Path, plan: Mapping[str, Any], *, core: int | None = None, poll: float = 3600.0
) -> Iterator[tuple[Server, dict[str, Any]]]:
    """A gateway, and the emulator behind it."""
    with ExitStack() as stack:
        graph = stack.enter_context(emulator(place, plan))
        config = write_config(place, graph, poll=poll)
        yield stack.enter_context(gateway(place, config, core=core)), graph
