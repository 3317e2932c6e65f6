"""MIME: a message's octets, the same for ever (decision 4, invariant 8).

What an APPEND brought is served as it came. Anything else is pinned when it is first seen: header and
digest of the rest are in the store before the first octet leaves; later renderings by Exchange are laid
over that record, and where they do not fit, the UID ends (`mailbox.renewal`) and the message is as one that
went away. What Exchange cannot render for good (trap 26) is a placeholder made from its facts and
attachments, never pinned."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence

import structlog
from cachetools import LRUCache, TTLCache

from gateway.core.limits import MIB
from gateway.core.types import MessageId
from gateway.graph.errors import NotFound, PermanentFailure
from gateway.graph.model import Priority
from gateway.mailbox import facts, texts
from gateway.mailbox.cache import BodyCache
from gateway.mailbox.context import AccountContext
from gateway.mailbox.headers import HeaderPages, Reading
from gateway.mailbox.placeholder import is_placeholder, placeholder
from gateway.mailbox.rendering import Verdict, judge, pin_from
from gateway.mailbox.renewal import ends, superseded
from gateway.mailbox.values import Body, Meta
from gateway.store.api import FolderRow, MessageRow, Upsert
from gateway.wire.structure import bodystructure

PLACEHOLDERS = 16 * MIB  # octets of placeholders remembered, of one account
PLACEHOLDER_TIME = 900.0  # seconds
HEAD = 64 * 1024  # octets in which a placeholder's marker is
NAMES = 10_000  # messages whose cached octets are found without asking the store
WINDOW = 4  # bodies on their way at once: the mailbox's slots
log = structlog.get_logger()


class Bodies:
    """One per account. `rerendered` (messages of which other octets are served, or were to be) and
    `placeholders` count for the metrics."""

    def __init__(self, ctx: AccountContext, cache: BodyCache) -> None:
        self._ctx = ctx
        self._cache = cache
        self.headers = HeaderPages(ctx)
        self._unrendered: TTLCache[MessageId, bytes] = TTLCache(
            PLACEHOLDERS, PLACEHOLDER_TIME, timer=ctx.clock.monotonic, getsizeof=len
        )
        self._names: LRUCache[tuple[int, int], str] = LRUCache(NAMES)  # of bodies by (folder, UID)
        self.rerendered = 0
        self.placeholders = 0

    async def body(
        self, row: MessageRow, folder: FolderRow, *, priority: Priority = Priority.INTERACTIVE
    ) -> Body | None:
        """The octets; None if the message is gone in Graph, or its UID has just ended because its content is
        another. Its size becomes exact. Errors: those of Graph."""
        body = await self._body(row, folder, priority)
        if body is not None and (size := _size(body)) is not None:
            await self._measured(folder, [(row, size)])
            self._names[folder.key, row.uid] = self._key(row)
        return body

    def are_near(self, folder: int, uids: Iterable[int]) -> bool:
        """Whether `near` would have them."""
        names = (self._names.get((folder, uid)) for uid in uids)
        return all(name is not None and self._cache.in_memory(name) for name in names)

    def near(self, folder: int, uids: Iterable[int]) -> list[Body] | None:
        """The octets of these messages, if all of them are in memory and known to be theirs. A UID's octets are always
        the same (invariant 8), and so is the name they are cached by."""
        found: list[Body] = []
        for uid in uids:
            name = self._names.get((folder, uid))
            body = self._cache.held(name) if name is not None else None
            if body is None:
                return None
            found.append(body)
        return found

    async def _body(self, row: MessageRow, folder: FolderRow, priority: Priority) -> Body | None:
        while True:
            try:
                return await self._cache.get_or_fetch(
                    self._key(row),
                    lambda: self._fetch(row, folder, priority),
                    keep=lambda raw: not is_placeholder(raw),
                    waited=priority is not Priority.BACKGROUND,
                )
            except Absent as absent:
                if absent.id == row.id:
                    return None  # otherwise it was a copy, waited for because its octets are the same

    @property
    def window(self) -> int:
        """`BodyCache.window`."""
        return self._cache.window

    def bodies(
        self, rows: Sequence[MessageRow], folder: FolderRow, *, priority: Priority = Priority.INTERACTIVE
    ) -> AsyncGenerator[tuple[MessageRow, Body | None], None]:
        """Each row with its octets, in order, as `body` has them; up to WINDOW are fetched ahead, until closed."""
        return _ahead(rows, lambda row: self.body(row, folder, priority=priority))

    async def metas(
        self,
        rows: Sequence[MessageRow],
        reading: Reading | None = None,
        *,
        priority: Priority = Priority.INTERACTIVE,
        previews: bool = False,
    ) -> dict[MessageId, Meta]:
        """`facts.metas`; `reading`, of `headers`, where there are many."""
        bring = reading.bring if reading is not None else None
        return await facts.metas(self._ctx, rows, bring, priority=priority, previews=previews)

    async def structures(self, row: MessageRow, body: Body) -> tuple[bytes, bytes]:
        """BODYSTRUCTURE and BODY, rendered once."""
        known = (await self._ctx.store.facts(self._ctx.account, [row.id])).get(row.id)
        if known is not None and known.structure is not None and known.basic_structure is not None:
            return known.structure, known.basic_structure
        part = body.part
        return bodystructure(body, part, extensible=True), bodystructure(body, part, extensible=False)

    async def exact_sizes(
        self,
        folder: FolderRow,
        rows: Sequence[MessageRow],
        *,
        priority: Priority = Priority.INTERACTIVE,
    ) -> dict[MessageId, int]:
        """RFC822.SIZE of these messages, known for ever from now on; what is gone is left out."""
        sizes = {row.id: row.size for row in rows if row.size_exact}
        measured: list[tuple[MessageRow, int]] = []
        unknown = [row for row in rows if not row.size_exact]
        async for row, body in _ahead(unknown, lambda row: self._body(row, folder, priority)):
            if body is not None:
                sizes[row.id] = body.size
                measured += [(row, size)] if (size := _size(body)) is not None else []
        await self._measured(folder, measured)
        return sizes

    async def measured(self, row: MessageRow, folder: FolderRow) -> int | None:
        """Its exact size, found out in the background; the octets are not cached. None: it is gone, or Exchange cannot
        render it. Errors: those of Graph."""
        try:
            raw = await self._ctx.graph.mime(row.id, priority=Priority.BACKGROUND)
            raw = await self._pinned(row, folder, raw)
        except (NotFound, PermanentFailure, Absent):
            return None
        return None if await superseded(self._ctx, folder.key, row) else len(raw)

    async def _measured(self, folder: FolderRow, measured: Sequence[tuple[MessageRow, int]]) -> None:
        upserts = [
            Upsert(row.id, size=size, size_exact=True, known_only=True)
            for row, size in measured
            if not (row.size_exact and row.size == size)
        ]
        if upserts:
            applied = await self._ctx.store.apply(folder.key, upserts, ())
            self._ctx.hubs.refresh(folder.key, applied)

    def _key(self, row: MessageRow) -> str:
        """Copies have one EMAILID and the same octets; other content has another EMAILID."""
        return f"{self._ctx.account}/{_content(row)}"

    # -- what needs no request --

    async def texts(self, contents: Sequence[str]) -> dict[str, str]:
        """The searchable texts that are kept, by the names of contents (EMAILID)."""
        return await self._ctx.store.texts(self._ctx.account, contents)

    async def at_hand(self, rows: Sequence[MessageRow]) -> set[MessageId]:
        """Those whose octets are here: cached, or kept since their APPEND."""
        near = {row.id for row in rows if self._cache.has(self._key(row)) or row.id in self._unrendered}
        far = [row.id for row in rows if row.id not in near]
        return near | await self._ctx.store.has_originals(self._ctx.account, far)

    # -- where octets come from --

    async def _fetch(self, row: MessageRow, folder: FolderRow, priority: Priority) -> bytes:
        """Errors: those of Graph; Absent."""
        try:
            raw = await self._octets(row, folder, priority)
        except NotFound as error:
            raise Absent(row.id) from error
        if await superseded(self._ctx, folder.key, row):
            raise Absent(row.id)
        return raw

    async def _octets(self, row: MessageRow, folder: FolderRow, priority: Priority) -> bytes:
        ctx = self._ctx
        original = await ctx.store.original(ctx.account, row.id)
        if original is not None:
            await self._remember(row, original)
            return original
        remembered = self._unrendered.get(row.id)
        if remembered is not None:
            return remembered
        try:
            raw = await ctx.graph.mime(row.id, priority=priority)
        except PermanentFailure:
            return await self._placeholder(row)
        return await self._pinned(row, folder, raw)

    async def _placeholder(self, row: MessageRow) -> bytes:
        """Remembered for a while: Exchange fails for good, but a program of theirs may be mended some day."""
        self.placeholders += 1
        log.warning("message cannot be rendered by Exchange", account=self._ctx.account)
        raw = await placeholder(self._ctx, row)
        if len(raw) <= PLACEHOLDERS:
            self._unrendered[row.id] = raw
        return raw

    async def _pinned(self, row: MessageRow, folder: FolderRow, raw: bytes) -> bytes:
        """The octets that were seen first, whatever Exchange renders today. Where they are lost: Absent, the UID
        has ended; or, where it goes on (decision 4), the new ones under the header facts of old."""
        ctx, fresh = self._ctx, await pin_from(raw)
        stored = await ctx.store.pin(ctx.account, row.id, fresh)
        verdict = judge(stored, fresh)
        if verdict is Verdict.SAME:
            raw = stored.header + raw[len(fresh.header) :]
        else:
            self.rerendered += 1
            if await ends(ctx, folder.key, row, verdict, size=len(raw)):
                raise Absent(row.id)
            await ctx.store.replace_pin(ctx.account, row.id, fresh)
        await self._remember(row, raw)
        return raw

    async def _remember(self, row: MessageRow, raw: bytes) -> None:
        """Facts from MIME where none were pinned before, both structures, and the searchable text."""
        found = {row.id: await facts.facts_from(raw)}
        await asyncio.gather(
            self._ctx.store.put_facts(self._ctx.account, found, told=False),
            texts.keep(self._ctx, _content(row), raw),
        )


class Absent(Exception):
    """There are no octets for this message: it has gone, or its UID has just ended."""

    def __init__(self, id: MessageId) -> None:
        super().__init__("the message has gone")
        self.id = id


async def _ahead(
    rows: Sequence[MessageRow], get: Callable[[MessageRow], Coroutine[None, None, Body | None]]
) -> AsyncGenerator[tuple[MessageRow, Body | None], None]:
    """Each row with what `get` brings, in order; up to WINDOW are on their way at once."""
    ahead: deque[tuple[MessageRow, asyncio.Task[Body | None]]] = deque()
    coming = iter(rows)
    try:
        while True:
            while len(ahead) < WINDOW and (row := next(coming, None)) is not None:
                ahead.append((row, asyncio.create_task(get(row))))
            if not ahead:
                return
            row, task = ahead.popleft()
            yield row, await task
    finally:
        for _, task in ahead:
            task.cancel()
        await asyncio.gather(*(task for _, task in ahead), return_exceptions=True)


def _content(row: MessageRow) -> str:
    """What copies share."""
    return row.email_id or row.id


def _size(body: Body) -> int | None:
    """What may be remembered as the exact size: nothing of a placeholder."""
    return None if is_placeholder(body.read(0, HEAD)) else body.size
