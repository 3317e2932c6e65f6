"""What the submission rows are measured beside, as a process: `python -m tests.bench.sinks KIND JSON READY`.

`sink`: aiosmtpd alone, which throws mail away. `relay`: the least a relay to Graph can be: each message whole in
memory, one sendMail, 250; no account, no envelope, no second try. JSON: the emulator's description of itself."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

import httpx
import uvloop
from aiosmtpd.smtp import SMTP, Envelope, Session

LARGEST = 50 * 1024 * 1024


class Sink:
    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return "250 OK"


class Relay:
    def __init__(self, graph: dict[str, Any]) -> None:
        self._graph = graph
        self._http = httpx.AsyncClient(timeout=60, verify=ssl.create_default_context(cafile=graph["ca_file"]))
        self._slots = asyncio.Semaphore(4)
        self._token = ""

    async def sign_in(self) -> None:
        graph = self._graph
        form = {
            "grant_type": "client_credentials", "client_id": graph["client_id"],
            "client_secret": graph["client_secret"], "scope": "https://graph.microsoft.com/.default",
        }  # fmt: skip
        answer = await self._http.post(f"{graph['authority']}/oauth2/v2.0/token", data=form)
        self._token = answer.raise_for_status().json()["access_token"]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "text/plain"}
        url = f"{self._graph['base_url']}/v1.0/users/{envelope.mail_from}/sendMail"
        async with self._slots:
            answer = await self._http.post(url, content=base64.b64encode(envelope.content), headers=headers)
        return "250 OK" if answer.status_code == 202 else f"451 {answer.status_code}"


async def main(kind: str, graph: dict[str, Any], ready: Path) -> None:
    handler: Sink | Relay = Sink()
    if kind == "relay":
        handler = Relay(graph)
        await handler.sign_in()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: SMTP(handler, data_size_limit=LARGEST, hostname="localhost"), "127.0.0.1", 0, backlog=1000
    )
    draft = ready.with_suffix(".tmp")
    draft.write_text(json.dumps({"ports": {"smtp": listener.sockets[0].getsockname()[1]}}))
    draft.replace(ready)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3])))
