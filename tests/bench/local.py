"""STORE without Graph's time: what a change of flags costs here once Graph has said yes at once. Rows are read, the
PATCH of each is worked out, the answers become rows in the store (synced to disk) and in the index; no sockets."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.core.limits import DEFAULT_LIMITS
from gateway.core.types import FlagChange, FlagOp, Flags, FolderId, MessageId, SystemFlag, Uid
from gateway.graph.model import FollowupFlag, Message
from gateway.mailbox.account import MailboxAccount
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.cache import BodyCache
from gateway.mailbox.clock import SystemClock
from gateway.mailbox.context import AccountContext, Settings
from gateway.mailbox.folder import OpenFolder
from gateway.mailbox.hub import Hubs
from gateway.mailbox.names import INBOX, Entry
from gateway.mailbox.spool import SpoolBudget
from gateway.store.api import FolderUpsert, Upsert
from gateway.store.sqlite import SqliteStore
from tests.bench.sort import ACCOUNT, KEY, NoGraph


class InstantGraph(NoGraph):
    """Takes every PATCH at once."""

    def __init__(self) -> None:
        self._etags = 0

    async def patch(self, patches: Sequence[Any], **_: Any) -> list[Message]:
        return [self._patched(patch) for patch in patches]

    def _patched(self, patch: Any) -> Message:
        self._etags += 1
        status = patch.body["flag"]["flagStatus"]
        return Message(
            id=patch.id, etag=f'W/"{self._etags}"', flag=FollowupFlag(status), parent_folder_id="inbox",
            last_modified_date_time="2027-01-15T08:00:00Z",
        )  # fmt: skip


async def opened(place: Path, count: int) -> tuple[SqliteStore, OpenFolder]:
    store = SqliteStore(place / "bench.db", key=KEY, clock=time.time)
    await store.open()
    inbox = FolderUpsert(
        FolderId("inbox"), FolderId("root"), "Inbox", "inbox", hidden=False, total=count, unread=0
    )
    (row,) = await store.put_folders(ACCOUNT, [inbox], (), link="L")
    upserts = [
        Upsert(
            MessageId(f"message-{n:08d}-{'x' * 100}"),
            flags=Flags(),
            internal_date=1_800_000_000 + n,
            size=20_000,
            etag="e",
        )
        for n in range(count)
    ]
    await store.stage(row.key, upserts, link=None)
    await store.finish_first_sync(row.key, link="D")
    hubs = Hubs(store, change_log=DEFAULT_LIMITS.change_log)
    ctx = AccountContext(
        ACCOUNT,
        InstantGraph(),
        store,
        hubs,
        Settings(),
        DEFAULT_LIMITS,
        SystemClock(),
        random.Random(1),  # type: ignore[arg-type]
    )
    cache = BodyCache(memory=1 << 20, spool_above=1 << 20, folder=None, disk=0, key=KEY)
    account = MailboxAccount(ctx, hubs, Bodies(ctx, cache), SpoolBudget(1 << 20))
    current = await store.folder(ACCOUNT, FolderId("inbox"))
    assert current is not None
    entry = Entry(INBOX, current, None, False)
    return store, await OpenFolder.open(account, entry, account.sync(current), hubs, read_only=False)


async def _measure(count: int, rounds: int) -> list[float]:
    flagged = Flags(SystemFlag.FLAGGED)
    with tempfile.TemporaryDirectory() as place:
        store, folder = await opened(Path(place), count)
        uids = [Uid(uid) for uid in folder.view.uids]
        seconds: list[float] = []
        for _ in range(rounds):
            began = time.perf_counter()
            result = await folder.store(uids, FlagChange(FlagOp.ADD, flagged))
            seconds.append(time.perf_counter() - began)
            assert len(result.rows) == count, (len(result.rows), result.error)
            await folder.store(uids, FlagChange(FlagOp.REMOVE, flagged))
        await store.close()
    return seconds


def store_flags(count: int, rounds: int) -> list[float]:
    """Seconds of each round: a flag set on `count` messages."""
    return asyncio.run(_measure(count, rounds))


if __name__ == "__main__":
    print(statistics.median(store_flags(1000, 7)) * 1000, "ms")
