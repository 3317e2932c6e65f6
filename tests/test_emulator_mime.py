"""`$value`, its stability and its failures; reading MIME into properties (contract section 8)."""

import email
import email.policy
import hashlib

import pytest
from emulator_kit import ALICE, IMMUTABLE, MAIL, Kit
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.emulator import corpus
from gateway.emulator.mime_in import crlf, read
from gateway.emulator.mime_parts import decode_body, parse, spans
from gateway.emulator.skeleton import Skeleton

HTML = MAIL.replace(b"text/plain", b"text/html").replace(b"Good morning.", b"<p>Hi</p>")
RICH = (
    b"From: a@x.org\r\nTo: alice@example.com\r\nSubject: Rich\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="m"\r\n\r\npreamble\r\n--m\r\n'
    b'Content-Type: multipart/related; boundary="r"\r\n\r\n--r\r\nContent-Type: text/html\r\n\r\n<img src="cid:i">\r\n'
    b'--r\r\nContent-Type: image/png; name="i.png"\r\nContent-ID: <i>\r\nContent-Disposition: inline\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--r--\r\n--m\r\n"
    b'Content-Type: application/pdf\r\nContent-Disposition: attachment; filename="=?utf-8?q?B=C3=BCro.pdf?="\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n--m\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: Inner\r\n\r\ninside\r\n--m--\r\nepilogue\r\n"
)


def test_delivered_mail_comes_back_as_its_bytes():
    kit = Kit()
    for mime in (MAIL, HTML, RICH):
        assert kit.value(kit.deliver(mime)) == mime


def test_every_sample_of_the_corpus_comes_back_as_its_bytes_or_fails_for_good():
    kit = Kit()
    for sample in corpus.messages():
        if len(sample.data) > 1_000_000:
            continue
        name = kit.tenant.deliver(ALICE, "inbox", sample.data)
        answer = kit.get(f"/messages/{name}/$value")
        if answer.status == 200:
            assert answer.body == crlf(sample.data), sample.name
        else:
            assert answer.code == "ErrorMimeContentConversionFailed", sample.name


def test_value_is_plain_text_in_chunks_without_etag():
    kit = Kit()
    name = kit.deliver(MAIL + b"x" * 200_000)
    answer = kit.get(f"/messages/{name}/$value")
    assert answer.headers == {"Content-Type": "text/plain"}
    assert len(answer.body) == len(MAIL) + 200_000


def test_bare_lf_becomes_crlf():
    kit = Kit()
    assert kit.value(kit.deliver(MAIL.replace(b"\r\n", b"\n"))) == MAIL


def test_reading_twice_and_flags_leave_the_bytes_alone():
    kit = Kit()
    name = kit.deliver()
    before = kit.value(name)
    kit.patch(f"/messages/{name}", {"isRead": True, "flag": {"flagStatus": "flagged"}, "importance": "high"})
    kit.post(f"/messages/{name}/move", {"destinationId": "archive"})
    assert kit.value(name) == before


def test_a_category_adds_a_keywords_header_unless_the_rule_is_off():
    kit = Kit()
    name = kit.deliver()
    kit.patch(f"/messages/{name}", {"categories": ["Red", "Grün"]})
    assert kit.value(name) == MAIL.replace(b"\r\n\r\n", b"\r\nKeywords: Red, =?utf-8?b?R3LDvG4=?=\r\n\r\n", 1)
    kit = Kit(off=("value-regenerated",))
    name = kit.deliver()
    kit.patch(f"/messages/{name}", {"categories": ["Red"]})
    assert kit.value(name) == MAIL


@pytest.mark.parametrize("kind", ["enveloped-data", "signed-data"])
def test_opaque_smime_fails_for_good_but_its_attachment_does_not(kind):
    kit = Kit()
    mime = (
        b"From: a@x.org\r\nTo: alice@example.com\r\nSubject: Sealed\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: application/pkcs7-mime; smime-type=" + kind.encode() + b'; name="smime.p7m"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\nMIIB\r\n"
    )
    name = kit.deliver(mime)
    answer = kit.get(f"/messages/{name}/$value")
    assert (answer.status, answer.code) == (500, "ErrorMimeContentConversionFailed")
    assert kit.tenant.listing(ALICE, "inbox")[0]["sha256"] is None
    part = kit.get(f"/messages/{name}/attachments").json["value"][0]
    assert part["name"] == "smime.p7m"
    assert kit.get(f"/messages/{name}/attachments/{part['id']}/$value").body == b"0\x82\x01"
    kit.rules.set("smime-value-500", False)
    assert kit.value(name) == mime


def test_value_truncated_on_request():
    kit = Kit()
    name = kit.deliver()
    kit.rules.set("value-truncated", True)
    assert kit.value(name) == MAIL[: len(MAIL) // 2]


def test_message_size_is_not_the_length_of_the_mime():
    kit = Kit()
    name = kit.deliver()
    path = f"/messages/{name}?$expand=singleValueExtendedProperties($filter=id eq 'Long 0x0E08')"
    size = int(kit.get(path).json["singleValueExtendedProperties"][0]["value"])
    assert size != len(MAIL)
    kit.rules.set("estimate-size", False)
    assert int(kit.get(path).json["singleValueExtendedProperties"][0]["value"]) == len(MAIL)


def test_attachments_bodies_and_names_of_a_rich_message():
    kit = Kit()
    name = kit.deliver(RICH)
    message = kit.get(f"/messages/{name}?$expand=attachments").json
    assert message["hasAttachments"] is True
    assert message["body"]["content"] == '<img src="cid:i">'
    kinds = [(a["@odata.type"].split(".")[-1], a["name"], a["isInline"]) for a in message["attachments"]]
    assert kinds == [
        ("fileAttachment", "i.png", True), ("fileAttachment", "Büro.pdf", False), ("itemAttachment", "Inner", False),
    ]  # fmt: skip
    assert message["attachments"][0]["contentId"] == "i"


def test_inline_parts_alone_are_no_attachments():
    kit = Kit()
    only = RICH.split(b"--m\r\nContent-Type: application/pdf")[0] + b"--m--\r\n"
    name = kit.deliver(only)
    assert kit.get(f"/messages/{name}").json["hasAttachments"] is False
    kit.rules.set("inline-has-no-attachments", False)
    assert kit.get(f"/messages/{name}").json["hasAttachments"] is True


def test_meeting_mail_is_typed():
    kit = Kit()
    mime = MAIL.replace(b"text/plain;", b"text/calendar; method=REQUEST;")
    message = kit.get(f"/messages/{kit.deliver(mime)}").json
    assert message["@odata.type"] == "#microsoft.graph.eventMessageRequest"


def test_a_thread_shares_its_conversation():
    kit = Kit()
    reply = MAIL.replace(b"<one@", b"<two@").replace(
        b"Subject: ", b"References: <one@example.net>\r\nSubject: Re: "
    )
    first, second = kit.deliver(), kit.deliver(reply)
    ids = {kit.get(f"/messages/{name}").json["conversationId"] for name in (first, second)}
    assert len(ids) == 1
    stranger = kit.deliver(MAIL.replace(b"<one@", b"<three@"))
    assert kit.get(f"/messages/{stranger}").json["conversationId"] not in ids


def test_header_list_and_raw_block_agree_and_keep_duplicates():
    kit = Kit()
    mime = MAIL.replace(b"From:", b"Received: from b by c;\r\n Fri, 15 Jan 2027\r\nX-A: 1\r\nX-A: 2\r\nFrom:")
    name = kit.deliver(mime)
    listed = kit.get(f"/messages/{name}?$select=internetMessageHeaders").json["internetMessageHeaders"]
    assert [h["value"] for h in listed if h["name"] == "X-A"] == ["1", "2"]
    assert listed[1] == {"name": "Received", "value": "from b by c; Fri, 15 Jan 2027"}
    path = f"/messages/{name}?$expand=singleValueExtendedProperties($filter=id eq 'String 0x007D')"
    block = kit.get(path).json["singleValueExtendedProperties"][0]["value"]
    assert block.encode() == mime[: mime.index(b"\r\n\r\n") + 2]


# -- landed mail is written anew -------------------------------------------------------------------

LANDED = {
    "subject": "Größe", "body": {"contentType": "html", "content": "<p>Hé</p>"}, "internetMessageId": "<l@x.org>",
    "from": {"emailAddress": {"name": "A, B", "address": "a@x.org"}},
    "toRecipients": [{"emailAddress": {"address": "b@x.org"}}],
}  # fmt: skip


def test_landed_mail_is_well_formed_mime_of_the_same_content():
    kit = Kit()
    file = {"@odata.type": "#microsoft.graph.fileAttachment", "name": "ä.txt", "contentType": "text/plain",
            "contentBytes": "aGk="}  # fmt: skip
    made = kit.land({**LANDED, "attachments": [file]})
    raw = kit.value(made["id"])
    assert b"\n" not in raw.replace(b"\r\n", b"")
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    assert (parsed["subject"], parsed["message-id"]) == ("Größe", "<l@x.org>")
    assert parsed["from"].addresses[0].display_name == "A, B"
    body = parsed.get_body(("html",))
    assert body is not None
    assert body.get_content().strip() == "<p>Hé</p>"
    assert [(a.get_filename(), a.get_content()) for a in parsed.iter_attachments()] == [("ä.txt", "hi")]


def test_landed_mail_is_stable_and_counted_right():
    kit = Kit()
    made = kit.land(dict(LANDED))
    raw = kit.value(made["id"])
    assert kit.value(made["id"]) == raw
    listed = kit.tenant.listing(ALICE, "inbox")[0]
    assert (listed["sha256"], listed["size"]) == (hashlib.sha256(raw).hexdigest(), len(raw))


def test_a_posted_value_never_becomes_a_header():
    kit = Kit()
    made = kit.land({**LANDED, "subject": "a\r\nBcc: evil@x.org", "internetMessageId": "<l@x>\r\nX-Evil: 1"})
    names = [n.lower() for n, _ in Skeleton(kit.value(made["id"])).values]
    assert "bcc" not in names
    assert "x-evil" not in names


# -- variants --------------------------------------------------------------------------------------


def test_variants_share_a_base_and_differ_where_they_must():
    kit = Kit()
    names = [kit.tenant.deliver_variant(ALICE, "inbox", MAIL, n, 1_700_000_000 + n) for n in (0, 1, 2)]
    kit.settle()
    values = [kit.value(n) for n in names]
    assert values[0] == MAIL
    assert b"Message-ID: <v2.one@example.net>\r\n" in values[2]
    assert b"Subject: Hello #2\r\n" in values[2]
    message = kit.get(f"/messages/{names[2]}?$select=subject,internetMessageId,internetMessageHeaders").json
    assert (message["subject"], message["internetMessageId"]) == ("Hello #2", "<v2.one@example.net>")
    assert {"name": "Subject", "value": "Hello #2"} in message["internetMessageHeaders"]
    listed = {m["id"]: (m["sha256"], m["size"]) for m in kit.tenant.listing(ALICE, "inbox")}
    for name, raw in zip(names, values, strict=True):
        assert listed[name] == (hashlib.sha256(raw).hexdigest(), len(raw))


@pytest.mark.parametrize(
    "raw", [b"", b"\r\n", b"only a body", b"Subject: x", b"Subject: x\r\n\r\n", b"\r\nbody"]
)
def test_variants_of_odd_messages_keep_their_bytes(raw):
    kit = Kit()
    name = kit.tenant.deliver_variant(ALICE, "inbox", raw, 3, 1_700_000_000)
    assert kit.value(name) in (
        raw,
        raw.replace(b"Subject: x", b"Subject: x #3\r\n"),
        raw.replace(b"x", b"x #3"),
    )


CHANGES = st.sampled_from(
    [{"importance": "high"}, {"importance": "low"}, {"categories": ["a"]}, {"categories": []}, {"isRead": True},
     {"flag": {"flagStatus": "flagged"}}, {"subject": "Öther"}, {"toRecipients": []}, {"internetMessageId": "<z@x>"},
     {"body": {"contentType": "text", "content": "other"}}, {"isReadReceiptRequested": True},
     {"singleValueExtendedProperties": [{"id": "String 0x1042", "value": "<p@x>"}]},
     {"singleValueExtendedProperties": [{"id": "Boolean 0x0029", "value": "false"}]},
     {"singleValueExtendedProperties": [
         {"id": "String {00020386-0000-0000-c000-000000000046} Name x-a", "value": "1"}]}]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["received", "variant", "draft", "json", "landed"]), st.lists(CHANGES, max_size=5))
def test_the_listed_digest_is_that_of_the_value_after_any_changes(kind, steps):
    kit = Kit(off=("create-then-404", "conflict-without-if-match"))
    makers = {
        "received": lambda: kit.deliver(),
        "variant": lambda: kit.tenant.deliver_variant(ALICE, "inbox", MAIL, 4, 1_700_000_000),
        "draft": lambda: kit.draft(),
        "json": lambda: kit.post("/messages", dict(LANDED), IMMUTABLE).json["id"],
        "landed": lambda: kit.land(dict(LANDED))["id"],
    }
    name = makers[kind]()
    for step in steps:
        kit.patch(f"/messages/{name}", step)
        kit.tenant.outlook_patch(ALICE, name, step)
        raw = kit.value(name)
        (listed,) = kit.tenant.listing(ALICE, None)
        assert (listed["sha256"], listed["size"]) == (hashlib.sha256(raw).hexdigest(), len(raw))
        assert b"\n" not in raw.replace(b"\r\n", b"")


def test_a_variant_changed_in_outlook_keeps_its_own_message_id():
    kit = Kit()
    name = kit.tenant.deliver_variant(ALICE, "inbox", MAIL, 4, 1_700_000_000)
    kit.tenant.outlook_patch(ALICE, name, {"subject": "New"})
    raw = kit.value(name)
    assert raw.count(b"Message-ID: <v4.one@example.net>\r\n") == 1
    assert b"Subject: New\r\n" in raw


# -- the walk --------------------------------------------------------------------------------------

LINES = st.lists(
    st.sampled_from(
        [b"--b", b"--b--", b"--c", b"--c--", b"", b"text", b'Content-Type: multipart/mixed; boundary="b"',
         b'Content-Type: multipart/alternative; boundary="c"', b"Content-Type: message/rfc822", b" folded",
         b"Content-Transfer-Encoding: base64", b"=?utf-7?q?+2AA-?=", b"Subject: x"]
    ), max_size=25,
).map(b"\r\n".join)  # fmt: skip


@given(LINES)
def test_reading_any_mime_gives_a_message_with_the_same_bytes(raw):
    parsed = read(raw, transported=True)
    assert parsed.content.skeleton is not None
    assert parsed.content.skeleton.render(0, None) == raw
    parsed.subject.encode("utf-8")
    parsed.content.body.encode("utf-8")


@given(LINES)
def test_parts_lie_inside_their_parent_in_order(raw):
    def check(part):
        at = part.body
        for child in part.parts:
            assert at <= child.start <= child.head_end <= child.body <= child.end <= part.end
            at = child.end
            check(child)

    check(parse(raw))


def test_parts_exclude_the_line_end_before_their_delimiter():
    raw = b"pre\r\n--b\r\none\r\n--b\r\n\r\n--b--\r\nepilogue"
    assert [raw[a:z] for a, z in spans(raw, 0, len(raw), b"b")] == [b"one", b""]


@given(st.binary(max_size=80))
def test_base64_junk_is_passed_over(data):
    assert isinstance(decode_body(data, "base64"), bytes)
