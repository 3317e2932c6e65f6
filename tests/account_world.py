"""Whole accounts before a real emulator: `Site` can be taken up, torn down and taken up again on one state
folder, and `ImapServer` stands in front of it on a real socket, with a client that keeps book of what it is told.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiosmtplib
import httpx
from argon2 import PasswordHasher

from gateway.core.limits import DEFAULT_LIMITS, MIB, Limits
from gateway.core.types import AccountId, Flags, Uid
from gateway.emulator.serve import EmulatorOptions, RunningEmulator, start
from gateway.graph.client import GraphClient
from gateway.graph.mail import GraphMailbox
from gateway.graph.token import MsalTokens, SignIn, app_scopes
from gateway.imap.context import ImapSettings
from gateway.imap.server import ImapServer
from gateway.mailbox.account import MailboxAccount
from gateway.mailbox.accounts import Directory
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.cache import BodyCache
from gateway.mailbox.clock import SystemClock
from gateway.mailbox.context import AccountContext, Settings
from gateway.mailbox.credentials import Credentials
from gateway.mailbox.folder import OpenFolder
from gateway.mailbox.hub import Hubs
from gateway.mailbox.push import Hook
from gateway.mailbox.spool import SpoolBudget
from gateway.mailbox.values import Envelope, Incoming
from gateway.smtp.server import SmtpSettings, SubmissionServer
from gateway.store.sqlite import SqliteStore
from tests.sync_world import ALICE, KEY, eventually, mime

BOB = "bob@example.com"
CAROL = "carol@example.com"
PASSWORD = "demo"

# As quick as the real thing is slow, so that a test of failures takes a second; bounds are tested elsewhere.
QUICK = replace(DEFAULT_LIMITS, graph_timeout=1.0, graph_patience=1.5, login_delay=0.2)
NO_LAG = {
    "delta_lag_seconds": 0, "counts_lag_seconds": 0, "conflict_seconds": 0, "fresh_404_seconds": 0,
    "sent_copy_seconds": 0,
}  # fmt: skip
SHY = Settings(poll_interval=3600.0)  # nothing is polled unless asked for: requests can be counted


@dataclass(slots=True)
class Outlook:
    """The emulator as tests see it: what other programs do to a mailbox, and the log of requests."""

    emulator: RunningEmulator
    http: httpx.AsyncClient

    async def log(self) -> list[dict[str, Any]]:
        requests: list[dict[str, Any]] = (await self.http.get("log")).json()["requests"]
        return requests

    async def lines(self) -> list[str]:
        """Graph requests since the last `forget`; the number of inner requests of a batch behind."""
        return [
            f"{r['method']} {r['path']}" + f" [{len(r['inner'])}]" * bool(r["inner"])
            for r in await self.log()
        ]

    async def calls(self, method: str, pattern: str) -> int:
        """How many requests matched, those in batches included."""
        seen = [(r["method"], r["path"]) for r in await self.log()]
        seen += [(i["method"], i["url"]) for r in await self.log() for i in r["inner"]]
        return sum(m == method and re.search(pattern, path) is not None for m, path in seen)

    async def forget(self) -> None:
        await self.http.delete("log")

    async def deliver(
        self, raw: bytes, folder: str = "inbox", user: str = ALICE, received: str | None = None
    ) -> str:
        params = {"folder": folder} | ({"received": received} if received else {})
        answer = await self.http.post(f"users/{user}/messages", params=params, content=raw)
        identity: str = answer.raise_for_status().json()["id"]
        return identity

    async def listing(self, folder: str = "inbox", user: str = ALICE) -> list[dict[str, Any]]:
        answer = await self.http.get(f"users/{user}/messages", params={"folder": folder})
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    async def patch(self, message: str, **change: object) -> None:
        (await self.http.patch(f"users/{ALICE}/messages/{message}", json=change)).raise_for_status()

    async def move(self, message: str, folder: str) -> None:
        answer = await self.http.post(f"users/{ALICE}/messages/{message}/move", json={"folder": folder})
        answer.raise_for_status()

    async def delete(self, message: str) -> None:
        (await self.http.delete(f"users/{ALICE}/messages/{message}")).raise_for_status()

    async def rules(self, **on: bool) -> None:
        body = {name.replace("_", "-"): value for name, value in on.items()}
        (await self.http.post("rules", json=body)).raise_for_status()

    async def limits(self, **values: float) -> None:
        (await self.http.post("limits", json=values)).raise_for_status()

    async def fault(self, method: str, path: str, mode: str = "error", **more: object) -> None:
        body = {"method": method, "path": path, "mode": mode, "count": 1, **more}
        body = {key: value for key, value in body.items() if value is not None}
        (await self.http.post("faults", json=body)).raise_for_status()

    async def down(self) -> None:
        """Graph answers 503 to everything until `heal`."""
        await self.fault("*", "", status=503, count=None)

    async def heal(self) -> None:
        await self.http.delete("faults")

    async def expire_tokens(self) -> None:
        await self.http.post("tokens/expire")

    async def expire_delta(self) -> None:
        await self.http.post("delta/expire")

    def undelete(self, message: str) -> None:
        """Another IMAP gateway takes \\Deleted back: a property that the control API does not write."""
        _, item = self.emulator.tenant._item(ALICE, message)
        self.box.edit(item, 0)
        item.deleted = None

    # -- folders, which the control API does not change --

    @property
    def box(self) -> Any:
        return self.emulator.tenant.box(ALICE)

    def folder(self, name: str) -> Any:
        """A folder by display name or well-known name."""
        return next(f for f in self.box.folders.values() if name in (f.name, f.wellknown))

    def make_folder(self, name: str, parent: str = "msgfolderroot") -> str:
        identity: str = self.emulator.tenant.outlook_folder(ALICE, parent, name)
        return identity

    def rename_folder(self, name: str, to: str) -> None:
        folder = self.folder(name)
        folder.name = to
        self.box.touch_folder(folder)

    def move_folder(self, name: str, to: str) -> None:
        self.box.reparent(self.folder(name), self.folder(to))

    def destroy_folder(self, name: str) -> None:
        self.box.destroy_folder(self.folder(name))

    def names(self) -> set[str]:
        return {f.name for f in self.box.folders.values()}


@dataclass
class Site:
    """One gateway process's parts, without its command line."""

    folder: Path
    outlook: Outlook
    limits: Limits = QUICK
    settings: Settings = SHY
    imap_settings: ImapSettings = field(default_factory=lambda: ImapSettings(allow_plaintext=True, grace=0.5))
    clients: list[Client] = field(default_factory=list)
    hook: Hook | None = None
    disk: Path | None = None  # the body cache's folder
    port: int = 0
    smtp_port: int = 0

    async def up(self) -> None:
        """Take the state folder into use: store, Graph client, accounts, listener."""
        emulator = self.outlook.emulator
        tokens = MsalTokens(
            SignIn(
                authority=emulator.authority, client_id="demo-gateway", credential="demo-secret",
                scopes=tuple(app_scopes(f"{emulator.base_url}/v1.0")), ca_file=emulator.ca_file,
            )
        )  # fmt: skip
        self.graph = GraphClient(f"{emulator.base_url}/v1.0", tokens, limits=self.limits)
        self.store = SqliteStore(self.folder / "gateway.db", key=KEY, clock=time.time)
        await self.store.open()
        self.hubs = Hubs(self.store, change_log=self.limits.change_log)
        self.cache = BodyCache(
            memory=64 * MIB, spool_above=self.limits.body_spool, folder=self.disk, disk=64 * MIB, key=KEY
        )
        self.budget = SpoolBudget(self.limits.spool_in_flight)
        easy = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
        self.directory = Directory(Credentials(dict.fromkeys((ALICE, BOB, CAROL), easy)), self._account)
        self.server = ImapServer(self.directory, self.imap_settings, SystemClock(), self.limits)
        self.port = await self.server.start("127.0.0.1", 0)
        self.submission = SubmissionServer(
            self.directory, SmtpSettings(allow_plaintext=True, grace=0.5), SystemClock(), self.limits
        )
        self.smtp_port = await self.submission.start("127.0.0.1", 0)

    def _account(self, name: str) -> MailboxAccount:
        ctx = AccountContext(
            account=AccountId(name), graph=GraphMailbox(self.graph, name), store=self.store, hubs=self.hubs,
            settings=self.settings, limits=self.limits, clock=SystemClock(), rng=random.Random(1),
        )  # fmt: skip
        return MailboxAccount(ctx, self.hubs, Bodies(ctx, self.cache), self.budget, self.hook)

    async def down(self) -> None:
        for client in self.clients:
            await client.close()
        self.clients.clear()
        await asyncio.gather(self.server.stop(), self.submission.stop())
        await self.directory.close()
        await self.graph.aclose()
        await self.store.close()

    async def restart(self) -> None:
        await self.down()
        await self.up()

    # -- what tests hold --

    async def cold(self, user: str = ALICE) -> MailboxAccount:
        """The account, as soon as it can be used; its background sync may be under way."""
        return await self.directory.account(user)

    async def account(self, user: str = ALICE) -> MailboxAccount:
        """The account with INBOX and the special folders synced, and the request log empty."""
        account = await self.cold(user)
        task = account._background
        assert task is not None
        await asyncio.wait([task], timeout=30)
        assert task.done() and not task.cancelled() and task.exception() is None
        await self.outlook.forget()
        return account

    async def look(self, client: Client, user: str = ALICE) -> Answer:
        """NOOP, when what is known of every folder is too old."""
        for sync in (await self.cold(user))._syncs.values():
            sync.stale()
        return await client.do("NOOP")

    async def client(self, user: str = ALICE, password: str = PASSWORD) -> Client:
        """A connection, logged in, and the account warm."""
        client = await self.connect()
        (await client.do(f'LOGIN "{user}" "{password}"')).ok()
        await self.account(user)
        return client

    async def connect(self) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**24)
        client = Client(reader, writer)
        self.clients.append(client)
        await client.response()
        return client

    async def submit(
        self,
        raw: bytes,
        to: Sequence[str] = (BOB,),
        sender: str = ALICE,
        account: MailboxAccount | None = None,
    ) -> str:
        account = account or await self.account()
        spool = account.spool(len(raw))
        try:
            await spool.write(raw)
            return await account.submit(Envelope(sender, tuple(to)), spool)
        finally:
            await spool.close()

    async def smtp(
        self, raw: bytes, to: Sequence[str] = (BOB,), sender: str = ALICE, *, user: str = ALICE
    ) -> tuple[int, str]:
        """One submission over the socket; the final reply's code and text, whatever command it came to."""
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self.smtp_port, timeout=30, use_tls=False, start_tls=False
        )
        try:
            async with client:
                await client.login(user, PASSWORD)
                _, text = await client.sendmail(sender, list(to), raw)
        except aiosmtplib.SMTPRecipientsRefused as error:
            return error.recipients[0].code, error.recipients[0].message
        except aiosmtplib.SMTPResponseException as error:
            return error.code, error.message
        return 250, text

    async def append(
        self,
        name: str,
        raw: bytes,
        flags: Any,
        date: int | None = None,
        *,
        account: MailboxAccount | None = None,
    ) -> Any:
        account = account or await self.account()
        spool = account.spool(len(raw))
        try:
            await spool.write(raw)
            return await account.append(name, [Incoming(spool, flags, date)])
        finally:
            await spool.close()

    async def append_all(self, name: str, raws: Sequence[bytes], *, account: MailboxAccount) -> Any:
        """Several messages in one APPEND."""
        async with AsyncExitStack() as stack:
            return await account.append(name, [await self._incoming(account, raw, stack) for raw in raws])

    async def replace(self, folder: OpenFolder, uid: int, raw: bytes, *, account: MailboxAccount) -> Any:
        async with AsyncExitStack() as stack:
            return await folder.replace(Uid(uid), folder.name, await self._incoming(account, raw, stack))

    async def _incoming(self, account: MailboxAccount, raw: bytes, stack: AsyncExitStack) -> Incoming:
        spool = account.spool(len(raw))
        stack.push_async_callback(spool.close)
        await spool.write(raw)
        return Incoming(spool, Flags(), None)


@asynccontextmanager
async def outlook_world(
    folder: Path, *, messages: int = 0, language: str = "en", **lag: float
) -> AsyncIterator[Outlook]:
    options = EmulatorOptions(
        port=0, http=True, messages=messages, language=language, state_dir=folder / "emulator"
    )
    emulator = await start(options)
    http = httpx.AsyncClient(base_url=f"{emulator.control_url}/", timeout=30)
    made = Outlook(emulator, http)
    try:
        await made.limits(**{**NO_LAG, **lag})
        yield made
    finally:
        await http.aclose()
        await emulator.stop()


@asynccontextmanager
async def account_world(
    folder: Path,
    *,
    messages: int = 0,
    language: str = "en",
    limits: Limits = QUICK,
    settings: Settings = SHY,
    **lag: float,
) -> AsyncIterator[Site]:
    """A running site; `lag`: limits of the emulator in place of NO_LAG's."""
    async with outlook_world(folder, messages=messages, language=language, **lag) as outlook:
        site = Site(folder, outlook, limits, settings)
        await site.up()
        try:
            yield site
        finally:
            await site.down()


# -- an IMAP client that keeps book --


@dataclass(slots=True)
class Answer:
    """What one command brought: untagged responses (literals inside) and the tagged line without its tag."""

    lines: list[bytes]
    tagged: bytes

    def ok(self) -> Answer:
        assert self.tagged.startswith(b"OK"), self.tagged
        return self

    def no(self, code: bytes = b"") -> Answer:
        assert self.tagged.startswith(b"NO [" + code if code else b"NO"), self.tagged
        return self

    def having(self, word: bytes) -> list[bytes]:
        return [line for line in self.lines if word in line]

    def number(self, pattern: bytes) -> int:
        found = re.search(pattern, b"\n".join([*self.lines, self.tagged]))
        assert found is not None, (pattern, self.lines, self.tagged)
        return int(found[1])

    def literal(self) -> bytes:
        """The one literal of the answer."""
        (line,) = self.having(b"{")
        head, _, rest = line.partition(b"\r\n")
        size = int(head[head.rindex(b"{") + 1 : -1])
        return rest[:size]


class Client:
    """Reads everything it is sent, and keeps the list of messages that RFC 9051 makes of it.

    `uids`: one entry a message, None while the client was not told. A response that no server may send (EXPUNGE of
    a number that is not there, EXISTS that shrinks) fails the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._tags = (b"t%d" % n for n in itertools.count(1))
        self.uids: list[int | None] = []
        self.flags: dict[int, frozenset[bytes]] = {}  # by sequence number, as last told
        self.closed = False

    async def response(self, seconds: float = 20.0) -> bytes:
        """The next response without its CRLF, literals inside; b"" at the end of the connection."""
        async with asyncio.timeout(seconds):
            line = await self._reader.readline()
            while match := re.search(rb"\{(\d+)\}\r\n\Z", line):
                line += await self._reader.readexactly(int(match[1]))
                line += await self._reader.readline()
        line = line.removesuffix(b"\r\n")
        self._hear(line)
        return line

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def do(self, command: str | bytes, *literals: bytes, seconds: float = 20.0) -> Answer:
        """One command; `literals` are put at its end, each behind a piece of it split at `{}`."""
        tag = self.start(command, *literals)
        return await self.finish(tag, seconds)

    def start(self, command: str | bytes, *literals: bytes) -> bytes:
        """Send it and do not wait; the tag."""
        tag = next(self._tags)
        line = command.encode() if isinstance(command, str) else command
        if re.match(rb"(UID )?(SELECT|EXAMINE)\b", line, re.IGNORECASE):
            self.uids, self.flags = [], {}
        for literal in literals:
            line = line.replace(b"{}", b"{%d+}\r\n%b" % (len(literal), literal), 1)
        self.send(tag + b" " + line + b"\r\n")
        return tag

    async def finish(self, tag: bytes, seconds: float = 20.0) -> Answer:
        lines: list[bytes] = []
        async with asyncio.timeout(seconds):
            while True:
                line = await self.response(seconds)
                assert line, f"connection closed, after {lines}"
                if line.startswith(tag + b" "):
                    return Answer(lines, line[len(tag) + 1 :])
                assert line.startswith((b"* ", b"+ ")), line
                lines.append(line)

    async def select(self, name: str = "INBOX") -> Answer:
        return (await self.do(f'SELECT "{name}"')).ok()

    async def idle(self) -> bytes:
        tag = self.start("IDLE")
        while not (await self.response()).startswith(b"+"):
            pass
        return tag

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass

    # -- the book --

    def _hear(self, line: bytes) -> None:
        match = re.match(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)", line)
        if match is None:
            return
        number, kind = int(match[1]), match[2]
        if kind == b"EXISTS":
            assert number >= len(self.uids), "EXISTS took messages away without EXPUNGE"
            self.uids += [None] * (number - len(self.uids))
        elif kind == b"EXPUNGE":
            assert 1 <= number <= len(self.uids), f"EXPUNGE of {number} of {len(self.uids)}"
            del self.uids[number - 1]
            self.flags = {n - (n > number): flags for n, flags in self.flags.items() if n != number}
        else:
            self._hear_fetch(number, line)

    def _hear_fetch(self, number: int, line: bytes) -> None:
        assert 1 <= number <= len(self.uids), f"FETCH of {number} of {len(self.uids)}"
        if uid := re.search(rb"\bUID (\d+)", line):
            known = self.uids[number - 1]
            assert known in (None, int(uid[1])), f"{number} was UID {known}, is {uid[1]!r}"
            self.uids[number - 1] = int(uid[1])
        if flags := re.search(rb"\bFLAGS \(([^)]*)\)", line):
            self.flags[number] = frozenset(flags[1].split()) - {b"\\Recent"}


async def fetched(client: Client, uid: int, item: str = "BODY.PEEK[]") -> bytes:
    return (await client.do(f"UID FETCH {uid} ({item})")).ok().literal()


async def until(check: Callable[[], Any], seconds: float = 15.0) -> Any:
    """`eventually`, and it must."""
    value = await eventually(check, seconds)
    assert value
    return value


__all__ = ["ALICE", "BOB", "CAROL", "Client", "Outlook", "Site", "account_world", "mime", "outlook_world"]
