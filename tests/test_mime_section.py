"""BODY[...]: which octets a section means (RFC 9051 section 6.4.5.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mime_trees import SHRAPNEL, TREES, Tree, parts_of

from gateway.mime.part import Part, scan
from gateway.mime.section import Section, SectionText, find, length, locate, octets, partial

# The example of RFC 9051 section 6.4.5.1, part numbers and all.
INNER = (
    b"From: inner@x\r\nSubject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n"
    b"--i\r\nContent-Type: text/plain\r\n\r\nfour two one\r\n"
    b"--i\r\nContent-Type: multipart/alternative; boundary=a\r\nContent-ID: <alt>\r\n\r\n"
    b"--a\r\n\r\nplain\r\n--a\r\nContent-Type: text/html\r\n\r\n<b>\r\n--a--\r\n--i--"
)
MESSAGE = (
    b"From: outer@x\r\nSubject: outer\r\nX-A: 1\r\nContent-Type: multipart/mixed; boundary=o\r\n"
    b"\r\nprologue\r\n"
    b"--o\r\nContent-Description: first\r\n\r\none\r\n"
    b"--o\r\nContent-Type: message/rfc822\r\nContent-ID: <msg>\r\n\r\n" + INNER + b"\r\n--o--\r\nepilogue"
)


def body(message: bytes, number: str, text: str = "", *fields: bytes) -> bytes | None:
    numbers = tuple(int(n) for n in number.split(".")) if number else ()
    located = locate(message, scan(message), Section(numbers, SectionText(text), fields))
    return None if located is None else octets(message, located)


@pytest.mark.parametrize(
    ("number", "text", "expected"),
    [
        ("", "", MESSAGE),
        ("", "HEADER", MESSAGE[: MESSAGE.index(b"prologue")]),
        ("", "TEXT", MESSAGE[MESSAGE.index(b"prologue") :]),
        ("1", "", b"one"),
        ("1", "MIME", b"Content-Description: first\r\n\r\n"),
        ("2", "", INNER),
        ("2", "MIME", b"Content-Type: message/rfc822\r\nContent-ID: <msg>\r\n\r\n"),
        ("2", "HEADER", INNER[: INNER.index(b"--i")]),
        ("2", "TEXT", INNER[INNER.index(b"--i") :]),
        ("2.1", "", b"four two one"),
        ("2.1", "MIME", b"Content-Type: text/plain\r\n\r\n"),
        ("2.2", "MIME", b"Content-Type: multipart/alternative; boundary=a\r\nContent-ID: <alt>\r\n\r\n"),
        ("2.2.1", "", b"plain"),
        ("2.2.1", "MIME", b"\r\n"),
        ("2.2.2", "", b"<b>"),
    ],
)
def test_sections_of_a_message_in_a_message(number: str, text: str, expected: bytes) -> None:
    assert body(MESSAGE, number, text) == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("3", ""),
        ("1.1", ""),
        ("2.3", ""),
        ("2.2.3", ""),
        ("1", "HEADER"),
        ("1", "TEXT"),
        ("2.2", "TEXT"),
        ("", "MIME"),
    ],
)
def test_what_is_not_there_is_none(number: str, text: str) -> None:
    assert body(MESSAGE, number, text) is None


def test_header_fields_of_a_message_and_of_one_inside() -> None:
    assert body(MESSAGE, "", "HEADER.FIELDS", b"SUBJECT") == b"Subject: outer\r\n\r\n"
    assert (
        body(MESSAGE, "2", "HEADER.FIELDS", b"subject", b"from") == b"From: inner@x\r\nSubject: inner\r\n\r\n"
    )
    assert body(MESSAGE, "1", "HEADER.FIELDS", b"subject") is None


def test_header_fields_not_leaves_only_those_out() -> None:
    rest = body(MESSAGE, "", "HEADER.FIELDS.NOT", b"From", b"Content-Type")
    assert rest == b"Subject: outer\r\nX-A: 1\r\n\r\n"
    inner = body(MESSAGE, "2", "HEADER.FIELDS.NOT", b"Content-Type")
    assert inner == b"From: inner@x\r\nSubject: inner\r\n\r\n"


def test_header_fields_end_in_the_empty_line_even_if_nothing_was_found() -> None:
    assert body(MESSAGE, "", "HEADER.FIELDS", b"X-None") == b"\r\n"


def test_a_message_that_is_no_multipart_has_one_part() -> None:
    message = b"Subject: x\r\n\r\nhello"
    assert body(message, "1") == b"hello"
    assert body(message, "1", "MIME") == b"Subject: x\r\n\r\n"
    assert body(message, "1.1") is None
    assert body(message, "2") is None


def test_a_message_that_is_a_message_inside() -> None:
    message = b"Subject: o\r\nContent-Type: message/rfc822\r\n\r\nSubject: i\r\n\r\nhello"
    assert body(message, "1") == b"Subject: i\r\n\r\nhello"
    assert body(message, "1", "HEADER") == b"Subject: i\r\n\r\n"
    assert body(message, "1", "TEXT") == b"hello"
    assert body(message, "1.1") == b"hello"


def test_a_partial_of_text_counts_from_the_text_and_not_from_the_header() -> None:
    section = Section((), SectionText.TEXT)
    located = locate(MESSAGE, scan(MESSAGE), section)
    assert located is not None
    assert octets(MESSAGE, partial(located, 0, 8)) == b"prologue"
    assert octets(MESSAGE, partial(located, 3, 3)) == b"log"
    assert octets(MESSAGE, partial(located, 10**9, 5)) == b""


def test_a_partial_of_header_fields_counts_from_their_first_octet() -> None:
    located = locate(MESSAGE, scan(MESSAGE), Section((), SectionText.HEADER_FIELDS, (b"subject",)))
    assert located is not None
    assert octets(MESSAGE, partial(located, 9, 5)) == b"outer"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))), st.integers(0, 30), st.integers(0, 30))
def test_a_partial_of_spans_is_the_slice_of_their_octets(
    sizes: list[tuple[int, int]], offset: int, count: int
) -> None:
    message = bytes(range(200))
    spans, at = [], 0
    for gap, size in sizes[:10]:
        spans.append((at + gap, at + gap + size))
        at += gap + size
    assert octets(message, partial(spans, offset, count)) == octets(message, spans)[offset : offset + count]


class Elsewhere:
    """A message that is not in memory."""

    def __init__(self, message: bytes) -> None:
        self._message = message

    def read(self, start: int, end: int) -> bytes:
        return self._message[start:end]


ANY_SECTION = st.builds(
    Section,
    st.lists(st.integers(0, 4), max_size=4).map(tuple),
    st.sampled_from(SectionText),
    st.just((b"subject",)),
)


@given(TREES, ANY_SECTION, st.integers(1, 40))
def test_partials_put_together_are_the_whole_wherever_the_message_is(
    tree: Tree, section: Section, step: int
) -> None:
    message = tree.raw
    part = scan(message)
    located = locate(message, part, section)
    elsewhere = locate(Elsewhere(message), part, section)
    assert (located is None) == (elsewhere is None)
    if located is None or elsewhere is None:
        return
    whole = octets(message, located)
    assert length(located) == len(whole)
    pieces = (octets(Elsewhere(message), partial(elsewhere, at, step)) for at in range(0, len(whole), step))
    assert b"".join(pieces) == whole


@given(SHRAPNEL)
def test_header_and_text_are_the_whole_message(message: bytes) -> None:
    assert (body(message, "", "HEADER") or b"") + (body(message, "", "TEXT") or b"") == body(message, "")


def _numbered(part: Part, prefix: tuple[int, ...] = ()) -> list[tuple[tuple[int, ...], Part]]:
    """Part numbers as a client works them out from BODYSTRUCTURE."""
    inside = part.children if part.is_multipart else (part,)
    found = []
    for number, child in enumerate(inside, 1):
        numbers = (*prefix, number)
        found.append((numbers, child))
        if child.is_multipart:
            found += _numbered(child, numbers)
        elif child.is_message:
            found += _numbered(child.children[0], numbers)
    return found


@given(TREES)
def test_section_numbers_match_bodystructure(tree: Tree) -> None:
    part = scan(tree.raw)
    numbered = _numbered(part)
    assert all(find(part, numbers) is expected for numbers, expected in numbered)
    leaves = [inner for inner in parts_of(part) if not inner.children]
    assert [id(p) for _, p in numbered if not p.children] == [id(p) for p in leaves]
