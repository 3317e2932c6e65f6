"""What of a submission goes to Graph: MIME that one request takes, files that follow it, fields set as properties.

Nothing of the message is held but its header and the outline of its parts: everything else is read from the spool,
piece by piece, when it is sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from gateway.core.errors import SubmissionRefused
from gateway.core.limits import KIB, Limits
from gateway.mailbox.sending.headers import named_fields
from gateway.mailbox.sending.identity import check_authors, is_author
from gateway.mailbox.sending.plan import plan
from gateway.mailbox.values import Envelope
from gateway.mime.compose import keep_first, remove_header, set_header
from gateway.mime.compose import message_id as message_id_of
from gateway.mime.decoding import plain, plain_size
from gateway.mime.detach import FilePart, cuts, detachable, file_of, obstacle
from gateway.mime.header import Fields, split
from gateway.mime.headertext import fit
from gateway.mime.lineends import crlf
from gateway.mime.mending import Look, look, mend
from gateway.mime.pages import Octets, Pages
from gateway.mime.part import Part, scan
from gateway.mime.recipe import Edit, Recipe, base64_size, recipe

HEADER = 256 * KIB  # octets of a header block
PARTS = 1000  # of a message that goes in pieces: fewer
_GATHERED = 128 * KIB  # octets read ahead
_BASE64_LINE = 78 / 57  # octets of MIME an octet of a file becomes
_SINGLE = (
    b"from", b"sender", b"reply-to", b"date", b"message-id", b"subject", b"in-reply-to", b"references",
    b"mime-version", b"content-type", b"content-transfer-encoding", b"content-disposition",
)  # fmt: skip
_STRAY = re.compile(
    rb"\r(?!\n)|\0"
)  # in a header, a CR alone ends no line: it would end the header, or begin a field
_SLACK = 64 * KIB
_SMALL = 64 * KIB  # octets of MIME that are held rather than read again


class Stream:
    """Octets of a recipe as a request's body (`graph.request.Body`)."""

    def __init__(self, source: Octets, made: Recipe, size: int) -> None:
        self._source = source
        self._recipe = made
        self._size = size

    def __len__(self) -> int:
        return self._size

    def pieces(self) -> AsyncIterator[bytes]:
        return off_loop(self._recipe.pieces(self._source))

    def octets(self) -> bytes:
        """All of them: for messages known to be small."""
        return b"".join(self._recipe.pieces(self._source))


class File:
    """A part that follows as a file (`graph.streams.Content`): its octets decoded while they are sent."""

    def __init__(self, source: Octets, about: FilePart, size: int, *, bare: bool) -> None:
        self.about = about
        self._source = source
        self._size = size
        self._bare = bare
        self._reached: tuple[int, Iterator[bytes], bytes] | None = None  # where the last range ended

    def __len__(self) -> int:
        return self._size

    @property
    def json(self) -> dict[str, object]:
        """The attachment as Graph describes it."""
        described: dict[str, object] = {"name": self.about.name, "contentType": self.about.type}
        if self.about.content_id:
            described["contentId"] = self.about.content_id
        return described | {"isInline": self.about.inline}

    def pieces(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        return off_loop(self._range(start, self._size if end is None else end))

    def _range(self, start: int, end: int) -> Iterator[bytes]:
        """Goes on where the range before ended; else decodes from the beginning."""
        reached, self._reached = self._reached, None
        at, blocks, rest = reached if reached and reached[0] == start else (0, self._blocks(), b"")
        while at < end:
            block = rest or next(blocks)
            piece = block[max(0, start - at) : end - at]
            taken = min(len(block), end - at)
            at, rest = at + taken, block[taken:]
            if piece:
                yield piece
        self._reached = at, blocks, rest

    def _blocks(self) -> Iterator[bytes]:
        return plain(self._source, self.about.part, bare=self._bare)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A submission that nothing stands against here. `message_id`: that of the message, with its angle brackets.
    `mime`: what a draft is made of. `files`: what is attached to it then. `fields`: header fields it must be given as
    properties; `lost`: names of those that Exchange drops whatever one does. `hold_until`: of the envelope. `author`:
    the envelope's sender, if From names nobody else."""

    message_id: str
    mime: bytes | Stream
    files: tuple[File, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    lost: tuple[str, ...] = ()
    hold_until: int = 0
    author: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What content is prepared by. `now` and `message_id` stand in for what is missing; `sender`: of a message that
    has neither From nor a sender. `senders`: as whom it may be sent, if that is known."""

    now: int
    message_id: str
    mismatch: str
    limits: Limits
    sender: str = ""
    senders: tuple[str, ...] = ()


def content(source: Octets, size: int, envelope: Envelope, terms: Terms) -> Prepared:
    """Reads the message some times over; not on the loop. SubmissionRefused."""
    whole = look(source, 0, size)
    limits = terms.limits
    outline = scan(Pages(source, size), _scanning(limits, size > limits.request_body))
    header, outline = _header(source, outline)
    planned = plan(header, envelope, mismatch=terms.mismatch, most=limits.recipients)
    header = supplied(planned.header, envelope, terms)
    check_authors(header, terms.senders)
    mending = mend(source, outline, whole)
    for name, value in mending.fields.items():
        header = set_header(header, name.title(), value)
    header = fit(_with_version(header))
    message = _Message(source, size, outline, header, mending.edits, whole)
    made = message.recipe(header, ())
    octets = made.measure(source)
    _must_fit(octets, limits)
    if base64_size(octets) <= limits.request_body:
        return _prepared(envelope, header, Stream(source, made, octets), ())
    return _in_pieces(message, envelope, limits)


@lru_cache(maxsize=4)
def _scanning(limits: Limits, large: bool) -> Limits:
    """A large message's outline is bounded: it has to go in pieces, and of these there may be so many."""
    return replace(limits, header_octets=HEADER, mime_parts=PARTS if large else limits.mime_parts)


def _prepared(envelope: Envelope, header: bytes, mime: Stream, files: Sequence[File]) -> Prepared:
    fields, lost = named_fields(header, whole=not files)
    name = (message_id_of(header) or b"").decode("utf-8", "replace")
    body = mime.octets() if len(mime) <= _SMALL else mime
    author = envelope.sender if is_author(envelope.sender, header) else ""
    return Prepared(name, body, tuple(files), tuple(fields.items()), tuple(lost), envelope.hold_until, author)


# -- the header block --


def _header(source: Octets, outline: Part) -> tuple[bytes, Part]:
    """The header block with CRLF line ends and its empty line, and the outline. Where a message begins with what is
    no field, it has no header: devices send such."""
    if outline.body > HEADER:
        raise SubmissionRefused(552, "5.3.4", f"The header is larger than {HEADER} octets")
    raw = source.read(0, outline.body)
    fields = split(raw)
    if fields and fields[0].name == b"" and raw.startswith(b"From "):  # a mailbox file's first line
        fields = fields[1:]
        raw = b"".join([raw[each.start : each.end] for each in fields]) + b"\r\n" if fields else b"\r\n"
    if fields and fields[0].name == b"":
        return b"\r\n", Part(0, 0, outline.end, params=((b"charset", b"us-ascii"),))
    header = crlf(_STRAY.sub(b" ", raw))
    if not header.endswith(b"\n"):
        header += b"\r\n"
    return header if header == b"\r\n" or header.endswith(b"\n\r\n") else header + b"\r\n", outline


def supplied(header: bytes, envelope: Envelope, terms: Terms) -> bytes:
    """With what Exchange or the recipient needs and the client left out (RFC 6409 section 8), and without second
    fields where there may be one (RFC 5322 section 3.6): who reads the last must see what who reads the first saw."""
    fields = Fields(header)
    for name in _SINGLE:
        if len(fields.all(name)) > 1:
            header = keep_first(header, name)
    sender = envelope.sender or terms.sender
    if not (fields.first(b"from") or b"").strip() and sender:
        header = set_header(header, b"From", f"<{sender}>".encode("utf-8", "surrogateescape"))
    if not (fields.first(b"date") or b"").strip():
        header = set_header(header, b"Date", format_datetime(datetime.fromtimestamp(terms.now, UTC)).encode())
    if not (fields.first(b"message-id") or b"").strip():
        header = set_header(header, b"Message-ID", terms.message_id.encode())
    return header


def _with_version(header: bytes) -> bytes:
    """RFC 2045 section 4: what has a Content-Type is MIME."""
    fields = Fields(header)
    typed = fields.first(b"content-type") or fields.first(b"content-transfer-encoding")
    return (
        set_header(header, b"MIME-Version", b"1.0") if typed and not fields.first(b"mime-version") else header
    )


# -- the body --


@dataclass(frozen=True, slots=True)
class _Message:
    source: Octets
    size: int
    outline: Part
    header: bytes
    edits: Sequence[Edit]
    whole: Look

    def recipe(self, header: bytes, cut: Sequence[Edit]) -> Recipe:
        edits: list[Edit] = [(0, self.outline.body, (header,)), *cut, *self.edits]
        return recipe(edits, self.size, bare=self.whole.bare)


def _in_pieces(message: _Message, envelope: Envelope, limits: Limits) -> Prepared:
    """The largest parts as files, until the rest fits one request."""
    parts = [part for part in detachable(message.outline) if part.end > part.body]
    _must_be_separable(message.outline)
    numbers = {part.start: number for number, part in enumerate(parts, 1)}
    gone: set[int] = set()
    left, growth = message.size, -_SLACK  # by encoding; known better once the rest was measured
    for part in sorted(parts, key=lambda each: each.body - each.end):
        gone.add(part.start)
        left -= part.end - part.start
        if base64_size(max(0, left + growth)) > limits.request_body:
            continue
        made, header = _without(message, gone)
        octets = made.measure(message.source)
        if base64_size(octets) <= limits.request_body:
            files = [_file(message, each, numbers[each.start]) for each in parts if each.start in gone]
            _must_fit(octets + int(sum(map(len, files)) * _BASE64_LINE), limits)
            return _prepared(envelope, header, Stream(message.source, made, octets), files)
        growth = octets - left
    raise _unsendable("its text alone is larger than one request to Exchange may be; attach it as a file")


def _without(message: _Message, gone: set[int]) -> tuple[Recipe, bytes]:
    cut, empty = cuts(message.outline, gone)
    header = message.header
    if empty:
        for name in (
            b"content-transfer-encoding",
            b"content-disposition",
            b"content-id",
            b"content-description",
        ):
            header = remove_header(header, name)
        header = set_header(header, b"Content-Type", b"text/plain; charset=utf-8")
    return message.recipe(header, cut), header


def _file(message: _Message, part: Part, number: int) -> File:
    bare = message.whole.bare
    size = plain_size(message.source, part, bare=bare)
    return File(message.source, file_of(part, number), size, bare=bare)


def _count(part: Part) -> int:
    return 1 + sum(map(_count, part.children))


def _must_be_separable(outline: Part) -> None:
    if reason := obstacle(outline):
        raise _unsendable(reason + ", and must not be taken apart")
    if _count(outline) >= PARTS:
        raise _unsendable(f"it has {PARTS} parts or more")


def _unsendable(reason: str) -> SubmissionRefused:
    return SubmissionRefused(552, "5.3.4", f"Too big to be sent through Exchange in one piece: {reason}")


def _must_fit(octets: int, limits: Limits) -> None:
    if octets > limits.message + _SLACK:
        raise SubmissionRefused(
            552, "5.3.4", f"Too big once its attachments are encoded, the limit is {limits.message}"
        )


# -- off the loop --


async def off_loop(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The same, read and decoded in a thread, some of it while what came before is being sent."""
    coming = asyncio.ensure_future(asyncio.to_thread(_gather, pieces))
    try:
        while gathered := await coming:
            coming = asyncio.ensure_future(asyncio.to_thread(_gather, pieces))
            for piece in gathered:
                yield piece
    finally:
        coming.cancel()


def _gather(pieces: Iterator[bytes]) -> list[bytes]:
    found, size = [], 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size >= _GATHERED:
            break
    return found
