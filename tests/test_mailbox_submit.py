"""Submission: to exactly the RCPT TO addresses, exactly once (contract section 10, mission "never" 1 and
6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mailbox_world import ACCOUNT, NOW, World, world

from gateway.core.errors import SubmissionRefused
from gateway.core.limits import DEFAULT_LIMITS, KIB
from gateway.mailbox.compose import compose
from gateway.mailbox.submit import submit
from gateway.mailbox.values import Envelope
from gateway.mime.address import addr_specs
from gateway.mime.header import Fields, header_end

RAW = b"From: a@x.com\r\nTo: b@x.com\r\nDate: Thu, 1 Jan 2026 10:00:00 +0000\r\nMessage-ID: <s@x.com>\r\n\r\nhi\r\n"
TO_B = Envelope("a@x.com", ("b@x.com",))


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, limits=replace(DEFAULT_LIMITS, request_body=100 * KIB)) as made:
        yield made


async def refused(w: World, raw: bytes = RAW, envelope: Envelope = TO_B) -> SubmissionRefused:
    with pytest.raises(SubmissionRefused) as caught:
        await submit(w.ctx, envelope, raw)
    return caught.value


async def kinds(w: World) -> list[str]:
    return [row.kind for row in await w.store.journal(ACCOUNT)]


def made(raw: bytes, *recipients: str, sender: str = "a@x.com") -> bytes:
    return compose(raw, Envelope(sender, recipients), now=NOW, message_id="<made@x.com>")


def fields(raw: bytes) -> Fields:
    return Fields(raw[: header_end(raw)])


# -- who gets it --


def test_nothing_to_do_leaves_the_octets_alone() -> None:
    assert made(RAW, "b@x.com") == RAW
    assert made(RAW, "B@X.COM") == RAW  # Exchange does not tell cases apart


def test_recipients_of_the_envelope_alone_become_bcc() -> None:
    assert fields(made(RAW, "b@x.com", "c@x.com", "d@x.com")).first(b"bcc") == b"<c@x.com>, <d@x.com>"


def test_a_bcc_that_is_no_recipient_is_taken_out() -> None:
    raw = b"Bcc: c@x.com, Other <e@x.com>\r\n" + RAW
    assert fields(made(raw, "b@x.com", "c@x.com")).all(b"bcc") == [b"<c@x.com>"]
    assert fields(made(raw, "b@x.com")).first(b"bcc") is None


def test_a_bcc_that_is_right_stays() -> None:
    raw = b"Bcc: Carol <c@x.com>\r\n" + RAW
    assert made(raw, "b@x.com", "c@x.com") == raw


@pytest.mark.parametrize("name", [b"To", b"Cc", b"Resent-To", b"Resent-Cc"])
def test_somebody_in_the_header_whom_nobody_addressed_is_a_refusal(name: bytes) -> None:
    with pytest.raises(SubmissionRefused) as caught:
        made(name + b": Eve <eve@x.com>\r\n" + RAW, "b@x.com")
    assert (caught.value.status, caught.value.enhanced) == (550, "5.6.0")
    assert "eve@x.com" in str(caught.value) and "RCPT" in str(caught.value)


def test_a_group_member_counts_and_an_empty_group_does_not() -> None:
    hidden = RAW.replace(b"To: b@x.com", b"To: undisclosed-recipients:;")
    assert fields(made(hidden, "b@x.com")).first(b"bcc") == b"<b@x.com>"
    with pytest.raises(SubmissionRefused):
        made(RAW.replace(b"To: b@x.com", b"To: team: b@x.com, eve@x.com;"), "b@x.com")


def test_resent_to_alone_is_not_trusted_to_deliver() -> None:
    raw = b"Resent-To: c@x.com\r\n" + RAW
    assert fields(made(raw, "b@x.com", "c@x.com")).first(b"bcc") == b"<c@x.com>"


def test_an_international_domain_in_either_form_is_the_same() -> None:
    raw = RAW.replace(b"b@x.com", "b@bücher.example".encode())
    assert fields(made(raw, "b@xn--bcher-kva.example")).first(b"bcc") is None


ADDRESSES = st.sampled_from(["b@x.com", "c@x.com", "d@x.com", "e@y.org"])


@given(st.sets(ADDRESSES, min_size=1), st.sets(ADDRESSES), st.sets(ADDRESSES), st.sets(ADDRESSES))
def test_the_headers_say_what_the_envelope_says(
    envelope: set[str], to: set[str], cc: set[str], bcc: set[str]
) -> None:
    head = "".join(f"{n}: {', '.join(sorted(v))}\r\n" for n, v in (("To", to), ("Cc", cc), ("Bcc", bcc)) if v)
    raw = head.encode() + b"Subject: x\r\n\r\nhi\r\n"
    if (to | cc) - envelope:
        with pytest.raises(SubmissionRefused):
            made(raw, *envelope)
        return
    out = fields(made(raw, *envelope))
    named = [spec for n in (b"to", b"cc", b"bcc") for value in out.all(n) for spec in addr_specs(value)]
    assert set(named) == envelope
    hidden = [spec for value in out.all(b"bcc") for spec in addr_specs(value)]
    assert not set(hidden) & (to | cc) or set(hidden) <= bcc


# -- what is supplied --


def test_what_devices_leave_out_is_supplied() -> None:
    out = fields(made(b"Subject: scan\n\nbody\n", "b@x.com"))
    assert out.first(b"from") == b"<a@x.com>" and out.first(b"message-id") == b"<made@x.com>"
    assert (out.first(b"date") or b"").endswith(b"+0000") and out.first(b"bcc") == b"<b@x.com>"


def test_empty_fields_count_as_missing() -> None:
    out = fields(made(b"From:\r\nDate: \r\nMessage-ID:\r\n\r\nx", "b@x.com"))
    assert [len(out.all(name)) for name in (b"from", b"date", b"message-id")] == [1, 1, 1]
    assert out.first(b"from") == b"<a@x.com>"


def test_bare_line_feeds_and_quoted_printable_are_mended() -> None:
    raw = RAW.replace(
        b"\r\n\r\nhi",
        b"\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=3D",
    )
    out = made(raw.replace(b"\r\n", b"\n"), "b@x.com")
    assert b"base64" in out and b"=3D" not in out and b"\n" not in out.replace(b"\r\n", b"")
