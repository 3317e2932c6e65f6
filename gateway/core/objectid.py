"""Object identifiers (RFC 8474, decision 13): derived from Graph's ids, safe where case is lost."""

from __future__ import annotations

import hashlib
from base64 import b32encode

from gateway.core.types import ObjectId

DIGEST = 15  # octets: 120 bits are exactly 24 base32 characters, without padding


def object_id(kind: str, source: str) -> ObjectId:
    """`kind` (one letter: F mailbox, M message, T thread) and 24 characters of [a-z2-7].

    A letter first, so that it never looks like a number; no `=`; no two ids that differ only by case.
    """
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()[:DIGEST]
    return ObjectId(kind + b32encode(digest).decode("ascii").lower())
