"""More kinds of work for the kill test: several messages in one APPEND, REPLACE, and the first sync that goes on behind
a sign-in, in mailboxes that nobody has opened."""

from __future__ import annotations

import imaplib
import random
import re
import time
from typing import TYPE_CHECKING

from tests.soak.ledger import FILED, INBOX, TRASH, Ledger, either, examine, moved, numbers
from tests.soak.mail import letter

if TYPE_CHECKING:
    from tests.soak.kill import Kill

BEHIND = {"archive": "Archive", "sentitems": "Sent Items", "junkemail": "Junk Email"}
STOCKED = 40  # messages in each of them
_APPENDUID = re.compile(rb"\[?APPENDUID \d+ ([\d:,]+)\]?")


def command(box: imaplib.IMAP4, name: str, *pieces: bytes) -> tuple[str, bytes]:
    """A command with literals, as imaplib has none with several: every second piece is one. Status, and all that was
    said beside it."""
    tag = box._new_tag()  # type: ignore[attr-defined]
    out = [tag + b" "]
    for number, piece in enumerate(pieces):
        out += [b"{%d+}\r\n" % len(piece), piece] if number % 2 else [piece]
    box.send(b"".join([*out, b"\r\n"]))
    status, said = box._command_complete(name, tag)  # type: ignore[attr-defined]
    told = box.untagged_responses.pop(
        "APPENDUID", []
    )  # REPLACE tells it untagged, and imaplib keeps it by its name
    return status, b" ".join([*(each or b"" for each in said), *(b"APPENDUID " + each for each in told)])


def multiappend(kill: Kill, box: imaplib.IMAP4) -> None:
    """All messages of an APPEND, or none; UIDs in the order sent."""
    while True:
        folder = kill.rng.choice([INBOX, FILED])
        tokens = [kill.token("append") for _ in range(kill.rng.randint(2, 6))]
        for token in tokens:
            kill.ledger.bodies[token] = letter(token, kill.rng.choice((500, 1500, 30_000)), kill.rng)
            kill.ledger.may(token, (), (folder,))
        kill.ledger.together.append((frozenset(tokens), folder))
        pieces = [b'APPEND "%s"' % folder.encode()]
        for token in tokens:
            pieces[-1] += rb" (\Seen) "
            pieces += [kill.ledger.bodies[token], b""]
        status, said = command(box, "APPEND", *pieces[:-1])
        if status == "OK":
            found = _APPENDUID.search(said)
            assert found, said
            uids = numbers(found[1].decode())
            assert uids == sorted(uids), said
            for uid, token in zip(uids, tokens, strict=True):
                kill.ledger.told(folder, uid, token)
                kill.ledger.did(token, folder)
            kill.acknowledged["multi"] += 1


def replace(kill: Kill, box: imaplib.IMAP4) -> None:
    """The new message or the old one: never both, never neither."""
    ledger = kill.ledger
    for uid, old in kill.selected(box).items():
        new = kill.token("renew")
        ledger.bodies[new] = letter(new, kill.rng.choice((500, 1500, 30_000)), kill.rng)
        ledger.may(new, (), (INBOX,))
        ledger.may(old, *either(ledger.where[old], TRASH))
        ledger.instead.append((old, new))
        status, said = command(box, "UID", rb'UID REPLACE %d "INBOX" (\Seen) ' % uid, ledger.bodies[new])
        if status == "OK":
            if found := _APPENDUID.search(said):
                ledger.told(INBOX, int(found[1]), new)
            ledger.did(new, INBOX)
            ledger.did(old, *moved(ledger.where[old], TRASH))
            kill.acknowledged["replace"] += 1


class Behind:
    """A user who signs in for the first time, and whose mailboxes are being read behind that when the gateway dies."""

    def __init__(self, kill: Kill, user: str) -> None:
        self.kill = kill
        self.user = user
        self.ledger = Ledger()
        self.held: dict[str, set[str]] = {name: set() for name in BEHIND.values()}

    def round(self) -> None:
        for folder, name in BEHIND.items():
            for _ in range(STOCKED):
                token = self.kill.token("behind")
                self.kill.lab.mailbox.deliver(letter(token, 600, self.kill.rng), folder, self.user)
                self.held[name].add(token)
        for _ in range(1 + self.kill.rng.randrange(2)):
            self.kill.killed_in(lambda _, box: self.watch(box), self.kill.rng.uniform(0.0, 1.0), self.user)
        self.agree()

    def watch(self, box: imaplib.IMAP4) -> None:
        """Wait for it, or be in its way."""
        rng: random.Random = self.kill.rng
        while True:
            if rng.random() < 0.5:
                box.noop()
                time.sleep(rng.uniform(0.0, 0.2))
            else:
                name = rng.choice(list(self.held))
                self.ledger.learn(name, examine(box, name))

    def agree(self) -> None:
        """Everything is there, under the UIDs that were told before any of the kills."""
        box = self.kill.lab.session(self.user)
        for name, tokens in self.held.items():
            snapshot = examine(box, name)
            self.ledger.learn(name, snapshot)
            assert set(snapshot.tokens.values()) == tokens, (
                f"{self.user} {name}: {len(snapshot.tokens)} of {len(tokens)}"
            )
            uids = sorted(snapshot.tokens)
            assert uids == list(range(uids[0], uids[0] + len(uids))), f"{self.user} {name}: {uids}"
        box.logout()
        self.kill.ledger.promises += self.ledger.promises
