"""What Graph asks of a subscriber's address: the handshake, and notifications posted to it (contract section 13).

The service wants a public HTTPS address; an emulator has only loopback, so it takes any host, but checks the
certificate like the service: against the system's authorities and those it was told to trust.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx

MAX_ANSWER: Final = 4096  # octets of an answer that are looked at
TEXT: Final = {"Content-Type": "text/plain; charset=utf-8"}
JSON: Final = {"Content-Type": "application/json"}


class Callbacks:
    """Posts to subscribers. Redirects are not followed, proxies of the environment not used."""

    def __init__(self) -> None:
        self._authorities: list[Path] = []
        self._client: httpx.AsyncClient | None = None

    def trust(self, authority: Path) -> None:
        """A PEM file of certificate authorities, beside the system's. Before the first call."""
        self._authorities.append(authority)

    async def proves(self, url: str, token: str, seconds: float) -> bool:
        """The handshake: 200, text/plain and the token as it was before it was encoded, in time."""
        target = f"{url}{'&' if '?' in url else '?'}validationToken={quote(token, safe='')}"
        answer = await self._post(target, b"", TEXT, seconds)
        if answer is None:
            return False
        status, kind, body = answer
        return status == 200 and kind == "text/plain" and body == token.encode()

    async def takes(self, url: str, body: bytes, seconds: float) -> bool:
        """Whether the subscriber took a notification: a 2xx in time."""
        answer = await self._post(url, body, JSON, seconds)
        return answer is not None and 200 <= answer[0] < 300

    async def _post(
        self, url: str, body: bytes, headers: dict[str, str], seconds: float
    ) -> tuple[int, str, bytes] | None:
        """Status, media type and the beginning of the body; None for no answer in time."""
        if self._client is None:
            self._client = httpx.AsyncClient(verify=self._context(), trust_env=False)
        try:
            async with asyncio.timeout(seconds):
                async with self._client.stream(
                    "POST", url, content=body, headers=headers, timeout=seconds
                ) as answer:
                    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
                    return answer.status_code, kind, await _beginning(answer)
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
            return None

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        for authority in self._authorities:
            context.load_verify_locations(cafile=authority)
        return context

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()


async def _beginning(answer: httpx.Response) -> bytes:
    found = b""
    async for chunk in answer.aiter_bytes():
        found += chunk
        if len(found) > MAX_ANSWER:
            break
    return found
