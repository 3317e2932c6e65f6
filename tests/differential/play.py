"""A sequence of commands, played at both servers side by side, and what differs.

In a command `@n` is the UID of the n-th message of the selected mailbox (beyond its end: UIDs to come); `2:` in
front plays it in a second session of the same user; `raw:` sends a line that has no tag of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from differential.normal import Box, Boxes, Facts, facts
from differential.wire import Connection

UID = re.compile(rb"(?<![\w.<-])@(\d+)")
SESSION = re.compile(rb"\A([2-9]):")
PASSWORD = "demo"
NOTHING = "-"  # in place of a fact that one side does not state


@dataclass(frozen=True, slots=True)
class Script:
    """`world`: whose mailboxes it works on, see `fixtures`."""

    name: str
    world: str
    commands: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """`before`: the commands played so far, this one included."""

    sequence: str
    command: bytes
    before: tuple[bytes, ...]
    fact: str
    ours: Any
    theirs: Any
    facts: tuple[Facts, Facts]

    def __str__(self) -> str:
        where, ours, theirs = _first_difference(self.ours, self.theirs)
        return (
            f"{self.sequence}: {_short(self.command, 200)}\n    {self.fact}{where}\n"
            f"      ours   {_short(ours)}\n      theirs {_short(theirs)}"
        )


def _first_difference(ours: Any, theirs: Any, path: str = "") -> tuple[str, Any, Any]:
    """Down to where two values part: indexes of lists, an offset in octets."""
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        for n, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            if one != other:
                return _first_difference(one, other, f"{path}[{n}]")
    if isinstance(ours, bytes) and isinstance(theirs, bytes):
        pairs = enumerate(zip(ours, theirs, strict=False))
        same = next((n for n, (one, other) in pairs if one != other), min(len(ours), len(theirs)))
        start = max(0, same - 40)
        return f"{path} at {same} of {len(ours)}, {len(theirs)}", ours[start:][:150], theirs[start:][:150]
    return path, ours, theirs


def _short(value: object, most: int = 400) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


@dataclass(slots=True)
class Talk:
    """One session at one server."""

    connection: Connection
    box: Box | None = None


@dataclass(slots=True)
class Side:
    """One user at one server."""

    port: int
    user: str
    boxes: Boxes = field(default_factory=Boxes)
    talks: dict[int, Talk] = field(default_factory=dict)

    def talk(self, number: int) -> Talk:
        if number not in self.talks:
            connection = Connection(self.port)
            answer = connection.login(self.user, PASSWORD)
            assert answer.final.startswith(b"OK"), f"{self.user} is not let in: {answer.final!r}"
            self.talks[number] = Talk(connection)
        return self.talks[number]

    def learn(self, mailboxes: Sequence[str]) -> None:
        """The UIDs of these mailboxes as they are at the beginning."""
        talk = self.talk(1)
        for name in mailboxes:
            opened = talk.connection.do(b'EXAMINE "%b"' % name.encode())
            text = b"\n".join(opened.lines)
            box = self.boxes.of(_number(rb"UIDVALIDITY (\d+)", text))
            box.next = _number(rb"UIDNEXT (\d+)", text)
            found = talk.connection.do(b"UID SEARCH ALL").lines
            box.known = sorted(int(uid) for line in found for uid in line.split()[1:])
        talk.connection.do(b"UNSELECT")

    def play(self, command: bytes) -> Facts:
        number, command = _session(command)
        talk = self.talk(number)
        if command.startswith(b"raw:"):
            answer = talk.connection.raw(command[4:])
        else:
            command = self._with_uids(command, talk.box)
            answer = talk.connection.do(command)
        found, box = facts(answer, command, self.boxes, talk.box)
        talk.box = _box_after(command, found, talk.box, box)
        return found

    def _with_uids(self, command: bytes, box: Box | None) -> bytes:
        return UID.sub(lambda m: b"%d" % (box.uid(int(m[1])) if box else int(m[1])), command)

    def close(self) -> None:
        for talk in self.talks.values():
            talk.connection.close()


def _number(pattern: bytes, text: bytes) -> int:
    found = re.search(pattern, text)
    assert found is not None, text
    return int(found[1])


def _session(command: bytes) -> tuple[int, bytes]:
    found = SESSION.match(command)
    return (int(found[1]), command[2:]) if found else (1, command)


def _box_after(command: bytes, found: Facts, before: Box | None, now: Box | None) -> Box | None:
    """Only SELECT and EXAMINE open a mailbox; when they fail, none is open."""
    word = command.split(b" ")[0].upper()
    if word in (b"SELECT", b"EXAMINE"):
        return now if found["reply"] == "OK" else None
    return None if word in (b"CLOSE", b"UNSELECT") and found["reply"] == "OK" else before


def play(sequence: Script, ours: Side, theirs: Side) -> Iterator[Difference]:
    """Differences as they come; the caller may stop, where one has led the two apart for good."""
    for number, command in enumerate(sequence.commands):
        tables = ours.play(command), theirs.play(command)
        before = sequence.commands[: number + 1]
        for fact in sorted(tables[0].keys() | tables[1].keys()):
            mine, other = (table.get(fact, NOTHING) for table in tables)
            if mine != other:
                yield Difference(sequence.name, command, before, fact, mine, other, tables)
