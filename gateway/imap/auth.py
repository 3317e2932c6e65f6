"""LOGIN and AUTHENTICATE (RFC 9051 sections 6.2.2, 6.2.3; RFC 4616; RFC 4959; RFC 7677; the LOGIN mechanism).

Passwords never cross a connection without TLS unless the administrator allows it. A failure costs its own
connection a delay and nobody else anything.
"""

from __future__ import annotations

import binascii
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway.core.errors import AuthenticationFailed, BadCommand, CannotDo, GatewayError, LimitReached
from gateway.imap.context import Farewell
from gateway.imap.spec import Reply, State, handles
from gateway.mailbox.api import Account
from gateway.wire.command import Authenticate, Login, Marker
from gateway.wire.framer import Continue, Frame, Overflow
from gateway.wire.sasl import plain_credentials
from gateway.wire.scram import ScramServer

if TYPE_CHECKING:
    from gateway.imap.session import Session

Mechanism = Callable[["Session", bytes | None], Awaitable[Account]]
NONCE_OCTETS = 18  # of ours, before base64


class PrivacyRequiredError(GatewayError):
    """RFC 5530 section 3: this is refused for lack of TLS."""

    code = b"PRIVACYREQUIRED"


@handles(Login, State.NOT_AUTHENTICATED)
async def login(s: Session, cmd: Login) -> Reply:
    _require_privacy(s)
    return _log_in(s, await _verified(s, cmd.user, cmd.password))


@handles(Authenticate, State.NOT_AUTHENTICATED, solo=True)
async def authenticate(s: Session, cmd: Authenticate) -> Reply:
    _require_privacy(s)
    exchange = MECHANISMS.get(cmd.mechanism.upper())
    if exchange is None or (exchange is _scram and not s.context.accounts.scram):
        # Not [AUTHENTICATIONFAILED]: programs would ask for the password.
        raise CannotDo("Mechanism not supported")
    initial = None if cmd.initial is None else _decode(b"" if cmd.initial == b"=" else cmd.initial)
    return _log_in(s, await exchange(s, initial))


def _require_privacy(s: Session) -> None:
    if not s.channel.secure and not s.context.settings.allow_plaintext:
        raise PrivacyRequiredError("Use TLS before you log in")


# -- mechanisms --


async def _plain(s: Session, initial: bytes | None) -> Account:
    """RFC 4616. Acting for another user is not offered."""
    user, password = plain_credentials(initial if initial is not None else await _ask(s, b""))
    return await _verified(s, user, password)


async def _login(s: Session, initial: bytes | None) -> Account:
    """Two prompts; an initial response is the user name (draft-murchison-sasl-login)."""
    user = initial if initial is not None else await _ask(s, b"Username:")
    return await _verified(s, user, await _ask(s, b"Password:"))


async def _scram(s: Session, initial: bytes | None) -> Account:
    """RFC 7677. Our signature is the last challenge; the client's empty response to it ends the exchange, for IMAP's
    OK carries no data (RFC 5802 section 5)."""
    accounts, nonce = s.context.accounts, b64encode(secrets.token_bytes(NONCE_OCTETS)).decode()
    exchange = ScramServer(accounts.verifier, nonce)
    async with _penalty(s):
        challenge = exchange.first(initial if initial is not None else await _ask(s, b""))
        signature = exchange.final(await _ask(s, challenge))
    if await _ask(s, signature):
        raise BadCommand("Expected an empty response")
    return await accounts.admit(exchange.user, s.channel.peer)


MECHANISMS: dict[bytes, Mechanism] = {b"PLAIN": _plain, b"LOGIN": _login, b"SCRAM-SHA-256": _scram}


async def _ask(s: Session, challenge: bytes) -> bytes:
    s.out.challenge(challenge)
    await s.flush()
    line = await _response_line(s)
    if line == Marker.SASL_CANCEL:
        raise BadCommand("Authentication cancelled")
    return _decode(line)


async def _response_line(s: Session) -> bytes:
    """The next line, raw. What looks like a literal gets no invitation: it is part of a bad response."""
    event = await s.channel.next_event()
    while isinstance(event, Continue):
        event = await s.channel.next_event()
    if isinstance(event, Overflow):
        raise Farewell("Response far too long", b"TOOBIG")
    if not isinstance(event, Frame):
        raise BadCommand("Response too long", b"TOOBIG")
    return b"".join(event.parts)


def _decode(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise BadCommand("Not valid base64") from None


# -- the decision --


def _log_in(s: Session, account: Account) -> Reply:
    if not s.hold(f"user {account.name}", s.context.limits.connections_per_user):
        raise LimitReached("Too many connections of this user")
    s.login(account)
    s.context.counters.logins += 1
    return Reply("Logged in", b"CAPABILITY " + s.capabilities())


async def _verified(s: Session, user: bytes, password: bytes) -> Account:
    async with _penalty(s):
        return await s.context.accounts.authenticate(_text(user), _text(password), s.channel.peer)


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise AuthenticationFailed("Authentication failed") from None


@asynccontextmanager
async def _penalty(s: Session) -> AsyncIterator[None]:
    """Whoever is not who he says hears that, and nothing else, and late."""
    try:
        yield
    except AuthenticationFailed:
        await _penalise(s)
        raise AuthenticationFailed("Authentication failed") from None


async def _penalise(s: Session) -> None:
    """Delay the answer; after too many, end the connection with it."""
    s.failed_logins += 1
    s.context.counters.failed_logins += 1
    await s.context.clock.sleep(s.context.limits.login_delay)
    if s.failed_logins >= s.context.limits.login_attempts:
        s.hang_up(Farewell("Too many failed logins"))
