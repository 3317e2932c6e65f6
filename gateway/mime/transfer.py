"""Content transfer encodings undone (RFC 2045 section 6). Never fails: what is malformed decodes as far as
it goes."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
NOT_BASE64 = bytes(sorted(set(range(256)) - set(_ALPHABET)))  # octets that base64 does not have
_PADDING = re.compile(rb"=+")


def base64_octets(data: bytes) -> bytes:
    """Base64 as mail has it: foreign octets are passed over, missing padding is added, and text after padding
    (blocks that something glued together) is decoded, too."""
    clean = data.translate(None, NOT_BASE64).rstrip(b"=")
    if b"=" not in clean:
        return _block(clean)
    return b"".join([_block(block) for block in _PADDING.split(clean)])


def _block(clean: bytes) -> bytes:
    if len(clean) % 4 == 1:  # six bits are no octet
        clean = clean[:-1]
    return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))


def qp_octets(data: bytes) -> bytes:
    """Quoted-printable; `=` before anything else than two hex digits or a line end stays."""
    return binascii.a2b_qp(data)


def _identity(data: bytes) -> bytes:
    return data


_DECODERS: dict[bytes, Callable[[bytes], bytes]] = {b"base64": base64_octets, b"quoted-printable": qp_octets}


def decode_transfer(data: bytes, encoding: bytes) -> bytes:
    """A leaf's octets with `encoding` (lower case) undone; 7bit, 8bit, binary and unknown ones as is."""
    return _DECODERS.get(encoding, _identity)(data)
