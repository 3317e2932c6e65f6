"""A real emulator on loopback, a real Graph client and a real store: what tests of the mailbox floor stand on."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.core.types import AccountId
from gateway.emulator.serve import EmulatorOptions, RunningEmulator, start
from gateway.graph.client import GraphClient
from gateway.graph.mail import GraphMailbox
from gateway.graph.token import MsalTokens, SignIn, app_scopes
from gateway.mailbox.clock import SystemClock
from gateway.mailbox.context import AccountContext, Settings
from gateway.mailbox.hub import Hubs
from gateway.store.sqlite import SqliteStore

ALICE = "alice@example.com"
KEY = bytes(range(32))


@dataclass(slots=True)
class World:
    """One account's parts before an emulator of its own. `control` speaks to `/_emulator/`."""

    emulator: RunningEmulator
    control: httpx.AsyncClient
    client: GraphClient
    graph: GraphMailbox
    store: SqliteStore
    hubs: Hubs
    ctx: AccountContext

    async def log(self) -> list[str]:
        """Graph requests since the last `forget`: method and path, inner requests of a batch counted behind."""
        answer = (await self.control.get("log")).json()
        return [
            f"{r['method']} {r['path']}" + f" [{len(r['inner'])}]" * bool(r["inner"])
            for r in answer["requests"]
        ]

    async def forget(self) -> None:
        await self.control.delete("log")

    async def deliver(self, mime: bytes, folder: str = "inbox", user: str = ALICE) -> str:
        answer = await self.control.post(f"users/{user}/messages", params={"folder": folder}, content=mime)
        identity: str = answer.raise_for_status().json()["id"]
        return identity

    async def listing(self, folder: str = "inbox", user: str = ALICE) -> list[dict[str, Any]]:
        answer = await self.control.get(f"users/{user}/messages", params={"folder": folder})
        rows: list[dict[str, Any]] | dict[str, Any] = answer.raise_for_status().json()
        return rows if isinstance(rows, list) else rows["messages"]

    async def rules(self, **on: bool) -> None:
        body = {name.replace("_", "-"): value for name, value in on.items()}
        (await self.control.post("rules", json=body)).raise_for_status()

    async def limits(self, **values: float) -> None:
        (await self.control.post("limits", json=values)).raise_for_status()


@asynccontextmanager
async def world(
    folder: Path,
    *,
    messages: int = 0,
    limits: Limits = DEFAULT_LIMITS,
    settings: Settings | None = None,
    **lag: float,
) -> AsyncIterator[World]:
    """`lag`: limits of the emulator, e.g. `delta_lag_seconds=0`."""
    emulator = await start(
        EmulatorOptions(port=0, http=True, messages=messages, state_dir=folder / "emulator")
    )
    control = httpx.AsyncClient(base_url=f"{emulator.control_url}/", timeout=30)
    tokens = MsalTokens(
        SignIn(
            authority=emulator.authority, client_id="demo-gateway", credential="demo-secret",
            scopes=tuple(app_scopes(f"{emulator.base_url}/v1.0")), ca_file=emulator.ca_file,
        )
    )  # fmt: skip
    client = GraphClient(f"{emulator.base_url}/v1.0", tokens, limits=limits)
    store = SqliteStore(folder / "gateway.db", key=KEY, clock=time.time)
    await store.open()
    hubs = Hubs(store, change_log=limits.change_log)
    graph = GraphMailbox(client, ALICE)
    ctx = AccountContext(
        account=AccountId(ALICE), graph=graph, store=store, hubs=hubs, settings=settings or Settings(), limits=limits,
        clock=SystemClock(), rng=random.Random(1),
    )  # fmt: skip
    made = World(emulator, control, client, graph, store, hubs, ctx)
    try:
        if lag:
            await made.limits(**lag)
        yield made
    finally:
        await client.aclose()
        await store.close()
        await control.aclose()
        await emulator.stop()


def mime(
    subject: str, body: str = "Hello.", *, sender: str = "Eve <eve@example.net>", extra: str = ""
) -> bytes:
    """A small message as it comes from the Internet."""
    number = abs(hash((subject, body)))
    text = (
        f"From: {sender}\nTo: {ALICE}\nSubject: {subject}\nDate: Mon, 02 Nov 2026 10:00:00 +0000\n"
        f"Message-ID: <{number}@example.net>\n{extra}\n{body}\n"
    )
    return text.replace("\n", "\r\n").encode()


async def eventually(check: Any, seconds: float = 10.0) -> Any:
    """Wait until `check()` (sync or async) is true; its value. For what another process does in its own time."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if asyncio.iscoroutine(value):
            value = await value
        if value or time.monotonic() > end:
            return value
        await asyncio.sleep(0.05)
