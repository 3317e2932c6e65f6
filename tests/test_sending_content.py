"""What a recipient reads equals what was submitted, whatever its size; and the message is never held."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import re
import tracemalloc
from dataclasses import replace
from email import message_from_bytes, policy
from typing import Any

import pytest
from emulator_kit import ALICE, BOB, Kit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mime_trees import SHRAPNEL, TREES, Tree
from sending_support import Kept, inbox, leaves, made, mime_of, octets, prepared, send, tiny

from gateway.core.errors import SubmissionRefused
from gateway.core.limits import DEFAULT_LIMITS, KIB, MIB
from gateway.emulator import corpus
from gateway.mailbox.sending.content import Prepared, Stream, Terms, content
from gateway.mailbox.values import Envelope
from gateway.mime.compose import remove_header
from gateway.mime.header import Fields, decoded, header_end
from gateway.mime.part import scan
from gateway.mime.recipe import Recipe

HEAD = (
    f"From: Alice <{ALICE}>\r\nTo: Bob <{BOB}>\r\nSubject: =?utf-8?q?gr=C3=BCn?=\r\n"
    "Date: Mon, 02 Nov 2026 10:00:00 +0100\r\nMessage-ID: <m@example.com>\r\nIn-Reply-To: <p@example.com>\r\n"
    "References: <o@example.com> <p@example.com>\r\nX-Ticket: 4711 =?utf-8?q?=C3=BC?=\r\nX-Mailer: t\r\n"
    "List-Unsubscribe: <mailto:x@example.com>\r\nAutocrypt: addr=alice\r\nMIME-Version: 1.0\r\n"
)
KEPT = (
    "from",
    "to",
    "subject",
    "message-id",
    "in-reply-to",
    "references",
    "x-ticket",
    "list-unsubscribe",
    "autocrypt",
)


def fields(raw: bytes) -> Fields:
    return Fields(raw[: header_end(raw)])


def part(kind: str, data: bytes, *, encoding: str = "base64", **more: str) -> bytes:
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
    body = base64.encodebytes(data).replace(b"\n", b"\r\n") if encoding == "base64" else data
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n{head}\r\n".encode() + body


def multipart(*parts: bytes, kind: str = "mixed", boundary: str = "b1", head: str = "") -> bytes:
    mark = boundary.encode()
    inside = b"".join(b"--%b\r\n%b\r\n" % (mark, each) for each in parts)
    return (
        f'{head}Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode()
        + inside
        + b"--%b--\r\n" % mark
    )


def file(name: str, data: bytes, kind: str = "application/pdf", **more: str) -> bytes:
    return part(kind, data, Content_Disposition=f'attachment; filename="{name}"', **more)


TEXT = part("text/plain; charset=utf-8", "Grüße\r\n".encode(), encoding="8bit")
RNG = random.Random(5)


def received(raw: bytes, *, limits: object = DEFAULT_LIMITS, kit: Kit | None = None) -> bytes:
    """What is in Bob's inbox after Alice has sent it."""
    kit = kit or Kit()
    send(kit, prepared(raw, BOB, sender=ALICE, limits=limits))  # type: ignore[arg-type]
    return inbox(kit, BOB)[0]


# -- small messages: one MIME POST --


@pytest.fixture(scope="module")
def kit() -> Kit:
    return Kit()


ADDRESSED = (b"to", b"cc", b"bcc", b"from", b"sender", b"resent-to", b"resent-cc", b"resent-bcc")


def written(raw: bytes) -> bytes:
    """One of the corpus as a client submits it: to Bob, with nobody else in its header."""
    for name in ADDRESSED:
        raw = remove_header(raw, name)
    return f"From: {ALICE}\r\nTo: {BOB}\r\n".encode() + raw


def lines(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").rstrip(b"\n")


SAMPLES = [
    sample for sample in corpus.deliverable() if "huge" not in sample.tags and len(sample.data) < 2 * MIB
]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_corpus_is_read_as_it_was_written(kit: Kit, sample: corpus.Sample) -> None:
    raw = written(sample.data)
    out = mime_of(prepared(raw, BOB, sender=ALICE))
    assert [each[:4] for each in leaves(out)] == [each[:4] for each in leaves(raw)]
    assert [lines(each[4]) for each in leaves(out)] == [lines(each[4]) for each in leaves(raw)]
    got = received(raw, kit=kit)
    assert [lines(each[4]) for each in leaves(got)] == [lines(each[4]) for each in leaves(raw)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES)
def test_any_message_is_read_as_it_was_written(tree: Tree) -> None:
    raw = HEAD.encode() + tree.raw
    out = made(raw, BOB, sender=ALICE)
    assert [each[:4] for each in leaves(out)] == [each[:4] for each in leaves(raw)]
    assert [lines(each[4]) for each in leaves(out)] == [lines(each[4]) for each in leaves(raw)]
    again = made(out, BOB, sender=ALICE)
    assert again == out


def test_header_fields_are_kept_and_the_lost_are_told() -> None:
    raw = (
        HEAD + "Auto-Submitted: auto-generated\r\nReceived: from x\r\nX-MS-Exchange-Organization-SCL: 1\r\n"
    ).encode()
    found = prepared(raw + b"\r\nx\r\n", BOB, sender=ALICE)
    assert set(found.lost) == {"auto-submitted", "received", "x-ms-exchange-organization-scl"}
    assert dict(found.fields) == {"x-ticket": "4711 ü", "autocrypt": "addr=alice"}
    got = fields(received(raw + b"\r\nx\r\n"))
    for name in KEPT:
        assert decoded(got.all(name.encode())[0]) == decoded(fields(raw).all(name.encode())[0]), name
    assert not got.first(b"auto-submitted")


# -- devices --


def test_what_devices_leave_out_is_supplied() -> None:
    out = fields(made(b"Subject: scan\n\nbody\n", "b@x.com"))
    assert out.first(b"from") == b"<a@x.com>" and out.first(b"message-id") == b"<made@x.com>"
    assert (out.first(b"date") or b"").endswith(b"+0000") and out.first(b"to") == b"<b@x.com>"


def test_empty_fields_count_as_missing() -> None:
    out = fields(made(b"From:\r\nDate: \r\nMessage-ID:\r\n\r\nx", "b@x.com"))
    assert [len(out.all(name)) for name in (b"from", b"date", b"message-id")] == [1, 1, 1]
    assert out.first(b"from") == b"<a@x.com>"


def test_a_null_sender_is_the_accounts() -> None:
    terms = Terms(0, "<m@x>", "refuse", DEFAULT_LIMITS, "alice@x.com")
    found = content(Kept(b"\r\n"), 2, Envelope("", ("b@x.com",)), terms)
    assert fields(mime_of(found)).first(b"from") == b"<alice@x.com>"


@pytest.mark.parametrize(
    "raw",
    [
        b"toner is low\n",
        b"toner is low",
        b"\ntoner is low\n",
        b"From device Mon Jan  1 10:00:00 2026\nSubject: s\n\ntoner is low\n",
        b"Subject: s\n\ntoner is low\n",
        b"Subject: s\nnonsense in the header\n\ntoner is low\n",
    ],
)
def test_headers_that_are_none(raw: bytes) -> None:
    out = made(raw, "b@x.com")
    assert out[header_end(out) :].rstrip() == b"toner is low" and b"\n" not in out.replace(b"\r\n", b"")
    assert fields(out).first(b"from") == b"<a@x.com>" and b"From device" not in out


def test_a_message_of_nothing() -> None:
    assert fields(made(b"", "b@x.com")).first(b"to") == b"<b@x.com>"


def test_a_header_without_an_end() -> None:
    out = made(b"Subject: s", "b@x.com")
    assert fields(out).first(b"subject") == b"s" and out.endswith(b"\r\n\r\n")


def test_octets_of_devices_arrive_as_text() -> None:
    raw = f"To: {BOB}\nSubject: Störung\n\n{'x' * 1500}é\nende\n".encode()
    got = received(raw)
    body = scan(got)
    assert body.encoding == b"base64" and decoded(fields(got).first(b"subject") or b"") == "Störung"
    assert leaves(got)[0][4].decode() == f"{'x' * 1500}é\r\nende\r\n"


def test_signed_mail_is_not_touched() -> None:
    raw = multipart(
        part("text/html", b"a=3Db", encoding="quoted-printable"),
        part("application/pgp-signature", b"sig", encoding="7bit"),
        kind="signed; protocol=x", head=HEAD,
    )  # fmt: skip
    assert mime_of(prepared(raw, BOB, sender=ALICE)) == raw
    got = received(raw)
    assert raw[header_end(raw) :] in got


# -- large messages: a draft and files --


def large(*parts: bytes, head: str = HEAD) -> bytes:
    return multipart(TEXT, *parts, head=head)


def files(raw: bytes, limits: object) -> list[tuple[str, int]]:
    found = prepared(raw, BOB, sender=ALICE, limits=limits)  # type: ignore[arg-type]
    return [(each.about.name, len(each)) for each in found.files]


def test_the_largest_parts_go_until_the_rest_fits() -> None:
    raw = large(file("s.bin", bytes(500)), file("l.bin", bytes(9000)), file("m.bin", bytes(2000)))
    assert files(raw, tiny(30_000)) == []
    assert files(raw, tiny(8_000)) == [("l.bin", 9000)]
    assert files(raw, tiny(4_000)) == [("l.bin", 9000), ("m.bin", 2000)]


def _content(data: bytes, name: str) -> list[bytes]:
    return [each[4] for each in leaves(data) if each[1] == name]


def test_a_large_message_is_read_as_it_was_written() -> None:
    big, image, inner = (
        RNG.randbytes(9000),
        RNG.randbytes(5000),
        HEAD.encode() + b"\r\n" + b"inner line\r\n" * 600,
    )
    related = multipart(
        part("text/html; charset=utf-8", b"<img src=\"cid:i@x\">"),
        part("image/png; name=i.png", image, Content_ID="<i@x>", Content_Disposition="inline"),
        kind="related", boundary="r1",
    )  # fmt: skip
    raw = multipart(
        related, file("small.txt", b"s" * 100, "text/plain"), file("big.pdf", big),
        part("message/rfc822", inner, encoding="7bit"), head=HEAD,
    )  # fmt: skip
    got = received(raw, limits=tiny(4_000))
    read = message_from_bytes(got, policy=policy.default)
    assert _content(got, "big.pdf") == [big] and _content(got, "small.txt") == [b"s" * 100]
    assert [(e[3], e[4]) for e in leaves(got) if e[2] == "i@x"] == [("", image)]
    assert b'<img src="cid:i@x">' in next(e[4] for e in leaves(got) if e[0] == "text/html")
    (nested,) = (e for e in leaves(got) if e[0] == "message/rfc822")
    assert inner in (nested[4], base64.b64decode(nested[4] or b""))
    assert read["date"].datetime == message_from_bytes(raw, policy=policy.default)["date"].datetime
    for name in KEPT:
        if name not in ("from", "to"):
            assert decoded(fields(got).all(name.encode())[0]) == decoded(fields(raw).all(name.encode())[0]), (
                name
            )


def test_a_scan_that_is_nothing_but_a_file() -> None:
    data = RNG.randbytes(9000)
    raw = HEAD.encode() + part("application/pdf; name=scan.pdf", data)
    got = received(raw, limits=tiny(4_000))
    assert _content(got, "scan.pdf") == [data]
    assert all(not e[4].strip() for e in leaves(got) if e[0].startswith("text/"))


def test_bare_line_feeds_in_a_large_message() -> None:
    data = b"line\n" * 2000
    raw = large(part("text/csv", data, encoding="7bit", Content_Disposition="attachment; filename=a.csv"))
    got = received(raw.replace(b"\r\n", b"\n"), limits=tiny(4_000))
    assert _content(got, "a.csv") == [data.replace(b"\n", b"\r\n")]


REFUSED = [
    (multipart(TEXT, file("a", bytes(9000)), kind="signed", head=HEAD), "signed"),
    (
        multipart(
            TEXT, multipart(TEXT, TEXT, kind="signed", boundary="s"), file("a", bytes(9000)), head=HEAD
        ),
        "signed",
    ),
    (HEAD.encode() + part("application/pkcs7-mime", bytes(9000)), "S/MIME"),
    (multipart(TEXT, file("a", bytes(9000)), kind="report", head=HEAD), "report"),
    (HEAD.encode() + part("text/plain", b"x" * 9000), "text"),
    (multipart(TEXT, part("text/html", b"x" * 9000), kind="alternative", head=HEAD), "text"),
    (multipart(*[part("image/png", b"x")] * 1001, head=HEAD), "parts"),
    ((HEAD + "X-Long: " + "x " * 150_000 + "\r\n\r\n").encode(), "header"),
]


@pytest.mark.parametrize(("raw", "why"), REFUSED)
def test_what_would_not_survive_is_refused_and_says_why(raw: bytes, why: str) -> None:
    with pytest.raises(SubmissionRefused) as caught:
        prepared(raw, BOB, sender=ALICE, limits=tiny(4_000))
    assert (caught.value.status, caught.value.enhanced) == (552, "5.3.4") and why in str(caught.value)


def test_what_is_larger_than_the_mailbox_sends_once_it_is_encoded() -> None:
    limits = replace(DEFAULT_LIMITS, message=200 * KIB)
    raw = HEAD.encode() + part("text/plain; charset=utf-8", "é".encode() * 120 * KIB, encoding="8bit")
    with pytest.raises(SubmissionRefused) as caught:
        prepared(raw, BOB, sender=ALICE, limits=limits)
    assert "204800" in str(caught.value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.binary(max_size=3000), max_size=5),
    st.integers(2500, 9000),
    st.sampled_from([64, 1024, 64 * KIB]),
)
def test_every_file_arrives_whole_and_once(contents: list[bytes], request_body: int, piece: int) -> None:
    raw = large(*(file(f"f{number}.bin", data) for number, data in enumerate(contents)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.mime.decoding.PIECE", piece)
        patch.setattr("gateway.mailbox.sending.content._GATHERED", piece)
        got = received(raw, limits=tiny(request_body))
    assert sorted((e[1], e[4]) for e in leaves(got) if e[1]) == [
        (f"f{number}.bin", data) for number, data in enumerate(contents)
    ]
    assert any("Grüße" in e[4].decode() for e in leaves(got) if e[0] == "text/plain")


def test_many_files_and_a_text_that_grows_are_not_measured_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = part("text/plain; charset=utf-8", "é".encode() * 2000, encoding="8bit")
    raw = multipart(text, *(file(f"f{n}", bytes(40)) for n in range(300)), head=HEAD)
    measured = []
    original = Recipe.measure
    monkeypatch.setattr(Recipe, "measure", lambda self, source: measured.append(1) or original(self, source))
    found = prepared(raw, BOB, sender=ALICE, limits=tiny(60_000))
    assert len(measured) <= 4 and 0 < len(found.files) < 300
    assert len(mime_of(found)) > 60_000 * 3 // 4 * 9 // 10
    with pytest.raises(SubmissionRefused):
        prepared(raw, BOB, sender=ALICE, limits=tiny(6_000))
    assert len(measured) <= 8


def test_ranges_of_a_file_go_on_and_begin_again() -> None:
    data = RNG.randbytes(9000)
    found = prepared(large(file("f", data)), BOB, sender=ALICE, limits=tiny(4_000)).files[0]
    assert asyncio.run(octets(found, 0, 4000)) == data[:4000]
    assert asyncio.run(octets(found, 4000, 8000)) == data[4000:8000]
    assert asyncio.run(octets(found, 4000, 8000)) == data[4000:8000]  # the answer was lost
    assert asyncio.run(octets(found, 8000, 9000)) == data[8000:]
    assert asyncio.run(octets(found)) == data


def taken(raw: bytes, *to: str, **rest: Any) -> Prepared | SubmissionRefused:
    try:
        return prepared(raw, *to, **rest)
    except SubmissionRefused as error:
        return error


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES, st.integers(1200, 4000))
def test_the_files_of_any_large_message_are_in_what_arrives(tree: Tree, request_body: int) -> None:
    raw = HEAD.replace("MIME-Version", "X-Pad: " + "p" * 60 + "\r\nMIME-Version").encode() + tree.raw
    limits = tiny(request_body)
    found = taken(raw, BOB, sender=ALICE, limits=limits)
    if isinstance(found, SubmissionRefused):
        assert (found.status, found.enhanced) == (552, "5.3.4")
        return
    assert len(mime_of(found)) <= request_body * 3 // 4
    if found.files:
        got = [e[4] for e in leaves(received(raw, limits=limits))]
        got += [base64.b64decode(e) for e in got if re.fullmatch(rb"[A-Za-z0-9+/=\r\n]*", e)]
        for each in found.files:
            assert lines(asyncio.run(octets(each))) in [lines(e) for e in got]


@settings(max_examples=150, deadline=None)
@given(
    SHRAPNEL, st.sets(st.sampled_from(["a@b", "b@c", "é@x.com"]), min_size=1), st.booleans(), st.booleans()
)
def test_whatever_comes_is_taken_or_refused(raw: bytes, to: set[str], small: bool, copy: bool) -> None:
    limits = tiny(700) if small else DEFAULT_LIMITS
    found = taken(raw, *to, limits=limits, mismatch="bcc-copy" if copy else "refuse")
    if isinstance(found, SubmissionRefused):
        assert 550 <= found.status <= 554
        return
    out = mime_of(found)
    assert b"\n" not in out.replace(b"\r\n", b"") and b"\r" not in out.replace(b"\r\n", b"")
    head = out[: header_end(out)]
    assert all(len(line) <= 998 for line in head.split(b"\r\n"))
    assert [len(Fields(head).all(name)) for name in (b"from", b"date", b"message-id")] == [1, 1, 1]
    assert prepared(out, *to, limits=DEFAULT_LIMITS, mismatch="bcc-copy").message_id == found.message_id


@pytest.mark.parametrize("stray", ["\r", "\r\r", "\0", "\r\n\r"])
def test_a_carriage_return_alone_neither_ends_the_header_nor_begins_a_field(stray: str) -> None:
    raw = f"To: b@x.com\r\nSubject: a{stray}Bcc: eve@x.com\r\nCc: c@x.com\r\n\r\nbody\r\n".encode()
    out = made(raw, "b@x.com", "c@x.com")
    assert out.endswith(b"\r\n\r\nbody\r\n") and fields(out).all(b"bcc") == []
    assert fields(out).all(b"cc") == [b"c@x.com"]


@pytest.mark.parametrize("name", ["From", "Subject", "Date", "Message-ID", "Content-Type", "Reply-To"])
def test_a_second_field_where_there_may_be_one_goes(name: str) -> None:
    raw = f"{name}: text/plain\r\nTo: b@x.com\r\n{name}: text/html\r\n\r\n".encode()
    assert fields(made(raw, "b@x.com")).all(name.lower().encode()) == [b"text/plain"]


# -- memory --


class Endless:
    """A large message that is nowhere."""

    def __init__(self, octets: int) -> None:
        head = HEAD + 'Content-Type: multipart/mixed; boundary="b1"\r\n\r\n'
        self._head = (
            head.encode() + b"--b1\r\n" + TEXT + b"\r\n--b1\r\n" + file("big.bin", b"").rstrip() + b"\r\n\r\n"
        )
        self._line = b"QUJD" * 19 + b"\r\n"
        self._block = self._line * 4096
        self._lines = octets // len(self._line)
        self._tail = b"--b1--\r\n"
        self.size = len(self._head) + self._lines * len(self._line) + len(self._tail)

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        stop = self.size if end is None else min(end, self.size)
        body, tail = len(self._head), self.size - len(self._tail)
        middle = b""
        if (first := max(start, body)) < (last := min(stop, tail)):
            offset = (first - body) % len(self._line)
            middle = self._block[offset : offset + last - first]
            assert len(middle) == last - first, "read in one piece"
        return self._head[start:stop] + middle + self._tail[max(0, start - tail) : max(0, stop - tail)]


LARGE = int(os.environ.get("GATEWAY_LARGE_MIB", "16"))  # 100 to be thorough


def test_a_large_message_takes_less_than_a_megabyte() -> None:
    source = Endless(LARGE * MIB)
    limits = replace(DEFAULT_LIMITS, message=150 * MIB)

    async def through() -> int:
        found = await asyncio.to_thread(
            content, source, source.size, Envelope(ALICE, (BOB,)), Terms(0, "<m@x>", "refuse", limits)
        )
        sizes = [len(piece) async for piece in found.files[0].pieces()]
        assert max(sizes) <= 128 * KIB and sum(sizes) == len(found.files[0])
        assert not isinstance(found.mime, Stream)
        return sum(sizes)

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        total = asyncio.run(through())
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert total == source._lines * 57
    assert peak < 1 * MIB
