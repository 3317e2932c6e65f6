"""Response lines: exact octets, and that nothing put into them can break out."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.limits import DEFAULT_LIMITS
from gateway.core.types import Flags
from gateway.wire import encode
from gateway.wire.cursor import Cursor
from gateway.wire.encode import Kind, Out


def test_out_gathers_and_is_taken_once() -> None:
    out = Out()
    out.untagged(b"3 EXISTS")
    out.untagged(b"1 FETCH (FLAGS ", b"(\\Seen)", b")")
    out.status(b"a1", Kind.OK, "NOOP completed")
    wanted = b"* 3 EXISTS\r\n* 1 FETCH (FLAGS (\\Seen))\r\na1 OK NOOP completed\r\n"
    assert out.size == len(wanted)
    assert out.take() == wanted
    assert (out.size, out.take()) == (0, b"")


def test_status_with_code() -> None:
    out = Out()
    out.status(b"*", Kind.OK, "UIDs valid", b"UIDVALIDITY 7")
    out.status(b"*", Kind.OK, "Limited", b"PERMANENTFLAGS (\\Deleted \\*)")
    assert out.take() == (
        b"* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [PERMANENTFLAGS (\\Deleted \\*)] Limited\r\n"
    )


def test_continuation_and_challenge() -> None:
    out = Out()
    out.continuation("idling")
    out.challenge()
    out.challenge(b"Username:")
    assert out.take() == b"+ idling\r\n+ \r\n+ VXNlcm5hbWU6\r\n"


@pytest.mark.parametrize("text", ["", " ", "\r\n"])
def test_a_status_always_has_text(text: str) -> None:
    out = Out()
    out.status(b"a", Kind.OK, text, b"UIDVALIDITY 1")
    assert re.fullmatch(rb"a OK \[UIDVALIDITY 1\] [!-~]+\r\n", out.take())


@given(st.text(), st.binary(max_size=50), st.sampled_from(Kind))
def test_no_text_breaks_out_of_its_line(text: str, code: bytes, kind: Kind) -> None:
    out = Out()
    out.status(b"a", kind, text, code)
    out.continuation(text)
    line = rb"[\x20-\x7e]+"
    answer = out.take()
    code_pattern = rb"\[[\x20-\x5c\x5e-\x7e]+\] " if code else b""
    assert re.fullmatch(
        rb"a %b %b(?!\[)%b\r\n\+ (?!\[)%b\r\n" % (kind.value, code_pattern, line, line), answer
    )
    assert len(answer) < 1200


def test_a_text_is_never_read_as_a_code() -> None:
    out = Out()
    out.status(b"a", Kind.NO, "[ALERT] pay here")
    assert out.take() == b"a NO (ALERT] pay here\r\n"


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", b'""'), (b"plain", b'"plain"'), (b'say "hi" \\o/', b'"say \\"hi\\" \\\\o/"'),
        (b"a\tb", b'"a\tb"'),
        (b"a\r\nb", b"{4}\r\na\r\nb"), (b"caf\xc3\xa9", b"{5}\r\ncaf\xc3\xa9"), (b"\0", b"{1}\r\n\0"),
        (b"x" * 1001, b"{1001}\r\n" + b"x" * 1001),
    ],
)  # fmt: skip
def test_string(data: bytes, wanted: bytes) -> None:
    assert encode.string(data) == wanted
    assert encode.nstring(data) == wanted


def test_nil_is_not_the_string_nil() -> None:
    assert encode.nstring(None) == b"NIL"
    assert encode.nstring(b"NIL") == b'"NIL"'
    assert encode.astring(b"nil") == b'"nil"'


@pytest.mark.parametrize("octet", range(256))
def test_every_octet_comes_back_from_a_string(octet: int) -> None:
    data = b"a%cb" % octet
    for form in (encode.string(data), encode.astring(data), encode.literal(data)):
        head, separator, tail = form.partition(b"\r\n")
        parts = (head, tail, b"") if separator else (head,)
        if not octet and separator:
            continue  # NUL goes out in a literal, but is not taken in one
        assert Cursor(parts, DEFAULT_LIMITS).astring() == data


def test_quoted_refuses_what_it_cannot_hold() -> None:
    assert encode.quoted(b'a"b') == b'"a\\"b"'
    for data in (b"a\r", b"a\n", b"\0", b"\xe9"):
        with pytest.raises(ValueError):
            encode.quoted(data)


@pytest.mark.parametrize(
    ("name", "rev1", "utf8"),
    [
        ("INBOX", b"INBOX", b"INBOX"),
        ("Sent Items", b'"Sent Items"', b'"Sent Items"'),
        ("Entwürfe/a", b"Entw&APw-rfe/a", '"Entwürfe/a"'.encode()),
        ("R&D", b"R&-D", b"R&D"),
        ('a"b', b'"a\\"b"', b'"a\\"b"'),
        ('ü"', b'"&APw-\\""', '"ü\\""'.encode()),
        ("ü\r\nx", b"&APwADQAK-x", "\"üx\"".encode()),
        ("50%", b'"50%"', b'"50%"'),
        ("", b'""', b'""'),
    ],
)  # fmt: skip
def test_mailbox(name: str, rev1: bytes, utf8: bytes) -> None:
    assert encode.mailbox(name) == rev1
    assert encode.mailbox(name, utf8=True) == utf8


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=50), st.booleans())
def test_mailbox_names_come_back(name: str, utf8: bool) -> None:
    encoded = encode.mailbox(name, utf8)
    head, separator, tail = encoded.partition(b"\r\n")
    cursor = Cursor((head, tail, b"") if separator else (head,), DEFAULT_LIMITS, utf8=utf8)
    assert cursor.list_mailbox() == unicodedata.normalize(
        "NFC", name
    )  # names are compared that way (RFC 9051 5.1)


@given(st.text())
def test_no_mailbox_name_breaks_out(name: str) -> None:
    for utf8 in (False, True):
        encoded = encode.mailbox(name, utf8)
        head, _, counted = encoded.partition(b"\r\n")  # behind it, a literal's octets are counted, not parsed
        assert b"\r" not in head
        assert not counted or head.endswith(b"{%d}" % len(counted))


def test_flag_list() -> None:
    flags = Flags.of([b"Work", b"\\Seen"])
    assert encode.flag_list(Flags()) == b"()"
    assert encode.flag_list(flags) == b"(\\Seen Work)"
    assert encode.flag_list(flags, recent=True) == b"(\\Recent \\Seen Work)"
