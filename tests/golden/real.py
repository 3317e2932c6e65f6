"""The gateway whole, up to its socket: IMAP server, account, store, Graph client, and the emulator behind them.

One emulator serves the process, on a thread of its own; each transcript has a user of its own in it, so that
nothing must be cleaned away. IMAP's clock is virtual, the account's stands still but for `T+`.
Before the first line the account is warm (its background sync has ended), unless the transcript says `cold`.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import random
import re
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from fakes import VirtualClock
from golden import graphlog
from golden.messages import NAMED, received, standard
from golden.options import PASSWORD, USER, Options, certificates
from golden.pushed import Pushed

from gateway.core.errors import AuthenticationFailed
from gateway.core.limits import MIB
from gateway.core.types import AccountId
from gateway.emulator.serve import EmulatorOptions, EmulatorThread, RunningEmulator
from gateway.graph.client import GraphClient
from gateway.graph.mail import GraphMailbox
from gateway.graph.token import MsalTokens, SignIn, app_scopes
from gateway.imap.context import ImapSettings
from gateway.imap.server import ImapServer
from gateway.mailbox.account import MailboxAccount
from gateway.mailbox.accounts import Directory
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.cache import BodyCache
from gateway.mailbox.context import AccountContext, Settings
from gateway.mailbox.hub import Hubs
from gateway.mailbox.spool import SpoolBudget
from gateway.mailbox.values import Envelope
from gateway.store.sqlite import SqliteStore
from gateway.wire.scram import Verifier, verifier

KEY = bytes(range(32))
VERIFIER = verifier(PASSWORD, b"0123456789abcdef", 4096)
NO_LAG = dict.fromkeys(
    (
        "delta_lag_seconds",
        "counts_lag_seconds",
        "conflict_seconds",
        "fresh_404_seconds",
        "sent_copy_seconds",
        "search_lag_seconds",
    ),
    0,
) | {"search_results": 1000}
QUIET = 0.02  # seconds without a request in flight: the server has come to rest
DELETED = "Integer {00062008-0000-0000-C000-000000000046} Id 0x8570"
VERBS = {"\\Answered": ("102", "261"), "$Forwarded": ("104", "262")}  # 0x1081, 0x1080


# -- what all transcripts share --


@cache
def emulator() -> RunningEmulator:
    """Started once a process."""
    thread = EmulatorThread(EmulatorOptions(port=0, http=True, messages=0, users=1))
    running = thread.__enter__()
    atexit.register(thread.__exit__)
    return running


@cache
def tokens() -> MsalTokens:
    running = emulator()
    return MsalTokens(
        SignIn(
            authority=running.authority, client_id="demo-gateway", credential="demo-secret",
            scopes=tuple(app_scopes(f"{running.base_url}/v1.0")), ca_file=running.ca_file,
        )
    )  # fmt: skip


@cache
def trust() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return certificates()


_numbers = itertools.count(1)


class StillClock:
    """Time that passes only when a hand moves it, a microsecond a look excepted, so that "two seconds old" does
    not depend on the machine. A short sleep takes the machine's own time."""

    def __init__(self) -> None:
        self._now = 1_000_000.0
        self._jumped = asyncio.Event()
        self._began = self._now

    def time(self) -> float:
        return time.time() + self._now - self._began

    def monotonic(self) -> float:
        self._now += 1e-6
        return self._now

    async def sleep(self, seconds: float) -> None:
        end = self._now + seconds
        while (left := end - self._now) > 0:
            try:
                await asyncio.wait_for(self._jumped.wait(), left)
            except TimeoutError:
                return

    def jump(self, seconds: float) -> None:
        self._now += seconds
        jumped, self._jumped = self._jumped, asyncio.Event()
        jumped.set()


class Passwords:
    """In place of argon2, which takes its time on purpose."""

    def __init__(self, scram: bool) -> None:
        self.scram = scram

    def verifier(self, user: str) -> Verifier:
        return VERIFIER if user.lower() == USER else replace(VERIFIER, stored_key=bytes(32))

    async def check(self, user: str, password: str) -> str:
        if (user.lower(), password) != (USER, PASSWORD):
            raise AuthenticationFailed("Wrong user name or password")
        return USER

    def close(self) -> None:
        return None


# -- the mailbox from outside --


class Outlook:
    """The user's mailbox as other programs change it: the control API, and folders, which it does not change."""

    def __init__(self, running: RunningEmulator, http: httpx.AsyncClient, upn: str) -> None:
        self._tenant = running.tenant
        self._http = http
        self._upn = upn
        self._delivered = 0

    def folder(self, name: str) -> str:
        """The id of the folder at an IMAP path; KeyError."""
        box = self._tenant.box(self._upn)
        at = box.special["msgfolderroot"]
        for level in name.split("/"):
            at = next(
                (
                    f
                    for f in box.children(at.number)
                    if level == ("INBOX" if f.wellknown == "inbox" else f.name)
                ),
                None,
            ) or _missing(name)
        return box.folder_id(at.number)

    def create(self, name: str) -> None:
        """With the levels that are missing."""
        parent, _, level = name.rpartition("/")
        if parent and not self.has(parent):
            self.create(parent)
        above = self.folder(parent) if parent else "msgfolderroot"
        self._tenant.outlook_folder(self._upn, above, level)

    def has(self, name: str) -> bool:
        try:
            self.folder(name)
        except KeyError:
            return False
        return True

    def rename(self, name: str, level: str) -> None:
        box = self._tenant.box(self._upn)
        folder = box.folder_by_id(self.folder(name))
        assert folder is not None
        folder.name = level
        box.touch_folder(folder)

    def destroy(self, name: str) -> None:
        """With its messages, and for good."""
        box = self._tenant.box(self._upn)
        folder = box.folder_by_id(self.folder(name))
        assert folder is not None
        box.destroy_folder(folder)

    def lack(self, wellknown: str) -> None:
        """The mailbox has no such special folder, as one without an archive (contract section 5.1)."""
        box = self._tenant.box(self._upn)
        box.destroy_folder(box.special.pop(wellknown))

    def full(self) -> None:
        """Nothing more goes into the mailbox."""
        self._tenant.box(self._upn).used += 1 << 60

    async def messages(self, name: str) -> list[dict[str, Any]]:
        """In the order they were received."""
        found = await self._http.get(f"users/{self._upn}/messages", params={"folder": self.folder(name)})
        rows: list[dict[str, Any]] = found.raise_for_status().json()
        return sorted(rows, key=lambda row: str(row["receivedDateTime"]))

    async def nth(self, name: str, number: str) -> str:
        identity: str = (await self.messages(name))[int(number) - 1]["id"]
        return identity

    async def deliver(self, name: str, which: str = "") -> None:
        self._delivered += 1
        number = self._delivered
        params = {"folder": self.folder(name), "received": str(received(number))}
        content = NAMED[which] if which else standard(number)
        answer = await self._http.post(f"users/{self._upn}/messages", params=params, content=content)
        answer.raise_for_status()

    async def flags(self, name: str, number: str, flags: Sequence[str]) -> None:
        change = outlook_flags(flags)
        url = f"users/{self._upn}/messages/{await self.nth(name, number)}"
        (await self._http.patch(url, json=change)).raise_for_status()

    async def move(self, name: str, number: str, target: str) -> None:
        await self.move_id(await self.nth(name, number), target)

    async def move_id(self, id: str, target: str) -> None:
        url = f"users/{self._upn}/messages/{id}/move"
        (await self._http.post(url, json={"folder": self.folder(target)})).raise_for_status()

    async def delete(self, name: str, number: str) -> None:
        url = f"users/{self._upn}/messages/{await self.nth(name, number)}"
        (await self._http.delete(url)).raise_for_status()

    async def purge(self, name: str, number: str) -> None:
        """Gone for good: no id leads to it any more."""
        box = self._tenant.box(self._upn)
        item = box.item_by_id(await self.nth(name, number))
        assert item is not None
        box.destroy(item)

    async def fault(self, **fault: object) -> None:
        (await self._http.post("faults", json=fault)).raise_for_status()

    async def heal(self) -> None:
        await self._http.delete("faults")

    async def see(self, name: str) -> list[str]:
        """A line per message, of what Outlook shows: `Subject: read flagged deleted draft verb=102 "Category"`; of
        `outside`, a line per mail that left the tenant: `recipient: Subject`."""
        if name == "outside":
            return [
                f"{mail.recipient}: {_subject(mail.mime)}"
                for mail in self._tenant.outside
                if mail.sender.lower() == self._upn
            ]
        return [outlook_line(row) for row in await self.messages(name)]


def _subject(mime: bytes) -> str:
    found = re.search(rb"^Subject: (.*?)\r$", mime, re.MULTILINE)
    return found[1].decode() if found else ""


def _missing(name: str) -> Any:
    raise KeyError(name)


def outlook_flags(flags: Sequence[str]) -> dict[str, object]:
    """The PATCH by which Outlook gives a message these flags and no others."""
    verb, icon = next((VERBS[flag] for flag in flags if flag in VERBS), ("0", "256"))
    return {
        "isRead": "\\Seen" in flags,
        "flag": {"flagStatus": "flagged" if "\\Flagged" in flags else "notFlagged"},
        "categories": [flag.replace("_", " ") for flag in flags if flag[0] not in "\\$"],
        "singleValueExtendedProperties": [
            {"id": DELETED, "value": str(int("\\Deleted" in flags))},
            {"id": "Integer 0x1081", "value": verb},
            {"id": "Integer 0x1080", "value": icon},
        ],
    }


def outlook_line(row: dict[str, Any]) -> str:
    marks = [
        "read" if row["isRead"] else "unread",
        *(["flagged"] if row["flag"] == "flagged" else []),
        *(["deleted"] if str(row["deleted"]) == "1" else []),
        *(["draft"] if row["isDraft"] else []),
        *([f"verb={row['verb']}"] if row["verb"] else []),
        *(f'"{category}"' for category in row["categories"]),
    ]
    return f"{row['subject']}: {' '.join(marks)}"


class ColdAccount(MailboxAccount):
    """Nothing is fetched in the background, as in the first moments after a first login."""

    async def _keep_warm(self) -> None:
        return None


# -- the backend --


class RealBackend:
    """`backend.Backend` over everything."""

    def __init__(self, options: Options, upn: str, http: httpx.AsyncClient, folder: Path) -> None:
        self.port = 0
        self.tls: ssl.SSLContext | None = None
        self.clock = VirtualClock()
        self._options = options
        self._upn = upn
        self._http = http
        self._folder = folder
        self._inner = StillClock()
        self.outlook = Outlook(emulator(), http, upn)
        self._pushed = Pushed(emulator(), http, upn) if options.push else None

    # -- life --

    async def start(self) -> None:
        options = self._options
        self._hook = await self._pushed.start() if self._pushed is not None else None
        limits = replace(options.limits, graph_timeout=10.0, graph_patience=options.patience)
        self._graph = GraphClient(
            f"{emulator().base_url}/v1.0", tokens(), ca_file=emulator().ca_file, limits=limits
        )
        self._store = SqliteStore(
            self._folder / "gateway.db", key=KEY, clock=time.time, tombstones=options.tombstones
        )
        await self._store.open()
        self._hubs = Hubs(self._store, change_log=limits.change_log)
        self._limits = limits
        self._settings = Settings(
            poll_interval=options.poll, labels=tuple(options.labels), expunge=options.expunge,
            admin=options.admin, quota=options.quota,
            search_body=options.search_body, search_fetch=options.search_fetch,
        )  # fmt: skip
        self._directory = Directory(Passwords(options.scram), self._account)  # type: ignore[arg-type]
        self._server = ImapServer(
            self._directory,
            ImapSettings(
                allow_plaintext=options.plaintext,
                message_limit=options.message_limit,
                refuse_raw_headers=options.refuse_raw_headers,
            ),
            self.clock,
            limits,
        )
        server_tls = None
        if options.tls:
            server_tls, self.tls = trust()
        self.port = await self._server.start("127.0.0.1", 0, server_tls)

    def _account(self, name: str) -> MailboxAccount:
        ctx = AccountContext(
            account=AccountId(name), graph=GraphMailbox(self._graph, self._upn), store=self._store, hubs=self._hubs,
            settings=self._settings, limits=self._limits, clock=self._inner, rng=random.Random(1),
        )  # fmt: skip
        cache = BodyCache(memory=64 * MIB, spool_above=self._limits.body_spool, folder=None, disk=0, key=KEY)
        kind = ColdAccount if self._options.cold else MailboxAccount
        budget = SpoolBudget(self._limits.spool_in_flight)
        return kind(ctx, self._hubs, Bodies(ctx, cache), budget, self._hook)

    async def prepare(self) -> None:
        """The fixtures, then the account, then what only the gateway knows."""
        ours = [step for step in self._options.steps if step[0] in GATEWAYS_OWN]
        for step in self._options.steps:
            if step not in ours:
                await self._do(step)
        if not self._options.cold:
            await self._warm()
        for step in ours:
            await self.outside(step)

    async def _warm(self) -> None:
        account = await self._directory.account(USER)
        if account._background is not None:
            await account._background
        if self._pushed is not None:
            await self._pushed.alive()
            await self.settle()

    async def stop(self) -> None:
        await self.outlook.heal()
        stopping = asyncio.ensure_future(self._server.stop())
        while not stopping.done():
            await self.clock.advance(1.0)
            await asyncio.sleep(0.001)
        await stopping
        await self._directory.close()
        if self._pushed is not None:
            await self._pushed.stop()
        await self._graph.aclose()
        await self._store.close()

    # -- O: --

    async def outside(self, words: Sequence[str]) -> None:
        """Done, and the gateway has heard of it, unless that is the point of the verb."""
        if self._pushed is not None and words[0] in ANNOUNCED:
            self._pushed.mark()
        await self._do(words)
        if words[0] in HEARD:
            await self._hear(words)

    async def _do(self, words: Sequence[str]) -> None:
        await VERBS_OF_O[words[0]](self, *words[1:])

    async def _hear(self, words: Sequence[str]) -> None:
        account = await self._directory.account(USER)
        await account._fresh(0.0)
        for name in words[1:]:
            entry = account.hierarchy.tree.get(name)
            if entry is not None:
                await account.sync(entry.row).ready()
                await account.sync(entry.row).poll(max_age=0.0)

    async def _fill(self, mailbox: str, count: str) -> None:
        for _ in range(int(count)):
            await self.outlook.deliver(mailbox)

    async def _create(self, mailbox: str) -> None:
        self.outlook.create(mailbox)

    async def _rename(self, mailbox: str, level: str) -> None:
        self.outlook.rename(mailbox, level)

    async def _lack(self, wellknown: str) -> None:
        self.outlook.lack(wellknown)

    async def _full(self) -> None:
        self.outlook.full()

    async def _destroy(self, mailbox: str) -> None:
        self.outlook.destroy(mailbox)

    async def _unsubscribe(self, mailbox: str) -> None:
        account = await self._directory.account(USER)
        await account.subscribe(mailbox, False)

    async def _flags(self, mailbox: str, number: str, *flags: str) -> None:
        await self.outlook.flags(mailbox, number, flags)

    async def _move(self, mailbox: str, number: str, target: str) -> None:
        await self.outlook.move(mailbox, number, target)

    async def _swing(self, mailbox: str, number: str, through: str) -> None:
        """Away and back, between two looks."""
        id = await self.outlook.nth(mailbox, number)
        await self.outlook.move_id(id, through)
        await self.outlook.move_id(id, mailbox)

    async def _delete(self, mailbox: str, number: str) -> None:
        await self.outlook.delete(mailbox, number)

    async def _vanish(self, mailbox: str, number: str) -> None:
        await self.outlook.purge(mailbox, number)

    async def _refuse(self, mailbox: str, number: str) -> None:
        id = re.escape(await self.outlook.nth(mailbox, number))
        await self.outlook.fault(method="PATCH", path=id, status=503)

    async def _down(self) -> None:
        await self.outlook.fault(method="*", path="", status=503)

    async def _up(self) -> None:
        await self.outlook.heal()

    async def _fault(self, method: str, path: str, status: str, *more: str) -> None:
        """The next call that fits is answered so: `fault GET value 429 retry_after=0.05`."""
        pairs = (word.split("=") for word in more)
        extra = {name: value if name == "code" else float(value) for name, value in pairs}
        await self.outlook.fault(method=method, path=path, status=int(status), **{"count": 1, **extra})

    async def _expire(self, what: str) -> None:
        (await self._http.post(f"{what}/expire")).raise_for_status()

    async def _submit(self, which: str) -> None:
        """A client of the same user sends this one; it has heard the 250."""
        account = await self._directory.account(USER)
        spool = account.spool(len(NAMED[which]))
        await spool.write(NAMED[which].replace(b"alice@example.com", self._upn.encode()))
        envelope = Envelope(self._upn, ("bob@example.net",))
        await account.heard(await account.submit(envelope, spool))
        await spool.close()

    async def _stale(self, mailbox: str) -> None:
        """What is known of this mailbox is too old."""
        account = await self._directory.account(USER)
        account.sync(account.hierarchy.tree.find(mailbox).row).stale()

    async def _evict(self) -> None:
        """No octets of any message are cached any more."""
        cache = (await self._directory.account(USER)).bodies._cache
        cache._memory.clear()
        cache._files.clear()

    @staticmethod
    def _push(verb: str) -> Callable[..., Awaitable[None]]:
        """A verb of `pushed`, and what comes of it."""

        async def step(backend: RealBackend, *words: str) -> None:
            await getattr(backend._pushed, verb)(*words)
            await backend.settle()

        return step

    async def see(self, mailbox: str) -> list[str]:
        return await self.outlook.see(mailbox)

    # -- time --

    async def advance(self, seconds: float) -> None:
        await self.settle()
        self._inner.jump(seconds)
        await self.clock.advance(seconds)
        await self.settle()

    async def settle(self) -> None:
        """Until nothing is on its way to Graph, nor was a moment ago."""
        before = -1
        while True:
            for _ in range(4):
                await asyncio.sleep(QUIET / 4)
            entries = list(emulator().app.journal._entries)
            under_way = any(not entry.status for entry in entries)
            if not under_way and len(entries) == before:
                return
            before = len(entries)

    # -- G: --

    async def graph_log(self) -> list[str] | None:
        log = (await self._http.get("log")).json()["requests"]
        return graphlog.lines(log)

    async def reset_graph_log(self) -> None:
        await self._http.delete("log")


VERBS_OF_O: dict[str, Callable[..., Awaitable[None]]] = {
    "fill": RealBackend._fill,
    "deliver": lambda backend, mailbox, name="": backend.outlook.deliver(mailbox, name),
    "arrive": lambda backend, mailbox, name="": backend.outlook.deliver(mailbox, name),
    "create": RealBackend._create,
    "rename": RealBackend._rename,
    "destroy": RealBackend._destroy,
    "lack": RealBackend._lack,
    "full": RealBackend._full,
    "unsubscribe": RealBackend._unsubscribe,
    "flags": RealBackend._flags,
    "patch": RealBackend._flags,
    "move": RealBackend._move,
    "swing": RealBackend._swing,
    "delete": RealBackend._delete,
    "remove": RealBackend._delete,
    "vanish": RealBackend._vanish,
    "refuse": RealBackend._refuse,
    "down": RealBackend._down,
    "up": RealBackend._up,
    "fault": RealBackend._fault,
    "expire": RealBackend._expire,
    "evict": RealBackend._evict,
    "stale": RealBackend._stale,
    "submit": RealBackend._submit,
    **{verb: RealBackend._push(verb) for verb in ("told", "event", "deaf", "hearing")},
}  # fmt: skip
ANNOUNCED = {"arrive", "patch", "move", "remove"}
HEARD = {"fill", "deliver", "create", "rename", "flags", "move", "delete"}
GATEWAYS_OWN = {"unsubscribe", "vanish", "refuse", "down", "fault"}


@asynccontextmanager
async def real_backend(options: Options) -> AsyncIterator[RealBackend]:
    upn = f"golden{next(_numbers)}@example.com"
    emulator().tenant.add_user(upn, options.language)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"{emulator().control_url}/", timeout=30, verify=False)
        )
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="golden-"))
        (await http.post("limits", json={**NO_LAG, **options.lags})).raise_for_status()
        backend = RealBackend(options, upn, http, Path(folder))
        await backend.start()
        stack.push_async_callback(backend.stop)
        await backend.prepare()
        await backend.reset_graph_log()
        yield backend
