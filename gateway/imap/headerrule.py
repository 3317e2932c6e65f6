"""Which octets the header of an appended message may hold (RFC 6855 section 4): looked at as they come."""

from __future__ import annotations

import re

from gateway.core.errors import CannotDo

_END = re.compile(rb"\n\r?\n")
_TAIL = 2  # octets that may begin the header's end
_START = b"\n"  # so that an empty line right at the start is found as well


class HeaderRule:
    """Feed the message in pieces; CannotDo at the first 8-bit octet in its own header.

    `any_octets`: nothing is looked at. Headers of the parts inside are body. Linear; holds two octets."""

    def __init__(self, *, any_octets: bool) -> None:
        self._over = any_octets
        self._tail = _START

    def feed(self, data: bytes) -> None:
        if self._over:
            return
        seen = self._tail + data
        end = _END.search(seen)
        header = seen if end is None else seen[: end.start()]
        if not header.isascii():
            raise CannotDo("This header has 8-bit characters: ENABLE UTF8=ACCEPT first, or encode them")
        self._over = end is not None
        self._tail = seen[-_TAIL:]
