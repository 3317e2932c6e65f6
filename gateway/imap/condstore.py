"""CONDSTORE and QRESYNC in a session (RFC 7162): who has switched them on, and the mod-sequence a client may come back
with.

A client that is CONDSTORE-aware hears MODSEQ with all flags; one that has enabled QRESYNC hears UIDs with them, and
VANISHED instead of EXPUNGE. What it may come back with is `View.told`: everything up to there has been said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand
from gateway.core.runs import Runs
from gateway.imap.spec import Enabled
from gateway.wire.encode import Kind

if TYPE_CHECKING:
    from gateway.imap.session_state import SessionState

RANGES = 350  # of one VANISHED: some 8,000 octets (RFC 7162 section 4)


def is_on(s: SessionState) -> bool:
    return Enabled.CONDSTORE in s.enabled


def switch_on(s: SessionState) -> None:
    """What any CONDSTORE enabling command does first (RFC 7162 section 3.1). If a mailbox is open, its client hears
    from where on it is kept informed."""
    if is_on(s):
        return
    s.enabled |= Enabled.CONDSTORE
    tell_highest(s)


def need_qresync(s: SessionState) -> None:
    """BadCommand unless the client has enabled QRESYNC in this session (RFC 7162 section 3.2.3)."""
    if Enabled.QRESYNC not in s.enabled:
        raise BadCommand("QRESYNC has not been enabled")


def tell_highest(s: SessionState) -> None:
    """HIGHESTMODSEQ of the open mailbox, if one is open."""
    if s.selected is not None:
        s.out.status(b"*", Kind.OK, "Highest", highest(s))


def highest(s: SessionState) -> bytes:
    """The response code. Never NOMODSEQ: every mailbox has mod-sequences."""
    return b"HIGHESTMODSEQ %d" % s.folder.view.told


def speaks_vanished(s: SessionState) -> bool:
    """VANISHED instead of EXPUNGE (RFC 7162 section 3.2.10.2, RFC 9586 section 3.4)."""
    return bool(s.enabled & (Enabled.QRESYNC | Enabled.UIDONLY))


def vanished_lines(uids: Runs, *, earlier: bool) -> Iterator[bytes]:
    """`VANISHED [(EARLIER)] uids`, as many as it takes; none for no UIDs."""
    word = b"VANISHED (EARLIER) " if earlier else b"VANISHED "
    for start in range(0, len(uids.ranges), RANGES):
        yield word + Runs(uids.ranges[start : start + RANGES]).format()
