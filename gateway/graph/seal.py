"""Sealed storage for what signs a user in: AES-GCM around a few kilobytes, bound to the account they belong to."""

from __future__ import annotations

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12  # octets, SP 800-38D section 8.2
_LABEL = b"gateway token cache 1\0"


class Sealed:
    """Loads and saves bytes through `load` and `save`, encrypted with `key` (16, 24 or 32 octets).

    `name` (the account) is authenticated with them: one account's cache is of no use for another.
    """

    def __init__(
        self,
        key: bytes,
        name: str,
        load: Callable[[], bytes | None],
        save: Callable[[bytes], None],
        *,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._cipher = AESGCM(key)
        self._bound = _LABEL + name.encode()
        self._load = load
        self._save = save
        self._random = random

    def load(self) -> bytes | None:
        """What was saved last, or None. ValueError if it was changed or sealed with another key."""
        sealed = self._load()
        if not sealed:
            return None
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], self._bound)
        except (InvalidTag, ValueError):
            raise ValueError("the stored sign-in cannot be opened with this key") from None

    def save(self, plain: bytes) -> None:
        nonce = self._random(_NONCE)
        self._save(nonce + self._cipher.encrypt(nonce, plain, self._bound))
