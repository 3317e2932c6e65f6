"""MIME rebuilt as JSON: what Outlook shows of an appended message (contract section 9.2)."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.types import Flags
from gateway.mailbox.landing import MARKER, Landing, State, landing_of, minimal
from gateway.mailbox.local import KeywordMap

MAP = KeywordMap(("Important",))
THEN = 1_600_000_000
HEAD = b"From: Bob <bob@x.com>\r\nTo: a@x.com\r\nSubject: s\r\nMessage-ID: <1@x.com>\r\n"
WRITABLE = {
    "subject", "body", "from", "sender", "toRecipients", "ccRecipients", "bccRecipients", "replyTo", "isRead",
    "flag", "categories", "internetMessageId", "singleValueExtendedProperties", "attachments",
}  # fmt: skip


def land(raw: bytes, *names: bytes, draft: bool = False) -> Landing:
    return landing_of(raw, State(Flags.of(names), THEN, draft, "mark"), MAP)


def mixed(*parts: bytes, kind: bytes = b"mixed") -> bytes:
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
    return HEAD + b"Content-Type: multipart/" + kind + b"; boundary=b\r\n\r\n" + body + b"--b--\r\n"


def text(content: bytes, kind: bytes = b"plain") -> bytes:
    return b"Content-Type: text/" + kind + b"; charset=utf-8\r\n\r\n" + content


def props(landing: Landing) -> dict[str, str]:
    return {each["id"]: each["value"] for each in landing.json["singleValueExtendedProperties"]}


def names(landing: Landing) -> list[str]:
    return [file.json["name"] for file in landing.files]


def test_header_facts() -> None:
    raw = (
        b"From: =?utf-8?Q?J=C3=BCrgen?= <j@x.com>\r\nSender: s@x.com\r\nTo: team: b@x.com, c@x.com;, d@x.com\r\n"
        b"Reply-To: r@x.com\r\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\r\nIn-Reply-To: <0@x>\r\n\r\n"
    )
    json = land(raw + b"hi").json
    assert json["subject"] == "Grüße" and json["from"]["emailAddress"] == {
        "name": "Jürgen",
        "address": "j@x.com",
    }
    assert [r["emailAddress"]["address"] for r in json["toRecipients"]] == ["b@x.com", "c@x.com", "d@x.com"]
    assert json["sender"]["emailAddress"]["address"] == "s@x.com" and "ccRecipients" not in json
    assert json["body"] == {"contentType": "text", "content": "hi"}
    found = props(land(raw))
    assert found["String 0x1042"] == "<0@x>" and found["String 0x007D"] == raw.decode()
    assert found[MARKER] == "mark" and json["internetMessageId"] == "<mark@append.invalid>"


def test_state_is_written_only_where_it_says_something() -> None:
    json = land(HEAD + b"\r\n").json
    assert "flag" not in json and "categories" not in json and json["isRead"] is False
    flagged = land(HEAD + b"\r\n", b"\\Flagged", b"$label1", b"mine").json
    assert flagged["flag"] == {"flagStatus": "flagged"} and flagged["categories"] == ["Important", "mine"]


def test_a_draft_says_nothing_of_message_flags_or_transport() -> None:
    found = props(land(HEAD + b"\r\n", draft=True))
    assert not {"Integer 0x0E07", "String 0x007D"} & set(found)


@pytest.mark.parametrize(
    ("date", "sent"),
    [
        (b"Thu, 1 Jan 2026 10:00:00 +0100", "2026-01-01T09:00:00Z"),
        (b"Thu, 1 Jan 1970 00:00:00 +0000", "1970-01-01T00:00:00Z"),
        (b"yesterday", "2020-09-13T12:26:40Z"),
        (b"Tue, 1 Jan 1850 00:00:00 +0000", "2020-09-13T12:26:40Z"),
        (b"\xff\xfe", "2020-09-13T12:26:40Z"),
    ],
)
def test_dates(date: bytes, sent: str) -> None:
    assert props(land(b"Date: " + date + b"\r\n\r\n"))["SystemTime 0x0039"] == sent


def test_html_with_its_alternative_and_attachments() -> None:
    pdf = b'Content-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\nUERG'
    inner = (
        b"Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n" + text(b"plain") + b"\r\n--c\r\n"
    )
    landing = land(mixed(inner + text(b"<b>h</b>", b"html") + b"\r\n--c--", pdf))
    assert landing.json["body"] == {"contentType": "html", "content": "<b>h</b>"}
    assert names(landing) == ["a.pdf"] and landing.files[0].data == b"PDF"
    assert landing.files[0].json["contentType"] == "application/pdf"


def test_text_beside_html_is_not_lost() -> None:
    landing = land(mixed(text(b"first"), text(b"<b>h</b>", b"html"), text(b"footer")))
    assert landing.json["body"]["contentType"] == "html"
    assert sorted(file.data for file in landing.files) == [b"first", b"footer"]


def test_inline_images_and_messages() -> None:
    image = b"Content-Type: image/png; name=i.png\r\nContent-ID: <cid1>\r\n\r\nPNG"
    message = b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx"
    landing = land(mixed(text(b"t"), image, message))
    assert landing.files[0].json["contentId"] == "cid1" and landing.files[0].json["isInline"]
    assert names(landing)[1] == "message.eml" and landing.files[1].data == b"Subject: inner\r\n\r\nx"


def test_names_in_every_encoding() -> None:
    part = b"Content-Type: application/x\r\nContent-Disposition: attachment; filename*=utf-8''%E2%82%AC.txt\r\n\r\nx"
    assert names(land(mixed(part))) == ["€.txt"]


def test_smime_signatures_stay_attached() -> None:
    signature = b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\n\r\nsig"
    landing = land(mixed(text(b"t"), signature, kind=b"signed"))
    assert landing.json["body"]["content"] == "t" and names(landing) == ["smime.p7s"]


def test_a_text_beyond_one_request_is_an_attachment() -> None:
    landing = land(HEAD + b"\r\n" + b"x" * 1_100_000)
    assert landing.json["body"]["content"] == "" and names(landing) == ["body.txt"]


def test_very_many_parts_become_the_message_itself() -> None:
    raw = mixed(*[b"Content-Type: image/png\r\n\r\nx"] * 250)
    landing = land(raw)
    assert names(landing) == ["message.eml"] and landing.files[0].data == raw


def test_the_simplest_form_keeps_date_state_and_octets() -> None:
    raw = HEAD + b"\r\nbody"
    landing = minimal(raw, State(Flags.of([b"\\Seen", b"\\Deleted"]), THEN, False, "mark"), MAP)
    assert landing.files[0].data == raw and landing.json["isRead"]
    assert (
        "String 0x007D" not in props(landing)
        and props(landing)["SystemTime 0x0E06"] == "2020-09-13T12:26:40Z"
    )
    assert "toRecipients" not in landing.json


def test_one_request_is_estimated_from_above() -> None:
    raw = mixed(text(b"t"), b"Content-Type: application/x\r\n\r\n" + b"z" * 10_000)
    landing = land(raw)
    assert len(msgspec.json.encode(landing.whole())) <= landing.octets
    (attached,) = landing.whole()["attachments"]
    assert base64.b64decode(attached["contentBytes"]) == b"z" * 10_000


@given(st.binary(max_size=400))
def test_any_octets_become_a_legal_request(raw: bytes) -> None:
    json: dict[str, Any] = land(HEAD[: len(raw) % 60] + raw, b"mine").whole()
    assert set(json) <= WRITABLE and b"\\u0000" not in msgspec.json.encode(json)
    assert all(isinstance(each["value"], str) for each in json["singleValueExtendedProperties"])
    assert all(character.isprintable() for character in json["subject"])
