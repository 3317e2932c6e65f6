"""`$batch` as the contract's section 3 has it."""

from __future__ import annotations

import base64
import json

import pytest
from shell_support import staged

from gateway.emulator.api import Response
from gateway.emulator.batch import parse_batch
from gateway.emulator.errors import GraphError

ALICE = "/users/alice@example.com"


def get(name: str, url: str = f"{ALICE}/messages/1", **more: object) -> dict[str, object]:
    return {"id": name, "method": "GET", "url": url, **more}


def chain(count: int, **more: object) -> list[dict[str, object]]:
    return [get(str(n), **({"dependsOn": [str(n - 1)]} if n else {}), **more) for n in range(count)]


def by_id(answer) -> dict[str, dict]:
    assert answer.status_code == 200, answer.text
    return {part["id"]: part for part in answer.json()["responses"]}


async def test_answers_carry_their_id_status_headers_and_body():
    async with staged() as s:
        s.model.answers[f"{ALICE}/messages/x"] = lambda r: Response(
            404, b'{"error":{"code":"E"}}', {"Content-Type": "application/json"}
        )
        s.model.answers[f"{ALICE}/messages/d"] = lambda r: Response(204)
        parts = by_id(
            await s.batch(
                get("1", f"{ALICE}/messages/y?$select=id"),
                get("2", f"{ALICE}/messages/x"),
                {"id": "3", "method": "DELETE", "url": f"{ALICE}/messages/d"},
            )
        )
        assert parts["1"]["status"] == 200 and parts["1"]["body"]["query"] == {"$select": "id"}
        assert parts["2"]["status"] == 404 and parts["2"]["body"] == {"error": {"code": "E"}}
        assert parts["3"]["status"] == 204 and "body" not in parts["3"]
        assert parts["1"]["headers"]["Content-Type"].startswith("application/json")


async def test_the_order_of_answers_is_not_the_order_of_requests():
    async with staged() as s:
        orders = set()
        for _ in range(5):
            answer = await s.batch(*[get(str(n)) for n in range(4)])
            orders.add(tuple(part["id"] for part in answer.json()["responses"]))
        assert len(orders) > 1


async def test_the_fifth_independent_request_to_one_mailbox_is_an_inner_429():
    async with staged() as s:
        parts = by_id(await s.batch(*[get(str(n)) for n in range(6)], get("bob", "/users/bob@example.com")))
        statuses = [parts[str(n)]["status"] for n in range(6)]
        assert statuses == [200] * 4 + [429] * 2 and parts["bob"]["status"] == 200
        refused = parts["5"]
        assert float(refused["headers"]["Retry-After"]) > 0
        assert refused["body"]["error"]["code"] == "ApplicationThrottled"
        log = (await s.control("GET", "log")).json()
        assert log["max_in_flight"] == 5 and len(log["requests"]) == 1
        inner = log["requests"][0]["inner"]
        assert sorted(i["status"] for i in inner) == [200] * 5 + [429] * 2
        assert inner[0]["method"] == "GET" and inner[0]["url"].startswith("/users/")


async def test_without_the_rule_all_independent_ones_are_served():
    async with staged() as s:
        await s.control("POST", "rules", {"batch-inner-429": False})
        parts = by_id(await s.batch(*[get(str(n)) for n in range(20)]))
        assert {p["status"] for p in parts.values()} == {200}


async def test_a_chain_of_twenty_holds_one_slot_and_runs_in_order():
    async with staged() as s:
        parts = by_id(
            await s.batch(
                *[
                    get(str(n), f"{ALICE}/messages/{n}", **({"dependsOn": [str(n - 1)]} if n else {}))
                    for n in range(20)
                ]
            )
        )
        assert {p["status"] for p in parts.values()} == {200}
        assert [r.path.rpartition("/")[2] for r in s.model.seen] == [str(n) for n in range(20)]
        assert (await s.control("GET", "log")).json()["max_in_flight"] == 1


async def test_after_a_failure_the_rest_of_the_chain_is_424():
    async with staged() as s:
        s.model.answers["/bad"] = lambda r: Response(404, b"{}", {"Content-Type": "application/json"})
        steps = chain(4)
        steps[1]["url"] = "/bad"
        parts = by_id(await s.batch(*steps))
        assert [parts[str(n)]["status"] for n in range(4)] == [200, 404, 424, 424]
        assert parts["2"]["body"]["error"]["code"] == "FailedDependency"
        assert len(s.model.seen) == 2


async def test_all_may_depend_on_one():
    async with staged() as s:
        steps = [get("a"), *(get(n, dependsOn=["a"]) for n in "bcd")]
        assert {p["status"] for p in by_id(await s.batch(*steps)).values()} == {200}


async def test_headers_of_the_outer_call_are_not_inherited():
    async with staged() as s:
        prefer = 'IdType="ImmutableId"'
        await s.batch(get("1"), get("2", headers={"Prefer": prefer}), Prefer="outer")
        assert sorted(r.headers.get("prefer", "") for r in s.model.seen) == ["", prefer]
        await s.control("POST", "rules", {"batch-headers-not-inherited": False})
        await s.batch(get("1"), Prefer="outer")
        assert s.model.seen[-1].headers["prefer"] == "outer"


async def test_bodies_go_in_as_json_text_or_base64_and_come_out_as_base64():
    async with staged() as s:
        s.model.answers["/me/v"] = lambda r: Response(
            200, iter([b"\x00\xff", b"z"]), {"Content-Type": "text/plain"}
        )
        post = {"method": "POST", "url": f"{ALICE}/messages"}
        parts = by_id(
            await s.batch(
                {**post, "id": "j", "headers": {"Content-Type": "application/json"}, "body": {"a": "é"}},
                {**post, "id": "t", "headers": {"Content-Type": "text/plain"}, "body": "RGF0ZQ=="},
                {**post, "id": "o", "headers": {"Content-Type": "image/png"}, "body": "_-8="},
                get("v", "/me/v"),
            )
        )
        bodies = {r.headers.get("content-type"): r.body for r in s.model.seen if r.method == "POST"}
        assert json.loads(bodies["application/json"]) == {"a": "é"}
        assert bodies["text/plain"] == b"RGF0ZQ==" and bodies["image/png"] == b"\xff\xef"
        assert base64.b64decode(parts["v"]["body"]) == b"\x00\xffz"


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param([], id="none"),
        pytest.param([get(str(n)) for n in range(21)], id="twenty-one"),
        pytest.param([get("a"), get("A")], id="same id but for case"),
        pytest.param([{"method": "GET", "url": "/me"}], id="no id"),
        pytest.param([get("1", "https://graph.microsoft.com/v1.0/me")], id="absolute url"),
        pytest.param([{"id": "1", "method": "POST", "url": "/$batch"}], id="nested"),
        pytest.param([{"id": "1", "method": "BREW", "url": "/me"}], id="method"),
        pytest.param(
            [{"id": "1", "method": "PATCH", "url": "/me", "body": {}}], id="body without content type"
        ),
        pytest.param([get("1", dependsOn=["2"])], id="depends on nobody"),
        pytest.param([get("1", dependsOn=["1"])], id="depends on itself"),
        pytest.param([get("1", dependsOn=["2"]), get("2", dependsOn=["1"])], id="circle"),
        pytest.param([get("0"), *(get(a, dependsOn=[b]) for a, b in ["12", "23", "31"])], id="circle aside"),
        pytest.param([get("1"), get("2", dependsOn=["1"]), get("3")], id="mixed"),
        pytest.param([get("1"), get("2", dependsOn=["1"]), get("3", dependsOn=["1", "2"])], id="two parents"),
        pytest.param(
            [get("1"), get("2"), get("3", dependsOn=["1"]), get("4", dependsOn=["2"])], id="two chains"
        ),
        pytest.param([get("1"), *(get(a, dependsOn=[b]) for a, b in ["21", "31", "42"])], id="tree"),
    ],
)
def test_a_malformed_batch_is_refused_whole(requests: list[dict[str, object]]):
    with pytest.raises(GraphError) as error:
        parse_batch(json.dumps({"requests": requests}).encode())
    assert (error.value.status, error.value.code) == (400, "BadRequest")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"requests":3}', b'{"requests":[3]}', b"\xff"])
async def test_what_is_no_batch_is_a_400(body: bytes):
    async with staged() as s:
        answer = await s.http.post("/v1.0/$batch", content=body, headers=s.bearer)
        assert answer.status_code == 400 and not s.model.seen


async def test_get_is_no_batch_and_a_batch_needs_a_token():
    async with staged() as s:
        assert (await s.get("/v1.0/$batch")).status_code == 405
        assert (await s.http.post("/v1.0/$batch", json={"requests": [get("1")]})).status_code == 401


async def test_each_inner_request_counts():
    async with staged() as s:
        await s.control("POST", "limits", {"requests_per_10min": 3})
        parts = by_id(await s.batch(*chain(5)))
        assert [parts[str(n)]["status"] for n in range(5)] == [200, 200, 200, 429, 424]


async def test_latency_adds_up_along_a_chain_only():
    async with staged() as s:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(round(seconds, 6))

        s.running.app._latency._sleep = sleep
        await s.control("POST", "limits", {"rtt_ms": 40, "service_ms": 10})
        await s.batch(*chain(3))
        assert waits == [0.04, 0.01, 0.01, 0.01]


async def test_a_fault_hits_one_inner_request():
    async with staged() as s:
        await s.control("POST", "faults", {"method": "GET", "path": "messages/2$", "status": 503, "count": 1})
        parts = by_id(await s.batch(get("1"), get("2", f"{ALICE}/messages/2")))
        assert (parts["1"]["status"], parts["2"]["status"]) == (200, 503)
        assert parts["2"]["body"]["error"]["code"] == "serviceNotAvailable"
