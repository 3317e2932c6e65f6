"""How fast a message comes off the wire: our DATA loop beside aiosmtpd's, in one process, in turns.

    .venv/bin/python tests/bench/smtp_data.py [--mib 30] [--rounds 5]

Both read from memory, so it is the loops that are compared, not sockets: octets to a message whose dots are undone.
Prints MB/s of each (best of the rounds), their ratio, which is to be 10 at least, and what each held at most.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.smtp.connection import CHUNK
from gateway.smtp.data import Intake, receive

TEXT = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod..\r\n" * 99 + b"..dotted\r\n"
BASE64 = b"TG9yZW0gaXBzdW0gZG9sb3Igc2l0IGFtZXQsIGNvbnNlY3RldHVyIGFkaXBpc2NpbmcgZWxpdCwg\r\n" * 100
KINDS = {"an attachment": BASE64, "text, every hundredth line with a dot in front": TEXT}


def wire(octets: int, block: bytes) -> bytes:
    """A message as it is sent, with its end."""
    return block * (octets // len(block)) + b".\r\n"


class Memory:
    """A source of octets as the connection's, 64 KiB at once."""

    def __init__(self, octets: bytes) -> None:
        self._octets, self._at = octets, 0

    async def chunk(self) -> bytes:
        piece = self._octets[self._at : self._at + CHUNK]
        self._at += CHUNK
        return piece

    def put_back(self, octets: bytes) -> None:
        assert octets == b""


class Sink:
    """A spool that keeps nothing."""

    def __init__(self) -> None:
        self.size = 0

    async def write(self, data: bytes) -> None:
        self.size += len(data)

    async def close(self) -> None: ...


async def ours(octets: bytes) -> int:
    sink = Sink()
    await receive(Memory(octets), Intake(sink, limit=2**40, patience=2**40))  # type: ignore[arg-type]
    return sink.size


class Taken:
    size = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.size = len(envelope.content)
        return "250 OK"


class Nowhere:
    def write(self, data: bytes) -> None:
        """Replies go nowhere."""

    async def drain(self) -> None: ...


async def theirs(octets: bytes) -> int:
    loop, taken = asyncio.get_running_loop(), Taken()
    smtp: Any = SMTP(taken, data_size_limit=None, loop=loop)
    smtp._reader = asyncio.StreamReader(limit=2**40, loop=loop)
    smtp._writer = smtp.transport = Nowhere()
    smtp.session, smtp.envelope = Session(loop), Envelope()
    smtp.session.host_name = "client"
    smtp.envelope.mail_from, smtp.envelope.rcpt_tos = "a@b.c", ["d@e.f"]
    smtp._reader.feed_data(octets)
    smtp._reset_timeout = lambda *_: None
    await smtp.smtp_DATA("")
    return taken.size


async def timed(run: Callable[[bytes], Awaitable[int]], octets: bytes) -> float:
    began = time.perf_counter()
    size = await run(octets)
    assert size > len(octets) * 0.99, (size, len(octets))
    return len(octets) / 1e6 / (time.perf_counter() - began)


async def held(run: Callable[[bytes], Awaitable[int]], octets: bytes) -> float:
    tracemalloc.start()
    await run(octets)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


async def compare(what: str, block: bytes, mib: int, rounds: int) -> None:
    octets = wire(mib * 2**20, block)
    pairs = [(await timed(ours, octets), await timed(theirs, octets)) for _ in range(rounds)]
    one, other = max(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
    print(f"{mib} MiB of {what}: gateway {one:.0f} MB/s, aiosmtpd {other:.0f} MB/s: {one / other:.1f} x")


async def main(mib: int, rounds: int) -> None:
    for what, block in KINDS.items():
        await compare(what, block, mib, rounds)
    small = wire(4 * 2**20, BASE64)
    print(
        f"held for 4 MiB: gateway {await held(ours, small):.2f} MB, aiosmtpd {await held(theirs, small):.1f} MB"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.mib, arguments.rounds))
