"""A reverse proxy with a certificate in front of a gateway's web port, as an administrator sets one up for push."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

import httpx
import trustme

from tests.soak.processes import HOST


class Proxy:
    """A reverse proxy as an administrator sets one up: TLS outside, `/graph/` passed on to the web port, no more."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._socket = socket.create_server((HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        self.web = 0  # the gateway's web port, once it is known
        self.paths: list[str] = []
        self.broken = False  # answers 502, and the gateway hears nothing

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._socket, ssl=self._tls)

    @property
    def web_section(self) -> str:
        """What the gateway's configuration says of it."""
        return f'public_url = "https://{HOST}:{self.port}"\n'

    async def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line[15:]) for line in head.lower().split(b"\r\n")
                               if line.startswith(b"content-length:")), 0)  # fmt: skip
                writer.write(await self._answer(head, await reader.readexactly(length)))
        writer.close()

    async def _answer(self, head: bytes, body: bytes) -> bytes:
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split()
        self.paths.append(target.partition("?")[0])
        if self.broken or not target.startswith("/graph/"):
            return b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % (b"502 Bad" if self.broken else b"404 None")
        try:
            async with httpx.AsyncClient() as http:
                answer = await http.request(method, f"http://{HOST}:{self.web}{target}", content=body)
        except httpx.TransportError:
            return b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n"
        kind = answer.headers.get("content-type", "text/plain").encode()
        return b"HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
            answer.status_code, kind, len(answer.content), answer.content,
        )  # fmt: skip


async def opened(folder: Path) -> tuple[Proxy, Path]:
    """A proxy that listens, and whose certificates are to be trusted for it (PEM)."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, key_type=trustme.KeyType.ECDSA).configure_cert(tls)
    ca = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    proxy = Proxy(tls)
    await proxy.start()
    return proxy, ca
