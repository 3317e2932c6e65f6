"""The MIME tree of a message as octet offsets (RFC 2045, 2046; RFC 9051 section 7.5.2).

One walk over the message: `\\n--` is found, looked up among the boundaries open at that point, and closes and
opens parts on a stack. No octet is looked at more than a few times, however deep the nesting. A delimiter
line must be the boundary and nothing else but trailing blanks: a prefix would do by RFC 2046, but then
`b1` ends a part of `b`, and mailers write such boundaries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.mime.header import Fields
from gateway.mime.pages import Pages
from gateway.mime.params import media_type, parameter, parse_value, token


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
    survey: Any = field(default=None, repr=False, compare=False)  # what `mime.decoding` found out, once asked
    whole: Any = field(default=None, repr=False, compare=False)  # the same of header and body together

    @property
    def is_multipart(self) -> bool:
        return self.type == b"multipart"

    @property
    def is_message(self) -> bool:
        """Whether this part holds a message whose structure is known; it is then the only child."""
        return self.type == b"message" and self.subtype == b"rfc822"


_US_ASCII = ((b"charset", b"us-ascii"),)
_HEADER_STOP = re.compile(rb"\n(?:\r?\n|--)")
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_LANGUAGES = re.compile(rb"[A-Za-z0-9*-]{1,64}")


_DELIMITER = 128 * 1024  # octets looked at of a line that may be one: no parameter is as long


def scan(message: bytes | Pages, limits: Limits = DEFAULT_LIMITS) -> Part:
    """The tree of `message`. Never raises: whatever is malformed becomes the nearest legal reading,
    bounded by `limits.mime_depth` and `limits.mime_parts`. Linear time.

    A multipart without a single delimiter holds one text/plain part, all of it; a container beyond the bounds
    is application/octet-stream; parts beyond the bound are left out of the tree (their octets stay in the
    message). `lines` counts line ends, as Dovecot and Cyrus do; of `Pages` they are not counted.
    """
    return _Scanner(message, limits).run()


@dataclass(slots=True, eq=False)
class _Open:
    """A part whose end is not known yet."""

    part: Part
    newlines: int  # LFs of the message before the body
    children: list[Part]
    boundary: bytes | None = None  # None: no multipart, or its last delimiter has been seen
    shadowed: _Open | None = None  # an outer multipart with the same boundary


class _Lines:
    """How many LFs come before a position; cheap, for positions are asked for nearly in order."""

    def __init__(self, message: bytes | Pages) -> None:
        self._message = message if isinstance(message, bytes) else b""
        self._at = self._count = 0

    def before(self, at: int) -> int:
        if at >= self._at:
            self._count += self._message.count(b"\n", self._at, at)
        else:
            self._count -= self._message.count(b"\n", at, self._at)
        self._at = at
        return self._count


class _Scanner:
    def __init__(self, message: bytes | Pages, limits: Limits) -> None:
        self._message = message
        self._limits = limits
        self._lines = _Lines(message)
        self._stack: list[_Open] = []
        self._active: dict[bytes, _Open] = {}  # boundaries that a delimiter may name now
        self._count = 0
        self._root: Part | None = None

    def run(self) -> Part:
        self._open(0, in_digest=False)
        at = self._stack[-1].part.body - 1
        while self._active and (at := self._message.find(b"\n--", max(at, 0))) >= 0:
            at = self._line(at)
        self._close_down_to(0, len(self._message))
        assert self._root is not None
        return self._root

    def _line(self, at: int) -> int:
        """Take the line of two hyphens behind the LF at `at`; the position of the LF to go on from."""
        end = self._line_end(at + 1)
        found = self._delimiter(at + 1, end)
        if found is None:
            return at + 1
        multipart, last = found
        before = at - 1 if self._message[at - 1 : at] == b"\r" else at
        self._close_down_to(self._stack.index(multipart) + 1, before)
        if last:
            self._deactivate(multipart)
        elif self._may_open(multipart):
            self._open(end, in_digest=multipart.part.subtype == b"digest")
            return self._stack[-1].part.body - 1
        return end - 1

    def _line_end(self, at: int) -> int:
        """Just behind the LF of the line that `at` is in."""
        return self._message.find(b"\n", at) + 1 or len(self._message)

    def _delimiter(self, start: int, end: int) -> tuple[_Open, bool] | None:
        """The multipart whose delimiter the line [start, end) is, and whether it is its last one."""
        text = self._message[start + 2 : min(end, start + _DELIMITER)].rstrip()
        if (found := self._active.get(text)) is not None:
            return found, False
        if text.endswith(b"--") and (found := self._active.get(text[:-2])) is not None:
            return found, True
        return None

    def _may_open(self, multipart: _Open) -> bool:
        """A multipart gets its first part in any case, for it must have one."""
        return self._count < self._limits.mime_parts or not multipart.children

    def _open(self, start: int, *, in_digest: bool) -> None:
        """Begin a part, and while it holds a message, that message's part."""
        while True:
            body = self._header_end(start)
            header = self._message[start : min(body, start + self._limits.header_octets)]
            part = _described(header, start, body, in_digest=in_digest)
            self._count += 1
            self._bound(part)
            self._push(part)
            if not part.is_message:
                return
            start, in_digest = body, False

    def _header_end(self, start: int) -> int:
        """Behind the empty line; or, without one, where a delimiter line or the message's end is."""
        if start == 0 and self._message.startswith((b"\n", b"\r\n")):
            return self._message.index(b"\n") + 1
        at, pattern = max(start - 1, 0), _HEADER_STOP if self._active else _EMPTY_LINE
        while (found := _search(pattern, self._message, at)) is not None:
            if self._message[found[1] - 1 : found[1]] == b"\n":
                return found[1]
            at = found[0] + 1
            if self._delimiter(at, self._line_end(at)):
                return at
        return len(self._message)

    def _bound(self, part: Part) -> None:
        """Containers that would lead beyond the bounds become leaves."""
        too_deep = len(self._stack) + 1 >= self._limits.mime_depth
        if (part.is_multipart or part.is_message) and (too_deep or self._count >= self._limits.mime_parts):
            part.type, part.subtype, part.params = b"application", b"octet-stream", ()

    def _push(self, part: Part) -> None:
        frame = _Open(part, self._lines.before(part.body), [])
        self._stack.append(frame)
        boundary = (parameter(part.params, b"boundary") or b"").rstrip() if part.is_multipart else b""
        if boundary:
            frame.boundary = boundary
            frame.shadowed = self._active.get(boundary)
            self._active[boundary] = frame

    def _deactivate(self, frame: _Open) -> None:
        if frame.boundary is None:
            return
        if frame.shadowed is None:
            del self._active[frame.boundary]
        else:
            self._active[frame.boundary] = frame.shadowed
        frame.boundary = None

    def _close_down_to(self, height: int, at: int) -> None:
        while len(self._stack) > height:
            frame = self._stack.pop()
            self._deactivate(frame)
            part = self._closed(frame, at)
            if self._stack:
                self._stack[-1].children.append(part)
            else:
                self._root = part

    def _closed(self, frame: _Open, at: int) -> Part:
        part = frame.part
        part.end = max(at, frame.children[-1].end if frame.children else part.body)
        newlines = self._lines.before(part.end) - frame.newlines
        if part.type == b"text" or part.is_message:
            part.lines = newlines
        if part.is_multipart and not frame.children:
            frame.children.append(Part(part.body, part.body, part.end, params=_US_ASCII, lines=newlines))
        part.children = tuple(frame.children)
        return part


def _search(pattern: re.Pattern[bytes], message: bytes | Pages, at: int) -> tuple[int, int] | None:
    if isinstance(message, Pages):
        return message.search(pattern, at)
    match = pattern.search(message, at)
    return None if match is None else match.span()


def _described(header: bytes, start: int, body: int, *, in_digest: bool) -> Part:
    """A part of what its header says (RFC 2045 section 5.2: without a usable Content-Type it is text/plain in
    US-ASCII; RFC 2046 section 5.1.5: in a digest, message/rfc822)."""
    fields = Fields(header)
    part = Part(start, body, body)
    value = fields.first(b"content-type")
    main, params = parse_value(value or b"")
    kind = media_type(main)
    if kind is not None:
        (part.type, part.subtype), part.params = kind, params
    elif in_digest and not value:
        part.type, part.subtype = b"message", b"rfc822"
    else:
        part.params = _US_ASCII
    part.encoding = token(fields.first(b"content-transfer-encoding") or b"") or b"7bit"
    part.id = fields.first(b"content-id") or None
    part.description = fields.first(b"content-description")
    part.md5 = fields.first(b"content-md5") or None
    part.location = fields.first(b"content-location") or None
    part.language = tuple(_LANGUAGES.findall((fields.first(b"content-language") or b"")[:1000]))
    disposition = fields.first(b"content-disposition")
    if disposition:
        main, part.disposition_params = parse_value(disposition)
        part.disposition = token(main) or b"attachment"
    return part
