"""STATUS responses (RFC 9051 section 7.3.4): the items there are, and the line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gateway.imap.rev2 import is_on, name_octets
from gateway.mailbox.values import MailboxStatus
from gateway.wire.encode import object_id

if TYPE_CHECKING:
    from gateway.imap.session import Session

STATUS_ITEMS: dict[bytes, Callable[[Session, MailboxStatus], int | bytes]] = {
    b"MESSAGES": lambda s, status: status.messages,
    b"RECENT": lambda s, status: 0 if is_on(s) else status.recent,
    b"UIDNEXT": lambda s, status: status.uid_next,
    b"UIDVALIDITY": lambda s, status: status.uid_validity,
    b"UNSEEN": lambda s, status: status.unseen,
    b"HIGHESTMODSEQ": lambda s, status: status.highest_modseq,
    b"APPENDLIMIT": lambda s, status: s.user.append_limit(),
    b"DELETED": lambda s, status: status.deleted,
    b"SIZE": lambda s, status: status.size,
    b"MAILBOXID": lambda s, status: object_id(status.mailbox_id),
    b"DELETED-STORAGE": lambda s, status: status.deleted_size,
}


def status_line(s: Session, status: MailboxStatus, items: Sequence[bytes]) -> bytes:
    values = b" ".join(item + b" " + _value(STATUS_ITEMS[item](s, status)) for item in items)
    return b"STATUS %b (%b)" % (name_octets(s, status.name), values)


def _value(value: int | bytes) -> bytes:
    return b"%d" % value if isinstance(value, int) else value
