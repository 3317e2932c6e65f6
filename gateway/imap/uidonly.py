"""UIDONLY (RFC 9586): once it is enabled, no message number is taken, or sent, in either direction.

What is sent otherwise, UIDFETCH and VANISHED, is said by `imap.plan` and `imap.announce`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand
from gateway.core.runs import LastResult
from gateway.imap.searchkeys import leaves
from gateway.imap.spec import Enabled
from gateway.wire.command import Command, Examine, Select
from gateway.wire.searchkey import SearchKey, SeqSet

if TYPE_CHECKING:
    from gateway.imap.session_state import SessionState


def check(s: SessionState, command: Command) -> None:
    """BadCommand [UIDREQUIRED] for a command that speaks of message numbers, in whichever argument: the forms without
    UID, a message set among search keys, QRESYNC's sequence match data (RFC 9586 sections 3.2, 3.5, 3.7)."""
    if s.enabled is not Enabled.NOTHING and Enabled.UIDONLY in s.enabled and _names_numbers(command):
        raise BadCommand("Message numbers are not used after ENABLE UIDONLY", b"UIDREQUIRED")


def _names_numbers(command: Command) -> bool:
    if isinstance(command, Select | Examine):
        return command.qresync is not None and command.qresync.match is not None
    if getattr(command, "by_uid", None) is False:
        return True
    key: SearchKey | None = getattr(command, "key", None)
    return key is not None and any(map(_is_numbers, leaves(key)))


def _is_numbers(key: SearchKey) -> bool:
    """`$` is no number: it stands for messages."""
    return isinstance(key, SeqSet) and not isinstance(key.ids, LastResult)
