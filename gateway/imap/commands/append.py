"""APPEND (RFC 9051 section 6.3.12; RFC 4315; RFC 7889).

Mailbox and size are looked at before `+`, so that a refused message never crosses the wire; octets go to a
spool as they come; however it ends, the input stands at the next command (`IncomingLiteral.settle`).
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from gateway.core.errors import TooBig
from gateway.imap.spec import Reply, State, handles
from gateway.mailbox.api import Spool
from gateway.wire.command import AppendStart

if TYPE_CHECKING:
    from gateway.imap.literal import IncomingLiteral
    from gateway.imap.session import Session


@handles(AppendStart, State.LOGGED_IN, name="APPEND", missing=b"TRYCREATE")
async def append(s: Session, cmd: AppendStart) -> Reply:
    """If the mailbox is open here, its view has the message by now, and EXISTS comes before the reply."""
    literal = s.literal
    if literal is None:
        raise AssertionError("APPEND without a literal")
    if cmd.size > s.user.append_limit():
        raise TooBig(f"Messages of up to {s.user.append_limit()} octets are accepted")
    await s.user.check_append(cmd.mailbox, cmd.size)
    spool = s.user.spool(cmd.size)
    try:
        await _receive(literal, spool)
        result = await s.user.append(cmd.mailbox, spool, cmd.flags, cmd.internal_date)
    finally:
        await spool.close()
    return Reply("APPEND completed", b"APPENDUID %d %d" % (result.uid_validity, result.uid))


async def _receive(literal: IncomingLiteral, spool: Spool) -> None:
    async with aclosing(literal.chunks()) as chunks:
        async for chunk in chunks:
            await spool.write(chunk)
