"""Extended property ids, parsed (contract section 6.3): the answer spells them otherwise than the request did.

Three forms: `Integer 0x0E08`, `Integer {guid} Id 0x8570`, `String {guid} Name x-foo`. Types, GUIDs, hex
digits and names compare without case, numbers as numbers (trap 8).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from gateway.graph.model import Message

_TAG = re.compile(r"(?P<type>\w+)\s+0x(?P<tag>[0-9a-f]{1,8})", re.IGNORECASE)
_NAMED = re.compile(
    r"(?P<type>\w+)\s+\{?(?P<guid>[0-9a-f-]{36})\}?\s+(?:Id\s+0x(?P<id>[0-9a-f]{1,8})|Name\s+(?P<name>\S.*))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Property:
    """One extended property: a tag of the standard set, or a GUID with a number or a name."""

    type: str
    number: int | None = None
    guid: str | None = None
    name: str | None = None


@lru_cache(maxsize=1024)
def parse_property(text: str) -> Property:
    """Raises ValueError if `text` is none of the three forms."""
    text = text.strip()
    if tag := _TAG.fullmatch(text):
        return Property(tag["type"].lower(), int(tag["tag"], 16))
    if named := _NAMED.fullmatch(text):
        number = int(named["id"], 16) if named["id"] else None
        name = named["name"].strip().lower() if named["name"] else None
        return Property(named["type"].lower(), number, named["guid"].lower(), name)
    raise ValueError("not an extended property id")


def props(message: Message) -> dict[Property, str]:
    """The message's extended properties by parsed id; absent ones are absent (trap 38: absent is not 0).

    An id of no known form is passed over: it cannot have been asked for.
    """
    found: dict[Property, str] = {}
    for entry in message.single_value_extended_properties or ():
        try:
            key = parse_property(entry.id)
        except ValueError:
            continue
        if entry.value is not None:
            found[key] = entry.value
    return found
