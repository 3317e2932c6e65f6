"""The control API: fixed shapes, and what wrong input gets."""

from __future__ import annotations

import pytest
from shell_support import staged

from gateway.emulator.rules import OFF_AT_START, RULES, default_rules

ALICE = "users/alice@example.com"


async def test_mail_goes_in_and_is_listed():
    async with staged() as s:
        answer = await s.control("POST", f"{ALICE}/messages?folder=inbox", content=b"Subject: x\r\n\r\n")
        assert answer.json() == {"id": "m0"}
        dated = f"{ALICE}/messages?folder=archive&received=2020-01-02T03:04:05Z"
        await s.control("POST", dated, content=b"Subject: y\r\n\r\n")
        rows = (await s.control("GET", f"{ALICE}/messages")).json()
        assert [r["id"] for r in rows] == ["m0", "m1"] and rows[1]["received"] == 1577934245.0
        assert len((await s.control("GET", f"{ALICE}/messages?folder=archive")).json()) == 1
        assert (await s.control("GET", f"{ALICE}/folders")).json()[0]["displayName"] == "Inbox"


async def test_as_outlook_would():
    async with staged() as s:
        message = f"{ALICE}/messages/AAk-_="
        assert (await s.control("PATCH", message, {"isRead": True})).status_code == 204
        assert (await s.control("POST", f"{message}/move", {"destinationId": "archive"})).status_code == 204
        assert (await s.control("DELETE", message)).status_code == 204
        upn, name = "alice@example.com", "AAk-_="
        assert s.model.done == [
            ("patch", upn, name, {"isRead": True}),
            ("move", upn, name, "archive"),
            ("delete", upn, name),
        ]


@pytest.mark.parametrize(
    ("method", "path", "json", "status"),
    [
        ("GET", "users/zoe@example.com/messages", None, 404),
        ("POST", f"{ALICE}/messages", None, 400),
        ("DELETE", f"{ALICE}/messages/gone", None, 404),
        ("POST", f"{ALICE}/messages/m0/move", {}, 400),
        ("PATCH", f"{ALICE}/messages/m0", [1], 400),
        ("POST", "rules", {"no-such-rule": True}, 400),
        ("POST", "rules", {"concurrency-4": "yes"}, 400),
        ("POST", "limits", {"no_such_limit": 1}, 400),
        ("POST", "limits", {"concurrency": "four"}, 400),
        ("POST", "devicecode", {"user_code": "X", "user": "alice@example.com"}, 404),
        ("POST", "devicecode", {"decision": "perhaps"}, 400),
        ("POST", "apps", {}, 400),
        ("POST", "apps", {"client_id": "x", "certificate": "no"}, 400),
    ],
)
async def test_wrong_input(method: str, path: str, json: object, status: int):
    async with staged() as s:
        answer = await s.control(method, path, json)
        assert answer.status_code == status and answer.json()["error"]


async def test_a_folder_nobody_has():
    async with staged() as s:
        answer = await s.control("POST", f"{ALICE}/messages?folder=nowhere", content=b"x: y\r\n\r\n")
        assert answer.status_code == 404


async def test_rules_are_all_on_but_what_only_a_test_asks_for():
    async with staged() as s:
        rules = (await s.control("GET", "rules")).json()
        assert set(rules) == set(RULES) and {n for n, on in rules.items() if not on} == OFF_AT_START
        after = (await s.control("POST", "rules", {"id-churn": False, "value-truncated": True})).json()
        assert not after["id-churn"] and after["value-truncated"]
        assert (await s.control("GET", "rules")).json() == after


def test_rules_know_only_what_is_declared():
    rules = default_rules()
    with pytest.raises(KeyError):
        rules.on("be-nice")
    with pytest.raises(KeyError):
        rules.set("be-nice", True)


async def test_a_wrong_rule_changes_none():
    async with staged() as s:
        await s.control("POST", "rules", {"id-churn": False, "no-such-rule": True})
        assert (await s.control("GET", "rules")).json()["id-churn"]


async def test_limits_change_and_delta_tokens_die():
    async with staged() as s:
        after = (await s.control("POST", "limits", {"concurrency": 2, "sent_copy_seconds": 0.0})).json()
        assert after["concurrency"] == 2 and after["sent_copy_seconds"] == 0
        assert (await s.control("GET", "limits")).json() == after
        assert (await s.control("POST", "delta/expire")).json() == {"expired": 3}


async def test_the_control_api_is_neither_logged_nor_limited_nor_faulted():
    async with staged() as s:
        await s.control("POST", "faults", {"path": "", "target": "any"})
        await s.control("POST", "limits", {"requests_per_10min": 0, "concurrency": 0})
        assert (await s.control("GET", "log")).json() == {"requests": [], "max_in_flight": 0}


async def test_twelve_megabytes_go_in():
    async with staged() as s:
        mime = b"Subject: big\r\n\r\n" + b"x" * 12_000_000
        await s.control("POST", f"{ALICE}/messages", content=mime)
        assert s.model.mail["alice@example.com"][0]["size"] == len(mime)
