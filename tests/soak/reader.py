"""A client of a fault soak: its connection, its patience, and what it checks of all that it is told.

What is answered NO with a code that says "later" is done again until it is OK, and only that is written into the book.
Any other NO, a BAD, a BYE or a lost connection is a failure of the gateway; it may be lost where the gateway is killed
on purpose, and then the client looks before it does again what cannot be repeated.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from tests.soak.book import ARCHIVE, COPIES, FILED, INBOX, TRASH, Book, Flags, Sight
from tests.soak.mail import token_of
from tests.soak.talk import Answer, DroppedError, Talk, WrongError

LATER = frozenset({"UNAVAILABLE", "LIMIT", "INUSE"})  # RFC 5530: try again
TRIES = 80
FLAGS = (r"\Seen", r"\Flagged", r"\Answered", "Projekt", "Angebot")
SHARED = (INBOX, FILED, COPIES, ARCHIVE)
_FLAGGED = re.compile(rb"FLAGS \(([^)]*)\)")
_UID = re.compile(rb"[( ]UID (\d+)")
_SIZE = re.compile(rb"RFC822\.SIZE (\d+)")


class Stage(Protocol):
    """What a client needs of the soak."""

    host: str
    port: int
    password: str
    ended: bool
    kills: bool
    think: float
    sizes: tuple[int, ...]

    def token(self, kind: str) -> str: ...
    def note(self, verb: str, answer: Answer) -> None: ...
    def failed(self, name: str, history: Iterable[str]) -> None: ...
    async def alive(self) -> None: ...


@dataclass
class Reader:
    """One mail program of one user, as far as it looks and is patient. `name` owns its tokens."""

    stage: Stage
    book: Book
    name: str
    rng: random.Random
    talk: Talk = field(default_factory=Talk)
    did: Counter[str] = field(default_factory=Counter)
    boxes: int = 0
    now: str = ""  # what it is doing, for whoever asks why it failed

    # -- the connection --

    async def again(self, *, first: bool = False) -> None:
        """A new connection. Only where the gateway is killed on purpose may there be need of one."""
        if not first:
            self.talk.close()
        while True:
            await self.stage.alive()
            self.talk = Talk()
            try:
                await self.talk.connect(self.stage.host, self.stage.port, self.book.user, self.stage.password)
                return
            except (DroppedError, OSError):
                if not self.stage.kills:
                    raise
                await asyncio.sleep(0.2)

    async def lost(self) -> None:
        """The connection was lost: by a kill, or by a fault of the gateway."""
        if not self.stage.kills:
            raise
        await self.again()

    async def persist(
        self, line: str, *more: bytes | str, mailbox: str = "", then: frozenset[str] = frozenset(),
        once: bool = False,
    ) -> Answer:  # fmt: skip
        """Until OK, or NO with a code of `then`, which means that an earlier try was done. `once`: what a lost
        connection leaves open is not repeated here."""
        for attempt in range(TRIES):
            try:
                if mailbox and (self.talk.view is None or self.talk.view.name != mailbox):
                    await self.open(mailbox)
                answer = await self.talk.command(line, *more)
            except DroppedError:
                await self.lost()
                if once:
                    raise
                continue
            self.stage.note(
                line.split()[0] + (" " + line.split()[1] if line.startswith("UID ") else ""), answer
            )
            if answer.status == "OK" or (answer.code in then and attempt):
                return answer
            if answer.status != "NO" or answer.code not in LATER:
                raise WrongError(f"{line[:60]}: {answer.status} [{answer.code}] {answer.text}")
            await asyncio.sleep(self.rng.uniform(0.05, 0.5))
        raise WrongError(f"{line[:60]}: not done after {TRIES} tries")

    async def open(self, mailbox: str, *, read_only: bool = False) -> None:
        for _ in range(TRIES):
            try:
                answer = await self.talk.select(mailbox, read_only=read_only)
            except DroppedError:
                await self.lost()
                continue
            self.stage.note("SELECT", answer)
            if answer.status == "OK":
                assert self.talk.view is not None
                self.book.selected(self.talk.view)
                return
            if answer.code not in LATER:
                raise WrongError(f"SELECT {mailbox}: {answer.status} [{answer.code}] {answer.text}")
            await asyncio.sleep(self.rng.uniform(0.05, 0.5))
        raise WrongError(f"SELECT {mailbox}: not done after {TRIES} tries")

    # -- looking --

    async def look(self, mailbox: str, *, read_only: bool = False) -> Sight:
        """SELECT, and all there is; compared with all that this client was told, and that anybody was told."""
        for _ in range(TRIES):
            await self.open(mailbox, read_only=read_only)
            try:
                answer = await self.talk.command(
                    "UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"
                )
            except DroppedError:
                await self.lost()
                continue
            self.stage.note("UID FETCH", answer)
            if answer.status == "OK":
                sight = self.sight(answer)
                self.book.compare(self.name, sight)
                return sight
            if answer.code not in LATER | {"EXPUNGEISSUED"}:
                raise WrongError(f"FETCH in {mailbox}: {answer.status} [{answer.code}] {answer.text}")
        raise WrongError(f"FETCH in {mailbox}: not done after {TRIES} tries")

    def sight(self, answer: Answer) -> Sight:
        view = self.talk.view
        assert view is not None
        tokens: dict[int, str] = {}
        flags: dict[int, Flags] = {}
        for said in answer.lines(b"* "):
            uid, flagged = _UID.search(said.line), _FLAGGED.search(said.line)
            if uid is None or b" FETCH " not in said.line:
                continue
            if said.literals:
                tokens[int(uid[1])] = token_of(said.literals[0])
            if flagged is not None:
                flags[int(uid[1])] = Flags(flagged[1].decode().split()) - {r"\Recent"}
        there = [uid for uid in view.uids if uid in tokens]
        names = [tokens[uid] for uid in there if uid is not None]
        if len(set(names)) != len(names) and view.name != TRASH:
            raise WrongError(
                f"{view.name}: twice there: {[t for t, n in Counter(names).items() if n > 1][:5]}"
            )
        held = {uid: tokens[uid] for uid in there if uid is not None}
        every = Counter((token, flags[uid]) for uid, token in held.items())
        sight = Sight(view.name, held, {token: flags[uid] for uid, token in held.items()}, every)
        self.book.looked(view, sight, time.monotonic())
        self.claim(sight)
        return sight

    def claim(self, sight: Sight) -> None:
        """Mail that was delivered for whoever sees it first."""
        for token, flags in sight.flags.items():
            if token.startswith("in-") and token not in self.book.owner and sight.name == INBOX:
                self.book.landed(token, self.name, INBOX, flags)

    async def pick(self, mailbox: str, most: int, *, target: str = "") -> dict[int, str]:
        """Some messages of this client's in the mailbox, which is open then; none that the target has already."""
        view = self.talk.view
        if view is not None and view.name == mailbox and self.rng.random() < 0.5:
            known = self.book.seen[view.validity].tokens if view.validity in self.book.seen else {}
            uids = {known[uid]: uid for uid in view.uids if uid in known and uid is not None}
        else:
            uids = (await self.look(mailbox)).uids
        mine = [t for t in self.book.mine(self.name, mailbox) if t in uids and target not in self.book.at[t]]
        some = self.rng.sample(mine, min(len(mine), self.rng.randint(1, most)))
        return {uids[token]: token for token in sorted(some, key=uids.__getitem__)}

    # -- acts that only look --

    async def watch(self) -> None:
        """Opened with EXAMINE, and left at once: what comes next may write."""
        await self.look(self.rng.choice(SHARED), read_only=True)
        self.talk.view = None

    async def idle(self) -> None:
        try:
            if self.talk.view is None:
                await self.open(INBOX)
            answer = await self.talk.idle(self.rng.uniform(0.3, 3.0))
        except DroppedError:
            await self.lost()
        else:
            self.stage.note("IDLE", answer)

    async def noop(self) -> None:
        await self.persist(self.rng.choice(("NOOP", "CHECK")), mailbox=self.rng.choice(SHARED))

    async def status(self) -> None:
        mailbox = self.rng.choice(SHARED)
        answer = await self.persist(f'STATUS "{mailbox}" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)')
        if b"UIDVALIDITY %d" % self.book.validity.get(mailbox, 0) not in answer.lines(b"* STATUS")[0].line:
            assert mailbox not in self.book.validity, answer

    async def search(self) -> None:
        """Of this client's messages, exactly those with the flag."""
        mailbox, flag = self.rng.choice(SHARED), self.rng.choice(FLAGS)
        key = flag[1:].upper() if flag.startswith("\\") else f"KEYWORD {flag}"
        sight = await self.look(mailbox)
        answer = await self.persist(f"UID SEARCH {key}", mailbox=mailbox)
        found = {int(n) for said in answer.lines(b"* SEARCH") for n in said.line.split()[2:]}
        for token in self.book.mine(self.name, mailbox):
            wanted = flag in self.book.at[token][mailbox]
            if (sight.uids[token] in found) != wanted:
                raise WrongError(f"{mailbox}: SEARCH {key}: {token} wanted {wanted}")

    async def bodies(self) -> None:
        """Octets: the same for ever, as long as RFC822.SIZE says, and those that were appended."""
        mailbox = self.rng.choice(SHARED)
        uids = sorted((await self.look(mailbox)).tokens)
        if uids:
            some = self.rng.sample(uids, min(len(uids), self.rng.randint(1, 4)))
            await self.read(mailbox, some)

    async def read(self, mailbox: str, uids: list[int]) -> dict[int, bytes]:
        line = f"UID FETCH {','.join(map(str, uids))} (UID RFC822.SIZE BODY.PEEK[])"
        answer = await self.persist(line, mailbox=mailbox, then=frozenset({"EXPUNGEISSUED"}))
        found: dict[int, bytes] = {}
        for said in answer.lines(b"* "):
            uid, size = _UID.search(said.line), _SIZE.search(said.line)
            if uid is None or size is None or not said.literals:
                continue
            octets = found[int(uid[1])] = said.literals[0]
            if int(size[1]) != len(octets):
                raise WrongError(
                    f"{mailbox} UID {int(uid[1])}: RFC822.SIZE {int(size[1])}, has {len(octets)}"
                )
            assert self.talk.view is not None
            self.book.octets(self.talk.view.validity, int(uid[1]), hashlib.sha256(octets).digest())
            token = token_of(octets)
            if self.book.originals.get(token, octets) != octets:
                raise WrongError(f"{mailbox}: {token} is not what was appended")
        return found
