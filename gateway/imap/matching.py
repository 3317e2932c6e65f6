"""A mailbox searched on behalf of a session: what must be said of the answer is said, and nobody searches for a client
that has left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, TypeVar

from gateway.core.errors import BadCommand
from gateway.imap.context import Channel, Gone
from gateway.imap.searchkeys import names_fuzzy
from gateway.mailbox.api import Folder
from gateway.mailbox.values import SearchResult
from gateway.wire.encode import Kind
from gateway.wire.searchkey import SearchKey

if TYPE_CHECKING:
    from gateway.imap.session import Session

PROBE = 1.0  # seconds between signs of life for who may have left
T = TypeVar("T")


async def matching(s: Session, folder: Folder, key: SearchKey) -> SearchResult:
    """`Folder.search`; an incomplete answer is announced by an untagged OK. Gone: the client has closed."""
    probing = asyncio.ensure_future(probe(s))
    try:
        found = await while_connected(s.channel, folder.search(key))
    finally:
        probing.cancel()
    if found.notice:
        s.out.status(b"*", Kind.OK, found.notice)
    return found


async def probe(s: Session) -> None:
    """Of a client that has ended its side nobody knows whether it still reads, as `nc` does, or has closed: it is
    spoken to until the search ends or the network says that nobody is there."""
    await s.channel.ended()
    while True:
        s.still_working()
        await s.context.clock.sleep(PROBE)


def check_relevancy(key: SearchKey, *, wanted: bool) -> None:
    """RELEVANCY, returned or sorted by, goes with a FUZZY key (RFC 6203 sections 4 and 6)."""
    if wanted and not names_fuzzy(key):
        raise BadCommand("RELEVANCY goes with a FUZZY key")


async def while_connected(channel: Channel, work: Coroutine[None, None, T]) -> T:
    """What `work` comes to. Gone, and the work is cancelled, if the connection is lost before."""
    task, lost = asyncio.ensure_future(work), asyncio.ensure_future(channel.lost())
    try:
        await asyncio.wait([task, lost], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone
        return task.result()
    finally:
        task.cancel()
        lost.cancel()
        await asyncio.gather(task, lost, return_exceptions=True)
