"""Change notifications as Graph sends them (contract section 13): handshake, lifetimes, delivery, lifecycle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.emulator.serve import EmulatorOptions, RunningEmulator, start
from gateway.emulator.times import iso, parse
from gateway.emulator.tls import make_certificates
from tests.emulator_kit import ALICE, BOB, MAIL
from tests.push_support import Subscriber, subscribing

PLAIN = {"webhooks-https-only": False, "notices-repeat": False, "notices-reordered": False}
SWIFT = {"notice_seconds": 0.0, "notice_retry_seconds": 0.05, "webhook_validation_seconds": 2.0}
HOUR = 3600


@dataclass
class Site:
    """The emulator with a subscriber beside it; `call` is app-only."""

    running: RunningEmulator
    http: httpx.AsyncClient
    subscriber: Subscriber
    token: str = ""

    async def sign_in(self, user: str = "") -> str:
        grant = {"grant_type": "client_credentials", "scope": "https://graph.microsoft.com/.default"}
        if user:
            grant = {"grant_type": "password", "username": user, "password": "demo", "scope": "Mail.Read"}
        form = {"client_id": "demo-gateway", "client_secret": "demo-secret", **grant}
        answer = await self.http.post(f"{self.running.authority}/oauth2/v2.0/token", data=form)
        self.token = answer.raise_for_status().json()["access_token"]
        return self.token

    async def call(self, method: str, path: str = "", body: Any = None, **headers: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        return await self.http.request(method, f"/v1.0/subscriptions{path}", json=body, headers=headers)

    def body(self, resource: str = f"users/{ALICE}/messages", **more: Any) -> dict[str, Any]:
        return {
            "changeType": "created,updated,deleted", "notificationUrl": self.subscriber.url,
            "lifecycleNotificationUrl": self.subscriber.lifecycle, "resource": resource,
            "expirationDateTime": iso(int(time.time()) + 24 * HOUR), "clientState": "secret", **more,
        }  # fmt: skip

    async def subscribe(self, resource: str = f"users/{ALICE}/messages", **more: Any) -> dict[str, Any]:
        answer = await self.call("POST", "", self.body(resource, **more), Prefer='IdType="ImmutableId"')
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def refused(self, status: int, code: str = "", **more: Any) -> None:
        answer = await self.call("POST", "", {k: v for k, v in self.body(**more).items() if v is not ...})
        assert answer.status_code == status, answer.text
        assert code in ("", answer.json()["error"]["code"])

    def rule(self, name: str, on: bool) -> None:
        self.running.world.rules.set(name, on)

    def deliver(self, folder: str = "inbox", upn: str = ALICE) -> str:
        return self.running.tenant.deliver(upn, folder, MAIL)

    async def event(self, event: str, **more: Any) -> httpx.Response:
        return await self.http.post("/_emulator/subscriptions/lifecycle", json={"event": event, **more})

    async def lost(self) -> int:
        return int((await self.http.get("/_emulator/subscriptions")).json()["lost"])


@asynccontextmanager
async def site(folder: Path, *, tls: bool = False) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        made = make_certificates(folder / "hook", ["127.0.0.1"]) if tls else None
        subscriber = await stack.enter_async_context(subscribing(made))
        running = await start(EmulatorOptions(
            port=0, http=True, messages=0, state_dir=folder, webhook_ca=made.ca if made else None,
        ))  # fmt: skip
        stack.push_async_callback(running.stop)
        for name, on in PLAIN.items():
            running.world.rules.set(name, on)
        running.world.limits.update(SWIFT)
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=running.base_url, verify=False))
        here = Site(running, http, subscriber)
        await here.sign_in()
        yield here


@pytest.fixture
async def s(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


async def until(check: Callable[[], Any], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def quiet() -> None:
    """As long as a notification would take several times over."""
    await asyncio.sleep(0.3)


# -- making and keeping --


async def test_a_subscription_is_made_after_both_addresses_were_asked(s: Site) -> None:
    made = await s.subscribe()
    assert [path for path, _, _ in s.subscriber.tokens] == ["/notify", "/lifecycle"]
    assert all(" " in token and kind.startswith("text/plain") for _, token, kind in s.subscriber.tokens)
    assert made["clientState"] == "secret" and made["changeType"] == "created,deleted,updated"
    assert (await s.call("GET", f"/{made['id']}")).json()["id"] == made["id"]
    assert [each["id"] for each in (await s.call("GET")).json()["value"]] == [made["id"]]
    assert (await s.call("DELETE", f"/{made['id']}")).status_code == 204
    assert (await s.call("DELETE", f"/{made['id']}")).status_code == 404


@pytest.mark.parametrize("how", ["html", "wrong", "created", "lifecycle"])
async def test_a_handshake_that_fails_makes_nothing(s: Site, how: str) -> None:
    s.subscriber.handshake = how
    await s.refused(400, "ValidationError")
    assert (await s.call("GET")).json()["value"] == []


async def test_an_address_where_nobody_answers_makes_nothing(s: Site) -> None:
    await s.refused(400, "ValidationError", notificationUrl="http://127.0.0.1:9/notify",
                    lifecycleNotificationUrl="http://127.0.0.1:9/life")  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        {"changeType": "created,read"},
        {"changeType": ...},
        {"notificationUrl": "gopher://x"},
        {"notificationUrl": ...},
        {"lifecycleNotificationUrl": "http://localhost:1/x"},
        {"clientState": "x" * 129},
        {"expirationDateTime": iso(int(time.time()) + 8 * 24 * HOUR)},
        {"expirationDateTime": iso(int(time.time()) - 60)},
        {"expirationDateTime": ...},
        {"resource": f"users/{ALICE}/mailFolders"},
        {"resource": f"users/{ALICE}/messages/abc"},
        {"resource": ...},
        {"unknown": 1},
    ],
)
async def test_what_a_body_may_not_say(s: Site, more: dict[str, Any]) -> None:
    await s.refused(400, **more)


async def test_what_is_not_there_and_what_is_not_offered(s: Site) -> None:
    await s.refused(404, resource="users/nobody@example.com/messages")
    await s.refused(501, includeResourceData=True)
    await s.refused(501, resource=f"users/{ALICE}/messages?$filter=isRead eq false")
    assert (await s.call("PUT")).status_code == 405
    assert (await s.call("POST", "/x/renew")).status_code == 400


async def test_only_https_unless_the_rule_is_off(tmp_path: Path) -> None:
    async with site(tmp_path, tls=True) as s:
        s.rule("webhooks-https-only", True)
        await s.subscribe()
        await s.refused(400, "InvalidRequest", notificationUrl="http://127.0.0.1:1/x")
        s.deliver()
        await until(lambda: s.subscriber.kinds == ["created"])


async def test_https_needs_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        s = await stack.enter_async_context(site(tmp_path))
        stranger = make_certificates(tmp_path / "other", ["127.0.0.1"])
        s.subscriber = await stack.enter_async_context(subscribing(stranger))
        await s.refused(400, "ValidationError")


async def test_a_short_life_is_raised_to_45_minutes(s: Site) -> None:
    made = await s.subscribe(expirationDateTime=iso(int(time.time()) + 60))
    assert 44 * 60 < (parse(made["expirationDateTime"]) or 0) - time.time() <= 45 * 60


async def test_renewal_changes_the_expiry_and_nothing_else_can_be_changed(s: Site) -> None:
    made = await s.subscribe()
    later = iso(int(time.time()) + 48 * HOUR)
    answer = await s.call("PATCH", f"/{made['id']}", {"expirationDateTime": later})
    assert (answer.status_code, answer.json()["expirationDateTime"]) == (200, later)
    assert (await s.call("PATCH", f"/{made['id']}", {"clientState": "x"})).status_code == 400
    assert (await s.call("POST", f"/{made['id']}/reauthorize")).status_code == 204
    assert (await s.call("GET", f"/{made['id']}")).json()["expirationDateTime"] == later


async def test_an_expired_subscription_is_gone_and_silent(s: Site) -> None:
    made = await s.subscribe()
    s.running.app.notices.subscriptions._all[made["id"]].expires = time.time() - 1
    s.deliver()
    assert (await s.call("GET", f"/{made['id']}")).status_code == 404
    await quiet()
    assert s.subscriber.posts == []


async def test_a_mailbox_has_so_many_subscriptions(s: Site) -> None:
    s.running.world.limits["subscriptions"] = 2
    await s.subscribe()
    await s.subscribe()
    await s.refused(403)
    await s.subscribe(f"users/{BOB}/messages")


async def test_with_a_delegated_token_only_ones_own(s: Site) -> None:
    made = await s.subscribe()
    s.running.tenant.rights.full_access[BOB] = {ALICE}
    await s.sign_in(ALICE)
    assert (await s.call("GET", f"/{made['id']}")).status_code == 404
    await s.refused(403, resource=f"users/{BOB}/messages")
    await s.subscribe("/me/messages")
    s.deliver()
    await until(lambda: len(s.subscriber.notices) == 2)


async def test_app_only_has_no_me(s: Site) -> None:
    await s.refused(400, resource="me/messages")


async def test_subscriptions_in_a_batch(s: Site) -> None:
    step = {"id": "1", "method": "POST", "url": "/subscriptions", "body": s.body(),
            "headers": {"Content-Type": "application/json"}}  # fmt: skip
    answer = await s.http.post(
        "/v1.0/$batch", json={"requests": [step]}, headers={"Authorization": f"Bearer {s.token}"}
    )
    assert answer.json()["responses"][0]["status"] == 201


# -- what is told --


async def test_a_notification_says_what_and_where_and_nothing_of_the_content(s: Site) -> None:
    made = await s.subscribe()
    message = s.deliver()
    await until(lambda: s.subscriber.notices)
    (notice,) = s.subscriber.notices
    guid = s.running.tenant.box(ALICE).guid
    listed = await s.http.get(
        f"/v1.0/users/{ALICE}/messages/{message}",
        headers={"Authorization": f"Bearer {s.token}", "Prefer": 'IdType="ImmutableId"'},
    )
    assert notice["subscriptionId"] == made["id"] and notice["clientState"] == "secret"
    assert notice["resource"] == f"Users/{guid}/Messages/{message}"
    assert notice["resourceData"]["id"] == message
    assert notice["resourceData"]["@odata.etag"] == listed.json()["@odata.etag"]
    assert set(notice) == {
        "subscriptionId", "subscriptionExpirationDateTime", "clientState", "tenantId", "changeType", "resource",
        "resourceData",
    }  # fmt: skip


async def test_without_the_preference_ids_are_regular(s: Site) -> None:
    assert (await s.call("POST", "", s.body())).status_code == 201
    message = s.deliver()
    await until(lambda: s.subscriber.notices)
    assert s.subscriber.notices[0]["resourceData"]["id"] != message


async def test_the_whole_mailbox_sees_a_move_as_an_update(s: Site) -> None:
    message = s.deliver()
    await s.subscribe()
    s.running.tenant.outlook_patch(ALICE, message, {"isRead": True})
    await until(lambda: s.subscriber.kinds == ["updated"])
    s.running.tenant.outlook_move(ALICE, message, "archive")
    await until(lambda: s.subscriber.kinds == ["updated", "updated"])
    s.running.tenant.outlook_move(ALICE, message, "recoverableitemsdeletions")
    await until(lambda: s.subscriber.kinds[2:] == ["deleted"])


async def test_a_folder_sees_a_move_as_deleted_and_created(s: Site) -> None:
    message = s.deliver()
    await s.subscribe(f"users/{ALICE}/mailFolders('inbox')/messages")
    await s.subscribe(f"users/{ALICE}/mailFolders/archive/messages", changeType="created")
    s.running.tenant.outlook_move(ALICE, message, "archive")
    await until(lambda: sorted(s.subscriber.kinds) == ["created", "deleted"])
    assert len(s.subscriber.posts) == 1, "one address, one batch, whosever the notifications are"


async def test_other_folders_other_mailboxes_and_unwanted_kinds_are_not_told(s: Site) -> None:
    await s.subscribe(f"users/{ALICE}/mailFolders('inbox')/messages", changeType="updated")
    message = s.deliver()
    s.deliver("archive")
    s.deliver(upn=BOB)
    s.running.tenant.outlook_patch(ALICE, message, {"isRead": True})
    await until(lambda: s.subscriber.notices)
    await quiet()
    assert s.subscriber.kinds == ["updated"]


async def test_what_happens_by_the_clock_is_told_though_nobody_looks(s: Site) -> None:
    await s.subscribe()
    box = s.running.tenant.box(ALICE)
    box.later(0.1, lambda: s.deliver() and None)
    await until(lambda: s.subscriber.kinds == ["created"])


# -- how it comes --


@pytest.mark.parametrize("on", [True, False])
async def test_notifications_may_repeat(s: Site, on: bool) -> None:
    s.rule("notices-repeat", on)
    await s.subscribe()
    for _ in range(3):
        s.deliver()
    await until(lambda: len(s.subscriber.notices) >= 3 + on)
    await quiet()
    assert len(s.subscriber.notices) == 3 + on


@pytest.mark.parametrize("on", [True, False])
async def test_notifications_may_come_in_another_order(s: Site, on: bool) -> None:
    s.rule("notices-reordered", on)
    await s.subscribe()
    sent = [s.deliver() for _ in range(20)]
    await until(lambda: len(s.subscriber.notices) == 20)
    came = [each["resourceData"]["id"] for each in s.subscriber.notices]
    assert sorted(came) == sorted(sent) and (came == sent) is not on


@pytest.mark.parametrize("on", [True, False])
async def test_notifications_may_be_late(s: Site, on: bool) -> None:
    s.running.world.limits["notice_seconds"] = 0.4
    s.rule("notices-late", on)
    await s.subscribe()
    began = time.monotonic()
    s.deliver()
    await until(lambda: s.subscriber.notices)
    assert (time.monotonic() - began >= 0.4) is on


async def test_a_batch_has_an_end(s: Site) -> None:
    s.running.world.limits["notice_batch"] = 2
    await s.subscribe()
    for _ in range(5):
        s.deliver()
    await until(lambda: len(s.subscriber.notices) == 5)
    assert sorted(len(post["value"]) for post in s.subscriber.posts) == [1, 2, 2]


async def test_what_is_not_taken_comes_again(s: Site) -> None:
    await s.subscribe()
    s.subscriber.status = 503
    s.deliver()
    await until(lambda: len(s.subscriber.posts) == 2)
    s.subscriber.status = 202
    await until(lambda: len(s.subscriber.posts) == 3)
    await quiet()
    assert len(s.subscriber.posts) == 3 and await s.lost() == 0


async def test_an_answer_that_takes_too_long_is_none(s: Site) -> None:
    s.running.world.limits["notice_answer_seconds"] = 0.1
    await s.subscribe()
    s.subscriber.delay = 0.3
    s.deliver()
    await until(lambda: len(s.subscriber.posts) >= 2)
    s.subscriber.delay = 0


async def test_in_the_end_it_is_given_up_and_the_subscriber_told_what_he_missed(s: Site) -> None:
    s.running.world.limits["notice_patience_seconds"] = 0.1
    await s.subscribe()
    s.subscriber.status = 500
    s.deliver()
    await until(lambda: s.running.app.notices.lost == 1)
    s.subscriber.status = 202
    await until(lambda: s.subscriber.events[-1:] == ["missed"])


@pytest.mark.parametrize("on", [True, False])
async def test_who_is_slow_is_dropped(s: Site, on: bool) -> None:
    s.rule("notices-slow-dropped", on)
    s.running.world.limits |= {"notice_answer_seconds": 0.5, "notice_batch": 1}
    await s.subscribe()
    s.subscriber.delay = 1.0  # twice as long as is waited for, and long enough to connect in
    for _ in range(12):
        s.deliver()
    await until(lambda: len(s.subscriber.posts) >= 12)
    s.subscriber.delay = 0
    await asyncio.sleep(1.5)
    before = len(s.subscriber.posts)
    s.deliver()
    await quiet()
    assert (len(s.subscriber.posts) == before) is on


# -- lifecycle --


@pytest.mark.parametrize("on", [True, False])
async def test_half_its_life_on_a_subscription_wants_authorisation(s: Site, on: bool) -> None:
    s.rule("reauthorization-required", on)
    made = await s.subscribe()
    s.running.app.notices.subscriptions._all[made["id"]].renewed -= 48 * HOUR
    if on:
        await until(lambda: s.subscriber.events)
    await quiet()
    assert s.subscriber.events == ["reauthorizationRequired"] * on


async def test_removed_means_gone(s: Site) -> None:
    made = await s.subscribe()
    assert (await s.event("subscriptionRemoved", id=made["id"])).json() == {"told": 1}
    await until(lambda: s.subscriber.events == ["subscriptionRemoved"])
    assert (await s.call("PATCH", f"/{made['id']}", {"expirationDateTime": iso(0)})).status_code == 404
    s.deliver()
    await quiet()
    assert s.subscriber.notices == []


async def test_missed_means_that_what_was_waiting_is_lost(s: Site) -> None:
    s.running.world.limits["notice_seconds"] = 0.3
    await s.subscribe()
    s.deliver()
    await asyncio.sleep(0.15)
    await s.event("missed")
    await until(lambda: s.subscriber.events == ["missed"])
    await asyncio.sleep(0.4)
    assert s.subscriber.notices == []


async def test_without_a_lifecycle_address_nobody_is_told(s: Site) -> None:
    await s.subscribe(lifecycleNotificationUrl=None)
    assert len(s.subscriber.tokens) == 1
    await s.event("missed")
    await quiet()
    assert s.subscriber.posts == []


async def test_the_control_api_refuses_what_there_is_not(s: Site) -> None:
    assert (await s.event("gone")).status_code == 400
    assert (await s.event("missed", id="x")).status_code == 404
