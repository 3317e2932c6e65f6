"""Delivery status notifications: `gateway.mime.report`, read back by Python's email package."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage, Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mime.report import Outcome, Report, report

ORIGINAL = b"From: a@b.c\r\nMessage-ID: <1@b.c>\r\nSubject: hi\r\n\r\nbody\r\n"
RELAYED = Outcome("bob@example.com", "relayed", "2.1.9")
FAILED = Outcome("eve@example.com", "failed", "5.1.1", diagnostic="550 5.1.1 No such user")
ABOUT = Report(
    "mx.example.com", "alice@example.com", "<r1@mx>", 1_700_000_000, 1_699_990_000, (RELAYED,), ORIGINAL
)


def read(about: Report) -> EmailMessage:
    found = message_from_bytes(report(about), policy=policy.default)
    assert isinstance(found, EmailMessage) and not found.defects
    return found


def groups(found: EmailMessage) -> list[Message]:
    """The groups of fields for programs."""
    part = list(found.iter_parts())[1]
    assert part.get_content_type() == "message/delivery-status"
    payload = part.get_payload()
    assert isinstance(payload, list)
    return [group for group in payload if isinstance(group, Message)]


def test_a_message_that_was_passed_on() -> None:
    found = read(ABOUT)
    assert found.get_content_type() == "multipart/report"
    assert found.get_param("report-type") == "delivery-status"
    assert (found["To"], found["Auto-Submitted"], found["In-Reply-To"]) == (
        "alice@example.com",
        "auto-replied",
        "<1@b.c>",
    )
    assert found["From"] == "Mail Delivery System <mailer-daemon@mx.example.com>"
    text, _, returned = found.iter_parts()
    assert "bob@example.com" in text.get_content()
    assert (returned.get_content_type(), returned.get_payload()) == (
        "text/rfc822-headers",
        ORIGINAL[:-6].decode(),
    )
    message, recipient = groups(found)
    assert message.items() == [
        ("Reporting-MTA", "dns; mx.example.com"), ("Arrival-Date", "Tue, 14 Nov 2023 19:26:40 +0000"),
    ]  # fmt: skip
    assert recipient.items() == [
        ("Final-Recipient", "rfc822; bob@example.com"), ("Action", "relayed"), ("Status", "2.1.9"),
    ]  # fmt: skip


def test_what_the_client_named_comes_back() -> None:
    """RFC 3461 section 6.3."""
    asked = replace(RELAYED, original="rfc822;Bob+tag@example.com")
    message, recipient = groups(read(replace(ABOUT, envid="QQ 314", outcomes=(asked,))))
    assert message["Original-Envelope-Id"] == "QQ 314"
    assert recipient["Original-Recipient"] == "rfc822; Bob+tag@example.com"


def test_the_gravest_comes_first() -> None:
    late = Outcome("carol@example.com", "delayed", "4.4.1", retry_until=1_700_100_000)
    found = read(replace(ABOUT, outcomes=(RELAYED, late)))
    assert found["Subject"] == "Mail is delayed"
    assert groups(found)[2]["Will-Retry-Until"] == "Thu, 16 Nov 2023 02:00:00 +0000"
    failed = read(replace(ABOUT, outcomes=(RELAYED, late, FAILED)))
    assert failed["Subject"] == "Undelivered mail"
    assert groups(failed)[3]["Diagnostic-Code"] == "smtp; 550 5.1.1 No such user"
    assert [group["Action"] for group in groups(failed)[1:]] == ["relayed", "delayed", "failed"]


@pytest.mark.parametrize(
    ("outcome", "whole", "kind"),
    [(FAILED, True, "message/rfc822"), (FAILED, False, "text/rfc822-headers"), (RELAYED, True, "text/rfc822-headers")],
)  # fmt: skip
def test_the_whole_message_comes_back_only_of_a_failure(outcome: Outcome, whole: bool, kind: str) -> None:
    """RFC 3461 section 4.3."""
    octets = report(replace(ABOUT, outcomes=(outcome,), whole=whole))
    assert f"Content-Type: {kind}".encode() in octets
    assert (b"\r\nbody\r\n" in octets) == (kind == "message/rfc822")


def test_addresses_and_headers_outside_ascii() -> None:
    """RFC 6533: escaped in the fields for programs, UTF-8 in what comes back."""
    mail = "Subject: Grüße\r\n\r\n".encode()
    outcome = Outcome("жанна@example.com", "relayed", "2.1.9", original="utf-8;жанна@example.com")
    octets = report(replace(ABOUT, to="zoë@example.com", outcomes=(outcome,), message=mail))
    assert rb"Final-Recipient: utf-8; \x{436}\x{430}\x{43D}\x{43D}\x{430}@example.com" in octets
    assert rb"Original-Recipient: utf-8; \x{436}" in octets
    assert b"message/global-headers" in octets and mail in octets
    assert "<жанна@example.com>" in octets.decode()


def test_bare_lf_comes_back_as_crlf() -> None:
    octets = report(replace(ABOUT, message=b"Subject: x\n\nbody\n", outcomes=(FAILED,), whole=True))
    assert octets.count(b"\n") == octets.count(b"\r\n")


def test_a_boundary_stands_in_no_part() -> None:
    boundary = read(ABOUT).get_boundary()
    assert boundary is not None
    nested = replace(ABOUT, message=ORIGINAL + b"\r\n--" + boundary.encode(), outcomes=(FAILED,), whole=True)
    assert read(nested).get_boundary() not in (None, boundary)
    assert len(list(read(nested).iter_parts())) == 3


printable = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=("Cc",)), max_size=40
)


@given(printable, printable, printable, st.binary(max_size=200))
def test_no_field_breaks_out_of_its_place(envid: str, original: str, diagnostic: str, message: bytes) -> None:
    outcome = Outcome(
        "bob@example.com", "failed", "5.0.0", f"rfc822;{original}", f"550 {diagnostic}\r\nAction: relayed"
    )
    octets = report(
        replace(ABOUT, envid=envid.encode("ascii", "ignore").decode(), outcomes=(outcome,), message=message)
    )
    found = message_from_bytes(octets)
    payload = found.get_payload()
    assert isinstance(payload, list) and len(payload) == 3
    status = payload[1].get_payload()
    assert [group["Action"] for group in status[1:]] == ["failed"]
    assert octets.count(b"\n") == octets.count(b"\r\n") and octets.count(b"\r") == octets.count(b"\n")
