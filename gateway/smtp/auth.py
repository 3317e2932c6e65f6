"""SASL in SMTP: PLAIN, LOGIN and SCRAM-SHA-256 (RFC 4954; RFC 4616; draft-murchison-sasl-login; RFC 7677).

All the forms clients use: with and without an initial response, names in any case, LOGIN with the user name
inline. CRAM-MD5 is not among them: passwords are kept as argon2id hashes, which cannot answer it.
"""

from __future__ import annotations

import binascii
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from secrets import token_bytes
from typing import Protocol

from gateway.core.errors import AuthenticationFailed, BadCommand
from gateway.mailbox.api import Account, Accounts
from gateway.smtp.replies import Rejected, Reply
from gateway.wire.sasl import plain_credentials
from gateway.wire.scram import ScramServer

NONCE_OCTETS = 18  # of ours in SCRAM, before base64
RESPONSE_OCTETS = 12288  # RFC 4954 section 4: of one base64 response


class Dialogue(Protocol):
    """The connection, as an exchange sees it."""

    async def say(self, reply: Reply) -> None: ...
    async def line(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """One AUTH: with whom, and against what."""

    peer: Dialogue
    accounts: Accounts
    address: str

    async def run(self, argument: str) -> Account:
        """The account that `AUTH argument` leads to. Rejected for a bad form, AuthenticationFailed for who is not
        who he says, Unavailable if the account cannot be opened."""
        words = argument.split()
        if not 1 <= len(words) <= 2:
            raise Rejected(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
        name = words[0].upper()
        if name not in mechanisms(self.accounts):
            raise Rejected(504, "5.5.4", "Mechanism not supported")
        try:
            return await MECHANISMS[name](self, _initial(words[1]) if len(words) == 2 else None)
        except BadCommand as error:
            raise Rejected(501, "5.5.2", str(error)) from None

    async def _plain(self, initial: bytes | None) -> Account:
        """Acting for another user is not offered."""
        return await self._verified(*plain_credentials(await self._first(b"", initial)))

    async def _login(self, initial: bytes | None) -> Account:
        """Some devices look at the prompts: these two are what they expect."""
        user = await self._first(b"Username:", initial)
        return await self._verified(user, await _ask(self.peer, b"Password:"))

    async def _scram(self, initial: bytes | None) -> Account:
        """Our signature goes as a last challenge, for 235 carries no data (RFC 4954 section 4)."""
        exchange = ScramServer(self.accounts.verifier, b64encode(token_bytes(NONCE_OCTETS)).decode())
        challenge = exchange.first(await self._first(b"", initial))
        signature = exchange.final(await _ask(self.peer, challenge))
        if await _ask(self.peer, signature):
            raise BadCommand("Expected an empty response")
        return await self.accounts.admit(exchange.user, self.address)

    async def _first(self, prompt: bytes, initial: bytes | None) -> bytes:
        return await _ask(self.peer, prompt) if initial is None else initial

    async def _verified(self, user: bytes, password: bytes) -> Account:
        try:
            return await self.accounts.authenticate(user.decode(), password.decode(), self.address)
        except UnicodeDecodeError:
            raise AuthenticationFailed("Authentication failed") from None


MECHANISMS: dict[str, Callable[[Exchange, bytes | None], Awaitable[Account]]] = {
    "PLAIN": Exchange._plain,
    "LOGIN": Exchange._login,
    "SCRAM-SHA-256": Exchange._scram,  # last: some devices read no further than the first they know
}


def mechanisms(accounts: Accounts) -> list[str]:
    """Those that every user can use."""
    return [name for name in MECHANISMS if name != "SCRAM-SHA-256" or accounts.scram]


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
