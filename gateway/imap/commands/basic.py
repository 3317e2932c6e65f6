"""CAPABILITY, NOOP, CHECK, LOGOUT, ID, ENABLE, STARTTLS: commands that touch no message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand, GatewayError
from gateway.imap import condstore
from gateway.imap.caps import ENABLABLE, SPELLED
from gateway.imap.rev2 import forget_recent
from gateway.imap.spec import Enabled, Reply, State, handles
from gateway.wire.command import Capability, Check, Enable, Id, Logout, Noop, StartTls
from gateway.wire.encode import Kind, quoted

if TYPE_CHECKING:
    from gateway.imap.session import Session


@handles(Capability, State.ANY, quick=True)
async def capability(s: Session, cmd: Capability) -> None:
    s.out.untagged(b"CAPABILITY ", s.capabilities())


@handles(Noop, State.ANY)
async def noop(s: Session, cmd: Noop) -> Reply | None:
    """Succeeds always (RFC 9051 section 6.1.2); in a mailbox it looks for news."""
    if s.selected is None:
        return None
    try:
        await s.folder.poll()
    except GatewayError:
        return Reply("NOOP completed, but the backend does not answer")
    return None


@handles(Check, State.SELECTED)
async def check(s: Session, cmd: Check) -> None:
    """As NOOP: there is nothing here to write to a disk (RFC 3501 section 6.4.1)."""
    await s.folder.poll()


@handles(Logout, State.ANY, quick=True)
async def logout(s: Session, cmd: Logout) -> None:
    s.out.status(b"*", Kind.BYE, "Logging out")
    s.hang_up()


@handles(Id, State.ANY, quick=True)
async def identify(s: Session, cmd: Id) -> None:
    """RFC 2971. What the client says of itself is not kept."""
    settings = s.context.settings
    name, version = quoted(settings.product.encode()), quoted(settings.version.encode())
    s.out.untagged(b'ID ("name" %b "version" %b)' % (name, version))


@handles(Enable, State.LOGGED_IN, quick=True)
async def enable(s: Session, cmd: Enable) -> None:
    """RFC 5161 section 3.2: the answer names what is on of what was asked for, also where that was on before: a name
    left out tells the client that it was not enabled. It is never left out itself."""
    known = [name for name in cmd.capabilities if name in ENABLABLE]
    aware = condstore.is_on(s)
    for name in known:
        s.enabled |= ENABLABLE[name]
    if Enabled.METADATA in s.enabled and s.metadata_heard is None:
        s.metadata_heard = s.user.metadata_serial
    if condstore.is_on(s) and not aware:
        condstore.tell_highest(s)
    forget_recent(s)
    s.out.untagged(b" ".join([b"ENABLED", *(SPELLED.get(name, name) for name in known)]))


@handles(StartTls, State.NOT_AUTHENTICATED, solo=True)
async def start_tls(s: Session, cmd: StartTls) -> Reply:
    """RFC 9051 section 6.2.1. The handshake begins behind the tagged OK; what the client sent before it is
    forgotten, so that nothing said in plain text counts under TLS."""
    if s.channel.secure:
        raise BadCommand("TLS is active already")
    if s.context.tls is None:
        raise BadCommand("TLS is not available here")
    s.afterwards(s.channel.start_tls)
    return Reply("Begin TLS negotiation now")
