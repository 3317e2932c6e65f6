"""Content at rest: AES-256-GCM under keys derived from the state key, and addresses that tell nothing.

Everything a person wrote (headers, envelopes, previews, bodies) and every delta link is sealed. A sealed
value is bound to its place by `context` (authenticated, not stored): octets moved to another row do not open.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import zlib
from collections.abc import Callable, Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.store.errors import Damaged
from gateway.store.keyfile import KEY_OCTETS

NONCE = 12  # octets, random: one key seals far fewer than 2**32 values
PLAIN, DEFLATED = b"\0", b"\1"
WORTH_DEFLATING = 128  # octets; below, zlib's own overhead eats the gain


def derive(key: bytes, purpose: str) -> bytes:
    """An independent 32-octet key for one purpose (RFC 5869)."""
    return HKDF(SHA256(), KEY_OCTETS, None, b"graph-mail-gateway/" + purpose.encode()).derive(key)


class Vault:
    """Seals, opens and addresses octets. Safe to use from several threads."""

    def __init__(self, key: bytes, randbytes: Callable[[int], bytes] = os.urandom) -> None:
        if len(key) != KEY_OCTETS:
            raise ValueError(f"the state key must have {KEY_OCTETS} octets")
        self._cipher = AESGCM(derive(key, "seal"))
        self._address_key = derive(key, "address")
        self._randbytes = randbytes

    def seal(self, data: bytes, context: str) -> bytes:
        """nonce, then AES-GCM of a method octet and the octets, deflated where that is shorter."""
        nonce = self._randbytes(NONCE)
        return nonce + self._cipher.encrypt(nonce, _pack(data), context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """What was sealed with this context; Damaged for anything else."""
        try:
            packed = self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], context.encode())
        except (InvalidTag, ValueError) as error:
            raise Damaged("sealed octets do not open") from error
        return zlib.decompress(packed[1:]) if packed[:1] == DEFLATED else packed[1:]

    def address(self, data: bytes) -> bytes:
        """32 octets, equal for equal content. Keyed: nobody without the key can test a guess of the content."""
        return self.address_of((data,))

    def address_of(self, pieces: Iterable[bytes]) -> bytes:
        """The address of octets that come in pieces."""
        mac = hmac.new(self._address_key, digestmod=hashlib.sha256)
        for piece in pieces:
            mac.update(piece)
        return mac.digest()


def _pack(data: bytes) -> bytes:
    if len(data) >= WORTH_DEFLATING:
        deflated = zlib.compress(data, 1)
        if len(deflated) < len(data):
            return DEFLATED + deflated
    return PLAIN + data
