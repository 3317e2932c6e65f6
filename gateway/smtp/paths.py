"""The arguments of MAIL and RCPT: a path, and the words behind it (RFC 5321 sections 4.1.2 and 4.5.3.1). What the
words mean is in `parameters`.

Tolerant of what devices send: blanks around the path, a path without angle brackets, dots in odd places. A
source route is accepted and dropped (RFC 5321 appendix C).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.smtp.replies import Rejected

_ADDRESS_OCTETS = 320
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_LOCAL = rf"""(?:[^\s"(),:;<>@\[\\\]]+|{_QUOTED})"""
_LABEL = r"(?:[0-9A-Za-z_]|[^\x00-\x7f])(?:[0-9A-Za-z_-]|[^\x00-\x7f]){0,62}"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9A-Za-z.:-]+\])"
_ADDRESS = re.compile(rf"{_LOCAL}@{_DOMAIN}")
_ROUTE = re.compile(rf"@{_DOMAIN}(?:,@{_DOMAIN})*:")
# What lies between the brackets is judged afterwards; a quoted local part may hold blanks and brackets.
_PATH = re.compile(
    rf"""[ \t]*(?:<(?P<inside>(?:{_QUOTED}|[^">])*)>|(?P<bare>(?:{_QUOTED}|[^"<>\s])+))(?P<rest>(?:[ \t].*)?)"""
)
_PARAMETER = re.compile(
    r"(?P<name>[0-9A-Za-z][0-9A-Za-z-]*)(?:=(?P<value>[\x21-\x3c\x3e-\x7e\x80-\U0010ffff]+))?"
)


@dataclass(frozen=True, slots=True)
class Argument:
    """`path` as given, '' for the null path; parameter names in upper case."""

    path: str
    parameters: Mapping[str, str | None]


def argument(text: str, keyword: str) -> Argument:
    """`FROM:<path> [parameters]`, `keyword` being `FROM` or `TO`. The path is not judged yet."""
    word, colon, behind = text.partition(":")
    match = _PATH.fullmatch(behind)
    if word.strip().upper() != keyword or not colon or match is None:
        raise Rejected(501, "5.5.2", f"Syntax: {keyword}:<address>")
    inside = match["bare"] if match["inside"] is None else match["inside"]
    return Argument(inside.strip(" \t"), _parameters(match["rest"]))


def _parameters(text: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None or match["name"].upper() in found:
            raise Rejected(501, "5.5.4", "Malformed or repeated parameter")
        found[match["name"].upper()] = match["value"]
    return found


def recipients_ahead(octets: bytes, *, utf8: bool) -> list[str]:
    """Addresses of the RCPT commands that come next among octets not read yet. A guess for asking about them together:
    what is wrong with them is said when they are read."""
    found = []
    for line in octets.split(b"\n")[:-1]:
        verb, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
        if verb.upper() != "RCPT":
            break
        try:
            found.append(address(argument(rest, "TO").path, utf8=utf8, bad="5.1.3"))
        except Rejected:
            continue
    return found


def address(path: str, *, utf8: bool, bad: str) -> str:
    """The path's address, route dropped. Rejected with 553 and the status `bad`; 5.6.7 for an address
    outside ASCII in a transaction that does not announce SMTPUTF8 (RFC 6531 section 3.5)."""
    route = _ROUTE.match(path)
    spec = path[route.end() :] if route else path
    if not spec.isascii() and not utf8 and spec.isprintable():
        raise Rejected(553, "5.6.7", "Address outside ASCII without SMTPUTF8")
    if not _ADDRESS.fullmatch(spec) or not spec.isprintable() or len(spec.encode()) > _ADDRESS_OCTETS:
        raise Rejected(553, bad, "Malformed address")
    return spec
