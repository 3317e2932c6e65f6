"""What a transcript is played against: a running IMAP server over some mailbox, and hands to reach behind.

`BACKENDS`: `fake` over a mailbox in memory, `real` over everything down to the emulator. One without Graph answers
None to `graph_log` and `see`, and those lanes are not looked at.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from golden.fake import fake_backend
from golden.options import Options
from golden.real import real_backend


class Backend(Protocol):
    """A running server and what stands behind it."""

    port: int
    tls: ssl.SSLContext | None  # a client's, which trusts the server

    async def outside(self, words: Sequence[str]) -> None:
        """Do what another program does to the mailbox (the O: lane):

        fill MAILBOX n               n standard messages
        deliver MAILBOX [name]       the next standard message, or a named one
        create MAILBOX
        unsubscribe MAILBOX
        flags MAILBOX n [flag ...]   message n (from 1) has these flags now
        delete MAILBOX n             message n is gone, and the gateway has been told
        vanish MAILBOX n             message n is gone, and the gateway does not know
        refuse MAILBOX n             changes of message n will be refused
        down, up                     the backend does not answer, or does again

        And, of the real one only:

        arrive, patch, remove        as deliver, flags, delete; the gateway has not been told
        move MAILBOX n TARGET        as Outlook does
        swing MAILBOX n OTHER        to the other one and back; the gateway has not been told
        stale MAILBOX                what the gateway knows of it is too old: the next look asks Graph
        expire delta / tokens        every delta link, every access token is dead
        rename MAILBOX level         the folder has another display name
        lack archive                 the mailbox has no folder of this well-known name
        full                         the mailbox is over its quota
        submit MESSAGE               a client of the user submits this named message, and hears the 250
        told [n]                     wait for the next notification, or so many (`fixture push`, `pushed`)
        event NAME                   Graph says this of the subscription: missed, subscriptionRemoved, ..
        deaf, hearing                what happens meanwhile is announced to nobody
        fault METHOD PATH STATUS ..  the next call that fits fails (`graph`'s faults: retry_after=, count=)
        """
        ...

    async def advance(self, seconds: float) -> None:
        """Move the clock."""
        ...

    async def settle(self) -> None:
        """Let the server finish what it can do now."""
        ...

    async def see(self, mailbox: str) -> list[str] | None:
        """The `V:` lane: what Outlook shows of each message, in the order they were received."""
        ...

    async def graph_log(self) -> list[str] | None:
        """The `G:` lane: the requests since the last reset (`graphlog`)."""
        ...

    async def reset_graph_log(self) -> None: ...


BackendFactory = Callable[[Options], AbstractAsyncContextManager[Backend]]
BACKENDS: dict[str, BackendFactory] = {"fake": fake_backend, "real": real_backend}
