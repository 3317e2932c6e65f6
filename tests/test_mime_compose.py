"""Octet surgery: what is asked for changes, nothing else."""

from __future__ import annotations

import email
import email.policy
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mime_trees import TREES, Tree

from gateway.mime.compose import (
    add_header,
    crlf,
    is_signed_or_encrypted,
    message_id,
    reencode_qp_leaves,
    remove_header,
    set_header,
)
from gateway.mime.header import Fields, header_end
from gateway.mime.part import scan

MESSAGE = b"A: 1\r\nBcc: x@y,\r\n z@y\r\nB: 2\r\nbcc: w@y\r\n\r\nBcc: body\r\n"


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"a\nb\n", b"a\r\nb\r\n"),
        (b"a\rb\r", b"a\r\nb\r\n"),
        (b"a\r\nb\nc\rd", b"a\r\nb\r\nc\r\nd"),
        (b"a\r\r\nb", b"a\r\nb"),
        (b"a\r\rb", b"a\r\n\r\nb"),
        (b"a\n\n.\n", b"a\r\n\r\n.\r\n"),
        (b"", b""),
    ],
)
def test_line_ends_become_crlf(raw: bytes, normal: bytes) -> None:
    assert crlf(raw) == normal


@given(st.text("ab\r\n", max_size=30).map(str.encode))
def test_normalised_octets_have_no_bare_line_end_and_stay_so(raw: bytes) -> None:
    normal = crlf(raw)
    assert normal.count(b"\r") == normal.count(b"\n") == normal.count(b"\r\n")
    assert crlf(normal) is normal
    assert normal.replace(b"\r\n", b"") == raw.replace(b"\r", b"").replace(b"\n", b"")


def test_a_field_is_removed_with_its_folding_and_all_its_twins() -> None:
    assert remove_header(MESSAGE, b"BCC") == b"A: 1\r\nB: 2\r\n\r\nBcc: body\r\n"
    assert remove_header(MESSAGE, b"X-None") is not None
    assert remove_header(MESSAGE, b"X-None") == MESSAGE


def test_a_field_is_added_in_front() -> None:
    assert add_header(MESSAGE, b"X", b"v") == b"X: v\r\n" + MESSAGE
    assert add_header(b"\r\nbody", b"X", b"v") == b"X: v\r\n\r\nbody"


def test_a_field_is_set_where_the_first_one_was() -> None:
    assert set_header(MESSAGE, b"Bcc", b"n@y") == b"A: 1\r\nBcc: n@y\r\nB: 2\r\n\r\nBcc: body\r\n"
    assert set_header(MESSAGE, b"X", b"v") == b"X: v\r\n" + MESSAGE


@given(st.binary(max_size=200))
def test_no_value_can_begin_a_field_of_its_own(value: bytes) -> None:
    changed = add_header(MESSAGE, b"X-New", value + b"\r\nEvil: 1")
    header = changed[: header_end(changed)]
    assert Fields(header).first(b"evil") is None
    assert changed.endswith(MESSAGE)
    assert all(len(line) < 998 or b" " not in line[:900] for line in header.split(b"\r\n"))


def test_message_ids() -> None:
    assert message_id(b"Message-ID: <a@b>\r\n\r\n") == b"<a@b>"
    assert message_id(b"message-id:\r\n <a@b> (x)\r\n\r\n") == b"<a@b>"
    assert message_id(b"Message-ID: a@b\r\n\r\n") == b"a@b"
    assert message_id(b"Message-ID:\r\n\r\nMessage-ID: <x@y>") is None
    assert message_id(b"Subject: x\r\n\r\nMessage-ID: <x@y>") is None


def part(kind: bytes, encoding: bytes, body: bytes) -> bytes:
    return b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\nX-Kept: 1\r\n\r\n%b" % (
        kind,
        encoding,
        body,
    )


def multi(kind: bytes, boundary: bytes, *parts: bytes) -> bytes:
    pieces = b"".join(b"--%b\r\n%b\r\n" % (boundary, piece) for piece in parts)
    return b"Content-Type: multipart/%b; boundary=%b\r\n\r\n%b--%b--\r\n" % (kind, boundary, pieces, boundary)


HTML = part(b"text/html; charset=utf-8", b"Quoted-Printable", b'<a href=3D"x">=C3=A9</a> soft=\r\n line\r\n')


def test_a_quoted_printable_text_becomes_base64_of_the_same_text() -> None:
    changed = reencode_qp_leaves(HTML)
    old, new = (email.message_from_bytes(raw, policy=email.policy.compat32) for raw in (HTML, changed))
    assert new["Content-Transfer-Encoding"] == "base64"
    assert new["Content-Type"] == old["Content-Type"] and new["X-Kept"] == "1"
    assert new.get_payload(decode=True) == old.get_payload(decode=True)
    assert changed.endswith(b"\r\n")


def test_base64_lines_have_76_characters_at_most() -> None:
    changed = reencode_qp_leaves(part(b"text/plain", b"quoted-printable", b"word =3D " * 500))
    lines = changed[header_end(changed) :].split(b"\r\n")
    assert {len(line) for line in lines[:-2]} == {76}
    assert len(lines[-2]) <= 76 and lines[-1] == b""


def test_only_quoted_printable_text_leaves_change() -> None:
    image = part(b"image/png", b"quoted-printable", b"=89PNG")
    plain = part(b"text/plain", b"8bit", b"=3D\xe9")
    nested = part(b"message/rfc822", b"7bit", b"Subject: i\r\n" + HTML)
    message = multi(b"mixed", b"o", plain, multi(b"alternative", b"i", HTML, plain), image, nested)
    changed = reencode_qp_leaves(message)
    assert changed != message
    old = [
        (p.get_content_type(), p.get_payload(decode=True)) for p in email.message_from_bytes(message).walk()
    ]
    new = [
        (p.get_content_type(), p.get_payload(decode=True)) for p in email.message_from_bytes(changed).walk()
    ]
    assert new == old
    assert image in changed and nested in changed and changed.count(plain) == 2
    encoded = reencode_qp_leaves(HTML)[:-2]
    assert changed == message.replace(b"--i\r\n" + HTML, b"--i\r\n" + encoded)


@pytest.mark.parametrize("kind", [b"signed", b"encrypted"])
def test_what_is_signed_or_encrypted_stays_octet_for_octet(kind: bytes) -> None:
    message = multi(kind, b"s", HTML, multi(b"mixed", b"i", HTML))
    assert reencode_qp_leaves(message) is message
    beside = multi(b"mixed", b"o", message, HTML)
    assert message in reencode_qp_leaves(beside) and reencode_qp_leaves(beside) != beside


@given(TREES)
def test_a_message_without_quoted_printable_stays_as_it_is(tree: Tree) -> None:
    assert reencode_qp_leaves(tree.raw) is tree.raw


@given(st.text(max_size=200))
def test_reencoding_keeps_any_text(text: str) -> None:
    octets = crlf(text.encode("utf-8", "replace"))
    body = crlf(quopri.encodestring(octets.replace(b"\r\n", b"\n")))
    message = multi(b"mixed", b"qqqq", part(b"text/plain; charset=utf-8", b"quoted-printable", body), HTML)
    old = email.message_from_bytes(message).get_payload()[0].get_payload(decode=True)
    changed = reencode_qp_leaves(message)
    new = email.message_from_bytes(changed).get_payload()[0].get_payload(decode=True)
    assert new == old


def test_signed_and_encrypted_are_recognised() -> None:
    def sealed(raw: bytes) -> bool:
        return is_signed_or_encrypted(scan(raw))

    assert sealed(multi(b"signed", b"s", HTML))
    assert sealed(multi(b"mixed", b"o", HTML, multi(b"encrypted", b"s", HTML)))
    assert sealed(part(b"application/pkcs7-mime; smime-type=enveloped-data", b"base64", b"AAAA"))
    assert not sealed(multi(b"mixed", b"o", HTML))
    assert not sealed(part(b"message/rfc822", b"7bit", multi(b"signed", b"s", HTML)))
