"""HTTP/1.1 against HTTP/2 for the Graph client: CPU and wall time per call, side by side in one run.

    python tests/bench/http_versions.py [calls]

The server speaks both over TLS on the loopback and answers at once or after 50 ms, four calls in flight, as one
mailbox has them; a batch is a POST of 20 requests answered by 20 rows. Figures are ratios to be compared within
one run, not between machines.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import ssl
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import structlog
import trustme

from gateway.graph.client import GraphClient
from gateway.graph.request import Request

IN_FLIGHT = 4
LATENCIES = (0, 50)  # milliseconds
BATCH = b'{"requests":[%b]}' % b",".join([b'{"id":"1","method":"PATCH","url":"/me"}' + b" " * 400] * 20)
# what is asked: (octets of the answer, the request's body)
WORK = {
    "a message's row (2 KB)": (2_000, b""),
    "a page (200 KB)": (200_000, b""),
    "a $value (5 MB)": (5_000_000, b""),
    "a batch of 20 (40 KB)": (40_000, BATCH),
}


class Tokens:
    async def token(self, *, claims: str | None = None, force: bool = False) -> str:
        return "t" * 1500  # a real one is about as long


def wanted(path: bytes) -> tuple[int, float]:
    """(octets, seconds) of `/size/{octets}/{milliseconds}`."""
    size, wait = path.split(b"/size/", 1)[1].split(b" ", 1)[0].split(b"/")
    return int(size), int(wait) / 1000


def length(head: bytes) -> int:
    """The Content-Length of a request head, 0 without one."""
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def serve_http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while head := await reader.readuntil(b"\r\n\r\n"):
        size, wait = wanted(head)
        await reader.readexactly(length(head))
        await asyncio.sleep(wait)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(bytes(size))
        await writer.drain()


class Http2:
    """One connection: streams are answered as flow control lets them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._link = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._left: dict[int, int] = {}
        self._asked: dict[int, dict[bytes, bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        self._link.initiate_connection()
        self._flush()
        while data := await self._reader.read(65536):
            for event in self._link.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self._asked[event.stream_id] = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    self._link.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    task = asyncio.create_task(
                        self._answer(event.stream_id, self._asked.pop(event.stream_id))
                    )
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            self._pump()

    async def _answer(self, stream: int, headers: dict[bytes, bytes]) -> None:
        octets, wait = wanted(headers[b":path"])
        await asyncio.sleep(wait)
        self._left[stream] = octets
        size = str(octets)
        answer = [(":status", "200"), ("content-type", "text/plain"), ("content-length", size)]
        self._link.send_headers(stream, answer)
        self._pump()

    def _pump(self) -> None:
        for stream in list(self._left):
            while self._left[stream] > 0:
                window = min(self._link.local_flow_control_window(stream), self._link.max_outbound_frame_size)
                piece = min(window, self._left[stream])
                if piece <= 0:
                    break
                self._left[stream] -= piece
                self._link.send_data(stream, bytes(piece), end_stream=self._left[stream] == 0)
            if not self._left[stream]:
                del self._left[stream]
        self._flush()

    def _flush(self) -> None:
        self._writer.write(self._link.data_to_send())


async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    try:
        await (Http2(reader, writer).run() if chosen == "h2" else serve_http1(reader, writer))
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def measure(
    base_url: str, ca_file: Path, path: str, body: bytes, calls: int, *, http2: bool
) -> tuple[float, float]:
    """(wall, the client's CPU) in milliseconds a call."""
    client = GraphClient(base_url, Tokens(), ca_file=ca_file, http2=http2)
    verb = "POST" if body else "GET"
    request = Request(method=verb, template="/size/{n}", path=path, body=body, repeat=True, mailbox="a")
    await client.call(request)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls // IN_FLIGHT):
        await asyncio.gather(*(client.call(request) for _ in range(IN_FLIGHT)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await client.aclose()
    return wall * 1000 / calls, cpu * 1000 / calls


async def serve(context: ssl.SSLContext, told: Connection) -> None:
    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def server_process(cert: bytes, told: Connection) -> None:
    """The server has a process of its own: the figures are the client's."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with tempfile.NamedTemporaryFile() as file:
        file.write(cert)
        file.flush()
        context.load_cert_chain(file.name)
    asyncio.run(serve(context, told))


async def compare(base_url: str, ca_file: Path, calls: int) -> None:
    for wait in LATENCIES:
        for name, (size, body) in WORK.items():
            some = max(IN_FLIGHT * 10, (calls if not wait else calls // 4) * 2_000 // max(size, 2_000))
            await row(base_url, ca_file, f"{name}, {wait} ms", f"/size/{size}/{wait}", body, some)


async def row(base_url: str, ca_file: Path, name: str, path: str, body: bytes, calls: int) -> None:
    """Both versions three times in turn, the best of each; a line of the table."""
    rounds = [
        [await measure(base_url, ca_file, path, body, calls, http2=two) for two in (False, True)]
        for _ in range(3)
    ]
    one, two = (min(pair[n] for pair in rounds) for n in (0, 1))
    shown = "   ".join(
        f"{version} {wall:7.2f} ms wall {cpu:7.2f} ms CPU {cpu / wall:4.0%}"
        for version, (wall, cpu) in (("HTTP/1.1", one), ("HTTP/2", two))
    )
    print(f"{name:32} {calls:5} calls   {shown}   wall x{two[0] / one[0]:.2f} CPU x{two[1] / one[1]:.2f}")


def main(calls: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost").private_key_and_cert_chain_pem.bytes()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=server_process, args=(leaf, theirs), daemon=True
    )
    server.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            ca_file = Path(folder) / "ca.pem"
            authority.cert_pem.write_to_path(str(ca_file))
            asyncio.run(compare(f"https://localhost:{ours.recv()}", ca_file, calls))
    finally:
        server.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
