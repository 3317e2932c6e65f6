"""What a session is told of its mailbox without having asked: EXPUNGE, EXISTS, RECENT, FETCH and FLAGS.

Source: RFC 9051 sections 5.2 and 7.5.1, RFC 3501 section 7.3.2, RFC 7162 section 3.2.10, RFC 9586.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.core.runs import Runs
from gateway.core.types import SYSTEM_FLAG_NAMES, Flags, SystemFlag, one_spelling
from gateway.imap.condstore import speaks_vanished, tell_highest, vanished_lines
from gateway.imap.contexts import forget_expunged
from gateway.imap.spec import Enabled
from gateway.mailbox.values import Change, Exists, Expunged, Flagged
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


def announce(session: Session, *, expunge: bool, with_uid: bool = False, wanted: bool = False) -> bool:
    """Put everything the client has not heard yet, and wants to hear, into `session.out`. EXPUNGE only if allowed.
    Whether messages were expunged. `wanted`: the command is there to hear of changes, whatever NOTIFY said.

    A client takes the highest MODSEQ of a command for what it may come back with (RFC 7162 section 6), unless it is
    told otherwise: where older expunges have to wait, it is."""
    view, hearing = session.folder.view, session.hearing
    if not (hearing.messages or wanted):
        return False
    last = view.uids[-1] if hearing.items and view.count else 0
    changes = view.drain(expunge=expunge, flags=hearing.flags or wanted)
    if changes:
        forget_expunged(session, changes)
        say(session, changes, with_uid=with_uid or session.notifications is not None)
    if hearing.items and session.notifications is not None:
        session.notifications.fresh += view.uids[bisect_right(view.uids, last) :]
    if not expunge and view.delayed and Enabled.QRESYNC in session.enabled:
        tell_highest(session)
    return any(isinstance(change, Expunged) for change in changes)


def say(session: Session, changes: Iterable[Change], *, with_uid: bool = False, flags: bool = True) -> None:
    """Put these changes into `session.out`. In answers to UID commands every FETCH names its UID
    (RFC 9051 section 6.4.9), and under IMAP4rev2 (section 7.5.2) and QRESYNC (RFC 7162 section 3.2.4) in all; without
    `flags` its mod-sequence alone, which a silent STORE has changed. IMAP4rev2 has no RECENT."""
    out = session.out
    rev2 = Enabled.REV2 in session.enabled
    form = FetchForm.of(session, with_uid=with_uid, flags=flags)
    gone: list[int] = []
    for change in changes:
        if isinstance(change, Expunged):
            gone.append(change.uid)
            if not form.vanished:
                out.untagged(b"%d EXPUNGE" % change.seq)
            continue
        if gone and form.vanished:  # numbers move before anything is said under new ones
            _say_vanished(session, gone)
        if isinstance(change, Exists):
            out.untagged(b"%d EXISTS" % change.count)
            if not rev2:
                out.untagged(b"%d RECENT" % change.recent)
        else:
            introduce(session, change.flags.keywords)
            out.untagged(form.line(change))
    if gone and form.vanished:
        _say_vanished(session, gone)


def _say_vanished(session: Session, gone: list[int]) -> None:
    for line in vanished_lines(Runs.of(gone), earlier=False):
        session.out.untagged(line)
    gone.clear()


@dataclass(frozen=True, slots=True)
class FetchForm:
    """How this session hears of flags that changed."""

    uid: bool
    flags: bool
    modseq: bool
    uid_only: bool  # UIDFETCH (RFC 9586 section 3.3)
    vanished: bool

    @classmethod
    def of(cls, session: Session, *, with_uid: bool, flags: bool) -> FetchForm:
        enabled = session.enabled
        uid_only = Enabled.UIDONLY in enabled
        with_uid = with_uid or bool(enabled & (Enabled.REV2 | Enabled.QRESYNC))
        return cls(
            with_uid and not uid_only, flags, Enabled.CONDSTORE in enabled, uid_only, speaks_vanished(session)
        )

    def line(self, change: Flagged) -> bytes:
        items = []
        if self.uid:
            items.append(b"UID %d" % change.uid)
        if self.flags:
            items.append(b"FLAGS " + flags_text(change.flags, change.recent))
        if self.modseq:
            items.append(b"MODSEQ (%d)" % change.modseq)
        text = b" ".join(items)
        return (
            b"%d UIDFETCH (%b)" % (change.uid, text)
            if self.uid_only
            else b"%d FETCH (%b)" % (change.seq, text)
        )


def introduce(session: Session, keywords: frozenset[bytes]) -> None:
    """Tell of keywords that the last FLAGS response did not have (RFC 3501 section 7.2.6)."""
    selected = session.selected
    if selected is None or keywords <= selected.keywords:
        return
    known = {keyword.lower() for keyword in selected.keywords}
    selected.keywords |= keywords
    if any(keyword.lower() not in known for keyword in keywords):  # another case is no other keyword
        tell_flags(session)


def tell_flags(session: Session) -> None:
    """FLAGS and PERMANENTFLAGS, with the keywords the session knows of."""
    selected = session.selected
    if selected is None:
        return
    keywords = one_spelling(selected.keywords)
    session.out.untagged(b"FLAGS (%b)" % b" ".join([_SYSTEM, *keywords]))
    if selected.folder.read_only:
        session.out.status(b"*", Kind.OK, "No permanent flags permitted", b"PERMANENTFLAGS ()")
    else:
        more = [b"\\*"] if selected.folder.takes_keywords else []
        code = b"PERMANENTFLAGS (%b)" % b" ".join([_PERMANENT, *keywords, *more])
        session.out.status(b"*", Kind.OK, "Flags permitted", code)
