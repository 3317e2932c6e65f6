"""Who really sends, in the header: `gateway.smtp.rewriting`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.rewriting import HEADER, SentAs

US = "us@example.com"


def rewritten(octets: bytes, size: int = 1_000_000, address: str = US) -> bytes:
    sent = SentAs(address)
    return b"".join(sent.feed(octets[at : at + size]) for at in range(0, len(octets), size)) + sent.end()


CASES: dict[bytes, bytes] = {
    b"Subject: x\r\n\r\nbody": b"From: <us@example.com>\r\nSubject: x\r\n\r\nbody",
    b"From: scan@printer.local\r\n\r\n": b"From: <us@example.com>\r\n\r\n",
    b"From: Bob <bob@example.org>\r\n\r\n": b'From: "Bob" <us@example.com>\r\nReply-To: bob@example.org\r\n\r\n',
    b"From: US@example.com\r\n\r\n": b"From: <us@example.com>\r\n\r\n",
    b"From: a@b.org\r\nReply-To: c@d.org\r\n\r\n": b"From: <us@example.com>\r\nReply-To: c@d.org\r\n\r\n",
    b"From: a@b.org\r\nFrom: c@d.org\r\nSender: e@f.org\r\n\r\n": (
        b"Reply-To: a@b.org\r\nFrom: <us@example.com>\r\n\r\n"
    ),
    b'From: "A \\"B\\" \\\\" <x@y>\r\n\r\n': b'From: "A \\"B\\" \\\\" <us@example.com>\r\n\r\n',
    b"From: =?utf-8?q?M=C3=BCller?= <x@y>\r\n\r\n": b"From: =?utf-8?q?M=C3=BCller?= <us@example.com>\r\n\r\n",
    b"From: \xfcber <x@y>\r\n\r\n": b'From: "\xfcber" <us@example.com>\r\n\r\n',
    b"From:\r\n\r\n": b"From: <us@example.com>\r\n\r\n",
    b"\r\nno header": b"From: <us@example.com>\r\n\r\nno header",
    b"": b"",
}  # fmt: skip


@pytest.mark.parametrize("octets", CASES)
@pytest.mark.parametrize("size", [1, 3, 1_000_000])
def test_the_header_says_who_sends(octets: bytes, size: int) -> None:
    assert sorted(rewritten(octets, size).splitlines()) == sorted(CASES[octets].splitlines())


def test_bare_lf_in_the_header() -> None:
    found = rewritten(b"from: a@b.org\nsubject: x\n\nbody\nFrom: me\n")
    assert found.endswith(b"\r\n\r\nbody\nFrom: me\n")
    assert b"From: <us@example.com>\r\n" in found and b"a@b.org" in found


def test_a_header_without_end_is_not_held_for_ever() -> None:
    sent = SentAs(US)
    given_out = len(sent.feed(b"X-Long: " + b"x" * HEADER))
    assert given_out > HEADER and sent.feed(b"more") == b"more" and sent.end() == b""


@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_octets_in_any_pieces(octets: bytes, size: int) -> None:
    """However it is cut, it comes out the same; what lies behind the header stays as it is."""
    assert rewritten(octets, size) == rewritten(octets)
    with_body = b"Subject: x\r\n\r\n" + octets
    assert rewritten(with_body, size).endswith(b"\r\n\r\n" + octets)
