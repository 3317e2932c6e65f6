"""COMPRESS DEFLATE (RFC 4978): everything behind the tagged OK is compressed, in both directions.

It costs memory for as long as the connection lasts (`wire/deflate.py`), so the process has room for a number of
them (`limits.compressed_connections`); the others go on uncompressed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand, CannotDo, LimitReached, Refused
from gateway.imap.spec import Reply, State, handles
from gateway.wire.command import Compress

if TYPE_CHECKING:
    from gateway.imap.session import Session

COMPRESSED = "compressed"  # the census's key


class CompressionActiveError(Refused):
    """RFC 4978 section 3."""

    code = b"COMPRESSIONACTIVE"


@handles(Compress, State.LOGGED_IN, solo=True)
async def compress(s: Session, cmd: Compress) -> Reply:
    """What the client has sent behind this command without waiting can only be compressed (section 3)."""
    bound = s.context.limits.compressed_connections
    if not bound:
        raise BadCommand("COMPRESS is not offered here")
    if cmd.algorithm != b"DEFLATE":
        raise CannotDo("Only DEFLATE is offered")
    if s.channel.compressed:
        raise CompressionActiveError("DEFLATE is active by an earlier COMPRESS")
    if not s.hold(COMPRESSED, bound):
        raise LimitReached("Too many compressed connections, go on without")
    s.afterwards(lambda: _begin(s))
    return Reply("DEFLATE active")


async def _begin(s: Session) -> None:
    s.channel.compress()


async def end(s: Session) -> None:
    """Plain again, if it was compressed (RFC 8437 section 4.1)."""
    s.channel.stop_compression()
    s.release(COMPRESSED)
