"""Push from end to end: `gateway serve` behind a reverse proxy with a certificate, and an emulator that posts real
change notifications to it over TLS, as the README says to set it up."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.soak.mail import letter
from tests.soak.outside import Control
from tests.soak.processes import ALICE, HOST, PASSWORD, Lab
from tests.soak.proxy import Proxy, opened
from tests.soak.talk import Talk

NOTICES = "/graph/notices"
POLL = 1.0  # seconds between polls where there is no push


@dataclass
class Served:
    lab: Lab
    proxy: Proxy
    control: Control
    ca: Path
    deliveries: int = 0

    async def session(self) -> Talk:
        talk = Talk()
        await talk.connect(HOST, self.lab.gateway.told["ports"]["imap"], ALICE, PASSWORD)
        assert (await talk.select("INBOX")).status == "OK"
        return talk

    async def deliver(self) -> None:
        self.deliveries += 1
        await self.control.deliver(ALICE, letter(f"new-{self.deliveries}", 500, None))  # type: ignore[arg-type]

    async def heard(self, talk: Talk, after: float = 0.0) -> float:
        """Seconds from the delivery of a message to IDLE's EXISTS; it is delivered `after` seconds of idling."""
        assert talk.view is not None
        there = len(talk.view.uids)
        idling = asyncio.create_task(talk.idle(after + 6.0, until=b"EXISTS"))
        await asyncio.sleep(0.2 + after)
        began = time.monotonic()
        await self.deliver()
        answer = await idling
        took = time.monotonic() - began
        assert answer.status == "OK" and len(talk.view.uids) == there + 1
        return took

    async def subscriptions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.control.http.get("subscriptions")).json()["subscriptions"]
        return found

    async def subscribed(self) -> dict[str, Any]:
        for _ in range(100):
            if found := await self.subscriptions():
                await asyncio.sleep(0.4)  # what is looked at because it has just begun
                return found[0]
            await asyncio.sleep(0.1)
        raise AssertionError("there is no subscription")

    async def post(self, **notice: Any) -> int:
        """As anybody could."""
        body = {"value": [{"changeType": "created", "resourceData": {"id": "x"}, **notice}]}
        context = ssl.create_default_context(cafile=str(self.ca))
        async with httpx.AsyncClient(verify=context) as stranger:
            answer = await stranger.post(f"https://{HOST}:{self.proxy.port}{NOTICES}", json=body)
        return answer.status_code

    async def metric(self, name: str) -> float:
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"http://{HOST}:{self.lab.gateway.told['ports']['web']}/metrics")).text
        return float(next(line.split()[-1] for line in text.splitlines() if line.startswith(name)))

    async def requests(self) -> list[str]:
        return [f"{each['method']} {each['path'].partition('?')[0]}" for each in await self.control.log()]


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    proxy, ca = await opened(folder)
    lab = await asyncio.to_thread(
        Lab, folder, rtt_ms=0, service_ms=0, poll=POLL, web=proxy.web_section, trusted=ca
    )
    control = Control(lab.emulator.told["base_url"])
    try:
        with lab:
            proxy.web = lab.gateway.told["ports"]["web"]
            await control.http.post("limits", json={"notice_retry_seconds": 0.5})
            yield Served(lab, proxy, control, ca)
    finally:
        await control.http.aclose()
        await proxy.stop()


@pytest.mark.slow
async def test_push_as_it_is_set_up(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        talk = await s.session()
        made = await s.subscribed()
        # The handshake came through the proxy, for both addresses, and nothing else is passed on.
        assert s.proxy.paths[:2] in ([NOTICES, "/graph/lifecycle"], ["/graph/lifecycle", NOTICES])
        assert made["notificationUrl"] == f"https://{HOST}:{s.proxy.port}{NOTICES}"

        # IDLE hears within a second, which polling could not promise; and an idle minute asks nothing.
        assert max([await s.heard(talk) for _ in range(3)]) < 1.0
        await asyncio.sleep(0.5)
        await s.control.log()
        await talk.idle(3 * POLL)
        await talk.command("NOOP")
        assert await s.requests() == []

        # A stranger, or somebody who does not know the secret: the same answer, and no work.
        assert await s.post(subscriptionId="nobody", clientState="x") == 202
        assert await s.post(subscriptionId=made["id"], clientState="guess") == 202
        assert await s.metric('gateway_notifications_total{result="refused"}') == 2
        assert await s.requests() == []

        # What the proxy did not deliver is delivered again, as Graph does it.
        s.proxy.broken = True
        idling = asyncio.create_task(talk.idle(8.0, until=b"EXISTS"))
        await s.deliver()
        await asyncio.sleep(0.6)
        assert not idling.done()
        s.proxy.broken = False
        assert (await idling).lines(b"* ")

        # kill -9: the next process goes on with the same subscription.
        s.lab.gateway.kill()
        await asyncio.to_thread(s.lab.gateway.start)
        s.proxy.web = s.lab.gateway.told["ports"]["web"]
        talk.close()
        talk = await s.session()
        await asyncio.sleep(1.0)
        assert [each["id"] for each in await s.subscriptions()] == [made["id"]]
        assert await s.heard(talk) < 1.0

        # Removed by Graph: made anew, and mail of the meantime is found.
        await s.control.http.post("subscriptions/lifecycle", json={"event": "subscriptionRemoved"})
        assert (await s.subscribed())["id"] != made["id"]
        assert await s.heard(talk) < 1.0
        talk.close()
        assert "Traceback" not in (tmp_path / "gateway.log").read_text()
