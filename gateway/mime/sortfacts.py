"""What SORT and THREAD want to know of a header block, short and ready to compare (RFC 5256, RFC 5957).

Texts are folded by i;unicode-casemap, so that their code points compare as the collation does. Message-IDs are 64-bit
digests: threading asks only whether two are the same.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import NamedTuple

from gateway.mime.address import Address, Group, parse_addresses
from gateway.mime.charset import text_of
from gateway.mime.header import Fields, decoded
from gateway.mime.subject import base_subject
from gateway.mime.text import casefold_text

TEXT = 250  # characters of a text that are kept; of longer ones a digest follows, so that they differ as they did
REFERENCES = 100  # of one message that are kept: the first, which names the thread, and the last ones
# msg-id of RFC 5322 section 3.6.4 with what old mail has: a quoted left side, blanks inside the brackets
_MESSAGE_ID = re.compile(rb'<\s*("(?:[^"\\]|\\.)*+"|[^<>"@\s]++)@([^<>\s]++)\s*>', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_NOTHING_SPECIAL = re.compile(rb'[^",(:;<]*+(?:<[^",(:;>]*+>)?[^",(:;<]*+(?=,|\Z)')


class SortFacts(NamedTuple):
    """`message_id` is 0 where there is none; `date` the Date field's octets, which another floor reads."""

    subject: str
    answers: bool  # the subject is a reply's or a forward's
    sender: str
    to: str
    cc: str
    shown_sender: str
    shown_to: str
    date: bytes
    message_id: int
    references: tuple[int, ...]


def sort_facts(header: bytes) -> SortFacts:
    """Of the pinned header block."""
    fields = Fields(header)
    subject = base_subject(decoded(fields.first(b"subject") or b""))
    sender, shown_sender = _first_address(fields, b"from")
    to, shown_to = _first_address(fields, b"to")
    own = message_ids(fields.first(b"message-id") or b"")
    return SortFacts(
        _folded(subject.text), subject.answers, sender, to, _first_address(fields, b"cc")[0], shown_sender, shown_to,
        fields.first(b"date") or b"", own[0] if own else 0, _references(fields),
    )  # fmt: skip


def _folded(text: str) -> str:
    folded = casefold_text(text)
    if len(folded) <= TEXT:
        return folded
    return folded[:TEXT] + blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _first_address(fields: Fields, name: bytes) -> tuple[str, str]:
    """Of the first address: what FROM, TO and CC compare (addr-mailbox, a group's name where one comes first), and
    what DISPLAYFROM and DISPLAYTO compare: its display name, else mailbox@host. Both empty without an address."""
    value = next(filter(None, fields.all(name)), b"")
    if not value:
        return "", ""
    simple = _NOTHING_SPECIAL.match(value)
    found = parse_addresses(simple[0] if simple else value, 1)
    if not found:
        return "", ""
    first = found[0]
    if isinstance(first, Group):
        shown = _folded(decoded(first.name))
        return shown, shown
    return _folded(text_of(first.mailbox)), _folded(_shown(first))


def _shown(address: Address) -> str:
    """RFC 5957 section 2."""
    return decoded(address.name or b"") or text_of(address.mailbox + b"@" + address.host)


# -- Message-IDs --


def _references(fields: Fields) -> tuple[int, ...]:
    """References, or In-Reply-To's first where that holds none (RFC 5256 section 3, step 1)."""
    found = message_ids(b" ".join(fields.all(b"references")))
    if not found:
        return tuple(message_ids(fields.first(b"in-reply-to") or b"")[:1])
    return tuple(found if len(found) <= REFERENCES else found[:1] + found[1 - REFERENCES :])


def message_ids(value: bytes) -> list[int]:
    """The digests of all Message-IDs in a value; never 0. Quoting that is not needed does not count."""
    if b"<" not in value:
        return []
    return [_digest(local, host) for local, host in _MESSAGE_ID.findall(value)]


def _digest(local: bytes, host: bytes) -> int:
    if local.startswith(b'"'):
        local = _ESCAPED.sub(rb"\1", local[1:-1])
    return int.from_bytes(blake2b(local + b"@" + host, digest_size=8).digest(), "big") or 1
