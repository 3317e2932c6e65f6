"""A tenant with a clock the test moves, and short ways to call it."""

from __future__ import annotations

import base64
import json
import random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from gateway.emulator.api import Caller, Request, Response, World
from gateway.emulator.rules import default_rules
from gateway.emulator.tenant import Tenant

BASE = "https://graph.test/v1.0"
ALICE, BOB, CAROL = "alice@example.com", "bob@example.com", "carol@example.com"
INBOX_DELTA = "/mailFolders/inbox/messages/delta"
START = 1_800_000_000.0
APP = frozenset({"Mail.ReadWrite", "Mail.Send", "MailboxSettings.ReadWrite", "User.Read.All"})
DELEGATED = frozenset({"Mail.ReadWrite", "Mail.Send", "MailboxSettings.ReadWrite", "User.Read"})
IMMUTABLE = {"prefer": 'IdType="ImmutableId"'}
MAIL = (
    b"Received: from mx.example.net by mail.example.com; Fri, 15 Jan 2027 08:00:00 +0000\r\n"
    b"From: Dora <dora@example.net>\r\nTo: Alice <alice@example.com>\r\nSubject: Hello\r\n"
    b"Message-ID: <one@example.net>\r\nDate: Fri, 15 Jan 2027 07:59:58 +0000\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGood morning.\r\n"
)


class Hand:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> float:
        return self.at


class Answer:
    """A response with its body read."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = response.headers
        body = response.body
        self.body = body if isinstance(body, bytes) else b"".join(body)
        self.items = response.items

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def ids(self) -> list[str]:
        return [each["id"] for each in self.json["value"]]


class Kit:
    """One tenant; `call` speaks app-only for alice's mailbox unless told otherwise."""

    def __init__(self, *, language: str = "en", off: tuple[str, ...] = ()) -> None:
        self.clock = Hand()
        self.rules = default_rules()
        self.world = World(self.rules, self.clock, random.Random(7), {})
        for name in off:
            self.rules.set(name, False)
        self.tenant = Tenant(self.world, [ALICE, BOB, CAROL], language=language)
        self.settle()

    def settle(self, seconds: float = 5.0) -> None:
        """Let every lag pass."""
        self.clock.at += seconds

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        user: str | None = None,
        scopes: frozenset[str] | None = None,
        version: str = "v1.0",
    ) -> Answer:
        """`path` is below alice's mailbox (`/messages?$top=1`), or whole (`/me/…`, `/users/…`, a link)."""
        if path.startswith("https://"):
            path = path[len(BASE) :]
        split = urlsplit(path)
        whole = split.path == "/me" or split.path.startswith(("/me/", "/users/"))
        below = split.path if whole else f"/users/{ALICE}{split.path}"
        data, sent = b"", dict(headers or {})
        if isinstance(body, bytes):
            data = body
            sent.setdefault("content-type", "text/plain")
        elif body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        scopes = scopes if scopes is not None else (APP if user is None else DELEGATED)
        query = dict(parse_qsl(split.query, keep_blank_values=True))
        base = BASE.replace("v1.0", version)
        request = Request(method, version, below, query, sent, data, Caller("app", user, scopes), base)
        return Answer(self.tenant.handle(request))

    def get(self, path: str, headers: dict[str, str] | None = None, **rest: Any) -> Answer:
        return self.call("GET", path, None, headers, **rest)

    def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None, **rest: Any) -> Answer:
        return self.call("POST", path, body, headers, **rest)

    def patch(self, path: str, body: Any, headers: dict[str, str] | None = None, **rest: Any) -> Answer:
        return self.call("PATCH", path, body, headers, **rest)

    def delete(self, path: str, **rest: Any) -> Answer:
        return self.call("DELETE", path, **rest)

    def deliver(
        self, mime: bytes = MAIL, folder: str = "inbox", upn: str = ALICE, received: float | None = None
    ) -> str:
        """Received mail, old enough for every index; its immutable id."""
        made = self.tenant.deliver(upn, folder, mime, received=received)
        self.settle()
        return made

    def draft(self, mime: bytes = MAIL) -> str:
        """A draft by MIME, past its first moments; its immutable id."""
        made = self.post("/messages", base64.b64encode(mime), IMMUTABLE)
        assert made.status == 201, made.body
        self.settle()
        return str(made.json["id"])

    def land(self, body: dict[str, Any], folder: str = "inbox") -> dict[str, Any]:
        """A message landed by JSON as received; its JSON, with the immutable id."""
        props = [{"id": "Integer 0x0E07", "value": "0"}, *body.pop("singleValueExtendedProperties", [])]
        made = self.post(
            f"/mailFolders/{folder}/messages", {**body, "singleValueExtendedProperties": props}, IMMUTABLE
        )
        assert made.status == 201, made.body
        self.settle()
        found: dict[str, Any] = made.json
        return found

    def value(self, message: str) -> bytes:
        answer = self.get(f"/messages/{message}/$value")
        assert answer.status == 200, answer.body
        return answer.body

    def delta(self, path: str = INBOX_DELTA, headers: dict[str, str] | None = None) -> Round:
        """Walk a delta round to its end, ids immutable."""
        headers = {"prefer": 'IdType="ImmutableId", odata.maxpagesize=500'} if headers is None else headers
        found: list[dict[str, Any]] = []
        for _ in range(1000):
            answer = self.get(path, headers)
            assert answer.status == 200, answer.body
            found += answer.json["value"]
            if "@odata.deltaLink" in answer.json:
                return Round(found, answer.json["@odata.deltaLink"])
            path = answer.json["@odata.nextLink"]
        raise AssertionError("the round does not end")


class Round:
    """A delta round: rows in order, and the link to go on from."""

    def __init__(self, rows: list[dict[str, Any]], link: str) -> None:
        self.rows = rows
        self.link = link

    @property
    def added(self) -> list[str]:
        return [r["id"] for r in self.rows if "@removed" not in r]

    @property
    def removed(self) -> list[str]:
        return [r["id"] for r in self.rows if "@removed" in r]


__all__ = ["ALICE", "APP", "BASE", "BOB", "CAROL", "DELEGATED", "IMMUTABLE", "MAIL", "Kit"]
