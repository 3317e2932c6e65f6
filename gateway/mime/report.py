"""Delivery status notifications: what became of a message, for people and for programs.

RFC 3464 (the report), RFC 6522 (multipart/report), RFC 3461 section 6 (what of the message comes back), RFC 3834 (no
answers to it), RFC 6533 (addresses and headers outside ASCII).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple

from gateway.mime.compose import crlf, message_id
from gateway.mime.header import fold_field, header_end


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient (RFC 3464 section 2.3). `action`: failed, delayed or relayed; `status` as in
    RFC 3463; `original`: `type;address` of ORCPT, or ''; `diagnostic`: what was heard, `550 5.1.1 No such user`, or '';
    `retry_until`: seconds since 1970, of what is delayed, or 0."""

    recipient: str
    action: str
    status: str
    original: str = ""
    diagnostic: str = ""
    retry_until: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """`host`: the name under which this gateway reports; `to`: the sender of the message; `message_id`: of the report,
    with its angle brackets. Times in seconds since 1970. `message`: what comes back of the message, with its header in
    front; only the header goes out unless `whole`, and of reports without a failure never more (RFC 3461 section 4.3).
    """

    host: str
    to: str
    message_id: str
    now: int
    arrived: int
    outcomes: Sequence[Outcome]
    message: bytes
    envid: str = ""
    whole: bool = False


class _Words(NamedTuple):
    subject: str
    text: str


# By the gravest action in the report.
_WORDS = {
    "failed": _Words(
        "Undelivered mail",
        "Your message could not be delivered to the recipients below. It will not be tried again.",
    ),
    "delayed": _Words(
        "Mail is delayed",
        "Your message has not been delivered yet to the recipients below. It will be tried again; you need not send it"
        " once more.",
    ),
    "relayed": _Words(
        "Mail was passed on",
        "Your message was passed on to Exchange for the recipients below. Exchange does not report what becomes of it"
        " there, so no other confirmation will follow; should delivery fail, it sends a notice of its own.",
    ),
}  # fmt: skip


def report(about: Report) -> bytes:
    """The whole message, CRLF line ends. `about.outcomes` holds one at least."""
    words = next(_WORDS[action] for action in _WORDS if any(o.action == action for o in about.outcomes))
    message = crlf(about.message)
    parts = [_for_people(about, words), _for_programs(about), _returned(about, message)]
    boundary = _boundary(about, parts)
    delimiter = b"--" + boundary
    body = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
    header = b"".join(_header(about, words, boundary, message_id(message)))
    return header + b"\r\n" + body + delimiter + b"--\r\n"


def _header(about: Report, words: _Words, boundary: bytes, original: bytes | None) -> Iterator[bytes]:
    yield fold_field(b"From", b"Mail Delivery System <mailer-daemon@%b>" % _octets(about.host))
    yield fold_field(b"To", b"<%b>" % _octets(about.to))
    yield fold_field(b"Subject", words.subject.encode())
    yield fold_field(b"Date", _date(about.now))
    yield fold_field(b"Message-ID", _octets(about.message_id))
    if original:
        yield fold_field(b"In-Reply-To", original)
        yield fold_field(b"References", original)
    yield fold_field(b"Auto-Submitted", b"auto-replied")
    yield fold_field(b"MIME-Version", b"1.0")
    kind = b'multipart/report; report-type=delivery-status; boundary="%b"' % boundary
    yield fold_field(b"Content-Type", kind)


# -- parts --


def _for_people(about: Report, words: _Words) -> bytes:
    lines = [words.text, "", *(_line(outcome) for outcome in about.outcomes), ""]
    text = "\r\n".join(lines).encode("utf-8", "replace")
    return b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text


def _line(outcome: Outcome) -> str:
    reason = f": {_one_line(outcome.diagnostic)}" if outcome.diagnostic else ""
    return f"<{_one_line(outcome.recipient)}>{reason}"


def _for_programs(about: Report) -> bytes:
    """Groups of fields, each ended by an empty line (RFC 3464 section 2.1)."""
    groups = [_of_message(about), *map(_of_recipient, about.outcomes)]
    fields = b"\r\n".join(b"".join(fold_field(name, value) for name, value in group) for group in groups)
    return b"Content-Type: message/delivery-status\r\n\r\n" + fields


def _of_message(about: Report) -> Iterator[tuple[bytes, bytes]]:
    if about.envid:
        yield b"Original-Envelope-Id", _octets(about.envid)
    yield b"Reporting-MTA", b"dns; " + _octets(about.host)
    yield b"Arrival-Date", _date(about.arrived)


def _of_recipient(outcome: Outcome) -> Iterator[tuple[bytes, bytes]]:
    if outcome.original:
        kind, _, address = outcome.original.partition(";")
        yield b"Original-Recipient", _octets(f"{kind}; ") + _address(address)
    kind = "rfc822" if outcome.recipient.isascii() else "utf-8"
    yield b"Final-Recipient", _octets(f"{kind}; ") + _address(outcome.recipient)
    yield b"Action", outcome.action.encode()
    yield b"Status", outcome.status.encode()
    if outcome.diagnostic:
        yield b"Diagnostic-Code", b"smtp; " + _one_line(outcome.diagnostic).encode("ascii", "replace")
    if outcome.retry_until:
        yield b"Will-Retry-Until", _date(outcome.retry_until)


def _address(address: str) -> bytes:
    r"""In ASCII: others as \x{HEX} (utf-8-addr-xtext, RFC 6533 section 3)."""
    if address.isascii():
        return _one_line(address).encode()
    return "".join(c if "!" <= c <= "~" and c != "\\" else f"\\x{{{ord(c):02X}}}" for c in address).encode()


def _returned(about: Report, message: bytes) -> bytes:
    """Its header, or all of it. In UTF-8 it has types of its own (RFC 6533 sections 4 and 5)."""
    cut = header_end(message)
    header = message[:cut]
    whole = about.whole and any(outcome.action == "failed" for outcome in about.outcomes)
    kind = _KINDS[whole, header.isascii()]
    content = message if whole else header
    encoding = b"" if content.isascii() else b"Content-Transfer-Encoding: 8bit\r\n"
    return b"Content-Type: %b\r\n%b\r\n%b" % (kind, encoding, content)


_KINDS = {
    (True, True): b"message/rfc822",
    (True, False): b"message/global",
    (False, True): b"text/rfc822-headers",
    (False, False): b"message/global-headers",
}


# -- words --


def _boundary(about: Report, parts: Sequence[bytes]) -> bytes:
    """One that stands in no part."""
    seed = about.message_id.encode("utf-8", "replace")
    while True:
        boundary = b"report-" + hashlib.sha256(seed).hexdigest()[:24].encode()
        if not any(boundary in part for part in parts):
            return boundary
        seed = boundary


def _date(seconds: int) -> bytes:
    return format_datetime(datetime.fromtimestamp(seconds, UTC)).encode()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
