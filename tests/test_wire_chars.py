"""Every class against the definition in words of RFC 9051 section 9, for all 256 octets."""

from __future__ import annotations

import pytest

from gateway.core.errors import BadCommand
from gateway.wire import chars
from gateway.wire.frame import Frame
from gateway.wire.grammar import parse

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


# -- the same in the parser: each octet in the middle of each terminal of a whole command --

# RFC 9051 section 9, ATOM-CHAR, octet by octet
ATOM_TABLE = b"!#$&'+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[^_`abcdefghijklmnopqrstuvwxyz|}~"
HIGH = bytes(range(0x80, 0x100))
CONTROLS = bytes((*range(0x01, 0x0A), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F))  # without NUL, LF and CR
PRINTED = bytes(range(0x20, 0x7F))


def without(table: bytes, octets: bytes) -> bytes:
    return table.translate(None, octets)


IN_COMMANDS = {
    # a command with %c, and the octets it may be
    b"t%ct NOOP": without(ATOM_TABLE, b"+") + b"]",
    b"a LOGIN x%cy p": ATOM_TABLE + b"]",
    b'a LOGIN "x%cy" p': CONTROLS + without(PRINTED, b'"\\') + HIGH,
    b'a LOGIN "x\\%cy" p': b'"\\',
    b"a STORE 1 FLAGS (x%cy)": ATOM_TABLE + b" ",
    b"a STORE 1 FLAGS (\\x%cy)": ATOM_TABLE + b" ",
    b"a SEARCH KEYWORD x%cy": ATOM_TABLE,
    b'a LIST "" x%cy': without(ATOM_TABLE, b"&") + b"]%*",
    b"a ENABLE x%cy": ATOM_TABLE + b" ",
    b"a AUTHENTICATE PLAIN A%cAA": b"+/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    b"a COPY 1%c2 x": b":,0123456789",
}


@pytest.mark.parametrize("command", IN_COMMANDS)
def test_every_octet_in_every_terminal(command: bytes) -> None:
    taken = bytes(octet for octet in range(256) if parses(command % octet))
    assert taken == bytes(sorted(IN_COMMANDS[command]))


def test_every_octet_in_a_literal() -> None:
    taken = {octet for octet in range(256) if parses(b"a LOGIN {1}", bytes((octet,)), b" p")}
    assert taken == set(range(1, 256))  # RFC 9051 section 9: CHAR8


def parses(*parts: bytes) -> bool:
    try:
        parse(Frame(parts))
    except BadCommand:
        return False
    return True
