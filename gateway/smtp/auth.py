"""SASL in SMTP: PLAIN and LOGIN (RFC 4954; RFC 4616; draft-murchison-sasl-login).

All the forms clients use: with and without an initial response, names in any case, LOGIN with the user name
inline. CRAM-MD5 is not among them: passwords are kept as argon2id hashes, which cannot answer it.
"""

from __future__ import annotations

import binascii
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Protocol

from gateway.core.errors import AuthenticationFailed
from gateway.smtp.replies import Rejected, Reply

Credentials = tuple[str, str]  # user, password

RESPONSE_OCTETS = 12288  # RFC 4954 section 4: of one base64 response


class Dialogue(Protocol):
    """The connection, as an exchange sees it."""

    async def say(self, reply: Reply) -> None: ...
    async def line(self) -> bytes: ...


async def exchange(peer: Dialogue, argument: str) -> Credentials:
    """The credentials that `AUTH argument` leads to. Rejected for a bad form, AuthenticationFailed for
    credentials that cannot be right."""
    words = argument.split()
    if not 1 <= len(words) <= 2:
        raise Rejected(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
    mechanism = MECHANISMS.get(words[0].upper())
    if mechanism is None:
        raise Rejected(504, "5.5.4", "Mechanism not supported")
    user, password = await mechanism(peer, _initial(words[1]) if len(words) == 2 else None)
    try:
        return user.decode(), password.decode()
    except UnicodeDecodeError:
        raise AuthenticationFailed("Authentication failed") from None


async def _plain(peer: Dialogue, initial: bytes | None) -> tuple[bytes, bytes]:
    """[authzid] NUL authcid NUL passwd. Acting for another user is not offered."""
    message = await _ask(peer, b"") if initial is None else initial
    fields = message.split(b"\0")
    if len(fields) != 3:
        raise Rejected(501, "5.5.2", "Malformed PLAIN response")
    authzid, user, password = fields
    if authzid and authzid.lower() != user.lower():
        raise AuthenticationFailed("Authentication failed")
    return user, password


async def _login(peer: Dialogue, initial: bytes | None) -> tuple[bytes, bytes]:
    """Some devices look at the prompts: these two are what they expect."""
    user = await _ask(peer, b"Username:") if initial is None else initial
    return user, await _ask(peer, b"Password:")


MECHANISMS: dict[str, Callable[[Dialogue, bytes | None], Awaitable[tuple[bytes, bytes]]]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
}


async def _ask(peer: Dialogue, challenge: bytes) -> bytes:
    await peer.say(Reply(334, "", b64encode(challenge).decode()))
    line = (await peer.line()).strip()
    if line == b"*":
        raise Rejected(501, "5.7.0", "Authentication cancelled")
    if len(line) > RESPONSE_OCTETS:
        raise Rejected(500, "5.5.6", "Authentication exchange line is too long")
    return _decoded(line)


def _initial(word: str) -> bytes:
    """`=` is an empty response (RFC 4954 section 4)."""
    return b"" if word == "=" else _decoded(word.encode("utf-8", "surrogateescape"))


def _decoded(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise Rejected(501, "5.5.2", "Not valid base64") from None
