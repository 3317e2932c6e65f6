"""What goes on beside the clients: Outlook at work in the same mailboxes, and programs that submit mail."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiosmtplib
import httpx

from tests.soak.book import ARCHIVE, Book
from tests.soak.mail import letter
from tests.soak.talk import WrongError

TRIES = 80
_CATEGORIES = ([], ["Rot"], ["Blau"], ["Rot", "Blau"])


class Stage(Protocol):
    host: str
    submission_port: int
    password: str
    ended: bool
    kills: bool

    def token(self, kind: str) -> str: ...
    async def alive(self) -> None: ...


class Control:
    """The emulator's own API: what it holds, and what other programs do to it."""

    def __init__(self, base_url: str) -> None:
        self.http = httpx.AsyncClient(base_url=f"{base_url}/_emulator/", timeout=120)

    async def rows(self, user: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._call("GET", f"users/{user}/messages")).json()
        return found

    async def deliver(self, user: str, octets: bytes) -> str:
        answer = await self._call(
            "POST", f"users/{user}/messages", params={"folder": "inbox"}, content=octets
        )
        return str(answer.json()["id"])

    async def patch(self, user: str, message: str, **change: object) -> None:
        await self._call("PATCH", f"users/{user}/messages/{message}", json=change)

    async def move(self, user: str, message: str, folder: str) -> None:
        await self._call("POST", f"users/{user}/messages/{message}/move", json={"folder": folder})

    async def delete(self, user: str, message: str) -> None:
        await self._call("DELETE", f"users/{user}/messages/{message}")

    async def fault(self, **fault: object) -> None:
        await self._call("POST", "faults", json=fault)

    async def expire(self, what: str) -> None:
        await self._call("POST", f"{what}/expire")

    async def heal(self) -> None:
        await self._call("DELETE", "faults")

    async def log(self) -> list[dict[str, Any]]:
        """The requests since the last time."""
        found: list[dict[str, Any]] = (await self._call("GET", "log")).json()["requests"]
        await self._call("DELETE", "log")
        return found

    async def _call(self, method: str, path: str, **more: Any) -> httpx.Response:
        return (await self.http.request(method, path, **more)).raise_for_status()


@dataclass
class Outlook:
    """Another program in one mailbox: half of what it delivers is its own to change, half is for the clients."""

    stage: Stage
    control: Control
    book: Book
    rng: random.Random
    pace: float  # seconds between acts, about
    sizes: tuple[int, ...]
    octets: dict[str, bytes] = field(default_factory=dict)
    mine: dict[str, str] = field(default_factory=dict)  # token -> id, of those in the inbox
    did: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        while not self.stage.ended:
            await asyncio.sleep(self.rng.uniform(0, 2 * self.pace))
            act = self.rng.choices(
                ("deliver", "read", "flag", "colour", "move", "delete"), (50, 15, 8, 8, 12, 7)
            )[0]
            await self.act(act if self.mine else "deliver")
            self.did[act] += 1

    async def act(self, act: str) -> None:
        if act == "deliver":
            await self.deliver("out" if self.rng.random() < 0.5 else "in")
            return
        token = self.rng.choice(list(self.mine))
        name, user = self.mine[token], self.book.user
        if act == "read":
            await self.control.patch(user, name, isRead=self.rng.random() < 0.7)
        elif act == "flag":
            status = self.rng.choice(("flagged", "notFlagged"))
            await self.control.patch(user, name, flag={"flagStatus": status})
        elif act == "colour":
            await self.control.patch(user, name, categories=self.rng.choice(_CATEGORIES))
        elif act == "move":
            await self.control.move(user, name, "archive")
            del self.mine[token]
        else:
            await self.control.delete(user, name)
            del self.mine[token]

    async def deliver(self, kind: str) -> None:
        token = self.stage.token(kind)
        self.octets[token] = letter(token, self.rng.choice(self.sizes), self.rng, to=self.book.user)
        if kind == "out":
            self.book.owner[token] = "Outlook"
        name = await self.control.deliver(self.book.user, self.octets[token])
        if kind == "out":
            self.mine[token] = name


@dataclass
class Sender:
    """A program that submits mail and repeats what was refused for a while; each exactly once, in the end."""

    stage: Stage
    sender: str
    recipient: str
    rng: random.Random
    pace: float
    sent: list[str] = field(default_factory=list)
    replies: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        while not self.stage.ended:
            await asyncio.sleep(self.rng.uniform(0, 2 * self.pace))
            token = self.stage.token("sub")
            await self.submit(letter(token, 800, self.rng, to=self.recipient, sender=self.sender))
            self.sent.append(token)

    async def submit(self, octets: bytes) -> None:
        for _ in range(TRIES):
            await self.stage.alive()
            try:
                code = await self.once(octets)
            except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPConnectError, OSError) as error:
                if not self.stage.kills:
                    raise WrongError(f"submission: {type(error).__name__}: {error}") from error
                code = 0
            self.replies[str(code)] += 1
            if code == 250:
                return
            if code and not 400 <= code < 500:
                raise WrongError(f"submission: {code}")
            await asyncio.sleep(self.rng.uniform(0.2, 1.0))
        raise WrongError(f"submission: not taken after {TRIES} tries")

    async def once(self, octets: bytes) -> int:
        """The reply to one transaction."""
        smtp = aiosmtplib.SMTP(
            hostname=self.stage.host,
            port=self.stage.submission_port,
            timeout=300,
            start_tls=False,
            use_tls=False,
        )
        await smtp.connect()
        try:
            await smtp.login(self.sender, self.stage.password)
            await smtp.sendmail(self.sender, [self.recipient], octets)
        except aiosmtplib.SMTPResponseException as error:
            return error.code
        except aiosmtplib.SMTPRecipientsRefused as error:
            return error.recipients[0].code
        finally:
            smtp.close()
        return 250


def where(row: dict[str, Any]) -> str:
    """The IMAP name of the mailbox an emulator's row is in; "" for what IMAP does not show."""
    known = str(row["wellKnownName"] or "")
    if known.startswith("recoverable"):
        return ""
    return {"inbox": "INBOX", "archive": ARCHIVE}.get(known, str(row["folderName"]))
