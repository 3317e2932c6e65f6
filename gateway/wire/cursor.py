"""The terminals of the grammar, read from left to right off a frame (RFC 9051 section 9).

A cursor stands in one of the frame's lines; a literal takes it to the next line. Every method either consumes
what its name says and returns the value, or raises BadCommand: nothing backtracks, so time is linear.
"""

from __future__ import annotations

import re

from gateway.core.errors import BadCommand, LimitReached
from gateway.core.limits import Limits
from gateway.core.runs import LastResult, Pair, Runs
from gateway.core.types import SYSTEM_FLAGS_BY_NAME, Flags
from gateway.wire import mutf7
from gateway.wire.chars import (
    ASTRING_ATOM,
    ATOM,
    DIGITS,
    FLAG,
    LIST_ATOM,
    LITERAL_HEADER,
    QUOTED,
    QUOTED_PAIR,
)
from gateway.wire.mailboxname import MailboxName, normal

NUMBER_MAX = 2**32 - 1  # RFC 9051 section 9, number
NUMBER64_MAX = 2**63 - 1  # number64; mod-sequences, RFC 7162 section 7

_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
_SEQUENCE_SET = re.compile(rb"[0-9:*,]+")
_SEQUENCE = re.compile(rb"([1-9][0-9]{0,9}|\*)(?::([1-9][0-9]{0,9}|\*))?")


class Cursor:
    """Where in a frame the parser stands. `utf8`: mailbox names are UTF-8 as they are; `one_charset`: so are strings of
    SEARCH, which may name no other charset (both after ENABLE)."""

    __slots__ = ("_part", "_parts", "limits", "one_charset", "pos", "text", "utf8")

    def __init__(
        self, parts: tuple[bytes, ...], limits: Limits, *, utf8: bool = False, one_charset: bool = False
    ) -> None:
        self._parts = parts
        self._part = 0
        self.text = parts[0]
        self.pos = 0
        self.limits = limits
        self.utf8 = utf8
        self.one_charset = one_charset

    # -- single characters --

    def at(self, octet: bytes) -> bool:
        return self.text.startswith(octet, self.pos)

    def accept(self, octets: bytes) -> bool:
        """Consume `octets` if they come next."""
        if not self.text.startswith(octets, self.pos):
            return False
        self.pos += len(octets)
        return True

    def expect(self, octets: bytes, what: str) -> None:
        if not self.accept(octets):
            raise BadCommand(f"Expected {what}")

    def space(self) -> None:
        self.expect(b" ", "a space")

    def at_end(self) -> bool:
        return self.pos >= len(self.text) and self._part + 1 >= len(self._parts)

    def rest_of_line(self) -> bytes | None:
        """What stands between here and the command's end, or None if a literal does."""
        return None if self._part + 1 < len(self._parts) else self.text[self.pos :]

    def skip_rest(self) -> None:
        """What is left does not matter any more."""
        self._part = len(self._parts) - 1
        self.text = self._parts[-1]
        self.pos = len(self.text)

    def end(self) -> None:
        """The command is over."""
        if not self.at_end():
            raise BadCommand("Unexpected text after the command")

    # -- terminals --

    def match(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        found = pattern.match(self.text, self.pos)
        if found is None:
            raise BadCommand(f"Expected {what}")
        self.pos = found.end()
        return found[0]

    def word(self, what: str) -> bytes:
        """An atom that is one of the protocol's words, in upper case."""
        return self.match(ATOM, what).upper()

    def known_word(self, what: str, known: tuple[bytes, ...]) -> bytes:
        word = self.word(what)
        if word not in known:
            raise BadCommand(f"Unknown: {what} {word[:40].decode('ascii')}")
        return word

    def accept_word(self, word: bytes) -> bool:
        """Consume `word` (in upper case) if it is the next atom."""
        found = ATOM.match(self.text, self.pos)
        if found is None or found[0].upper() != word:
            return False
        self.pos = found.end()
        return True

    def atom(self, what: str = "an atom") -> bytes:
        return self.match(ATOM, what)

    def number(self, largest: int = NUMBER_MAX) -> int:
        digits = self.match(DIGITS, "a number")
        if len(digits) > 20 or (value := int(digits)) > largest:
            raise BadCommand("Number too large")
        return value

    def at_string(self) -> bool:
        return self.at(b'"') or self._literal_header() is not None

    def string(self) -> bytes:
        """quoted / literal"""
        return self._quoted() if self.at(b'"') else self._literal()

    def nstring(self) -> bytes | None:
        if self.text[self.pos : self.pos + 3].upper() == b"NIL":
            self.pos += 3
            return None
        return self.string()

    def nstring8(self) -> bytes | None:
        """nstring / literal8: octets of any kind (RFC 5464 section 5, value; RFC 3516)."""
        return self._literal(binary=True) if self.at(b"~") else self.nstring()

    def astring(self) -> bytes:
        return self._atom_or_string(ASTRING_ATOM)

    def list_mailbox(self) -> str:
        """1*list-char / string, decoded: a name with wildcards, in Normalization Form C like names."""
        return normal(self._mailbox_text(self._atom_or_string(LIST_ATOM)))

    def mailbox(self) -> MailboxName:
        """A mailbox name as text, in Normalization Form C; a first level INBOX in upper case."""
        return MailboxName.of(self._mailbox_text(self.astring()))

    def sequence_set(self) -> Runs:
        """sequence-set without `$`; `n:m` in either order, canonical afterwards."""
        text = self.match(_SEQUENCE_SET, "a sequence set")
        if text.isdigit():
            return Runs((_range(text),))
        if text.count(b",") >= self.limits.sequence_ranges:
            raise LimitReached("Too many ranges in the sequence set")
        return Runs.merged(map(_range, text.split(b",")))

    def message_set(self) -> Runs:
        """sequence-set with seq-last-command (RFC 9051 section 9): `$` stands alone, never in a list."""
        return LastResult() if self.accept(b"$") else self.sequence_set()

    def flags(self) -> Flags:
        """flag-list, in parentheses."""
        self.expect(b"(", "a parenthesised flag list")
        if self.accept(b")"):
            return Flags()
        flags = self.bare_flags()
        self.expect(b")", "a closing parenthesis")
        return flags

    def bare_flags(self) -> Flags:
        """flag *(SP flag). System flags that are not ours to set (\\Recent, unknown ones) are passed over."""
        names = [self.match(FLAG, "a flag")]
        while self.at(b" ") and FLAG.match(self.text, self.pos + 1):
            self.pos += 1
            names.append(self.match(FLAG, "a flag"))
        return self._known_flags(names)

    def words(self, what: str, known: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """`(` words `)`, perhaps none, each of `known`, in upper case and once."""
        self.expect(b"(", "an opening parenthesis")
        found: dict[bytes, None] = {}
        if self.accept(b")"):
            return ()
        while True:
            found[self.known_word(what, known)] = None
            if self.accept(b")"):
                return tuple(found)
            self.space()

    # -- inside --

    def _known_flags(self, names: list[bytes]) -> Flags:
        limits = self.limits
        flags = Flags.of(n for n in names if not n.startswith(b"\\") or n.lower() in SYSTEM_FLAGS_BY_NAME)
        if len(flags.keywords) > limits.keywords_per_store:
            raise LimitReached("Too many keywords in one command")
        if any(len(keyword) > limits.keyword_octets for keyword in flags.keywords):
            raise LimitReached("Keyword too long")
        return flags

    def _atom_or_string(self, pattern: re.Pattern[bytes]) -> bytes:
        found = pattern.match(self.text, self.pos)
        if found is None:
            return self.string()
        self.pos = found.end()
        return found[0]

    def _quoted(self) -> bytes:
        found = QUOTED.match(self.text, self.pos)
        if found is None:
            raise BadCommand("Quoted string not closed or with characters it cannot hold")
        self.pos = found.end()
        value = found[1]
        if self.utf8 and not _is_utf8(value):  # RFC 6855 section 3
            raise BadCommand("Quoted string is not UTF-8")
        return QUOTED_PAIR.sub(rb"\1", value) if b"\\" in value else value

    def _literal_header(self) -> re.Match[bytes] | None:
        if self._part + 1 >= len(self._parts):
            return None
        return LITERAL_HEADER.match(self.text, self.pos)

    def _literal(self, *, binary: bool = False) -> bytes:
        header = self._literal_header()
        if header is None:
            raise BadCommand("Expected a string")
        value = self._parts[self._part + 1]
        if not binary and (header[1] or b"\0" in value):
            raise BadCommand("A literal here cannot hold binary data")
        self._part += 2
        self.text = self._parts[self._part]
        self.pos = 0
        return value

    def _mailbox_text(self, name: bytes) -> str:
        limits = self.limits
        if len(name) > limits.mailbox_name_octets or name.count(b"/") > limits.mailbox_depth:
            raise LimitReached("Mailbox name too long or too deep")
        return _decoded(name, utf8=self.utf8)


def _decoded(name: bytes, *, utf8: bool) -> str:
    """Modified UTF-7, or UTF-8: always after ENABLE, before it for a name that cannot be the former. One with controls
    follows the grammar, and is no mailbox: whoever makes mailboxes says so."""
    try:
        plain = utf8 or not name.isascii() or _CONTROLS.search(name)
        return name.decode("utf-8") if plain else mutf7.decode(name)
    except ValueError as error:
        raise BadCommand("Mailbox name is neither modified UTF-7 nor UTF-8") from error


def _is_utf8(value: bytes) -> bool:
    if value.isascii():
        return True
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _range(text: bytes) -> Pair:
    found = _SEQUENCE.fullmatch(text)
    if found is None:
        raise BadCommand("Not a sequence set")
    low = _bound(found[1])
    return (low, low) if found[2] is None else (low, _bound(found[2]))


def _bound(text: bytes) -> int:
    if text == b"*":
        return 0
    if (number := int(text)) > NUMBER_MAX:
        raise BadCommand("Number too large")
    return number
