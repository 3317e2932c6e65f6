"""The limits per application and mailbox, and what their refusals look like."""

from __future__ import annotations

import asyncio

import httpx
from hypothesis import given
from hypothesis import strategies as st
from shell_support import make_world, staged

from gateway.emulator.throttle import Throttle, Window, mailbox_key


async def test_the_fifth_call_in_flight_is_refused_and_a_free_slot_serves_again():
    async with staged() as s:
        await s.control("POST", "limits", {"service_ms": 50})
        urls = [f"/v1.0/users/alice@example.com/messages/{n}" for n in range(5)]
        answers = await asyncio.gather(*(s.get(url) for url in urls))
        assert sorted(a.status_code for a in answers) == [200] * 4 + [429]
        refused = next(a for a in answers if a.status_code == 429)
        assert refused.json()["error"]["code"] == "ApplicationThrottled"
        assert "MailboxConcurrency limit." in refused.json()["error"]["message"]
        assert "." in refused.headers["retry-after"] and float(refused.headers["retry-after"]) > 0
        assert (await s.control("GET", "log")).json()["max_in_flight"] == 5
        assert (await s.get(urls[0])).status_code == 200


async def test_mailboxes_do_not_share_slots_and_names_of_one_mailbox_do():
    async with staged() as s:
        await s.control("POST", "limits", {"service_ms": 50})
        from gateway.emulator.ids import user_guid

        mixed = ["alice@example.com", "ALICE%40example.com", user_guid("alice@example.com")]
        users = [*mixed, "alice@example.com", "bob@example.com"]
        answers = await asyncio.gather(*(s.get(f"/v1.0/users/{u}/messages") for u in users))
        assert [a.status_code for a in answers] == [200] * 5
        answers = await asyncio.gather(*(s.get(f"/v1.0/users/{u}/messages") for u in [*mixed, *mixed]))
        assert [a.status_code for a in answers].count(429) == 2


async def test_without_the_rule_any_number_is_served():
    async with staged() as s:
        await s.control("POST", "rules", {"concurrency-4": False})
        await s.control("POST", "limits", {"service_ms": 20})
        answers = await asyncio.gather(*(s.get("/v1.0/users/bob@example.com/messages") for _ in range(9)))
        assert [a.status_code for a in answers] == [200] * 9


async def test_requests_per_ten_minutes_and_a_whole_retry_after():
    async with staged() as s:
        await s.control("POST", "limits", {"requests_per_10min": 3})
        await s.control("POST", "rules", {"retry-after-float": False})
        codes = [(await s.get("/v1.0/users/bob@example.com")).status_code for _ in range(4)]
        assert codes == [200, 200, 200, 429]
        refused = await s.get("/v1.0/users/bob@example.com")
        assert refused.json()["error"]["code"] == "TooManyRequests"
        assert refused.headers["retry-after"].isdigit() and int(refused.headers["retry-after"]) > 500
        assert (await s.get("/v1.0/users/alice@example.com")).status_code == 200
        s.clock.time += 620
        assert (await s.get("/v1.0/users/bob@example.com")).status_code == 200


async def test_upload_bytes_in_five_minutes():
    async with staged() as s:
        await s.control("POST", "limits", {"upload_bytes_per_5min": 1000})

        async def post() -> httpx.Response:
            url = "/v1.0/users/bob@example.com/messages"
            return await s.http.post(url, content=b"x" * 600, headers=s.bearer)

        assert (await post()).status_code == 200
        assert (await post()).status_code == 429
        assert (await s.get("/v1.0/users/bob@example.com")).status_code == 429
        s.clock.time += 320
        assert (await post()).status_code == 200


def test_invented_mailboxes_share_one_meter():
    users = {"a@x": "a@x"}
    assert mailbox_key("/users/a@x/messages", None, users) == "a@x"
    assert mailbox_key("/Users('A@X')/messages", None, users) == "a@x"
    assert mailbox_key("/me/messages", "A@x", users) == "a@x"
    assert {mailbox_key(f"/users/nobody{n}@x", None, users) for n in range(50)} == {""}


def test_a_slot_is_left_once():
    throttle = Throttle(make_world())
    slot = throttle.enter("app", "a", "GET", 0)
    slot.leave()
    slot.leave()
    assert throttle.busy("app", "a") == 0
    slots = [throttle.enter("app", "a", "GET", 0) for _ in range(6)]
    assert [s.refusal is None for s in slots] == [True] * 4 + [False] * 2
    assert throttle.busy("app", "a") == 4


def test_the_table_of_meters_is_bounded(monkeypatch):
    monkeypatch.setattr("gateway.emulator.throttle.MAX_KEYS", 10)
    throttle = Throttle(make_world())
    for n in range(100):
        throttle.enter("app", str(n), "GET", 0).leave()
    assert len(throttle._meters) <= 10


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(1, 5)), max_size=60))
def test_a_window_never_forgets_early_and_always_forgets(steps: list[tuple[float, int]]):
    window, now, all_of_it = Window(60.0), 1000.0, []
    for wait, amount in steps:
        now += wait
        window.add(now, amount)
        all_of_it.append((now, amount))
        certain = sum(a for t, a in all_of_it if t > now - 59)
        possible = sum(a for t, a in all_of_it if t > now - 61.1)
        assert certain <= window.total <= possible
        assert len(window.buckets) <= 61
