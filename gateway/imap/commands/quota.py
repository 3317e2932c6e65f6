"""GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208), where the administrator has told how much the mailbox may hold.

Graph tells no limit and enforces its own: what is shown here informs, what is refused is refused by Exchange
([OVERQUOTA]). There is one quota root, the whole mailbox, and one resource.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand, NoPermission, NoSuchMailbox, Refused
from gateway.imap.rev2 import name_octets
from gateway.imap.spec import State, handles
from gateway.wire.command import GetQuota, GetQuotaRoot, SetQuota

if TYPE_CHECKING:
    from gateway.imap.session import Session

ROOT = b""  # the usual name where there is one root only
UNIT = 1024  # octets, RFC 9208 section 5.1


@handles(GetQuota, State.LOGGED_IN)
async def get_quota(s: Session, cmd: GetQuota) -> None:
    _announced(s)
    if cmd.root != ROOT:
        raise NoSuchQuotaRoot("No such quota root")
    s.out.untagged(await _quota_line(s))


@handles(GetQuotaRoot, State.LOGGED_IN)
async def get_quota_root(s: Session, cmd: GetQuotaRoot) -> None:
    """The root of a mailbox that exists; RFC 9208 section 4.1.2 leaves others to the server."""
    _announced(s)
    if cmd.mailbox not in {info.name for info in await s.user.folders()}:
        raise NoSuchMailbox("No such mailbox")
    s.out.untagged(b'QUOTAROOT %b ""' % name_octets(s, cmd.mailbox))
    s.out.untagged(await _quota_line(s))


@handles(SetQuota, State.LOGGED_IN)
async def set_quota(s: Session, cmd: SetQuota) -> None:
    """Exchange's administrator decides; QUOTASET is not announced (RFC 9208 section 4.1.3)."""
    _announced(s)
    raise NoPermission("Quotas are set in Exchange")


async def _quota_line(s: Session) -> bytes:
    """Used rounded up, the limit down: full is never shown as room."""
    used, limit = await s.user.storage_used(), s.user.quota
    return b'QUOTA "" (STORAGE %d %d)' % (-(-used // UNIT), limit // UNIT)


def _announced(s: Session) -> None:
    if not s.user.quota:
        raise BadCommand("QUOTA is not available for this mailbox")


class NoSuchQuotaRoot(Refused):
    """RFC 9208 section 4.1.1: NO; RFC 5530 has no code for it."""
