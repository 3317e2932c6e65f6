"""Whether two renderings are of one content (decision 4)."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.emulator.corpus import messages
from gateway.mailbox.rendering import Verdict, content_digest, judge, pin_from, pin_of, told
from gateway.store.api import Pin

HEADER = (
    b"From: Bob <bob@example.com>\r\nTo: a@example.com, b@example.com\r\nSubject: one two\r\n"
    b"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
)
ENCODERS = {
    "8bit": lambda octets: octets,
    "base64": lambda octets: base64.encodebytes(octets).replace(b"\n", b"\r\n"),
    "quoted-printable": lambda octets: quopri.encodestring(octets),
}


def leaf(octets: bytes, encoding: str = "base64", kind: str = "application/pdf") -> bytes:
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    return head + ENCODERS[encoding](octets)


def mixed(boundary: str, *parts: bytes, header: bytes = HEADER) -> bytes:
    mark = f"--{boundary}".encode()
    inner = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts)
    kind = f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'.encode()
    return header + kind + inner + mark + b"--\r\n"


def verdict(first: bytes, now: bytes) -> Verdict:
    return judge(pin_of(first), pin_of(now))


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60)


@given(TEXT, st.sampled_from(sorted(ENCODERS)), st.sampled_from(sorted(ENCODERS)))
def test_another_encoding_or_boundary_is_a_rendering(text: str, first: str, second: str) -> None:
    octets = text.encode()
    kind = "text/plain; charset=utf-8"
    before = mixed("b1", leaf(octets, first, kind), leaf(b"\x00\x01pdf", "base64"))
    after = mixed("b2", leaf(octets, second, kind), leaf(b"\x00\x01pdf", "base64"))
    assert verdict(before, after) is Verdict.RENDERED
    assert verdict(before, before) is Verdict.SAME


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4), st.data())
def test_a_part_of_other_octets_is_a_change(parts: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(parts) - 1))
    other = [*parts[:at], parts[at] + b"x", *parts[at + 1 :]]
    before, after = (mixed("b", *map(leaf, each)) for each in (parts, other))
    assert verdict(before, after) is Verdict.CHANGED
    assert verdict(before, mixed("b", *map(leaf, parts[:-1]))) is not Verdict.RENDERED
    assert verdict(before, mixed("b", *map(leaf, [*parts, b"new"]))) is Verdict.CHANGED


def test_another_charset_of_the_same_text_is_a_rendering() -> None:
    latin = HEADER + leaf("Grüße\r\n".encode("latin-1"), "8bit", "text/plain; charset=iso-8859-1")
    utf = HEADER + leaf("Grüße\n".encode(), "base64", "text/plain; charset=utf-8")
    assert verdict(latin, utf) is Verdict.RENDERED
    assert verdict(latin, HEADER + leaf("Grüsse\n".encode(), "base64")) is Verdict.CHANGED


def test_a_leaf_of_another_type_is_a_change() -> None:
    plain, html = (HEADER + leaf(b"x", "8bit", kind) for kind in ("text/plain", "text/html"))
    assert verdict(plain + b"\r\n", html) is Verdict.CHANGED


def test_the_same_octets_cut_into_other_parts_are_a_change() -> None:
    """The digest says where one part ends."""
    assert (
        verdict(mixed("b", leaf(b"ab"), leaf(b"c")), mixed("b", leaf(b"a"), leaf(b"bc"))) is Verdict.CHANGED
    )


def test_the_header_of_a_message_inside_is_content() -> None:
    def forwarded(subject: bytes, boundary: str) -> bytes:
        inner = b"Content-Type: message/rfc822\r\n\r\nSubject: " + subject + b"\r\n\r\nbody\r\n"
        return mixed(boundary, inner)

    assert verdict(forwarded(b"a", "x"), forwarded(b"=?utf-8?Q?a?=", "y")) is Verdict.RENDERED
    assert verdict(forwarded(b"a", "x"), forwarded(b"b", "x")) is Verdict.CHANGED


REST = b"\r\nhello\r\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Subject: one two", b"Subject: =?utf-8?B?b25lIHR3bw==?="),
        (b"Subject: one two", b"Subject: one\r\n two"),
        (b"To: a@example.com, b@example.com", b'To: "B" <b@EXAMPLE.com>,\r\n\tA <a@example.com>'),
        (b"From: Bob <bob@example.com>", b"From: =?utf-8?Q?Bob_the_Builder?= <bob@example.com>"),
        (b"10:00:00 +0000", b"11:00:00 +0100"),
        (b"MIME-Version: 1.0", b"MIME-Version: 1.0\r\nKeywords: Red category"),
    ],
)  # fmt: skip
def test_a_header_that_says_the_same_is_the_same(before: bytes, after: bytes) -> None:
    assert before in HEADER
    assert verdict(HEADER + REST, HEADER.replace(before, after) + REST) is Verdict.SAME


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Subject: one two", b"Subject: one three"),
        (b"Subject: one two\r\n", b""),
        (b"a@example.com, ", b""),
        (b"bob@example.com", b"rob@example.com"),
        (b"10:00:00 +0000", b"10:00:00 +0100"),
        (b"MIME-Version: 1.0", b"Cc: c@example.com"),
    ],
)
def test_a_header_that_says_something_else_is_a_change(before: bytes, after: bytes) -> None:
    assert before in HEADER
    assert verdict(HEADER + REST, HEADER.replace(before, after) + REST) is Verdict.CHANGED


def test_without_a_digest_of_the_parts_the_header_decides() -> None:
    """A record of before there was one."""
    first, now = pin_of(HEADER + REST), pin_of(HEADER + b"\r\nother\r\n")
    old = Pin(first.header, first.rest_length, first.rest_sha256)
    assert judge(old, first) is Verdict.SAME
    assert judge(old, now) is Verdict.RENDERED
    assert judge(old, pin_of(HEADER.replace(b"one", b"1") + REST)) is Verdict.CHANGED


@pytest.mark.parametrize("sample", messages(), ids=lambda sample: sample.name)
def test_every_shape_of_mail_is_the_same_as_itself(sample: object) -> None:
    raw: bytes = sample.data  # type: ignore[attr-defined]
    pin = pin_of(raw)
    assert judge(pin, pin_of(raw)) is Verdict.SAME
    assert len(pin.content) == 32
    assert len(pin.header) + pin.rest_length == len(raw)


@given(st.binary(max_size=300))
def test_garbage_has_a_digest_too(raw: bytes) -> None:
    assert content_digest(raw) == content_digest(raw)
    assert told(raw) == told(raw)


async def test_large_ones_are_digested_off_the_loop_with_the_same_result() -> None:
    raw = HEADER + b"\r\n" + b"x" * 78 * 20_000
    assert await pin_from(raw) == pin_of(raw)
