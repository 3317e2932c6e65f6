"""How a sample is put together: standard header fields, text with CRLF line ends, parts and boundaries."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Sample:
    """One message. Tags say what it is for; `raw` = only input of a parser, never delivered by Exchange."""

    name: str
    data: bytes
    tags: frozenset[str]


def crlf(text: str | bytes, charset: str = "utf-8") -> bytes:
    """Text in its octets, with CRLF for every line end."""
    data = text.encode(charset) if isinstance(text, str) else text
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def standard(name: str) -> dict[str, str]:
    """The fields that every ordinary message has."""
    return {
        "Received": "from mx.example.org (mx.example.org [192.0.2.10])\n\tby mail.example.com with ESMTPS id "
        f"{abs(hash_of(name)):08x}; Tue, 3 Mar 2020 08:15:04 +0000",
        "Date": "Tue, 03 Mar 2020 09:15:00 +0100",
        "From": "Ada Lovelace <ada@example.org>",
        "To": "Alice <alice@example.com>",
        "Message-ID": f"<{name}@corpus.example.org>",
        "Subject": name.replace("-", " ").capitalize(),
        "MIME-Version": "1.0",
    }


def hash_of(text: str) -> int:
    """A small number that stands for a text, the same in every run."""
    value = 5381
    for char in text:
        value = (value * 33 + ord(char)) & 0xFFFFFFFF
    return value


def letter(
    name: str,
    fields: str | bytes = "",
    body: str | bytes = "",
    *tags: str,
    omit: Iterable[str] = (),
    charset: str = "utf-8",
) -> Sample:
    """A message with the standard fields; `fields` (text with LF) come after them and replace same names.

    `omit` leaves standard fields out. Body and fields are encoded in `charset`.
    """
    own = fields.encode(charset) if isinstance(fields, str) else fields
    present = {line.partition(b":")[0].strip().lower().decode("latin-1") for line in own.split(b"\n")}
    left_out = present | {field.lower() for field in omit}
    lines = [f"{n}: {v}\n" for n, v in standard(name).items() if n.lower() not in left_out]
    own = own if not own or own.endswith(b"\n") else own + b"\n"
    text = body.encode(charset) if isinstance(body, str) else body
    return sample(name, "".join(lines).encode() + own + b"\n" + text, *tags)


def sample(name: str, data: str | bytes, *tags: str) -> Sample:
    """A message from all of its text; line ends become CRLF."""
    return Sample(name, crlf(data), frozenset(tags))


def raw(name: str, data: bytes, *tags: str) -> Sample:
    """A sample whose bytes stay as they are."""
    return Sample(name, data, frozenset((*tags, "raw")))


def verbatim(name: str, data: bytes, *tags: str) -> Sample:
    """A sample with CRLF line ends whose other octets (a bare CR, say) must not be touched."""
    return Sample(name, data, frozenset(tags))


def from_file(name: str, *tags: str) -> Sample:
    """A sample kept as a file, because its octets cannot be written by hand (signatures)."""
    return Sample(name, (HERE / f"{name}.eml").read_bytes(), frozenset(tags))


def b64(data: bytes, width: int = 76) -> str:
    """Base64 in lines of `width`, each with its LF."""
    text = base64.b64encode(data).decode()
    return "".join(f"{text[i : i + width]}\n" for i in range(0, len(text), width))


def part(fields: str, body: str = "") -> str:
    """One body part: fields, an empty line, the body."""
    return f"{fields.strip()}\n\n{body}"


def multipart(boundary: str, *parts: str, preamble: str = "", epilogue: str = "") -> str:
    """Parts between boundaries, as they are written."""
    inner = "".join(f"--{boundary}\n{p if p.endswith(chr(10)) else p + chr(10)}" for p in parts)
    return f"{preamble}{inner}--{boundary}--\n{epilogue}"


PLAIN = part("Content-Type: text/plain; charset=utf-8", "Hello Alice,\n\nsee below.\n")
HTML = part("Content-Type: text/html; charset=utf-8", "<p>Hello <b>Alice</b>,</p><p>see below.</p>\n")

# A 1x1 PNG and a small but whole PDF, ZIP and GIF: what attachments begin with in real mail.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
ZIP = b"PK\x05\x06" + b"\x00" * 18
