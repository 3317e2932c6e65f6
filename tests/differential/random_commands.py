"""Random commands from a grammar, always the same for a seed: what nobody would think of writing down."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

SYSTEM = ("\\Seen", "\\Flagged", "\\Answered", "\\Deleted")
FLAGS = (*SYSTEM, "Green", "$Forwarded", "Blue")
WORDS = ("a", "e", "the", "example", "Alice", "subject", "xyzzy", "1", "hello", "\u00fc")
HEADERS = (
    "Subject",
    "From",
    "To",
    "Message-ID",
    "Content-Type",
    "X-No-Such",
    "Date",
    "Received",
    "MIME-Version",
)
DATES = ("1-Jan-2024", "3-Jan-2024", "05-Jan-2024", '"4-Jan-2024"', "2-Nov-2026", "1-Jan-1999")


def _one(rng: random.Random, count: int) -> str:
    return rng.choice(["*", *map(str, range(1, count + 1))])


def numbers(rng: random.Random, count: int, beyond: float = 0.05) -> str:
    """A sequence set, seldom with a number that is not there."""
    pieces = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        low, high = _one(rng, count), _one(rng, count)
        pieces.append(low if rng.random() < 0.5 else f"{low}:{high}")
    if rng.random() < beyond:
        pieces.append(str(count + 3))
    return ",".join(pieces)


def uids(rng: random.Random, count: int) -> str:
    marked = numbers(rng, count, 0.1).replace(",", " , ").replace(":", " : ").split()
    return "".join(word if word in "*,:" else f"@{word}" for word in marked)


# -- FETCH --

SIMPLE = ("FLAGS", "UID", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE")
PARTS = ("", "1", "2", "3", "1.1", "2.1", "2.2", "1.2", "2.1.1")
TEXTS = ("HEADER", "TEXT", "MIME")


def _section(rng: random.Random) -> str:
    part = rng.choice(PARTS)
    kind = rng.random()
    if kind < 0.4:
        return part
    dot = "." if part else ""
    if kind < 0.7:
        text = rng.choice(TEXTS if part else TEXTS[:2])
        return f"{part}{dot}{text}"
    fields = " ".join(rng.sample(HEADERS, rng.randint(1, 3)))
    return f"{part}{dot}HEADER.FIELDS{rng.choice(('', '.NOT'))} ({fields})"


def _partial(rng: random.Random) -> str:
    return f"<{rng.choice((0, 0, 1, 7, 100, 5000))}.{rng.choice((1, 10, 64, 4096))}>"


def fetch_item(rng: random.Random, peek: str = ".PEEK") -> str:
    if rng.random() < 0.4:
        return rng.choice(SIMPLE)
    return f"BODY{peek}[{_section(rng)}]{_partial(rng) if rng.random() < 0.3 else ''}"


def fetch(rng: random.Random, count: int, peek: str = ".PEEK") -> str:
    items = list(dict.fromkeys(fetch_item(rng, peek) for _ in range(rng.choice((1, 1, 2, 3)))))
    names = items[0] if len(items) == 1 and rng.random() < 0.5 else f"({' '.join(items)})"
    if rng.random() < 0.4:
        return f"UID FETCH {uids(rng, count)} {names}"
    return f"FETCH {numbers(rng, count)} {names}"


# -- SEARCH --


def _text(rng: random.Random) -> str:
    word = rng.choice(WORDS)
    if not word.isascii():
        return f"{{{len(word.encode())}+}}\r\n{word}"
    return rng.choice((word, f'"{word}"'))


def _simple_key(rng: random.Random, count: int) -> str:
    keys: tuple[Callable[[], str], ...] = (
        lambda: rng.choice(("ALL", "RECENT", "NEW", "OLD")),
        lambda: rng.choice(("", "UN")) + rng.choice(("SEEN", "FLAGGED", "ANSWERED", "DELETED", "DRAFT")),
        lambda: f"{rng.choice(('', 'UN'))}KEYWORD {rng.choice(('Green', '$Forwarded', 'Blue'))}",
        lambda: f"{rng.choice(('FROM', 'TO', 'CC', 'BCC', 'SUBJECT', 'BODY', 'TEXT'))} {_text(rng)}",
        lambda: f"HEADER {rng.choice(HEADERS)} {_text(rng)}",
        lambda: f"{rng.choice(('', 'SENT'))}{rng.choice(('BEFORE', 'ON', 'SINCE'))} {rng.choice(DATES)}",
        lambda: f"{rng.choice(('LARGER', 'SMALLER'))} {rng.choice((0, 300, 400, 500, 800, 5000))}",
        lambda: numbers(rng, count, 0.0),
        lambda: f"UID {uids(rng, count)}",
    )
    return rng.choice(keys)()


def search_key(rng: random.Random, count: int, depth: int = 0) -> str:
    kind = rng.random()
    if depth > 3 or kind < 0.55:
        return _simple_key(rng, count)
    if kind < 0.7:
        return f"NOT {search_key(rng, count, depth + 1)}"
    if kind < 0.85:
        return f"OR {search_key(rng, count, depth + 1)} {search_key(rng, count, depth + 1)}"
    return f"({search_key(rng, count, depth + 1)} {search_key(rng, count, depth + 1)})"


def search(rng: random.Random, count: int) -> str:
    key = " ".join(search_key(rng, count) for _ in range(rng.choice((1, 1, 2))))
    charset = "" if key.isascii() else "CHARSET UTF-8 "
    results = rng.sample(("MIN", "MAX", "COUNT", "ALL"), rng.randint(0, 3))
    returns = f"RETURN ({' '.join(results)}) " if rng.random() < 0.3 else ""
    return f"{rng.choice(('', '', 'UID '))}SEARCH {returns}{charset}{key}"


def reading(rng: random.Random) -> Iterator[bytes]:
    """FETCH without \\Seen and SEARCH, in one of the reader's mailboxes."""
    box, count = rng.choice((("Small", 10), ("Small", 10), ("INBOX", 3), (f"Corpus{rng.randint(1, 13)}", 20)))
    yield f"EXAMINE {box}".encode()
    for _ in range(rng.randint(4, 10)):
        yield rng.choice((fetch, search))(rng, count).encode()


# -- commands that change something --


def store(rng: random.Random, count: int) -> str:
    words = " ".join(rng.sample(FLAGS, rng.randint(1, 3)))
    item = rng.choice(("+FLAGS", "-FLAGS", "FLAGS")) + rng.choice(("", "", ".SILENT"))
    if rng.random() < 0.4:
        return f"UID STORE {uids(rng, count)} {item} ({words})"
    return f"STORE {numbers(rng, count, 0.0)} {item} ({words})"


def copy(rng: random.Random, count: int) -> str:
    word = rng.choice(("COPY", "COPY", "MOVE"))
    target = rng.choice(("Other", "Other", "Empty", "INBOX", "NoSuch"))
    if rng.random() < 0.5:
        return f"UID {word} {uids(rng, count)} {target}"
    return f"{word} {numbers(rng, count, 0.0)} {target}"


def append(rng: random.Random, count: int) -> str:
    body = f"From: r{rng.randint(1, 9)}@example.net\r\nSubject: random\r\n\r\n{'x' * rng.randint(0, 40)}\r\n"
    flags = f"({' '.join(rng.sample(FLAGS[:3], rng.randint(0, 2)))}) " if rng.random() < 0.6 else ""
    return f"APPEND {rng.choice(('Other', 'Box'))} {flags}{{{len(body)}+}}\r\n{body}"


def status(rng: random.Random, count: int) -> str:
    items = rng.sample(("MESSAGES", "UNSEEN", "UIDVALIDITY", "RECENT"), rng.randint(1, 4))
    return f"STATUS {rng.choice(('Box', 'Other', 'Empty', 'INBOX'))} ({' '.join(items)})"


def other(rng: random.Random, count: int) -> str:
    return rng.choice(
        ("NOOP", "CHECK", "EXPUNGE", f"UID EXPUNGE {uids(rng, count)}", "FETCH 1:* (UID FLAGS)")
    )


WRITERS = (store, store, store, copy, append, status, other, other, search, fetch)


def writing(rng: random.Random) -> Iterator[bytes]:
    """Changes in one session, sometimes seen by a second one, which looks by NOOP first."""
    yield b"SELECT Box"
    second = rng.random() < 0.4
    if second:
        yield b"2:SELECT Box"
    for _ in range(rng.randint(5, 10)):
        yield rng.choice(WRITERS)(rng, 5).encode()
        if second and rng.random() < 0.4:
            yield b"2:NOOP"
    yield b"NOOP"
    yield b"FETCH 1:* (UID FLAGS RFC822.SIZE)"
    if second:
        yield b"2:NOOP"
        yield b"2:FETCH 1:* (UID FLAGS)"
