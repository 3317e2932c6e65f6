"""GETMETADATA, SETMETADATA, and the news of changed entries (RFC 5464)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from gateway.imap.rev2 import name_octets
from gateway.imap.spec import Reply, State, handles
from gateway.wire.command import GetMetadata, SetMetadata
from gateway.wire.encode import astring, nstring8

if TYPE_CHECKING:
    from gateway.imap.session import Session
    from gateway.imap.session_state import SessionState


@handles(GetMetadata, State.LOGGED_IN)
async def get_metadata(s: Session, cmd: GetMetadata) -> Reply | None:
    """An entry that is not set is NIL, unless one below it was asked for and is (sections 4.2, 4.2.2)."""
    known = await s.user.metadata(cmd.mailbox)
    found = values_of(known, cmd.entries, cmd.depth)
    longest = 0
    if cmd.max_size is not None:
        long = [len(value) for value in found.values() if value is not None and len(value) > cmd.max_size]
        longest = max(long, default=0)
    shown = {
        name: value
        for name, value in found.items()
        if value is None or cmd.max_size is None or len(value) <= cmd.max_size
    }
    if shown:
        s.out.untagged(metadata_line(s, cmd.mailbox, shown))
    return Reply("GETMETADATA completed", b"METADATA LONGENTRIES %d" % longest) if longest else None


@handles(SetMetadata, State.LOGGED_IN)
async def set_metadata(s: Session, cmd: SetMetadata) -> None:
    await s.user.set_metadata(cmd.mailbox, dict(cmd.changes), s.number)


def values_of(
    known: Mapping[str, bytes], entries: Iterable[str], depth: int | None
) -> dict[str, bytes | None]:
    """What a client asked for, each entry once, in his spelling where he named it."""
    found: dict[str, bytes | None] = {}
    told: set[str] = set()
    for entry in entries:
        name = entry.lower()
        below = [other for other in known if _is_below(other, name, depth)]
        if name not in told and (name in known or not below):
            found[entry] = known.get(name)
            told.add(name)
        found.update((other, known[other]) for other in below if other not in told)
        told.update(below)
    return found


def _is_below(name: str, top: str, depth: int | None) -> bool:
    if depth == 0 or not name.startswith(top + "/"):
        return False
    return depth is None or name.count("/") - top.count("/") <= depth


def metadata_line(s: SessionState, mailbox: str, values: Mapping[str, bytes | None]) -> bytes:
    """METADATA with values (section 4.4.1)."""
    pairs = b" ".join(b"%b %b" % (astring(name.encode()), nstring8(value)) for name, value in values.items())
    return b"METADATA %b (%b)" % (name_octets(s, mailbox), pairs)


def tell_changed_entries(s: SessionState) -> None:
    """METADATA without values, of what others changed (section 4.4.2). Only once the client has enabled it; what was
    changed before it did is not news."""
    account, heard = s.account, s.metadata_heard
    if account is None or heard is None:
        return
    serial = account.metadata_serial
    if serial == heard:
        return
    for mailbox, names in account.metadata_news(heard, s.number).items():
        entries = b" ".join(astring(name.encode()) for name in names)
        s.out.untagged(b"METADATA %b %b" % (name_octets(s, mailbox), entries))
    s.metadata_heard = serial
