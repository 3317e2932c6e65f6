"""Passwords of local users (architecture decision 15): argon2id off the loop, then a keyed hash in memory.

An argon2 verify takes about 130 ms of CPU: a bounded thread pool does it, and a credential once verified is
remembered as HMAC-SHA256 under a key that lives as long as the process. Unknown users cost the same as known ones.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cachetools import LRUCache

from gateway.core.errors import AuthenticationFailed, Unavailable

WORKERS = 2  # threads of argon2; each verify holds 64 MiB
WAITING = 64  # verifies that may wait; beyond: try again later
REMEMBERED = 10_000  # verified credentials, 32 octets each; the least used go first
MAX_PASSWORD = 1024  # octets


def hash_password(password: str) -> str:
    """An argon2id hash for the configuration file."""
    return PasswordHasher().hash(password)


class Credentials:
    """`hashes`: argon2id hash by user name in lower case."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = dict(hashes)
        self._hasher = PasswordHasher()
        self._dummy = self._hasher.hash(secrets.token_hex(16))
        self._key = secrets.token_bytes(32)
        self._verified: LRUCache[str, bytes] = LRUCache(REMEMBERED)
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="argon2")
        self._waiting = 0

    async def check(self, user: str, password: str) -> str:
        """The user's name as configured (lower case), or AuthenticationFailed; Unavailable when too many wait."""
        name = user.strip().lower()
        if not 0 < len(password.encode("utf-8", "replace")) <= MAX_PASSWORD:
            raise AuthenticationFailed("Wrong user name or password")
        digest = self._digest(name, password)
        remembered = self._verified.get(name)
        if remembered is not None and hmac.compare_digest(remembered, digest):
            return name
        if not await self._verify(self._hashes.get(name), password):
            raise AuthenticationFailed("Wrong user name or password")
        self._verified[name] = digest
        return name

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _verify(self, known: str | None, password: str) -> bool:
        if self._waiting >= WAITING:
            raise Unavailable("Too many logins at once, try again")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._pool, self._matches, known or self._dummy, password)
        finally:
            self._waiting -= 1
        return right and known is not None

    def _matches(self, known: str, password: str) -> bool:
        try:
            return self._hasher.verify(known, password)
        except (VerificationError, InvalidHashError):
            return False

    def _digest(self, name: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{name}\0{password}".encode("utf-8", "replace"), sha256)
