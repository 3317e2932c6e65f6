"""Route 36, `/subscriptions`: who is told of changes, where, and until when (contract section 13).

Rich notifications (`includeResourceData`) and `$filter` in a resource are not emulated: 501. Error codes are the
contract's guesses: `ValidationError` for a failed handshake, `InvalidRequest` for the rest.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from gateway.emulator import times
from gateway.emulator.api import Caller, Model, Request, Response
from gateway.emulator.callbacks import Callbacks
from gateway.emulator.errors import GraphError, bad_body, json_response, unknown_segment, wrong_method
from gateway.emulator.folder import Folder
from gateway.emulator.items import Item
from gateway.emulator.jsonin import need_json
from gateway.emulator.limits import limit
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.odata import parse_prefer
from gateway.emulator.routes import segments

CHANGES: Final = frozenset({"created", "updated", "deleted"})
CLIENT_STATE_CHARS: Final = 128
_KEYS: Final = {
    key.lower(): key
    for key in (
        "changeType", "notificationUrl", "lifecycleNotificationUrl", "resource", "expirationDateTime",
        "clientState", "includeResourceData", "encryptionCertificate", "encryptionCertificateId",
        "latestSupportedTlsVersion",
    )
}  # fmt: skip
_RICH: Final = ("includeResourceData", "encryptionCertificate", "encryptionCertificateId")
TOKEN: Final = "Validation: Testing client application reachability for subscription Request-Id: "  # noqa: S105

R = TypeVar("R")
Heard = Callable[["Subscription", Folder, Item, int], None]


@dataclass(slots=True)
class Subscription:
    """One subscription. `folder` None is the whole mailbox; `renewed` and `expires` are seconds since 1970."""

    id: str
    app: str
    user: str | None
    box: Mailbox
    folder: int | None
    resource: str
    changes: frozenset[str]
    url: str
    lifecycle_url: str | None
    client_state: str | None
    immutable: bool
    renewed: float
    expires: float
    told: bool = False  # that it wants to be authorised again

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "resource": self.resource,
            "applicationId": self.app,
            "changeType": ",".join(sorted(self.changes)),
            "clientState": self.client_state,
            "notificationUrl": self.url,
            "lifecycleNotificationUrl": self.lifecycle_url,
            "expirationDateTime": times.iso(int(self.expires)),
            "creatorId": self.app if self.user is None else self.user,
            "includeResourceData": None,
            "latestSupportedTlsVersion": "v1_2",
            "encryptionCertificate": None,
            "encryptionCertificateId": None,
        }


def invalid(text: str, code: str = "InvalidRequest") -> GraphError:
    return GraphError(400, code, text)


class Subscriptions:
    """All subscriptions of the tenant; `heard` is called, at once, for every change one of them is about."""

    def __init__(self, model: Model, callbacks: Callbacks, heard: Heard) -> None:
        self._model = model
        self._world = model.world
        self._callbacks = callbacks
        self._heard = heard
        self._all: dict[str, Subscription] = {}

    # -- routes --

    async def handle(self, request: Request) -> Response:
        """Answer one call; every refusal is an answer."""
        try:
            return await self._dispatch(request, segments(request.path)[1:])
        except GraphError as error:
            return error.response()

    async def _dispatch(self, request: Request, below: list[str]) -> Response:
        if len(below) > 2 or (len(below) == 2 and below[1].lower() != "reauthorize"):
            raise unknown_segment(below[-1])
        if not below and request.method == "POST":
            return await self._create(request)
        if not below:
            return _known({"GET": self._list}.get(request.method))(request)
        found = self._named(request.caller, below[0])
        table = _ONE if len(below) == 1 else _REAUTHORIZE
        return _known(table.get(request.method))(self, request, found)

    async def _create(self, request: Request) -> Response:
        values = _body(request)
        box, folder = self._place(request.caller, values)
        made = Subscription(
            id=self._guid(), app=request.caller.app_id, user=request.caller.user, box=box, folder=folder,
            resource=values["resource"], changes=_changes(values), url=self._url(values, "notificationUrl"),
            lifecycle_url=self._url(values, "lifecycleNotificationUrl", optional=True),
            client_state=_client_state(values), immutable=parse_prefer(request.headers.get("prefer", "")).immutable,
            renewed=self._world.clock.now(), expires=self._expiry(values),
        )  # fmt: skip
        if made.lifecycle_url and urlsplit(made.lifecycle_url).hostname != urlsplit(made.url).hostname:
            raise invalid("lifecycleNotificationUrl and notificationUrl must have the same host.")
        if sum(each.box is box for each in self.active()) >= limit(self._world, "subscriptions"):
            raise GraphError(403, "ExtensionError", "The mailbox has too many active subscriptions.")
        await self._validate(made)
        self._all[made.id] = made
        box.heard = self._changed
        out = {"@odata.context": f"{request.base}/$metadata#subscriptions/$entity", **made.as_json()}
        return json_response(201, out)

    def _list(self, request: Request) -> Response:
        mine = [each.as_json() for each in self.active() if _owns(request.caller, each)]
        return json_response(
            200, {"@odata.context": f"{request.base}/$metadata#subscriptions", "value": mine}
        )

    def _get(self, _request: Request, found: Subscription) -> Response:
        return json_response(200, found.as_json())

    def _patch(self, request: Request, found: Subscription) -> Response:
        """Renews, and authorises again."""
        values = _body(request)
        if set(values) != {"expirationDateTime"}:
            raise invalid("Only expirationDateTime can be changed.")
        found.expires = self._expiry(values)
        self._authorised(found)
        return json_response(200, found.as_json())

    def _delete(self, _request: Request, found: Subscription) -> Response:
        self.remove(found)
        return Response(204)

    def _reauthorize(self, _request: Request, found: Subscription) -> Response:
        self._authorised(found)
        return Response(204)

    def _authorised(self, found: Subscription) -> None:
        found.renewed, found.told = self._world.clock.now(), False

    # -- what there is --

    def active(self) -> list[Subscription]:
        """Those that have not expired; the others are forgotten."""
        now = self._world.clock.now()
        for dead in [each for each in self._all.values() if each.expires <= now]:
            self.remove(dead)
        return list(self._all.values())

    def remove(self, found: Subscription) -> None:
        self._all.pop(found.id, None)
        if not any(each.box is found.box for each in self._all.values()):
            found.box.heard = None

    def named(self, name: str) -> Subscription | None:
        return next((each for each in self.active() if each.id == name), None)

    def _named(self, caller: Caller, name: str) -> Subscription:
        found = self.named(name)
        if found is None or not _owns(caller, found):
            raise GraphError(404, "ResourceNotFound", "The object was not found.")
        return found

    def _changed(self, box: Mailbox, folder: Folder, item: Item, mask: int) -> None:
        for each in self._about(box, folder):
            self._heard(each, folder, item, mask)

    def _about(self, box: Mailbox, folder: Folder) -> Iterator[Subscription]:
        for each in self.active():
            if each.box is box and each.folder in (None, folder.number):
                yield each

    # -- what a body may say --

    def _guid(self) -> str:
        return str(uuid.UUID(int=self._world.rng.getrandbits(128), version=4))

    def _place(self, caller: Caller, values: dict[str, Any]) -> tuple[Mailbox, int | None]:
        resource = values.get("resource")
        if not isinstance(resource, str) or not resource:
            raise invalid("resource is missing.")
        if any(values.get(key) for key in _RICH) or "?" in resource:
            raise GraphError(501, "NotImplemented", "The emulator offers plain notifications only.")
        return self._model.subscribable(caller, resource)

    def _url(self, values: dict[str, Any], key: str, *, optional: bool = False) -> Any:
        url = values.get(key)
        if url is None and optional:
            return None
        if not isinstance(url, str) or not _is_url(url):
            raise invalid(f"{key} is missing or malformed.")
        if self._world.rules.on("webhooks-https-only") and urlsplit(url).scheme != "https":
            raise invalid(f"{key} must be an HTTPS address.")
        return url

    def _expiry(self, values: dict[str, Any]) -> float:
        """Too soon is raised to 45 minutes, too late is refused."""
        text, now = values.get("expirationDateTime"), self._world.clock.now()
        at = times.parse(text) if isinstance(text, str) else None
        if at is None or at <= now:
            raise invalid("expirationDateTime must be a time that is still to come.")
        if at > now + 60 * limit(self._world, "subscription_minutes"):
            raise invalid("Subscription expiration can only be 10080 minutes in the future.")
        return max(at, now + 60 * limit(self._world, "subscription_least_minutes"))

    async def _validate(self, made: Subscription) -> None:
        """The handshake with each of its addresses."""
        seconds = limit(self._world, "webhook_validation_seconds")
        for url in dict.fromkeys(filter(None, (made.url, made.lifecycle_url))):
            if not await self._callbacks.proves(url, TOKEN + self._guid(), seconds):
                text = (
                    f"Subscription validation request failed. {url} must answer 200 with the validationToken."
                )
                raise invalid(text, "ValidationError")


Handler = Callable[[Subscriptions, Request, Subscription], Response]
_ONE: Final[dict[str, Handler]] = {
    "GET": Subscriptions._get,
    "PATCH": Subscriptions._patch,
    "DELETE": Subscriptions._delete,
}
_REAUTHORIZE: Final[dict[str, Handler]] = {"POST": Subscriptions._reauthorize}


def _known(run: R | None) -> R:
    if run is None:
        raise wrong_method()
    return run


def _owns(caller: Caller, found: Subscription) -> bool:
    """An application sees its own; with a delegated token only those of that user."""
    return caller.app_id == found.app and caller.user == found.user


def _body(request: Request) -> dict[str, Any]:
    """The JSON object, keys as the documentation spells them; unknown ones are refused."""
    need_json(request.headers)
    try:
        value = msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_body() from None
    if not isinstance(value, dict):
        raise bad_body()
    named = {_KEYS.get(key.lower()): each for key, each in value.items() if "@odata." not in key}
    if None in named:
        raise bad_body()
    return {key: each for key, each in named.items() if key is not None}


def _changes(values: dict[str, Any]) -> frozenset[str]:
    text = values.get("changeType")
    wanted = (
        frozenset(word.strip().lower() for word in text.split(",")) if isinstance(text, str) else frozenset()
    )
    if not wanted or wanted - CHANGES:
        raise invalid("changeType must name created, updated or deleted.")
    return wanted


def _client_state(values: dict[str, Any]) -> str | None:
    state = values.get("clientState")
    if state is not None and (not isinstance(state, str) or len(state) > CLIENT_STATE_CHARS):
        raise invalid("clientState has at most 128 characters.")
    return state


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
