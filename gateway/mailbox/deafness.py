"""Notifications that stop without a word: a proxy that passes them on no more, an address that leads elsewhere.

Graph tells of every change of a mailbox, our own included, within three minutes (contract section 13). So when watched
folders have changed and nothing at all was heard for longer than that, nothing will be: folders are polled again, until
a notification comes. Where several processes share a subscription, one that hears nothing proves nothing: another may.
"""

from __future__ import annotations

from contextlib import suppress

import structlog

from gateway.core.errors import GatewayError
from gateway.core.types import ModSeq
from gateway.mailbox.context import AccountContext
from gateway.mailbox.duty import Always
from gateway.mailbox.notices import Inbox
from gateway.mailbox.watch import Watches

LOOK = 60.0  # seconds between looks at what changed
PATIENCE = 300.0  # seconds in which a change must have been told

log = structlog.get_logger("gateway.mailbox")


class Deafness:
    """Ends `ctx.freshness` when notifications stop; `heard` says that they do come. One task per account."""

    def __init__(self, ctx: AccountContext, watches: Watches, inbox: Inbox) -> None:
        self._ctx = ctx
        self._watches = watches
        self._inbox = inbox
        self._heard = 0
        self._levels: dict[int, ModSeq] = {}
        self._unheard: float | None = None  # since when something has changed that nobody told of
        self.deaf = False

    async def run(self) -> None:
        while True:
            await self._ctx.clock.sleep(LOOK)
            if isinstance(self._ctx.duty, Always):
                with suppress(GatewayError):
                    await self.look()

    async def look(self) -> None:
        levels = {row.key: row.modseq for row in await self._watches.watched()}
        now = self._ctx.clock.monotonic()
        if self._ctx.freshness.since is None or self._inbox.heard != self._heard:
            self._unheard = None
        elif any(level > self._levels.get(key, level) for key, level in levels.items()):
            self._unheard = now if self._unheard is None else self._unheard
        self._heard, self._levels = self._inbox.heard, levels
        if self._unheard is not None and now - self._unheard >= PATIENCE:
            log.warning("notifications do not arrive; polling", account=self._ctx.account)
            self.deaf, self._unheard = True, None
            self._ctx.freshness.end()

    def hears(self) -> bool:
        """Something has come: whether that is news, after none did."""
        was, self.deaf = self.deaf, False
        return was
