"""FETCH responses of new messages, to a client that has asked for them in advance (RFC 5465 sections 5.2 and 7)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.core.errors import GatewayError
from gateway.core.runs import Runs
from gateway.imap.plan import FetchPlan, plan_of
from gateway.imap.spec import Enabled
from gateway.mailbox.values import Row
from gateway.wire.fetchatt import FetchItem

if TYPE_CHECKING:
    from gateway.imap.session import Session

WITH_UID = Enabled.REV2 | Enabled.QRESYNC | Enabled.UIDONLY  # these hear UIDs in every FETCH


async def fetch_new(s: Session, uids: Sequence[int], items: tuple[FetchItem, ...]) -> None:
    """One FETCH of each message that is in the view. Nothing is marked as read by it, whatever the items: nobody has
    read anything. What cannot be had now is left out, for no command is there to be refused."""
    if s.selected is None or not items or not uids:
        return
    view = s.folder.view
    plan = plan_of(s, items, by_uid=bool(s.enabled & WITH_UID))
    at = Runs.of(uids).positions(view.uids, view.count, by_uid=True)
    with suppress(GatewayError):
        async for rows in s.folder.rows(at, plan.need):
            for row in rows:
                await _say(s, plan, row)
            await s.flush_if_full()


async def _say(s: Session, plan: FetchPlan, row: Row) -> None:
    if not plan.complete(row) or (plan.decodes and not await plan.can_decode(row)):
        return
    if plan.streamed:
        await plan.send(s, row)
    else:
        plan.say(s, row)
