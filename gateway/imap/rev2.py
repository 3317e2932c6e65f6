"""What a client hears otherwise once it has enabled IMAP4rev2 (RFC 9051) or UTF8=ACCEPT (RFC 6855).

Mailbox names leave through `name_octets`, and LIST responses that nobody asked for through `tell_mailbox` and
`tell_name`: modified UTF-7 before, UTF-8 after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.imap.listing import Entry, Selection, entry_of
from gateway.imap.spec import Enabled
from gateway.wire.encode import mailbox
from gateway.wire.mailboxname import supplied

if TYPE_CHECKING:
    from gateway.imap.session_state import SessionState

GONE = (b"\\NonExistent",)


def is_on(s: SessionState) -> bool:
    """ENABLE IMAP4rev2 has been given."""
    return Enabled.REV2 in s.enabled


def speaks_utf8(s: SessionState) -> bool:
    """Mailbox names are UTF-8, both ways: by either extension (RFC 9051 section 5.1, RFC 6855 section 3)."""
    return s.enabled is not Enabled.NOTHING and bool(s.enabled & (Enabled.UTF8 | Enabled.REV2))


def name_octets(s: SessionState, name: str) -> bytes:
    """A mailbox name in any response."""
    return mailbox(name, speaks_utf8(s))


def forget_recent(s: SessionState) -> None:
    """No message is \\Recent to this session any more (RFC 9051 appendix E, 12)."""
    if s.selected is not None and is_on(s):
        s.folder.view.drop_recent()


async def tell_mailbox(s: SessionState, name: str, *, old: str = "") -> None:
    """LIST with its true attributes of a mailbox that was opened, made or renamed (RFC 9051 sections 6.3.2-6.3.6).

    `old`: OLDNAME, what it was called. \\Subscribed is told, for new mailboxes are subscribed by themselves (section
    6.3.4). Costs no request while the hierarchy is fresh, as it is right after."""
    infos = {info.name: info for info in await s.user.folders()}
    info = infos.get(name)
    entry = (
        Entry(name, GONE, selectable=False)
        if info is None
        else entry_of(info, Selection(show_subscribed=True))
    )
    s.out.untagged(entry.line(utf8=speaks_utf8(s), old=old))


def other_form(name: str) -> str:
    """What the client wrote, if that was not the normal form of `name`; else nothing."""
    old = supplied(name)
    return old if old != name else ""


async def tell_name(s: SessionState, name: str, *, gone: bool = False) -> None:
    """LIST with OLDNAME where the name a client gave was not in its normal form (RFC 9051 section 6.3.9.7)."""
    old = other_form(name)
    if not old or not is_on(s):
        return
    if gone:
        s.out.untagged(Entry(name, GONE, selectable=False).line(utf8=True, old=old))
    else:
        await tell_mailbox(s, name, old=old)
