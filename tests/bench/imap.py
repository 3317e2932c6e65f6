"""A client that costs next to nothing: octets out, octets in, no parsing. The same for every server."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any

CHUNK = 1 << 20


class Client:
    """One connection. `run` sends a command and returns its answer."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), 120)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket: Any = tls.wrap_socket(plain) if tls is not None else plain
        self._buffer = bytearray(CHUNK)
        self._number = 0
        self.greeting = self._until(b"* ")

    def run(self, command: str, *, check: bool = True) -> bytes:
        """The whole answer, its tagged line last. AssertionError unless it is OK."""
        self._number += 1
        tag = b"t%d " % self._number
        self.socket.sendall(tag + command.encode() + b"\r\n")
        answer = self._until(tag)
        if check and not answer[answer.rfind(b"\n", 0, -1) + 1 :].startswith(tag + b"OK"):
            raise AssertionError(f"{command[:60]}: {answer[-200:]!r}")
        return answer

    def login(self, user: str, password: str) -> None:
        self.run(f'LOGIN "{user}" "{password}"')

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def until(self, start: bytes) -> bytes:
        """All that comes up to and with a last line that begins so."""
        return self._until(start)

    def close(self) -> None:
        self.socket.close()

    def _until(self, start: bytes) -> bytes:
        pieces: list[bytes] = []
        tail = b""
        while True:
            count = self.socket.recv_into(self._buffer)
            if not count:
                raise ConnectionError("the server hung up")
            pieces.append(bytes(memoryview(self._buffer)[:count]))
            tail = (tail + pieces[-1][-2048:])[-2048:]
            if tail.endswith(b"\r\n"):
                at = tail.rfind(b"\n", 0, -1) + 1
                if tail.startswith(start, at):
                    return b"".join(pieces)


def timed(client: Client, commands: Sequence[str]) -> tuple[float, int]:
    """Seconds for all of them one after the other, and octets that came."""
    octets = 0
    began = time.perf_counter()
    for command in commands:
        octets += len(client.run(command))
    return time.perf_counter() - began, octets
