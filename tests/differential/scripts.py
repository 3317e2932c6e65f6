"""Command sequences: those written by hand, by topic, those over the corpus, and random ones from a grammar.

A file of scripts/ holds sequences: `== name world`, then a command a line; `<<text>>` is a non-synchronizing
literal, `<~text~>` a synchronizing one, `\\r\\n` and `\\xHH` are octets.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

from differential.fixtures import CORPUS
from differential.play import Script
from differential.random_commands import reading, writing

FOLDER = Path(__file__).parent / "scripts"
LITERAL = re.compile(rb"<<(.*?)>>|<~(.*?)~>")
ESCAPE = re.compile(rb"\\r\\n|\\x([0-9a-f]{2})")
READING, WRITING = 140, 60  # random sequences

SECTIONS = (
    "1", "2", "3", "1.MIME", "2.MIME", "HEADER", "TEXT", "1.1", "2.1", "1.HEADER", "2.HEADER", "1.TEXT", "2.TEXT",
    "2.1.MIME", "1.1.1", "2.1.1",
)  # fmt: skip


def _octets(line: bytes) -> bytes:
    return LITERAL.sub(_literal, line)


def _literal(match: re.Match[bytes]) -> bytes:
    text = _unescaped(match[1] if match[1] is not None else match[2])
    return b"{%d%b}\r\n%b" % (len(text), b"+" if match[1] is not None else b"", text)


def _unescaped(text: bytes) -> bytes:
    return ESCAPE.sub(lambda m: bytes([int(m[1], 16)]) if m[1] else b"\r\n", text)


def _command(line: bytes) -> bytes:
    return _octets(line) if LITERAL.search(line) else _unescaped(line)


def written() -> Iterator[Script]:
    for path in sorted(FOLDER.glob("*.txt")):
        for block in path.read_bytes().split(b"\n== "):
            head, *lines = block.removeprefix(b"== ").strip(b"\n").split(b"\n")
            name, world = head.decode().split()
            yield Script(name, world, tuple(map(_command, lines)))


def over_corpus() -> Iterator[Script]:
    for number in range(1, len(CORPUS) + 1):
        opened = b"EXAMINE Corpus%d" % number
        for item in (b"ENVELOPE", b"BODYSTRUCTURE", b"BODY"):
            yield Script(
                f"corpus{number}-{item.decode().lower()}", "reader",
                (opened, b"FETCH 1:* (RFC822.SIZE)", b"FETCH 1:* %b" % item),
            )  # fmt: skip
        parts = [b"FETCH 1:* BODY.PEEK[%b]" % section.encode() for section in SECTIONS]
        yield Script(f"corpus{number}-bytes", "reader", (opened, b"FETCH 1:* BODY.PEEK[]", *parts[:6]))
        yield Script(f"corpus{number}-sections", "reader", (opened, *parts[6:]))
        fields = (b"FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT FROM TO DATE MESSAGE-ID)]",
                  b"FETCH 1:* BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT FROM RECEIVED)]",
                  b"FETCH 1:* BODY.PEEK[]<100.60>")  # fmt: skip
        yield Script(f"corpus{number}-fields", "reader", (opened, *fields))
        keys = (b"SUBJECT e", b"SUBJECT =?", b"FROM example", b"TO alice", b"CC e", b"HEADER Message-ID example",
                b"SENTSINCE 1-Jan-2000", b"SENTBEFORE 1-Jan-1990", b"BODY hello", b"TEXT message",
                b"LARGER 450")  # fmt: skip
        yield Script(f"corpus{number}-search", "reader", (opened, *(b"SEARCH " + key for key in keys)))


def at_random() -> Iterator[Script]:
    for seed in range(READING):
        rng = random.Random(seed)
        yield Script(f"random-reading-{seed}", "reader", tuple(reading(rng)))
    for seed in range(WRITING):
        rng = random.Random(10_000 + seed)
        yield Script(f"random-writing-{seed}", "fresh", tuple(writing(rng)))


def all_scripts() -> list[Script]:
    return [*written(), *over_corpus(), *at_random()]
