"""The end of a fault soak: what was written down, what IMAP shows, and what the emulator holds are the same."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.soak.book import INBOX, SENT, TRASH, Book, Flags, Sight
from tests.soak.clients import Client
from tests.soak.ledger import flags_of
from tests.soak.outside import where
from tests.soak.reader import SHARED
from tests.soak.talk import WrongError

if TYPE_CHECKING:
    from tests.soak.faults import Soak

SETTLE = 40.0  # seconds for what is under way to end, and for news to come in
SHOWN = (*SHARED, TRASH, SENT)
_KEYWORDS = re.compile(rb"(?im)^Keywords:.*\r\n(?:[ \t].*\r\n)*")


async def audit(soak: Soak, user: str) -> None:
    """WrongError with the first difference that does not go away."""
    book = soak.books[user]
    client = Client(soak, book, "auditor", random.Random(1))
    await client.again(first=True)
    end = time.monotonic() + SETTLE
    while True:
        rows = await soak.control.rows(user)
        sights = {name: await client.look(name) for name in SHOWN}
        problem = next(iter(submitted(soak, user, rows)), None) or disagreement(sights, rows)
        if problem is None:
            break
        if time.monotonic() > end:
            raise WrongError(f"{user}: {problem}")
        await asyncio.sleep(0.5)
    for problem in against(book, rows):
        raise WrongError(f"{user}: {problem}")
    await octets(soak, client, sights, rows)
    client.talk.close()


def disagreement(sights: dict[str, Sight], rows: list[dict[str, Any]]) -> str | None:
    """Where IMAP and the mailbox differ, or something half made lies about."""
    held: dict[str, Counter[tuple[str, Flags]]] = {name: Counter() for name in sights}
    for row in rows:
        if (name := where(row)) in held:
            held[name][str(row["subject"]), flags_of(row)] += 1
        elif name:
            return f"{row['subject']} lies in {name}"
    for name, sight in sights.items():
        if sight.every != held[name]:
            ours, theirs = sight.every - held[name], held[name] - sight.every
            return f"{name}: only IMAP has {list(ours)[:4]}, only the mailbox has {list(theirs)[:4]}"
    return None


def against(book: Book, rows: list[dict[str, Any]]) -> list[str]:
    """Where the mailbox differs from what clients were told."""
    wrong = []
    places: dict[str, dict[str, dict[str, Any]]] = {}
    count: Counter[str] = Counter()
    for row in rows:
        token = str(row["subject"])
        places.setdefault(token, {})[where(row)] = row
        count[token] += 1
    for token, expected in book.at.items():
        found = {name: row for name, row in places.get(token, {}).items() if name in SHARED}
        if found.keys() != expected.keys():
            wrong.append(f"{token} is in {sorted(found)}, acknowledged {sorted(expected)}")
        wrong += [
            f"{token} in {name}: {sorted(flags_of(row))}, acknowledged {sorted(expected[name])}"
            for name, row in found.items()
            if name in expected and flags_of(row) != expected[name]
        ]
        if count[token] < len(expected) + book.expunged[token]:
            wrong.append(
                f"{token}: {count[token]} of it, {len(expected)} there and {book.expunged[token]} removed"
            )
    wrong += [
        f"{token} has lost \\Answered"
        for token in book.answered
        for row in places.get(token, {}).values()
        if row["verb"] not in (102, 103)
    ]
    strangers = {
        t for t, at in places.items() if t.startswith("own-") and t not in book.at and set(at) & set(SHARED)
    }
    return wrong + [f"{token} was never acknowledged" for token in sorted(strangers)]


def submitted(soak: Soak, user: str, rows: list[dict[str, Any]]) -> list[str]:
    """Each submission once with the recipient, and once in Sent Items."""
    inbox = Counter(row["subject"] for row in rows if where(row) == INBOX)
    sent = Counter(row["subject"] for row in rows if where(row) == SENT)
    wrong = []
    for sender in soak.senders:
        if user == sender.recipient:
            wrong += [f"{t} was delivered {inbox[t]} times" for t in sender.sent if inbox[t] != 1]
        if user == sender.sender:
            wrong += [f"{t} is {sent[t]} times in Sent Items" for t in sender.sent if sent[t] != 1]
    return wrong


async def octets(soak: Soak, client: Client, sights: dict[str, Sight], rows: list[dict[str, Any]]) -> None:
    """Every message, once more; those delivered as they were delivered."""
    delivered = next(each.octets for each in soak.outlooks if each.book is client.book)
    for name, sight in sights.items():
        uids = sorted(sight.tokens)
        for start in range(0, len(uids), 50):
            some = uids[start : start + 50]
            found = await client.read(name, some)
            if found.keys() != set(some):
                raise WrongError(f"{name}: no octets of {sorted(set(some) - found.keys())[:5]}")
            for uid, whole in found.items():
                original = delivered.get(sight.tokens[uid])
                if original is not None and _KEYWORDS.sub(b"", whole) != _KEYWORDS.sub(b"", original):
                    raise WrongError(f"{name}: {sight.tokens[uid]} is not what was delivered")
