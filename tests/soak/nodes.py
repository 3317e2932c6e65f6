"""Two gateways on one PostgreSQL, clients on both, while either is killed or stopped; and what must hold afterwards.

    python -m tests.soak.nodes --seconds 120 --seed 1

Each client has messages of its own, and does things to them through whichever gateway it comes to. What was
acknowledged must be so in the end, once, and the same through both gateways; what was under way when a connection
broke may be so or not. A UID is one message's for ever.
"""

from __future__ import annotations

import argparse
import contextlib
import imaplib
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import postgres_server
from tests.soak.processes import ALICE, HOST, PASSWORD, Mailbox, Process, eventually

NAMES = ("one", "two")
FOLDERS = ("INBOX", "Filed")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "Projekt")
CLIENTS = 3
LEASE = 2.0
STOPPED = (0.5, 2 * LEASE)  # seconds
ANY = frozenset({"?"})
BROKEN = (imaplib.IMAP4.abort, OSError)
CONFIG = """\
[graph]
base_url = "{base_url}/v1.0"
authority = "{authority}"
ca_file = "{ca_file}"
client_id = "{client_id}"
client_secret = "{client_secret}"
[state]
dir = "{state}"
[store]
url = "{url}"
node = "{name}"
lease = {lease}
connections = 4
[imap]
port = 0
allow_plaintext = true
poll_interval = 2.0
[submission]
port = 0
allow_plaintext = true
[web]
port = 0
[log]
level = "warning"
[[accounts]]
user = "{user}"
password_hash = '{hash}'
"""


@dataclass
class Message:
    """What its client knows of it. Sets of more than one: it was not told."""

    token: str
    places: set[str]  # folders, "" = nowhere
    flags: set[frozenset[str]]
    told: list[str] = field(default_factory=list)  # for whoever looks into what went wrong

    def note(self, what: str) -> None:
        self.told.append(f"{time.strftime('%H:%M:%S')} {what}")


@dataclass
class Book:
    """What all clients were told; shared."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    messages: dict[str, Message] = field(default_factory=dict)
    uids: dict[tuple[str, int], str] = field(default_factory=dict)  # whose a UID is
    validity: dict[str, int] = field(default_factory=dict)
    did: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def uid(self, folder: str, uid: int, token: str) -> None:
        with self.lock:
            if self.uids.setdefault((folder, uid), token) != token:
                self.wrong.append(f"UID {uid} of {folder} was {self.uids[folder, uid]}, is {token}")

    def valid(self, folder: str, validity: int) -> None:
        with self.lock:
            if self.validity.setdefault(folder, validity) != validity:
                self.wrong.append(f"UIDVALIDITY of {folder} changed")


class Client(threading.Thread):
    """One client, until `over` is set."""

    def __init__(self, number: int, seed: int, book: Book, lab: Lab, over: threading.Event) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.rng = random.Random(seed * 100 + number)
        self.number, self.book, self.lab, self.over = number, book, lab, over
        self.mine: list[Message] = []
        self.at = ""
        self.count = 0

    def run(self) -> None:
        while not self.over.is_set():
            try:
                self.at = self.rng.choice(NAMES)
                self.session(self.lab.session(self.at))
            except BROKEN:
                time.sleep(0.1)
            except Exception as error:
                self.book.wrong.append(f"{self.name}: {type(error).__name__}: {error}")
                return

    def session(self, box: imaplib.IMAP4) -> None:
        for _ in range(self.rng.randrange(3, 12)):
            if self.over.is_set():
                break
            work = self.rng.choice(
                (self.append, self.append, self.store, self.store, self.move, self.expunge)
            )
            work(box)
        box.logout()

    def append(self, box: imaplib.IMAP4) -> None:
        self.count += 1
        token = f"c{self.number}-{self.count:04}"
        folder = self.rng.choice(FOLDERS)
        message = Message(token, {folder, ""}, {frozenset()})
        self.mine.append(message)
        self.book.messages[token] = message
        raw = f"Subject: {token}\r\nMessage-ID: <{token}@example.net>\r\n\r\n{token}\r\n".encode()
        message.note(f"{self.at} append to {folder}")
        status, data = box.append(folder, "", imaplib.Time2Internaldate(1_700_000_000), raw)
        message.note(f"{status} {data}")
        if status != "OK":
            self.gone(message, {""})
            return
        assert isinstance(data[0], bytes)
        found = re.search(rb"APPENDUID (\d+) (\d+)", data[0])
        assert found is not None
        message.places = {folder}
        self.book.valid(folder, int(found[1]))
        self.book.uid(folder, int(found[2]), token)
        self.book.did["append"] += 1

    def chosen(self, box: imaplib.IMAP4) -> tuple[Message, str, int] | None:
        """One of mine, and where this session has it."""
        sure = [message for message in self.mine if len(message.places) == 1 and "" not in message.places]
        if not sure:
            return None
        message = self.rng.choice(sure)
        (folder,) = message.places
        uid = find(box, folder, message.token)
        if uid is None:  # this gateway has not heard yet: it may take a moment
            eventually(lambda: find(box, folder, message.token), 10)
            uid = find(box, folder, message.token)
        if uid is None:
            self.book.wrong.append(f"{message.token} is not in {folder}")
            self.gone(message, {folder, ""})
            return None
        self.book.uid(folder, uid, message.token)
        return message, folder, uid

    def store(self, box: imaplib.IMAP4) -> None:
        if (found := self.chosen(box)) is None:
            return
        message, _, uid = found
        flags = frozenset(self.rng.sample(FLAGS, self.rng.randrange(len(FLAGS))))
        message.flags = {*message.flags, flags}
        message.note(f"{self.at} store {uid} {sorted(flags)}")
        status, _ = box.uid("STORE", str(uid), "FLAGS", f"({' '.join(sorted(flags))})")
        message.note(status)
        if status == "OK":
            message.flags = {flags} if ANY not in message.flags else {flags, ANY}
            self.book.did["store"] += 1
        else:  # Graph may have them all the same, and tell so later
            message.flags.add(ANY)

    def move(self, box: imaplib.IMAP4) -> None:
        if (found := self.chosen(box)) is None:
            return
        message, folder, uid = found
        target = next(name for name in FOLDERS if name != folder)
        message.places = {folder, target}
        message.note(f"{self.at} move {uid} from {folder}")
        status, _ = box.uid("MOVE", str(uid), target)
        message.note(status)
        code = box.response("COPYUID")[1]
        if status == "OK" and code and code[0]:
            new = int(code[0].split()[2])
            message.places = {target}
            self.book.uid(target, new, message.token)
            self.book.did["move"] += 1

    def expunge(self, box: imaplib.IMAP4) -> None:
        if self.rng.random() < 0.6 or (found := self.chosen(box)) is None:
            return
        message, folder, uid = found
        message.places, message.flags = {folder, ""}, {*message.flags, ANY}
        if box.uid("STORE", str(uid), "+FLAGS", "(\\Deleted)")[0] != "OK":
            return
        message.note(f"{self.at} expunge {uid} of {folder}")
        status, data = box.uid("EXPUNGE", str(uid))
        message.note(f"{status} {data} {box.untagged_responses}")
        if status == "OK":
            self.gone(message, {""})
            self.book.did["expunge"] += 1

    def gone(self, message: Message, places: set[str]) -> None:
        message.places = places


def find(box: imaplib.IMAP4, folder: str, token: str) -> int | None:
    status, data = box.select(folder)
    if status != "OK":
        raise imaplib.IMAP4.abort(str(data))
    status, data = box.uid("SEARCH", "SUBJECT", f'"{token}"')
    return int(data[0].split()[0]) if status == "OK" and data[0] else None


class Lab:
    """An emulator and the gateways."""

    def __init__(self, folder: Path, url: str, hashed: str) -> None:
        self.emulator = Process(folder, "emulator", "emulator", "--port", "0", "--messages", "0", "--http")
        told = self.emulator.told
        self.mailbox = Mailbox(told)
        self.gateways: dict[str, Process] = {}
        for name in NAMES:
            state = folder / name
            if self.gateways:
                state.mkdir(mode=0o700)
                shutil.copy(folder / NAMES[0] / "key", state / "key")
            config = folder / f"{name}.toml"
            facts = {
                **told,
                "state": state,
                "url": url,
                "name": name,
                "lease": LEASE,
                "user": ALICE,
                "hash": hashed,
            }
            config.write_text(CONFIG.format(**facts))
            self.gateways[name] = Process(folder, name, "serve", "--config", str(config))

    def session(self, name: str) -> imaplib.IMAP4:
        box = imaplib.IMAP4(HOST, self.gateways[name].told["ports"]["imap"], timeout=60)
        box.login(ALICE, PASSWORD)
        return box

    def hurt(self, rng: random.Random) -> str:
        """Kill one and start it again, or stop it for a while."""
        name = rng.choice(NAMES)
        process = self.gateways[name]
        if rng.random() < 0.5:
            process.kill()
            time.sleep(rng.uniform(0, 2 * LEASE))
            process.start()
            return "kill"
        process.running.send_signal(signal.SIGSTOP)
        time.sleep(rng.uniform(*STOPPED))
        process.running.send_signal(signal.SIGCONT)
        return "stop"

    def close(self) -> None:
        for process in (*self.gateways.values(), self.emulator):
            process.kill()


# -- what must hold --


def seen_through(box: imaplib.IMAP4, book: Book) -> dict[str, list[tuple[int, str, frozenset[str]]]]:
    """Each folder: UID, token and flags of each message."""
    found: dict[str, list[tuple[int, str, frozenset[str]]]] = {}
    for folder in FOLDERS:
        assert box.select(folder)[0] == "OK"
        book.valid(folder, int(box.response("UIDVALIDITY")[1][0] or 0))
        _, data = box.fetch("1:*", "(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        found[folder] = list(rows(data))
    return found


def rows(data: list[object]) -> Iterator[tuple[int, str, frozenset[str]]]:
    for piece in data:
        if isinstance(piece, tuple):
            uid = re.search(rb"UID (\d+)", piece[0])
            flags = re.search(rb"FLAGS \(([^)]*)\)", piece[0])
            assert uid and flags, piece
            words = frozenset(flags[1].decode().split()) - {"\\Recent"}
            yield int(uid[1]), piece[1].decode().strip().removeprefix("Subject: "), words


def check(lab: Lab, book: Book) -> None:
    """Waits until both gateways say the same, then compares that with what clients were told."""
    views: list[dict[str, list[tuple[int, str, frozenset[str]]]]] = []

    def alike() -> bool:
        views.clear()
        try:
            for name in NAMES:
                box = lab.session(name)
                views.append(seen_through(box, book))
                box.logout()
        except BROKEN:
            return False
        return views[0] == views[1] and fits(views[0], book) == []

    if not eventually(alike, 60):
        book.wrong += ["the gateways differ"] if views[:1] != views[1:] else []
        book.wrong += fits(views[0], book)
    for folder, found in views[0].items():
        for uid, token, _ in found:
            book.uid(folder, uid, token)
    there = lab.mailbox.rows()
    held = Counter(row["subject"] for row in there if row["wellKnownName"] != "deleteditems")
    for token in {words for wrong in book.wrong for words in wrong.split()} & book.messages.keys():
        where = [row for row in there if row["subject"] == token]
        print(token, "in Exchange:", where, *book.messages[token].told, sep="\n  ")
    for message in book.messages.values():
        if "" not in message.places and held[message.token] != 1:
            book.wrong.append(f"{message.token}: Exchange has it {held[message.token]} times")


def fits(view: dict[str, list[tuple[int, str, frozenset[str]]]], book: Book) -> list[str]:
    wrong = []
    where: dict[str, list[str]] = {}
    flags: dict[str, frozenset[str]] = {}
    for folder, found in view.items():
        for _, token, words in found:
            where.setdefault(token, []).append(folder)
            flags[token] = words
    for token, message in book.messages.items():
        places = where.pop(token, [""])
        if len(places) > 1 or places[0] not in message.places:
            wrong.append(f"{token} is in {places}, should be in {message.places}")
        elif places != [""] and flags[token] not in message.flags and ANY not in message.flags:
            wrong.append(f"{token} has {set(flags[token])}, should have {message.flags}")
    return wrong + [f"{token} is nobody's" for token in where]


def soak(folder: Path, url: str, seconds: float, seed: int) -> Book:
    from gateway.mailbox.credentials import hash_password

    book, over, rng = Book(), threading.Event(), random.Random(seed)
    lab = Lab(folder, url, hash_password(PASSWORD))
    try:
        box = lab.session(NAMES[0])
        assert box.create("Filed")[0] == "OK"
        box.logout()
        clients = [Client(number, seed, book, lab, over) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(rng.uniform(1.0, 4.0))
            book.did[lab.hurt(rng)] += 1
        over.set()
        for client in clients:
            client.join(90)
        check(lab, book)
        for name in NAMES:
            said = lab.gateways[name].errors.read_text()
            book.wrong += [f"{name}: a bug was logged"] * ("Traceback" in said or "SERVERBUG" in said)
            shutil.copy(lab.gateways[name].errors, Path(tempfile.gettempdir()) / f"soak-nodes-{name}.log")
    finally:
        over.set()
        lab.close()
    return book


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres_server.own())
        book = soak(Path(place), server.database(), given.seconds, given.seed)
    print(dict(book.did))
    print("\n".join(book.wrong[:40]) or "all as acknowledged")
    sys.exit(bool(book.wrong))


if __name__ == "__main__":
    main()
