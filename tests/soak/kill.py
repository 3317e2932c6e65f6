"""The kill test: `kill -9` of the gateway at random points of its work, and what must hold afterwards.

    python -m tests.soak.kill --times 50 --seed 1

Each round does one kind of work (first sync, STORE, APPEND, MOVE, COPY, EXPUNGE, MULTIAPPEND, REPLACE, or the sync
behind the first sign-in of a user) until the gateway is killed under
it, starts it again, and compares a fresh session and the emulator's mailbox with all that was ever acknowledged.
"""

from __future__ import annotations

import argparse
import contextlib
import imaplib
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.soak.ledger import (
    COPIES,
    FILED,
    INBOX,
    TRASH,
    Ledger,
    Snapshot,
    either,
    examine,
    flags_of,
    moved,
)
from tests.soak.processes import ALICE, Lab, eventually
from tests.soak.rounds import Behind, multiappend, replace

STOCK = 60  # messages in INBOX at the start of a round
FIRST = 150  # messages of a folder nobody has opened yet
AGAIN = 0.25  # probability of another kill right after the restart
_APPENDUID = re.compile(rb"\[APPENDUID \d+ (\d+)\]")
_FLAGS = (r"\Seen", r"\Flagged", r"\Answered", "Projekt", "Angebot")


def letter(token: str, body: str = "Hello.") -> bytes:
    text = (
        f"From: Eve <eve@example.net>\nTo: alice@example.com\nSubject: {token}\n"
        f"Date: Mon, 02 Nov 2026 10:00:00 +0000\nMessage-ID: <{token}@example.net>\nX-Kept: as it is\n"
        f"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n{body}\n"
    )
    return text.replace("\n", "\r\n").encode()


class Kill:
    """The rounds over one lab."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab = lab
        self.fresh = list(lab.users[1:])  # who never signed in
        self.rng = random.Random(seed)
        self.ledger = Ledger()
        self.count = 0
        self.folders = [INBOX, FILED, COPIES, TRASH]
        self.acknowledged: Counter[str] = Counter()

    def prepare(self) -> None:
        self.restock()
        box = self.lab.session()
        for name in (FILED, COPIES):
            assert box.create(name)[0] == "OK"
        box.logout()
        self.check()

    def restock(self) -> None:
        """Mail from outside, so that INBOX has `STOCK` messages."""
        held = sum(row["wellKnownName"] == "inbox" for row in self.lab.mailbox.rows())
        for _ in range(max(0, STOCK - held)):
            token = self.token("seed")
            self.lab.mailbox.deliver(letter(token))
            self.ledger.did(token, INBOX)

    def token(self, kind: str) -> str:
        self.count += 1
        return f"{kind}-{self.count:05}"

    # -- a round --

    def round(self, name: str) -> None:
        """Work until killed, start again, check."""
        if name == "behind":
            Behind(self, self.fresh.pop(0)).round()
            return
        self.restock()
        if name == "first":
            self.new_folder()
        else:
            self.check()
        self.killed_in(WORK[name], self.rng.uniform(0.0, LONGEST[name]))
        while self.rng.random() < AGAIN:  # also while it puts right what the last kill left
            self.killed_in(Kill.look, self.rng.uniform(0.0, 0.5))
        doubtful = [token for token in self.ledger.unsure if token.startswith("append")]
        self.check()
        self.retry(doubtful)

    def killed_in(self, work: Callable[[Kill, imaplib.IMAP4], None], delay: float, user: str = ALICE) -> None:
        """Do this work until the gateway is killed under it, `delay` seconds from now; start it again."""
        box = self.lab.session(user)
        killer = threading.Timer(delay, os.kill, (self.lab.gateway.running.pid, signal.SIGKILL))
        killer.start()
        try:
            work(self, box)
        except (imaplib.IMAP4.abort, OSError):
            pass
        finally:
            killer.join()
            with contextlib.suppress(imaplib.IMAP4.abort, OSError):
                box.shutdown()
        self.lab.gateway.kill()
        self.lab.gateway.start()

    def look(self, box: imaplib.IMAP4) -> None:
        while True:
            for name in self.folders:
                self.ledger.learn(name, examine(box, name))

    def retry(self, tokens: list[str]) -> None:
        """What a careful client does: an APPEND that got no answer and is not there is done again. The first
        must not turn up later."""
        absent = [token for token in tokens if token not in self.ledger.where]
        box = self.lab.session()
        for token in absent:
            assert box.append(FILED, r"(\Seen)", None, self.ledger.bodies[token])[0] == "OK"  # type: ignore[arg-type]
            self.ledger.did(token, FILED)
            self.acknowledged["retried"] += 1
        box.logout()

    def check(self) -> None:
        """A fresh session, the mailbox and the ledger agree; what is under way gets some seconds to end."""
        end = time.monotonic() + 25
        while True:
            rows = self.lab.mailbox.rows()
            with contextlib.closing(_Closing(self.lab.session())) as held:
                seen = {name: examine(held.box, name) for name in self.folders}
                for name, snapshot in seen.items():
                    self.ledger.learn(name, snapshot)
                problem = self.difference(seen, rows)
                if problem is None:
                    self.bodies(held.box, seen)
            if problem is None:
                break
            assert time.monotonic() < end, problem
            time.sleep(0.3)
        self.ledger.agree(rows)

    def difference(self, seen: dict[str, Snapshot], rows: list[dict[str, object]]) -> str | None:
        """Where IMAP and the mailbox differ, or where something half made still lies about."""
        held: dict[str, dict[str, frozenset[str]]] = {name: {} for name in seen}
        for row in rows:
            name = INBOX if row["wellKnownName"] == "inbox" else str(row["folderName"])
            if name in held:
                held[name][str(row["subject"])] = flags_of(row)
            elif not str(row["wellKnownName"] or "").startswith("recoverable") and not name.startswith(
                "First"
            ):
                return f"{row['subject']} lies in {name}"
        for name, snapshot in seen.items():
            if snapshot.flags != held[name]:
                ours, theirs = set(snapshot.flags.items()), set(held[name].items())
                return f"{name}: only IMAP has {ours - theirs}, only the mailbox has {theirs - ours}"
        return None

    def bodies(self, box: imaplib.IMAP4, seen: dict[str, Snapshot]) -> None:
        """What was appended comes back byte for byte."""
        for name, snapshot in seen.items():
            wanted = {uid: token for uid, token in snapshot.tokens.items() if token in self.ledger.bodies}
            if not wanted:
                continue
            box.select(f'"{name}"', readonly=True)
            _, data = box.uid("FETCH", ",".join(map(str, wanted)), "(UID BODY.PEEK[])")
            for item in data:
                if isinstance(item, tuple):
                    token = wanted[int(item[0].split(b"UID ")[1].split()[0])]
                    assert item[1] == self.ledger.bodies[token], f"{token} came back with other octets"

    # -- kinds of work, each without end --

    def new_folder(self) -> None:
        name = self.token("First")
        identity = self.lab.mailbox.make_folder(name)
        for _ in range(FIRST):
            token = self.token("mail")
            self.lab.mailbox.deliver(letter(token), identity)
            self.ledger.did(token, name)
        box = self.lab.session()
        assert eventually(lambda: name.encode() in b"".join(filter(None, box.list()[1]))), (
            f"LIST has no {name}"
        )
        box.logout()
        self.folders = [*self.folders[:4], name]

    def first(self, box: imaplib.IMAP4) -> None:
        while True:
            self.ledger.learn(self.folders[-1], examine(box, self.folders[-1]))
            self.acknowledged["first"] += 1

    def selected(self, box: imaplib.IMAP4) -> dict[int, str]:
        """INBOX open for writing: token by UID, in random order."""
        tokens = list(examine(box, INBOX).tokens.items())
        box.select(INBOX)
        self.rng.shuffle(tokens)
        return dict(tokens)

    def store(self, box: imaplib.IMAP4) -> None:
        tokens = self.selected(box)
        while True:
            some = self.rng.sample(sorted(tokens), 8)
            flags = frozenset(self.rng.sample(_FLAGS, 2))
            sign = self.rng.choice("+-")
            self.ledger.unsure_flags |= {tokens[uid] for uid in some}
            status, _ = box.uid("STORE", _set(some), f"{sign}FLAGS.SILENT", f"({' '.join(flags)})")
            if status == "OK":
                for uid in some:
                    before = self.ledger.flags[tokens[uid]]
                    self.ledger.flags[tokens[uid]] = before | flags if sign == "+" else before - flags
                    self.ledger.unsure_flags.discard(tokens[uid])
                self.acknowledged["store"] += 1

    def append(self, box: imaplib.IMAP4) -> None:
        while True:
            token, folder = self.token("append"), self.rng.choice([INBOX, FILED])
            mime = letter(token, "Zeile mit Ümlaut\n" * self.rng.randint(1, 200))
            self.ledger.may(token, (), (folder,))
            self.ledger.bodies[token] = mime  # whether acknowledged or not: if it is there, then whole
            status, [said] = box.append(folder, r"(\Seen)", None, mime)  # type: ignore[arg-type]
            if status == "OK":
                found = _APPENDUID.search(said)
                assert found, said
                self.ledger.told(folder, int(found[1]), token)
                self.ledger.did(token, folder)
                self.acknowledged["append"] += 1

    def move(self, box: imaplib.IMAP4) -> None:
        for some in _fours(self.selected(box)):
            for token in some.values():
                self.ledger.may(token, *either(self.ledger.where[token], FILED))
            status, _ = box.uid("MOVE", _set(some), FILED)
            if status == "OK":
                self.ledger.promised(box, FILED, some)
                for token in some.values():
                    self.ledger.did(token, *moved(self.ledger.where[token], FILED))
                self.acknowledged["move"] += 1

    def copy(self, box: imaplib.IMAP4) -> None:
        fresh = {u: t for u, t in self.selected(box).items() if COPIES not in self.ledger.where[t]}
        for some in _fours(fresh):
            for token in some.values():
                self.ledger.may(token, self.ledger.where[token], (*self.ledger.where[token], COPIES))
            self.ledger.together.append((frozenset(some.values()), COPIES))
            status, _ = box.uid("COPY", _set(some), COPIES)
            if status == "OK":
                self.ledger.promised(box, COPIES, some)
                for token in some.values():
                    self.ledger.did(token, *self.ledger.where[token], COPIES)
                self.acknowledged["copy"] += 1

    def expunge(self, box: imaplib.IMAP4) -> None:
        for some in _fours(self.selected(box)):
            tokens = set(some.values())
            self.ledger.unsure_flags |= tokens
            if box.uid("STORE", _set(some), "+FLAGS.SILENT", r"(\Deleted)")[0] != "OK":
                continue
            for token in tokens:
                self.ledger.may(token, *either(self.ledger.where[token], TRASH))
            status, _ = box.uid("EXPUNGE", _set(some))
            if status == "OK":
                for token in tokens:
                    self.ledger.did(token, *moved(self.ledger.where[token], TRASH))
                self.acknowledged["expunge"] += 1


class _Closing:
    """LOGOUT at the end, whatever happened."""

    def __init__(self, box: imaplib.IMAP4) -> None:
        self.box = box

    def close(self) -> None:
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            self.box.logout()


def _set(uids: Sequence[int] | dict[int, str]) -> str:
    return ",".join(map(str, sorted(uids)))


def _fours(tokens: dict[int, str]) -> list[dict[int, str]]:
    pairs = list(tokens.items())
    return [dict(pairs[n : n + 4]) for n in range(0, len(pairs), 4)]


WORK: dict[str, Callable[[Kill, imaplib.IMAP4], None]] = {
    "first": Kill.first,
    "store": Kill.store,
    "append": Kill.append,
    "move": Kill.move,
    "copy": Kill.copy,
    "expunge": Kill.expunge,
    "multi": multiappend,
    "replace": replace,
    "behind": Kill.look,
}
LONGEST = {
    "first": 0.8,
    "store": 1.2,
    "append": 1.5,
    "move": 1.2,
    "copy": 1.2,
    "expunge": 1.2,
    "multi": 1.5,
    "replace": 1.5,
}  # seconds to the kill


def run(folder: Path, times: int, seed: int, *, say: Callable[[str], None] = lambda text: None) -> Kill:
    """`times` kills, the kinds of work in turn; AssertionError with the round and the seed."""
    users = [ALICE, *(f"user{4 + n}@example.com" for n in range(1 + times // len(WORK)))]
    with Lab(folder, rtt_ms=15, service_ms=10, users=users) as lab:
        kill = Kill(lab, seed)
        kill.prepare()
        for number in range(times):
            name = list(WORK)[number % len(WORK)]
            try:
                kill.round(name)
            except AssertionError as error:
                raise AssertionError(f"round {number} ({name}), seed {seed}: {error}") from error
            say(f"{number + 1:3} {name:8} held; acknowledged so far {sum(kill.acknowledged.values())}")
        assert lab.gateway.end() == 0
    return kill


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="kept for looking at; default: a temporary one")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gateway-kill-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        kill = run(folder, given.times, given.seed, say=lambda text: print(text, flush=True))
    seconds = time.monotonic() - started
    print(
        f"{given.times} kills in {seconds:.0f} s: all held. {kill.ledger.promises} UIDs told, {kill.acknowledged}"
    )


if __name__ == "__main__":
    sys.exit(main())
