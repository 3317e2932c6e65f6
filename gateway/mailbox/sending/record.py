"""A submission's row as this package reads it: its steps, what is known of its draft, how it is named."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from gateway.core.errors import GatewayError
from gateway.mailbox.context import ALONE, AccountContext
from gateway.mailbox.sending.plan import folded
from gateway.mailbox.values import Envelope, Spool
from gateway.store.outgoing import SubmissionRow

# Steps.
WAITING = "waiting"  # in the queue: nothing of it is in Graph
DRAFTING = "drafting"  # a draft may be in Graph, whose id is not known
SENDING = "sending"  # the draft is known, and may have been sent
STRAYING = "straying"  # Graph has taken it; another draft of it may turn up
SENT = "sent"  # Graph has taken it, and nothing is left to do there
TAKEN = frozenset({STRAYING, SENT})
BOUNCING = "bouncing"  # in the queue, refused: the sender is to be told
GIVEN_UP = "given up"  # it was refused: what is in Graph of it is to be discarded

_PIECE = 256 * 1024  # octets of a message that are in memory at a time
FOREVER = 10 * 365 * 86_400
LEASE = 90  # seconds after which another node takes up what a dead one left


class Work(msgspec.Struct, omit_defaults=True):
    """What the row keeps sealed. Times in seconds since 1970. `began`: the first try in Graph. `draft`: immutable id.
    `path`: "draft" or "mime". `strays`: a draft may turn up that nobody waits for any more. `refused`: the client heard
    a 4xx, and will come again, perhaps days later. The rest is for the queue: `error`, the last one, as (status,
    enhanced, text)."""

    message_id: str
    began: int
    path: str = "draft"
    draft: str = ""
    strays: bool = False
    refused: bool = False
    envelope: Envelope | None = None
    size: int = 0
    attempts: int = 0
    error: tuple[int, str, str] | None = None


@dataclass(slots=True)
class Record:
    row: SubmissionRow
    work: Work

    @classmethod
    def of(cls, row: SubmissionRow) -> Record:
        """msgspec.MsgspecError for a row of another program version."""
        return cls(row, msgspec.json.decode(row.payload, type=Work))

    async def save(self, ctx: AccountContext, state: str = "") -> None:
        """The row as it is now, in another state if one is named."""
        self.row.state = state or self.row.state
        self.row.payload = msgspec.json.encode(self.work)
        await ctx.store.submission_put(self.row)

    async def drop(self, ctx: AccountContext) -> None:
        await ctx.store.submission_drop(self.row.id)


async def added(
    ctx: AccountContext, digest: bytes, work: Work, *, state: str, queue_id: str, blob: bytes = b""
) -> Record:
    """A new row. In the queue with `blob`: the address of its octets."""
    queued = bool(blob)
    lease = 0 if queued else _lease(ctx, int(ctx.clock.time()))
    row = SubmissionRow(
        ctx.account, queue_id, state, msgspec.json.encode(work), queued, holder="" if queued else ctx.node,
        lease=lease, blob=blob,
    )  # fmt: skip
    row.id = await ctx.store.submission_add(row, digest)
    return Record(row, work)


async def claimed(ctx: AccountContext, record: Record) -> bool:
    """Whether this node may work on it now; the record is then what the row says now. msgspec.MsgspecError."""
    now = int(ctx.clock.time())
    row = await ctx.store.submission_claim(record.row.id, ctx.node, now, _lease(ctx, now))
    if row is None:
        return False
    fresh = Record.of(row)
    record.row, record.work = fresh.row, fresh.work
    return True


async def released(ctx: AccountContext, record: Record) -> None:
    """Another node may work on it now: a client may come again there."""
    if ctx.node != ALONE:
        now = int(ctx.clock.time())
        await ctx.store.submission_claim(record.row.id, ctx.node, now, now - 1)


def _lease(ctx: AccountContext, now: int) -> int:
    """A process that has its store to itself is followed by another of the same name."""
    return now + (FOREVER if ctx.node == ALONE else LEASE)


@asynccontextmanager
async def held(ctx: AccountContext, record: Record) -> AsyncIterator[None]:
    """This node's meanwhile, however long it takes."""
    if ctx.node == ALONE:
        yield
        return
    task = asyncio.create_task(_renew(ctx, record))
    try:
        yield
    finally:
        task.cancel()


async def _renew(ctx: AccountContext, record: Record) -> None:
    while True:
        await ctx.clock.sleep(LEASE / 3)
        now = int(ctx.clock.time())
        with contextlib.suppress(GatewayError):
            await ctx.store.submission_claim(record.row.id, ctx.node, now, _lease(ctx, now))


def new_queue_id(ctx: AccountContext) -> str:
    """Unique; says nothing of the message: for the reply and the log."""
    now = int(ctx.clock.time() * 1e6).to_bytes(8, "big")
    return base64.b32encode(now[-6:] + ctx.rng.randbytes(9)).decode().lower()


def new_message_id(ctx: AccountContext, envelope: Envelope) -> str:
    domain = envelope.sender.rpartition("@")[2]
    host = domain if domain and domain.isascii() and ">" not in domain else "gateway.invalid"
    return f"<{ctx.rng.getrandbits(128):032x}@{host}>"


async def digest_of(envelope: Envelope, spool: Spool) -> bytes:
    """What makes two submissions the same: sender, set of recipients, octets."""
    people = [folded(envelope.sender), *sorted(map(folded, envelope.recipients))]
    head = hashlib.sha256("\n".join(people).encode("utf-8", "surrogateescape")).digest()
    return await asyncio.to_thread(_digest, head, spool)


def _digest(head: bytes, spool: Spool) -> bytes:
    digest = hashlib.sha256(head)
    for start in range(0, spool.size, _PIECE):
        digest.update(spool.read(start, start + _PIECE))
    return digest.digest()
