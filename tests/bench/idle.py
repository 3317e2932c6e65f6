"""Connections that do nothing: what one costs, plain and with TLS, beside Dovecot's, and how soon thousands hear of one
new message."""

from __future__ import annotations

import resource
import selectors
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench import rig
from tests.bench.imap import Client
from tests.bench.mail import SMALL, USER
from tests.bench.report import Figure, Report
from tests.bench.rig import PASSWORD, Server


@dataclass(frozen=True, slots=True)
class Sizes:
    connections: int = 500
    processes: int = 100  # of Dovecot's, each a connection
    woken: int = 5_000
    settle: float = 12.0  # seconds until what a command left behind has ended


QUICK = Sizes(connections=4, processes=2, woken=5, settle=0.0)
ROWS = {
    "idle-plain": "memory of an idle connection",
    "idle-tls": "memory of an idle connection, TLS",
    "woken": "5,000 idle connections hear of one new message",
}
MESSAGE = b"From: a@example.com\r\nSubject: wake up\r\nDate: Mon, 4 Jan 2027 10:00:00 +0000\r\n\r\nNow.\r\n"


def measure(wanted: Sequence[str], sizes: Sizes, report: Report) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 20_000)), hard))
    with ExitStack() as stack:
        place = stack.enter_context(rig.folder())
        folders = {SMALL: (20, 2_000)}
        graph = stack.enter_context(rig.emulator(place, {"folders": folders}))
        config = rig.write_config(place, graph)
        tls = ssl.create_default_context(cafile=graph["ca_file"])
        tls.check_hostname = False
        if "idle-plain" in wanted:
            with rig.gateway(place, config) as ours:
                _memory("idle-plain", ours, ours.port, None, sizes.connections, sizes.settle, report)
            theirs = stack.enter_context(rig.dovecot(place, folders))
            _memory("idle-plain", theirs, theirs.port, None, sizes.processes, sizes.settle, report)
        if "idle-tls" in wanted:
            with rig.gateway(place, config) as ours:
                _memory("idle-tls", ours, ours.tls_port, tls, sizes.connections, sizes.settle, report)
        if "woken" in wanted:
            with rig.gateway(place, config) as ours:
                _wake(ours, sizes.woken, report)


def _idle(port: int, tls: ssl.SSLContext | None = None) -> Client:
    client = Client(port, tls=tls)
    client.login(USER, PASSWORD)
    client.run(f"SELECT {SMALL}")
    client.send(b"i IDLE\r\n")
    client.until(b"+ ")
    return client


def _memory(
    key: str, server: Server, port: int, tls: ssl.SSLContext | None, count: int, settle: float, report: Report
) -> None:
    """KiB that each more connection takes; the first ones, which load what all share, do not count."""
    open_first = [_idle(port, tls) for _ in range(min(20, count))]
    time.sleep(settle)
    before = server.memory()
    more = [_idle(port, tls) for _ in range(count)]
    time.sleep(settle)
    each = (server.memory() - before) / count / 1024
    for client in (*open_first, *more):
        client.close()
    report.add(Figure("cached", key, ROWS[key], server.name, "KiB", each, count=count))


def _wake(server: Server, count: int, report: Report) -> None:
    """From the tagged OK of the APPEND that lands a message to the last of them that has heard of it; and how long they
    took after the first."""
    clients = [_idle(server.port) for _ in range(count)]
    heard: list[float] = []
    ears = threading.Thread(target=_listen, args=(clients, heard))
    writer = Client(server.port)
    writer.login(USER, PASSWORD)
    ears.start()
    writer.send(b"a APPEND %b {%d+}\r\n%b\r\n" % (SMALL.encode(), len(MESSAGE), MESSAGE))
    writer.until(b"a OK")
    landed = time.perf_counter()
    ears.join(60)
    last = max(heard) if len(heard) == count else float("inf")
    report.add(
        Figure(
            "idle",
            "woken",
            ROWS["woken"],
            "gateway",
            "s",
            max(0.0, last - min(landed, *heard)),
            bound=2.0,
            count=len(heard),
        )
    )
    for client in (*clients, writer):
        client.close()


def _listen(clients: Sequence[Client], heard: list[float]) -> None:
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ)
        end = time.perf_counter() + 50
        while len(heard) < len(clients) and time.perf_counter() < end:
            for key, _ in selector.select(1.0):
                if b"EXISTS" in key.fileobj.recv(4096):  # type: ignore[union-attr]
                    heard.append(time.perf_counter())
                    selector.unregister(key.fileobj)
