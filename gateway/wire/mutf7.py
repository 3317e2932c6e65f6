"""Modified UTF-7, the encoding of mailbox names in RFC 3501 section 5.1.3.

Printable ASCII stands for itself, `&` is `&-`, everything else is UTF-16 in base64 with `,` for `/`, without
padding, between `&` and `-`. A name has exactly one encoding, and only that one is accepted: two spellings of
one mailbox would be two mailboxes to a client.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64

_TO_ENCODE = re.compile(r"&|[^\x20-\x7e]+")
_SHIFTED = re.compile(rb"&([^&-]*+)-")


def encode(name: str) -> bytes:
    """The one encoding of `name`; ValueError for a lone surrogate."""
    return _TO_ENCODE.sub(_shift, name).encode("ascii")


def decode(name: bytes) -> str:
    """The text of `name`; ValueError where it is not what `encode` would have written."""
    text = _decode_loosely(name)
    if encode(text) != name:
        raise ValueError("not the canonical form of modified UTF-7")
    return text


def _shift(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    base64 = b2a_base64(match[0].encode("utf-16-be"), newline=False).rstrip(b"=")
    return "&" + base64.replace(b"/", b",").decode("ascii") + "-"


def _decode_loosely(name: bytes) -> str:
    text: list[str] = []
    for index, piece in enumerate(_SHIFTED.split(name)):
        text.append(_unshift(piece) if index % 2 else piece.decode("ascii"))
    return "".join(text)


def _unshift(base64: bytes) -> str:
    if not base64:
        return "&"
    padded = base64.replace(b",", b"/") + b"=" * (-len(base64) % 4)
    try:
        return a2b_base64(padded).decode("utf-16-be")
    except Base64Error as error:
        raise ValueError("bad base64 in modified UTF-7") from error
