"""Faults: what they match, how often, and what the client sees."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from shell_support import staged

from gateway.emulator.api import Response
from gateway.emulator.faults import Faults, parse_fault

ME = "/v1.0/users/alice@example.com"


async def test_an_error_with_code_and_retry_after_as_often_as_asked():
    async with staged() as s:
        fault = {"path": "alice", "status": 503, "code": "MailboxInfoStale", "retry_after": 2.5, "count": 2}
        assert (await s.control("POST", "faults", fault)).status_code == 200
        first, second, third = [await s.get(ME) for _ in range(3)]
        assert (first.status_code, second.status_code, third.status_code) == (503, 503, 200)
        assert first.json()["error"]["code"] == "MailboxInfoStale"
        assert first.headers["retry-after"] == "2.5" and "request-id" in first.headers
        assert len(s.model.seen) == 1


async def test_method_and_query_are_matched_and_delete_clears():
    async with staged() as s:
        await s.control("POST", "faults", {"method": "PATCH", "path": "."})
        await s.control("POST", "faults", {"path": r"\$top=7", "status": 500})
        assert (await s.get(ME)).status_code == 200
        assert (await s.get(ME + "?%24top=7")).status_code == 500
        assert (await s.http.patch(ME, headers=s.bearer)).status_code == 503
        assert (await s.control("DELETE", "faults")).json() == {"cleared": 2}
        assert (await s.http.patch(ME, headers=s.bearer)).status_code == 200


async def test_an_html_body_and_an_empty_one():
    async with staged() as s:
        await s.control("POST", "faults", {"path": "", "status": 503, "body": "<h1>Busy</h1>", "count": 1})
        await s.control("POST", "faults", {"path": "", "status": 404, "body": "", "count": 1})
        busy, empty = await s.get(ME), await s.get(ME)
        assert busy.text == "<h1>Busy</h1>" and busy.headers["content-type"] == "text/html"
        assert empty.status_code == 404 and empty.content == b""


@pytest.mark.parametrize("http", [True, False])
async def test_a_reset_breaks_the_connection_before_the_work(http: bool):
    async with staged(http=http) as s:
        await s.control("POST", "faults", {"path": "", "mode": "reset", "count": 1})
        with pytest.raises(httpx.TransportError):
            await s.get(ME)
        assert not s.model.seen
        assert (await s.get(ME)).status_code == 200
        assert (await s.control("GET", "log")).json()["requests"][0]["status"] == 0


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("http", [True, False])
async def test_a_cut_answer_ends_in_the_middle(http: bool, whole: bool):
    async with staged(http=http) as s:
        text = b"0123456789" * 100_000
        s.model.answers["/v"] = lambda r: Response(
            200, text if whole else iter([text]), {"Content-Type": "text/plain"}
        )
        await s.control("POST", "faults", {"path": "", "mode": "cut", "count": 1})
        got = b""
        with pytest.raises(httpx.TransportError):  # noqa: PT012
            async with s.http.stream(
                "GET", "/v1.0/v", headers={**s.bearer, "Accept-Encoding": "identity"}
            ) as answer:
                assert answer.status_code == 200
                async for part in answer.aiter_bytes():
                    got += part
        assert 0 < len(got) <= len(text) // 2


async def test_commit_then_fail_does_the_work():
    async with staged() as s:
        await s.control("POST", "faults", {"method": "POST", "mode": "commit-then-fail", "count": 1})
        await s.control(
            "POST", "faults", {"method": "POST", "mode": "commit-then-fail", "status": 0, "count": 1}
        )
        assert (await s.http.post(ME, headers=s.bearer)).status_code == 504
        assert len(s.model.seen) == 1
        with pytest.raises(httpx.TransportError):
            await s.http.post(ME, headers=s.bearer)
        assert len(s.model.seen) == 2


async def test_a_hang_ends_when_the_client_leaves_and_frees_its_slot():
    async with staged() as s:
        await s.control("POST", "faults", {"mode": "hang", "count": 1})
        with pytest.raises(httpx.ReadTimeout):
            await s.http.get(ME, headers=s.bearer, timeout=0.1)
        for _ in range(50):
            if s.running.app._calls.throttle.busy("demo-gateway", "alice@example.com") == 0:
                break
            await asyncio.sleep(0.01)
        assert s.running.app._calls.throttle.busy("demo-gateway", "alice@example.com") == 0
        assert not s.model.seen


async def test_stopping_ends_a_hang():
    async with staged() as s:
        await s.control("POST", "faults", {"mode": "hang"})
        waiting = asyncio.ensure_future(s.http.get(ME, headers=s.bearer))
        await asyncio.sleep(0.05)
        await asyncio.wait_for(s.running.stop(), 5)
        with pytest.raises(httpx.TransportError):
            await waiting


async def test_sign_in_fails_only_when_aimed_at():
    async with staged() as s:
        await s.control("POST", "faults", {"path": ".*", "status": 503})
        assert await s.sign_in()
        await s.control("POST", "faults", {"path": "/token", "status": 500, "target": "auth", "count": 1})
        with pytest.raises(KeyError):
            await s.sign_in()
        assert await s.sign_in()


async def test_a_dead_token_is_dead_for_all_calls_and_another_is_not():
    async with staged() as s:
        other = s.bearer
        await s.sign_in()
        await s.control("POST", "faults", {"path": "alice", "mode": "dead-token", "count": 1})
        assert (await s.get("/v1.0/users/bob@example.com")).status_code == 200
        first, second = await s.get(ME), await s.get(ME)
        assert (first.status_code, second.status_code) == (401, 401) and len(s.model.seen) == 1
        assert first.json()["error"]["code"] == "InvalidAuthenticationToken"
        assert (await s.http.get(ME, headers=other)).status_code == 200


@pytest.mark.parametrize(("inner", "statuses"), [(None, None), (False, None), (True, [503, 503])])
async def test_a_fault_may_be_for_requests_of_a_batch_only_or_for_others(
    inner: bool | None, statuses: list[int] | None
):
    async with staged() as s:
        fault = {"path": "", "status": 503, **({} if inner is None else {"inner": inner})}
        await s.control("POST", "faults", fault)
        steps = [{"id": str(n), "method": "GET", "url": "/users/alice@example.com"} for n in range(2)]
        batch = await s.http.post("/v1.0/$batch", headers=s.bearer, json={"requests": steps})
        if statuses is None:
            assert batch.status_code == 503
        else:
            assert [each["status"] for each in batch.json()["responses"]] == statuses
        assert (await s.get(ME)).status_code == (200 if inner else 503)


@pytest.mark.parametrize(
    "wrong", [{"mode": "explode"}, {"path": "("}, {"pth": "x"}, {"status": "many"}, {"target": "moon"}]
)
async def test_a_wrong_fault_is_refused(wrong: dict[str, object]):
    async with staged() as s:
        answer = await s.control("POST", "faults", wrong)
        assert answer.status_code == 400 and answer.json()["error"]


def test_probability_is_drawn_from_the_seed():
    def draws(seed: int) -> list[bool]:
        faults = Faults()
        faults.add(parse_fault({"probability": 0.5, "seed": seed}))
        return [faults.take("GET", "/me") is not None for _ in range(40)]

    assert draws(1) == draws(1) != draws(2)
    assert 5 < sum(draws(1)) < 35
