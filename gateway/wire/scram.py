"""SCRAM-SHA-256 (RFC 7677, RFC 5802), the server's side, without I/O and without the password.

    exchange = ScramServer(verifier_of, nonce)
    challenge = exchange.first(client_first)       # send it
    signature = exchange.final(client_final)       # he has proved to be `exchange.user`; send it, success

No channel binding: CPython does not tell a connection's exporter, so -PLUS is not offered.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import pbkdf2_hmac, sha256

from gateway.core.errors import AuthenticationFailed, BadCommand
from gateway.wire.sasl import same_user
from gateway.wire.saslprep import saslprep

MECHANISM = "SCRAM-SHA-256"
LEAST_ITERATIONS = 4096  # RFC 7677 section 4
MOST_ITERATIONS = 65_536  # Cyrus SASL's clients (mbsync and many more) refuse to compute more
ITERATIONS = MOST_ITERATIONS  # of new verifiers: 20 ms for a client
SALT_OCTETS = 16
MESSAGE_OCTETS = 4096  # of one message

_VALUE = rb"[^\0,]+"
_FIRST = re.compile(  # RFC 5802 section 7: client-first-message; gs2-header before the bare message
    rb"(?P<gs2>(?P<bind>[ny]|p=[A-Za-z0-9.-]+),(?:a=(?P<authzid>%b))?,)"
    rb"(?P<bare>n=(?P<user>%b),r=(?P<nonce>[!-+\--~]+)(?:,[A-Za-z]=%b)*)" % (_VALUE, _VALUE, _VALUE)
)
_FINAL = re.compile(
    rb"(?P<bare>c=(?P<bind>[A-Za-z0-9+/]+=*),r=(?P<nonce>[!-+\--~]+)(?:,[A-Za-z]=%b)*)"
    rb",p=(?P<proof>[A-Za-z0-9+/]+=*)" % _VALUE
)
_ESCAPED = re.compile(rb"=(2C|3D)?")


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a server keeps instead of a password (RFC 5802 section 3); it lets nobody log in as the user."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def __str__(self) -> str:
        """One word: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, in base64."""
        salt, stored, server = (b64encode(x).decode() for x in (self.salt, self.stored_key, self.server_key))
        return f"{MECHANISM}${self.iterations}:{salt}${stored}:{server}"

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """ValueError if it is none."""
        match = re.fullmatch(rf"{MECHANISM}\$([0-9]{{1,9}}):([^:$]+)\$([^:$]+):([^:$]+)", text)
        if match is None:
            raise ValueError("not a SCRAM-SHA-256 verifier")
        salt, stored, server = (a2b_base64(word, strict_mode=True) for word in match.groups()[1:])
        if (
            not LEAST_ITERATIONS <= int(match[1]) <= MOST_ITERATIONS
            or not salt
            or {len(stored), len(server)} != {sha256().digest_size}
        ):
            raise ValueError("not a SCRAM-SHA-256 verifier of 4096 to 65536 iterations")
        return cls(salt, int(match[1]), stored, server)


def verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> Verifier:
    """Of a password. ValueError for one with characters that passwords cannot have. Costs `iterations` hashes."""
    salted = pbkdf2_hmac("sha256", saslprep(password, stored=True).encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return Verifier(salt, iterations, sha256(client_key).digest(), server_key)


class ScramServer:
    """One exchange. `verifier_of` has an answer for every name, also of users there are not, so that the exchange
    does not tell who is one. `nonce`: random, printable ASCII without commas.

    BadCommand: not the form; AuthenticationFailed: not he."""

    def __init__(self, verifier_of: Callable[[str], Verifier], nonce: str) -> None:
        self.user = ""  # as sent, from `first` on
        self._verifier_of = verifier_of
        self._nonce = nonce.encode()
        self._gs2 = b""
        self._messages = b""  # client-first-message-bare and server-first-message

    def first(self, message: bytes) -> bytes:
        """The server's first message."""
        match = _match(_FIRST, message)
        if match["bind"].startswith(b"p="):
            raise AuthenticationFailed("Channel binding is not offered")
        user = _name(match["user"])
        if match["authzid"] is not None and not same_user(_name(match["authzid"]), user):
            raise AuthenticationFailed("Authentication failed")
        self.user = _text(user)
        self._verifier = self._verifier_of(self.user)
        self._gs2, self._nonce = match["gs2"], match["nonce"] + self._nonce
        answer = b"r=%b,s=%b,i=%d" % (
            self._nonce,
            b64encode(self._verifier.salt),
            self._verifier.iterations,
        )
        self._messages = match["bare"] + b"," + answer
        return answer

    def final(self, message: bytes) -> bytes:
        """The server's last message, which proves that it knows the user, too."""
        match = _match(_FINAL, message)
        signed = self._messages + b"," + match["bare"]
        # All is computed before anything is compared: time does not tell what was wrong.
        right = (
            _base64(match["bind"]) == self._gs2,
            hmac.compare_digest(match["nonce"], self._nonce),
            self._is_proof(_base64(match["proof"]), signed),
        )
        if not all(right):
            raise AuthenticationFailed("Authentication failed")
        return b"v=" + b64encode(hmac.digest(self._verifier.server_key, signed, "sha256"))

    def _is_proof(self, proof: bytes, signed: bytes) -> bool:
        signature = hmac.digest(self._verifier.stored_key, signed, "sha256")
        if len(proof) != len(signature):
            return False
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        return hmac.compare_digest(sha256(client_key).digest(), self._verifier.stored_key)


def _match(pattern: re.Pattern[bytes], message: bytes) -> re.Match[bytes]:
    match = pattern.fullmatch(message) if len(message) <= MESSAGE_OCTETS else None
    if match is None:
        raise BadCommand("Malformed SCRAM message")
    return match


def _name(text: bytes) -> bytes:
    """saslname: `=2C` is a comma, `=3D` the sign itself, and nothing else begins with one."""
    if any(found[1] is None for found in _ESCAPED.finditer(text)):
        raise BadCommand("Malformed SCRAM user name")
    return _ESCAPED.sub(lambda found: b"," if found[1] == b"2C" else b"=", text)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise BadCommand("Malformed SCRAM user name") from None


def _base64(text: bytes) -> bytes:
    try:
        return a2b_base64(text, strict_mode=True)
    except Base64Error:
        raise BadCommand("Malformed SCRAM message") from None
