"""Which parts of a message can travel beside it as files, what they are as files, and the message without them.

For what is too large for one request: the text and its structure go as MIME, files follow one by one. A message of
which Exchange would then show something else than was written has to go whole, or not at all; `obstacle` says why.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass

from gateway.mime.charset import text_of
from gateway.mime.header import decoded
from gateway.mime.mending import is_sealed, is_smime
from gateway.mime.params import Params
from gateway.mime.part import Part
from gateway.mime.recipe import Edit

_EXTENDED = re.compile(rb"([^']*)'[^']*'(.*)", re.DOTALL)
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_NAME = 255  # characters
_EXTENSIONS = {
    b"text/plain": "txt", b"text/html": "htm", b"text/calendar": "ics", b"image/png": "png", b"image/jpeg": "jpg",
    b"image/gif": "gif", b"application/pdf": "pdf", b"message/rfc822": "eml", b"message/global": "eml",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part as a file: `type` its media type, `content_id` without brackets or '', `inline`: shown in the text."""

    part: Part
    name: str
    type: str
    content_id: str
    inline: bool


def obstacle(message: Part) -> str:
    """Why a message cannot go in pieces, in the sender's words; '' if it can."""
    if is_smime(message):
        return "it is encrypted or signed (S/MIME)"
    if message.type == b"message" and not message.is_message:
        return "it is not a message of its own"
    return next(filter(None, map(_held_together, _walk(message))), "")


def _held_together(part: Part) -> str:
    if is_sealed(part):
        return "it is signed or encrypted"
    if part.is_multipart and part.subtype == b"report":
        return "it is a delivery report"
    if part.is_multipart and part.subtype == b"appledouble":
        return "a Macintosh file in it has two parts"
    if (
        part.type == b"text"
        and part.subtype == b"calendar"
        and any(name == b"method" for name, _ in part.params)
    ):
        return "it is a meeting request"
    return ""


def _walk(part: Part) -> Iterator[Part]:
    """The part and what is in it, but not inside of other messages."""
    yield part
    if part.is_multipart:
        for child in part.children:
            yield from _walk(child)


def detachable(message: Part) -> Iterator[Part]:
    """Parts that may go as files: no text of the message itself, nor one of several forms of the same thing."""
    if not message.is_multipart:
        if not _is_text(message):
            yield message
        return
    for part in _walk(message):
        if part.is_multipart and part.subtype != b"alternative":
            yield from (child for child in part.children if not child.is_multipart and not _is_text(child))


def _is_text(part: Part) -> bool:
    plain = part.type == b"text" and part.subtype in (b"plain", b"html")
    return plain and part.disposition != b"attachment" and not filename(part)


def cuts(message: Part, gone: Container[int]) -> tuple[list[Edit], bool]:
    """The message without the parts that begin at `gone`. True: nothing of its body is left, and the caller gives it
    an empty one. A multipart that loses all its parts goes with them."""
    edits: list[Edit] = []
    if _cut(message, gone, edits):
        return [(message.body, message.end, ())], True
    return edits, False


def _cut(part: Part, gone: Container[int], edits: list[Edit]) -> bool:
    """Whether the part goes; else the edits inside of it are added. A part goes with the delimiter that follows it, or
    that comes before it if it is not among the first."""
    if not part.is_multipart:
        return part.start in gone
    children = part.children
    goes = [_cut(child, gone, edits) for child in children]
    if all(goes):
        return True
    first = goes.index(False)
    if first:
        edits.append((children[0].start, children[first].start, ()))
    for at in range(first + 1, len(children)):
        if goes[at]:
            edits.append((children[at - 1].end, children[at].end, ()))
    return False


def file_of(part: Part, number: int) -> FilePart:
    """A part without a name gets one of its number and kind: Graph wants one."""
    kind = (part.type + b"/" + part.subtype) if part.type else b"application/octet-stream"
    name = filename(part) or f"ATT{number:05d}.{_EXTENSIONS.get(kind, 'bin')}"
    content_id = _line(text_of(part.id or b"")).strip("<> ")
    inline = bool(content_id) and part.disposition != b"attachment"
    return FilePart(part, name, kind.decode("ascii", "replace"), content_id, inline)


def filename(part: Part) -> str:
    """The name of a part that is a file, '' if it has none (RFC 2183 section 2.3, RFC 2231)."""
    found = _text(part.disposition_params, b"filename") or _text(part.params, b"name")
    return _line(found)[:_NAME]


def _text(params: Params, name: bytes) -> str:
    values = dict(reversed(params))
    extended = values.get(name + b"*")
    if extended is None:
        return decoded(values[name]) if name in values else ""
    match = _EXTENDED.fullmatch(extended)
    charset, text = match.groups() if match else (b"", extended)
    return text_of(_PERCENT.sub(lambda found: bytes((int(found[1], 16),)), text), charset or None)


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip()
