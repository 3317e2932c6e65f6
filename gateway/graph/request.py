"""One Graph call and its answer, as values. A body is whole, or can be read again: a retry sends the same bytes (trap
18)."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from gateway.core.limits import MIB
from gateway.graph.model import Priority

IMMUTABLE = 'IdType="ImmutableId"'
OK = frozenset({200})
# What reading JSON may raise: also of octets that are no UTF-8, and of nesting without an end.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_CLAIMS = re.compile(r'\bclaims="([^"]*)"')


class Body(Protocol):
    """Octets that are read while they are sent: `len()` of them, and the same ones each time."""

    def __len__(self) -> int: ...
    def pieces(self) -> AsyncIterator[bytes]:
        """From the first one on, in pieces of moderate size."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`template` is the path with placeholders for ids: all that a log may show. `path` is what is asked
    for, below the base URL and with its query; `link` replaces it by an absolute URL.

    `repeat`: may be sent again although an earlier try may have taken effect (invariant 10).
    `expect`: the statuses that mean success; another 2xx is none (trap 24).
    `shape`: what the body of a success must decode to. `weight`: how many requests Graph counts.
    `about`: the id of the item or folder the call is about. `bearer` False: a pre-authenticated URL, no
    Authorization (trap 40). `slow`: may take minutes. `heavy`: a page that the server may find too large; a 504
    is then told to the caller after `heavy_tries` more, for it to ask for less.
    """

    method: str
    template: str
    path: str = ""
    link: str | None = None
    prefer: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Body = b""
    shape: Any = None
    expect: frozenset[int] = OK
    repeat: bool = False
    priority: Priority = Priority.INTERACTIVE
    mailbox: str = ""
    about: str = ""
    weight: int = 1
    bearer: bool = True
    slow: bool = False
    heavy: bool = False
    heavy_tries: int = 1
    max_answer: int = 64 * MIB

    def prefer_header(self) -> str:
        """One joined `Prefer`: some libraries send only the last of several (trap 49)."""
        return ", ".join((IMMUTABLE, *self.prefer))


@dataclass(frozen=True, slots=True)
class Response:
    """`headers` has lower-case names; `value` is the body decoded to the request's shape, or None."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    value: Any = None

    @property
    def retry_after(self) -> float | None:
        """Seconds, possibly with a fraction (trap 17); None if absent or not a number."""
        try:
            seconds = float(self.headers["retry-after"])
        except (KeyError, ValueError):
            return None
        return max(0.0, seconds) if math.isfinite(seconds) else None

    @property
    def code(self) -> str:
        """`error.code` as answered; '' for an empty, HTML or otherwise unreadable body."""
        try:
            code = msgspec.json.decode(self.body, type=_Envelope).error.code
        except UNREADABLE:
            return ""
        return re.sub(r"[^\w.-]", "", code or "")[:80]

    @property
    def claims(self) -> str | None:
        """The claims challenge of a 401 as JSON text (contract section 1.5); None if there is none."""
        match = _CLAIMS.search(self.headers.get("www-authenticate", ""))
        return _claims_json(match[1]) if match else None


class _Error(msgspec.Struct):
    code: str | None = None


class _Envelope(msgspec.Struct):
    error: _Error = msgspec.field(default_factory=_Error)


def _claims_json(text: str) -> str | None:
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_").decode()
        json.loads(plain)
    except (ValueError, RecursionError):
        return None
    return plain


@lru_cache(maxsize=64)
def _decoder(shape: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape)


def decode(body: bytes | msgspec.Raw, shape: Any) -> Any:
    """`body` as `shape`; raises one of `UNREADABLE` if it is something else.

    Members that are null where the shape has a default keep the default: one odd item must not hide its page.
    """
    try:
        return _decoder(shape).decode(body)
    except msgspec.ValidationError:
        return msgspec.convert(_without_nulls(msgspec.json.decode(body)), shape)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
