"""The steps of one submission in Graph: a draft, then its sending. Each may be interrupted anywhere and taken up again.

What may be repeated follows from this: creating is harmless, since a draft that nobody sends reaches nobody; sending
may be repeated for one draft only, since Exchange takes a draft away when it sends it, and only after a look has shown
that it is a draft still (contract sections 7 and 10.2). No row ever has a second draft sent where the first may have
been."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.graph.errors import GraphError, NotFound, OutcomeUnknown, Unreachable
from gateway.graph.model import Message
from gateway.mailbox.context import AccountContext
from gateway.mailbox.sending.draft import Prepared, create_draft, find_draft
from gateway.mailbox.sending.outcome import Fate, is_final, watch
from gateway.mailbox.sending.record import DRAFTING, SENDING, Record

_LOOKS = (0.5, 1.0, 2.0, 4.0)  # seconds before each look for a draft whose creation nobody confirmed
_CREATES = 2
_SENDS = 3
UNKNOWN = (OutcomeUnknown, Unreachable)


class Steps:
    """`resumed`: the row is of an earlier try, which ended nobody knows where."""

    def __init__(self, ctx: AccountContext, record: Record, prepared: Prepared, *, resumed: bool) -> None:
        self._ctx = ctx
        self._record = record
        self._prepared = prepared
        self._resumed = resumed

    async def run(self) -> None:
        """Until Graph has taken the message. GraphError: a final one (`is_final`) means that it was not sent; after any
        other it may have been, and the row is to be taken up again."""
        drafted = self._record.row.state == SENDING
        if self._resumed:
            await self._take_up(drafted=drafted)
        if not drafted:
            await self._create()
        await self._send(maybe=drafted)

    async def _take_up(self, *, drafted: bool) -> None:
        """The row is young again: what is tried now may be done by Graph some minutes from now. Nobody knows how often
        a draft was asked for."""
        self._record.work.strays |= not drafted
        await self._record.save(self._ctx)

    # -- a draft --

    async def _create(self) -> None:
        record = self._record
        found = await self._find() if self._resumed else None
        record.work.draft = (await self._created(found)).id
        await record.save(self._ctx, SENDING)

    async def _created(self, found: Message | None) -> Message:
        """If nobody says whether it was created: what is found is taken; what is not found is created again, and what
        turns up later is discarded."""
        for _ in range(_CREATES):
            try:
                return await create_draft(self._ctx, self._prepared, self._record.row.queue_id, found)
            except UNKNOWN as error:
                unknown = error
            found = await self._look()
            self._record.work.strays |= found is None
        raise unknown

    async def _look(self) -> Message | None:
        """OutcomeUnknown if the last look could not be taken."""
        unseen: GraphError | None = None
        for pause in _LOOKS:
            await self._ctx.clock.sleep(pause)
            try:
                found = await self._find()
            except OutcomeUnknown as error:
                unseen = error
                continue
            if found is not None:
                return found
            unseen = None
        if unseen is not None:
            raise unseen
        return None

    async def _find(self) -> Message | None:
        row, work = self._record.row, self._record.work
        claimed = await claimed_drafts(self._ctx, self._record)
        if claimed is None:
            return None
        try:
            return await find_draft(self._ctx, row.queue_id, work.message_id, work.began, claimed)
        except GraphError as error:
            raise OutcomeUnknown(str(error), status=error.status, code=error.code) from error

    # -- its sending --

    async def _send(self, *, maybe: bool) -> None:
        """`maybe`: it may have been sent already."""
        if maybe and await self._fate() is Fate.SENT:
            return
        for _ in range(_SENDS):
            try:
                await self._ctx.graph.send_draft(self._record.work.draft)
                return
            except UNKNOWN as error:
                refused: GraphError = error
            except NotFound as error:
                if not maybe:
                    await self._without_draft()
                    raise Unreachable(str(error), status=error.status, code=error.code) from error
                refused = error
            except GraphError as error:
                if not maybe:
                    raise
                refused = error
            maybe = True
            if await self._fate() is Fate.SENT:
                return
            if is_final(refused):
                raise refused
        raise OutcomeUnknown(str(refused), status=refused.status, code=refused.code)

    async def _without_draft(self) -> None:
        """It is not there, though it was not sent: somebody took it away, or Graph is very late."""
        self._record.work.draft, self._record.work.strays = "", True
        await self._record.save(self._ctx, DRAFTING)

    async def _fate(self) -> Fate:
        """SENT or DRAFT; OutcomeUnknown where that cannot be seen."""
        try:
            fate = await watch(self._ctx, self._record.work)
        except GraphError as error:
            raise OutcomeUnknown(str(error), status=error.status, code=error.code) from error
        if fate is Fate.UNSEEN:
            raise OutcomeUnknown("a draft that may have been sent is not to be seen")
        return fate


async def claimed_drafts(ctx: AccountContext, record: Record) -> set[str] | None:
    """Drafts that other submissions made. None while there may be one of another submission with this Message-ID whose
    id nobody knows: it may be for other recipients, and must not be taken for ours."""
    others = await _others(ctx, record)
    if any(other.row.state == DRAFTING or other.work.strays for other in _namesakes(record, others)):
        return None
    return {other.work.draft for other in others if other.work.draft}


async def drafts_in_use(ctx: AccountContext, record: Record, since: float) -> set[str] | None:
    """The same for who only tidies up: what others tried before `since` needs no draft any more. None while one that
    is younger may be there."""
    others = await _others(ctx, record)
    young = (other for other in _namesakes(record, others) if other.row.touched >= since)
    if any(other.row.state == DRAFTING for other in young):
        return None
    return {other.work.draft for other in others if other.work.draft}


def _namesakes(record: Record, others: Iterable[Record]) -> list[Record]:
    return [other for other in others if other.work.message_id == record.work.message_id]


async def _others(ctx: AccountContext, record: Record) -> list[Record]:
    return [Record.of(row) for row in await ctx.store.submissions(ctx.account) if row.id != record.row.id]
