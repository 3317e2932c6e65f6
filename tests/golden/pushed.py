"""`fixture push`: the gateway has an address that the emulator posts change notifications to.

Notifications pass in the machine's own time (a tenth of a second), so a transcript says when it waits for them:
`O: told` for the next, `O: told 3` for so many. `O: event NAME` has Graph say this of the subscription, and waits until
that has arrived; `O: deaf` and `O: hearing`: what happens meanwhile is announced to nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from gateway.emulator.serve import RunningEmulator
from gateway.mailbox.notices import Board
from gateway.mailbox.push import GATHER, Hook
from gateway.mailbox.subscription import Addresses
from gateway.web import webhooks
from gateway.web.server import WebServer

WAIT = 5.0  # seconds for a notification


async def _until(check: Callable[[], bool]) -> None:
    for _ in range(int(WAIT / 0.01)):
        if check():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


async def _nothing() -> None:
    return None


class Pushed:
    """The web port of one gateway, and the mailbox's subscription at the emulator."""

    def __init__(self, running: RunningEmulator, http: httpx.AsyncClient, upn: str) -> None:
        self._running = running
        self._http = http
        self._upn = upn
        self._board = Board()
        self._heard: Any = None
        self._seen = 0

    async def start(self) -> Hook:
        await self._http.post("rules", json={"webhooks-https-only": False, "notices-repeat": False})
        self._web = WebServer(CollectorRegistry(), list, _nothing, webhooks.routes(self._board))
        base = f"http://127.0.0.1:{await self._web.start('127.0.0.1', 0)}"
        return Hook(Addresses(base + webhooks.NOTICES, base + webhooks.LIFECYCLE), self._board)

    async def stop(self) -> None:
        for each in self._subscriptions():
            self._running.app.notices.subscriptions.remove(each)
        await self._web.stop()
        await self._http.post("rules", json={"webhooks-https-only": True, "notices-repeat": True})

    def _subscriptions(self) -> list[Any]:
        box = self._running.tenant.box(self._upn)
        return [each for each in self._running.app.notices.subscriptions.active() if each.box is box]

    async def alive(self) -> None:
        await _until(lambda: bool(self._subscriptions()))
        await asyncio.sleep(3 * GATHER)  # what is looked at because the subscription has just begun

    def mark(self) -> None:
        """What is told from here on counts for `told`."""
        self._seen = self._board.taken

    async def told(self, count: str = "1") -> None:
        """So many more notifications than at the last step."""
        wanted = self._seen + int(count)
        await _until(lambda: self._board.taken >= wanted)
        await asyncio.sleep(GATHER)
        self.mark()

    async def event(self, name: str) -> None:
        for each in self._subscriptions():
            body = {"event": name, "id": each.id}
            (await self._http.post("subscriptions/lifecycle", json=body)).raise_for_status()
        await self.told()
        await asyncio.sleep(
            4 * GATHER
        )  # a new subscription may have to be made, and the folders looked at again

    async def deaf(self) -> None:
        box = self._running.tenant.box(self._upn)
        self._heard, box.heard = box.heard, None

    async def hearing(self) -> None:
        self._running.tenant.box(self._upn).heard = self._heard
