"""The text that SEARCH BODY and TEXT look at."""

from __future__ import annotations

import base64
import quopri
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mime import text as text_module
from gateway.mime.part import scan
from gateway.mime.text import body_finds, body_text, casefold_text, header_text, leaf_text


def found(message: bytes, *needles: str) -> list[bool]:
    folded = [casefold_text(needle) for needle in needles]
    hits = body_finds(message, scan(message), folded)
    whole = body_text(message, scan(message), 1 << 30)
    assert whole is not None
    assert hits == {needle for needle in folded if needle in whole}
    return [needle in hits for needle in folded]


def test_a_text_beyond_the_bound_is_none() -> None:
    message = b"\r\n" + b"x" * 1000
    assert body_text(message, scan(message), 999) is None
    assert body_text(message, scan(message), 1000) == "X" * 1000 + "\0"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CAFÉ", "cafe\u0301"),
        ("ﬁn", "FIN"),
        ("ПРИВЕТ", "привет"),
        ("ABC", "abc"),
        ("ΌΔΟΣ", "όδος"),  # final and other sigma have one titlecase
        ("ǆ", "Ǆ"),
        ("ᾳ", "ᾼ"),
        ("ſea", "SEA"),
    ],
)
def test_strings_compare_without_case_and_composition(one: str, other: str) -> None:
    assert casefold_text(one) == casefold_text(other)


@pytest.mark.parametrize(("one", "other"), [("Straße", "STRASSE"), ("İ", "i"), ("ა", "Ა"), ("é", "e")])
def test_what_i_unicode_casemap_keeps_apart(one: str, other: str) -> None:
    """Simple mappings only: RFC 5051 section 2 reads UnicodeData.txt, not SpecialCasing.txt."""
    assert casefold_text(one) != casefold_text(other)


def casemap(character: str) -> str:
    """RFC 5051 section 2, word by word: titlecase, decompose, and again with what came."""
    titled = character.title()
    decomposed = unicodedata.normalize("NFKD", titled if len(titled) == 1 else character)
    return decomposed if decomposed == character else "".join(map(casemap, decomposed))


def test_every_character_of_unicode_folds_as_the_rfc_says() -> None:
    characters = map(chr, (*range(0xD800), *range(0xE000, 0x110000)))
    assert [c for c in characters if casefold_text(c) != unicodedata.normalize("NFKD", casemap(c))] == []


@given(st.text(max_size=40))
def test_folding_is_idempotent(text: str) -> None:
    assert casefold_text(casefold_text(text)) == casefold_text(text)


def test_transfer_encoding_and_charset_are_undone() -> None:
    text = "Grüße aus Köln, naïve café"
    for charset in ("utf-8", "iso-8859-1", "utf-16le"):
        body = base64.encodebytes(text.encode(charset))
        message = b"Content-Type: text/plain; charset=%b\r\nContent-Transfer-Encoding: base64\r\n\r\n%b" % (
            charset.encode(),
            body,
        )
        assert found(message, "KÖLN", "café", "nowhere", body[:8].decode()) == [True, True, False, False]
    message = (
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    message += quopri.encodestring(text.encode() + b" " + b"long " * 30 + b"line")
    assert found(message, "naïve", "long line", "=C3") == [True, True, False]


def test_8_bit_without_declaration_is_found() -> None:
    assert found(b"\r\ncaf\xe9 cr\xe8me", "café", "CRÈME") == [True, True]
    assert found("\r\ncafé".encode(), "café") == [True]


def test_html_is_searched_as_written_and_as_read() -> None:
    message = (
        b'Content-Type: text/html\r\n\r\n<p class="big">One</p><p>T<b>w</b>o\r\n  three &amp; f&ouml;ur</p>'
    )
    assert found(message, 'class="big"', "two three & föur", "one two") == [True, True, True]
    assert found(message, "onetwo", "& för") == [False, False]


def test_the_header_is_no_body_but_the_headers_inside_are() -> None:
    message = (
        b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: =?utf-8?Q?inn=C3=A9r?=\r\n\r\ninside\r\n"
        b"--b\r\nContent-Type: image/png; name=logo.png\r\n\r\nbinary\r\n"
        b"--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\n--b--"
    )
    assert found(message, "outer", "innér", "inside", "logo.png", "binary", "action: failed") == [
        False,
        True,
        True,
        True,
        False,
        True,
    ]


def test_the_empty_string_is_in_every_body() -> None:
    assert found(b"\r\n", "") == [True]


def test_header_text_is_decoded_field_by_field() -> None:
    header = b"Subject: =?utf-8?Q?caf=C3=A9?=\r\n folded\r\nno field\r\nX-A: \xe9\r\n\r\n"
    assert header_text(header) == "Subject: café folded\nno field\nX-A: é"


@pytest.mark.parametrize("encoding", [b"8bit", b"base64", b"quoted-printable"])
@pytest.mark.parametrize("window", [16, 20, 57, 1000])
def test_windows_hide_nothing(monkeypatch: pytest.MonkeyPatch, encoding: bytes, window: int) -> None:
    monkeypatch.setattr(text_module, "_WINDOW", window)
    text = "".join(f"line {number} héllo\r\n" for number in range(60))
    octets = text.encode()
    encoders = {b"8bit": octets, b"base64": base64.encodebytes(octets), b"quoted-printable": octets}
    body = encoders[encoding]
    if encoding == b"quoted-printable":
        body = octets.replace(b"\xc3\xa9", b"=C3=\r\n=A9")
    message = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (
        encoding,
        body,
    )
    if encoding != b"quoted-printable" or window > 20:
        assert leaf_text(message, scan(message)) == text
    needles = [f"line {number} héllo\r\nline {number + 1}" for number in range(59)]
    if encoding != b"quoted-printable" or window > 20:
        assert all(found(message, *needles))
    assert found(message, "line 60") == [False]


def test_hostile_html_takes_linear_time() -> None:
    began = time.perf_counter()
    for piece in (b"<", b"<b ", b"&", b"&#", b"<!--", b" ", b"<b", b"&amp"):
        message = b"Content-Type: text/html\r\n\r\n" + piece * (1_000_000 // len(piece))
        found(message, "nothing")
    assert time.perf_counter() - began < 20
