"""The HTTP face of the emulator: tokens, headers, bodies, prefer, uploads, the log."""

from __future__ import annotations

import asyncio
import gzip
import re

import httpx
import pytest
from shell_support import USERS, StubModel, make_world, staged

from gateway.emulator.api import Response
from gateway.emulator.app import Emulator
from gateway.emulator.serve import make_directory


async def test_a_call_without_a_token_is_refused_with_a_challenge():
    async with staged() as s:
        answer = await s.http.get("/v1.0/me")
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "InvalidAuthenticationToken"
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert not s.model.seen


async def test_a_made_up_token_is_refused():
    async with staged() as s:
        answer = await s.http.get("/v1.0/me", headers={"Authorization": "Bearer aa.bb.cc"})
        assert answer.status_code == 401


async def test_the_model_sees_path_query_and_caller_as_sent():
    async with staged() as s:
        answer = await s.get("/beta/users/alice%40example.com/messages?$top=5&$filter=a%20eq%20'b%26c'")
        request = s.model.seen[-1]
        assert (request.version, request.path) == ("beta", "/users/alice%40example.com/messages")
        assert request.query == {"$top": "5", "$filter": "a eq 'b&c'"}
        assert request.caller.app_id == "demo-gateway" and request.caller.user is None
        assert "Mail.ReadWrite" in request.caller.scopes
        assert request.base == f"{s.running.base_url}/beta"
        assert answer.status_code == 200


async def test_headers_of_every_answer():
    async with staged() as s:
        answer = await s.get("/v1.0/me", **{"client-request-id": "abc-1"})
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["request-id"])
        assert answer.headers["client-request-id"] == "abc-1"
        assert "ServerInfo" in answer.headers["x-ms-ags-diagnostic"]
        assert answer.headers["odata-version"] == "4.0"
        assert answer.headers["content-type"].startswith("application/json;odata.metadata=minimal")
        assert len(answer.headers.get_list("date")) == 1
        unauthorized = await s.http.get("/v1.0/me")
        assert "request-id" in unauthorized.headers and "client-request-id" not in unauthorized.headers


async def test_an_empty_answer_has_no_type_and_no_length_of_its_own():
    async with staged() as s:
        s.model.answers["/gone"] = lambda r: Response(204)
        s.model.answers["/sent"] = lambda r: Response(202)
        gone = await s.http.delete("/v1.0/gone", headers=s.bearer)
        assert gone.status_code == 204 and "content-type" not in gone.headers
        sent = await s.http.post("/v1.0/sent", headers=s.bearer)
        assert sent.status_code == 202 and sent.headers["content-length"] == "0"


async def test_chunks_go_out_without_a_length():
    async with staged() as s:
        s.model.answers["/v"] = lambda r: Response(
            200, iter([b"one", b"two"]), {"Content-Type": "text/plain"}
        )
        answer = await s.get("/v1.0/v", **{"Accept-Encoding": "identity"})
        assert answer.content == b"onetwo"
        assert answer.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in answer.headers
        assert answer.headers["content-type"] == "text/plain"


@pytest.mark.parametrize("whole", [True, False])
async def test_gzip_if_asked(whole: bool):
    async with staged() as s:
        text = b"x" * 50_000
        s.model.answers["/v"] = lambda r: Response(200, text if whole else iter([text[:9], text[9:]]))
        async with s.http.stream("GET", "/v1.0/v", headers={**s.bearer, "Accept-Encoding": "gzip"}) as answer:
            raw = b"".join([part async for part in answer.aiter_raw()])
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.decompress(raw) == text
        entry = (await s.control("GET", "log")).json()["requests"][-1]
        assert entry["bytes_out"] == len(raw) < 5000


async def test_of_several_prefer_headers_the_last_counts():
    async with staged() as s:
        prefers = [("Prefer", 'IdType="ImmutableId"'), ("Prefer", "odata.maxpagesize=5")]
        headers = [*prefers, ("Authorization", s.bearer["Authorization"])]
        await s.http.get("/v1.0/me", headers=headers)
        assert s.model.seen[-1].headers["prefer"] == "odata.maxpagesize=5"
        await s.control("POST", "rules", {"prefer-last-wins": False})
        await s.http.get("/v1.0/me", headers=headers)
        assert s.model.seen[-1].headers["prefer"] == 'IdType="ImmutableId", odata.maxpagesize=5'


async def test_upload_urls_want_no_bearer():
    async with staged() as s:
        refused = await s.http.put("/upload/tok", content=b"abc", headers=s.bearer)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "InvalidAudienceForResource")
        taken = await s.http.put("/upload/tok", content=b"abc", headers={"Content-Range": "bytes 0-2/9"})
        assert taken.status_code == 200
        method, token, headers, body = s.model.uploads[0]
        assert (method, token, body, headers["content-range"]) == ("PUT", "tok", b"abc", "bytes 0-2/9")
        await s.control("POST", "rules", {"upload-bearer-refused": False})
        assert (await s.http.put("/upload/tok", content=b"abc", headers=s.bearer)).status_code == 200


async def test_a_bug_in_the_model_is_a_500_and_the_connection_lives():
    async with staged() as s:
        s.model.answers["/bug"] = lambda r: 1 // 0  # type: ignore[return-value]
        broken = await s.get("/v1.0/bug")
        assert (broken.status_code, broken.json()["error"]["code"]) == (500, "ErrorInternalServerError")
        assert (await s.get("/v1.0/me")).status_code == 200


async def test_an_unknown_version_is_a_400():
    async with staged() as s:
        assert (await s.get("/v2.0/me")).status_code == 400


async def test_the_log_has_its_shape_and_only_graph_calls():
    async with staged() as s:
        await s.get("/v1.0/users/alice%40example.com/messages?%24top=1")
        await s.http.post("/v1.0/me/sendMail", content=b"12345", headers=s.bearer)
        log = (await s.control("GET", "log")).json()
        assert [set(r) for r in log["requests"]] == [
            {"t", "method", "path", "status", "bytes_in", "bytes_out", "in_flight", "inner"}
        ] * 2
        first, second = log["requests"]
        assert first["path"] == "/v1.0/users/alice@example.com/messages?$top=1"
        assert (first["method"], first["status"], first["inner"], first["in_flight"]) == ("GET", 200, [], 1)
        assert first["t"] == s.clock.now() and first["bytes_out"] > 10
        assert second["bytes_in"] == 5
        assert log["max_in_flight"] == 1
        assert (await s.control("DELETE", "log")).status_code == 204
        assert (await s.control("GET", "log")).json()["requests"] == []


async def test_latency_counts_the_round_trip_the_call_and_its_items():
    async with staged() as s:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(round(seconds, 6))

        s.running.app._latency._sleep = sleep
        s.model.answers["/page"] = lambda r: Response(200, b"{}", {}, items=500)
        await s.control("POST", "limits", {"rtt_ms": 40, "service_ms": 10, "item_us": 2000})
        await s.get("/v1.0/page")
        assert waits == [0.04, 0.01, 1.0]


async def test_the_log_is_bounded():
    from gateway.emulator.journal import Entry, Journal

    journal = Journal(capacity=3)
    for n in range(5):
        journal.open(Entry(float(n), "GET", f"/{n}"))
    log = journal.as_json()
    assert [r["path"] for r in log["requests"]] == ["/2", "/3", "/4"]


async def test_calls_side_by_side_are_served():
    async with staged() as s:
        await s.control("POST", "limits", {"service_ms": 20})
        answers = await asyncio.gather(
            *(s.get(f"/v1.0/users/alice@example.com/messages/{n}") for n in range(4))
        )
        assert [a.status_code for a in answers] == [200] * 4
        assert (await s.control("GET", "log")).json()["max_in_flight"] == 4


async def test_the_application_serves_in_process_too():
    """One seam for transports: no socket, so a reset is an exception."""
    world = make_world()
    app = Emulator(StubModel(world), make_directory(USERS))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://graph.test") as client:
        form = {
            "grant_type": "client_credentials",
            "client_id": "demo-gateway",
            "client_secret": "demo-secret",
            "scope": "https://graph.test/.default",
        }
        token = (await client.post("/common/oauth2/v2.0/token", data=form)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = await client.get("/v1.0/users/a%40x/messages?$top=1", headers=headers)
        assert answer.json()["path"] == "/users/a%40x/messages" and answer.json()["query"] == {"$top": "1"}
        await client.post("/_emulator/faults", json={"mode": "reset"})
        with pytest.raises(ConnectionResetError):
            await client.get("/v1.0/users/a%40x", headers=headers)
        log = (await client.get("/_emulator/log")).json()
        assert [r["path"] for r in log["requests"]] == ["/v1.0/users/a@x/messages?$top=1", "/v1.0/users/a@x"]


async def test_a_body_over_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.emulator.app.MAX_BODY", 1000)
    async with staged() as s:
        answer = await s.http.post("/v1.0/me/sendMail", content=b"x" * 1001, headers=s.bearer)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "RequestEntityTooLarge")
        assert (await s.get("/v1.0/me")).status_code == 200
