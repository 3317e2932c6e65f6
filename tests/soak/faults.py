"""The fault soak: everything that can go wrong with Graph, all the time, and clients that must not notice.

    python -m tests.soak.faults --minutes 20 --clients 20 --seed 1
    python -m tests.soak.faults --minutes 10 --kill-every 15

A gateway and an emulator as processes of their own. Of all requests 5 % each are answered 429 or 503, lose their
connection before or after the work, get half of the answer, or find their token dead; every fourth fails. Clients of
three mailboxes select, fetch, search, store, append, copy, move, expunge, replace, idle, make, rename and delete;
programs submit; Outlook goes on beside. Whatever a client is told OK is written down (`book.py`). At the end the
faults stop, and what is written down, what IMAP shows and what the emulator holds must be the same, octet for octet;
nobody may have heard a BYE, lost a connection, or got another NO than "later". With `--kill-every` the gateway is
killed (`kill -9`) again and again as well; then connections may be lost, and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.soak.audit import audit
from tests.soak.book import COPIES, FILED, Book
from tests.soak.clients import Client
from tests.soak.outside import Control, Outlook, Sender
from tests.soak.processes import HOST, PASSWORD, Lab
from tests.soak.proxy import Proxy, opened
from tests.soak.reader import LATER
from tests.soak.talk import Answer, WrongError

USERS = ("alice@example.com", "bob@example.com", "carol@example.com")
SHARE = (0.5, 0.3, 0.2)  # of the clients, by user
EACH = 0.05  # probability of each kind of fault
UPHEAVAL = 20.0  # seconds between deaths of all delta tokens, or of all access tokens
SIZES = (600, 1500, 1500, 20_000, 150_000)


def table(each: float, seed: int) -> list[dict[str, object]]:
    """The faults: what they are, and of which requests. Those that break the connection are for whole requests only, or
    hardly any batch of 20 would ever be answered."""
    kinds: list[tuple[float, dict[str, object]]] = [
        (each * 0.5, {"status": 429, "retry_after": 0.35}),
        (each * 0.3, {"status": 429, "retry_after": "1"}),
        (each * 0.2, {"status": 429}),
        (each * 0.5, {"status": 503}),
        (each * 0.5, {"status": 503, "retry_after": 0.2, "body": "<h1>Service Unavailable</h1>"}),
        (each * 0.5, {"mode": "reset", "inner": False}),
        (each * 0.5, {"mode": "commit-then-fail", "status": 0, "inner": False}),
        (each, {"mode": "cut", "inner": False}),
        (each, {"mode": "dead-token", "inner": False}),
        (each * 0.4, {"method": "GET", "status": 504, "inner": False}),
        (each, {"target": "auth", "status": 503}),
        (each * 0.5, {"target": "auth", "mode": "reset"}),
    ]
    return [
        {**kind, "path": "", "probability": probability, "seed": seed * 100 + number}
        for number, (probability, kind) in enumerate(kinds)
    ]


@dataclass
class Soak:
    """The stage of all clients; one failure ends it."""

    lab: Lab
    control: Control
    seed: int
    kills: bool = False
    think: float = 0.6
    sizes: tuple[int, ...] = SIZES
    host: str = HOST
    password: str = PASSWORD
    ended: bool = False
    proxy: Proxy | None = None  # with push
    books: dict[str, Book] = field(default_factory=dict)
    clients: list[Client] = field(default_factory=list)
    outlooks: list[Outlook] = field(default_factory=list)
    senders: list[Sender] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    killed: int = 0
    _tokens: int = 0
    _alive: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        return int(self.lab.gateway.told["ports"]["imap"])

    @property
    def submission_port(self) -> int:
        return int(self.lab.gateway.told["ports"]["smtp"])

    def token(self, kind: str) -> str:
        self._tokens += 1
        return f"{kind}-{self._tokens:06}"

    def note(self, verb: str, answer: Answer) -> None:
        self.answers[f"{verb} {answer.status}{' ' + answer.code if answer.code in LATER else ''}"] += 1
        self.slowest[verb] = max(self.slowest.get(verb, 0.0), answer.seconds if verb != "IDLE" else 0.0)

    def failed(self, name: str, history: Iterable[str]) -> None:
        (self.lab.folder / f"history-{name}.txt").write_text("\n".join(history))

    async def keep(self) -> None:
        """What one wants to see after a failure: the emulator's log, and what it holds."""
        (self.lab.folder / "requests.json").write_text(json.dumps(await self.control.log()))
        for user in USERS:
            rows = await self.control.rows(user)
            (self.lab.folder / f"rows-{user}.json").write_text(json.dumps(rows))

    async def alive(self) -> None:
        await self._alive.wait()

    # -- a soak --

    async def cast(self, clients: int, *, pace: float) -> None:
        """Everybody who takes part, and the mailboxes they need."""
        rng = random.Random(self.seed)
        self._alive.set()
        for user, share in zip(USERS, SHARE, strict=True):
            book = self.books[user] = Book(user)
            outlook = Outlook(self, self.control, book, random.Random(rng.random()), pace, self.sizes)
            self.outlooks.append(outlook)
            for n in range(10):
                await outlook.deliver("out" if n % 2 else "in")
            for n in range(max(1, round(clients * share))):
                name = f"{user.partition('@')[0]}{n}"
                self.clients.append(Client(self, book, name, random.Random(rng.random())))
            first = Client(self, book, "first", random.Random(1))
            await first.again(first=True)
            for name in (FILED, COPIES):
                await first.persist(f'CREATE "{name}"')
            first.talk.close()
        self.senders = [Sender(self, USERS[0], USERS[1], random.Random(rng.random()), pace * 4)]

    async def run(self, seconds: float, kill_every: float, say: Callable[[str], None]) -> None:
        for fault in table(EACH, self.seed):
            await self.control.fault(**fault)
        self._alive.set()
        tasks = [asyncio.create_task(each.run()) for each in (*self.clients, *self.outlooks, *self.senders)]
        aside = [asyncio.create_task(self._tell(say)), asyncio.create_task(self._upheavals())]
        if kill_every:
            aside.append(asyncio.create_task(self._kill(kill_every)))
        try:
            done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            self.ended = True
            if not any(task.exception() for task in done):
                self.end_kills(aside)
                await asyncio.gather(*tasks)
            for task in done:
                task.result()
        finally:
            for task in (*tasks, *aside):
                task.cancel()
            await asyncio.gather(*tasks, *aside, return_exceptions=True)

    def end_kills(self, aside: Sequence[asyncio.Task[None]]) -> None:
        for task in aside[2:]:
            task.cancel()
        if self._alive.is_set():
            return
        self.lab.gateway.kill()
        self.lab.gateway.start()
        self._started()

    def _started(self) -> None:
        if self.proxy is not None:
            self.proxy.web = self.lab.gateway.told["ports"]["web"]
        self._alive.set()

    async def _tell(self, say: Callable[[str], None]) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(15)
            later = sum(n for key, n in self.answers.items() if key.rpartition(" ")[2] in LATER)
            say(
                f"{time.monotonic() - began:6.0f} s  {self.answers.total():6} commands, {later:5} to be done later, "
                f"{sum(len(s.sent) for s in self.senders):3} sent, {self.killed:3} kills"
            )

    async def _upheavals(self) -> None:
        """Every delta token dies at once, or every access token."""
        rng = random.Random(self.seed + 1)
        while True:
            await asyncio.sleep(rng.uniform(0.5, 1.5) * UPHEAVAL)
            await self.control.expire(rng.choice(("delta", "delta", "tokens")))

    async def _kill(self, every: float) -> None:
        rng = random.Random(self.seed)
        while True:
            await asyncio.sleep(rng.uniform(0.3, 1.7) * every)
            self._alive.clear()
            self.lab.gateway.kill()
            self.killed += 1
            await asyncio.to_thread(self.lab.gateway.start)
            self._started()

    def report(self) -> str:
        did = sum((client.did for client in self.clients), Counter[str]())
        outside = sum((outlook.did for outlook in self.outlooks), Counter[str]())
        lines = [
            f"commands: {dict(sorted(self.answers.items()))}",
            f"slowest: { {verb: round(s, 1) for verb, s in sorted(self.slowest.items())} }",
            f"acts: {dict(did)}; Outlook: {dict(outside)}",
            f"submissions: {sum(len(s.sent) for s in self.senders)}, "
            f"replies {dict(sum((s.replies for s in self.senders), Counter[str]()))}",
            f"UIDs told: {sum(book.promises for book in self.books.values())}; kills: {self.killed}",
        ]
        return "\n".join(lines)


async def soak(
    folder: Path, *, seconds: float, clients: int, seed: int, kill_every: float = 0.0, think: float = 0.6,
    push: bool = False, pace: float = 1.0, sizes: tuple[int, ...] = SIZES,
    say: Callable[[str], None] = lambda text: None,
) -> Soak:  # fmt: skip
    """One soak; WrongError says what did not hold, and with which seed."""
    proxy, ca = await opened(folder) if push else (None, None)
    web = proxy.web_section if proxy is not None else ""
    poll = 15.0 if push else 1.0
    lab = await asyncio.to_thread(
        Lab, folder, rtt_ms=4, service_ms=3, users=USERS, poll=poll, web=web, trusted=ca
    )
    with lab:
        if proxy is not None:
            proxy.web = lab.gateway.told["ports"]["web"]
        control = Control(lab.emulator.told["base_url"])
        made = Soak(lab, control, seed, bool(kill_every), think, sizes, proxy=proxy)
        try:
            await made.cast(clients, pace=pace)
            await control.log()
            await made.run(seconds, kill_every, say)
            await control.heal()
            say("the faults have ended; comparing")
            made.kills = False
            for user in USERS:
                await audit(made, user)
            if lab.gateway.running.poll() is not None:
                raise WrongError("the gateway has ended")
        except AssertionError as error:
            with contextlib.suppress(httpx.HTTPError):
                await made.keep()
            raise WrongError(f"seed {seed}: {error}\n{made.report()}") from error
        finally:
            await control.http.aclose()
            if proxy is not None:
                await proxy.stop()
        if lab.gateway.end() != 0:
            raise WrongError("the gateway did not end as it should")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--think", type=float, default=4.0,
        help="seconds a client rests at most between acts; much less, and the mailboxes' own limits end it all",
    )  # fmt: skip
    parser.add_argument("--kill-every", type=float, default=0.0, help="seconds, about; 0 = never")
    parser.add_argument(
        "--push", action="store_true", help="Graph tells of changes; polls every 15 seconds only"
    )
    parser.add_argument("--folder", type=Path, help="kept for looking at; default: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gateway-faults-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        made = asyncio.run(
            soak(
                folder, seconds=given.minutes * 60, clients=given.clients, seed=given.seed,
                kill_every=given.kill_every, think=given.think, push=given.push,
                say=lambda text: print(text, flush=True),
            )
        )  # fmt: skip
    print(made.report())
    print(f"{given.minutes:g} minutes, {len(made.clients)} clients, seed {given.seed}: all held")


if __name__ == "__main__":
    sys.exit(main())
