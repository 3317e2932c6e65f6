"""ENVELOPE and BODYSTRUCTURE as RFC 9051 section 7.5.2 has them: exact, and legal whatever the message."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mime_trees import SHRAPNEL, TREES, Tree

from gateway.emulator.corpus import Sample, messages
from gateway.mime.header import decoded
from gateway.mime.part import scan
from gateway.wire.structure import bodystructure, envelope

Value = None | bytes | int | list["Value"]

_LITERAL = re.compile(rb"\{(\d+)\}\r\n")
_QUOTED = re.compile(rb'"((?:[\x01-\x09\x0b\x0c\x0e-!#-\[\]-\x7f]|\\["\\])*)"')
_NUMBER = re.compile(rb"\d+")


def parse(data: bytes) -> Value:
    """A strict reader of the grammar's nested lists; ValueError for whatever a client could trip over."""
    value, at = _value(data, 0)
    if at != len(data):
        raise ValueError(f"left over: {data[at:][:40]!r}")
    return value


def _value(data: bytes, at: int) -> tuple[Value, int]:
    if data.startswith(b"(", at):
        return _list(data, at + 1)
    if data.startswith(b"NIL", at):
        return None, at + 3
    if match := _QUOTED.match(data, at):
        return re.sub(rb"\\(.)", rb"\1", match[1]), match.end()
    if match := _LITERAL.match(data, at):
        text = data[match.end() : match.end() + int(match[1])]
        if len(text) < int(match[1]) or b"\x00" in text:
            raise ValueError("bad literal")
        return text, match.end() + len(text)
    if match := _NUMBER.match(data, at):
        return int(match[0]), match.end()
    raise ValueError(f"no value: {data[at:][:40]!r}")


def _list(data: bytes, at: int) -> tuple[Value, int]:
    """Values parted by one space, but lists may follow lists without (body parts, addresses)."""
    values: list[Value] = []
    while not data.startswith(b")", at):
        if values and data.startswith(b" ", at):
            at += 1
        elif values and not (isinstance(values[-1], list) and data.startswith(b"(", at)):
            raise ValueError(f"no space: {data[at:][:40]!r}")
        value, at = _value(data, at)
        values.append(value)
    return values, at + 1


# -- what a legal list looks like --


def _is_string(value: Value) -> bool:
    return isinstance(value, bytes)


def _is_nstring(value: Value) -> bool:
    return value is None or isinstance(value, bytes)


def _check_params(value: Value) -> None:
    if value is not None:
        assert isinstance(value, list) and value and len(value) % 2 == 0
        assert all(_is_string(item) for item in value)


def check_envelope(value: Value) -> None:
    assert isinstance(value, list) and len(value) == 10
    assert all(_is_nstring(value[n]) for n in (0, 1, 8, 9))
    for field in value[2:8]:
        if field is None:
            continue
        assert isinstance(field, list) and field
        in_group = False
        for address in field:
            assert isinstance(address, list) and len(address) == 4 and all(map(_is_nstring, address))
            if address[3] is None:  # a group begins or ends
                assert in_group == (address[2] is None)
                in_group = not in_group
            else:
                assert address[2] is not None
        assert not in_group


def _check_extension(values: list[Value]) -> None:
    disposition, language, location = values
    if disposition is not None:
        assert isinstance(disposition, list) and len(disposition) == 2 and _is_string(disposition[0])
        _check_params(disposition[1])
    assert _is_nstring(language) or (
        isinstance(language, list) and language and all(map(_is_string, language))
    )
    assert _is_nstring(location)


def check_body(value: Value, *, extensible: bool) -> None:
    assert isinstance(value, list) and value
    if isinstance(value[0], list):
        parts = [item for item in value if isinstance(item, list)]
        count = next(n for n, item in enumerate(value) if not isinstance(item, list))
        for part in parts[:count]:
            check_body(part, extensible=extensible)
        assert _is_string(value[count])
        assert len(value) == count + (5 if extensible else 1)
        if extensible:
            _check_params(value[count + 1])
            _check_extension(value[count + 2 :])
        return
    kind, subtype, params, identifier, description, encoding, size, *rest = value
    assert _is_string(kind) and _is_string(subtype) and _is_string(encoding)
    assert _is_nstring(identifier) and _is_nstring(description) and isinstance(size, int)
    _check_params(params)
    if (kind, subtype) == (b"message", b"rfc822"):
        check_envelope(rest[0])
        check_body(rest[1], extensible=extensible)
        rest = rest[2:]
    if kind == b"text" or (kind, subtype) == (b"message", b"rfc822"):
        assert isinstance(rest[0], int)
        rest = rest[1:]
    assert len(rest) == (4 if extensible else 0)
    if extensible:
        assert _is_nstring(rest[0])
        _check_extension(rest[1:])


def structure(message: bytes, *, extensible: bool = True) -> bytes:
    return bodystructure(message, scan(message), extensible=extensible)


# -- ENVELOPE --


def test_the_envelope_of_the_rfc() -> None:
    header = (
        b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n"
        b"Subject: IMAP4rev2 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n"
        b"Cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
        b"Message-Id: <B27397-0100000@cac.washington.ed>\r\nMIME-Version: 1.0\r\n\r\n"
    )
    gray = b'(("Terry Gray" NIL "gray" "cac.washington.edu"))'
    assert envelope(header) == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" '
        + b" ".join([gray] * 3)
        + b' ((NIL NIL "imap" "cac.washington.edu")) ((NIL NIL "minutes" "CNRI.Reston.VA.US")'
        b'("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL "<B27397-0100000@cac.washington.ed>")'
    )


def test_sender_and_reply_to_default_to_from_also_when_they_are_empty() -> None:
    value = parse(envelope(b"From: a@b\r\nReply-To:\r\n\r\n"))
    assert isinstance(value, list)
    assert value[2] == value[3] == value[4] == [[None, None, b"a", b"b"]]
    value = parse(envelope(b"From: a@b\r\nSender: c@d\r\nReply-To: e@f\r\n\r\n"))
    assert isinstance(value, list)
    assert value[2:5] == [[[None, None, b"a", b"b"]], [[None, None, b"c", b"d"]], [[None, None, b"e", b"f"]]]


def test_an_absent_field_is_nil_and_an_empty_subject_is_an_empty_string() -> None:
    assert envelope(b"Subject:\r\n\r\n") == b'(NIL "" NIL NIL NIL NIL NIL NIL NIL NIL)'
    assert envelope(b"\r\n") == b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"


def test_quotes_and_backslashes_in_an_envelope_are_escaped() -> None:
    data = envelope(b'Subject: say "hi" \\o/\r\nFrom: "A \\"B\\" C" <a@b>\r\n\r\n')
    assert b'"say \\"hi\\" \\\\o/"' in data
    assert b'"A \\"B\\" C"' in data
    check_envelope(parse(data))


def test_groups_in_an_envelope() -> None:
    value = parse(envelope(b"To: undisclosed-recipients:;, a@b\r\nCc: G: c@d;\r\n\r\n"))
    assert isinstance(value, list)
    assert value[5] == [
        [None, None, b"undisclosed-recipients", None],
        [None, None, None, None],
        [None, None, b"a", b"b"],
    ]
    assert value[6] == [[None, None, b"G", None], [None, None, b"c", b"d"], [None, None, None, None]]


def test_encoded_words_go_out_as_they_are() -> None:
    assert b'"=?utf-8?Q?caf=C3=A9?="' in envelope(b"Subject: =?utf-8?Q?caf=C3=A9?=\r\n\r\n")


@pytest.mark.parametrize("subject", ["café", "日本語" * 40, 'q"\\é'])
def test_undeclared_8_bit_becomes_encoded_words(subject: str) -> None:
    value = parse(envelope(b"Subject: %b\r\nFrom: %b <a@b>\r\n\r\n" % ((subject.encode(),) * 2)))
    assert isinstance(value, list) and isinstance(value[1], bytes)
    assert value[1].isascii()
    assert decoded(value[1]) == subject
    assert all(len(word) <= 75 for word in value[1].split(b" "))


def test_an_address_in_utf_8_is_a_literal() -> None:
    data = envelope("From: <jörg@müller.de>\r\n\r\n".encode())
    assert b"{5}\r\n" + "jörg".encode() in data
    check_envelope(parse(data))


def test_long_strings_are_literals_and_line_ends_never_get_out() -> None:
    data = envelope(b"Subject: " + b"x" * 5000 + b"\r\n\r\n")
    assert b"{5000}\r\n" in data
    data = envelope(b"Subject: a\r\n b\rc\x00d\r\nMessage-ID:\r\n <a@b>\r\n\r\n")
    assert b'"a b c d"' in data and b'"<a@b>"' in data


@given(st.binary(max_size=200), st.sampled_from([b"From", b"To", b"Subject", b"Date", b"Message-ID"]))
def test_any_header_gives_a_legal_envelope(value: bytes, name: bytes) -> None:
    check_envelope(parse(envelope(name + b": " + value + b"\r\n\r\n")))


# -- BODYSTRUCTURE --


def test_a_plain_message() -> None:
    message = b"Subject: x\r\n\r\none\r\ntwo\r\n"
    plain = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 2'
    assert structure(message, extensible=False) == plain + b")"
    assert structure(message) == plain + b" NIL NIL NIL NIL)"


def test_an_attachment_keeps_the_case_of_its_description_and_has_its_encoding() -> None:
    message = (
        b'Content-Type: application/pdf; name="A \\"b\\".pdf"\r\nContent-Transfer-Encoding: base64\r\n'
        b"Content-Description: My Report\r\nContent-ID: <i@x>\r\nContent-Disposition: attachment;\r\n"
        b" filename*0*=utf-8''%C3%A9; filename*1=\" 2.pdf\"\r\nContent-Language: de, en\r\n\r\nQUJD\r\n"
    )
    assert structure(message) == (
        b'("application" "pdf" ("name" "A \\"b\\".pdf") "<i@x>" "My Report" "base64" 6 NIL '
        b'("attachment" ("filename*" "utf-8\'\'%C3%A9%202.pdf")) ("de" "en") NIL)'
    )


def test_no_transfer_encoding_is_7bit_and_never_nil() -> None:
    value = parse(structure(b"Content-Type: image/png\r\nContent-Transfer-Encoding:\r\n\r\nx"))
    assert isinstance(value, list)
    assert value[5] == b"7bit"


def test_a_message_inside_has_its_envelope_its_structure_and_its_lines() -> None:
    inner = b"Subject: in\r\nFrom: a@b\r\n\r\nbody\r\n"
    message = b"Content-Type: message/rfc822\r\n\r\n" + inner
    assert structure(message, extensible=False) == (
        b'("message" "rfc822" NIL NIL NIL "7bit" %d %b %b 4)'
        % (len(inner), envelope(inner), b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 1)')
    )


def test_a_multipart() -> None:
    message = (
        b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n"
        b"Content-Type: text/html\r\n\r\ny\r\nz\r\n--b--"
    )
    plain, html = (
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0',
        b'("text" "html" NIL NIL NIL "7bit" 4 1',
    )
    assert structure(message, extensible=False) == b"(" + plain + b")" + html + b') "alternative")'
    ends = b" NIL NIL NIL NIL)"
    assert structure(message) == (
        b"(" + plain + ends + html + ends + b' "alternative" ("boundary" "b") NIL NIL NIL)'
    )


def test_a_multipart_without_parts_is_legal() -> None:
    check_body(parse(structure(b"Content-Type: multipart/mixed\r\n\r\n")), extensible=True)


@pytest.mark.parametrize("value", [b'text/html; name="\xe9\xff"', b'text/html; name="' + b"n" * 3000 + b'"'])
def test_odd_parameters_are_legal(value: bytes) -> None:
    data = structure(b"Content-Type: %b\r\n\r\n" % value)
    check_body(parse(data), extensible=True)
    assert b"{" in data


@given(TREES | SHRAPNEL)
def test_any_message_has_a_legal_structure(tree: Tree | bytes) -> None:
    message = tree if isinstance(tree, bytes) else tree.raw
    for extensible in (True, False):
        check_body(parse(structure(message, extensible=extensible)), extensible=extensible)


@given(
    st.binary(max_size=120),
    st.sampled_from([b"Type", b"Disposition", b"ID", b"Description", b"Language", b"MD5"]),
)
def test_any_content_field_gives_a_legal_structure(value: bytes, name: bytes) -> None:
    check_body(parse(structure(b"Content-%b: %b\r\n\r\nx" % (name, value))), extensible=True)


@pytest.mark.parametrize("sample", messages(), ids=lambda sample: sample.name)
def test_every_message_of_the_corpus_has_a_legal_envelope_and_structure(sample: Sample) -> None:
    part = scan(sample.data)
    check_envelope(parse(envelope(sample.data[: part.body])))
    for extensible in (True, False):
        check_body(parse(bodystructure(sample.data, part, extensible=extensible)), extensible=extensible)


def test_deep_nesting_is_rendered() -> None:
    check_body(parse(structure(b"Content-Type: message/rfc822\r\n\r\n" * 200)), extensible=True)
