"""Passwords of local users (architecture decision 15): argon2id off the loop, then a keyed hash in memory.

An argon2 verify takes about 130 ms of CPU: a bounded thread pool does it, and a credential once verified is
remembered as HMAC-SHA256 under a key that lives as long as the process. Unknown users cost the same as known ones.

Beside the hash there may be a SCRAM-SHA-256 verifier, one word behind the other in one string, so that a new password
cannot leave the old one's verifier in force. SCRAM is offered only where every user has one.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from base64 import b64encode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cachetools import LRUCache

from gateway.core.errors import AuthenticationFailed, Unavailable
from gateway.wire.sasl import user_name
from gateway.wire.saslprep import prepared
from gateway.wire.scram import ITERATIONS, SALT_OCTETS, Verifier, verifier

WORKERS = 2  # threads of argon2; each verify holds 64 MiB
WAITING = 64  # verifies that may wait; beyond: try again later
REMEMBERED = 10_000  # verified credentials, 32 octets each; the least used go first
MAX_PASSWORD = 1024  # octets


def hash_password(password: str, *, scram: bool = True) -> str:
    """What the configuration file keeps: an argon2id hash, and a SCRAM verifier unless the password has characters
    that SCRAM cannot carry."""
    hashed = PasswordHasher().hash(prepared(password))
    try:
        found = verifier(password, secrets.token_bytes(SALT_OCTETS)) if scram else None
    except ValueError:
        found = None
    return hashed if found is None else f"{hashed} {found}"


def scram_of(secret: str) -> Verifier | None:
    """The verifier in such a string. ValueError if what stands there is none."""
    word = secret.partition(" ")[2]
    return Verifier.parse(word) if word else None


def _nobodys(hasher: PasswordHasher) -> str:
    """A hash that no password has, as dear to verify as any other; to make a real one would take as long."""
    salt, digest = (
        b64encode(secrets.token_bytes(size)).rstrip(b"=").decode() for size in (16, hasher.hash_len)
    )
    return (
        f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}${salt}${digest}"
    )


class Credentials:
    """`known`: what `hash_password` gave, by user name in lower case. `secret`: of this installation; what is made up
    for users there are not is derived from it, so that it is the same tomorrow."""

    def __init__(self, known: Mapping[str, str], secret: bytes | None = None) -> None:
        self._hashes = {user_name(name): word.partition(" ")[0] for name, word in known.items()}
        self._verifiers = {
            user_name(name): found for name, word in known.items() if (found := scram_of(word)) is not None
        }
        self._secret = secret or secrets.token_bytes(32)
        self._hasher = PasswordHasher()
        self._dummy = _nobodys(self._hasher)
        self._key = secrets.token_bytes(32)
        self._verified: LRUCache[str, bytes] = LRUCache(REMEMBERED)
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="argon2")
        self._waiting = 0

    @property
    def scram(self) -> bool:
        """Whether every user has a verifier."""
        return bool(self._hashes) and self._verifiers.keys() == self._hashes.keys()

    def verifier(self, user: str) -> Verifier:
        """For whoever is asked about. Of users there are not: always the same, and right for no password."""
        name = user_name(user)
        made_up = self._made_up(name)
        return self._verifiers.get(name, made_up)

    def _made_up(self, name: str) -> Verifier:
        """With as many iterations as the others have, for these are seen."""
        salt, stored, server = (
            hmac.digest(self._secret, f"{what}\0{name}".encode("utf-8", "replace"), sha256)
            for what in ("salt", "stored", "server")
        )
        known = next(iter(self._verifiers.values()), None)
        iterations = ITERATIONS if known is None else known.iterations
        return Verifier(salt[: SALT_OCTETS if known is None else len(known.salt)], iterations, stored, server)

    async def check(self, user: str, password: str) -> str:
        """The user's name as configured (lower case), or AuthenticationFailed; Unavailable when too many wait."""
        name, password = user_name(user), prepared(password)
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
