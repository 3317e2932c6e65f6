"""Every reply this front end gives, as values, and the one table from gateway errors to replies.

RFC 5321 section 4.2 (form), RFC 2034 (where an enhanced status code stands), RFC 3463 (which).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.core.errors import (
    AuthenticationFailed,
    BadCommand,
    Expired,
    GatewayError,
    InUse,
    LimitReached,
    NoPermission,
    NoSuchMailbox,
    OverQuota,
    Refused,
    SubmissionRefused,
    TooBig,
    Unavailable,
)

_WIDTH = 400  # characters of text in a line: RFC 5321 section 4.5.3.1.5 allows 512 octets with the codes
_LINES = 20  # of text that comes from below
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Reply:
    """`enhanced` is empty where RFC 2034 wants none (greeting, HELO, EHLO, 3xx). A text of several lines, or
    one too long for a line, becomes a multi-line reply; what is not printable ASCII becomes `?`."""

    code: int
    enhanced: str
    text: str

    def wire(self) -> bytes:
        lines = [_UNPRINTABLE.sub("?", line) for line in _pieces(self.text)]
        prefix = f"{self.enhanced} " if self.enhanced else ""
        rows = [f"{self.code}-{prefix}{line}\r\n" for line in lines[:-1]]
        return "".join([*rows, f"{self.code} {prefix}{lines[-1]}\r\n"]).encode("ascii")


def _pieces(text: str) -> list[str]:
    return list(_folded(text))[:_LINES] or [""]


def _folded(text: str) -> Iterator[str]:
    for line in text.splitlines():
        while len(line) > _WIDTH:
            at = line.rfind(" ", 1, _WIDTH)
            at = at if at > 0 else _WIDTH
            yield line[:at]
            line = line[at:].lstrip(" ")
        yield line


class Rejected(Exception):  # the ordinary outcome of a command, not a fault
    """A command that gets this reply instead of its success."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(code, enhanced, text)


class Farewell(Exception):  # the connection ends in good order
    """This reply is the connection's last."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(code, enhanced, text)


class Gone(Exception):
    """The peer is no longer there; nothing more can be said to it."""


OK = Reply(250, "2.0.0", "OK")
START_DATA = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
START_TLS = Reply(220, "2.0.0", "Ready to start TLS")
LOGGED_IN = Reply(235, "2.7.0", "Authentication successful")
LOCAL_ERROR = Reply(451, "4.3.0", "Local error, try again later")

# Replies that say the peer does not speak SMTP; too many in a row end the connection.
PROTOCOL_ERRORS = frozenset({500, 501, 502, 504, 555})

# The text is the error's own, which is safe to show.
_CODES: dict[type[GatewayError], tuple[int, str]] = {
    BadCommand: (501, "5.5.2"),
    NoSuchMailbox: (550, "5.1.1"),
    NoPermission: (550, "5.7.60"),
    OverQuota: (452, "4.2.2"),
    TooBig: (552, "5.3.4"),
    LimitReached: (451, "4.7.0"),
    InUse: (451, "4.3.0"),
    Expired: (451, "4.3.0"),
    Refused: (554, "5.6.0"),
    Unavailable: (451, "4.3.0"),
    AuthenticationFailed: (535, "5.7.8"),
    GatewayError: (451, "4.3.0"),
}


def reply_to(error: GatewayError) -> Reply:
    """A submission that was refused below has chosen its reply; every other error has its row, or its base
    class has."""
    if isinstance(error, SubmissionRefused):
        return _as_given(error)
    code, enhanced = next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
    return Reply(code, enhanced, str(error))


def _as_given(error: SubmissionRefused) -> Reply:
    """The class digit of both codes must agree and say "no" (RFC 2034 section 3); anything else is our bug,
    and must not look like an acceptance."""
    if not 400 <= error.status <= 599 or error.enhanced[:2] != f"{error.status // 100}.":
        return LOCAL_ERROR
    return Reply(error.status, error.enhanced, str(error))
