"""Messages whose bodies transcripts search."""

from __future__ import annotations

import base64


def _mail(name: str, subject: str, rest: bytes) -> bytes:
    head = (
        f"From: {name} <{name}@example.net>\r\nTo: alice@example.com\r\nSubject: {subject}\r\n"
        f"Date: Wed, 3 Jan 2024 09:00:00 +0000\r\nMessage-ID: <{name}@example.net>\r\nMIME-Version: 1.0\r\n"
    )
    return head.encode() + rest


def _plain(text: str) -> bytes:
    return b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text.encode() + b"\r\n"


SEARCHED: dict[str, bytes] = {
    "soup": _mail("cook", "Lunch", _plain("The soup of the day is minestrone.")),
    "salad": _mail(
        "waiter",
        "Dinner",
        b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>A mixed sal<b>ad</b> &amp; no s&ouml;up today</p>\r\n",
    ),
    "street": _mail(
        "postman",
        "Minestrone",
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes("Grüße aus Köln. Die Straße war lang.".encode()).replace(b"\n", b"\r\n"),
    ),
    "recipe": _mail(
        "granny",
        "Recipe",
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee below\r\n'
        b'--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: attachment; filename="stock.txt"\r\n'
        b"\r\nBoil the bones\r\n--b--\r\n",
    ),
}
