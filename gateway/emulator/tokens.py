"""Tokens of the emulated Entra: who may ask (applications, users), what they get (signed JWTs), until when.

Access tokens are looked up, not parsed: a token that was not issued here, has expired or was revoked is no
token. Signatures are real all the same, so that a client that validates them can (contract section 1.6).
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import secrets
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway.emulator.api import Caller, Clock

GRAPH_ID: Final = "00000003-0000-0000-c000-000000000000"
NAMESPACE: Final = uuid.UUID("5f0f6c1e-8c0b-4d57-9f0b-0a4c5f3e2d10")
MAX_LIVE: Final = 20_000

APP_ROLES: Final = frozenset(
    [
        "Mail.Read",
        "Mail.ReadBasic.All",
        "Mail.ReadWrite",
        "Mail.Send",
        "MailboxSettings.Read",
        "MailboxSettings.ReadWrite",
        "User.Read.All",
        "MailboxItem.ImportExport.All",
    ]
)
DELEGATED_SCOPES: Final = frozenset(
    [
        "Mail.Read",
        "Mail.ReadBasic",
        "Mail.ReadWrite",
        "Mail.Send",
        "Mail.Read.Shared",
        "Mail.ReadWrite.Shared",
        "Mail.Send.Shared",
        "MailboxSettings.Read",
        "MailboxSettings.ReadWrite",
        "User.Read",
        "User.ReadBasic.All",
        "MailboxItem.ImportExport",
    ]
)


def stable_id(name: str) -> str:
    """The GUID that stands for `name` in every run."""
    return str(uuid.uuid5(NAMESPACE, name.lower()))


@dataclass(slots=True)
class App:
    """An application registration. `secret` None = a public client."""

    client_id: str
    secret: str | None = None
    roles: frozenset[str] = APP_ROLES
    scopes: frozenset[str] = DELEGATED_SCOPES
    certificates: list[x509.Certificate] = field(default_factory=list)
    redirects: tuple[str, ...] = ()

    @property
    def public(self) -> bool:
        return self.secret is None and not self.certificates

    def secret_is(self, given: str) -> bool:
        return self.secret is not None and hmac.compare_digest(self.secret.encode(), given.encode())


@dataclass(frozen=True, slots=True)
class User:
    """A user who can sign in. `oid` is the GUID Graph knows the user by."""

    upn: str
    oid: str
    password: str = "demo"  # noqa: S105  (the emulator's well-known password)


@dataclass(slots=True)
class Directory:
    """One tenant: its id, its domains, who is in it, which applications are registered."""

    tenant_id: str
    users: dict[str, User]
    apps: dict[str, App]

    def user(self, name: str) -> User | None:
        """By user principal name (any case) or GUID."""
        wanted = name.strip().lower()
        return self.users.get(wanted) or next((u for u in self.users.values() if u.oid == wanted), None)

    def knows_tenant(self, name: str) -> bool:
        """True unless `name` is the GUID or the domain of somebody else."""
        wanted = name.lower()
        if wanted == self.tenant_id:
            return True
        if "." in wanted:
            return wanted in {u.upn.rpartition("@")[2].lower() for u in self.users.values()}
        return len(wanted) <= 64 and not _is_guid(wanted)


def _is_guid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@functools.cache
def _signing_key() -> rsa.RSAPrivateKey:
    """One key for the life of the process: making one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Signer:
    """RS256 under the key of this process."""

    def __init__(self) -> None:
        self._key = _signing_key()
        numbers = self._key.public_key().public_numbers()
        self._n = b64(numbers.n.to_bytes(256, "big"))
        self.kid = b64(hashlib.sha256(self._n.encode()).digest())[:27]

    def sign(self, claims: Mapping[str, object]) -> str:
        header = {"typ": "JWT", "alg": "RS256", "kid": self.kid}
        signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        return f"{signed}.{b64(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def jwks(self) -> dict[str, object]:
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": self._n, "e": "AQAB"}
        return {"keys": [key]}


def read_assertion(token: str, certificates: Iterable[x509.Certificate]) -> dict[str, Any] | None:
    """The claims of a client assertion (RFC 7523) signed with RS256 or PS256 by one of the certificates,
    or None. Times and audience are the caller's to check."""
    try:
        signed, _, signature = token.rpartition(".")
        header, _, claims = signed.partition(".")
        algorithm = json.loads(unb64(header))["alg"]
        for certificate in certificates:
            if _signed_by(certificate, algorithm, signed.encode(), unb64(signature)):
                return dict(json.loads(unb64(claims)))
    except (ValueError, KeyError, TypeError):
        return None
    return None


def _signed_by(certificate: x509.Certificate, algorithm: str, signed: bytes, signature: bytes) -> bool:
    key = certificate.public_key()
    pads: dict[str, padding.AsymmetricPadding] = {
        "RS256": padding.PKCS1v15(),
        "PS256": padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH),
    }
    pad = pads.get(algorithm)
    if pad is None or not isinstance(key, rsa.RSAPublicKey):
        return False
    try:
        key.verify(signature, signed, pad, hashes.SHA256())
    except InvalidSignature:
        return False
    return True


V = TypeVar("V")


class Expiring(Generic[V]):
    """Values under keys, each until its time; the oldest goes when the table is full."""

    def __init__(self, clock: Clock, limit: int = MAX_LIVE) -> None:
        self._clock = clock
        self._limit = limit
        self._rows: OrderedDict[str, tuple[float, V]] = OrderedDict()

    def put(self, key: str, value: V, seconds: float) -> None:
        if len(self._rows) >= self._limit:
            self._rows.popitem(last=False)
        self._rows[key] = (self._clock.now() + seconds, value)

    def get(self, key: str) -> V | None:
        row = self._rows.get(key)
        return row[1] if row is not None and self._clock.now() < row[0] else None

    def pop(self, key: str) -> V | None:
        value = self.get(key)
        self._rows.pop(key, None)
        return value

    def shorten(self, key: str, seconds: float) -> None:
        """Let a value live for `seconds` more at most."""
        row = self._rows.get(key)
        if row is not None:
            self._rows[key] = (min(row[0], self._clock.now() + seconds), row[1])

    def values(self) -> list[V]:
        now = self._clock.now()
        return [value for until, value in self._rows.values() if now < until]

    def clear(self) -> int:
        count = len(self.values())
        self._rows.clear()
        return count


@dataclass(frozen=True, slots=True)
class Session:
    """What a user granted an application: the content of a refresh token."""

    client_id: str
    user: User
    scopes: frozenset[str]


@dataclass(slots=True)
class DeviceCode:
    """A device sign-in under way. `decision` is "" until the user said approve or decline."""

    app: App
    scopes: str
    user_code: str
    decision: str = ""
    user: User | None = None
    polled: float = field(default=float("-inf"))


@dataclass(frozen=True, slots=True)
class AuthCode:
    """What an authorization code stands for; used once."""

    app: App
    user: User
    scopes: str
    redirect: str
    nonce: str
    challenge: str
    method: str


class AccessTokens:
    """Issues access tokens and knows whom a presented one speaks for."""

    def __init__(self, clock: Clock, signer: Signer, directory: Directory) -> None:
        self._clock = clock
        self._signer = signer
        self._directory = directory
        self._live: Expiring[Caller] = Expiring(clock)
        self.claims_wanted = False

    def issue(self, caller: Caller, issuer: str, audience: str, seconds: float) -> str:
        token = self._signer.sign(self._claims(caller, issuer, audience, seconds))
        self._live.put(token, caller, seconds)
        self.claims_wanted = False
        return token

    def caller(self, token: str) -> Caller | None:
        return self._live.get(token)

    def revoke(self, token: str) -> None:
        """This one is worth nothing from now on."""
        self._live.pop(token)

    def expire(self) -> int:
        """Revoke every token issued so far; how many there were."""
        return self._live.clear()

    def _claims(self, caller: Caller, issuer: str, audience: str, seconds: float) -> dict[str, object]:
        now = int(self._clock.now())
        claims: dict[str, object] = {
            "aud": audience,
            "iss": issuer,
            "iat": now,
            "nbf": now,
            "exp": now + int(seconds),
            "appid": caller.app_id,
            "tid": self._directory.tenant_id,
            "uti": secrets.token_urlsafe(16),
            "ver": "1.0",
        }
        user = self._directory.user(caller.user) if caller.user else None
        if user is None:
            return {**claims, "idtyp": "app", "oid": stable_id(caller.app_id), "roles": sorted(caller.scopes)}
        return {
            **claims,
            "idtyp": "user",
            "oid": user.oid,
            "upn": user.upn,
            "scp": " ".join(sorted(caller.scopes)),
        }
