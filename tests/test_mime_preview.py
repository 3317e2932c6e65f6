"""Previews: what a reader would see first, and nothing of what is not for a list (RFC 8970 section 3.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mime_trees import SHRAPNEL, TREES, Tree

from gateway.mime.part import scan
from gateway.mime.preview import PREVIEW, is_encrypted, preview_of, tidy


def preview(raw: bytes) -> str:
    return preview_of(raw, scan(raw))


def alternative(*parts: bytes) -> bytes:
    head = b"Content-Type: multipart/alternative; boundary=b\r\n\r\n"
    return head + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


PLAIN = b"Content-Type: text/plain; charset=utf-8\r\n\r\nPlain \xc3\xbc"
RICH = b"Content-Type: text/html\r\n\r\n<p>Rich"
PICTURE = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"Subject: x\r\n\r\n  one\r\n\r\n two\tthree\r\n", "one two three"),
        (alternative(PLAIN, RICH), "Plain ü"),
        (alternative(RICH, PLAIN), "Plain ü"),
        (alternative(RICH), "Rich"),
        (alternative(b"Content-Type: text/plain\r\n\r\n \r\n", RICH), "Rich"),
        (PICTURE, ""),
        (b"", ""),
        (b"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nnot this", ""),
        (b"Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR", ""),
        (b"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-new\r\n\r\nabc", ""),
        (
            b"Content-Type: text/html\r\n\r\n<style>p {}</style><!-- a -- > b --><script>if (1 < 2)</script>"
            b"<p>1 &lt; 2 &amp;<br>so <b>b</b>old",
            "1 < 2 & so bold",
        ),
        (b"Content-Type: text/html\r\n\r\n" + b"&zwnj;&nbsp;" * 90 + b"News", "News"),
        (b"\r\na\x00b\x1bc\xe2\x80\x8bd", "a b cd"),
    ],
)
def test_what_is_shown(raw: bytes, text: str) -> None:
    assert preview(raw) == text


@pytest.mark.parametrize(
    ("kind", "hidden"),
    [
        (b'multipart/encrypted; protocol="application/pgp-encrypted"', True),
        (b"application/pkcs7-mime; smime-type=enveloped-data", True),
        (b"application/pkcs7-mime; smime-type=Signed-Data", False),
        (b"multipart/signed", False),
        (b"text/plain", False),
        (b"", False),
    ],
)
def test_what_is_encrypted(kind: bytes, hidden: bool) -> None:
    assert is_encrypted(b"Content-Type: " + kind + b"\r\n\r\n") is hidden


def test_nothing_of_an_encrypted_message_is_shown() -> None:
    part = b"--b\r\nContent-Type: text/plain\r\n\r\nVersion: 1\r\n--b--\r\n"
    assert preview(b"Content-Type: multipart/encrypted; boundary=b\r\n\r\n" + part) == ""


@given(st.text())
def test_a_preview_is_one_short_line(text: str) -> None:
    shown = tidy(text)
    assert len(shown) <= PREVIEW
    assert shown == " ".join(shown.split())
    assert tidy(shown) == shown
    shown.encode("utf-8")


@given(TREES)
def test_any_message_has_one(tree: Tree) -> None:
    assert len(preview(tree.raw)) <= PREVIEW


@given(SHRAPNEL)
def test_shrapnel_has_one(raw: bytes) -> None:
    assert len(preview(raw)) <= PREVIEW
