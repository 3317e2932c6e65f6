"""A header made to say who really sends, while the message comes in.

Devices write what they like into From: `scanner@printer.local`, the name of a copier, nothing. Exchange sends only
what comes from an address the account may use.
"""

from __future__ import annotations

import re

from gateway.core.errors import LimitReached
from gateway.mime.address import Address, parse_addresses
from gateway.mime.compose import crlf, remove_header, set_header
from gateway.mime.header import Fields, header_end
from gateway.smtp import paths
from gateway.smtp.replies import Rejected

HEADER = 256 * 1024  # octets of a header that is looked at; in a longer one nothing can be said for sure
_ENDS = (b"\n\r\n", b"\n\n")
_ENCODED = re.compile(rb"=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=(?:\s+=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=)*")
_QUOTED = re.compile(rb'["\\]')
# Top-level names of networks that nobody reaches from outside (RFC 6761, RFC 6762 appendix G, RFC 8375).
_LOCAL = ("local", "lan", "localdomain", "localhost", "internal", "invalid", "home", "arpa")


class SentAs:
    """Feed it a message's octets in any pieces; it returns them with `address` in From, under the name that stood
    there, and the address that stood there in Reply-To, unless there is one or nobody could answer there. Sender goes:
    Exchange fills it in."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._held: bytearray | None = bytearray()

    def feed(self, octets: bytes) -> bytes:
        """Holds back what comes before the end of the header."""
        if self._held is None:
            return octets
        searched = max(0, len(self._held) - 2)
        self._held += octets
        whole = self._held.startswith((b"\r\n", b"\n")) or any(
            self._held.find(e, searched) >= 0 for e in _ENDS
        )
        return self.end() if whole or len(self._held) > HEADER else b""

    def end(self) -> bytes:
        """What was held back; a message may end within its header."""
        held, self._held = bytes(self._held or b""), None
        cut = header_end(held)
        return _rewritten(crlf(held[:cut]), self._address) + held[cut:] if held else b""


def _rewritten(header: bytes, address: str) -> bytes:
    fields = Fields(header)
    found = _first(fields.first(b"from") or b"")
    header = set_header(remove_header(header, b"Sender"), b"From", _mailbox(found, address))
    answers = "" if found is None or fields.first(b"reply-to") else _reachable(found)
    if answers and answers.casefold() != address.casefold():
        header = set_header(header, b"Reply-To", _octets(answers))
    return header


def _first(value: bytes) -> Address | None:
    """The first mailbox of the field, whole or not."""
    try:
        listed = parse_addresses(value)
    except LimitReached:
        return None
    return next((entry for entry in listed if isinstance(entry, Address)), None)


def _mailbox(found: Address | None, address: str) -> bytes:
    """Encoded words are none in quotes, so they stay without (RFC 2047 section 5)."""
    name = found.name if found is not None else None
    if not name:
        return b"<%b>" % _octets(address)
    phrase = name if _ENCODED.fullmatch(name) else b'"%b"' % _QUOTED.sub(rb"\\\g<0>", name)
    return b"%b <%b>" % (phrase, _octets(address))


def _reachable(found: Address) -> str:
    """Its address if answers could arrive there, or ''."""
    text = b"%b@%b" % (found.mailbox, found.host)
    try:
        address = paths.address(text.decode(), utf8=True, bad="5.1.7")
    except (Rejected, UnicodeDecodeError):
        return ""
    labels = found.host.decode().lower().rstrip(".").split(".")
    return address if len(labels) > 1 and labels[-1] not in _LOCAL else ""


def _octets(address: str) -> bytes:
    return address.encode("utf-8", "surrogateescape")
