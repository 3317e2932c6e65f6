"""Sign-in: real msal against the emulated Entra, and the shapes msal does not ask for."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import re
import warnings
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msal
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from shell_support import Stage, staged

DEFAULT = ["https://graph.microsoft.com/.default"]
MAIL = ["https://graph.microsoft.com/Mail.ReadWrite", "https://graph.microsoft.com/Mail.Send"]


@pytest.fixture(autouse=True)
def no_bundle_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """requests lets these variables win over a session's own `verify`."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


async def off_loop(run: Callable[..., Any], *args: Any, **more: Any) -> Any:
    return await asyncio.to_thread(run, *args, **more)


async def confidential(s: Stage, credential: Any = "demo-secret", client: str = "demo-gateway") -> Any:
    return await off_loop(
        msal.ConfidentialClientApplication,
        client,
        client_credential=credential,
        authority=s.running.authority,
        instance_discovery=False,
        verify=s.running.ca_file,
    )


async def public(s: Stage, cache: msal.TokenCache | None = None) -> Any:
    return await off_loop(
        msal.PublicClientApplication,
        "demo-public",
        authority=s.running.authority,
        instance_discovery=False,
        verify=s.running.ca_file,
        token_cache=cache,
    )


async def call(s: Stage, token: str, path: str = "/v1.0/me") -> httpx.Response:
    return await s.http.get(path, headers={"Authorization": f"Bearer {token}"})


async def test_msal_client_credentials():
    async with staged() as s:
        app = await confidential(s)
        answer = await off_loop(app.acquire_token_for_client, scopes=DEFAULT)
        assert answer["token_type"] == "Bearer" and answer["token_source"] == "identity_provider"
        claims = claims_of(answer["access_token"])
        assert claims["aud"] == "https://graph.microsoft.com" and claims["appid"] == "demo-gateway"
        assert "Mail.ReadWrite" in claims["roles"] and "scp" not in claims and claims["idtyp"] == "app"
        assert claims["exp"] == claims["iat"] + answer["expires_in"]
        assert (await call(s, answer["access_token"])).status_code == 200
        again = await off_loop(app.acquire_token_for_client, scopes=DEFAULT)
        assert again["token_source"] == "cache"


async def test_msal_is_told_what_is_wrong():
    async with staged() as s:
        wrong = await off_loop((await confidential(s, "nope")).acquire_token_for_client, scopes=DEFAULT)
        assert (wrong["error"], wrong["error_codes"]) == ("invalid_client", [7000215])
        assert wrong["error_description"].startswith("AADSTS7000215: ")
        assert {"correlation_id", "trace_id", "timestamp"} <= set(wrong)
        assert "secret" not in json.dumps(wrong).replace("client secret", "")
        unknown = await confidential(s, client="nobody")
        answer = await off_loop(unknown.acquire_token_for_client, scopes=DEFAULT)
        assert answer["error_codes"] == [700016]
        app = await confidential(s)
        answer = await off_loop(app.acquire_token_for_client, scopes=["https://other.example.net/.default"])
        assert answer["error_codes"] == [500011]


async def test_msal_refuses_a_tenant_that_is_not_there():
    async with staged() as s:
        s.running.authority = s.running.authority.rpartition("/")[0] + "/contoso.example.net"
        with pytest.raises(ValueError, match="authority"):
            await confidential(s)


def certificate() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), made.public_bytes(serialization.Encoding.PEM).decode()


async def test_msal_with_a_certificate():
    async with staged() as s:
        s.clock.time = datetime.datetime.now(datetime.UTC).timestamp()
        key, pem = certificate()
        app = {"client_id": "cert-app", "certificate": pem, "roles": ["Mail.Read"]}
        assert (await s.control("POST", "apps", app)).status_code == 204
        credential = {"private_key": key, "public_certificate": pem}
        client = await confidential(s, credential, "cert-app")
        answer = await off_loop(client.acquire_token_for_client, scopes=DEFAULT)
        assert claims_of(answer["access_token"])["roles"] == ["Mail.Read"]
        other, _ = certificate()
        forged = await confidential(s, {"private_key": other, "public_certificate": pem}, "cert-app")
        answer = await off_loop(forged.acquire_token_for_client, scopes=DEFAULT)
        assert answer["error_codes"] == [700027]


async def approve(s: Stage, flow: dict[str, Any], decision: str = "approve") -> None:
    source = {"user_code": flow["user_code"], "user": "alice@example.com", "decision": decision}
    assert (await s.control("POST", "devicecode", source)).status_code == 204


async def test_msal_device_code_then_refresh():
    async with staged() as s:
        app = await public(s, cache := msal.SerializableTokenCache())
        flow = await off_loop(app.initiate_device_flow, scopes=MAIL)
        assert flow["verification_uri"].startswith("https://") and flow["user_code"] in flow["message"]
        await approve(s, flow)
        answer = await off_loop(app.acquire_token_by_device_flow, flow)
        claims = claims_of(answer["access_token"])
        assert claims["scp"] == "Mail.ReadWrite Mail.Send" and claims["upn"] == "alice@example.com"
        assert answer["id_token_claims"]["preferred_username"] == "alice@example.com"
        assert (await call(s, answer["access_token"])).json()["caller"] == "alice@example.com"
        [account] = app.get_accounts()
        assert account["username"] == "alice@example.com"
        cached = await off_loop(app.acquire_token_silent, MAIL, account)
        assert cached["token_source"] == "cache"
        renewed = await off_loop(app.acquire_token_silent, MAIL, account, force_refresh=True)
        assert renewed["token_source"] == "identity_provider"
        assert renewed["access_token"] != answer["access_token"]
        later = await public(s, cache)
        again = await off_loop(later.acquire_token_silent, MAIL, later.get_accounts()[0], force_refresh=True)
        assert (await call(s, again["access_token"])).status_code == 200


async def test_msal_device_code_declined():
    async with staged() as s:
        app = await public(s)
        flow = await off_loop(app.initiate_device_flow, scopes=MAIL)
        await approve(s, flow, "decline")
        answer = await off_loop(app.acquire_token_by_device_flow, flow)
        assert answer["error"] == "authorization_declined"


async def token(s: Stage, **form: str) -> httpx.Response:
    return await s.http.post(f"{s.running.authority}/oauth2/v2.0/token", data=form)


async def test_device_polling_pending_slow_down_expired():
    async with staged() as s:
        start = await s.http.post(
            f"{s.running.authority}/oauth2/v2.0/devicecode",
            data={"client_id": "demo-public", "scope": "Mail.Read"},
        )
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "client_id": "demo-public",
            "device_code": start.json()["device_code"],
        }
        assert (await s.control("GET", "devicecode")).json()["user_codes"] == [start.json()["user_code"]]
        assert (await token(s, **form)).json()["error"] == "authorization_pending"
        assert (await token(s, **form)).json()["error"] == "slow_down"
        s.clock.time += 1
        assert (await token(s, **form)).json()["error"] == "authorization_pending"
        s.clock.time += 901
        assert (await token(s, **form)).json()["error"] == "expired_token"


async def test_msal_web_sign_in_with_pkce():
    async with staged() as s:
        app = await public(s)
        flow = await off_loop(app.initiate_auth_code_flow, MAIL, redirect_uri="http://localhost:9/back")
        page = await s.http.get(flow["auth_uri"])
        assert page.status_code == 200 and "bob@example.com" in page.text
        link = re.search(r'href="([^"]*login_hint=bob[^"]*)"', page.text)
        assert link is not None
        sent_back = await s.http.get(httpx.URL(flow["auth_uri"]).join(link[1].replace("&amp;", "&")))
        assert sent_back.status_code == 302
        response = {k: v[0] for k, v in parse_qs(urlsplit(sent_back.headers["location"]).query).items()}
        answer = await off_loop(app.acquire_token_by_auth_code_flow, flow, response)
        assert claims_of(answer["access_token"])["upn"] == "bob@example.com", answer
        again = await off_loop(app.acquire_token_by_auth_code_flow, dict(flow), response)
        assert again["error"] == "invalid_grant"


async def test_the_proof_key_must_fit():
    async with staged() as s:
        app = await public(s)
        flow = await off_loop(
            app.initiate_auth_code_flow,
            MAIL,
            redirect_uri="http://localhost:9/",
            login_hint="alice@example.com",
        )
        back = await s.http.get(flow["auth_uri"])
        response = {k: v[0] for k, v in parse_qs(urlsplit(back.headers["location"]).query).items()}
        flow["code_verifier"] = "x" * 43
        answer = await off_loop(app.acquire_token_by_auth_code_flow, flow, response)
        assert answer["error_codes"] == [501481]


async def test_a_foreign_redirect_is_refused_on_the_spot():
    async with staged() as s:
        query = {
            "client_id": "demo-public",
            "response_type": "code",
            "redirect_uri": "https://evil.example.net/",
        }
        answer = await s.http.get(f"{s.running.authority}/oauth2/v2.0/authorize", params=query)
        assert (answer.status_code, answer.json()["error_codes"]) == (400, [50011])


async def test_msal_password():
    async with staged() as s:
        # msal asks for the user's realm on port 443 of the host: tell it that there is none.
        msal.authority.Authority._domains_without_user_realm_discovery.add("127.0.0.1")
        app = await public(s)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sign_in = app.acquire_token_by_username_password
            good = await off_loop(sign_in, "alice@example.com", "demo", scopes=MAIL)
            bad = await off_loop(sign_in, "alice@example.com", "wrong", scopes=MAIL)
            nobody = await off_loop(sign_in, "zoe@example.com", "demo", scopes=MAIL)
        assert claims_of(good["access_token"])["upn"] == "alice@example.com"
        assert bad["error_codes"] == [50126] and nobody["error_codes"] == [50034]


async def test_a_token_carries_only_the_scopes_asked_for():
    async with staged() as s:
        form = {"grant_type": "password", "client_id": "demo-public", "username": "alice@example.com"}
        answer = (await token(s, **form, password="demo", scope="Mail.Read openid")).json()
        assert claims_of(answer["access_token"])["scp"] == "Mail.Read"
        assert "refresh_token" not in answer and "id_token" in answer
        everything = (await token(s, **form, password="demo", scope=f"{DEFAULT[0]} offline_access")).json()
        assert "Mail.ReadWrite.Shared" in everything["scope"] and "refresh_token" in everything
        wrong = (await token(s, **form, password="demo", scope="Mail.Everything")).json()
        assert wrong["error"] == "invalid_scope"


async def test_refresh_tokens_rotate_and_the_old_one_dies_after_its_grace():
    async with staged() as s:
        scope = "Mail.Read offline_access"
        form = {"client_id": "demo-public", "scope": scope}
        first = (
            await token(s, **form, grant_type="password", username="alice@example.com", password="demo")
        ).json()["refresh_token"]
        await s.control("POST", "limits", {"refresh_grace_seconds": 60})
        second = (await token(s, **form, grant_type="refresh_token", refresh_token=first)).json()[
            "refresh_token"
        ]
        assert second != first
        assert (
            "access_token" in (await token(s, **form, grant_type="refresh_token", refresh_token=first)).json()
        )
        s.clock.time += 61
        dead = (await token(s, **form, grant_type="refresh_token", refresh_token=first)).json()
        assert (dead["error"], dead["error_codes"]) == ("invalid_grant", [700082])
        assert (
            "access_token"
            in (await token(s, **form, grant_type="refresh_token", refresh_token=second)).json()
        )


async def test_expiring_all_tokens_makes_every_call_a_401():
    async with staged() as s:
        assert (await call(s, s.token)).status_code == 200
        assert (await s.control("POST", "tokens/expire")).json() == {"expired": 1}
        refused = await call(s, s.token)
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "InvalidAuthenticationToken"
        assert "insufficient_claims" not in refused.headers["www-authenticate"]
        assert (await call(s, await s.sign_in())).status_code == 200


async def test_a_claims_challenge_until_the_next_token():
    async with staged() as s:
        await s.control("POST", "tokens/expire", {"claims": True})
        challenge = (await call(s, s.token)).headers["www-authenticate"]
        claims = re.search(r'error="insufficient_claims", claims="([^"]+)"', challenge)
        assert claims is not None and "access_token" in json.loads(base64.b64decode(claims[1]))
        await s.sign_in()
        assert "claims" not in (await call(s, "old")).headers["www-authenticate"]


async def test_tokens_expire_by_the_clock():
    async with staged() as s:
        s.clock.time += 3901
        assert (await call(s, s.token)).status_code == 401


async def test_signatures_are_real():
    async with staged() as s:
        configuration = await s.http.get(f"{s.running.authority}/v2.0/.well-known/openid-configuration")
        keys = (await s.http.get(configuration.json()["jwks_uri"])).json()["keys"]
        import jwt

        key = jwt.PyJWK(keys[0])
        options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
        claims = jwt.decode(
            s.token,
            key,
            ["RS256"],
            audience="https://graph.microsoft.com",
            options=options,  # type: ignore[arg-type]
        )
        assert claims["iss"] == configuration.json()["issuer"]


async def test_instance_discovery_and_basic_authentication():
    async with staged() as s:
        root = s.running.authority.rpartition("/")[0]
        asked = {"authorization_endpoint": f"{root}/common/oauth2/v2.0/authorize", "api-version": "1.1"}
        found = (await s.http.get(f"{root}/common/discovery/instance", params=asked)).json()
        assert found["tenant_discovery_endpoint"] == f"{root}/common/v2.0/.well-known/openid-configuration"
        answer = await s.http.post(
            f"{root}/common/oauth2/v2.0/token",
            data={"grant_type": "client_credentials", "scope": DEFAULT[0]},
            auth=("demo-gateway", "demo-secret"),
        )
        assert "access_token" in answer.json()


@pytest.mark.parametrize(
    ("form", "number"),
    [
        ({"grant_type": "magic"}, 70003),
        ({"grant_type": "client_credentials", "client_id": "demo-gateway"}, 7000218),
        ({"grant_type": "client_credentials", "client_id": "demo-public"}, 7000218),
        ({"grant_type": "client_credentials", "client_id": "demo-public", "client_secret": "x"}, 700025),
        (
            {
                "grant_type": "client_credentials",
                "client_id": "demo-gateway",
                "client_secret": "demo-secret",
                "scope": "Mail.Read",
            },
            1002012,
        ),
        ({"grant_type": "refresh_token", "client_id": "demo-public", "refresh_token": "no"}, 700082),
        ({"grant_type": "authorization_code", "client_id": "demo-public", "code": "no"}, 70008),
    ],
)
async def test_refusals_have_their_number(form: dict[str, str], number: int):
    async with staged() as s:
        answer = await token(s, **form)
        assert answer.json()["error_codes"] == [number]
        assert answer.status_code in (400, 401)


async def test_the_device_page_decides_too():
    async with staged() as s:
        app = await public(s)
        flow = await off_loop(app.initiate_device_flow, scopes=MAIL)
        assert "alice@example.com" in (await s.http.get(flow["verification_uri"])).text
        wrong = await s.http.post(
            flow["verification_uri"], data={"user_code": "NOPE", "username": "alice@example.com"}
        )
        assert wrong.status_code == 400
        form = {"user_code": flow["user_code"].lower(), "username": "alice@example.com"}
        assert (await s.http.post(flow["verification_uri"], data=form)).status_code == 200
        answer = await off_loop(app.acquire_token_by_device_flow, flow)
        assert claims_of(answer["access_token"])["upn"] == "alice@example.com"
