"""The benchmark's mail: the same octets in the emulator and in Dovecot's Maildir."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

USER = "alice@example.com"
SMALL, LARGE = "Small", "Large"  # mailboxes
NEEDLE = "quarterly"  # in one subject of fifty
RARE = "ottoline"  # in one sender of a hundred
_NAMES = ("Alice Archer", "Bob Brewer", "Carol Carter", "Dieter Draeger", "Emma Eriksson", "Farid Fazel")
_TOPICS = (
    "Budget",
    "Meeting on Thursday",
    "Re: travel plans",
    "Invoice",
    "Fwd: minutes",
    "Question about the draft",
)
_START = 1_700_000_000  # the first message's date
_STEP = 600  # seconds between messages


@dataclass(frozen=True, slots=True)
class Letter:
    octets: bytes
    received: int  # seconds since 1970
    seen: bool


def letters(count: int, size: int, seed: int = 1) -> Iterator[Letter]:
    """`count` messages of about `size` octets, oldest first, reproducible; two thirds are read."""
    rng = random.Random(seed)
    for number in range(count):
        when = _START + number * _STEP
        yield Letter(_message(number, when, size, rng), when, rng.random() < 0.66)


def _message(number: int, when: int, size: int, rng: random.Random) -> bytes:
    name = rng.choice(_NAMES) if number % 100 else RARE.title() + " Ostler"
    subject = f"{rng.choice(_TOPICS)} {number}" + (f" {NEEDLE} figures" if number % 50 == 0 else "")
    above = " ".join(f"<{each}@mail.example.net>" for each in range(max(0, number - 3), number))
    head = (
        f"Received: from mx{number % 7}.example.net (192.0.2.{number % 250}) by mail.example.com with ESMTPS\r\n"
        f" id {number:08x}; {format_datetime(datetime.fromtimestamp(when, UTC))}\r\n"
        f"From: {name} <{name.split()[0].lower()}@example.net>\r\n"
        f"To: Alice Example <{USER}>, Team <team@example.com>\r\n"
        + ("Cc: Grace Green <grace@example.org>\r\n" if number % 3 == 0 else "")
        + f"Subject: {subject}\r\n"
        f"Date: {format_datetime(datetime.fromtimestamp(when, UTC))}\r\n"
        f"Message-ID: <{number}@mail.example.net>\r\n"
        + (
            f"In-Reply-To: <{number - 1}@mail.example.net>\r\nReferences: {above}\r\n"
            if number % 2 and above
            else ""
        )
        + "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
    ).encode()
    line = b"The quick brown fox jumps over the lazy dog, and says so in line after line. %06d\r\n"
    lines = max(1, (size - len(head)) // len(line % 0))
    return head + b"".join(line % (number + each) for each in range(lines))
