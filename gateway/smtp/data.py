"""A message's octets off the wire, straight into the spool: DATA with its dot-stuffing undone in chunks (RFC 5321
section 4.5.2), BDAT as it comes (RFC 3030).

The one end of DATA is CRLF "." CRLF. A line of one dot between any other line ends, `<LF>.<LF>`, `<LF>.<CRLF>`,
`<CR>.<CR>` and their kin, is what one program takes for the end and another for text: that is how a second message is
smuggled inside a first (RFC 5321 section 4.1.1.4). Here it is no end, and the message it stands in is refused
(decision 45).

Bare LF and lines of any length, which devices send, pass. Senders that end lines with LF double the dots there,
too (smtplib does, given octets): behind a bare LF two dots become one.
"""

from __future__ import annotations

import re
from typing import Protocol

from gateway.core.errors import SubmissionRefused, TooBig
from gateway.mailbox.values import Spool
from gateway.smtp.replies import Farewell

_END = b"\r\n.\r\n"
# Beginnings of what must be seen whole: the end, a doubled dot behind LF, a dot between two line ends.
_UNSURE = re.compile(rb"(?:\r?\n|\r)(?:\.\r?)?\Z")
_DOUBLED = re.compile(rb"(?<!\r)\n\.\.")
# Expressions that begin with a literal: the library looks for that at memory speed, faster than `find` does.
_DOTS = (re.compile(rb"\n\."), re.compile(rb"\r\."))
_FALSE_ENDS = (re.compile(rb"\n\.[\r\n]"), re.compile(rb"\r\.[\r\n]"))  # where there is no true one


class Source(Protocol):
    """Where octets come from; `smtp.input.Input`."""

    async def chunk(self) -> bytes: ...
    def put_back(self, octets: bytes) -> None: ...


class Undotter:
    """Feed it what comes, in any pieces; it returns text as soon as no later octet can change it. At most four
    octets are held back, so the work is linear in the input however it is cut. `smuggling`: there was a false end."""

    __slots__ = ("_held", "_skip", "ended", "rest", "smuggling")

    def __init__(self) -> None:
        self.ended = False
        self.smuggling = False
        self.rest = b""  # what came behind the end: the next commands
        self._held = b"\r\n"  # the start of the data is the start of a line
        self._skip = 2  # ... whose line end is not part of the message

    def feed(self, octets: bytes) -> bytes:
        """Not to be called once `ended`."""
        octets = self._held + octets
        dots = any(dot.search(octets) for dot in _DOTS)
        end = octets.find(_END) if dots else -1
        if end >= 0:
            self.ended, self.rest, self._held = True, octets[end + len(_END) :], b""
            octets = octets[: end + 2]
        if dots:
            self._look_for_false_ends(octets)
        return self._text(octets if self.ended else self._sure(octets), dots)

    def _look_for_false_ends(self, octets: bytes) -> None:
        """Each stands whole in one piece with what was held back before it. What looks like the beginning of a true
        end is judged with the octet behind it."""
        end = len(octets) - octets.endswith(b"\r\n.\r")
        self.smuggling = self.smuggling or any(false.search(octets, 0, end) for false in _FALSE_ENDS)

    def _sure(self, octets: bytes) -> bytes:
        """Without what is held back."""
        unsure = _UNSURE.search(octets, max(0, len(octets) - 4))
        cut = unsure.start() if unsure else len(octets)
        self._held = octets[cut:]
        return octets[:cut]

    def _text(self, stuffed: bytes, dots: bool) -> bytes:
        """Every line end in `stuffed` that a dot may follow is followed by it here, not in the next piece."""
        text = stuffed.replace(b"\r\n.", b"\r\n") if dots else stuffed
        if dots and b"\n.." in text:
            text = _DOUBLED.sub(b"\n.", text)
        if not self._skip or not text:
            return text
        text, self._skip = text[self._skip :], 0
        return text


class Filter(Protocol):
    """What changes a message on its way; `smtp.rewriting.SentAs`."""

    def feed(self, octets: bytes) -> bytes: ...
    def end(self) -> bytes: ...


class Intake:
    """A message on its way into its spool, through a filter if there is one. What is over `limit` octets, or finds no
    room in the spool, is dropped and `fault` says why: a peer listens only when it has sent everything, and a message's
    rest must not be read as commands. Beyond `patience` octets it is cut off."""

    __slots__ = ("_filter", "_limit", "_patience", "fault", "size", "spool")

    def __init__(self, spool: Spool, filter: Filter | None = None, *, limit: int, patience: int) -> None:
        self.spool = spool
        self._filter = filter
        self.size = 0  # octets that came
        self.fault: Exception | None = None
        self._limit = limit
        self._patience = patience

    def expect(self, octets: int) -> None:
        """So many are to come: Farewell if they are beyond all patience."""
        if self.size + octets > self._patience:
            raise Farewell(552, "5.3.4", "Message far too big")

    async def take(self, text: bytes) -> None:
        self.expect(len(text))
        self.size += len(text)
        if self.size > self._limit:
            await self.refuse(TooBig("Message too big"))
        await self._keep(text if self._filter is None else self._filter.feed(text))

    async def _keep(self, text: bytes) -> None:
        if text and self.fault is None:
            await self.refuse(await _kept(self.spool, text))

    async def refuse(self, fault: Exception | None) -> None:
        """Nothing more is kept."""
        if fault is not None and self.fault is None:
            self.fault = fault
            await self.spool.close()

    async def finish(self) -> None:
        """The message is whole, or `fault` is raised, whatever that is."""
        if self._filter is not None:
            await self._keep(self._filter.end())
        if self.fault is not None:
            raise self.fault


async def _kept(spool: Spool, text: bytes) -> Exception | None:
    try:
        await spool.write(text)
    except Exception as error:
        return error
    return None


async def receive(source: Source, intake: Intake) -> None:
    """Reads up to the end of data; raises what went wrong with the message. SubmissionRefused for a false end."""
    undotter = Undotter()
    while not undotter.ended:
        await intake.take(undotter.feed(await source.chunk()))
    source.put_back(undotter.rest)
    if undotter.smuggling:
        await intake.refuse(
            SubmissionRefused(554, "5.6.0", "A line of one dot between line ends that are not both CRLF")
        )
    await intake.finish()


async def receive_chunk(source: Source, octets: int, intake: Intake) -> None:
    """Reads so many octets; what went wrong is kept in `intake` (RFC 3030 section 2)."""
    intake.expect(octets)
    while octets:
        piece = await source.chunk()
        source.put_back(piece[octets:])
        await intake.take(piece[:octets])
        octets -= min(octets, len(piece))
