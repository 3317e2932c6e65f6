"""STORE, EXPUNGE, UID EXPUNGE (RFC 9051 sections 6.4.6, 6.4.3, 6.4.9; RFC 7162 sections 3.1.3, 3.2.7, 3.2.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.core.errors import GatewayError, Unavailable
from gateway.core.runs import Runs
from gateway.core.types import Flags, Uid
from gateway.imap import messagelimit
from gateway.imap.announce import announce, say
from gateway.imap.condstore import highest, is_on, switch_on
from gateway.imap.ids import named_uids, positions, uids_at
from gateway.imap.spec import Enabled, Reply, State, handles
from gateway.mailbox.values import Flagged, Need, StoreResult
from gateway.wire.command import Expunge, Store, UidExpunge
from gateway.wire.encode import Kind
from gateway.wire.searchkey import And, HasFlag, UidSet

if TYPE_CHECKING:
    from gateway.imap.session import Session


@handles(Store, State.SELECTED, expunge_ok=False, writes=True)
async def store(s: Session, cmd: Store) -> Reply | None:
    """Change flags in Graph, then tell: of every message named, as a FETCH of its flags would. Silent is silent
    only about what went as asked: a message whose change was refused, or that others have changed as well, is
    shown as it is. A CONDSTORE-aware client hears new mod-sequences in any case."""
    if cmd.change.unchanged_since is not None:
        switch_on(s)
    at, limited = messagelimit.cut(s, positions(s, cmd.ids, by_uid=cmd.by_uid))
    uids = uids_at(s, at)
    if not uids:
        return None
    heard = await _heard(s, cmd, at) if cmd.silent else {}
    result = await s.folder.store(uids, cmd.change)
    if cmd.silent:
        _tell_unexpected(s, cmd, result, heard)
    else:
        await _tell_all(s, cmd, at)
    return messagelimit.said(s, _outcome(s, cmd, result), limited)


def _outcome(s: Session, cmd: Store, result: StoreResult) -> Reply:
    """MODIFIED names what failed UNCHANGEDSINCE, also in a NO (RFC 7162 section 3.1.3). A message that did not fail
    was changed: each by itself, not all or none."""
    title = "UID STORE" if cmd.by_uid else "STORE"
    if not result.modified:
        if result.error is not None:
            raise _safe(result.error)
        return Reply(f"{title} completed")
    numbers = result.modified if cmd.by_uid else map(s.folder.view.seq, result.modified)
    code = b"MODIFIED " + Runs.of(numbers).format()
    if result.error is not None:
        return Reply(str(_safe(result.error)), code, Kind.NO)
    return Reply(f"{title} completed, but some messages had been changed meanwhile", code)


Heard = dict[Uid, tuple[Flags, int]]


async def _heard(s: Session, cmd: Store, at: Sequence[range]) -> Heard:
    """Flags and mod-sequences the client knows of: what others have done so far is told first."""
    announce(s, expunge=False, with_uid=cmd.by_uid)
    return {row.uid: (row.flags, row.modseq) async for rows in s.folder.rows(at, Need.INDEX) for row in rows}


def _tell_unexpected(s: Session, cmd: Store, result: StoreResult, heard: Heard) -> None:
    """The view need not repeat what a silent STORE leaves unsaid. New mod-sequences are told, and under
    UNCHANGEDSINCE those of every message that passed (RFC 7162 section 3.1.3)."""
    s.folder.view.tell([row.uid for row in result.rows])
    failed = {*result.modified}
    for row in result.rows:
        flags, modseq = heard.get(row.uid, (row.flags, row.modseq))
        if row.flags != cmd.change.apply(flags) or row.uid in failed:
            say(s, (row,), with_uid=cmd.by_uid)
        elif is_on(s) and (row.modseq != modseq or cmd.change.unchanged_since is not None):
            say(s, (row,), with_uid=cmd.by_uid, flags=False)


async def _tell_all(s: Session, cmd: Store, at: Sequence[range]) -> None:
    """Also of messages that had these flags already (RFC 9051 section 6.4.6)."""
    async for rows in s.folder.rows(at, Need.INDEX):
        s.folder.view.tell([row.uid for row in rows])
        shown = (Flagged(row.seq, row.uid, row.flags, row.recent, row.modseq) for row in rows)
        say(s, shown, with_uid=cmd.by_uid)
        await s.flush_if_full()


def _safe(error: Exception) -> Exception:
    """An expected error has its own reply; of any other the client learns only that it happened."""
    return error if isinstance(error, GatewayError) else Unavailable("Some messages could not be changed")


@handles(Expunge, State.SELECTED, writes=True)
async def expunge(s: Session, cmd: Expunge) -> Reply:
    """The EXPUNGE responses come from the view, before the reply."""
    await s.folder.expunge(None)
    return expunged(s, "EXPUNGE completed")


@handles(UidExpunge, State.SELECTED, name="UID EXPUNGE", writes=True)
async def uid_expunge(s: Session, cmd: UidExpunge) -> Reply:
    """Only these, and of them only what is marked \\Deleted (RFC 4315 section 2.1)."""
    at, limited = await _to_expunge(s, cmd)
    uids = uids_at(s, at)
    if uids:
        await s.folder.expunge(uids)
    return messagelimit.said(s, expunged(s, "UID EXPUNGE completed"), limited)


async def _to_expunge(s: Session, cmd: UidExpunge) -> tuple[list[range], bytes]:
    """Where there is a limit it counts messages that are marked (RFC 9738 section 3.1)."""
    at = positions(s, cmd.ids, by_uid=True)
    if not s.context.settings.message_limit:
        return at, b""
    chosen = And((UidSet(named_uids(s, cmd.ids)), HasFlag(b"\\Deleted")))
    return messagelimit.cut(s, [range(found, found + 1) for found in await s.folder.search(chosen)])


def expunged(s: Session, text: str) -> Reply:
    """The reply of a command that expunges, behind what it has expunged: under QRESYNC with the mod-sequence that the
    client has reached by that (RFC 7162 sections 3.2.7 and 3.2.9)."""
    some = announce(s, expunge=True, wanted=True)
    return Reply(text, highest(s) if some and Enabled.QRESYNC in s.enabled else b"")
