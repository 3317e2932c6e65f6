"""What a session is told of its mailbox without having asked: EXPUNGE, EXISTS, RECENT, FETCH and FLAGS.

Source: RFC 9051 sections 5.2 and 7.5.1, RFC 3501 section 7.3.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.core.types import SYSTEM_FLAG_NAMES, Flags, SystemFlag
from gateway.mailbox.api import Change, Exists, Expunged, Flagged
from gateway.wire.encode import Kind, flag_list

if TYPE_CHECKING:
    from gateway.imap.session import Session

_SYSTEM = b" ".join(SYSTEM_FLAG_NAMES.values())
# A message is a draft from its creation or never (Graph's isDraft): APPEND decides, STORE cannot.
_PERMANENT = b" ".join(name for flag, name in SYSTEM_FLAG_NAMES.items() if flag is not SystemFlag.DRAFT)


@lru_cache(maxsize=4096)
def flags_text(flags: Flags, recent: bool) -> bytes:
    """`(\\Seen ...)`. Cached, least recently used out first: a mailbox has few distinct flag sets."""
    return flag_list(flags, recent)


def announce(session: Session, *, expunge: bool, with_uid: bool = False) -> None:
    """Put everything the client has not heard yet into `session.out`. EXPUNGE only if allowed."""
    say(session, session.folder.view.drain(expunge=expunge), with_uid=with_uid)


def say(session: Session, changes: Iterable[Change], *, with_uid: bool = False) -> None:
    """Put these changes into `session.out`. In answers to UID commands every FETCH names its UID
    (RFC 9051 section 6.4.9)."""
    out = session.out
    for change in changes:
        if isinstance(change, Expunged):
            out.untagged(b"%d EXPUNGE" % change.seq)
        elif isinstance(change, Exists):
            out.untagged(b"%d EXISTS" % change.count)
            out.untagged(b"%d RECENT" % change.recent)
        else:
            introduce(session, change.flags.keywords)
            out.untagged(_flagged(change, with_uid=with_uid))


def _flagged(change: Flagged, *, with_uid: bool) -> bytes:
    uid = b"UID %d " % change.uid if with_uid else b""
    return b"%d FETCH (%bFLAGS %b)" % (change.seq, uid, flags_text(change.flags, change.recent))


def introduce(session: Session, keywords: frozenset[bytes]) -> None:
    """Tell of keywords that the last FLAGS response did not have (RFC 3501 section 7.2.6)."""
    selected = session.selected
    if selected is None or keywords <= selected.keywords:
        return
    selected.keywords |= keywords
    tell_flags(session)


def tell_flags(session: Session) -> None:
    """FLAGS and PERMANENTFLAGS, with the keywords the session knows of."""
    selected = session.selected
    if selected is None:
        return
    keywords = sorted(selected.keywords)
    session.out.untagged(b"FLAGS (%b)" % b" ".join([_SYSTEM, *keywords]))
    if selected.folder.read_only:
        session.out.status(b"*", Kind.OK, "No permanent flags permitted", b"PERMANENTFLAGS ()")
    else:
        code = b"PERMANENTFLAGS (%b \\*)" % b" ".join([_PERMANENT, *keywords])
        session.out.status(b"*", Kind.OK, "Flags permitted", code)
