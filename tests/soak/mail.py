"""The messages of a soak: each with a token in its Subject, whole in itself."""

from __future__ import annotations

import base64
import random
import re

_SUBJECT = re.compile(rb"^Subject: (\S+)", re.I | re.M)


def letter(
    token: str, size: int, rng: random.Random, *, to: str = "alice@example.com", sender: str = ""
) -> bytes:
    """A message of about `size` octets; the larger ones have an attachment."""
    head = (
        f"From: {sender or 'Eve <eve@example.net>'}\nTo: {to}\nSubject: {token}\n"
        f"Date: Mon, 02 Nov 2026 10:00:00 +0000\nMessage-ID: <{token}@example.net>\nMIME-Version: 1.0\n"
    )
    plain = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    text = f"Guten Tag, {token}.\n" + "Zeile mit Ümlaut\n" * min(size // 18, 60)
    if size <= 2000:
        return f"{head}{plain}{text}".replace("\n", "\r\n").encode()
    junk = base64.encodebytes(rng.randbytes(size * 3 // 4)).decode()
    whole = (
        f'{head}Content-Type: multipart/mixed; boundary="b-{token}"\n\n--b-{token}\n{plain}{text}\n--b-{token}\n'
        f'Content-Type: application/octet-stream; name="{token}.bin"\n'
        f'Content-Disposition: attachment; filename="{token}.bin"\nContent-Transfer-Encoding: base64\n\n{junk}'
        f"--b-{token}--\n"
    )
    return whole.replace("\n", "\r\n").encode()


def token_of(octets: bytes) -> str:
    """The token of a message, or of its header field."""
    found = _SUBJECT.search(octets[:20_000])
    assert found is not None, octets[:200]
    return found[1].decode()
