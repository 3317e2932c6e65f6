"""The gateway assembled from a configuration: store, tokens, Graph, accounts, and the listeners in front of them.

Order of starting: state folder and key, store, then listeners; nothing asks Graph before somebody logs in, so a
start takes as long as opening the database. Stopping goes the other way, and lets running commands end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hmac
import logging
import random
import sys
import traceback
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog
from structlog.typing import EventDict

from gateway import __version__
from gateway.config import AccountSection, Config
from gateway.core.errors import GatewayError, Unavailable
from gateway.core.limits import DEFAULT_LIMITS, LITERAL_MINUS, MIB, Limits
from gateway.core.types import AccountId
from gateway.database import OpenError, Place, open_store
from gateway.graph.client import CallRecord, GraphClient
from gateway.graph.mail import GraphMailbox
from gateway.graph.token import MsalTokens
from gateway.imap.context import ImapSettings
from gateway.imap.server import ImapServer
from gateway.keys import app_sign_in, delegated_sign_in, tls_context, token_cache
from gateway.mailbox.account import MailboxAccount
from gateway.mailbox.accounts import Directory
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.cache import BodyCache
from gateway.mailbox.clock import SystemClock
from gateway.mailbox.context import ALONE, AccountContext, Settings
from gateway.mailbox.credentials import Credentials
from gateway.mailbox.hub import Hubs
from gateway.mailbox.notices import Board
from gateway.mailbox.push import Hook
from gateway.mailbox.spool import SpoolBudget
from gateway.mailbox.subscription import Addresses
from gateway.mailbox.work import settled
from gateway.relays import doors
from gateway.smtp.server import SmtpSettings, SubmissionServer
from gateway.store.jobs import JobStore
from gateway.store.keyfile import load_or_create_key, private_folder
from gateway.store.statelock import StateLock
from gateway.web import webhooks
from gateway.web.metrics import Content, Metrics, Sources
from gateway.web.server import WebServer
from gateway.wire.sasl import user_name

RESUME_EVERY = 60.0  # seconds: mail of a gateway that died waits no longer for another one
SWEEP_EVERY = 24 * 3600.0  # seconds: originals of messages that are gone must not pile up until a restart

log = structlog.get_logger()


@dataclass(slots=True)
class Ports:
    """What is bound; 0 = not configured."""

    imap: int = 0
    imaps: int = 0
    smtp: int = 0
    smtps: int = 0
    web: int = 0
    relays: tuple[int, ...] = ()  # in the order of the configuration


class StartError(Exception):
    """One line: what keeps the gateway from starting, and what to do."""


class Gateway:
    """One process. `start` then `stop`, once each."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.limits = _limits(config)
        self.metrics = Metrics()
        self.ports = Ports()
        self.board = Board()
        self._clock = SystemClock()
        self._rng = random.Random()  # noqa: S311  (back-off jitter)
        self._clients: list[GraphClient] = []
        self._listening = False
        self._originals = 0
        self._queue = 0, 0.0
        # Of several on one database each has its own name, and another one after each start.
        self._node = ALONE if config.store.url is None else uuid.uuid4().hex

    async def start(self) -> None:
        """Returns when every listener is open. StartError for a port that is taken, ConfigError for what only shows
        when files are opened; OSError and StoreError from the state folder. Nothing is left open then."""
        async with contextlib.AsyncExitStack() as opened:
            await self._open(opened)
            self._opened = opened.pop_all()
        self._listening = True
        log.info("ready", version=__version__, imap=self.ports.imap, imaps=self.ports.imaps, smtp=self.ports.smtp,
                 smtps=self.ports.smtps, web=self.ports.web, relays=self.ports.relays)  # fmt: skip

    async def stop(self) -> None:
        self._listening = False
        await self._opened.aclose()
        log.info("stopped")

    async def _open(self, opened: contextlib.AsyncExitStack) -> None:
        """What was opened first is closed last."""
        state = self.config.state.dir
        private_folder(state)
        lock = StateLock(state)
        lock.take()
        opened.callback(lock.release)
        self._key = load_or_create_key(state / "key")
        self._store, self._place = await self._open_store()
        opened.push_async_callback(self._store.close)
        opened.callback(asyncio.create_task(self._sweep(), name="sweep").cancel)
        self._hubs = Hubs(self._store, change_log=self.limits.change_log)
        self._budget = SpoolBudget(self.limits.spool_in_flight)
        self._cache = self._body_cache(state)
        opened.push_async_callback(self._close_clients)
        await self._join()
        opened.push_async_callback(self._place.close)
        self._directory = self._make_directory()
        opened.push_async_callback(self._directory.close)
        opened.push_async_callback(settled)  # work that outlives the client that asked for it
        self._make_servers()
        opened.push_async_callback(self._stop_servers)
        await self._listen()
        opened.callback(asyncio.create_task(self._resume_submissions(), name="outbox").cancel)

    async def _resume_submissions(self) -> None:
        """Who left mail on its way is opened without waiting for him; on a shared database, again and again: another
        gateway may have left it."""
        while True:
            with contextlib.suppress(Unavailable):
                for account in await self._store.submission_accounts():
                    with contextlib.suppress(
                        KeyError, GatewayError
                    ):  # not configured any more; a login says why
                        await self._directory.account(user_name(account))
            if self._node == ALONE:
                return
            await self._clock.sleep(RESUME_EVERY)

    async def _open_store(self) -> tuple[JobStore, Place]:
        try:
            return await open_store(self.config, self._key, self._clock)
        except OpenError as error:
            raise StartError(f"store.url: {error}") from error

    async def _join(self) -> None:
        async def adopt(account: AccountId) -> None:
            await self._directory.account(account)

        try:
            await self._place.join(self._hubs, self.limits, adopt)
        except OpenError as error:
            raise StartError(f"store.url: {error}") from error

    async def _close_clients(self) -> None:
        for client in self._clients:
            await client.aclose()

    async def _stop_servers(self) -> None:
        await asyncio.gather(self._imap.stop(), self._smtp.stop())
        await self._web.stop()

    def unready(self) -> list[str]:
        """Reasons why `/readyz` says no."""
        return ([] if self._listening else ["listeners are not open"]) + self._place.troubles()

    # -- what metrics read --

    def _contents(self) -> list[Content]:
        return [
            Content(
                account.ctx.renewals.rendered,
                account.ctx.renewals.changed,
                account.bodies.placeholders,
                account.measuring.measured,
            )
            for account in self._directory.opened()
        ]

    async def _measure(self) -> None:
        with contextlib.suppress(Unavailable):  # the last figure stands
            self._originals = await self._store.originals_octets()
            totals = await self._store.queue_totals()
            self._queue = totals.depth, self._clock.time() - totals.oldest if totals.depth else 0.0

    # -- upkeep --

    async def _sweep(self) -> None:
        """Opening the store sweeps once; from then on every day."""
        while True:
            await self._clock.sleep(SWEEP_EVERY)
            with contextlib.suppress(Unavailable):  # tomorrow again
                await self._store.sweep()

    # -- parts --

    def _body_cache(self, state: Path) -> BodyCache:
        section = self.config.state
        disk = state / "cache" if section.cache_mib else None
        return BodyCache(
            memory=section.memory_mib * MIB, spool_above=self.limits.body_spool, folder=disk,
            disk=section.cache_mib * MIB, key=self._key,
        )  # fmt: skip

    def _make_directory(self) -> Directory:
        entries = {user_name(account.user): account for account in self.config.accounts}
        shared = self._app_client(entries)

        def make(name: str) -> MailboxAccount:
            return self._account(entries[name], shared)

        hashes = {name: entry.password_hash for name, entry in entries.items()}
        return Directory(Credentials(hashes, hmac.digest(self._key, b"users there are not", "sha256")), make)

    def _app_client(self, entries: Mapping[str, AccountSection]) -> GraphClient | None:
        if not any(entry.auth == "app" for entry in entries.values()):
            return None
        return self._client(MsalTokens(app_sign_in(self.config.graph)))

    def _client(self, tokens: MsalTokens) -> GraphClient:
        graph = self.config.graph
        client = GraphClient(
            graph.base_url, tokens, ca_file=graph.ca_file, limits=self.limits, http2=graph.http2, rng=self._rng,
            metrics=self._count, share=self._place.share,
        )  # fmt: skip
        self._clients.append(client)
        return client

    def _count(self, call: CallRecord) -> None:
        self.metrics.graph_request(call.method, call.status, call.seconds)

    def _account(self, entry: AccountSection, shared: GraphClient | None) -> MailboxAccount:
        if entry.auth == "app":
            assert shared is not None
            graph = GraphMailbox(shared, entry.mailbox or entry.user)
        else:
            sealed = token_cache(self.config.state.dir, self._key, entry.user)
            sign_in = delegated_sign_in(self.config.graph, entry)
            graph = GraphMailbox(
                self._client(MsalTokens(sign_in, sealed=sealed)), entry.mailbox if entry.shared else None
            )
        ctx = AccountContext(
            account=AccountId(entry.user.lower()), graph=graph, store=self._store,
            hubs=self._place.door(self._hubs), duty=self._place.duty(AccountId(entry.user.lower())),
            settings=_mailbox_settings(self.config, entry), limits=self.limits, clock=self._clock, rng=self._rng,
            node=self._node,
        )  # fmt: skip
        return MailboxAccount(ctx, self._hubs, Bodies(ctx, self._cache), self._budget, self._hook())

    def _hook(self) -> Hook | None:
        """Where Graph posts to; None without a public address."""
        url = self.config.web.public_url
        return Hook(Addresses(url + webhooks.NOTICES, url + webhooks.LIFECYCLE), self.board) if url else None

    # -- listeners --

    def _make_servers(self) -> None:
        config = self.config
        self._tls = tls = tls_context(config)
        self._imap = ImapServer(
            self._directory,
            ImapSettings(
                allow_plaintext=config.imap.allow_plaintext, version=__version__,
                message_limit=config.imap.message_limit,
                refuse_raw_headers=config.imap.raw_headers == "refuse",
            ),
            self._clock, self.limits, starttls=tls,
        )  # fmt: skip
        self._smtp = SubmissionServer(
            self._directory, _smtp_settings(config), self._clock, self.limits, quotas=self._store
        )
        self.metrics.read(
            Sources(
                self._imap,
                self._smtp,
                self._cache,
                self._budget,
                self._contents,
                lambda: self._originals,
                lambda: (self.board.taken, self.board.refused),
                lambda: self._queue,
                self._place.figures,
            )
        )
        hooks = webhooks.routes(self.board) if config.web.public_url else ()
        self._web = WebServer(self.metrics.registry, self.unready, self._measure, hooks)

    async def _listen(self) -> None:
        """Every configured port; those of TLS only where there is a certificate."""
        config, ports, tls = self.config, self.ports, self._tls
        imap, smtp, web = config.imap, config.submission, config.web
        ports.imap = await _bound("imap.port", imap.host, imap.port, partial(self._imap.start, tls=tls))
        ports.smtp = await _bound("submission.port", smtp.host, smtp.port, partial(self._smtp.start, tls=tls))
        if tls is not None:
            start = partial(self._imap.start, tls=tls, implicit=True)
            ports.imaps = await _bound("imap.tls_port", imap.host, imap.tls_port, start)
            start = partial(self._smtp.start, tls=tls, implicit=True)
            ports.smtps = await _bound("submission.tls_port", smtp.host, smtp.tls_port, start)
        for (host, port), door in doors(config.relay).items():
            start = partial(self._smtp.start, tls=tls, door=door)
            ports.relays += (await _bound("relay.port", host, port, start),)
        ports.web = await _bound("web.port", web.host, web.port, self._web.start)


async def _bound(key: str, host: str, port: int | None, start: Callable[[str, int], Awaitable[int]]) -> int:
    """The port that `start` listens on; 0 where none is wanted."""
    if port is None:
        return 0
    try:
        return await start(host, port)
    except OSError as error:
        reason, advice = _PORT_ERRORS.get(
            error.errno or 0, ("cannot be listened on", "choose another address")
        )
        raise StartError(f"{host}:{port} ({key}) {reason}; {advice}") from error


_PORT_ERRORS = {
    errno.EADDRINUSE: ("is taken by another program", "stop that one or choose another port"),
    errno.EACCES: ("is not allowed to this user", "choose a port above 1023, or grant CAP_NET_BIND_SERVICE"),
    errno.EADDRNOTAVAIL: ("is not an address of this machine", "choose another host"),
}


# -- from sections to arguments --


def _limits(config: Config) -> Limits:
    imap, submission = config.imap, config.submission
    return replace(
        DEFAULT_LIMITS,
        append=max(imap.append_limit, DEFAULT_LIMITS.command_literal), append_landable=imap.append_limit,
        connections_per_address=imap.connections_per_address, connections_per_user=imap.connections_per_user,
        login_delay=imap.login_delay, compressed_connections=imap.compressed_connections,
        unannounced_literal=LITERAL_MINUS if imap.literals == "minus" else DEFAULT_LIMITS.unannounced_literal,
        message=submission.max_size, graph_timeout=config.graph.timeout,
        body_memory=config.state.memory_mib * MIB,
    )  # fmt: skip


def _mailbox_settings(config: Config, account: AccountSection) -> Settings:
    imap = config.imap
    return Settings(
        imap.rfc822_size, imap.expunge, imap.read_receipts, imap.poll_interval, imap.labels,
        config.submission.header_mismatch, config.search.body, config.search.fetch_at_most,
        admin=imap.admin, quota=account.quota_mib * MIB, hostname=config.submission.hostname,
        prefetch=imap.prefetch, size_share=imap.size_share / 100,
        submission_mode=config.submission.mode, submission_path=config.submission.path,
        senders=account.known_senders, mail_tips=config.submission.mail_tips,
        mark_answered=config.submission.mark_answered,
        retry_window=config.submission.retry_window, queue_patience=config.submission.queue_hours * 3600.0,
    )  # fmt: skip


def _smtp_settings(config: Config) -> SmtpSettings:
    section = config.submission
    return SmtpSettings(
        hostname=section.hostname,
        allow_plaintext=section.allow_plaintext,
        longest_hold=section.longest_hold if section.path == "draft" else 0,  # a property of the draft
    )


def configure_logging(level: str, style: str) -> None:
    """structlog to standard error, JSON lines or for a person's eyes. No content, address of a message or secret is
    ever passed to it."""
    renderer = structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _type_and_place,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _type_and_place(_: object, __: str, event: EventDict) -> EventDict:
    """Of an exception only these: its text, and those of its causes, may hold what no log may."""
    if event.pop("exc_info", None) and (error := sys.exception()):
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        event["error"] = type(error).__name__
        event["at"] = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
    return event
