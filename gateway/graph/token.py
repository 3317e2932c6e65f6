"""Access tokens: app-only or delegated, through msal, off the event loop (contract section 1.6).

msal blocks, so it runs in a small thread pool; a token is kept in memory until shortly before it expires, and
however many calls want a new one, one sign-in runs. msal itself remembers a refusal for a minute, which keeps
a wrong secret from becoming a storm. Failures carry the AADSTS number, never msal's text:
that may name users and tenants.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from gateway.graph.clock import Clock, SystemClock
from gateway.graph.errors import SignInFailed, Unreachable
from gateway.graph.msalhttp import MsalHttp
from gateway.graph.seal import Sealed

MARGIN = 300.0  # seconds before expiry at which a token counts as old; msal has the same margin
THREADS = 4
KNOWN_LOGIN_HOSTS = frozenset(
    {
        "login.microsoftonline.com",
        "login.microsoftonline.us",
        "login.chinacloudapi.cn",
        "login.partner.microsoftonline.cn",
        "login.microsoftonline.de",
    }
)
DELEGATED = ("Mail.ReadWrite", "Mail.Send")  # what is used, no more: each needs consent
SEND_AS = ("Mail.Send.Shared",)  # for who sends as others (contract section 1.3)
SHARED = ("Mail.ReadWrite.Shared", *SEND_AS)  # for a mailbox that is not of who signs in
_AADSTS = re.compile(r"AADSTS\d{3,8}")
_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="msal")


class TokenSource(Protocol):
    async def token(self, *, claims: str | None = None, force: bool = False) -> str:
        """A bearer token that is valid now. `force`: the last one was refused, get another; `claims`: the
        claims challenge (JSON) that came with the refusal. SignInFailed, Unreachable.
        """
        ...


def _resource(base_url: str) -> str:
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}"


def app_scopes(base_url: str) -> list[str]:
    """The scope of client credentials for the Graph at `base_url` (contract section 1.1)."""
    return [f"{_resource(base_url)}/.default"]


def delegated_scopes(base_url: str, permissions: Sequence[str] = DELEGATED) -> list[str]:
    """Named permissions of the Graph at `base_url`; msal adds `offline_access` itself."""
    return [f"{_resource(base_url)}/{name}" for name in permissions]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """How to sign in. `credential` is a secret, or msal's certificate dict (`private_key` and `thumbprint` or
    `public_certificate`, or `private_key_pfx_path` and `passphrase`); None: a public client (delegated).

    `username` picks the account of a delegated cache; None takes the only one there is.
    """

    authority: str
    client_id: str
    scopes: tuple[str, ...]
    credential: str | Mapping[str, str] | None = None
    username: str | None = None
    ca_file: str | Path | None = None
    transport: httpx.BaseTransport | None = None

    def discover_instance(self) -> bool:
        """Microsoft's own hosts are known to msal; it must not ask Microsoft about any other."""
        return (urlsplit(self.authority).hostname or "") in KNOWN_LOGIN_HOSTS


@dataclass(frozen=True, slots=True)
class _Held:
    token: str
    expires: float  # clock time


class MsalTokens:
    """A TokenSource over msal. `sealed` keeps the cache of a delegated sign-in; app-only needs none."""

    def __init__(self, sign_in: SignIn, *, sealed: Sealed | None = None, clock: Clock | None = None) -> None:
        self._desk = _Desk(sign_in, sealed)
        self._clock = clock or SystemClock()
        self._held: _Held | None = None
        self._flight: asyncio.Task[str] | None = None

    async def token(self, *, claims: str | None = None, force: bool = False) -> str:
        held = self._held
        if held is not None and not force and self._clock.monotonic() < held.expires:
            return held.token
        if self._flight is None or self._flight.done():
            self._flight = asyncio.get_running_loop().create_task(self._renew(claims, force))
            self._flight.add_done_callback(_look)
        # Shielded: the one who gives up must not take the others' sign-in along.
        return await asyncio.shield(self._flight)

    async def _renew(self, claims: str | None, force: bool) -> str:
        began = self._clock.monotonic()
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(_pool, partial(self._desk.acquire, claims, force))
        token, lifetime = _token_of(answer)
        self._held = _Held(token, began + max(lifetime - MARGIN, lifetime / 2))
        return token


def _look(flight: asyncio.Task[str]) -> None:
    """Nobody may be left to see the failure; that alone is no reason for a warning."""
    if not flight.cancelled():
        flight.exception()


def _token_of(answer: Mapping[str, Any] | None) -> tuple[str, float]:
    """Token and its lifetime in seconds, from msal's answer dict; SignInFailed from its error dict."""
    if answer is None:
        raise SignInFailed("no stored sign-in; sign in again", code="NotSignedIn")
    if "access_token" in answer:
        return str(answer["access_token"]), float(answer.get("expires_in") or 0)
    raise SignInFailed("sign-in refused", code=_code_of(answer))


def _code_of(answer: Mapping[str, Any]) -> str:
    """`AADSTS50076`, or the OAuth error word where there is no number."""
    if codes := answer.get("error_codes"):
        return f"AADSTS{int(codes[0])}"
    if number := _AADSTS.search(str(answer.get("error_description", ""))):
        return number[0]
    return re.sub(r"[^\w.-]", "", str(answer.get("error", "")))[:40] or "unknown"


class _Desk:
    """The blocking half: one msal application, used by one thread at a time."""

    def __init__(self, sign_in: SignIn, sealed: Sealed | None) -> None:
        self._sign_in = sign_in
        self._sealed = sealed
        self._cache: Any = None
        self._app: Any = None
        self._opened: bytes | None = None  # what the cache was last read from
        self._lock = threading.Lock()

    def acquire(self, claims: str | None, force: bool) -> Mapping[str, Any] | None:
        with self._lock, _network_errors():
            app = self._application()
            self._open_cache()  # a person may have signed in, in another process, since
            ask = self._for_user if self._sign_in.credential is None else self._for_app
            answer = ask(app, claims, force)
            self._keep()
            return answer

    def begin_device_flow(self) -> dict[str, Any]:
        with self._lock, _network_errors():
            flow: dict[str, Any] = self._application().initiate_device_flow(list(self._sign_in.scopes))
        if "user_code" not in flow:
            raise SignInFailed("device sign-in refused", code=_code_of(flow))
        return flow

    def finish_device_flow(self, flow: dict[str, Any]) -> str:
        """Blocks until the user has signed in; his name. Aborted by `flow["expires_at"] = 0`."""
        with self._lock, _network_errors():
            answer = self._application().acquire_token_by_device_flow(flow)
            _token_of(answer)
            self._keep()
        return str(answer.get("id_token_claims", {}).get("preferred_username", ""))

    def _application(self) -> Any:
        """Made at first use: msal asks the authority for its endpoints right away. Nor is msal itself, which takes its
        time to import, what a start must wait for."""
        if self._app is None:
            import msal

            self._cache = msal.SerializableTokenCache()
            options: dict[str, Any] = {
                "authority": self._sign_in.authority,
                "instance_discovery": self._sign_in.discover_instance(),
                "http_client": MsalHttp(self._sign_in.ca_file, self._sign_in.transport),
                "token_cache": self._cache,
                "client_capabilities": ["CP1"],  # we answer claims challenges
            }
            if self._sign_in.credential is None:
                self._app = msal.PublicClientApplication(self._sign_in.client_id, **options)
            else:
                options["client_credential"] = self._sign_in.credential
                self._app = msal.ConfidentialClientApplication(self._sign_in.client_id, **options)
        return self._app

    def _open_cache(self) -> None:
        if self._sealed is None:
            return
        try:
            stored = self._sealed.load()
        except ValueError as error:
            raise SignInFailed(str(error), code="CacheUnreadable") from None
        if stored and stored != self._opened:
            self._cache.deserialize(stored.decode())
            self._opened = stored

    def _keep(self) -> None:
        if self._sealed is not None and self._cache.has_state_changed:
            self._opened = self._cache.serialize().encode()
            self._sealed.save(self._opened)

    def _for_app(self, app: Any, claims: str | None, force: bool) -> Mapping[str, Any]:
        if force and not claims:
            app.remove_tokens_for_client()
        answer: Mapping[str, Any] = app.acquire_token_for_client(
            list(self._sign_in.scopes), claims_challenge=claims
        )
        return answer

    def _for_user(self, app: Any, claims: str | None, force: bool) -> Mapping[str, Any] | None:
        accounts = app.get_accounts(self._sign_in.username)
        if not accounts:
            return None
        answer: Mapping[str, Any] | None = app.acquire_token_silent_with_error(
            list(self._sign_in.scopes), accounts[0], force_refresh=force, claims_challenge=claims
        )
        return answer


class _network_errors:  # noqa: N801  (a context manager, used like a function)
    """msal lets transport errors through, and raises ValueError where the authority's discovery fails."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None:
            return
        from msal.exceptions import MsalError

        if isinstance(error, httpx.TransportError):
            raise Unreachable("the sign-in service does not answer", code=type(error).__name__) from None
        if isinstance(error, (httpx.HTTPStatusError, MsalError)):
            raise Unreachable("the sign-in service failed", code=type(error).__name__) from None
        if isinstance(error, json.JSONDecodeError):
            raise Unreachable("the sign-in service's answer could not be read") from None
        if isinstance(error, ValueError):
            raise SignInFailed("the authority's configuration was not accepted", code="Authority") from None


@dataclass(frozen=True, slots=True)
class DevicePrompt:
    """What the user must do: open `url` and enter `code` within `expires_in` seconds."""

    url: str
    code: str
    expires_in: float


@dataclass(frozen=True, slots=True)
class SignedIn:
    username: str


async def device_login(sign_in: SignIn, sealed: Sealed) -> AsyncIterator[DevicePrompt | SignedIn]:
    """Device code flow: yields one DevicePrompt, then, when the user is done, one SignedIn; the sign-in is
    then kept in `sealed`. SignInFailed (refused, expired). Closing the generator ends the polling.
    """
    loop = asyncio.get_running_loop()
    desk = _Desk(sign_in, sealed)
    flow = await loop.run_in_executor(_pool, desk.begin_device_flow)
    yield DevicePrompt(flow["verification_uri"], flow["user_code"], float(flow.get("expires_in", 0)))
    polling = loop.run_in_executor(_pool, desk.finish_device_flow, flow)
    try:
        yield SignedIn(await asyncio.shield(polling))
    finally:
        if not polling.done():
            flow["expires_at"] = 0  # msal's own way to be told to stop
            with suppress(Exception):
                await polling


def new_sealed_file(path: Path, key: bytes, name: str) -> Sealed:
    """A sealed cache in a file of its owner's, replaced as a whole at each save."""
    return Sealed(key, name, partial(_read, path), partial(_replace, path))


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600, exist_ok=True)
    fresh.write_bytes(content)
    fresh.replace(path)
