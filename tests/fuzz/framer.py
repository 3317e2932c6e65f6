"""Fuzz the framer and the grammar together, as a socket would feed them.

The oracle: whatever the octets and however they are cut, the events are the same, every frame is a command or
a documented error, a known last command is still understood unless the framer has said Overflow, and the time
for an input is bounded by its size. `python -m tests.fuzz.framer --seconds 60 [--seed N]`; a find comes with
its input.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator

from gateway.core.errors import BadCommand, LimitReached
from gateway.core.limits import Limits
from gateway.core.types import Flags
from gateway.wire.charset import BadCharset
from gateway.wire.command import Announcement, Command
from gateway.wire.framer import Chunk, Event, Frame, Framer, LiteralHeader, Overflow, tag_of
from gateway.wire.grammar import parse
from gateway.wire.grammar_append import parse_append, parse_next

LIMITS = Limits(line=400, command_literal=60, literal_before_login=30, command_total=300, append=500)
SECONDS_PER_INPUT = 0.25
ONE = Announcement(Flags(), None, 1)
SEEDS = [
    b"a CAPABILITY\r\n",
    b'a ID ("name" "x" "version" NIL)\r\n',
    b"a LOGIN {3+}\r\njoe {4}\r\npass\r\n",
    b"a AUTHENTICATE PLAIN AGpvZQBwYXNz\r\n",
    b'a LIST (SUBSCRIBED RECURSIVEMATCH) "" ("*" "%/x") RETURN (STATUS (MESSAGES UNSEEN))\r\n',
    b'a LSUB "" "Entw&APw-rfe/*"\r\n',
    b"a SELECT {5+}\r\nINBOX (CONDSTORE)\r\n",
    b"a STATUS &2D3eAA- (MESSAGES UIDNEXT UIDVALIDITY UNSEEN RECENT)\r\n",
    b'a APPEND "x" (\\Seen $Junk) "17-Jul-1996 02:44:25 -0700" {10+}\r\nA: b\r\n\r\nhi\r\n',
    b"a APPEND {1}\r\nx {600+}\r\n" + b"m" * 600 + b"\r\n",
    b"a APPEND x {2+}\r\nhi (\\Seen) ~{3}\r\na\0b UTF8 (~{1+}\r\nx)\r\n",
    b"a UID REPLACE 4 {1+}\r\nx (\\Draft) ~{2+}\r\nhi\r\na REPLACE * x {2}\r\nhi\r\n",
    b"a UID FETCH 1:*,5 (UID BODY.PEEK[1.2.HEADER.FIELDS (From To)]<0.100>) (CHANGEDSINCE 5 VANISHED)\r\n",
    b"a FETCH *:4 full\r\n",
    b"a STORE 1,3:5 (UNCHANGEDSINCE 7) +FLAGS.SILENT (\\Seen \\Deleted work)\r\n",
    b"a STORE 1 -FLAGS \\Seen \\Flagged\r\n",
    b'a SEARCH RETURN (MIN COUNT) CHARSET UTF-8 OR (TO "\xc3\xa9" NOT SEEN) HEADER X {2+}\r\nyz\r\n',
    b"a UID SEARCH UID 1:5 SENTBEFORE 1-Jan-2020 LARGER 100 KEYWORD $Forwarded\r\n",
    b"a UID MOVE 1:3 Trash\r\na UID EXPUNGE 4\r\n",
    b"a IDLE\r\nDONE\r\n",
]
TOKENS = [
    b"{", b"}", b"{5+}\r\n", b"{5}\r\n", b"{0+}\r\n", b"{999999+}\r\n", b"{4294967296}\r\n", b"~{3+}\r\n",
    b"+", b"(", b")",
    b"((((((((", b'"', b"\\", b" ", b"\r\n", b"\r", b"\n", b"\0", b"\xff", b"*", b"%", b"&", b"&-", b"[",
    b"]", b"<0.1>",
    b":", b",", b"0", b"4294967295", b"99999999999999999999", b"NIL", b"NOT ", b"OR ", b"a APPEND x ",
    b"UID ", b"BODY[",
    b"A" * 450, b"\xc3\xa9", b"\xed\xa0\x80", b"HEADER.FIELDS (", b"RETURN (",
]  # fmt: skip
LAST = b"zz NOOP"


def inputs(rng: random.Random) -> Iterator[bytes]:
    """Conversations of real commands, cut up, spliced and peppered."""
    while True:
        data = bytearray(b"".join(rng.choices(SEEDS, k=rng.randint(1, 4))))
        for _ in range(rng.randint(0, 6)):
            mutate(data, rng)
        yield bytes(data)


def mutate(data: bytearray, rng: random.Random) -> None:
    at = rng.randint(0, len(data))
    until = min(len(data), at + rng.choice((0, 0, 1, 2, 8, 64)))
    replacement = rng.choice(
        (rng.choice(TOKENS), rng.randbytes(rng.randint(0, 4)), bytes(data[at:until]) * rng.randint(0, 3), b"")
    )
    data[at:until] = replacement


def cuts(data: bytes, rng: random.Random) -> list[bytes]:
    places = sorted(rng.randint(0, len(data)) for _ in range(rng.randint(0, 8)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def drive(pieces: list[bytes], *, login: bool, stream: bool) -> list[Event]:
    """All events; neighbouring chunks are joined, for their borders are free."""
    framer = Framer(LIMITS, authenticated=login)
    events: list[Event] = []
    for piece in pieces:
        framer.feed(piece)
        while (event := framer.next_event()) is not None:
            last = events[-1] if events else None
            if isinstance(event, Chunk) and isinstance(last, Chunk) and not last.last:
                events[-1] = Chunk(last.data + event.data, event.last)
            else:
                events.append(event)
            if isinstance(event, LiteralHeader):
                (framer.stream_literal if stream else framer.refuse_literal)()
    return events


def understand(event: Event) -> Command | Announcement | None:
    """Parse what can be parsed; any error but the documented ones escapes."""
    try:
        if isinstance(event, Frame):
            return parse(event, LIMITS)
        if isinstance(event, LiteralHeader):
            return (
                parse_append(event, LIMITS)
                if tag_of(event.parts[0])
                else parse_next(event, LIMITS, after=ONE)
            )
    except (BadCommand, LimitReached, BadCharset):
        return None
    return None


def check(data: bytes, rng: random.Random) -> None:
    """One input against the oracle. AssertionError, or whatever escaped, is a find."""
    login, stream = rng.random() < 0.8, rng.random() < 0.7
    begin = time.process_time()
    events = drive([data], login=login, stream=stream)
    for event in events:
        understand(event)
    assert time.process_time() - begin < SECONDS_PER_INPUT + len(data) / 100_000, "too slow"
    assert drive(cuts(data, rng), login=login, stream=stream) == events, "the cuts show"
    check_recovery(data, login=login)


def check_recovery(data: bytes, *, login: bool) -> None:
    """After enough line ends to fill any literal still open, the next command is understood."""
    filler = b"\n" * (LIMITS.swallow_factor * LIMITS.append + LIMITS.command_total + LIMITS.line)
    events = drive([data, filler, LAST + b"\r\n"], login=login, stream=False)
    assert any(isinstance(event, Overflow) for event in events) or events[-1] == Frame((LAST,)), (
        "lost the thread"
    )


def fuzz(seconds: float, seed: int, most: int | None = None) -> int:
    """Run for so long, or for `most` inputs; returns how many were tried. Raises on the first find."""
    rng = random.Random(seed)
    until = time.monotonic() + seconds
    tried = 0
    for data in inputs(rng):
        if time.monotonic() > until or tried == most:
            break
        try:
            check(data, rng)
        except BaseException as error:
            error.add_note(f"seed {seed}, input {tried}: {data!r}")
            raise
        tried += 1
    return tried


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randint(0, 2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}: {fuzz(options.seconds, options.seed)} inputs, nothing found")


if __name__ == "__main__":
    main()
