"""UNAUTHENTICATE (RFC 8437): the connection is as after its greeting, or its TLS handshake, and may log in anew."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.core.errors import GatewayError
from gateway.imap.commands.compress import end
from gateway.imap.spec import State, handles
from gateway.wire.command import Unauthenticate

if TYPE_CHECKING:
    from gateway.imap.session import Session


@handles(Unauthenticate, State.LOGGED_IN, solo=True)
async def unauthenticate(s: Session, cmd: Unauthenticate) -> None:
    """May not fail, since a client sends its next AUTHENTICATE without waiting (section 3): a bug here ends the
    connection. The OK is the last that is compressed (section 4.1)."""
    with suppress(GatewayError):
        await s.leave()
    s.logout()
    s.afterwards(lambda: end(s))
