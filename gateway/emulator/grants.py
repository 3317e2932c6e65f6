"""The OAuth 2.0 grants of the emulated Entra: from the fields of a token request to tokens or a refusal.

Refusals have Entra's shape (`AADSTSnnnnn: ...`), which msal reads field by field (contract section 1.6).
Lifetimes come from `world.limits`; there are no sockets here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.emulator.api import Caller, World
from gateway.emulator.tokens import (
    GRAPH_ID,
    AccessTokens,
    App,
    AuthCode,
    DeviceCode,
    Directory,
    Expiring,
    Session,
    Signer,
    User,
    b64,
    read_assertion,
)

DEFAULTS: Final[dict[str, float]] = {
    "access_token_seconds": 3900,
    "refresh_token_seconds": 90 * 86400,
    "refresh_grace_seconds": 3600,  # how long a refresh token lives after it was used; 0 = used once
    "device_code_seconds": 900,
    "device_interval_seconds": 1,
    "auth_code_seconds": 600,
}

Form = Mapping[str, str]
Answer = dict[str, object]

OIDC_SCOPES: Final = frozenset({"openid", "profile", "email", "offline_access"})
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRAPH_HOSTS: Final = frozenset(
    {"graph.microsoft.com", "graph.microsoft.us", "microsoftgraph.chinacloudapi.cn"}
)


class OAuthError(Exception):
    """A refusal: OAuth `error`, Entra's number and text, HTTP status, perhaps a `suberror`."""

    def __init__(self, error: str, number: int, text: str, status: int = 400, suberror: str = "") -> None:
        super().__init__(f"{error} {number}")
        self.error = error
        self.number = number
        self.text = text
        self.status = status
        self.suberror = suberror


class Entra:
    """All sign-in state of one emulator. `issuer` (per call) is the authority the client spoke to, and
    `graph_host` the host it takes for Graph."""

    def __init__(self, world: World, directory: Directory) -> None:
        self.world = world
        self.directory = directory
        self.signer = Signer()
        self.access = AccessTokens(world.clock, self.signer, directory)
        self._refresh: Expiring[Session] = Expiring(world.clock)
        self._codes: Expiring[AuthCode] = Expiring(world.clock, 1000)
        self._devices: Expiring[DeviceCode] = Expiring(world.clock, 1000)

    # -- token endpoint --

    def token(self, form: Form, issuer: str, graph_host: str) -> Answer:
        """Answer one token request; raises OAuthError."""
        grant = GRANTS.get(form.get("grant_type", ""))
        if grant is None:
            raise OAuthError("unsupported_grant_type", 70003, "The grant type is not supported.")
        return grant(self, form, self.app(form, issuer), Target(issuer, graph_host))

    def app(self, form: Form, issuer: str) -> App:
        """The application that asks, its credentials checked."""
        app = self.named_app(form.get("client_id", ""))
        if app.public:
            if "client_secret" in form or "client_assertion" in form:
                text = "Client is public so neither client_assertion nor client_secret should be presented."
                raise OAuthError("invalid_client", 700025, text, 401)
            return app
        if "client_assertion" in form:
            self._check_assertion(form, app)
        elif not form.get("client_secret"):
            text = "The request body must contain: 'client_assertion' or 'client_secret'."
            raise OAuthError("invalid_client", 7000218, text, 401)
        elif not app.secret_is(form["client_secret"]):
            raise OAuthError("invalid_client", 7000215, "Invalid client secret provided.", 401)
        return app

    def named_app(self, client_id: str) -> App:
        app = self.directory.apps.get(client_id)
        if app is None:
            text = "Application with the given identifier was not found in the directory."
            raise OAuthError("unauthorized_client", 700016, text)
        return app

    def _check_assertion(self, form: Form, app: App) -> None:
        claims = read_assertion(form["client_assertion"], app.certificates)
        now = self.world.clock.now()
        if claims is None or form.get("client_assertion_type") != ASSERTION_TYPE:
            text = "Client assertion failed signature validation."
            raise OAuthError("invalid_client", 700027, text, 401)
        if claims.get("iss") != app.client_id or claims.get("sub") != app.client_id:
            raise OAuthError(
                "invalid_client", 700021, "Client assertion application identifier is wrong.", 401
            )
        if not now - 300 < float(claims.get("exp", 0)) < now + 86400:
            raise OAuthError(
                "invalid_client", 700024, "Client assertion is not within its valid time range.", 401
            )

    # -- the grants --

    def by_client_credentials(self, form: Form, app: App, at: Target) -> Answer:
        if app.public:
            raise OAuthError("unauthorized_client", 7000218, "A public client has no credentials.", 401)
        wanted = form.get("scope", "").split()
        if len(wanted) != 1 or not wanted[0].endswith("/.default"):
            text = "The provided value for scope is not valid. It must be a resource with /.default suffixed."
            raise OAuthError("invalid_scope", 1002012, text)
        audience = self._audience(wanted[0].removesuffix("/.default"), at)
        seconds = self.world.limits["access_token_seconds"]
        token = self.access.issue(Caller(app.client_id, None, app.roles), at.issuer, audience, seconds)
        return {
            "token_type": "Bearer",
            "expires_in": int(seconds),
            "ext_expires_in": int(seconds),
            "access_token": token,
        }

    def by_password(self, form: Form, app: App, at: Target) -> Answer:
        user = self.directory.user(form.get("username", ""))
        if user is None:
            raise OAuthError("invalid_grant", 50034, "The user account does not exist in the directory.")
        if not hmac.compare_digest(user.password.encode(), form.get("password", "").encode()):
            text = "Error validating credentials due to invalid username or password."
            raise OAuthError("invalid_grant", 50126, text)
        return self._grant(app, user, form.get("scope", ""), at)

    def by_code(self, form: Form, app: App, at: Target) -> Answer:
        code = self._codes.pop(form.get("code", ""))
        if code is None or code.app is not app:
            raise OAuthError(
                "invalid_grant", 70008, "The provided authorization code has expired or is unknown."
            )
        if code.redirect != form.get("redirect_uri", code.redirect):
            raise OAuthError(
                "invalid_grant", 500112, "The reply address does not match the one of the request."
            )
        if not _proof_fits(code, form.get("code_verifier", "")):
            raise OAuthError("invalid_grant", 501481, "The Code_Verifier does not match the code_challenge.")
        return self._grant(app, code.user, code.scopes, at, nonce=code.nonce)

    def by_refresh_token(self, form: Form, app: App, at: Target) -> Answer:
        presented = form.get("refresh_token", "")
        session = self._refresh.get(presented)
        if session is None or session.client_id != app.client_id:
            text = "The refresh token has expired or is unknown."
            raise OAuthError("invalid_grant", 700082, text, suberror="bad_token")
        scope = form.get("scope") or " ".join(sorted(session.scopes))
        answer = self._grant(app, session.user, scope, at, renew=True)
        self._refresh.shorten(presented, self.world.limits["refresh_grace_seconds"])
        return answer

    def by_device_code(self, form: Form, app: App, at: Target) -> Answer:
        key = form.get("device_code") or form.get("code", "")
        device = self._devices.get(key)
        if device is None or device.app is not app:
            raise OAuthError("expired_token", 70020, "The provided device code has expired or is unknown.")
        self._pace(device)
        if device.decision == "decline":
            self._devices.pop(key)
            raise OAuthError(
                "authorization_declined", 70018, "The end user denied the authorization request."
            )
        if not device.decision or device.user is None:
            raise OAuthError("authorization_pending", 70016, "Authorization is pending. Continue polling.")
        self._devices.pop(key)
        return self._grant(app, device.user, device.scopes, at)

    def _pace(self, device: DeviceCode) -> None:
        """Polling faster than the interval is answered slow_down (RFC 8628 section 3.5)."""
        now = self.world.clock.now()
        early = now - device.polled < 0.8 * self.world.limits["device_interval_seconds"]
        device.polled = now
        if early and not device.decision:
            raise OAuthError("slow_down", 90100, "Polling is too frequent.")

    # -- sign-in by browser and by device --

    def start_device(self, form: Form) -> Answer:
        """Begin a device sign-in (RFC 8628); the user decides through `decide_device`."""
        app = self.named_app(form.get("client_id", ""))
        self._scopes(form.get("scope", ""), app)
        key = secrets.token_urlsafe(48)
        user_code = "".join(secrets.choice("BCDFGHJKLMNPQRSTVWXZ23456789") for _ in range(9))
        limits = self.world.limits
        self._devices.put(
            key, DeviceCode(app, form.get("scope", ""), user_code), limits["device_code_seconds"]
        )
        return {
            "user_code": user_code,
            "device_code": key,
            "expires_in": int(limits["device_code_seconds"]),
            "interval": int(limits["device_interval_seconds"]) or 1,
        }

    def decide_device(self, user_code: str, user: str, decision: str) -> bool:
        """The user typed the code and approved or declined; False if there is no such code or user."""
        person = self.directory.user(user)
        for device in self._devices.values():
            if device.user_code == user_code.strip().upper() and (person or decision == "decline"):
                device.user, device.decision = person, decision
                return True
        return False

    def pending_devices(self) -> list[str]:
        return [d.user_code for d in self._devices.values() if not d.decision]

    def authorize(self, form: Form, user: User) -> str:
        """The code for a user who agreed; raises OAuthError for a request that must not be redirected."""
        app = self.named_app(form.get("client_id", ""))
        code = secrets.token_urlsafe(48)
        grant = AuthCode(
            app=app,
            user=user,
            scopes=form.get("scope", ""),
            redirect=form.get("redirect_uri", ""),
            nonce=form.get("nonce", ""),
            challenge=form.get("code_challenge", ""),
            method=form.get("code_challenge_method", "plain"),
        )
        self._codes.put(code, grant, self.world.limits["auth_code_seconds"])
        return code

    def check_authorize(self, form: Form) -> None:
        """Refuse what may not come back to its redirect URI: unknown client, foreign URI, bad scope."""
        app = self.named_app(form.get("client_id", ""))
        redirect = form.get("redirect_uri", "")
        host = urlsplit(redirect).hostname
        if redirect not in app.redirects and host not in ("localhost", "127.0.0.1", "::1"):
            text = "The redirect URI specified in the request does not match those of the application."
            raise OAuthError("invalid_request", 50011, text)
        if "code" not in form.get("response_type", "").split():
            raise OAuthError("unsupported_response_type", 700054, "The response_type is not enabled.")
        self._scopes(form.get("scope", ""), app)

    # -- what all delegated grants share --

    def _grant(
        self, app: App, user: User, scope: str, at: Target, *, nonce: str = "", renew: bool = False
    ) -> Answer:
        scopes, resource = self._scopes(scope, app)
        seconds = self.world.limits["access_token_seconds"]
        audience = self._audience(resource, at)
        wanted = scope.split()
        answer: Answer = {
            "token_type": "Bearer",
            "scope": _echo(wanted, scopes, resource),
            "expires_in": int(seconds),
            "ext_expires_in": int(seconds),
            "access_token": self.access.issue(
                Caller(app.client_id, user.upn, scopes), at.issuer, audience, seconds
            ),
            "client_info": b64(json.dumps({"uid": user.oid, "utid": self.directory.tenant_id}).encode()),
        }
        if renew or "offline_access" in wanted:
            answer["refresh_token"] = token = secrets.token_urlsafe(64)
            session = Session(app.client_id, user, frozenset(wanted))
            self._refresh.put(token, session, self.world.limits["refresh_token_seconds"])
        if renew or "openid" in wanted:
            answer["id_token"] = self._id_token(app, user, at.issuer, nonce)
        return answer

    def _id_token(self, app: App, user: User, issuer: str, nonce: str) -> str:
        now = int(self.world.clock.now())
        claims: dict[str, Any] = {
            "aud": app.client_id,
            "iss": issuer,
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "name": user.upn.partition("@")[0].capitalize(),
            "oid": user.oid,
            "preferred_username": user.upn,
            "sub": b64(hashlib.sha256(f"{app.client_id} {user.oid}".encode()).digest()),
            "tid": self.directory.tenant_id,
            "ver": "2.0",
        }
        return self.signer.sign({**claims, "nonce": nonce} if nonce else claims)

    def _scopes(self, scope: str, app: App) -> tuple[frozenset[str], str]:
        """What a delegated scope string grants, and of which resource ("" = Graph, unnamed)."""
        names: set[str] = set()
        resource = ""
        for wanted in scope.split():
            if wanted in OIDC_SCOPES:
                continue
            prefix, _, name = wanted.rpartition("/")
            if prefix and resource not in ("", prefix):
                raise OAuthError("invalid_scope", 28000, "Scopes of more than one resource were asked for.")
            resource = prefix or resource
            names |= self._named_scope(name, app)
        return frozenset(names), resource

    @staticmethod
    def _named_scope(name: str, app: App) -> frozenset[str]:
        if name == ".default":
            return app.scopes
        match = frozenset(s for s in app.scopes if s.lower() == name.lower())
        if not match:
            raise OAuthError(
                "invalid_scope", 650053, f"The application asked for scope '{name}' that doesn't exist."
            )
        return match

    @staticmethod
    def _audience(resource: str, at: Target) -> str:
        host = urlsplit(resource).netloc or resource
        if host in ("", GRAPH_ID):
            return GRAPH_ID
        if host.lower() not in GRAPH_HOSTS | {at.graph_host.lower()} and not _loopback(resource):
            raise OAuthError(
                "invalid_resource", 500011, "The resource principal was not found in the tenant."
            )
        return resource


@dataclass(frozen=True, slots=True)
class Target:
    """Where a token request came to: the authority it used, the host Graph is reached by."""

    issuer: str
    graph_host: str


def _loopback(resource: str) -> bool:
    return urlsplit(resource).hostname in ("localhost", "127.0.0.1", "::1")


def _echo(wanted: list[str], scopes: frozenset[str], resource: str) -> str:
    """The `scope` field: what was asked, in the words it was asked in; all of it for `.default`."""
    if not any(w.endswith(".default") for w in wanted):
        return " ".join(wanted)
    prefix = f"{resource}/" if resource else ""
    return " ".join([*wanted, *(prefix + s for s in sorted(scopes))])


def _proof_fits(code: AuthCode, verifier: str) -> bool:
    """PKCE (RFC 7636 section 4.6)."""
    if not code.challenge:
        return not verifier or not code.app.public
    if code.method == "S256":
        digest = hashlib.sha256(verifier.encode()).digest()
        verifier = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return hmac.compare_digest(verifier.encode(), code.challenge.encode())


GRANTS: Final[dict[str, Callable[[Entra, Form, App, Target], Answer]]] = {
    "client_credentials": Entra.by_client_credentials,
    "password": Entra.by_password,
    "authorization_code": Entra.by_code,
    "refresh_token": Entra.by_refresh_token,
    "urn:ietf:params:oauth:grant-type:device_code": Entra.by_device_code,
    "device_code": Entra.by_device_code,
}
