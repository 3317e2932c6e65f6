"""FETCH and UID FETCH (RFC 9051 section 6.4.5, RFC 7162 sections 3.1.4 and 3.2.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand, Expired, GatewayError, UnknownEncoding
from gateway.core.types import FlagChange, FlagOp, Flags, SystemFlag, Uid
from gateway.imap import messagelimit
from gateway.imap.announce import say
from gateway.imap.condstore import need_qresync, switch_on
from gateway.imap.ids import named_uids, positions, some
from gateway.imap.plan import FetchPlan, plan_of
from gateway.imap.resync import tell_vanished
from gateway.imap.spec import Reply, State, handles
from gateway.mailbox.resync import Known
from gateway.mailbox.values import Columns, Need
from gateway.wire.command import Fetch
from gateway.wire.fetchatt import Att

if TYPE_CHECKING:
    from gateway.imap.session import Session

MARK_SEEN = FlagChange(FlagOp.ADD, Flags(SystemFlag.SEEN))


@handles(Fetch, State.SELECTED, expunge_ok=False)
async def fetch(s: Session, cmd: Fetch) -> Reply | None:
    """A message that vanished behind us is left out. By number, NO [EXPUNGEISSUED] says so (RFC 5530), for EXPUNGE
    may not be told here; by UID it is passed over like any UID that is not there (RFC 9051 section 6.4.9). The
    mailbox is looked at anew either way, so that EXPUNGE comes as soon as it may."""
    plan = _plan(s, cmd)
    at = positions(s, cmd.ids, by_uid=cmd.by_uid)
    if cmd.page is not None:  # first: what has changed is looked for among these (RFC 9394 section 3.4)
        at = some(at, cmd.page.of(sum(map(len, at))))
        messagelimit.refuse_more(s, at)
    at, limited = messagelimit.cut(s, await _changed(s, cmd, at))
    if not at:
        return None
    if plan.needs_meta and not plan.needs_body:
        await _prepare(s, cmd, plan.need, at)
    told = await _tell(s, plan, at)
    reply = await _mark_seen(s, told.read, by_uid=cmd.by_uid) if told.read else None
    if told.gone:
        with suppress(GatewayError):
            await s.folder.poll(force=True)
    if told.undecodable:
        raise UnknownEncoding("Some of these parts are encoded in a way that is not known here")
    if told.gone and not cmd.by_uid:
        raise Expired("Some of these messages no longer exist")
    title = "UID FETCH" if cmd.by_uid else "FETCH"
    return messagelimit.said(s, reply or Reply(f"{title} completed"), limited)


def _plan(s: Session, cmd: Fetch) -> FetchPlan:
    """CHANGEDSINCE adds MODSEQ (RFC 7162 section 3.1.4.1); either makes the client CONDSTORE-aware."""
    if cmd.vanished:
        need_qresync(s)
    items = cmd.items if cmd.changed_since is None else (*cmd.items, Att.MODSEQ)
    plan = plan_of(s, items, by_uid=cmd.by_uid)
    if Att.MODSEQ in items:
        switch_on(s)
        plan = plan_of(s, items, by_uid=cmd.by_uid)
    return plan


async def _changed(s: Session, cmd: Fetch, at: list[range]) -> list[range]:
    """Of these positions, those of messages that have changed since; what is gone since is told first."""
    if cmd.changed_since is None:
        return at
    if cmd.vanished:
        await tell_vanished(s, Known(cmd.changed_since, named_uids(s, cmd.ids)))
    return s.folder.newer(at, cmd.changed_since)


async def _prepare(s: Session, cmd: Fetch, need: Need, at: Sequence[range]) -> None:
    """FETCHes of the same items that were sent ahead are made ready together: what Graph tells of a message is
    kept, so that the later ones find it. Flags are not read ahead, nor are bodies, which may be large."""
    if s.prepared:
        s.prepared -= 1
        return
    alike = list(takewhile(lambda later: _is_alike(later, cmd), s.upcoming(Fetch)))
    s.prepared = len(alike)
    wanted = [*at]
    for later in alike:
        with suppress(BadCommand):  # answered in its turn
            wanted += positions(s, later.ids, by_uid=later.by_uid)
    if alike:
        async for _ in s.folder.rows(wanted, need):
            pass


def _is_alike(later: Fetch, cmd: Fetch) -> bool:
    return (later.items, later.by_uid) == (cmd.items, cmd.by_uid)


class _Told:
    """What a FETCH came to: messages whose reading sets \\Seen, and whether some were gone, or BINARY had no answer."""

    def __init__(self) -> None:
        self.read: list[Uid] = []
        self.gone = False
        self.undecodable = False


async def _tell(s: Session, plan: FetchPlan, at: Sequence[range]) -> _Told:
    told = _Told()
    total = left = sum(map(len, at))
    s.progress(0, total)
    marks = plan.marks_seen and not s.folder.read_only
    echo = plan.has_flags and plan.need is Need.INDEX and s.folder.view.pending()
    columns = s.folder.columns(at, plan.need, plan.form.derived) if plan.form is not None else None
    if columns is not None:
        await _tell_columns(s, plan, columns, told, total, echo=echo)
        return told
    async for rows in s.folder.rows(at, plan.need):
        left -= len(rows)
        if echo:  # these flags are as fresh as news of them would be: nothing is awaited before they are said
            s.folder.view.tell([row.uid for row in rows])
        for row in rows:
            if not plan.complete(row):
                told.gone = True
                continue
            if plan.decodes and not await plan.can_decode(row):
                told.undecodable = True
                continue
            if plan.streamed:
                await plan.send(s, row)
            else:
                plan.say(s, row)
            if marks and SystemFlag.SEEN not in row.flags.system:
                told.read.append(row.uid)
        s.progress(total - left, total)
        await s.flush_if_full()
    told.gone |= left > 0  # rows of messages of which nothing is known any more
    return told


async def _tell_columns(
    s: Session, plan: FetchPlan, columns: AsyncIterator[Columns], told: _Told, total: int, *, echo: bool
) -> None:
    """Many at once: nothing is awaited between reading what is told and telling it."""
    left = total
    async for batch in columns:
        uids = plan.tell(s, batch)
        left -= len(uids)
        if echo:
            s.folder.view.tell(uids)
        s.progress(total - left, total)
        await s.flush_if_full()
    told.gone |= left > 0


async def _mark_seen(s: Session, uids: Sequence[Uid], *, by_uid: bool) -> Reply | None:
    """One store for the whole command, behind the bodies. If it fails, the client has its bodies and hears
    of no flag: an error here would make it throw them away."""
    try:
        result = await s.folder.store(uids, MARK_SEEN)
    except GatewayError:
        return Reply("FETCH completed, but \\Seen could not be set")
    s.folder.view.tell([row.uid for row in result.rows])
    say(s, result.rows, with_uid=by_uid)
    return Reply("FETCH completed, but \\Seen could not be set everywhere") if result.failed else None
