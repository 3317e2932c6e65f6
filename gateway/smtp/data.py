"""A message's octets off the wire: dot-stuffing undone in chunks, straight into the spool (RFC 5321 4.5.2).

The one end of data is CRLF "." CRLF. `<LF>.<LF>`, `<LF>.<CRLF>`, `<CR>.<CR>` and their kin are data, kept as
they are: what one program takes for the end and another for text is how a second message is smuggled
inside a first (RFC 5321 section 4.1.1.4).

Bare LF and lines of any length, which devices send, pass. Senders that end lines with LF double the dots there,
too (smtplib does, given octets): behind a bare LF two dots become one, a single dot stays.
"""

from __future__ import annotations

import re
from typing import Protocol

from gateway.core.errors import TooBig
from gateway.mailbox.values import Spool
from gateway.smtp.replies import Farewell

_END = b"\r\n.\r\n"
# Beginnings of what must be seen whole, longest first.
_STARTS = (*(_END[:n] for n in range(len(_END) - 1, 0, -1)), b"\n.", b"\n")
_DOUBLED = re.compile(rb"(?<!\r)\n\.\.")


class Source(Protocol):
    """Where octets come from; `smtp.input.Input`."""

    async def chunk(self) -> bytes: ...
    def put_back(self, octets: bytes) -> None: ...


class Undotter:
    """Feed it what comes, in any pieces; it returns text as soon as no later octet can change it. At most four
    octets are held back, so the work is linear in the input however it is cut."""

    __slots__ = ("_held", "_skip", "ended", "rest")

    def __init__(self) -> None:
        self.ended = False
        self.rest = b""  # what came behind the end: the next commands
        self._held = b"\r\n"  # the start of the data is the start of a line
        self._skip = 2  # ... whose line end is not part of the message

    def feed(self, octets: bytes) -> bytes:
        """Not to be called once `ended`."""
        octets = self._held + octets
        end = octets.find(_END)
        if end >= 0:
            self.ended, self.rest, self._held = True, octets[end + len(_END) :], b""
            return self._text(octets[: end + 2])
        cut = len(octets) - _unsure(octets)
        self._held = octets[cut:]
        return self._text(octets[:cut])

    def _text(self, stuffed: bytes) -> bytes:
        """Every line end in `stuffed` that a dot may follow is followed by it here, not in the next piece."""
        text = stuffed.replace(b"\r\n.", b"\r\n")
        if b"\n.." in text:
            text = _DOUBLED.sub(b"\n.", text)
        if not self._skip or not text:
            return text
        text, self._skip = text[self._skip :], 0
        return text


def _unsure(octets: bytes) -> int:
    """How many octets at the end could belong to what comes next."""
    return next((len(start) for start in _STARTS if octets.endswith(start)), 0)


async def receive(source: Source, spool: Spool, *, limit: int, patience: int) -> int:
    """Reads up to the end of data and returns the message's size. What is over `limit` octets, or does not
    find room in the spool, is read and dropped, then TooBig or the spool's error is raised, whatever that is:
    a peer listens only when it has sent everything, and a message's rest must not be read as commands. Beyond
    `patience` octets it is cut off."""
    undotter, size = Undotter(), 0
    fault: Exception | None = None
    while not undotter.ended:
        text = undotter.feed(await source.chunk())
        size += len(text)
        if size > patience:
            raise Farewell(552, "5.3.4", "Message far too big")
        if fault is None:
            fault = await _kept(spool, text) if size <= limit else TooBig("Message too big")
            if fault is not None:
                await spool.close()
    source.put_back(undotter.rest)
    if fault is not None:
        raise fault
    return size


async def _kept(spool: Spool, text: bytes) -> Exception | None:
    try:
        if text:
            await spool.write(text)
    except Exception as error:
        return error
    return None
