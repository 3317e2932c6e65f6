"""Every class against the definition in words of RFC 9051 section 9, for all 256 octets."""

from __future__ import annotations

import pytest

from gateway.wire import chars

ALL = frozenset(range(256))
CHAR = frozenset(range(0x01, 0x80))
CTL = frozenset(range(0x20)) | {0x7F}
LIST_WILDCARDS = frozenset(b"%*")
QUOTED_SPECIALS = frozenset(b'"\\')
RESP_SPECIALS = frozenset(b"]")
ATOM_SPECIALS = frozenset(b"(){ ") - frozenset(b"}") | CTL | LIST_WILDCARDS | QUOTED_SPECIALS | RESP_SPECIALS
ATOM_CHAR = CHAR - ATOM_SPECIALS
ASTRING_CHAR = ATOM_CHAR | RESP_SPECIALS
TEXT_CHAR = CHAR - frozenset(b"\r\n")
QUOTED_PLAIN = TEXT_CHAR - QUOTED_SPECIALS
ALPHA_DIGIT = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


@pytest.mark.parametrize(
    ("char_class", "wanted"),
    [
        (chars.CTL_CLASS, CTL),
        (chars.ATOM_CHAR_CLASS, ATOM_CHAR),
        (chars.ASTRING_CHAR_CLASS, ASTRING_CHAR),
        (chars.TAG_CHAR_CLASS, ASTRING_CHAR - frozenset(b"+")),
        (chars.LIST_CHAR_CLASS, ATOM_CHAR | LIST_WILDCARDS | RESP_SPECIALS),
        (chars.TEXT_CHAR_CLASS, TEXT_CHAR),
        (chars.QUOTED_PLAIN_CLASS, QUOTED_PLAIN),
        (chars.QUOTED_UTF8_CLASS, QUOTED_PLAIN | frozenset(range(0x80, 0x100))),
        (chars.RESP_SPECIALS_CLASS, RESP_SPECIALS),
        (chars.LIST_WILDCARDS_CLASS, LIST_WILDCARDS),
        (chars.QUOTED_SPECIALS_CLASS, QUOTED_SPECIALS),
        (chars.DIGIT_CLASS, frozenset(b"0123456789")),
        (chars.BASE64_CHAR_CLASS, ALPHA_DIGIT | frozenset(b"+/")),
        (chars.MUTF7_BASE64_CLASS, ALPHA_DIGIT | frozenset(b"+,")),
    ],
)
def test_class(char_class: bytes, wanted: frozenset[int]) -> None:
    assert chars.octets(char_class) == wanted


@pytest.mark.parametrize(
    ("terminal", "wanted"),
    [
        (chars.ATOM, ATOM_CHAR),
        (chars.ASTRING_ATOM, ASTRING_CHAR),
        (chars.LIST_ATOM, ATOM_CHAR | LIST_WILDCARDS | RESP_SPECIALS),
        (chars.TAG, ASTRING_CHAR - frozenset(b"+")),
        (chars.QUOTABLE, TEXT_CHAR),
        (chars.DIGITS, frozenset(b"0123456789")),
    ],
)
def test_terminal_takes_exactly_its_class(terminal: object, wanted: frozenset[int]) -> None:
    assert {octet for octet in ALL if terminal.fullmatch(bytes((octet,)))} == wanted  # type: ignore[attr-defined]


def test_quoted_octets_stand_plain_or_escaped() -> None:
    plain = {octet for octet in ALL if chars.QUOTED.fullmatch(b'"%c"' % octet)}
    escaped = {octet for octet in ALL if chars.QUOTED.fullmatch(b'"\\%c"' % octet)}
    assert plain == ALL - frozenset(b'\0\r\n"\\')
    assert escaped == QUOTED_SPECIALS


@pytest.mark.parametrize("text", [b"", b"AAAA", b"AAA=", b"AA==", b"AAAAAA=="])
def test_base64(text: bytes) -> None:
    assert chars.BASE64.fullmatch(text)


@pytest.mark.parametrize("text", [b"A", b"AA", b"AAA", b"A===", b"AA=A", b"AA==AAAA", b"AA AA", b"AA-_"])
def test_not_base64(text: bytes) -> None:
    assert not chars.BASE64.fullmatch(text)


@pytest.mark.parametrize("text", [b"{0}", b"{12+}", b"~{3}", b"~{3+}", b"{%d}" % 2**64])
def test_literal_header(text: bytes) -> None:
    assert chars.LITERAL_HEADER.fullmatch(text)


@pytest.mark.parametrize(
    "text", [b"{}", b"{+}", b"{1-}", b"{-1}", b"{1 }", b"{1++}", b"{%s}" % (b"1" * 21), b"{a}"]
)
def test_not_a_literal_header(text: bytes) -> None:
    assert not chars.LITERAL_HEADER.search(text)
