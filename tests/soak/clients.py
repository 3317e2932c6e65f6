"""What the clients of a fault soak do, each for itself and without end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.soak.book import FILED, Flags
from tests.soak.ledger import numbers
from tests.soak.mail import letter
from tests.soak.reader import FLAGS, LATER, SHARED, TRIES, Reader
from tests.soak.talk import Answer, DroppedError, WrongError


class Client(Reader):
    """A mail program that changes things, too."""

    async def run(self) -> None:
        try:
            await self.again(first=True)
            while not self.stage.ended:
                self.now = self.rng.choices(list(ACTS), [weight for weight, _ in ACTS.values()])[0]
                await ACTS[self.now][1](self)
                self.did[self.now] += 1
                await asyncio.sleep(self.rng.uniform(0, self.stage.think))
            self.talk.close()
        except (DroppedError, WrongError) as error:
            self.stage.failed(self.name, self.talk.history)
            raise WrongError(f"{self.name}, {self.now}: {error}") from error

    # -- acts that change --

    async def store(self) -> None:
        mailbox = self.rng.choice(SHARED)
        some = await self.pick(mailbox, 8)
        if not some:
            return
        flags, on = Flags(self.rng.sample(FLAGS, 2)), self.rng.random() < 0.6
        line = f"UID STORE {_set(some)} {'+' if on else '-'}FLAGS.SILENT ({' '.join(sorted(flags))})"
        await self.persist(line, mailbox=mailbox)
        self.book.flagged(some.values(), mailbox, flags, on=on)

    async def answer(self) -> None:
        """A flag on a message that Outlook changes at the same time, and that Outlook never touches."""
        view = self.talk.view
        if view is None or view.validity not in self.book.seen:
            return
        tokens = self.book.seen[view.validity].tokens
        theirs = [u for u in view.uids if u in tokens and u is not None and tokens[u].startswith("out-")]
        if not theirs:
            return
        uid = self.rng.choice(theirs)
        line = rf"UID STORE {uid} +FLAGS (\Answered)"
        for _ in range(TRIES):
            try:
                answer = await self.talk.command(line)
            except DroppedError:
                await self.lost()
                return
            self.stage.note("UID STORE", answer)
            if answer.status == "OK" and self.talk.view is view and uid in view.uids:
                self.book.answered.add(tokens[uid])
            if answer.status == "OK" or answer.code == "EXPUNGEISSUED":
                return
            if answer.status != "NO" or answer.code not in LATER:
                raise WrongError(f"{line}: {answer.status} [{answer.code}] {answer.text}")

    async def append(self) -> None:
        mailbox = self.rng.choice(SHARED)
        count = 1 if self.rng.random() < 0.8 else self.rng.randint(2, 3)
        flags = Flags(self.rng.sample(FLAGS, self.rng.randint(0, 2)))
        tokens = [self.stage.token("own") for _ in range(count)]
        for token in tokens:
            size = self.rng.choice(self.stage.sizes)
            self.book.originals[token] = letter(token, size, self.rng)
        await self.put(mailbox, tokens, flags)

    async def put(self, mailbox: str, tokens: list[str], flags: Flags) -> None:
        """APPEND of all; nothing of it may be there unless it was OK."""
        head = f"({' '.join(sorted(flags))}) "
        pieces: list[bytes | str] = []
        for token in tokens:
            pieces += [self.book.originals[token], " " + head]
        line = f'APPEND "{mailbox}" {head}'
        while True:
            try:
                answer = await self.persist(line, *pieces[:-1], once=True)
            except DroppedError:
                there = await self.found(mailbox, tokens)
                if not there:
                    continue
                if len(there) != len(tokens):
                    raise WrongError(f"{mailbox}: only {sorted(there)} of one APPEND of {tokens}") from None
            else:
                self.told(answer, tokens)
            for token in tokens:
                self.book.landed(token, self.name, mailbox, flags)
            return

    async def found(self, mailbox: str, tokens: list[str]) -> set[str]:
        """Which of these are there, after a moment in which what was under way has ended."""
        await asyncio.sleep(1.0)
        return (await self.look(mailbox)).uids.keys() & set(tokens)

    def told(self, answer: Answer, tokens: list[str]) -> None:
        """APPENDUID: uidvalidity and uids, in order."""
        if answer.code != "APPENDUID":
            raise WrongError(f"APPEND without APPENDUID: {answer.code}")
        validity, uids = answer.argument.split()
        for uid, token in zip(numbers(uids), tokens, strict=True):
            self.book.told(int(validity), uid, token)

    async def copy(self) -> None:
        source, target = self.two()
        some = await self.pick(source, 5, target=target)
        if not some:
            return
        try:
            answer = await self.persist(f'UID COPY {_set(some)} "{target}"', mailbox=source, once=True)
        except DroppedError:
            there = await self.found(target, list(some.values()))
            if there and there != set(some.values()):
                raise WrongError(f"{target}: only {sorted(there)} of one COPY of {some}") from None
            if not there:
                return
        else:
            self.copied(answer.code, answer.argument, some)
        self.book.copied(some.values(), source, target)

    async def move(self) -> None:
        source, target = self.two()
        await self.carry(source, target, await self.pick(source, 6, target=target))

    async def carry(self, source: str, target: str, some: dict[int, str]) -> None:
        if not some:
            return
        answer = await self.persist(f'UID MOVE {_set(some)} "{target}"', mailbox=source)
        for said in answer.lines(b"* OK [COPYUID "):
            self.copied("COPYUID", said.line.decode().partition("COPYUID ")[2].partition("]")[0], some)
        self.book.moved(some.values(), source, target)

    def copied(self, code: str, argument: str, some: dict[int, str]) -> None:
        if code != "COPYUID":
            raise WrongError(f"COPY without COPYUID: {code}")
        validity, sources, targets = argument.split()
        for source, target in zip(numbers(sources), numbers(targets), strict=True):
            self.book.told(int(validity), target, some[source])

    def two(self) -> tuple[str, str]:
        source, target = self.rng.sample(SHARED, 2)
        return source, target

    async def expunge(self) -> None:
        mailbox = self.rng.choice(SHARED)
        some = await self.pick(mailbox, 3)
        if some:
            await self.persist(rf"UID STORE {_set(some)} +FLAGS.SILENT (\Deleted)", mailbox=mailbox)
            self.book.flagged(some.values(), mailbox, Flags([r"\Deleted"]), on=True)
            await self.persist(f"UID EXPUNGE {_set(some)}", mailbox=mailbox)
            self.book.removed(some.values(), mailbox)

    async def replace(self) -> None:
        """RFC 8508: the new one and not the old one, or the old one and not the new one."""
        mailbox = self.rng.choice(SHARED)
        some = dict(list((await self.pick(mailbox, 1)).items())[:1])
        for uid, old in some.items():
            new = self.stage.token("own")
            self.book.originals[new] = letter(new, self.rng.choice(self.stage.sizes), self.rng)
            line = rf'UID REPLACE {uid} "{mailbox}" (\Seen) '
            try:
                answer = await self.persist(line, self.book.originals[new], mailbox=mailbox, once=True)
            except DroppedError:
                if await self.one_of(mailbox, old, new) == old:
                    return
            else:
                for said in answer.lines(b"* OK [APPENDUID "):
                    words = said.line.decode().partition("APPENDUID ")[2].partition("]")[0].split()
                    self.book.told(int(words[0]), int(words[1]), new)
            self.book.landed(new, self.name, mailbox, Flags([r"\Seen"]))
            self.book.removed([old], mailbox)

    async def one_of(self, mailbox: str, old: str, new: str) -> str:
        """Which of the two is there, once what was under way has ended."""
        self.book.unsure.add(old)
        for _ in range(20):
            there = await self.found(mailbox, [old, new])
            if len(there) == 1:
                self.book.unsure.discard(old)
                return there.pop()
        raise WrongError(f"{mailbox}: {sorted(there)} after a REPLACE of {old} by {new}")

    async def box(self) -> None:
        """The life of a mailbox: made, filled, renamed, emptied, deleted."""
        self.boxes += 1
        name = f"Box-{self.name}-{self.boxes}"
        other, done = name + "-r", frozenset({"ALREADYEXISTS", "NONEXISTENT"})
        await self.persist(f'CREATE "{name}"', then=done)
        token = self.stage.token("own")
        self.book.originals[token] = letter(token, 500, self.rng)
        await self.put(name, [token], Flags())
        before = await self.look(name)
        assert self.talk.view is not None
        validity = self.talk.view.validity
        await self.persist(f'RENAME "{name}" "{other}"', then=done)
        for places in (self.book.at[token],):
            places[other] = places.pop(name)
        after = await self.look(other)
        if (self.talk.view.validity, after.tokens) != (validity, before.tokens):
            raise WrongError(f"{name}: {before} before, {after} after RENAME")
        await self.carry(other, FILED, dict.fromkeys(after.tokens, token))
        await self.persist("UNSELECT", then=frozenset())
        self.talk.view = None
        await self.persist(f'DELETE "{other}"', then=done)


def _set(uids: dict[int, Any]) -> str:
    return ",".join(map(str, sorted(uids)))


Act = Callable[[Client], Awaitable[None]]
ACTS: dict[str, tuple[float, Act]] = {
    "watch": (10, Client.watch),
    "idle": (12, Client.idle),
    "noop": (6, Client.noop),
    "status": (4, Client.status),
    "search": (6, Client.search),
    "bodies": (10, Client.bodies),
    "store": (14, Client.store),
    "answer": (6, Client.answer),
    "append": (8, Client.append),
    "copy": (7, Client.copy),
    "move": (9, Client.move),
    "expunge": (6, Client.expunge),
    "replace": (3, Client.replace),
    "box": (1.5, Client.box),
}
