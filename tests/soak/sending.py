"""Fault runs of submission: whatever Graph does and whenever the process dies, each accepted message is sent once.

    python -m tests.soak.sending --runs 1000 --seed 1 [--mode direct|queue|both]

Each run is a few messages of one user, sent by a client that behaves as SMTP clients do: it comes again after a 4xx,
after a connection that broke, and after a 250 that never reached it. The process dies at a chosen step (a request or a
call to the store, done or not) and at random ones; Graph fails at a chosen request and at random ones. At the end Sent
Items and every recipient's mailbox hold what was accepted, as often as it was accepted, and nothing else; no draft is
left. A run is repeated by its seed: `--runs 1 --first 123 --seed 1`.

`tests.soak.sendkill` does the same to a real process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from gateway.core.errors import GatewayError, SubmissionRefused
from gateway.core.limits import DEFAULT_LIMITS, KIB
from gateway.core.types import AccountId
from gateway.graph.client import GraphClient
from gateway.graph.mail import GraphMailbox
from gateway.mailbox.context import AccountContext, Settings
from gateway.mailbox.hierarchy import Hierarchy
from gateway.mailbox.sending import deliver
from gateway.mailbox.sending.courier import LINGER, Courier
from gateway.mailbox.values import Envelope
from gateway.mailbox.work import settled
from gateway.store.sqlite import SqliteStore
from tests.crashing import CrashError, Mortal, mortal
from tests.emulator_kit import ALICE, BOB, CAROL, Kit
from tests.mailbox_world import FakeHubs, Held
from tests.soak.faultywire import FAULTS, Fault, FaultyWire, SharedClock

STEPS = 14  # the step at which the process dies first goes through these
REQUESTS = 7  # the request that fails first goes through these
LIMITS = replace(DEFAULT_LIMITS, request_body=96 * KIB, graph_patience=20.0)
DENIED = "Denied"  # subject of what Graph refuses: alice has no right to send as carol


class Tokens:
    async def token(self, *, claims: str | None = None, force: bool = False) -> str:
        return "token"


@dataclass(frozen=True, slots=True)
class Letter:
    subject: str
    envelope: Envelope
    raw: bytes

    @property
    def refused(self) -> bool:
        return self.subject.startswith(DENIED)


@dataclass(slots=True)
class Ledger:
    """What the client was told: by subject."""

    accepted: Counter[str] = field(default_factory=Counter)
    abandoned: Counter[str] = field(
        default_factory=Counter
    )  # the client gave up after a 4xx: sent once, or not
    refused: Counter[str] = field(default_factory=Counter)
    unheard: Counter[str] = field(
        default_factory=Counter
    )  # heard by the client, and the gateway died over it


class Run:
    """One run. `at`: its number, which chooses the first fault and the first death."""

    def __init__(self, folder: Path, seed: int, at: int, mode: str) -> None:
        self.rng = random.Random(f"{seed}/{at}/{mode}")
        self.at = at
        self.mode = mode
        self.kit = Kit()
        self.clock = SharedClock(self.kit)
        self.kit.world.limits |= {
            "fresh_404_seconds": self.rng.choice([0.0, 0.2, 3.0]),
            "sent_copy_seconds": self.rng.choice([0.0, 0.5, 5.0, 40.0]),
        }
        self.store = SqliteStore(folder / f"{mode}-{at}.db", key=bytes(32), clock=self.clock.time)
        self.ledger = Ledger()
        self.deaths = self.rng.choice([0, 1, 1, 2, 4])
        self.faults_left = self.rng.choice([1, 2, 4, 10, 30])
        self.rate = self.rng.choice([0.1, 0.3, 0.6])
        self.first_fault = (at // len(FAULTS)) % REQUESTS + 1, FAULTS[at % len(FAULTS)]
        self.first_death = at % STEPS + 1, bool(at // STEPS % 2)
        self.calm = True
        self.wire = FaultyWire(self.kit, self.clock, self.rng, self._fault)
        self.mortal: Mortal | None = None
        self.done = 0  # requests since the weather turned

    # -- the process --

    async def up(self) -> None:
        """A process over the state there is."""
        self.client = GraphClient(
            "https://graph.test/v1.0", Tokens(), limits=LIMITS, clock=self.clock, transport=self.wire,
            rng=random.Random(self.rng.random()),
        )  # fmt: skip
        settings = Settings(submission_mode=self.mode, hostname="gw.example")
        self.ctx = AccountContext(
            account=AccountId(ALICE), graph=GraphMailbox(self.client, ALICE), store=self.store, hubs=FakeHubs(),
            settings=settings, limits=LIMITS, clock=self.clock, rng=random.Random(self.rng.random()),
        )  # fmt: skip
        await Hierarchy(self.ctx).load()

    async def die(self) -> None:
        """Nothing it knew is left; it starts again."""
        assert self.mortal is not None
        await settled()
        self.mortal.at = 0
        self.clock.pass_by(self.rng.uniform(0.1, 30))
        await self.up()
        self._doom()

    def _doom(self) -> None:
        """When it will die next."""
        assert self.mortal is not None
        self.mortal.steps = self.mortal.at = 0
        if self.deaths:
            self.deaths -= 1
            self.mortal.at, self.mortal.done = self.rng.randint(1, 30), self.rng.random() < 0.5

    def _fault(self, method: str, path: str) -> Fault | None:
        if self.calm:
            return None
        self.done += 1
        number, first = self.first_fault
        if self.done == number:
            return first
        if self.faults_left and self.rng.random() < self.rate:
            self.faults_left -= 1
            return self.rng.choice(FAULTS)
        return None

    # -- the client --

    async def send(self, letter: Letter) -> None:
        """As an SMTP client: until a final reply has been heard."""
        for _ in range(200):
            outcome = await self._attempt(letter)
            if outcome == "250":
                self.ledger.accepted[letter.subject] += 1
                return
            if outcome == "5xx":
                self.ledger.refused[letter.subject] += 1
                return
            if outcome == "4xx" and self.rng.random() < 0.05:
                self.ledger.abandoned[letter.subject] += 1
                return
            self.clock.pass_by(self.rng.choice([0.5, 20, 120, 900, 3000]))
            if self.rng.random() < 0.5:
                await self.tidy()
        raise AssertionError(f"{letter.subject}: no final reply")

    async def _attempt(self, letter: Letter) -> str:
        """250 heard, 5xx, 4xx, or nothing."""
        ctx = self.ctx
        try:
            queue_id = await deliver.submit(ctx, letter.envelope, Held(letter.raw))
        except SubmissionRefused as error:
            return "5xx" if error.status >= 500 else "4xx"
        except GatewayError:
            return "4xx"
        except CrashError:
            await self.die()
            return ""
        if self.rng.random() < 0.2:
            deliver.lost(ctx, queue_id)
            return ""
        try:
            await deliver.heard(ctx, queue_id)
        except (
            CrashError
        ):  # nobody can tell that from a 250 that was lost: the next one alike may be taken for a retry
            self.ledger.unheard[letter.subject] += 1
            await self.die()
        return "250"

    async def tidy(self) -> None:
        try:
            await Courier(self.ctx).round()
        except GatewayError:
            pass
        except CrashError:
            await self.die()
        except Exception as error:
            from gateway.graph.errors import GraphError

            if not isinstance(error, GraphError):
                raise

    # -- a run --

    async def run(self) -> None:
        await self.store.open()
        try:
            await self.up()
            await Hierarchy(self.ctx).refresh(max_age=0)
            for name in ("inbox", "drafts"):
                await self.store.finish_first_sync(self.ctx.special[name].key, link="L")
            await Hierarchy(self.ctx).load()
            with mortal(self.wire, self.store) as self.mortal:
                self.mortal.at, self.mortal.done = self.first_death if self.deaths else (0, False)
                self.calm = False
                letters = [letter for n in range(self.rng.randint(1, 3)) for letter in self._letters(n)]
                for letter in letters:
                    await self.send(letter)
                    for _ in range(self.rng.randint(0, 4)):
                        self.clock.pass_by(self.rng.choice([1, 60, 600]))
                        await self.tidy()
                self.mortal.at = 0
                await self._settle()
            self._judge(letters)
        finally:
            await self.client.aclose()
            await self.store.close()

    async def _settle(self) -> None:
        """Faults end, time passes, another process looks after what was left."""
        self.calm = True
        await self.up()
        for _ in range(10):
            self.clock.pass_by(LINGER + 1)
            await Courier(self.ctx).round()
            await settled()
        self.left = [row.state for row in await self.store.submissions(self.ctx.account)]

    def _letters(self, n: int) -> list[Letter]:
        kind = self.rng.choice(("plain", "plain", "alarm", "fields", "file", "bcc", "denied", "twins"))
        if kind == "twins":
            return self._twins(n)
        subject = f"{DENIED if kind == 'denied' else kind} {n}"
        to = {"bcc": (BOB, CAROL), "denied": (BOB,)}.get(kind, (BOB,))
        sender = CAROL if kind == "denied" else ALICE
        raw = _raw(kind, subject, sender, self.rng)
        letter = Letter(subject, Envelope(sender, to), raw)
        return [letter] * (self.rng.randint(2, 3) if kind == "alarm" else 1)

    def _twins(self, n: int) -> list[Letter]:
        """One Message-ID for different people."""
        raw = _raw("plain", "twin", ALICE, self.rng).replace(
            f"To: {BOB}".encode(), b"To: undisclosed-recipients:;"
        )
        return [
            Letter(f"twin {n} {to}", Envelope(ALICE, (to,)), raw.replace(b"twin", f"twin {n} {to}".encode()))
            for to in (BOB, CAROL)
        ]

    def _judge(self, letters: list[Letter]) -> None:
        self.kit.settle(100)
        self.kit.get("/messages?$top=1")  # lets what is due happen
        told = self.ledger
        for letter in set(letters):
            accepted = told.accepted[letter.subject] if not letter.refused else 0
            low = max(min(accepted, 1), accepted - told.unheard[letter.subject])
            high = accepted + (told.abandoned[letter.subject] if not letter.refused else 0)
            boxes = {
                f"{user}'s inbox": self._count(user, "inbox", letter) for user in letter.envelope.recipients
            }
            boxes["Sent"] = self._count(ALICE, "sentitems", letter)
            assert len(set(boxes.values())) == 1, f"{letter.subject}: {boxes}"
            assert low <= boxes["Sent"] <= high, (
                f"{letter.subject}: {boxes}, accepted {low}, abandoned {high - low}"
            )
            if letter.refused and self.mode == "queue":
                reports = [
                    m for m in self.kit.tenant.listing(ALICE, "inbox") if m["subject"] == "Undelivered mail"
                ]
                assert reports, f"{letter.subject}: nobody was told"
        for folder in ("drafts", "outbox", "deleteditems"):
            assert (there := self.kit.tenant.listing(ALICE, folder)) == [], f"{folder} is not empty: {there}"
        assert set(self.left) <= {"sent"}, self.left

    def _count(self, user: str, folder: str, letter: Letter) -> int:
        return sum(m["subject"] == letter.subject for m in self.kit.tenant.listing(user, folder))


def _raw(kind: str, subject: str, sender: str, rng: random.Random) -> bytes:
    head = f"From: {sender}\r\nTo: {BOB}\r\nSubject: {subject}\r\n"
    if kind != "alarm":
        head += (
            f"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{rng.getrandbits(64):x}@example.com>\r\n"
        )
    if kind == "fields":
        head += "X-Ticket: 4711\r\nX-Other: yes\r\n"
    if kind != "file":
        return (head + "\r\nHello.\r\n").encode()
    line = "QUFB" * 18 + "\r\n"
    return (
        head
        + 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nSee there.\r\n'
        '--b\r\nContent-Type: application/octet-stream; name="a.bin"\r\nContent-Transfer-Encoding: base64\r\n'
        f'Content-Disposition: attachment; filename="a.bin"\r\n\r\n{line * 1000}--b--\r\n'
    ).encode()


@contextlib.asynccontextmanager
async def quiet() -> AsyncIterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


async def runs(folder: Path, seed: int, first: int, count: int, mode: str) -> Counter[str]:
    """All of them; AssertionError names the run that failed. What struck, and how much was sent."""
    seen: Counter[str] = Counter()
    async with quiet():
        for at in range(first, first + count):
            run = Run(folder, seed, at, mode)
            try:
                await run.run()
            except Exception as error:
                raise AssertionError(
                    f"run {at}, seed {seed}, {mode}: {error!r}; {run.wire.struck}"
                ) from error
            finally:
                await asyncio.to_thread(_forget, folder)
            seen.update(run.wire.struck)
            seen["requests"] += run.wire.requests
            seen["accepted"] += run.ledger.accepted.total()
            seen["refused"] += run.ledger.refused.total()
            seen["given up by the client"] += run.ledger.abandoned.total()
    return seen


def _forget(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--runs", type=int, default=1000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--first", type=int, default=0)
    options.add_argument("--mode", choices=("direct", "queue", "both"), default="both")
    given = options.parse_args()
    modes = ("direct", "queue") if given.mode == "both" else (given.mode,)
    with tempfile.TemporaryDirectory() as folder:
        for mode in modes:
            began = time.monotonic()
            seen = asyncio.run(runs(Path(folder), given.seed, given.first, given.runs, mode))
            print(f"{mode}: {given.runs} runs, {time.monotonic() - began:.0f} s", dict(seen.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
