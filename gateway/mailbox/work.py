"""Work that must end whole: its journal row before the first effect, and a task that a lost client does not
cancel.

Invariant 2: what creates something, or takes more than one Graph call, has a journal row first. A row that
is still there at start is finished or undone by `mailbox.journal`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

import msgspec

from gateway.core.types import FolderId
from gateway.graph.model import Priority
from gateway.mailbox.context import AccountContext
from gateway.store.api import JournalRow

STOP_PATIENCE = 20.0  # seconds; who stops a service kills it after 90 at the latest
BULK_FROM = 200  # messages: beyond, a command waits for others and leaves them the rest of the budget

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

_running: set[asyncio.Task[Any]] = set()  # a task nobody refers to may be collected


def bulk(messages: int) -> Priority:
    """What a command about so many messages is to the mailbox's scheduler (decision 6)."""
    return Priority.BULK if messages > BULK_FROM else Priority.INTERACTIVE


async def begin(ctx: AccountContext, kind: str, payload: msgspec.Struct, *, into: int = 0) -> int:
    """Keep what is about to be done; returns the row's id. `into`: the folder that messages are put into, which no
    process takes for new mail meanwhile."""
    row = await ctx.store.journal_add(ctx.account, kind, msgspec.json.encode(payload), into)
    ctx.working.add(row)
    return row


async def update(ctx: AccountContext, id: int, payload: msgspec.Struct) -> None:
    await ctx.store.journal_update(id, msgspec.json.encode(payload))


async def done(ctx: AccountContext, id: int) -> None:
    await ctx.store.journal_done(id)
    ctx.working.discard(id)
    ctx.holds.left.pop(id, None)


def abandon(ctx: AccountContext, id: int, folder: FolderId | None = None) -> None:
    """This work ends here without an end: what it did is finished or undone by `mailbox.journal`, soon. Until then
    nothing unknown in `folder`, its target if it has one, is taken for somebody's mail."""
    if folder is not None:
        ctx.holds.left[id] = folder
    ctx.working.discard(id)
    ctx.unfinished.set()


def payload_of(row: JournalRow, kind: type[S]) -> S:
    """What `begin` or `update` kept. msgspec.ValidationError for a row of another program version."""
    return msgspec.json.decode(row.payload, type=kind)


async def whole(work: Awaitable[T]) -> T:
    """Wait for `work`, which runs to its end even if the waiter is cancelled."""
    task = asyncio.ensure_future(work)
    _running.add(task)
    task.add_done_callback(_ended)
    return await asyncio.shield(task)


def aside(work: Coroutine[Any, Any, object]) -> None:
    """Do it besides: nobody waits for it, and what goes wrong concerns nobody. It ends before the store is closed."""
    task = asyncio.create_task(work)
    _running.add(task)
    task.add_done_callback(_ended)


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # the waiter may be gone: not "never retrieved"


async def settled(patience: float = STOP_PATIENCE) -> None:
    """Returns when no work is running, after `patience` seconds at the latest: before the store is closed. What waits
    longer, for a Graph that is away or a budget that is used up, ends where it is; the journal has it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    while _running and (left := until - loop.time()) > 0:
        await asyncio.wait(set(_running), timeout=left)
    for task in set(_running):
        task.cancel()
    if _running:
        await asyncio.wait(set(_running), timeout=patience)
