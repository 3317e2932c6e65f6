"""The emulator held against the contract by a reader who did not write it: what its other tests leave open.

Named after the contract's section. Traps of section 15: `test_emulator_traps.py`.
"""

from __future__ import annotations

import json

import pytest

from gateway.emulator.api import Response
from tests.shell_support import staged

# -- 3: batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [
    b'{"requests":[{"id":"1","method":"GET","url":"/me","headers":[1]}]}',
    b'{"requests":[{"id":"1","method":"GET","url":"/me","headers":"x"}]}',
    b'{"requests":[{"id":"1","method":"GET","url":"/me","dependsOn":{"a":1}}]}',
    b'{"requests":{"id":"1"}}',
    b"[" * 100_000,
    b"\xff\xfe",
    b"",
])  # fmt: skip
async def test_3_no_batch_body_breaks_the_server(body):
    async with staged() as s:
        headers = {**s.bearer, "Content-Type": "application/json"}
        answer = await s.http.post("/v1.0/$batch", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")


async def test_3_a_batch_is_json_and_says_so():
    async with staged() as s:
        body = json.dumps({"requests": [{"id": "1", "method": "GET", "url": "/me"}]}).encode()
        assert (await s.http.post("/v1.0/$batch", content=body, headers=s.bearer)).status_code == 400
        text = {**s.bearer, "Content-Type": "text/plain"}
        assert (await s.http.post("/v1.0/$batch", content=body, headers=text)).status_code == 415


# -- control API -----------------------------------------------------------------------------------


async def test_the_log_has_exactly_the_promised_keys():
    async with staged() as s:
        await s.batch({"id": "1", "method": "GET", "url": "/me"})
        log = (await s.control("GET", "log")).json()
        assert set(log) == {"requests", "max_in_flight"}
        (entry,) = log["requests"]
        assert set(entry) == {
            "t", "method", "path", "status", "bytes_in", "bytes_out", "in_flight", "inner"
        }  # fmt: skip
        assert entry["inner"] == [{"method": "GET", "url": "/me", "status": 200}]


# -- latency ---------------------------------------------------------------------------------------


async def test_every_http_request_travels_refused_ones_and_sign_in_too():
    async with staged() as s:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(round(seconds, 6))

        s.running.app._latency._sleep = sleep
        await s.control("POST", "limits", {"rtt_ms": 40})
        assert (await s.http.get("/v1.0/me")).status_code == 401
        assert waits == [0.04]
        await s.sign_in()
        assert waits == [0.04, 0.04]


# -- 2: answers ------------------------------------------------------------------------------------


async def test_2_json_is_chunked_as_it_usually_is():
    async with staged() as s:
        for answer in (await s.get("/v1.0/me"), await s.http.get("/v1.0/me")):
            assert "content-length" not in answer.headers
            assert answer.headers["transfer-encoding"] == "chunked"
            assert answer.json()


async def test_2_error_envelopes_come_in_three_dresses_with_one_code():
    async with staged() as s:
        shapes = set()
        for n in range(12):
            answer = await s.http.get("/v1.0/me", headers={"client-request-id": f"trace-{n}"})
            error = answer.json()["error"]
            assert error["code"] == "InvalidAuthenticationToken"
            inner = error.get("innerError") or error.get("innererror")
            shapes.add(next((k for k in error if k.lower() == "innererror"), ""))
            if inner:
                assert inner["request-id"] == answer.headers["request-id"]
                assert inner["client-request-id"] == f"trace-{n}"
                assert inner["date"]
        assert shapes == {"", "innerError", "innererror"}
        await s.control("POST", "rules", {"error-envelope-varies": False})
        for _ in range(6):
            assert set((await s.http.get("/v1.0/me")).json()["error"]) == {"code", "message"}


# -- 3: limits -------------------------------------------------------------------------------------


async def test_3_a_user_named_with_its_tenant_is_the_same_mailbox_to_the_throttle():
    async with staged() as s:
        await s.control("POST", "limits", {"requests_per_10min": 2})
        alice = s.running.app._calls.names
        guid = next(k for k, v in alice.items() if v == "alice@example.com" and "@" not in k)
        names = ["alice@example.com", guid, f"{guid}@{s.running.describe()['tenant_id']}"]
        answers = [(await s.get(f"/v1.0/users/{name}")).status_code for name in names]
        assert answers == [200, 200, 429]


# -- 8: slow answers -------------------------------------------------------------------------------


async def test_8_a_value_can_be_made_to_drip():
    async with staged() as s:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        s.running.app._latency._sleep = sleep
        s.model.answers["/v"] = lambda r: Response(
            200, iter([b"a", b"b", b"c"]), {"Content-Type": "text/plain"}
        )
        await s.control("POST", "limits", {"drip_ms": 250})
        assert (await s.get("/v1.0/v", **{"accept-encoding": "identity"})).content == b"abc"
        assert waits == [0.25, 0.25, 0.25]


async def test_2_a_fault_with_a_body_of_its_own_is_sent_as_it_is():
    async with staged() as s:
        for body in ('{"error":"plain"}', '{"error":[1]}', "[1]", "<html>", '{"error":{"message":"m"}}'):
            await s.control("POST", "faults", {"status": 503, "body": body, "count": 3})
            texts = {(await s.get("/v1.0/me")).text for _ in range(3)}
            assert body in texts and (len(texts) == 1 or "message" in body)
