"""The kept skeleton of a message that came as MIME: bytes, header fields by offset, cheap variants.

A variant is the same message with another Message-ID, Subject and Date: a hundred thousand of them share one
base, and none is rendered before it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_VARIED = ("subject", "message-id", "date")


@dataclass(frozen=True, slots=True)
class Field:
    """One header field by offsets: `value` is behind the colon, `end` behind the line end."""

    name: str
    start: int
    value: int
    end: int


def header_end(raw: bytes, start: int = 0, end: int | None = None) -> tuple[int, int]:
    """(end of the header block, start of the body) of the entity in raw[start:end]; lines may end in LF."""
    stop = len(raw) if end is None else end
    if raw.startswith(b"\r\n", start):
        return start, min(start + 2, stop)
    if raw.startswith(b"\n", start):
        return start, min(start + 1, stop)
    found = _BLANK.search(raw, start, stop)
    if not found:
        return stop, stop
    return found.start() + len(found.group(1)), found.end()


_BLANK = re.compile(rb"(\r?\n)\r?\n")


def fields_of(raw: bytes, start: int, end: int) -> list[Field]:
    """The header fields of a block; lines that are neither a field nor a continuation are passed over."""
    found: list[Field] = []
    at = start
    while at < end:
        line_end = raw.find(b"\n", at, end) + 1 or end
        if raw[at : at + 1] in (b" ", b"\t") and found:
            last = found[-1]
            found[-1] = Field(last.name, last.start, last.value, line_end)
        elif match := _FIELD.match(raw, at, line_end):
            found.append(Field(match.group(1).decode("ascii"), at, match.end(), line_end))
        at = line_end
    return found


def text(raw: bytes) -> str:
    """Header bytes as text: UTF-8 where they are, else Latin-1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def unfold(raw: bytes) -> str:
    """A field's value on one line, white space at both ends removed."""
    return text(re.sub(rb"\r?\n(?=[ \t])", b"", raw)).strip(" \t\r\n")


def rfc_date(seconds: int) -> str:
    """An RFC 5322 date in UTC; independent of the locale."""
    at = datetime.fromtimestamp(min(max(seconds, -62135596800), 253402300799), UTC)
    return f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at:%Y %H:%M:%S} +0000"


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Skeleton:
    """Immutable: raw CRLF bytes, the header's end and its fields."""

    __slots__ = ("body", "fields", "head_end", "raw", "values")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.head_end, self.body = header_end(raw)
        self.fields = tuple(fields_of(raw, 0, self.head_end))
        self.values = tuple((f.name, unfold(raw[f.value : f.end])) for f in self.fields)

    def first(self, name: str) -> str | None:
        """The value of the first field of that (lower-case) name."""
        return next((value for key, value in self.values if key.lower() == name), None)

    def varied(self, variant: int, sent: int | None) -> dict[int, bytes]:
        """Replacement values by field index for a variant; {} for the base itself."""
        if not variant:
            return {}
        new: dict[int, bytes] = {}
        seen: set[str] = set()
        for index, field in enumerate(self.fields):
            name = field.name.lower()
            if name in _VARIED and name not in seen:
                seen.add(name)
                new[index] = vary(name, self.raw[field.value : field.end], variant, sent)
        return new

    def headers(self, variant: int, sent: int | None) -> list[tuple[str, str]]:
        """Name and unfolded value of every field, duplicates and order kept."""
        values = list(self.values)
        for index, value in self.varied(variant, sent).items():
            values[index] = (values[index][0], unfold(value))
        return values

    def render(self, variant: int, sent: int | None, added: Iterable[tuple[str, str]] = ()) -> bytes:
        """The whole message; `added` fields go to the end of the header."""
        head = self.head(variant, sent)
        extra = b"".join(f"{name}: {value}\r\n".encode() for name, value in added)
        if extra and head and not head.endswith(b"\n"):
            extra = b"\r\n" + extra
        if self.body == self.head_end and extra:
            return head + extra
        return head + extra + self.raw[self.head_end :]

    def head(self, variant: int, sent: int | None) -> bytes:
        """The header block without the empty line."""
        new = self.varied(variant, sent)
        if not new:
            return self.raw[: self.head_end]
        pieces: list[bytes] = []
        at = 0
        for index, value in sorted(new.items()):
            field = self.fields[index]
            pieces += (self.raw[at : field.value], value)
            at = field.end
        return b"".join((*pieces, self.raw[at : self.head_end]))

    def with_fields(self, new: Mapping[str, str | None]) -> Skeleton:
        """The message with fields (lower-case name) replaced at the header's end, or dropped for None."""
        kept = b"".join(self.raw[f.start : f.end] for f in self.fields if f.name.lower() not in new)
        if kept and not kept.endswith(b"\n"):
            kept += b"\r\n"
        lines = "".join(
            f"{_canonical(name)}: {value}\r\n" for name, value in new.items() if value is not None
        )
        body = self.raw[self.body :] if self.body > self.head_end else b""
        return Skeleton(kept + lines.encode() + b"\r\n" + body)

    def without(self, dropped: frozenset[str]) -> Skeleton:
        """The message without the fields of these (lower-case) names; itself if it has none of them."""
        if not any(f.name.lower() in dropped for f in self.fields):
            return self
        return self.with_fields(dict.fromkeys(dropped))


def _canonical(name: str) -> str:
    special = {"message-id": "Message-ID", "mime-version": "MIME-Version"}
    return special.get(name) or "-".join(part.capitalize() for part in name.split("-"))


def vary(name: str, value: bytes, variant: int, sent: int | None) -> bytes:
    """The raw value (with its line end) that a variant has in one of the three fields that vary."""
    if name == "date":
        return f" {rfc_date(sent or 0)}\r\n".encode()
    if name == "message-id":
        return b" " + varied_id(value.strip().decode("latin-1"), variant).encode("latin-1") + b"\r\n"
    return value.rstrip(b"\r\n") + b" #%d\r\n" % variant


def varied_id(message_id: str, variant: int) -> str:
    """The Message-ID of a variant: unique, and recognisable as kin of the base's."""
    core = message_id.strip("<>").replace("\r\n", "")
    return f"<v{variant}.{core}>"
