"""SORT and THREAD of a large folder from what the store keeps: CPU time, no Graph.

    python tests/bench/sort.py [messages]

Every column is CPU of the whole process, reader threads included. "first": the header facts are stored, sort facts are
not yet; "stored": as after a restart; "warm": the columns are in memory. Figures are to be compared within one run.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from gateway.core.limits import DEFAULT_LIMITS
from gateway.core.types import AccountId, FolderId, MessageId
from gateway.graph.errors import Unreachable
from gateway.mailbox.account import MailboxAccount
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.cache import BodyCache
from gateway.mailbox.context import AccountContext, Settings
from gateway.mailbox.folder import OpenFolder
from gateway.mailbox.hub import Hubs
from gateway.mailbox.names import INBOX, Entry
from gateway.mailbox.spool import SpoolBudget
from gateway.store.api import Facts, FolderUpsert, Upsert
from gateway.store.sqlite import SqliteStore
from gateway.wire.searchkey import All
from gateway.wire.sortkey import Criterion, SortKey, Threading

ACCOUNT = AccountId("bench@example.com")
KEY = bytes(range(32))
WORDS = [b"budget", b"plan", b"meeting", b"report", b"invoice", b"draft", b"question", b"answer", b"travel"]


class NoGraph:
    """Asking Graph for anything but news is a fault."""

    async def delta(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        raise Unreachable("nobody is there")
        yield

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"Graph was asked: {name}")


class Clock:
    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def header(number: int, rng: random.Random) -> bytes:
    """As Exchange has them: some 1.5 KB, most of it of no interest here."""
    above = rng.randrange(max(1, number - 200), number + 1)
    path = b" ".join(b"<%d@mail.example.com>" % each for each in range(max(1, above - 5), above + 1))
    answer = rng.random() < 0.6
    return (
        b"Received: from mx%d.example.net (2001:db8::%d) by mail.example.com with Microsoft SMTP Server;\r\n"
        b" Fri, 15 Jan 2027 08:00:00 +0000\r\nX-Filler: %b\r\n"
        b"From: %b <user%d@example.net>\r\nTo: Alice <alice@example.com>, Bob <bob@example.com>\r\n"
        b"Subject: %b%b %b %d\r\nDate: Fri, %d Jan 2027 %02d:%02d:%02d +0100\r\n"
        b"Message-ID: <%d@mail.example.com>\r\n%bMIME-Version: 1.0\r\n\r\n"
        % (
            number, number, b"x" * 900, rng.choice((b"Some One", b"=?utf-8?q?J=C3=BCrgen?=")), rng.randrange(300),
            b"Re: " if answer else b"", rng.choice(WORDS), rng.choice(WORDS), number // 10,
            1 + number % 28, number % 24, number % 60, number % 59, number,
            b"References: %b\r\n" % path if answer else b"",
        )
    )  # fmt: skip


async def world(folder: Path, count: int) -> tuple[SqliteStore, Any]:
    """A store with one folder of `count` messages whose header facts are known, and a maker of accounts."""
    store = SqliteStore(folder / "bench.db", key=KEY, clock=time.time)
    await store.open()
    inbox = FolderUpsert(
        FolderId("inbox"), FolderId("root"), "Inbox", "inbox", hidden=False, total=count, unread=0
    )
    (row,) = await store.put_folders(ACCOUNT, [inbox], (), link="L")
    rng = random.Random(1)
    for start in range(0, count, 2000):
        numbers = range(start + 1, min(start + 2000, count) + 1)
        ids = {number: MessageId(f"message-{number:08d}-{'x' * 100}") for number in numbers}
        upserts = [Upsert(ids[n], internal_date=1_800_000_000 + n, size=1000 + n % 977) for n in numbers]
        await store.stage(row.key, upserts, link=None)
        await store.put_facts(ACCOUNT, {ids[n]: Facts(header(n, rng), b"()", "") for n in numbers})
    await store.finish_first_sync(row.key, link="D")

    async def opened() -> tuple[MailboxAccount, OpenFolder]:
        """With nothing in memory."""
        hubs = Hubs(store, change_log=DEFAULT_LIMITS.change_log)
        ctx = AccountContext(
            ACCOUNT,
            NoGraph(),
            store,
            hubs,
            Settings(),
            DEFAULT_LIMITS,
            Clock(),
            random.Random(1),  # type: ignore[arg-type]
        )
        cache = BodyCache(memory=1 << 20, spool_above=1 << 20, folder=None, disk=0, key=KEY)
        account = MailboxAccount(ctx, hubs, Bodies(ctx, cache), SpoolBudget(1 << 20))
        current = await store.folder(ACCOUNT, FolderId("inbox"))
        assert current is not None
        sync = account.sync(current)
        return account, await OpenFolder.open(
            account, Entry(INBOX, current, None, False), sync, hubs, read_only=True
        )

    return store, opened


WORK: dict[str, Any] = {
    "SORT (SUBJECT)": (Criterion(SortKey.SUBJECT),),
    "SORT (REVERSE DATE)": (Criterion(SortKey.DATE, reverse=True),),
    "SORT (DISPLAYFROM SUBJECT DATE)": (
        Criterion(SortKey.DISPLAYFROM), Criterion(SortKey.SUBJECT), Criterion(SortKey.DATE),
    ),
    "SORT (SIZE)": (Criterion(SortKey.SIZE),),
    "THREAD REFERENCES": Threading.REFERENCES,
    "THREAD ORDEREDSUBJECT": Threading.ORDEREDSUBJECT,
}  # fmt: skip


async def run(folder: OpenFolder, work: Any) -> float:
    began = time.process_time()
    at = await folder.search(All())
    if isinstance(work, Threading):
        await folder.thread(at, work)
    else:
        await folder.sort(at, work)
    return time.process_time() - began


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        store, opened = await world(Path(place), count)
        _, folder = await opened()
        print(
            f"{count} messages, milliseconds of CPU; first: {1000 * await run(folder, WORK['SORT (SUBJECT)']):.0f}"
        )
        for name, work in WORK.items():
            _, folder = await opened()
            stored = await run(folder, work)
            print(f"  {name:32} stored {1000 * stored:5.0f}  warm {1000 * await run(folder, work):5.0f}")
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000))
