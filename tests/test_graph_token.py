"""Tokens through msal, against an authority of a few lines behind the HTTP seam."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import httpx
import pytest
from replay.virtual import VirtualClock

from gateway.graph.errors import GraphError, SignInFailed, Unreachable
from gateway.graph.token import MsalTokens, SignIn, app_scopes, delegated_scopes

AUTHORITY = "https://login.test:8443/contoso"
GRAPH = "https://graph.test:8443/v1.0"


@dataclass
class Authority:
    """Answers discovery and hands out `t1`, `t2`, ...; `answer` replaces the token endpoint's answer."""

    answer: Callable[[], httpx.Response] | None = None
    forms: list[Mapping[str, list[str]]] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    lifetime: int = 3600
    gate: threading.Event | None = None
    asked: threading.Event = field(default_factory=threading.Event)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.hosts.add(request.url.host)
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(
                200,
                json={
                    "issuer": f"{AUTHORITY}/v2.0",
                    "authorization_endpoint": f"{AUTHORITY}/oauth2/v2.0/authorize",
                    "token_endpoint": f"{AUTHORITY}/oauth2/v2.0/token",
                    "device_authorization_endpoint": f"{AUTHORITY}/oauth2/v2.0/devicecode",
                },
            )
        self.forms.append(parse_qs(request.content.decode()))
        self.asked.set()
        if self.gate is not None:
            self.gate.wait(10)
        if self.answer is not None:
            return self.answer()
        token = f"t{len(self.forms)}"
        return httpx.Response(
            200, json={"token_type": "Bearer", "expires_in": self.lifetime, "access_token": token}
        )

    def sign_in(self, **other: object) -> SignIn:
        settings: dict[str, object] = {
            "authority": AUTHORITY,
            "client_id": "app",
            "scopes": tuple(app_scopes(GRAPH)),
            "credential": "hush",
            "transport": httpx.MockTransport(self),
        }
        return SignIn(**{**settings, **other})  # type: ignore[arg-type]


def test_scopes_name_the_graph_they_are_for() -> None:
    assert app_scopes(GRAPH) == ["https://graph.test:8443/.default"]
    assert delegated_scopes(GRAPH, ["Mail.Send"]) == ["https://graph.test:8443/Mail.Send"]


async def test_a_token_is_kept_until_shortly_before_it_expires() -> None:
    authority, clock = Authority(), VirtualClock()
    tokens = MsalTokens(authority.sign_in(), clock=clock)
    assert await tokens.token() == "t1"
    clock.now = 3299.0
    assert await tokens.token() == "t1"
    assert len(authority.forms) == 1
    assert authority.forms[0]["scope"] == ["https://graph.test:8443/.default"]


async def test_a_token_of_short_life_is_not_asked_for_at_each_call() -> None:
    authority, clock = Authority(lifetime=200), VirtualClock()
    tokens = MsalTokens(authority.sign_in(), clock=clock)
    for _ in range(3):
        assert await tokens.token() == "t1"
    clock.now = 101.0
    assert await tokens.token() == "t2"


async def test_force_gets_another_and_claims_reach_the_authority() -> None:
    authority = Authority()
    tokens = MsalTokens(authority.sign_in())
    assert await tokens.token() == "t1"
    assert await tokens.token(force=True) == "t2"
    assert await tokens.token(claims='{"access_token":{"nbf":{"essential":true}}}', force=True) == "t3"
    assert "essential" in authority.forms[2]["claims"][0]
    assert await tokens.token() == "t3"


async def test_many_who_want_one_share_one_sign_in() -> None:
    authority = Authority()
    tokens = MsalTokens(authority.sign_in())
    assert set(await asyncio.gather(*(tokens.token() for _ in range(50)))) == {"t1"}
    assert len(authority.forms) == 1


async def test_giving_up_takes_nobody_along() -> None:
    authority = Authority(gate=threading.Event())
    tokens = MsalTokens(authority.sign_in())
    first, second = (asyncio.create_task(tokens.token()) for _ in range(2))
    assert authority.gate is not None
    assert await asyncio.to_thread(authority.asked.wait, 10)
    first.cancel()
    authority.gate.set()
    assert await second == "t1"
    assert len(authority.forms) == 1


def refusal(error: str, text: str, **more: object) -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(400, json={"error": error, "error_description": text, **more})


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (
            refusal("invalid_client", "AADSTS7000215: bad secret for app alice@x", error_codes=[7000215]),
            SignInFailed,
            "AADSTS7000215",
        ),
        (refusal("invalid_grant", "AADSTS50076: MFA for alice@x."), SignInFailed, "AADSTS50076"),
        (refusal("temporarily odd", "alice@x"), SignInFailed, "temporarilyodd"),
        (lambda: httpx.Response(503, html="<html>"), Unreachable, "MsalServiceError"),
        (lambda: httpx.Response(200, html="<html>alice@x"), Unreachable, ""),
    ],
)
async def test_refusals_name_a_number_and_nobody(
    answer: Callable[[], httpx.Response], kind: type[GraphError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        await MsalTokens(Authority(answer=answer).sign_in()).token()
    assert caught.value.code == code
    assert "alice" not in f"{caught.value!r}"


async def test_after_a_failure_the_next_try_is_a_new_one() -> None:
    def broken() -> httpx.Response:
        raise httpx.ReadError("reset")

    authority = Authority(answer=broken)
    tokens = MsalTokens(authority.sign_in())
    with pytest.raises(Unreachable):
        await tokens.token()
    authority.answer = None
    assert (await tokens.token()).startswith("t")


async def test_nobody_asks_microsoft_about_an_authority_of_ours() -> None:
    authority = Authority()
    await MsalTokens(authority.sign_in()).token()
    assert authority.hosts == {"login.test"}
    assert SignIn(
        authority="https://login.microsoftonline.com/x", client_id="a", scopes=()
    ).discover_instance()


async def test_an_authority_that_does_not_answer_is_unreachable() -> None:
    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("down", request=request)

    with pytest.raises(Unreachable):
        await MsalTokens(Authority().sign_in(transport=httpx.MockTransport(down))).token()


async def test_an_authority_without_a_tenant_is_a_sign_in_failure() -> None:
    with pytest.raises(SignInFailed) as caught:
        await MsalTokens(Authority().sign_in(authority="https://login.test")).token()
    assert caught.value.code == "Authority"
