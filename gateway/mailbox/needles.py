"""The string keys of SEARCH, made into tests of rows: what is in a field, in the header, in the body.

What is in a body is known from its octets (`Row.body`) or from its kept text, or guessed from what Graph's index
found (`Seen`). A guess decides nothing below an odd number of NOTs: what the index misses would match there.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cached_property

from gateway.mailbox.fuzzy import BY_INDEX, Words
from gateway.mailbox.values import Need, Row
from gateway.mime.header import Fields, decoded
from gateway.mime.section import read
from gateway.mime.text import body_finds, body_text, casefold_text, header_text
from gateway.wire.searchkey import Contains, Field, HeaderContains

Verdict = bool | None

FUZZY_TEXT = 1 << 22  # characters of a body in which words are looked for; in a longer one, strings


@dataclass(frozen=True, slots=True)
class Mode:
    """Where in the key a leaf is."""

    positive: bool = True  # below an even number of NOTs
    fuzzy: bool = False


@dataclass(frozen=True)
class Needle:
    """A string looked for: as it is, or word by word."""

    text: str
    fuzzy: bool = False

    @cached_property
    def folded(self) -> str:
        return casefold_text(self.text)

    @cached_property
    def words(self) -> Words:
        return Words.of(self.text)

    @classmethod
    def of(cls, text: str, mode: Mode) -> Needle:
        """A text without words has nothing that FUZZY could look for: it is meant as it is."""
        needle = cls(text, mode.fuzzy)
        return needle if not mode.fuzzy or needle.words.words else cls(text)

    def fit(self, folded: str) -> float:
        """How well a folded text fits, up to 1; 0 is no match."""
        return self.words.fit(folded) if self.fuzzy else float(self.folded in folded)

    def strings(self) -> tuple[str, ...]:
        """What must be in a text that fits, but for accents."""
        return self.words.words if self.fuzzy else (self.folded,)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known when a row is judged, beside the row. `have`: what it was read with. `text`: the body's kept text.
    `hits`: UIDs that the index found, by needle; of needles it was not asked for nothing is known. `trust`: they are
    matches, not only candidates; those of FUZZY always are."""

    have: Need
    text: str | None = None
    hits: Mapping[Needle, Container[int]] | None = None
    trust: bool = False


Test = Callable[[Row, Seen], Verdict]


class Finder:
    """The strings that one query looks for in bodies: `positive` and `negative` by the number of NOTs above."""

    def __init__(self) -> None:
        self.positive: dict[Needle, None] = {}
        self.negative: dict[Needle, None] = {}
        self._row: Row | None = None  # the row that `_found` and `_text` are of
        self._found: set[str] = set()
        self._text: str | None = None

    def add(self, text: str, mode: Mode) -> Needle:
        needle = Needle.of(text, mode)
        (self.positive if mode.positive else self.negative)[needle] = None
        return needle

    def fit(self, row: Row, seen: Seen, needle: Needle) -> float | None:
        """How well the body fits: 0 is no match, None is not known."""
        if seen.text is not None:
            return needle.fit(seen.text)
        if row.body is None:
            return None
        self._look(row)
        if needle.fuzzy and self._text is not None:
            return needle.fit(self._text)
        if not self._found.issuperset(needle.strings()):
            return 0.0
        return BY_INDEX if needle.fuzzy else 1.0

    def _look(self, row: Row) -> None:
        """All needles of the query are looked for at once, so that a body is decoded once for them."""
        body = row.body
        if self._row is row or body is None:
            return
        needles = (*self.positive, *self.negative)
        self._found = body_finds(
            body, body.part, {string for needle in needles for string in needle.strings()}
        )
        fuzzy = any(needle.fuzzy for needle in needles)
        self._text = body_text(body, body.part, FUZZY_TEXT) if fuzzy else None
        self._row = row


def header_of(row: Row) -> bytes | None:
    """The pinned header block, else the body's own (decision 11: they agree where MIME came first)."""
    if row.meta is not None:
        return row.meta.header
    return None if row.body is None else read(row.body, 0, row.body.part.body)


# -- tests --


def contains(finder: Finder, key: Contains, mode: Mode) -> Test:
    if key.field is Field.BODY:
        return _in_body(finder, key.text, mode)
    if key.field is Field.TEXT:
        return _in_text(finder, key.text, mode)
    return in_field(key.field.value.lower().encode(), key.text, mode)


def header_contains(finder: Finder, key: HeaderContains, mode: Mode) -> Test:
    return in_field(key.name.lower(), key.text, mode)


def field_fit(row: Row, name: bytes, needle: Needle) -> float | None:
    """Of the field that fits best."""
    header = header_of(row)
    if header is None:
        return None
    values = Fields(header).all(name)
    return max((needle.fit(casefold_text(decoded(value))) for value in values), default=0.0)


def in_field(name: bytes, text: str, mode: Mode) -> Test:
    needle = Needle.of(text, mode)

    def test(row: Row, seen: Seen) -> Verdict:
        fit = field_fit(row, name, needle)
        return None if fit is None else bool(fit)

    return test


def _in_body(finder: Finder, text: str, mode: Mode) -> Test:
    if not text:
        return lambda row, seen: True  # the empty string is in every body
    needle = finder.add(text, mode)

    def test(row: Row, seen: Seen) -> Verdict:
        fit = finder.fit(row, seen, needle)
        if fit is not None:
            return bool(fit)
        hits = seen.hits.get(needle) if mode.positive and seen.hits is not None else None
        if hits is None:
            return None
        if row.uid not in hits:
            return False
        return True if seen.trust or needle.fuzzy else None

    return test


def _in_text(finder: Finder, text: str, mode: Mode) -> Test:
    needle, in_body = Needle.of(text, mode), _in_body(finder, text, mode)

    def test(row: Row, seen: Seen) -> Verdict:
        header = header_of(row)
        if header is not None and needle.fit(casefold_text(header_text(header))):
            return True
        return in_body(row, seen)

    return test
