"""The MIME tree: offsets, defaults, malformed messages, bounds."""

from __future__ import annotations

import email
import email.policy
import time
from email.message import Message

import pytest
from hypothesis import given
from mime_trees import SHRAPNEL, TREES, Tree, parts_of

from gateway.core.limits import Limits
from gateway.mime.part import Part, scan

ASCII = ((b"charset", b"us-ascii"),)


def shape(part: Part) -> object:
    kind = b"/".join((part.type, part.subtype)).decode()
    return (kind, [shape(child) for child in part.children]) if part.children else kind


def test_a_message_without_mime_is_one_text_part() -> None:
    part = scan(b"Subject: x\r\n\r\none\r\ntwo\r\n")
    assert part == Part(0, 14, 24, params=ASCII, lines=2)


@pytest.mark.parametrize(
    ("message", "body", "end"),
    [(b"", 0, 0), (b"\r\n", 2, 2), (b"\r\nbody", 2, 6), (b"no header at all", 16, 16), (b"A: b\n\nx", 6, 7)],
)
def test_the_smallest_messages(message: bytes, body: int, end: int) -> None:
    part = scan(message)
    assert (part.start, part.body, part.end, part.children) == (0, body, end, ())


def test_all_that_bodystructure_needs_is_read() -> None:
    part = scan(
        b"Content-Type: TEXT/HTML; Charset=UTF-8\r\n"
        b"content-transfer-encoding: Base64\r\nContent-ID: <a@b>\r\n"
        b"Content-Description: A Nice\r\n Thing\r\nContent-MD5: Q2h=\r\n"
        b'Content-Disposition: Attachment; filename*0="a b"; filename*1=.txt\r\n'
        b"Content-Language: de, en-GB\r\nContent-Location: http://x/\r\n\r\n"
    )
    assert (part.type, part.subtype, part.params) == (b"text", b"html", ((b"charset", b"UTF-8"),))
    assert (part.encoding, part.id, part.md5) == (b"base64", b"<a@b>", b"Q2h=")
    assert part.description == b"A Nice Thing"
    assert (part.disposition, part.disposition_params) == (b"attachment", ((b"filename", b"a b.txt"),))
    assert (part.language, part.location) == ((b"de", b"en-GB"), b"http://x/")


def _assert_same(part: Part, tree: Tree, message: bytes) -> None:
    assert b"/".join((part.type, part.subtype)) == tree.kind
    assert message[part.start : part.end] == tree.raw
    assert message[part.body : part.end] == tree.body
    if part.type == b"text" or part.is_message:
        assert part.lines == tree.body.count(b"\n")
    assert len(part.children) == len(tree.children)
    for child, inner in zip(part.children, tree.children, strict=True):
        _assert_same(child, inner, message)


@given(TREES)
def test_a_well_formed_message_is_read_as_it_was_made(tree: Tree) -> None:
    _assert_same(scan(tree.raw), tree, tree.raw)


def _stdlib_shape(message: Message) -> object:
    inner = message.get_payload()
    if isinstance(inner, list):
        return (message.get_content_type(), [_stdlib_shape(child) for child in inner])
    return message.get_content_type()


@given(TREES)
def test_agrees_with_the_standard_library(tree: Tree) -> None:
    theirs = email.message_from_bytes(tree.raw, policy=email.policy.compat32)
    assert shape(scan(tree.raw)) == _stdlib_shape(theirs)


def _assert_tiles(part: Part) -> None:
    assert part.start <= part.body <= part.end
    at = part.body
    for child in part.children:
        assert at <= child.start <= child.end <= part.end
        at = child.end
        _assert_tiles(child)
    if part.is_message:
        assert [(child.start, child.end) for child in part.children] == [(part.body, part.end)]
    if part.is_multipart:
        assert part.children


@given(SHRAPNEL)
def test_offsets_of_any_octets_tile_the_message(message: bytes) -> None:
    part = scan(message)
    assert (part.start, part.end) == (0, len(message))
    _assert_tiles(part)
    for inner in parts_of(part):
        if inner.type == b"text":
            assert inner.lines == message.count(b"\n", inner.body, inner.end)


def multi(boundary: bytes, *pieces: bytes, kind: bytes = b"mixed") -> bytes:
    return b"Content-Type: multipart/%b; boundary=%b\r\n\r\n" % (kind, boundary) + b"".join(pieces)


def bodies(message: bytes) -> list[bytes]:
    return [message[part.body : part.end] for part in scan(message).children]


def test_the_line_end_before_a_delimiter_belongs_to_it() -> None:
    assert bodies(multi(b"b", b"--b\r\n\r\nx\r\n\r\n--b\r\n\r\ny\r\n--b--")) == [b"x\r\n", b"y"]
    assert bodies(multi(b"b", b"--b\n\nx\n--b--\n")) == [b"x"]


def test_the_last_delimiter_may_be_missing() -> None:
    assert bodies(multi(b"b", b"--b\r\n\r\nx\r\n--b\r\n\r\ny\r\n")) == [b"x", b"y\r\n"]


def test_blanks_behind_a_delimiter_are_passed_over() -> None:
    assert bodies(multi(b"b", b"--b \t\r\n\r\nx\r\n--b-- \r\n")) == [b"x"]


def test_an_outer_delimiter_ends_what_is_open_inside() -> None:
    inner = multi(b"inner", b"--inner\r\n\r\nx\r\n")
    message = multi(b"outer", b"--outer\r\n", inner, b"--outer\r\n\r\ny\r\n--outer--")
    assert shape(scan(message)) == (
        "multipart/mixed",
        [("multipart/mixed", ["text/plain"]), "text/plain"],
    )


def test_a_boundary_that_extends_another_is_not_taken_for_it() -> None:
    inner = multi(b"b1", b"--b1\r\n\r\nx\r\n--b1--\r\n")
    message = multi(b"b", b"--b\r\n", inner, b"--b\r\n\r\ny\r\n--bogus\r\n--b--")
    assert shape(scan(message)) == ("multipart/mixed", [("multipart/mixed", ["text/plain"]), "text/plain"])
    assert bodies(message)[1] == b"y\r\n--bogus"


def test_two_multiparts_with_one_boundary() -> None:
    inner = multi(b"b", b"--b\r\n\r\nx\r\n--b--\r\n")
    message = multi(b"b", b"--b\r\n", inner, b"--b\r\n\r\ny\r\n--b--")
    assert shape(scan(message)) == ("multipart/mixed", [("multipart/mixed", ["text/plain"]), "text/plain"])


@pytest.mark.parametrize(
    "message",
    [
        b"Content-Type: multipart/mixed\r\n\r\nall of it\r\n",
        b"Content-Type: multipart/mixed; boundary=\r\n\r\nall of it\r\n",
        multi(b"never", b"all of it\r\n"),
        multi(b"b", b"all of it\r\n--b--")[:-5],
    ],
)
def test_a_multipart_without_parts_holds_one_text(message: bytes) -> None:
    part = scan(message)
    assert shape(part) == ("multipart/mixed", ["text/plain"])
    assert message[part.children[0].start : part.children[0].end] == b"all of it\r\n"
    assert part.children[0].lines == 1


def test_a_header_ends_at_a_delimiter_at_the_latest() -> None:
    message = multi(b"b", b"--b\r\nContent-Type: text/html\r\n--b\r\n--b\r\n\r\nx\r\n--b--")
    assert [child.subtype for child in scan(message).children] == [b"html", b"plain", b"plain"]
    assert bodies(message) == [b"", b"", b"x"]


def test_parts_of_a_digest_are_messages_by_default() -> None:
    message = multi(
        b"b",
        b"--b\r\n\r\nSubject: x\r\n\r\ny\r\n--b\r\nContent-Type: text/plain\r\n\r\nz\r\n--b--",
        kind=b"digest",
    )
    assert shape(scan(message)) == ("multipart/digest", [("message/rfc822", ["text/plain"]), "text/plain"])


@pytest.mark.parametrize("value", [b"garbage", b"", b"text", b"/", b"image", b"\xff/\xff", b";;;"])
def test_an_unusable_content_type_is_text_plain(value: bytes) -> None:
    part = scan(b"Content-Type: " + value + b"\r\n\r\nx")
    assert (part.type, part.subtype) == (b"text", b"plain")


def test_the_boundary_may_come_in_pieces() -> None:
    message = b'Content-Type: multipart/mixed; boundary*0="a"; boundary*1="b"\r\n\r\n--ab\r\n\r\nx\r\n--ab--'
    assert shape(scan(message)) == ("multipart/mixed", ["text/plain"])
    assert bodies(message) == [b"x"]


def nested(depth: int) -> bytes:
    head = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth)
    )
    return head + b"\r\nx"


def _depth(part: Part) -> int:
    return 1 + max((_depth(child) for child in part.children), default=0)


@pytest.mark.parametrize("message", [nested(1000), b"Content-Type: message/rfc822\r\n\r\n" * 1000])
def test_depth_is_bounded(message: bytes) -> None:
    part = scan(message)
    assert _depth(part) == 100
    _assert_tiles(part)
    assert parts_of(part)[-1].type == b"application"


def test_the_number_of_parts_is_bounded() -> None:
    message = multi(b"b", b"--b\r\n\r\nx\r\n" * 50, b"--b--")
    assert len(scan(message, Limits(mime_parts=10)).children) == 9
    inner = multi(b"c", b"--c\r\n\r\nx\r\n--c--\r\n")
    message = multi(b"b", (b"--b\r\n" + inner) * 50, b"--b--")
    part = scan(message, Limits(mime_parts=10))
    assert len(parts_of(part)) <= 11
    _assert_tiles(part)


def test_hostile_messages_take_linear_time() -> None:
    million = 1_000_000
    deep = nested(99)
    hostile = (
        multi(b"b", b"--b\r\n" * (million // 5)),
        multi(b"b", b"--b\nfoo\n" * (million // 8)),  # no empty line anywhere behind
        multi(b"b", b"--x\n" * (million // 4)),
        multi(b"b", b"\n--" * (million // 3)),
        deep + b"\r\ntext" * (million // 6),
        deep + b"".join(b"\n--b%d" % (n % 99) for n in range(million // 6)),
        b"Content-Type: message/rfc822\n\n" * 99 + b"text\n" * (million // 5),
        b"Content-Type: multipart/mixed; boundary=" + b"b" * million + b"\r\n\r\n" + b"--" + b"b" * million,
        b"X: " + b"y" * million + b"\r\n" + multi(b"b"),
        b"A" * million,
        b"\n" * million,
    )
    began = time.perf_counter()
    for message in hostile:
        scan(message)
    assert time.perf_counter() - began < 20
