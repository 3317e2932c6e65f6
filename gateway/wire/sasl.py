"""SASL PLAIN's message, and who may act for whom: the same in IMAP and submission (RFC 4616)."""

from __future__ import annotations

from gateway.core.errors import AuthenticationFailed, BadCommand
from gateway.wire.saslprep import prepared


def plain_credentials(message: bytes) -> tuple[bytes, bytes]:
    """User and password of `[authzid] NUL authcid NUL passwd`.

    BadCommand: another form; AuthenticationFailed: the message asks to act for somebody else."""
    fields = message.split(b"\0")
    if len(fields) != 3:
        raise BadCommand("Malformed PLAIN response")
    authzid, user, password = fields
    if authzid and not same_user(authzid, user):
        raise AuthenticationFailed("Authentication failed")
    return user, password


def same_user(one: bytes, other: bytes) -> bool:
    """Whether two names are the same user's. Nobody acts for anybody else here."""
    return user_name(one.decode("utf-8", "replace")) == user_name(other.decode("utf-8", "replace"))


def user_name(name: str) -> str:
    """A user's name as it is looked up: prepared (RFC 4013), without blanks around it, in lower case."""
    return prepared(name).strip().lower()
