"""The mailboxes that both servers hold when a sequence begins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from differential.gateway import Gateway
from differential.play import PASSWORD
from differential.wire import Connection
from gateway.emulator import corpus

LARGEST = 40_000  # octets: larger samples are left out
PER_BOX = 20
FIRST = 1_704_103_200  # INTERNALDATE of the first message of a mailbox: 2024-01-01 10:00:00 UTC; one a day
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Message = tuple[bytes, int]  # octets, seconds since 1970
Mailboxes = dict[str, list[Message]]

SMALL = (
    "plain", "alternative", "rfc822-with-attachment", "three-attachments", "word-q", "address-groups", "thread-root",
    "mailing-list", "quoted-printable", "inline-image",
)  # fmt: skip

# Opaque S/MIME is rendered anew by Exchange, so that its octets differ from what was delivered.
SAMPLES = {
    s.name: s.data for s in corpus.deliverable() if len(s.data) <= LARGEST and "smime-opaque" not in s.tags
}

TAGS = {s.name: s.tags for s in corpus.deliverable()}


def _dated(octets: Sequence[bytes]) -> list[Message]:
    return [(one, FIRST + 86_400 * n) for n, one in enumerate(octets)]


_names = list(SAMPLES)
CORPUS = [_names[start : start + PER_BOX] for start in range(0, len(_names), PER_BOX)]
_small = _dated([SAMPLES[name] for name in SMALL])

WORLDS: dict[str, Mailboxes] = {
    "reader": {
        "INBOX": _small[:3],
        "Small": _small,
        "Empty": [],
        **{f"Corpus{n}": _dated([SAMPLES[name] for name in names]) for n, names in enumerate(CORPUS, 1)},
    },
    "fresh": {"INBOX": _small[:2], "Box": _small[:6], "Other": _small[6:8], "Empty": []},
}

# What both are told before the first sequence; the reader's mailboxes do not change afterwards.
FLAGS = (
    b"SELECT Small",
    b"STORE 1:4 +FLAGS (\\Seen)",
    b"STORE 3,5 +FLAGS (\\Flagged)",
    b"STORE 4 +FLAGS (\\Answered Green)",
    b"STORE 6 +FLAGS (\\Deleted)",
    b"STORE 7 +FLAGS ($Forwarded Green)",
    b"UNSELECT",
)


def fill_gateway(server: Gateway, user: str, world: str) -> None:
    server.add_user(user)
    for name, messages in WORLDS[world].items():
        server.fill(user, name, messages)


def fill_dovecot(port: int, user: str, world: str) -> None:
    connection = Connection(port)
    connection.login(user, PASSWORD)
    for name, messages in WORLDS[world].items():
        if name != "INBOX":
            connection.do(b'CREATE "%b"' % name.encode())
            connection.do(b'SUBSCRIBE "%b"' % name.encode())
        if messages:
            _append(connection, name, messages)
    connection.close()


def _append(connection: Connection, name: str, messages: Sequence[Message]) -> None:
    """One MULTIAPPEND (RFC 3502)."""
    parts = [b' "%b" {%d+}\r\n%b' % (_date(at), len(octets), octets) for octets, at in messages]
    answer = connection.do(b'APPEND "%b"' % name.encode() + b"".join(parts))
    assert answer.final.startswith(b"OK"), answer.final


def _date(at: int) -> bytes:
    when = datetime.fromtimestamp(at, UTC)
    return f"{when.day:02d}-{MONTHS[when.month - 1]}-{when.year} {when:%H:%M:%S} +0000".encode()


def make_reader(connection: Connection) -> None:
    """Flags, no message \\Recent any more, and every size exact: that of a message whose octets were never fetched
    may be Exchange's estimate (decision on RFC822.SIZE), which would hide all others."""
    for name, messages in WORLDS["reader"].items():
        _must(connection, b"SELECT " + name.encode())
        if messages:
            _must(connection, b"FETCH 1:* BODY.PEEK[]")
    for command in FLAGS:
        _must(connection, command)


def _must(connection: Connection, command: bytes) -> None:
    final = connection.do(command).final
    assert final.startswith(b"OK"), (command, final)
