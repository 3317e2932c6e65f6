"""Postfix: the mail server of a machine whose smarthost the gateway is (relayhost, SASL, TLS that is verified)."""

from __future__ import annotations

import os
import shutil
import signal
import smtplib
import socket
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.lab import ALICE, BOB, CAROL, HOST, PASSWORD, Demo, environment, eventually, run

# Octets of body, and how many of each: what monitoring, scripts and scanners leave in a queue.
SIZES = {200: 300, 20_000: 150, 500_000: 40, 1_500_000: 10}
QUEUED = sum(SIZES.values())

MAIN = """\
compatibility_level = 3.7
queue_directory = {home}/spool
data_directory = {home}/data
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
multi_instance_name = postfix-lab
inet_interfaces = {host}
inet_protocols = ipv4
myhostname = printer-room.example.com
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_transport = error:no local mail here
message_size_limit = 50000000
relayhost = [{host}]:{port}
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = inline:{{ {{ [{host}]:{port} = {user}:{password} }} }}
smtp_sasl_security_options = noanonymous
smtp_tls_security_level = verify
smtp_tls_wrappermode = {wrapper}
smtp_tls_CAfile = {ca_file}
smtp_tls_verify_cert_match = {match}
smtp_host_lookup = native
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
maximal_queue_lifetime = {lifetime}
bounce_queue_lifetime = 1h
"""
# Its services, none of them in a chroot, which the folder of a test is not.
MASTER = """\
{host}:{listen} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

# Folders its daemons write to.
QUEUES = (
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "saved",
    "maildrop",
)
OWN = [f"spool/{name}" for name in (*QUEUES, "trace", "private", "public")]


@dataclass
class Postfix:
    """An instance of its own: configuration, queue and log in the test's folder."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]

    def queued(self) -> int:
        done = run(["postqueue", "-c", self.home / "etc", "-j"], self.home)
        return len(done.stdout.splitlines())

    @property
    def log(self) -> str:
        return (self.home / "mail.log").read_text()


def start(
    demo: Demo, home: Path, *, password: str = PASSWORD, wrapper: bool = False, lifetime: str = "1d"
) -> Postfix:
    if os.geteuid() != 0:
        pytest.fail("Postfix's master wants to be root", pytrace=False)
    home.chmod(0o755)
    for above in home.parents[:3]:  # its daemons are another user
        above.chmod(above.stat().st_mode | 0o011)
    for name in ("etc", "spool", "spool/pid", "data", *OWN):
        (home / name).mkdir()
    for name in ("data", *OWN):
        shutil.chown(home / name, "postfix")
    listen = free_port()
    settings = {
        "home": home, "host": HOST, "listen": listen, "user": ALICE, "password": password, "ca_file": demo.ca_file,
        "port": demo.ports["smtps" if wrapper else "smtp"], "wrapper": "yes" if wrapper else "no",
        "lifetime": lifetime, "match": "hostname",
    }  # fmt: skip
    (home / "etc/main.cf").write_text(MAIN.format(**settings))
    (home / "etc/master.cf").write_text(MASTER.format(**settings))
    daemons = run(["postconf", "-dh", "daemon_directory"], home).stdout.decode().strip()
    with (home / "master.out").open("wb") as said:
        process = subprocess.Popen(
            [f"{daemons}/master", "-c", str(home / "etc"), "-d"],
            stdout=said,
            stderr=said,
            env=environment(home),
        )
    server = Postfix(home, listen, process)
    eventually(lambda: _answers(listen) or process.poll() is not None)
    assert process.poll() is None, (home / "master.out").read_text() + server.log
    return server


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        return int(taken.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with smtplib.SMTP(HOST, port, timeout=5) as peer:
            return peer.noop()[0] == 250
    except OSError:
        return False


def stop(server: Postfix) -> None:
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(20)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("postfix")


def letter(number: int, octets: int, to: str) -> bytes:
    line = b"All is well in the printer room, said line after line. " + b"x" * 20 + b"\r\n"
    text = line * (octets // len(line) + 1)
    head = [
        f"From: {ALICE}",
        f"To: {to}",
        f"Subject: postfix {number}",
        f"Message-ID: <{number}-{octets}@example.com>",
    ]
    return "\r\n".join([*head, "", ""]).encode() + text[:octets] + b"\r\n"


def fill(server: Postfix) -> list[str]:
    """Everything into the queue over a few connections, sizes mixed; the subjects."""
    sizes = [size for size, count in SIZES.items() for _ in range(count)]
    order = sorted(range(QUEUED), key=lambda n: (n * 7919) % QUEUED)
    with smtplib.SMTP(HOST, server.port, timeout=60) as peer:
        for number, place in enumerate(order):
            to = CAROL if number % 3 == 0 else BOB
            assert not peer.sendmail(ALICE, [to], letter(number, sizes[place], to))
    return [f"postfix {number}" for number in range(QUEUED)]


def test_a_queue_of_hundreds_is_delivered_once_each(demo: Demo, home: Path):
    server = start(demo, home)
    try:
        subjects = fill(server)
        eventually(lambda: server.queued() == 0, 180)
    finally:
        stop(server)
    assert "status=bounced" not in server.log
    assert server.log.count("status=sent") == QUEUED
    for number, subject in enumerate(subjects[:3]):
        user = CAROL if number % 3 == 0 else BOB
        assert len(eventually(lambda s=subject, u=user: demo.find(s, user=u))) == 1
    eventually(lambda: sum(_received(demo).values()) >= QUEUED)
    assert _received(demo) == Counter(subjects)
    eventually(lambda: sum(_subjects(demo, "sentitems", ALICE).values()) >= QUEUED)
    assert _subjects(demo, "sentitems", ALICE) == Counter(subjects)


def _received(demo: Demo) -> Counter[str]:
    return _subjects(demo, "inbox", BOB) + _subjects(demo, "inbox", CAROL)


def _subjects(demo: Demo, folder: str, user: str) -> Counter[str]:
    listed = (str(row["subject"]) for row in demo.listing(folder, user))
    return Counter(subject for subject in listed if subject.startswith("postfix "))


def test_implicit_tls_and_what_is_refused_for_good_bounces(demo: Demo, home: Path):
    """A 5xx ends the matter; Postfix tries a 4xx again."""
    server = start(demo, home, wrapper=True)
    try:
        stranger = letter(1, 100, CAROL).replace(b"postfix 1", b"refused by the gateway")
        with smtplib.SMTP(HOST, server.port, timeout=60) as peer:
            peer.sendmail(ALICE, [BOB], stranger)
            peer.sendmail(ALICE, [BOB], letter(2, 100, BOB).replace(b"postfix 2", b"over port 465"))
        eventually(lambda: "status=sent" in server.log and "status=bounced" in server.log, 60)
    finally:
        stop(server)
    assert "550 5.6.0" in server.log
    assert len(eventually(lambda: demo.find("over port 465", user=BOB))) == 1
    assert not demo.find("refused by the gateway", user=BOB) and not demo.find(
        "refused by the gateway", user=CAROL
    )


def test_a_wrong_password_keeps_the_mail_in_the_queue(demo: Demo, home: Path):
    server = start(demo, home, password="guess")
    try:
        with smtplib.SMTP(HOST, server.port, timeout=60) as peer:
            peer.sendmail(ALICE, [BOB], letter(3, 100, BOB).replace(b"postfix 3", b"postfix, never"))
        eventually(lambda: "SASL authentication failed" in server.log, 60)
        assert server.queued() == 1
    finally:
        stop(server)
    assert not demo.find("postfix, never", user=BOB)
