"""What SEARCH BODY and TEXT look at: the decoded text of a message (RFC 9051 section 6.4.4).

Searched are text/* leaves and message/* leaves (delivery reports) with transfer encoding and charset undone,
attachments too, and the headers of all parts and embedded messages, encoded words decoded. HTML is looked at
twice: as written and as read, without markup. Other leaves (images, PDF) are no text and are passed over.
Bodies are read in windows that end at a line's end, so memory stays bounded whatever the message's size.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from html import unescape

from gateway.core.limits import DEFAULT_LIMITS, MIB
from gateway.mime.charset import is_wide, text_of
from gateway.mime.header import decoded, split
from gateway.mime.params import parameter
from gateway.mime.part import Part
from gateway.mime.section import Source, read
from gateway.mime.transfer import decode_transfer

_WINDOW = 1 * MIB
BREAK = "\0"  # between the texts of one message
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]+")
_INLINE_TAG = re.compile(
    r"</?(?:a|abbr|b|bdo|big|cite|code|del|em|font|i|ins|kbd|mark|s|samp|small|span|strike|strong|sub|sup|tt|u"
    r"|var|wbr)(?:[\s/][^<>]*)?>",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[^<>]*>")
_BLANKS = re.compile(r"\s+")
# Of what is decomposed, only these have an uppercase that is not their simple titlecase, which is themselves.
_HAS_TITLECASE = re.compile("[^\u00df\u10d0-\u10fa\u10fd-\u10ff]+")


def casefold_text(text: str) -> str:
    """The form in which strings are compared: i;unicode-casemap (RFC 5051 section 2). Every character is
    replaced by its simple titlecase and decomposed, again and again: `é` is `E` and an accent, so that `caf` and
    `cafe` are both in `Café`; `ß` has no simple titlecase and is not `ss`."""
    if text.isascii():
        return text.upper()
    decomposed = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFKD", _HAS_TITLECASE.sub(_upper, decomposed))


def _upper(found: re.Match[str]) -> str:
    return found[0].upper()


def header_text(header: bytes) -> str:
    """A header block as text, one decoded field a line."""
    lines = []
    for name, start, value, end in split(header[: DEFAULT_LIMITS.header_octets]):
        prefix = header[start:value].decode("latin-1") + " " if name else ""
        lines.append(prefix + decoded(header[value:end]))
    return "\n".join(lines)


def body_finds(source: Source, message: Part, needles: Iterable[str]) -> set[str]:
    """Which of `needles` (as `casefold_text` made them) occur in the body of the message. Every octet is
    decoded once, however many needles there are; ends as soon as all are found."""
    missing = set(needles)
    found: set[str] = {needle for needle in missing if not needle}
    missing -= found
    for leaf_texts in _texts(source, message):
        tail = ""
        for text in leaf_texts:
            if not missing:
                return found
            tail += casefold_text(text)
            hits = {needle for needle in missing if needle in tail}
            found |= hits
            missing -= hits
            longest = max(map(len, missing), default=1)
            tail = tail[-(longest - 1) :] if longest > 1 else ""
    return found


def body_text(source: Source, message: Part, bound: int) -> str | None:
    """All that `body_finds` looks at, folded, texts parted by NUL (which no needle has); None if it has more than
    `bound` characters. `needle in body_text(...)` is what `body_finds` says of the needle."""
    pieces: list[str] = []
    size = 0
    for leaf_texts in _texts(source, message):
        for text in leaf_texts:
            pieces.append(casefold_text(text))
            size += len(pieces[-1])
            if size > bound:
                return None
        pieces.append(BREAK)
    return "".join(pieces)


def _texts(source: Source, message: Part) -> Iterator[Iterator[str]]:
    """Running texts of the body, each as its windows in order."""
    stack = [message]
    while stack:
        part = stack.pop()
        if part is not message:
            yield iter([header_text(read(source, part.start, part.body))])
        if part.children:
            stack.extend(reversed(part.children))
        elif part.type in (b"text", b"message"):
            yield _leaf_text(source, part)
            if part.subtype in (b"html", b"xhtml"):
                yield _without_markup(_leaf_text(source, part))


def _without_markup(windows: Iterator[str]) -> Iterator[str]:
    """HTML as it reads: tags inside a word vanish, others part words, entities become characters, and blanks
    run together. A tag that reaches over a window's end stays."""
    blank = False
    for html in windows:
        text = _BLANKS.sub(" ", unescape(_TAG.sub(" ", _INLINE_TAG.sub("", html))))
        yield text[1:] if blank and text.startswith(" ") else text
        blank = text.endswith(" ")


def leaf_text(source: Source, part: Part) -> str:
    """A leaf's whole text, decoded: for short ones, a preview say."""
    return "".join(_leaf_text(source, part))


def _leaf_text(source: Source, part: Part) -> Iterator[str]:
    charset = parameter(part.params, b"charset")
    blocks = _decoded_blocks(source, part)
    if is_wide(charset):
        yield text_of(b"".join(blocks), charset)
        return
    for window in _by_lines(blocks):
        yield text_of(window, charset)


def _decoded_blocks(source: Source, part: Part) -> Iterator[bytes]:
    """The leaf with its transfer encoding undone, window by window."""
    if part.encoding == b"base64":
        yield from _base64_blocks(source, part)
        return
    for window in _by_lines(_raw_blocks(source, part)):
        yield decode_transfer(window, part.encoding)


def _base64_blocks(source: Source, part: Part) -> Iterator[bytes]:
    """Cut where four letters are whole; after padding, counting begins anew."""
    carry = b""
    for block in _raw_blocks(source, part):
        clean = carry + _NOT_BASE64.sub(b"", block)
        begun = clean.rfind(b"=") + 1
        whole = len(clean) - (len(clean) - begun) % 4
        carry = clean[whole:]
        yield decode_transfer(clean[:whole], b"base64")
    yield decode_transfer(carry, b"base64")


def _raw_blocks(source: Source, part: Part) -> Iterator[bytes]:
    for start in range(part.body, part.end, _WINDOW):
        yield read(source, start, min(start + _WINDOW, part.end))


def _by_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same octets, cut behind line ends; a line longer than a window is cut where the window ends."""
    carry = b""
    for block in blocks:
        carry += block
        if len(carry) >= _WINDOW:
            cut = carry.rfind(b"\n") + 1 or len(carry)
            yield carry[:cut]
            carry = carry[cut:]
    if carry:
        yield carry
