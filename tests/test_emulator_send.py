"""Sending: envelope from headers, rights, the late Sent copy, replies (contract section 10)."""

import base64
from datetime import UTC, datetime

import pytest
from emulator_kit import ALICE, BOB, CAROL, DELEGATED, IMMUTABLE, Kit

MINE = (
    b"From: Alice <alice@example.com>\r\nTo: bob@example.com, Out <out@example.net>\r\nCc: BOB@example.com\r\n"
    b"Bcc: carol@example.com\r\nSubject: News\r\nMessage-ID: <n1@client>\r\n"
    b"Date: Thu, 14 Jan 2027 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nBody.\r\n"
)


def mailed(kit: Kit, mime: bytes, path: str = "/sendMail", **rest):
    return kit.post(path, base64.b64encode(mime), **rest)


def inbox(kit: Kit, upn: str) -> list:
    return kit.tenant.listing(upn, "inbox")


def raw(kit: Kit, upn: str, message: str) -> bytes:
    return kit.get(f"/users/{upn}/messages/{message}/$value").body


def sent(kit: Kit) -> list[str]:
    return kit.get("/mailFolders/sentitems/messages", IMMUTABLE).ids


def test_mime_goes_to_each_header_address_once_without_the_bcc():
    kit = Kit()
    answer = mailed(kit, MINE)
    assert (answer.status, answer.body) == (202, b"")
    assert len(inbox(kit, BOB)) == len(inbox(kit, CAROL)) == 1
    assert [o.recipient for o in kit.tenant.outside] == ["out@example.net"]
    for upn in (BOB, CAROL):
        mime = raw(kit, upn, inbox(kit, upn)[0]["id"])
        assert b"carol@" not in mime
        assert mime.startswith(b"Received: from ")
        assert mime.endswith(b"\r\n\r\nBody.\r\n")


def test_the_sent_copy_comes_late_and_keeps_bcc_message_id_and_date():
    kit = Kit()
    mailed(kit, MINE)
    assert sent(kit) == []
    kit.settle(0.6)
    (name,) = sent(kit)
    message = kit.get(f"/messages/{name}").json
    assert (message["isDraft"], message["isRead"], message["internetMessageId"]) == (
        False,
        True,
        "<n1@client>",
    )
    assert message["sentDateTime"] == "2027-01-14T10:00:00Z"
    assert message["bccRecipients"][0]["emailAddress"]["address"] == CAROL
    assert b"Bcc: carol@example.com\r\n" in kit.value(name)
    assert "internetMessageHeaders" not in kit.get(f"/messages/{name}?$select=internetMessageHeaders").json


def test_the_sent_copy_is_there_at_once_with_the_rule_off():
    kit = Kit(off=("sent-copy-late",))
    mailed(kit, MINE)
    assert len(sent(kit)) == 1


def test_a_sent_draft_vanishes_and_comes_back_under_its_immutable_id():
    kit = Kit()
    name = kit.draft(MINE)
    regular = kit.get(f"/messages/{name}").json["id"]
    assert kit.post(f"/messages/{name}/send").status == 202
    assert kit.get("/mailFolders/drafts/messages").ids == []
    assert kit.get(f"/messages/{name}").code == "ErrorItemNotFound"
    kit.settle()
    assert sent(kit) == [name]
    assert kit.get(f"/messages/{name}").json["isDraft"] is False
    assert kit.get(f"/messages/{regular}").status == 404
    assert len(inbox(kit, BOB)) == 1


def test_sending_what_is_no_draft_is_refused():
    kit = Kit()
    answer = kit.post(f"/messages/{kit.deliver()}/send")
    assert (answer.status, answer.code) == (400, "ErrorInvalidOperation")


@pytest.mark.parametrize(
    "to", [b"", b"To: undisclosed-recipients:;\r\n", b"To: junk\r\n", b"To: a b@x.org\r\n"]
)
def test_no_valid_recipient_is_refused_and_leaves_nothing(to):
    kit = Kit()
    mime = b"From: alice@example.com\r\nSubject: x\r\n" + to + b"\r\nBody.\r\n"
    answer = mailed(kit, mime)
    assert (answer.status, answer.code) == (400, "ErrorInvalidRecipients")
    kit.settle()
    assert kit.tenant.listing(ALICE, None) == []


def test_a_refused_draft_stays_a_draft():
    kit = Kit()
    name = kit.draft(b"From: alice@example.com\r\nSubject: x\r\n\r\nBody.\r\n")
    assert kit.post(f"/messages/{name}/send").code == "ErrorInvalidRecipients"
    assert kit.get(f"/messages/{name}").json["isDraft"] is True


def test_five_hundred_recipients_and_no_more():
    kit = Kit()
    people = [{"emailAddress": {"address": f"u{n}@example.net"}} for n in range(501)]
    answer = kit.post("/sendMail", {"message": {"subject": "x", "toRecipients": people}})
    assert (answer.status, answer.code) == (400, "ErrorExceededMaxRecipientLimit")
    assert kit.post("/sendMail", {"message": {"subject": "x", "toRecipients": people[:500]}}).status == 202
    assert len(kit.tenant.outside) == 500


def test_there_is_no_envelope_unless_that_rule_is_off():
    kit = Kit()
    asked = {"x-envelope-to": BOB, "content-type": "text/plain"}
    mailed(kit, MINE, headers=asked)
    assert len(inbox(kit, CAROL)) == 1
    kit.rules.set("sendmail-no-envelope", False)
    mailed(kit, MINE, headers=asked)
    assert (len(inbox(kit, BOB)), len(inbox(kit, CAROL))) == (2, 1)


def test_missing_fields_are_added_and_a_lying_sender_is_not():
    kit = Kit()
    mailed(kit, b"To: bob@example.com\r\nSender: eve@example.net\r\nSubject: bare\r\n\r\nBody.\r\n")
    mime = raw(kit, BOB, inbox(kit, BOB)[0]["id"])
    for line in (b"\r\nFrom: alice@example.com\r\n", b"\r\nMessage-ID: <", b"\r\nDate: "):
        assert line in mime
    assert b"eve@" not in mime


def test_json_mail_may_skip_the_sent_copy():
    kit = Kit()
    message = {"subject": "x", "body": {"contentType": "text", "content": "y"},
               "toRecipients": [{"emailAddress": {"address": BOB}}]}  # fmt: skip
    assert kit.post("/sendMail", {"message": message, "saveToSentItems": False}).status == 202
    assert kit.post("/sendMail", {"message": message, "saveToSentItems": "false"}).status == 202
    kit.settle()
    assert sent(kit) == []
    assert kit.post("/sendMail", {"message": message}).status == 202
    kit.settle()
    assert len(sent(kit)) == 1
    assert len(inbox(kit, BOB)) == 3


@pytest.mark.parametrize("body", [{}, {"message": "x"}, {"message": {}, "nonsense": 1}])
def test_bad_send_bodies(body):
    assert Kit().post("/sendMail", body).status == 400


def test_over_four_megabytes_sends_nothing_and_says_200():
    kit = Kit()
    big = MINE + b"x" * 3_200_000
    assert mailed(kit, big).status == 200
    kit.rules.set("silent-200", False)
    assert mailed(kit, big).code == "RequestEntityTooLarge"
    kit.settle()
    assert inbox(kit, BOB) == []
    assert sent(kit) == []


def test_a_message_above_the_send_limit_is_refused():
    kit = Kit()
    kit.world.limits["send_bytes"] = 1000
    name = kit.draft(MINE + b"x" * 2000)
    answer = kit.post(f"/messages/{name}/send")
    assert (answer.status, answer.code) == (413, "ErrorMessageSizeExceeded")
    assert kit.get(f"/messages/{name}").json["isDraft"] is True


# -- rights ----------------------------------------------------------------------------------------

AS_BOB = MINE.replace(b"Alice <alice@example.com>", b"Bob <bob@example.com>")


def test_from_another_without_a_right_is_refused():
    answer = mailed(Kit(), AS_BOB)
    assert (answer.status, answer.code) == (403, "ErrorSendAsDenied")


def test_send_as_and_on_behalf():
    kit = Kit()
    kit.tenant.rights.send_as[BOB] = {ALICE}
    assert mailed(kit, AS_BOB).status == 202
    kit.tenant.rights.send_as.clear()
    kit.tenant.rights.on_behalf[BOB] = {ALICE}
    assert mailed(kit, AS_BOB).status == 202
    first, second = (kit.get(f"/users/{CAROL}/messages/{m['id']}").json for m in inbox(kit, CAROL))
    assert first["sender"]["emailAddress"]["address"] == BOB
    assert second["sender"]["emailAddress"]["address"] == ALICE
    assert second["from"]["emailAddress"]["address"] == BOB


def test_the_copy_lies_in_the_mailbox_of_the_path():
    kit = Kit()
    kit.tenant.rights.full_access[BOB] = {ALICE}
    kit.tenant.rights.send_as[BOB] = {ALICE}
    scopes = DELEGATED | {"Mail.Send.Shared", "Mail.ReadWrite.Shared"}
    answer = mailed(kit, AS_BOB, f"/users/{BOB}/sendMail", user=ALICE, scopes=scopes)
    assert answer.status == 202
    kit.settle()
    assert len(kit.tenant.listing(BOB, "sentitems")) == 1
    assert sent(kit) == []


def test_aliases_receive_and_send_only_where_enabled():
    kit = Kit()
    kit.tenant.rights.aliases["info@example.com"] = BOB
    mailed(
        kit, MINE.replace(b"bob@example.com,", b"info@example.com,").replace(b"Cc: BOB@example.com\r\n", b"")
    )
    assert len(inbox(kit, BOB)) == 1
    kit.tenant.rights.aliases["al@example.com"] = ALICE
    alias = MINE.replace(b"alice@example.com", b"al@example.com")
    assert mailed(kit, alias).code == "ErrorSendAsDenied"
    kit.tenant.rights.alias_sending = True
    assert mailed(kit, alias).status == 202


def test_send_alone_may_send_but_not_draft():
    kit = Kit()
    scopes = frozenset({"Mail.Send"})
    assert mailed(kit, MINE, scopes=scopes).status == 202
    assert kit.post("/messages", {}, scopes=scopes).code == "ErrorAccessDenied"
    assert mailed(kit, MINE, scopes=frozenset({"Mail.ReadWrite"})).code == "ErrorAccessDenied"


# -- replies ---------------------------------------------------------------------------------------

FROM_BOB = (
    b"From: Bob <bob@example.com>\r\nTo: alice@example.com, carol@example.com\r\nCc: x@example.net\r\n"
    b"Subject: Plan\r\nMessage-ID: <p@example.com>\r\n\r\nSee you.\r\n"
)


def test_reply_threads_and_marks_the_original():
    kit = Kit()
    name = kit.deliver(FROM_BOB)
    assert kit.post(f"/messages/{name}/reply", {"comment": "Yes"}).status == 202
    (got,) = inbox(kit, BOB)
    mime = raw(kit, BOB, got["id"])
    assert got["subject"] == "RE: Plan"
    assert b"In-Reply-To: <p@example.com>\r\n" in mime
    assert kit.tenant.listing(ALICE, "inbox")[0]["verb"] == 102
    kit.settle()
    conversations = {kit.get(f"/messages/{n}").json["conversationId"] for n in (name, *sent(kit))}
    assert len(conversations) == 1


def test_reply_all_and_forward():
    kit = Kit()
    name = kit.deliver(FROM_BOB)
    draft = kit.post(f"/messages/{name}/createReplyAll", {"comment": "lost"}, IMMUTABLE)
    assert draft.status == 201
    people = [r["emailAddress"]["address"] for r in draft.json["toRecipients"] + draft.json["ccRecipients"]]
    assert people == [BOB, CAROL, "x@example.net"]
    assert "lost" not in draft.json["body"]["content"]
    to = [{"emailAddress": {"address": CAROL}}]
    assert kit.post(f"/messages/{name}/forward", {"comment": "fyi", "toRecipients": to}).status == 202
    assert inbox(kit, CAROL)[0]["subject"] == "FW: Plan"
    assert kit.tenant.listing(ALICE, "inbox")[0]["verb"] == 104
    assert kit.post(f"/messages/{name}/forward", {}).code == "ErrorInvalidRecipients"
    both = {"comment": "x", "message": {"body": {"contentType": "text", "content": "y"}}}
    assert kit.post(f"/messages/{name}/reply", both).status == 400


def test_an_inbox_rule_moves_new_mail_after_it_was_announced():
    kit = Kit()
    rule = {"displayName": "r", "sequence": 1, "conditions": {"subjectContains": ["news"]},
            "actions": {"moveToFolder": "archive", "markAsRead": True}}  # fmt: skip
    assert kit.post(f"/users/{BOB}/mailFolders/inbox/messageRules", {**rule, "sequence": 0}).status == 400
    made = kit.post(f"/users/{BOB}/mailFolders/inbox/messageRules", rule)
    assert made.status == 201
    mailed(kit, MINE)
    (name,) = kit.get(f"/users/{BOB}/mailFolders/inbox/messages").ids
    kit.settle()
    assert kit.get(f"/users/{BOB}/messages/{name}").code == "ErrorItemNotFound"
    moved = kit.tenant.listing(BOB, "archive")[0]
    assert moved["isRead"] is True
    assert kit.delete(f"/users/{BOB}/mailFolders/inbox/messageRules/{made.json['id']}").status == 204


def deferred(kit: Kit, seconds: float) -> str:
    """A draft with a time to send, sent."""
    name = kit.draft(MINE)
    date = datetime.fromtimestamp(kit.clock.at + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kit.patch(
        f"/messages/{name}", {"singleValueExtendedProperties": [{"id": "SystemTime 0x3FEF", "value": date}]}
    )
    kit.settle()
    assert kit.post(f"/messages/{name}/send").status == 202
    return name


@pytest.mark.parametrize("off", [(), ("deferred-send-waits",)])
def test_a_deferred_message_leaves_when_its_time_has_come(off):
    kit = Kit(off=off)
    name = deferred(kit, 3600)
    kit.settle()
    assert (len(inbox(kit, BOB)) == 1) == bool(off)
    if not off:
        assert kit.get(f"/messages/{name}").json["isDraft"] is True
        assert kit.post(f"/messages/{name}/send").status == 202, "once more changes nothing"
    kit.settle(3600)
    kit.get("/mailFolders")
    kit.settle()
    assert len(inbox(kit, BOB)) == 1 and sent(kit) == [name]


def test_a_time_that_is_over_defers_nothing_and_what_was_taken_away_stays():
    kit = Kit()
    deferred(kit, 2)
    kit.settle()
    assert len(inbox(kit, BOB)) == 1
    gone = deferred(kit, 3600)
    kit.delete(f"/messages/{gone}")
    kit.delete(f"/messages/{gone}")
    kit.settle(4000)
    kit.get("/mailFolders")
    assert len(inbox(kit, BOB)) == 1
