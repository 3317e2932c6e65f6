"""A client's side of SCRAM-SHA-256 (RFC 7677), written from the RFC and sharing nothing with the server's."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass


@dataclass(slots=True)
class ScramClient:
    user: str
    password: str
    nonce: str = "fyko+d2lbbFgONRv9qkxdawL"
    header: str = "n,,"
    extra: str = ""  # behind the nonce of the first message

    @property
    def bare(self) -> str:
        name = self.user.replace("=", "=3D").replace(",", "=2C")
        return f"n={name},r={self.nonce}{self.extra}"

    def first(self) -> bytes:
        return (self.header + self.bare).encode()

    def final(self, challenge: bytes) -> bytes:
        """The answer to the server's first message; afterwards `signature` is what it must send."""
        given = dict(item.split("=", 1) for item in challenge.decode().split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), b64decode(given["s"]), int(given["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        bare = f"c={b64encode(self.header.encode()).decode()},r={given['r']}"
        signed = f"{self.bare},{challenge.decode()},{bare}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        self.signature = b"v=" + b64encode(hmac.digest(server_key, signed, "sha256"))
        return f"{bare},p={b64encode(proof).decode()}".encode()

    signature: bytes = b""
