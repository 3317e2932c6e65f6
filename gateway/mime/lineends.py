"""Line ends of mail (RFC 5322 section 2.3): CRLF, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_LINE_END = re.compile(rb"\r+\n?|\n")
_HELD = 64 * 1024  # CRs in a row that may still be one line end


def crlf(raw: bytes) -> bytes:
    """Every line end as CRLF: bare LF, bare CR, and CRs before a CRLF that some gateways add. Returns `raw`
    itself if there is nothing to do."""
    pairs = raw.count(b"\r\n")
    if raw.count(b"\r") == pairs:
        if raw.count(b"\n") == pairs:
            return raw
        return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return _LINE_END.sub(_one_or_each, raw)


def _one_or_each(match: re.Match[bytes]) -> bytes:
    end = match[0]
    return b"\r\n" if end.endswith(b"\n") else b"\r\n" * len(end)


def mended(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """`crlf` of octets that come in pieces, however they are cut."""
    held = b""
    for block in blocks:
        octets = held + block
        kept = len(octets.rstrip(b"\r"))
        held = octets[kept:] if len(octets) - kept <= _HELD else b""
        if piece := crlf(octets[: len(octets) - len(held)]):
            yield piece
    if held:
        yield crlf(held)
