"""Changes to a message by octet surgery: what is not asked for stays as it is, octet for octet.

Sources: RFC 5322 section 2.2, RFC 2045 section 6; the gateway's Graph contract, sections 9.1 and 10, for what
Exchange wants changed before it takes a message.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from gateway.mime.header import Field, field, fold_field, header_end, split
from gateway.mime.lineends import crlf as crlf
from gateway.mime.part import Part, scan
from gateway.mime.transfer import qp_octets

_MSG_ID = re.compile(rb"<[^<>\s]+>")
_LINE_OCTETS = 76  # RFC 2045 section 6.8
_SEALED = frozenset({b"signed", b"encrypted"})
_SMIME = frozenset({b"pkcs7-mime", b"x-pkcs7-mime"})


def add_header(raw: bytes, name: bytes, value: bytes) -> bytes:
    """The message with one more field in front, folded. ValueError if `name` is no field name."""
    return fold_field(name, value) + raw


def remove_header(raw: bytes, name: bytes) -> bytes:
    """The message without its fields of that name."""
    return _without(raw, _named(raw, name))


def set_header(raw: bytes, name: bytes, value: bytes) -> bytes:
    """The message with exactly one such field: where the first was, else in front of all others."""
    found = _named(raw, name)
    if not found:
        return add_header(raw, name, value)
    kept = _without(raw, found[1:])  # later ones: the first keeps its place
    return kept[: found[0].start] + fold_field(name, value) + kept[found[0].end :]


def keep_first(raw: bytes, name: bytes) -> bytes:
    """The message with one field of that name at most: the first."""
    return _without(raw, _named(raw, name)[1:])


def _named(raw: bytes, name: bytes) -> list[Field]:
    lowered = name.lower()
    return [found for found in split(raw[: header_end(raw)]) if found.name == lowered]


def _without(raw: bytes, fields: list[Field]) -> bytes:
    kept, at = [], 0
    for found in fields:
        kept.append(raw[at : found.start])
        at = found.end
    return b"".join([*kept, raw[at:]])


def message_id(raw: bytes) -> bytes | None:
    """The Message-ID with its angle brackets, or what stands in their place; None if there is none."""
    value = field(raw[: header_end(raw)], b"message-id")
    if not value:
        return None
    match = _MSG_ID.search(value)
    return match[0] if match else value


def is_signed_or_encrypted(part: Part) -> bool:
    """Whether a change of its octets would break this message: multipart/signed and /encrypted (RFC 1847),
    S/MIME (RFC 8551). Messages inside it are not looked into."""
    if _is_sealed(part) or (part.type == b"application" and part.subtype in _SMIME):
        return True
    return part.is_multipart and any(is_signed_or_encrypted(child) for child in part.children)


def _is_sealed(part: Part) -> bool:
    return part.is_multipart and part.subtype in _SEALED


def reencode_qp_leaves(raw: bytes) -> bytes:
    """The message with its quoted-printable text leaves in base64, for Exchange leaves `=3D` in what
    recipients read (contract trap 22). Whatever is under multipart/signed or multipart/encrypted stays,
    and so do messages inside the message: they are somebody else's, perhaps signed by DKIM. Lines must end
    in CRLF."""
    out, at = [], 0
    for part in _qp_leaves(scan(raw)):
        out += [raw[at : part.start], _as_base64(raw[part.start : part.body]), _base64_lines(raw, part)]
        at = part.end
    return b"".join([*out, raw[at:]]) if out else raw


def _qp_leaves(part: Part) -> Iterator[Part]:
    if part.is_multipart and not _is_sealed(part):
        for child in part.children:
            yield from _qp_leaves(child)
    elif part.type == b"text" and part.encoding == b"quoted-printable":
        yield part


def _as_base64(header: bytes) -> bytes:
    return set_header(header, b"Content-Transfer-Encoding", b"base64")


def _base64_lines(raw: bytes, part: Part) -> bytes:
    text = binascii.b2a_base64(qp_octets(raw[part.body : part.end]), newline=False)
    lines = [text[at : at + _LINE_OCTETS] for at in range(0, len(text), _LINE_OCTETS)]
    last = b"" if raw.startswith((b"\r", b"\n"), part.end) else b"\r\n"  # the delimiter's serves as ours
    return b"\r\n".join(lines) + last
