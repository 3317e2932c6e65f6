"""What a client that comes back is told of the time it was away: VANISHED (EARLIER), then FETCH (RFC 7162 sections
3.2.5 and 3.2.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.runs import Runs
from gateway.imap.condstore import vanished_lines
from gateway.imap.ids import positions
from gateway.imap.plan import plan_of
from gateway.mailbox.resync import Known
from gateway.mailbox.values import Need
from gateway.wire.command import Resync
from gateway.wire.fetchatt import Att

if TYPE_CHECKING:
    from gateway.imap.session import Session


async def resynchronise(s: Session, given: Resync) -> None:
    """SELECT's QRESYNC. Another UIDVALIDITY: whatever the client knows is of another mailbox, and nothing is told."""
    if given.uid_validity != s.folder.uid_validity:
        return
    await tell_vanished(s, Known(given.modseq, given.known, given.match))
    at = [range(s.folder.view.count)] if given.known is None else positions(s, given.known, by_uid=True)
    plan = plan_of(s, (Att.FLAGS, Att.MODSEQ), by_uid=True)
    async for rows in s.folder.rows(s.folder.newer(at, given.modseq), Need.INDEX):
        for row in rows:
            plan.say(s, row)
        await s.flush_if_full()


async def tell_vanished(s: Session, known: Known) -> None:
    """Before any FETCH: it says nothing of message numbers (RFC 7162 section 3.2.6)."""
    uids: Runs = await s.folder.vanished(known)
    for line in vanished_lines(uids, earlier=True):
        s.out.untagged(line)
        await s.flush_if_full()
