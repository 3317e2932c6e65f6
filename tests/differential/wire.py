"""An IMAP client that shares no code with the gateway: sends octets, reads responses, parses them to trees.

Trees: bytes in `Atom` for what was unquoted, `bytes` for a string (quoted or literal alike), None for NIL, a
tuple for a list.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Any

LITERAL = re.compile(rb"(~?\{(\d+)(\+?)\}\r\n)")
TAIL = re.compile(rb"\{(\d+)\}\r\n\Z")
ATOM = re.compile(rb'[^ ()"{\x00-\x1f\x7f]+')
BODY = re.compile(rb"(?i)BODY(?:\.PEEK)?\[[^\]]*\](?:<\d+>)?")
CODE = re.compile(rb"\[([^\]]*)\] ?")

Tree = Any


class Atom(bytes):
    """An unquoted word or number."""

    def __repr__(self) -> str:
        return f"`{bytes(self).decode('latin-1')}`"


class Broken(AssertionError):
    """What was received is no IMAP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`lines`: untagged responses, octets as received without `* ` and the last CRLF. `final`: the tagged
    reply without its tag; b"" where the connection ended instead."""

    lines: tuple[bytes, ...]
    final: bytes


class Connection:
    """One logged-in (or not) connection. Blocking; a silence of 20 seconds is an error."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self._count = 0
        self.greeting = self._response()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def login(self, user: str, password: str) -> Answer:
        return self.do(b'LOGIN "%b" "%b"' % (user.encode(), password.encode()))

    def do(self, command: bytes) -> Answer:
        """One command; synchronizing literals wait for `+`, IDLE is ended at once."""
        self._count += 1
        tag = b"t%d" % self._count
        return self._exchange(tag, tag + b" " + command + b"\r\n", idle=command.upper().startswith(b"IDLE"))

    def raw(self, line: bytes) -> Answer:
        """A line as it is, then NOOP with a tag of ours: all that came until NOOP's reply."""
        self._socket.sendall(line + b"\r\n")
        return self.do(b"NOOP")

    def _exchange(self, tag: bytes, text: bytes, *, idle: bool) -> Answer:
        lines: list[bytes] = []
        for piece in _pieces(text):
            self._socket.sendall(piece.text)
            if piece.waits:
                final = self._until(tag, lines, b"+")
                if final is not None:
                    return Answer(tuple(lines), final)
        if idle and (final := self._until(tag, lines, b"+")) is not None:
            return Answer(tuple(lines), final)
        if idle:
            self._socket.sendall(b"DONE\r\n")
        final = self._until(tag, lines)
        assert final is not None
        return Answer(tuple(lines), final)

    def _until(self, tag: bytes, lines: list[bytes], stop: bytes = b"\0") -> bytes | None:
        """Gather untagged responses until the tagged reply, which is returned, or a continuation request."""
        while True:
            line = self._response()
            if not line:
                return b""
            if line.startswith(tag + b" "):
                return line[len(tag) + 1 :]
            if line.startswith(stop):
                return None
            lines.append(line.removeprefix(b"* "))

    def _response(self) -> bytes:
        line = self._file.readline()
        while match := TAIL.search(line):
            line += self._file.read(int(match[1])) + self._file.readline()
        if line and not line.endswith(b"\r\n"):
            raise Broken(f"no CRLF at the end: {line[-80:]!r}")
        return line[:-2]


@dataclass(frozen=True, slots=True)
class _Piece:
    text: bytes
    waits: bool


def _pieces(text: bytes) -> list[_Piece]:
    """The command cut behind each synchronizing literal's header."""
    found: list[_Piece] = []
    start = at = 0
    while match := LITERAL.search(text, at):
        at = match.end() + int(match[2])
        if not match[3]:
            found.append(_Piece(text[start : match.end()], True))
            start = match.end()
    return [*found, _Piece(text[start:], False)]


# -- trees --


class Reader:
    """A response's octets as a tree."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.at = 0

    def all(self) -> tuple[Tree, ...]:
        """Values separated by single spaces, to the end."""
        values = self._values(b"")
        if self.at != len(self.text):
            raise Broken(f"rest {self.text[self.at : self.at + 60]!r} of {self.text[:200]!r}")
        return values

    def _values(self, end: bytes) -> tuple[Tree, ...]:
        values: list[Tree] = []
        while self.at < len(self.text) and not (end and self.text.startswith(end, self.at)):
            if values and self.text[self.at : self.at + 1] == b" ":
                self.at += 1
            elif values and not (isinstance(values[-1], tuple) and self.text[self.at : self.at + 1] == b"("):
                raise Broken(
                    f"expected a space at {self.text[self.at : self.at + 60]!r} of {self.text[:200]!r}"
                )
            values.append(self._value())
        return tuple(values)

    def _value(self) -> Tree:
        mark = self.text[self.at : self.at + 1]
        if mark == b"(":
            self.at += 1
            values = self._values(b")")
            if self.text[self.at : self.at + 1] != b")":
                raise Broken(f"no ) in {self.text[:200]!r}")
            self.at += 1
            return values
        if mark == b'"':
            return self._quoted()
        if match := re.compile(rb"~?\{(\d+)\}\r\n").match(self.text, self.at):
            self.at = match.end() + int(match[1])
            return bytes(self.text[match.end() : self.at])
        match = BODY.match(self.text, self.at) or ATOM.match(self.text, self.at)
        if match is None:
            raise Broken(f"no value at {self.text[self.at : self.at + 60]!r} of {self.text[:200]!r}")
        self.at = match.end()
        return None if match[0].upper() == b"NIL" else Atom(match[0])

    def _quoted(self) -> bytes:
        match = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"').match(self.text, self.at)
        if match is None:
            raise Broken(f"bad quoted string at {self.text[self.at : self.at + 60]!r}")
        self.at = match.end()
        return re.sub(rb'\\(["\\])', rb"\1", match[1])


def tree(text: bytes) -> tuple[Tree, ...]:
    return Reader(text).all()


def status_of(line: bytes) -> tuple[bytes, tuple[Tree, ...]]:
    """`OK [CODE x] text` to (b"OK", code's tree); an empty tuple where there is no code."""
    kind, _, text = line.partition(b" ")
    found = CODE.match(text)
    return kind.upper(), tree(found[1]) if found else ()
