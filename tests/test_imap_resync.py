"""A QRESYNC client that comes and goes ends with exactly the server's mailbox (RFC 7162 section 6).

The client keeps what it is told and nothing else: UIDs with flags, and the mod-sequence to come back with by the rules
of section 6. It leaves when it likes, also in the middle of an answer. Meanwhile others (Outlook, other clients) add,
flag and expunge. The store is real, and forgets: in half of the lives tombstones, or the index's log, are
bounded by 2.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.runs import Runs
from gateway.core.types import AccountId, Flags, FolderId, MessageId, ObjectId, SystemFlag, Uid
from gateway.imap.announce import announce
from gateway.imap.condstore import highest, tell_highest
from gateway.imap.notify import BY_DEFAULT
from gateway.imap.plan import plan_of
from gateway.imap.resync import resynchronise, tell_vanished
from gateway.imap.spec import Enabled
from gateway.mailbox.folder import OpenFolder
from gateway.mailbox.hub import Hubs
from gateway.mailbox.resync import Known
from gateway.mailbox.values import Need, Row
from gateway.mailbox.view import MailboxView
from gateway.store.api import FolderUpsert, Upsert
from gateway.store.sqlite import SqliteStore
from gateway.wire.command import Resync
from gateway.wire.encode import Kind, Out
from gateway.wire.fetchatt import Att

ALICE = AccountId("alice")
QRESYNC = Enabled.QRESYNC | Enabled.CONDSTORE
FLAGS = [
    Flags(),
    Flags(SystemFlag.SEEN),
    Flags(SystemFlag.FLAGGED),
    Flags(SystemFlag.SEEN | SystemFlag.DELETED),
]
_FETCH = re.compile(rb"(\d+) (UID)?FETCH \((.*)\)")


class Server:
    """The mailbox, and everybody but our client."""

    def __init__(self, store: SqliteStore, hubs: Hubs, rng: random.Random) -> None:
        self.store, self.hubs, self.rng = store, hubs, rng
        self.made = 0
        self.key = 0

    @classmethod
    async def start(cls, folder: Path, rng: random.Random) -> Server:
        store = SqliteStore(
            folder / "s.db", key=b"k" * 32, clock=lambda: 1_700_000_000, tombstones=rng.choice([2, 100])
        )
        await store.open()
        server = cls(store, Hubs(store, change_log=rng.choice([2, 100])), rng)
        (row,) = await store.put_folders(
            ALICE, [FolderUpsert(FolderId("F"), name="Box", total=3)], [], link=None
        )
        server.key = row.key
        await store.stage(row.key, [server._new() for _ in range(3)], link=None)
        await store.finish_first_sync(row.key, link="x")
        return server

    def _new(self) -> Upsert:
        self.made += 1
        return Upsert(MessageId(f"m{self.made:04}"), flags=Flags(), internal_date=self.made, size=1, etag="e")

    async def act(self) -> None:
        """One thing somebody does."""
        rows = await self.store.messages(self.key)
        what = self.rng.choice(["add", "flag", "flag", "expunge", "expunge", "renew"])
        some = self.rng.sample(rows, min(len(rows), self.rng.randint(1, 3)))
        gone = [row.id for row in some] if what == "expunge" else []
        upserts = {
            "add": [self._new()],
            "flag": [Upsert(row.id, flags=self.rng.choice(FLAGS), known_only=True) for row in some],
            "renew": [Upsert(row.id, new_generation=True, known_only=True) for row in some[:1]],
        }.get(what, [])
        self.hubs.refresh(self.key, await self.store.apply(self.key, upserts, gone))

    async def truth(self) -> dict[int, Flags]:
        return {row.uid: row.flags for row in await self.store.messages(self.key)}


class Folder:
    """As much of an open mailbox as resynchronising asks for; what it computes is `OpenFolder`'s own code."""

    newer, highest_of, vanished = OpenFolder.newer, OpenFolder.highest_of, OpenFolder.vanished
    uid_validity = 7

    def __init__(self, server: Server, hub: Any, view: MailboxView, row: Any) -> None:
        self._ctx = SimpleNamespace(store=server.store)
        self._hub, self._view, self._row = hub, view, row

    @property
    def view(self) -> MailboxView:
        return self._view

    @property
    def uid_next(self) -> int:
        return max(self._row.uid_next, self._hub.index.last_uid + 1)

    async def rows(self, at: Sequence[range], need: Need) -> AsyncIterator[list[Row]]:
        for run in at:
            for position in run:
                entry = self._hub.index.entry(self._view.uids[position])
                if entry is not None:
                    yield [
                        Row(position + 1, Uid(entry.uid), entry.flags, False, entry.modseq, 0, 1, ObjectId(""),
                            ObjectId(""))
                    ]  # fmt: skip


@dataclass
class Client:
    """What it holds from one connection to the next."""

    flags: dict[int, Flags] = field(default_factory=dict)
    modseq: int = 0
    synced: int = 0  # up to this UID it has asked for everything
    seen: list[int] = field(default_factory=list)  # every mod-sequence it came back with


class Connection:
    """One session of the client, lines read as the protocol has them."""

    def __init__(self, client: Client, session: Any) -> None:
        self.client, self.s = client, session
        self.numbers: list[int] = list(session.folder.view.uids)  # the UID behind each message number
        self.highest = 0  # of MODSEQ since the last tagged reply
        self.code = 0  # of HIGHESTMODSEQ

    def hear(self, *, whole: bool = True, rng: random.Random | None = None) -> None:
        """What has come; not `whole`: the connection breaks on the way."""
        lines = self.s.out.take().split(b"\r\n")[:-1]
        if not whole and rng is not None:
            lines = lines[: rng.randint(0, len(lines))]
        for line in lines:
            self._line(line.removeprefix(b"* "))
        if whole:
            self._tagged()

    def _line(self, line: bytes) -> None:
        if line.startswith(b"VANISHED (EARLIER) "):
            for uid in _uids(line.rpartition(b" ")[2]):
                self.client.flags.pop(uid, None)
                assert uid not in self.numbers, "EARLIER is of no message that has a number"
        elif line.startswith(b"VANISHED "):
            for uid in _uids(line.rpartition(b" ")[2]):
                self.client.flags.pop(uid, None)
                self.numbers.remove(uid)  # it must have been announced
        elif b" EXISTS" in line:
            fresh = int(line.split()[0]) - len(self.numbers)
            self.numbers += self.s.folder.view.uids[len(self.numbers) :][:fresh]
            assert len(self.numbers) == int(line.split()[0])
        elif match := re.match(rb"OK \[HIGHESTMODSEQ (\d+)\]", line):
            self.code = int(match[1])
        elif found := _FETCH.match(line):
            self._fetch(int(found[1]), found[3])
        assert b" EXPUNGE" not in line

    def _fetch(self, number: int, items: bytes) -> None:
        uid = re.search(rb"UID (\d+)", items)
        names = re.search(rb"FLAGS \(([^)]*)\)", items)
        modseq = re.search(rb"MODSEQ \((\d+)\)", items)
        assert uid is not None and names is not None and modseq is not None
        assert self.numbers[number - 1] == int(uid[1]), "the number is another message's"
        self.client.flags[int(uid[1])] = Flags.of(names[1].split())
        self.highest = max(self.highest, int(modseq[1]))

    def _tagged(self) -> None:
        """RFC 7162 section 6: the code, even if it is lower than what was seen; else the highest seen."""
        if self.code:
            assert self.code >= self.client.modseq, "HIGHESTMODSEQ moved backwards"
            self.client.modseq = self.code
        else:
            self.client.modseq = max(self.client.modseq, self.highest)
        self.highest = self.code = 0


def _uids(text: bytes) -> Iterator[int]:
    for part in text.split(b","):
        low, _, high = part.partition(b":")
        yield from range(int(low), int(high or low) + 1)


class Life:
    """The client's commands, each with whatever others do at the same moment."""

    def __init__(self, server: Server, rng: random.Random) -> None:
        self.server, self.rng = server, rng
        self.client = Client()
        self.on: Connection | None = None

    async def connect(self) -> Connection:
        server = self.server
        hub = await server.hubs.open(server.key)
        view = hub.view(recent_from=2**32, takes_recent=False)
        row = await server.store.folder(ALICE, FolderId("F"))
        folder = Folder(server, hub, view, row)
        session: Any = SimpleNamespace(
            out=Out(), enabled=QRESYNC, folder=folder, flush_if_full=self._flush,
            selected=SimpleNamespace(folder=folder, keywords=frozenset(), contexts={}),
            hearing=BY_DEFAULT, notifications=None,
        )  # fmt: skip
        view.drain(expunge=True)
        self.on = connection = Connection(self.client, session)
        self.client.seen.append(self.client.modseq)
        session.out.untagged(b"%d EXISTS" % view.count)
        tell_highest(session)
        known = self._known()
        await resynchronise(session, known)
        announce(session, expunge=True)
        return connection

    async def _flush(self) -> None:
        """Where the server waits for the peer others go on."""
        if self.rng.random() < 0.3:
            await self.server.act()

    def _known(self) -> Resync:
        """As the client likes: what it holds, numbers that it had, or neither."""
        held = sorted(self.client.flags)
        kind = self.rng.choice(["none", "uids", "match"])
        if kind == "none" or not held:
            return Resync(7, self.client.modseq)
        some = sorted(self.rng.sample(range(len(held)), self.rng.randint(1, len(held))))
        match = (Runs.of(at + 1 for at in some), Runs.of(held[at] for at in some))
        return Resync(7, self.client.modseq, Runs.of(held), match if kind == "match" else None)

    async def learn(self, connection: Connection) -> None:
        """UID FETCH of what is new to the client, as every client does after EXISTS."""
        view = connection.s.folder.view
        top, self.client.synced = self.client.synced, view.uids[-1] if view.count else self.client.synced
        at = Runs(((top + 1, 2**32 - 1),)).positions(view.uids, view.count, by_uid=True)
        await self.fetch(connection, at)
        announce(connection.s, expunge=True)
        connection.hear()

    async def fetch(self, connection: Connection, at: Sequence[range]) -> None:
        plan = plan_of(connection.s, (Att.FLAGS,), by_uid=True)
        async for rows in connection.s.folder.rows(at, Need.INDEX):
            for row in rows:
                plan.say(connection.s, row)

    async def command(self, connection: Connection) -> None:
        s, rng = connection.s, self.rng
        kind = rng.choice(["noop", "fetch", "fetch", "uid fetch", "vanished", "expunge"])
        if kind == "noop":
            announce(s, expunge=True)
        elif kind == "expunge":
            if announce(s, expunge=True):
                s.out.status(b"*", Kind.OK, "", highest(s))
        elif kind == "vanished":
            await tell_vanished(s, Known(self.client.modseq))
            at = s.folder.newer([range(s.folder.view.count)], self.client.modseq)
            await self.fetch(connection, at)
            announce(s, expunge=True)
        else:
            count = s.folder.view.count
            await self.fetch(connection, [range(rng.randint(0, count), count)])
            announce(s, expunge=kind == "uid fetch")
        whole = rng.random() < 0.9
        connection.hear(whole=whole, rng=rng)
        if not whole:
            self.on = None

    async def live(self, steps: int) -> None:
        for _ in range(steps):
            for _ in range(self.rng.randint(0, 2)):
                await self.server.act()
            if self.on is None:
                connection = await self.connect()
                if self.rng.random() < 0.2:  # the answer to SELECT was cut short
                    connection.hear(whole=False, rng=self.rng)
                    self.on = None
                    continue
                connection.hear()
                if self.rng.random() < 0.8:
                    await self.learn(connection)
            elif self.rng.random() < 0.3:
                self.on = None
            else:
                await self.command(self.on)
        await self.settle()

    async def settle(self) -> None:
        """It comes back once more, and hears everything out."""
        connection = await self.connect()
        connection.hear()
        await self.learn(connection)


async def lived(folder: Path, seed: int, steps: int) -> tuple[dict[int, Flags], dict[int, Flags], Client]:
    rng = random.Random(seed)
    server = await Server.start(folder, rng)
    try:
        life = Life(server, rng)
        await life.live(steps)
        return life.client.flags, await server.truth(), life.client
    finally:
        await server.store.close()


MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # the disk is not what is tested


@pytest.mark.parametrize("start", range(0, 240, 40))
def test_who_comes_back_ends_with_the_servers_mailbox(start: int) -> None:
    for seed in range(start, start + 40):
        with TemporaryDirectory(dir=MEMORY) as folder:
            held, truth, client = asyncio.run(lived(Path(folder), seed, 30))
        assert held == truth, seed
        assert client.seen == sorted(client.seen), seed
