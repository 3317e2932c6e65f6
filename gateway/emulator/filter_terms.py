"""The words of `$filter`: tokens, literals, and the tables that say what can be filtered."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.emulator import props
from gateway.emulator.errors import GraphError, bad_request

Getter = Callable[[Any], Any]
Test = Callable[[Any], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<date>\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?)"
    r"|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_@$][\w.@/]*)|(?P<mark>[(),:]))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Column:
    """A property to filter by: its kind (str, bool, time, id, enum, number) and how to read it."""

    kind: str
    get: Getter


@dataclass(slots=True)
class Filter:
    """A compiled filter. `paths`: properties in order; `low`/`high`: bounds of receivedDateTime."""

    test: Test
    paths: list[str]
    low: float | None = None
    high: float | None = None
    nodes: int = 0
    message_id: str | None = None


@dataclass(slots=True)
class Table:
    """What an entity set lets one filter on. `lambdas`: a collection's values, None if refused."""

    columns: Mapping[str, Column]
    lambdas: Mapping[str, Callable[[Any], Any] | None] = field(default_factory=dict)
    extended: Callable[[Any, props.Prop], str | None] | None = None
    endswith: bool = False


@dataclass(frozen=True, slots=True)
class Date:
    """A time literal: seconds since 1970 (None: no such time) and the text."""

    at: float | None
    text: str


def tokens(text: str) -> list[tuple[str, str]]:
    """(kind, text) of every token; 400 for what is none."""
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            if not text[at:].strip():
                break
            raise syntax()
        found.append((match.lastgroup or "", match.group(match.lastgroup or 0)))
        at = match.end()
    return found


def syntax() -> GraphError:
    """400 for a clause that cannot be read."""
    return bad_request("Invalid filter clause.", "BadRequest")
