"""What one command costs in the session itself: no socket, no client, no Graph; microseconds of CPU a command.

    python -m tests.bench.overhead [commands]

A command's octets are handed to the connection as a transport would, and its answer is taken from it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvloop

from gateway.imap.connection import Connection
from gateway.imap.context import ImapSettings
from gateway.imap.server import ImapServer
from gateway.imap.session import Session
from gateway.mailbox.cache import MemoryBody
from gateway.mailbox.clock import SystemClock
from tests.bench.local import opened

ROUNDS = 7
COMMANDS = (
    "NOOP",
    "FETCH 7 (FLAGS)",
    "FETCH 7 BODY.PEEK[]",
    "UID FETCH 7 (UID FLAGS ENVELOPE)",
    "STATUS INBOX (MESSAGES)",
)


class Wire:
    """A transport that keeps count of the answers."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.answered.set()

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


async def measure(command: str, count: int) -> float:
    """Microseconds, the best of ROUNDS."""
    with tempfile.TemporaryDirectory() as place:
        store, folder = await opened(Path(place), 100)
        for uid in folder.view.uids:  # octets at hand
            bodies = folder._account.bodies
            bodies._names[folder._row.key, uid] = "x"
            bodies._cache._memory["x"] = MemoryBody(b"Subject: x\r\n\r\n" + b"x" * 20_000)
        accounts: Any = SimpleNamespace(scram=False)
        server = ImapServer(accounts, ImapSettings(allow_plaintext=True), SystemClock())
        connection, wire = Connection(server), Wire()
        sessions: list[Session] = []
        made = Session.__init__

        def remember(self: Session, *arguments: Any) -> None:
            made(self, *arguments)
            sessions.append(self)

        Session.__init__ = remember  # type: ignore[method-assign]
        connection.connection_made(wire)  # type: ignore[arg-type]
        await wire.answered.wait()
        Session.__init__ = made  # type: ignore[method-assign]
        sessions[0].account = folder._account  # type: ignore[assignment]
        sessions[0].choose(folder)
        best = min(
            [await _round(connection, wire, b"a " + command.encode() + b"\r\n", count) for _ in range(ROUNDS)]
        )
        assert connection.task is not None
        connection.task.cancel()
        await store.close()
    return best * 1e6 / count


async def _round(connection: Connection, wire: Wire, line: bytes, count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        wire.answered.clear()
        connection.data_received(line)
        await wire.answered.wait()
    return time.process_time() - began


def main(commands: tuple[str, ...]) -> None:
    for command in commands:
        print(f"{command:40} {uvloop.run(measure(command, 3000)):7.1f} us")


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or COMMANDS[:3])
