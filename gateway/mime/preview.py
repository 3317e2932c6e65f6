"""The first words of a message, for a list of messages (RFC 8970 section 3.3).

What a reader would see first: the plain text of an alternative, else its HTML without markup; never an attachment, and
nothing of an encrypted message. Blanks run together, at most PREVIEW characters. Only the first SAMPLE octets of
one part are looked at, so that a message of any size costs the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

from gateway.core.limits import KIB
from gateway.mime.charset import text_of
from gateway.mime.decoding import UnknownEncoding, decoded, survey
from gateway.mime.header import Fields
from gateway.mime.params import media_type, parameter, parse_value
from gateway.mime.part import Part
from gateway.mime.section import Source

PREVIEW = 200  # characters (RFC 8970 section 3.3; 256 is the most there may be)
SAMPLE = 128 * KIB  # octets of the message: what stands before HTML's text can be long

_ENCRYPTED = frozenset(
    ((b"multipart", b"encrypted"), (b"application", b"pkcs7-mime"), (b"application", b"x-pkcs7-mime"))
)
_HTML = (b"html", b"xhtml")
_UNSHOWN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(style|script|head|title|template|noscript)\b[^<>]*>.*?(?:</\1\s*>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_INLINE_TAG = re.compile(
    r"</?(?:a|abbr|b|bdo|big|cite|code|del|em|font|i|ins|kbd|mark|s|small|span|strike|strong|sub|sup|tt|u|wbr)"
    r"(?:[\s/][^<>]*)?>",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[A-Za-z/!?][^<>]*(?:>|\Z)")
# Between letters these show nothing; newsletters pad their first line with hundreds of them.
# Categories Cc and Cs: controls and surrogates.
_BLANK = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)], " ")
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u2064\ufeff]")


def preview_of(source: Source, message: Part) -> str:
    """The preview of a message, "" where there is nothing to show."""
    for leaf in _shown(message):
        if text := tidy(_text(source, leaf)):
            return text
    return ""


def tidy(text: str) -> str:
    """As a preview goes out: one line, no control or invisible characters, at most PREVIEW characters."""
    seen = _INVISIBLE.sub("", text.replace("\u2028", " ").replace("\u2029", " "))
    return " ".join(seen[: 8 * PREVIEW].translate(_BLANK).split())[:PREVIEW].rstrip()


def is_encrypted(header: bytes) -> bool:
    """Whether the message with this header is encrypted as a whole (RFC 1847, RFC 8551): nothing in it is for a list.
    What is only signed in the same format is told from it by its smime-type."""
    lower = header.lower()
    if b"encrypted" not in lower and b"pkcs7-mime" not in lower:  # as with nearly all mail
        return False
    main, params = parse_value(Fields(header).first(b"content-type") or b"")
    return _hides(media_type(main) or (b"", b""), params)


def _hides(kind: tuple[bytes, bytes], params: tuple[tuple[bytes, bytes], ...]) -> bool:
    return kind in _ENCRYPTED and (parameter(params, b"smime-type") or b"").lower() != b"signed-data"


def _shown(message: Part) -> Iterator[Part]:
    """Text leaves in the order a reader would look at them."""
    stack = [message]
    while stack:
        part = stack.pop()
        if part.disposition == b"attachment" or _hides((part.type, part.subtype), part.params):
            continue
        if part.is_multipart:
            children = (
                sorted(part.children, key=_is_rich) if part.subtype == b"alternative" else part.children
            )
            stack.extend(reversed(children))
        elif part.type == b"text" and part.subtype not in (b"calendar", b"vcard", b"x-vcard", b"css"):
            yield part


def _is_rich(part: Part) -> bool:
    return (part.type, part.subtype) != (b"text", b"plain")


def _text(source: Source, leaf: Part) -> str:
    sample = Part(
        leaf.start, leaf.body, min(leaf.end, leaf.body + SAMPLE), leaf.type, leaf.subtype, leaf.params,
        leaf.encoding,
    )  # fmt: skip
    try:
        known = survey(source, sample)
    except UnknownEncoding:
        return ""
    octets = b"".join(decoded(source, sample, known, 0, known.size))
    text = text_of(octets, parameter(leaf.params, b"charset"))
    return _read(text) if leaf.subtype in _HTML else text


def _read(html: str) -> str:
    """HTML as it reads. Tags inside a word vanish, others part words."""
    return unescape(_TAG.sub(" ", _INLINE_TAG.sub("", _UNSHOWN.sub(" ", html))))
