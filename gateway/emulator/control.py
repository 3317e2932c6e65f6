"""The control API under `/_emulator/`: what tests do behind the gateway's back, and what they look at.

No token; shapes are fixed. Wrong input is a 400 or 404 with {"error": text}. Nothing here is logged or
limited by the throttle, and a body may have up to 200 MB.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from cryptography import x509
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.emulator.api import Model
from gateway.emulator.errors import GraphError
from gateway.emulator.faults import Faults, parse_fault
from gateway.emulator.grants import Entra
from gateway.emulator.ids import MalformedIdError
from gateway.emulator.journal import Journal
from gateway.emulator.rules import RULES
from gateway.emulator.tokens import App

MAX_BODY: Final = 200 * 1024 * 1024
PREFIX: Final = "/_emulator"

Endpoint = Callable[[Request], Awaitable[object]]


class RefusedError(Exception):
    """Wrong input: HTTP status and a text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Control:
    """The control routes of one emulator."""

    def __init__(self, model: Model, journal: Journal, faults: Faults, entra: Entra) -> None:
        self._model = model
        self._world = model.world
        self._journal = journal
        self._faults = faults
        self._entra = entra

    def routes(self) -> list[Route]:
        message = "/users/{upn}/messages/{id}"
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/log", self.log),
            ("DELETE", "/log", self.clear_log),
            ("GET", "/users", self.users),
            ("GET", "/users/{upn}/folders", self.folders),
            ("GET", "/users/{upn}/messages", self.messages),
            ("POST", "/users/{upn}/messages", self.deliver),
            ("PATCH", message, self.patch),
            ("DELETE", message, self.delete),
            ("POST", message + "/move", self.move),
            ("GET", "/outside", self.outside),
            ("POST", "/rights", self.grant),
            ("GET", "/rules", self.rules),
            ("POST", "/rules", self.set_rules),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("GET", "/limits", self.limits),
            ("POST", "/limits", self.set_limits),
            ("POST", "/tokens/expire", self.expire_tokens),
            ("POST", "/delta/expire", self.expire_delta),
            ("GET", "/devicecode", self.pending_devices),
            ("POST", "/devicecode", self.decide_device),
            ("POST", "/apps", self.register_app),
        ]
        return [Route(PREFIX + path, guarded(run), methods=[method]) for method, path, run in table]

    # -- the log --

    async def log(self, request: Request) -> object:
        return self._journal.as_json()

    async def clear_log(self, request: Request) -> object:
        self._journal.clear()
        return None

    # -- mail, as Outlook or the Internet would --

    async def users(self, request: Request) -> object:
        return {"users": self._model.users()}

    async def grant(self, request: Request) -> object:
        """{"right", "owner", "delegate"}: see `Model.grant`."""
        asked = await json_of(request)
        self._model.grant(str(asked.get("right")), str(asked.get("owner")), str(asked.get("delegate")))
        return None

    async def folders(self, request: Request) -> object:
        """A list of folders."""
        return self._model.outlook_folders(self._upn(request))

    async def messages(self, request: Request) -> object:
        """A list of every message (`?folder=` one folder's), as `Model.listing` has it."""
        return self._model.listing(self._upn(request), request.query_params.get("folder"))

    async def deliver(self, request: Request) -> object:
        """Raw MIME into a folder (`?folder=inbox`), received now or at `?received=` (ISO or seconds)."""
        mime = await _body(request)
        if not mime:
            raise RefusedError(400, "the body must be a raw message")
        folder = request.query_params.get("folder") or "inbox"
        received = _instant(request.query_params.get("received"))
        return {"id": self._model.deliver(self._upn(request), folder, mime, received=received)}

    async def patch(self, request: Request) -> object:
        self._model.outlook_patch(self._upn(request), request.path_params["id"], await json_of(request))
        return None

    async def delete(self, request: Request) -> object:
        self._model.outlook_delete(self._upn(request), request.path_params["id"])
        return None

    async def move(self, request: Request) -> object:
        source = await json_of(request)
        folder = source.get("destinationId") or source.get("folder")
        if not isinstance(folder, str):
            raise RefusedError(400, "destinationId is missing")
        self._model.outlook_move(self._upn(request), request.path_params["id"], folder)
        return None

    async def outside(self, request: Request) -> object:
        """Mail sent to addresses that are nobody's here, if the model keeps it."""
        return [_plain(mail) for mail in getattr(self._model, "outside", ())]

    # -- switches --

    async def rules(self, request: Request) -> object:
        return dict(self._world.rules.states)

    async def set_rules(self, request: Request) -> object:
        wanted = await json_of(request)
        for name, on in wanted.items():
            if name not in RULES or not isinstance(on, bool):
                raise RefusedError(400, f"no such rule, or not true or false: {name}")
        for name, on in wanted.items():
            self._world.rules.set(name, on)
        return dict(self._world.rules.states)

    async def faults(self, request: Request) -> object:
        return {"faults": self._faults.describe()}

    async def add_fault(self, request: Request) -> object:
        self._faults.add(parse_fault(await json_of(request)))
        return {"faults": self._faults.describe()}

    async def clear_faults(self, request: Request) -> object:
        return {"cleared": self._faults.clear()}

    async def limits(self, request: Request) -> object:
        return dict(self._world.limits)

    async def set_limits(self, request: Request) -> object:
        wanted = await json_of(request)
        for name, value in wanted.items():
            if (
                name not in self._world.limits
                or isinstance(value, bool)
                or not isinstance(value, int | float)
            ):
                raise RefusedError(400, f"no such limit, or no number: {name}")
        self._world.limits.update(wanted)
        return dict(self._world.limits)

    # -- tokens --

    async def expire_tokens(self, request: Request) -> object:
        """Every access token is a 401 from now on, with {"claims": true} one with a claims challenge."""
        wanted = await json_of(request) if (await _body(request)).strip() else {}
        count = self._entra.access.expire()
        self._entra.access.claims_wanted = bool(wanted.get("claims"))
        return {"expired": count}

    async def expire_delta(self, request: Request) -> object:
        return {"expired": self._model.expire_delta()}

    async def pending_devices(self, request: Request) -> object:
        return {"user_codes": self._entra.pending_devices()}

    async def decide_device(self, request: Request) -> object:
        source = await json_of(request)
        decision = source.get("decision", "approve")
        if decision not in ("approve", "decline"):
            raise RefusedError(400, "decision must be approve or decline")
        code, user = str(source.get("user_code", "")), str(source.get("user", ""))
        if not self._entra.decide_device(code, user, decision):
            raise RefusedError(404, "no such user_code or user")
        return None

    async def register_app(self, request: Request) -> object:
        """{"client_id", "secret"?, "certificate"? (PEM), "roles"?, "scopes"?, "redirects"?}"""
        source = await json_of(request)
        app = App(str(source.get("client_id", "")), source.get("secret"))
        if not app.client_id:
            raise RefusedError(400, "client_id is missing")
        if certificate := source.get("certificate"):
            app.certificates.append(x509.load_pem_x509_certificate(str(certificate).encode()))
        app.roles = frozenset(source.get("roles", app.roles))
        app.scopes = frozenset(source.get("scopes", app.scopes))
        app.redirects = tuple(source.get("redirects", ()))
        self._entra.directory.apps[app.client_id] = app
        return None

    def _upn(self, request: Request) -> str:
        wanted = str(request.path_params["upn"]).lower()
        for upn in self._model.users():
            if upn.lower() == wanted:
                return upn
        raise RefusedError(404, "no such user")


def guarded(run: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """JSON out; 204 for None; refusals as they say, the model's lookup errors as 404, bad values as 400."""

    async def endpoint(request: Request) -> Response:
        try:
            value = await run(request)
        except RefusedError as error:
            return _reply({"error": error.text}, error.status)
        except GraphError as error:
            return _reply({"error": f"{error.code}: {error.text}"}, error.status)
        except (LookupError, MalformedIdError) as error:
            return _reply({"error": f"not found: {error}"}, 404)
        except (ValueError, TypeError) as error:
            return _reply({"error": str(error)}, 400)
        return Response(status_code=204) if value is None else _reply(value, 200)

    return endpoint


def _reply(value: object, status: int) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _body(request: Request) -> bytes:
    """The body, once read kept with the request."""
    kept: bytes | None = getattr(request.state, "body", None)
    if kept is not None:
        return kept
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise RefusedError(413, "more than 200 MB")
        chunks.append(chunk)
    request.state.body = body = b"".join(chunks)
    return body


async def json_of(request: Request) -> dict[str, Any]:
    value = json.loads(await _body(request))
    if not isinstance(value, dict):
        raise RefusedError(400, "the body must be a JSON object")
    return value


def _instant(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC).timestamp()


def _plain(value: object) -> object:
    """A record of the model as JSON can say it."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
