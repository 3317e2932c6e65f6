"""Submission at 50 ms round trip and 10 ms service, beside aiosmtpd alone (a sink) and a bare relay to sendMail.

The bound is what the four slots of a mailbox force: the requests that were made, each with its round trip and service,
four at a time; and no bound is below what the emulator itself worked. The bare relay takes one request for a message
where the gateway takes two (a draft, then its sending: exactly once), and nothing over 3 MB."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from tests.bench import rig
from tests.bench.cold import RTT, SERVICE, SLOTS, _calls
from tests.bench.mail import USER
from tests.bench.report import Figure, Report
from tests.bench.rig import PASSWORD

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Sizes:
    small: int = 200  # messages of 10 KB
    small_octets: int = 10_000
    large: int = 4
    large_octets: int = 25 * MB
    senders: int = 200


QUICK = Sizes(small=4, large=1, large_octets=4 * MB, senders=4)
ROWS = {
    "send-small": "messages of 10 KB",
    "send-large": "messages of 25 MB",
    "senders": "200 senders at once, 10 KB each: refused",
}
GATEWAY, RELAY, SINK = "gateway", "relay", "sink"
_OF = {"send-small": (SINK, RELAY, GATEWAY), "send-large": (SINK, GATEWAY), "senders": (GATEWAY,)}
_AT_ONCE = {"send-small": 16, "send-large": 4}


@dataclass(frozen=True, slots=True)
class Target:
    """A submission server, and what there is to see of it and of the Graph behind it."""

    port: int
    pid: int
    login: bool
    graph: dict[str, Any]


def measure(wanted: Sequence[str], sizes: Sizes, report: Report) -> None:
    for key in wanted:
        for who in _OF[key]:
            with ExitStack() as stack:
                _measure(key, who, _start(stack, who), sizes, report)


def _start(stack: ExitStack, who: str) -> Target:
    place = stack.enter_context(rig.folder())
    plan = {"rtt_ms": RTT * 1e3, "service_ms": SERVICE * 1e3}
    graph = stack.enter_context(rig.emulator(place, plan))
    if who == GATEWAY:
        more = '[submission]\nallow_plaintext = true\nhost = "127.0.0.1"\nport = 0\ntls_port = 0\n'
        config = rig.write_config(place, graph)
        config.write_text(
            config.read_text().replace('[submission]\nhost = "127.0.0.1"\nport = 0\ntls_port = 0\n', more)
        )
        server = stack.enter_context(rig.gateway(place, config))
        return Target(server.facts["ports"]["smtp"], server.pid, True, graph)
    ready = place / f"{who}.json"
    words = ["-m", "tests.bench.sinks", who, json.dumps(graph), str(ready)]
    pid, facts = stack.enter_context(rig._process(words, ready))
    return Target(facts["ports"]["smtp"], pid, False, graph)


def _measure(key: str, who: str, target: Target, sizes: Sizes, report: Report) -> None:
    octets = sizes.large_octets if key == "send-large" else sizes.small_octets
    count = {"send-small": sizes.small, "send-large": sizes.large, "senders": sizes.senders}[key]
    at_once = min(count, _AT_ONCE.get(key, count))
    letters = [_letter(number, octets) for number in range(1 if key == "send-large" else count)]
    emulator, server = psutil.Process(target.graph["pid"]), psutil.Process(target.pid)
    with httpx.Client(base_url=target.graph["control_url"] + "/") as control:
        _warm(target)
        control.delete("log")
        used, memory = sum(emulator.cpu_times()[:2]), server.memory_info().rss
        seconds, replies = _sent(target, [letters[n % len(letters)] for n in range(count)], at_once)
        busy = sum(emulator.cpu_times()[:2]) - used
        calls = _calls(control.get("log").json()["requests"])
    grown = (server.memory_info().rss - memory) / MB
    refused = sum(not reply.startswith(b"250") for reply in replies)
    if key == "senders":
        report.add(Figure("submission", key, ROWS[key], who, "", refused, count=count, requests=calls.count))
        report.add(
            Figure("submission", "senders-memory", "the same: memory grown by", who, "MB", grown, count=count)
        )
        return
    assert not refused, replies
    least = max(calls.seconds() / SLOTS, busy) if who != SINK else 0.0
    unit, amount = ("/s", count) if key == "send-small" else ("MB/s", count * octets / MB)
    report.add(
        Figure(
            "submission", key, ROWS[key], who, unit, amount / seconds, requests=calls.count, count=count,
            bound=amount / least if least else 0.0, cpu_ms=busy * 1e3, best=grown,
        )
    )  # fmt: skip


def _letter(number: int, octets: int) -> bytes:
    """As it goes over the wire behind DATA, its end included: text, and a file of base64 lines."""
    head = (
        f"From: {USER}\r\nTo: sink@example.net\r\nSubject: bench {number}\r\nMessage-ID: <b{number}@example.com>\r\n"
        "Date: Mon, 4 Jan 2027 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="=b"\r\n\r\n--=b\r\nContent-Type: text/plain\r\n\r\nHello.\r\n'
        '--=b\r\nContent-Type: application/octet-stream; name="scan.bin"\r\nContent-Transfer-Encoding: base64\r\n'
        'Content-Disposition: attachment; filename="scan.bin"\r\n\r\n'
    ).encode()
    lines = base64.encodebytes(bytes(range(256)) * (octets * 3 // 4 // 256)).replace(b"\n", b"\r\n")
    return head + lines + b"--=b--\r\n.\r\n"


class _Peer:
    """An SMTP client that costs little."""

    def __init__(self, target: Target) -> None:
        self._socket = socket.create_connection(("127.0.0.1", target.port), timeout=300)
        self._file = self._socket.makefile("rb")
        self.reply()
        self.command(b"EHLO bench")
        if target.login:
            word = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())
            assert self.command(b"AUTH PLAIN " + word).startswith(b"235")

    def command(self, line: bytes) -> bytes:
        self._socket.sendall(line + b"\r\n")
        return self.reply()

    def reply(self) -> bytes:
        while True:
            line = self._file.readline()
            if line[3:4] != b"-":
                return line

    def send(self, letter: bytes) -> bytes:
        for line in (f"MAIL FROM:<{USER}>".encode(), b"RCPT TO:<sink@example.net>", b"DATA"):
            said = self.command(line)
            if not said.startswith((b"250", b"354")):
                return said
        self._socket.sendall(letter)
        return self.reply()

    def close(self) -> None:
        self._socket.sendall(b"QUIT\r\n")
        self._socket.close()


def _warm(target: Target) -> None:
    """The first message of a process signs in, and imports."""
    peer = _Peer(target)
    peer.send(_letter(99_999, 2_000))
    peer.close()
    time.sleep(2.0 if target.login else 0.1)  # what a first login starts in the background


def _sent(target: Target, letters: Sequence[bytes], at_once: int) -> tuple[float, list[bytes]]:
    """Seconds, and the final reply to each; over so many connections."""
    with ThreadPoolExecutor(at_once) as pool:
        peers = list(pool.map(lambda _: _Peer(target), range(at_once)))
        began = time.perf_counter()
        replies = list(pool.map(_share(letters, at_once), peers, range(at_once)))
        seconds = time.perf_counter() - began
        for peer in peers:
            peer.close()
    return seconds, [reply for some in replies for reply in some]


def _share(letters: Sequence[bytes], at_once: int) -> Callable[[_Peer, int], list[bytes]]:
    return lambda peer, first: [peer.send(letter) for letter in letters[first::at_once]]
