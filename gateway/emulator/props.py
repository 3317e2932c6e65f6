"""Extended (MAPI) property ids: parsed, compared as values, echoed in normal form (contract 6.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

INTERNET_HEADERS: Final = "00020386-0000-0000-c000-000000000046"
COMMON: Final = "00062008-0000-0000-c000-000000000046"

PropKey = tuple[str, str | int]
"""(property set guid or "" for a tagged property, name or number)."""

IMAP_DELETED: Final[PropKey] = (COMMON, 0x8570)

_TYPES: Final = {
    name.lower(): name
    for name in (
        "ApplicationTime", "Binary", "Boolean", "CLSID", "Currency", "Double", "Float", "Integer", "Long",
        "Short", "String", "SystemTime",
    )
}  # fmt: skip
_TAGGED = re.compile(r"(\w+)\s+0x([0-9a-f]{1,8})\Z", re.IGNORECASE)
_NUMBERED = re.compile(r"(\w+)\s+\{([0-9a-f-]{36})\}\s+Id\s+0x([0-9a-f]{1,8})\Z", re.IGNORECASE)
_NAMED = re.compile(r"(\w+)\s+\{([0-9a-f-]{36})\}\s+Name\s+(\S.*)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Prop:
    """A parsed property id. `key` alone decides which property it is; the type is how the caller wants it."""

    type: str
    key: PropKey

    @property
    def tag(self) -> int | None:
        return self.key[1] if not self.key[0] and isinstance(self.key[1], int) else None

    def normal(self) -> str:
        """The id as the server writes it: lower-case hex without leading zeros."""
        space, name = self.key
        if not space:
            return f"{self.type} 0x{name:x}"
        if isinstance(name, int):
            return f"{self.type} {{{space}}} Id 0x{name:x}"
        return f"{self.type} {{{space}}} Name {name}"


@lru_cache(maxsize=4096)
def parse(text: str) -> Prop | None:
    """The property `text` names, None where it follows no form of the grammar."""
    key: PropKey
    if match := _TAGGED.match(text):
        kind, key = match.group(1), ("", int(match.group(2), 16) & 0xFFFF)
    elif match := _NUMBERED.match(text):
        kind, key = match.group(1), (match.group(2).lower(), int(match.group(3), 16))
    elif match := _NAMED.match(text):
        kind, key = match.group(1), (match.group(2).lower(), _name(match.group(2), match.group(3)))
    else:
        return None
    proper = _TYPES.get(kind.lower())
    return Prop(proper, key) if proper else None


def _name(space: str, name: str) -> str:
    return name.lower() if space.lower() == INTERNET_HEADERS else name


def valid(kind: str, value: str) -> bool:
    """Whether a posted value fits the property's type."""
    check = _VALUES.get(kind)
    return check is None or bool(check.match(value))


_VALUES: Final = {
    "Integer": re.compile(r"-?\d{1,10}\Z"),
    "Long": re.compile(r"-?\d{1,19}\Z"),
    "Short": re.compile(r"-?\d{1,5}\Z"),
    "Boolean": re.compile(r"(true|false)\Z", re.IGNORECASE),
    "SystemTime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?(Z|[+-]\d\d:\d\d)?\Z"),
    "Binary": re.compile(r"[A-Za-z0-9+/]*={0,2}\Z"),
}
