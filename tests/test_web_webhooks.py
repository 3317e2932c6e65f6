"""The address that Graph posts to: handshake, bounds, and one answer for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from gateway.config import ConfigError, from_values
from gateway.mailbox.notices import Board, Inbox, Notice
from gateway.web import webhooks
from gateway.web.server import application


async def nothing() -> None:
    pass


@dataclass
class Ear:
    heard: list[Notice] = field(default_factory=list)

    def deliver(self, notices: Iterable[Notice]) -> None:
        self.heard += notices


@dataclass
class Hook:
    http: httpx.AsyncClient
    ear: Ear

    async def post(self, body: Any = None, **more: Any) -> httpx.Response:
        return await self.http.post(webhooks.NOTICES, json=body, **more)


@pytest.fixture
async def h() -> AsyncIterator[Hook]:
    ear = Ear()
    app = application(CollectorRegistry(), list, nothing, webhooks.routes(ear))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hook") as http:
        yield Hook(http, ear)


@pytest.mark.parametrize("path", [webhooks.NOTICES, webhooks.LIFECYCLE])
async def test_the_token_comes_back_decoded_as_plain_text(h: Hook, path: str) -> None:
    answer = await h.http.post(path + "?validationToken=Validation%3A+a%20b%26c")
    assert (answer.status_code, answer.text) == (200, "Validation: a b&c")
    assert answer.headers["content-type"].startswith("text/plain")


async def test_a_token_is_never_a_page(h: Hook) -> None:
    answer = await h.http.post(webhooks.NOTICES, params={"validationToken": "<script>alert(1)</script>"})
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("token", ["", "x" * 1025, "a\r\nb", "\x00", "\u20ac"])
async def test_a_token_that_is_none_is_refused(h: Hook, token: str) -> None:
    answer = await h.http.post(webhooks.NOTICES, params={"validationToken": token})
    assert (answer.status_code, answer.content) == (400, b"")


async def test_notifications_are_taken_without_a_word(h: Hook) -> None:
    answer = await h.post({"value": [{
        "subscriptionId": "s", "clientState": "c", "changeType": "updated", "tenantId": "t",
        "resourceData": {"id": "m", "@odata.etag": "e", "@odata.type": "#x"},
    }, {"subscriptionId": "s", "lifecycleEvent": "missed"}]})  # fmt: skip
    assert (answer.status_code, answer.content) == (202, b"")
    first, second = h.ear.heard
    assert (first.subscription_id, first.client_state, first.change_type) == ("s", "c", "updated")
    assert first.resource_data is not None and (first.resource_data.id, first.resource_data.etag) == (
        "m",
        "e",
    )
    assert second.lifecycle_event == "missed" and second.client_state is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"value":1}', b"\xff", b'{"value":' + b"[" * 5000])
async def test_what_is_no_notification_is_refused(h: Hook, body: bytes) -> None:
    assert (await h.http.post(webhooks.NOTICES, content=body)).status_code == 400
    assert h.ear.heard == []


async def test_a_body_has_an_end(h: Hook) -> None:
    assert (await h.http.post(webhooks.NOTICES, content=b" " * (webhooks.BODY + 1))).status_code == 413

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * (webhooks.BODY // 10)

    assert (await h.http.post(webhooks.NOTICES, content=endless())).status_code == 413


async def test_only_post(h: Hook) -> None:
    assert (await h.http.get(webhooks.NOTICES, params={"validationToken": "x"})).status_code == 405


def test_a_notice_needs_its_subscriptions_secret() -> None:
    board, inbox = Board(), Inbox()
    board.connect("s", "right", inbox)
    for subscription, secret in (
        ("s", "wrong"),
        ("s", None),
        ("s", ""),
        ("t", "right"),
        ("t", ""),
        ("s", "r\u20ac"),
    ):
        board.deliver([Notice(subscription_id=subscription, client_state=secret, lifecycle_event="missed")])
    assert (board.taken, board.refused, inbox.missed) == (0, 6, False)
    board.deliver([Notice(subscription_id="s", client_state="right", lifecycle_event="missed")])
    assert (board.taken, inbox.missed) == (1, True)
    board.disconnect("s")
    board.deliver([Notice(subscription_id="s", client_state="right")])
    assert (board.taken, board.refused) == (1, 7)


@pytest.mark.parametrize(
    "web",
    [{"public_url": "http://x"}, {"public_url": "https://x?y"}, {"public_url": "https://x", "port": None}],
)
def test_a_public_address_is_https_and_somebody_listens(web: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="web"):
        from_values({"web": web}, origin="test")


def test_a_public_address_may_have_a_path() -> None:
    config = from_values({"web": {"public_url": "https://x/mail/"}}, origin="test")
    assert config.web.public_url == "https://x/mail"
