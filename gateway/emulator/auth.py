"""Sign-in over HTTP: discovery, keys, authorize, device code and token endpoints, as msal calls them.

Source: contract section 1.6; RFC 6749, 7636, 8628. Everything that decides is in `grants`; this is its
translation to and from HTTP.
"""

from __future__ import annotations

import base64
import datetime
import html
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.emulator.grants import Entra, OAuthError

MAX_FORM: Final = 64 * 1024
NO_STORE: Final = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}

Endpoint = Callable[[Request], Awaitable[Response]]


class SignIn:
    """The routes of one emulated Entra."""

    def __init__(self, entra: Entra) -> None:
        self._entra = entra

    def routes(self) -> list[Route]:
        table: list[tuple[str, Endpoint, str]] = [
            ("/common/discovery/instance", self.instance, "GET"),
            ("/common/userrealm/{user}", self.realm, "GET"),
            ("/{tenant}/v2.0/.well-known/openid-configuration", self.configuration, "GET"),
            ("/{tenant}/.well-known/openid-configuration", self.configuration, "GET"),
            ("/{tenant}/discovery/v2.0/keys", self.keys, "GET"),
            ("/{tenant}/oauth2/v2.0/authorize", self.authorize, "GET"),
            ("/{tenant}/oauth2/v2.0/authorize", self.authorize, "POST"),
            ("/{tenant}/oauth2/v2.0/devicecode", self.devicecode, "POST"),
            ("/{tenant}/oauth2/v2.0/token", self.token, "POST"),
            ("/{tenant}/oauth2/deviceauth", self.device_page, "GET"),
            ("/{tenant}/oauth2/deviceauth", self.device_decision, "POST"),
        ]
        return [Route(path, self._guarded(run), methods=[method]) for path, run, method in table]

    def _guarded(self, run: Endpoint) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            try:
                tenant = request.path_params.get("tenant", "common")
                if not self._entra.directory.knows_tenant(tenant):
                    raise OAuthError("invalid_tenant", 90002, f"Tenant '{tenant[:80]}' not found.")
                return await run(request)
            except OAuthError as error:
                return self._refusal(error, request)

        return endpoint

    def _refusal(self, error: OAuthError, request: Request) -> Response:
        now = datetime.datetime.fromtimestamp(self._entra.world.clock.now(), datetime.UTC)
        stamp = now.strftime("%Y-%m-%d %H:%M:%SZ")
        trace = str(uuid.uuid4())
        correlation = request.headers.get("client-request-id") or str(uuid.uuid4())
        body: dict[str, object] = {
            "error": error.error,
            "error_description": f"AADSTS{error.number}: {error.text} Trace ID: {trace} "
            f"Correlation ID: {correlation} Timestamp: {stamp}",
            "error_codes": [error.number],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"{_root(request)}/error?code={error.number}",
        }
        if error.suberror:
            body["suberror"] = error.suberror
        return JSONResponse(body, error.status, NO_STORE)

    # -- discovery --

    async def instance(self, request: Request) -> Response:
        host = request.headers.get("host", "")
        aliases = {"preferred_network": host, "preferred_cache": host, "aliases": [host]}
        asked = request.query_params.get("authorization_endpoint", "")
        tenant = asked.split("/")[3] if asked.count("/") > 3 else "common"
        where = f"{_root(request)}/{quote(tenant)}/v2.0/.well-known/openid-configuration"
        return JSONResponse({"tenant_discovery_endpoint": where, "api-version": "1.1", "metadata": [aliases]})

    async def realm(self, request: Request) -> Response:
        domain = request.path_params["user"].rpartition("@")[2]
        return JSONResponse(
            {
                "ver": "1.0",
                "account_type": "Managed",
                "domain_name": domain,
                "cloud_instance_name": "microsoftonline.com",
                "cloud_audience_urn": "urn:federation:MicrosoftOnline",
            }
        )

    async def configuration(self, request: Request) -> Response:
        base = _authority(request)
        return JSONResponse(
            {
                "issuer": self._issuer(request),
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_types_supported": ["code"],
                "response_modes_supported": ["query", "form_post"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post",
                    "client_secret_basic",
                    "private_key_jwt",
                ],
                "code_challenge_methods_supported": ["plain", "S256"],
                "tenant_region_scope": "EU",
                "cloud_instance_name": "microsoftonline.com",
            }
        )

    async def keys(self, request: Request) -> Response:
        return JSONResponse(self._entra.signer.jwks())

    # -- tokens --

    async def token(self, request: Request) -> Response:
        form = await _form(request)
        answer = self._entra.token(form, self._issuer(request), request.headers.get("host", ""))
        return JSONResponse(answer, 200, NO_STORE)

    async def devicecode(self, request: Request) -> Response:
        answer = self._entra.start_device(await _form(request))
        where = f"{_authority(request)}/oauth2/deviceauth"
        text = f"To sign in, open the page {where} and enter the code {answer['user_code']} to authenticate."
        return JSONResponse({**answer, "verification_uri": where, "message": text}, 200, NO_STORE)

    # -- pages a person sees --

    async def authorize(self, request: Request) -> Response:
        """A user known by `login_hint` agrees at once; else a page asks who it is."""
        form = dict(request.query_params) if request.method == "GET" else await _form(request)
        self._entra.check_authorize(form)
        if form.get("decision") == "decline":
            return _send_back(form, {"error": "access_denied", "error_description": "AADSTS65004: declined."})
        user = self._entra.directory.user(form.get("login_hint", ""))
        if user is None:
            return self._choose(request, form)
        return _send_back(
            form, {"code": self._entra.authorize(form, user), "session_state": str(uuid.uuid4())}
        )

    def _choose(self, request: Request, form: Mapping[str, str]) -> Response:
        def link(extra: dict[str, str], text: str) -> str:
            query = html.escape(urlencode({**form, **extra}))
            return f'<li><a href="?{query}">{html.escape(text)}</a></li>'

        people = [link({"login_hint": u.upn}, u.upn) for u in self._entra.directory.users.values()]
        return _page(
            "Pick an account", f"<ul>{''.join(people)}{link({'decision': 'decline'}, 'Cancel')}</ul>"
        )

    async def device_page(self, request: Request) -> Response:
        people = "".join(
            f"<option>{html.escape(u.upn)}</option>" for u in self._entra.directory.users.values()
        )
        return _page(
            "Enter code",
            '<form method="post"><input name="user_code" autofocus>'
            f'<select name="username">{people}</select>'
            '<button name="decision" value="approve">Approve</button>'
            '<button name="decision" value="decline">Decline</button></form>',
        )

    async def device_decision(self, request: Request) -> Response:
        form = await _form(request)
        user = form.get("username", "")
        done = self._entra.decide_device(form.get("user_code", ""), user, form.get("decision", "approve"))
        return _page(
            "Done" if done else "That code did not work", "You may close this page.", 200 if done else 400
        )

    def _issuer(self, request: Request) -> str:
        return f"{_root(request)}/{self._entra.directory.tenant_id}/v2.0"


def _root(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers.get('host', '')}"


def _authority(request: Request) -> str:
    return f"{_root(request)}/{quote(request.path_params['tenant'])}"


def _page(title: str, body: str, status: int = 200) -> Response:
    return HTMLResponse(f"<!doctype html><title>{title}</title><h1>{title}</h1>{body}", status)


def _send_back(form: Mapping[str, str], answer: dict[str, str]) -> Response:
    """To the client's redirect URI, by query or by a form that posts itself (response_mode)."""
    if "state" in form:
        answer = {**answer, "state": form["state"]}
    where = form["redirect_uri"]
    if form.get("response_mode") == "form_post":
        fields = "".join(
            f'<input type="hidden" name="{html.escape(k)}" value="{html.escape(v)}">'
            for k, v in answer.items()
        )
        script = "<script>document.forms[0].submit()</script>"
        form_tag = (
            f'<form method="post" action="{html.escape(where)}">{fields}<button>Continue</button></form>'
        )
        return _page("Working...", form_tag + script)
    return RedirectResponse(where + ("&" if "?" in where else "?") + urlencode(answer), 302)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form body of bounded size; client credentials may come by HTTP Basic instead."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise OAuthError("invalid_request", 90100, "The request body is too large.", 413)
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        name, _, secret = base64.b64decode(credentials + "==").decode("utf-8", "replace").partition(":")
        form.setdefault("client_id", unquote(name))
        form.setdefault("client_secret", unquote(secret))
    return form
