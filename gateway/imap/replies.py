"""Errors to tagged replies: one table, one translator. Nothing of an unknown error reaches the client or the
log but its type and where it was raised."""

from __future__ import annotations

import traceback

import structlog

from gateway.core.errors import (
    AuthenticationFailed,
    BadCommand,
    GatewayError,
    NoSuchMailbox,
    Refused,
    SubmissionRefused,
    Unavailable,
)
from gateway.imap.spec import Reply, Spec
from gateway.wire.command import Command
from gateway.wire.encode import Kind

log = structlog.get_logger("gateway.imap")

REPLIES: dict[type[GatewayError], Kind] = {
    BadCommand: Kind.BAD,
    Refused: Kind.NO,
    Unavailable: Kind.NO,
    AuthenticationFailed: Kind.NO,
    SubmissionRefused: Kind.NO,
    GatewayError: Kind.NO,
}


def reply_to(error: GatewayError, spec: Spec | None = None) -> Reply:
    """The reply an expected error stands for; `spec` says what an unknown mailbox means to the command."""
    kind = next(REPLIES[cls] for cls in type(error).__mro__ if cls in REPLIES)
    code = error.code
    if spec is not None and type(error) is NoSuchMailbox and code == NoSuchMailbox.code:
        code = spec.missing
    return Reply(str(error) or type(error).__name__, code, kind)


def reply_to_bug(error: Exception, command: Command) -> Reply:
    """NO [SERVERBUG] (RFC 5530), and a log line without content: an exception's text may quote a message."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    log.error(
        "imap.bug",
        command=type(command).__name__,
        error=type(error).__name__,
        at=[f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames],
    )
    return Reply("Internal error, the command was not completed", b"SERVERBUG", Kind.NO)
