"""The HTTP face of the emulator: an ASGI application that signs in, counts, delays, breaks and serves.

`/v1.0` and `/beta` go token check, throttle, latency, fault, model; `/upload/{token}` is the
pre-authenticated upload URL; `/_emulator` the control API; the rest is sign-in. Response headers follow
contract section 2.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import uuid
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from typing import Final
from urllib.parse import parse_qsl, unquote

from starlette.routing import BaseRoute, Mount, Router
from starlette.types import Receive, Scope, Send

from gateway.emulator.api import Caller, Model, Request, Response
from gateway.emulator.auth import SignIn
from gateway.emulator.batch import Batch, parse_batch
from gateway.emulator.callbacks import Callbacks
from gateway.emulator.calls import Calls, ConnectionFaultError, Outcome
from gateway.emulator.control import Control
from gateway.emulator.control_push import PushControl
from gateway.emulator.errors import JSON_TYPE, GraphError, bad_request, dressed, wrong_method
from gateway.emulator.faults import Faults
from gateway.emulator.grants import Entra
from gateway.emulator.journal import Entry, Journal
from gateway.emulator.jsonin import need_json
from gateway.emulator.latency import Latency, Sleep
from gateway.emulator.notices import Notices
from gateway.emulator.peer import BODILESS, BodyTooLargeError, ClientLeftError, Peer
from gateway.emulator.throttle import Throttle
from gateway.emulator.tokens import GRAPH_ID, Directory

MAX_BODY: Final = 160 * 1024 * 1024
VERSIONS: Final = frozenset({"v1.0", "beta"})
BATCH_PATHS: Final = frozenset({"/$batch", "/%24batch"})
DIAGNOSTIC: Final = (
    '{"ServerInfo":{"DataCenter":"Emulator","Slice":"E","Ring":"0","ScaleUnit":"000","RoleInstance":"EMU0"}}'
)


class Emulator:
    """The ASGI application. `sleep` is how latency passes: tests give one that does not wait.

    `close` ends every hanging request; call it before the server stops.
    """

    def __init__(self, model: Model, directory: Directory, *, sleep: Sleep = asyncio.sleep) -> None:
        world = model.world
        self.model = model
        self.world = world
        self.journal = Journal()
        self.faults = Faults()
        self.entra = Entra(world, directory)
        self._latency = Latency(world.limits, sleep)
        self.callbacks = Callbacks()
        self.notices = Notices(model, self.callbacks)
        self._calls = Calls(model, Throttle(world), self.faults, self._latency, self.notices)
        self._closing = asyncio.Event()
        self._errors = 0  # answered so far: decides the envelope of the next
        control = Control(model, self.journal, self.faults, self.entra)
        pushed = PushControl(self.notices)
        self._router = Router(
            [*self._graph_routes(), *control.routes(), *pushed.routes(), *self._sign_in_routes()]
        )
        self._router.default = self._unknown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._router(scope, receive, send)

    def close(self) -> None:
        self._closing.set()
        self.notices.end()

    async def aclose(self) -> None:
        """`close`, and nothing of it goes on."""
        self.close()
        await self.notices.aclose()

    def _graph_routes(self) -> Sequence[BaseRoute]:
        mounts = [Mount(f"/{version}", app=self._graph) for version in sorted(VERSIONS)]
        return [*mounts, Mount("/upload", app=self._upload)]

    def _sign_in_routes(self) -> Sequence[BaseRoute]:
        """Sign-in, behind the faults that were aimed at it."""
        inner = Router(SignIn(self.entra).routes())
        inner.default = self._unknown

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            await self._latency.travel()
            fault = self.faults.take(scope["method"], _target(scope), target="auth")
            if fault is None:
                await inner(scope, receive, send)
                return
            peer = Peer(scope, receive, send, self._closing)
            if fault.mode == "error":
                await peer.answer(fault.answer(), self._headers(peer, fault.answer()))
            else:
                await peer.fail("hang" if fault.mode == "hang" else "reset")

        return [Mount("/", app=guarded)]

    # -- Graph --

    async def _graph(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._logged(scope, receive, send, self._serve)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._logged(scope, receive, send, self._serve_upload)

    async def _logged(self, scope: Scope, receive: Receive, send: Send, run: Serve) -> None:
        """One call in the journal, whatever becomes of it."""
        peer = Peer(scope, receive, send, self._closing)
        target = _target(scope)
        entry = self.journal.open(Entry(self.world.clock.now(), scope["method"], unquote(target)))
        try:
            await run(peer, scope, target, entry)
        except ConnectionFaultError as fault:
            await peer.fail(fault.mode)
        except BodyTooLargeError:
            text = "The maximum request length supported is exceeded."
            await self._answer(
                peer, Outcome(GraphError(413, "RequestEntityTooLarge", text).response()), entry
            )
        except ClientLeftError:
            pass

    async def _serve(self, peer: Peer, scope: Scope, target: str, entry: Entry) -> None:
        if scope["method"] == "POST" and not (
            peer.header("content-length") or peer.header("transfer-encoding")
        ):
            await self._answer(peer, Outcome(_no_length()), entry)
            return
        body = await peer.body(MAX_BODY)
        entry.bytes_in = len(body)
        caller = self._caller(peer, scope["method"], _without_version(target))
        if caller is None:
            await self._latency.travel()
            await self._answer(peer, Outcome(self._unauthorized(peer)), entry)
            return
        request = self._request(peer, scope, target, body, caller)
        if request.path.lower() in BATCH_PATHS:
            await self._serve_batch(peer, request, entry)
            return
        slot = self._calls.enter(request)
        self.journal.saw(entry, slot.seen)
        try:
            await self._latency.travel()
            outcome = Outcome(slot.refusal) if slot.refusal else None
            outcome = outcome or await self._calls.perform(request, _without_version(target))
            await self._answer(peer, outcome, entry, slot.leave)
        finally:
            slot.leave()

    async def _serve_batch(self, peer: Peer, request: Request, entry: Entry) -> None:
        def note(method: str, url: str, status: int, in_flight: int) -> None:
            entry.inner.append((method, unquote(url), status))
            self.journal.saw(entry, in_flight)

        async def work() -> Outcome:
            try:
                if request.method != "POST":
                    raise wrong_method()
                need_json(request.headers)
                return await Batch(self._calls, request, note).run(parse_batch(request.body))
            except GraphError as error:
                return Outcome(error.response())

        await self._latency.travel()
        await self._answer(peer, await self._calls.provoked(request.method, "/$batch", work), entry)

    async def _serve_upload(self, peer: Peer, scope: Scope, target: str, entry: Entry) -> None:
        """A chunk for an upload session: no bearer, and one that is sent all the same is refused."""
        body = await peer.body(MAX_BODY)
        entry.bytes_in = len(body)
        token = target.partition("?")[0].removeprefix("/upload/")

        async def work() -> Outcome:
            owner = self.model.upload_owner(token)
            over = owner and self._calls.throttle.charge(*owner, len(body))
            if over:
                return Outcome(over)
            if peer.header("authorization") and self.world.rules.on("upload-bearer-refused"):
                text = "The audience claim value is invalid for current resource."
                return Outcome(GraphError(401, "InvalidAudienceForResource", text).response())
            return Outcome(self.model.upload(scope["method"], token, dict(peer.headers), body))

        await self._latency.travel()
        await self._latency.serve()
        await self._answer(peer, await self._calls.provoked(scope["method"], target, work), entry)

    # -- request and response --

    def _caller(self, peer: Peer, method: str, target: str) -> Caller | None:
        scheme, _, token = peer.header("authorization").partition(" ")
        if self.faults.take(method, target, token=True):
            self.entra.access.revoke(token.strip())
        return self.entra.access.caller(token.strip()) if scheme.lower() == "bearer" else None

    def _request(self, peer: Peer, scope: Scope, target: str, body: bytes, caller: Caller) -> Request:
        path, _, query = target.partition("?")
        _, version, rest = path.split("/", 2) if path.count("/") > 1 else ("", path[1:], "")
        return Request(
            method=scope["method"],
            version=version,
            path=f"/{rest}",
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers=self._merged(peer),
            body=body,
            caller=caller,
            base=f"{scope['scheme']}://{peer.header('host')}/{version}",
        )

    def _merged(self, peer: Peer) -> dict[str, str]:
        """Repeated headers joined, but of several Prefer only the last (rule prefer-last-wins)."""
        merged: dict[str, str] = {}
        for name, value in peer.headers:
            alone = name == "prefer" and self.world.rules.on("prefer-last-wins")
            merged[name] = value if alone or name not in merged else f"{merged[name]}, {value}"
        return merged

    async def _answer(
        self, peer: Peer, outcome: Outcome, entry: Entry, leave: Callable[[], None] = lambda: None
    ) -> None:
        entry.status = outcome.response.status
        headers = self._headers(peer, outcome.response)
        response = self._dressed(outcome.response, headers)
        entry.bytes_out = await peer.answer(
            response, headers, cut=outcome.cut, before_end=leave, pause=self._latency.drip
        )

    def _headers(self, peer: Peer, response: Response) -> dict[str, str]:
        """Section 2's headers, and over them what the model set."""
        headers = {
            "Date": formatdate(self.world.clock.now(), usegmt=True),
            "Cache-Control": "private",
            "request-id": str(uuid.UUID(int=self.world.rng.getrandbits(128), version=4)),
            "x-ms-ags-diagnostic": DIAGNOSTIC,
        }
        if traced := peer.header("client-request-id"):
            headers["client-request-id"] = traced
        if response.body or response.status not in BODILESS:
            headers["OData-Version"] = "4.0"
            headers["Content-Type"] = JSON_TYPE
        given = {name.lower() for name in response.headers}
        return {n: v for n, v in headers.items() if n.lower() not in given} | response.headers

    def _dressed(self, response: Response, headers: dict[str, str]) -> Response:
        """The answer with the error envelope whose turn it is."""
        if response.status < 400 or not self.world.rules.on("error-envelope-varies"):
            return response
        self._errors += 1
        now = datetime.datetime.fromtimestamp(int(self.world.clock.now()), datetime.UTC)
        inner = {"date": now.strftime("%Y-%m-%dT%H:%M:%S")}
        inner |= {n: headers[n] for n in ("request-id", "client-request-id") if n in headers}
        return dressed(response, self._errors, inner)

    def _unauthorized(self, peer: Peer) -> Response:
        """401, with the challenge that msal's `claims_challenge` is for when it was asked for."""
        where = f'realm="", authorization_uri="/common/oauth2/authorize", client_id="{GRAPH_ID}"'
        text = "Lifetime validation failed, the token is expired or was revoked."
        if not peer.header("authorization"):
            text = "Access token is empty."
        if self.entra.access.claims_wanted:
            claims = base64.b64encode(b'{"access_token":{"nbf":{"essential":true}}}').decode()
            where += f', error="insufficient_claims", claims="{claims}"'
        error = GraphError(401, "InvalidAuthenticationToken", text, {"WWW-Authenticate": f"Bearer {where}"})
        return error.response()

    async def _unknown(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = Peer(scope, receive, send, self._closing)
        response = bad_request(f"Invalid version: {scope['path'].split('/')[1][:40]}").response()
        await peer.answer(response, self._headers(peer, response))


Serve = Callable[[Peer, Scope, str, Entry], Awaitable[None]]


def _no_length() -> Response:
    """The front end's own refusal, which is no JSON (contract sections 2 and 10.2)."""
    page = b"<!DOCTYPE html><title>Length Required</title><h2>Length Required</h2>"
    return Response(411, page, {"Content-Type": "text/html; charset=us-ascii"})


def _target(scope: Scope) -> str:
    """Path and query as they were sent."""
    path = str(scope.get("raw_path", b"").decode("latin-1").partition("?")[0] or scope["path"])
    query = scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def _without_version(target: str) -> str:
    return "/" + target.split("/", 2)[2] if target.count("/") > 1 else "/"
