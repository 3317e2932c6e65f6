"""The MIME tree of a message as octet offsets (RFC 2045, 2046; RFC 9051 section 7.5.2).

Interface (`scan` is to be implemented):
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Part:
    """One part. Offsets count octets of the whole message; every span is [start, end).

    `header` runs from the part's first octet through the empty line; `body` from there to the part's end
    (before the CRLF that belongs to the next boundary). For the message itself start is 0.
    """

    start: int
    body: int
    end: int
    type: bytes = b"text"  # lower case, as are subtype and parameter names
    subtype: bytes = b"plain"
    params: tuple[tuple[bytes, bytes], ...] = ()
    encoding: bytes = b"7bit"  # lower case
    id: bytes | None = None
    description: bytes | None = None
    md5: bytes | None = None
    disposition: bytes | None = None
    disposition_params: tuple[tuple[bytes, bytes], ...] = ()
    language: tuple[bytes, ...] = ()
    location: bytes | None = None
    lines: int = 0  # of the body, for text/* and message/rfc822
    children: tuple[Part, ...] = field(default=())  # of a multipart; or the one message inside message/rfc822


def scan(message: bytes) -> Part:
    """The tree of `message`. Never raises: whatever is malformed becomes the nearest legal reading, bounded by
    `limits.mime_depth` and `limits.mime_parts`. Linear time."""
    raise NotImplementedError
